"""Opens scripted modules as Slicer does: imports the file, makes the module and its widget, ``setup``, ``enter``.

While a file is imported or a panel is set up there is no torch and nothing else that Slicer does not bring: importing
it raises, as in a Slicer where nothing was installed yet. (A file that was imported before keeps what it had.)
"""

import builtins
import contextlib
import importlib.util
import sys
from pathlib import Path

import qt
import slicer

from .mrmlwidgets import qSlicerWidget
from .properties import stored
from .pythonqt import cppClass

NOT_IN_SLICER = {
    "albumentations",
    "cv2",
    "huggingface_hub",
    "matplotlib",
    "safetensors",
    "segmentation_models_pytorch",
    "slicerio",
    "surface_distance",
    "timm",
    "torch",
    "torchvision",
    "tqdm",
}


@contextlib.contextmanager
def onlyWhatSlicerBrings():
    """Inside, ``import torch`` fails with a message that explains why."""
    original = builtins.__import__

    def guarded(name, globals=None, locals=None, fromlist=(), level=0):
        if level == 0 and name.partition(".")[0] in NOT_IN_SLICER:
            importer = (globals or {}).get("__file__", "?")
            raise ModuleNotFoundError(
                f"No module named '{name}': {importer} imports it while the module is loaded or its panel set up, "
                "and Slicer does not bring it. Import it in the function that uses it.",
                name=name,
            )
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = guarded
    try:
        yield
    finally:
        builtins.__import__ = original


@cppClass
class qSlicerScriptedLoadableModule(qt.QObject):
    """What a module's ``__init__`` gets as ``parent``, and what ``slicer.modules.<name>`` is."""

    title = stored(str, "")
    path = stored(str, "")
    categories = stored(tuple, ())
    dependencies = stored(tuple, ())
    contributors = stored(tuple, ())
    associatedNodeTypes = stored(tuple, ())
    helpText = stored(str, "")
    acknowledgementText = stored(str, "")
    icon = stored(object, qt.QIcon())
    hidden = stored(bool, False)
    index = stored(int, -1)
    version = stored(str, "")
    _panel = None
    _instance = None

    def widgetRepresentation(self):
        """The module's panel; it is made when it is first asked for."""
        if self._panel is None:
            self._makePanel({})
        return self._panel

    def logic(self):
        return None

    def self(self):
        return self._instance

    def isLoaded(self) -> bool:
        return True

    def _newPanel(self, widgetArguments: dict):
        file = sys.modules[type(self._instance).__module__]
        panel = qSlicerScriptedLoadableModuleWidget()
        with onlyWhatSlicerBrings():
            panel._widget = getattr(file, f"{self.name}Widget")(panel, **widgetArguments)
            panel._widget.setup()
        panel.setMRMLScene(slicer.mrmlScene)
        return panel

    def _makePanel(self, widgetArguments: dict) -> None:
        self._panel = self._newPanel(widgetArguments)
        setattr(slicer.modules, f"{self.name}Widget", self._panel._widget)

    def _closePanel(self) -> None:
        panel, self._panel = self._panel, None
        if panel is not None:
            panel._leave()
            slicer.app.moduleManager().moduleAboutToBeUnloaded.emit(self.name)
            panel.hide()
            panel.deleteLater()
            delattr(slicer.modules, f"{self.name}Widget")


@cppClass
class qSlicerScriptedLoadableModuleWidget(qSlicerWidget):
    """The widget that a module's panel is put into: ``parent`` of its ``...Widget`` class."""

    _widget = None
    _isEntered = False

    def __init__(self, parent=None):
        super().__init__(parent)
        qt.QVBoxLayout(self)

    def self(self):
        return self._widget

    def enter(self) -> None:
        if not self._isEntered:
            self._isEntered = True
            getattr(self._widget, "enter", lambda: None)()

    def exit(self) -> None:
        self._leave()

    def _leave(self) -> None:
        if self._isEntered:
            self._isEntered = False
            getattr(self._widget, "exit", lambda: None)()


def load(path: str | Path) -> qSlicerScriptedLoadableModule:
    """The module of this file, imported and made as Slicer does when it starts; once, however often it is asked for."""
    path = Path(path).resolve()
    known = getattr(slicer.modules, path.stem.lower(), None)
    if isinstance(known, qSlicerScriptedLoadableModule) and known.path == str(path):
        return known
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    file = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
    module = qSlicerScriptedLoadableModule()
    module.objectName, module.path = path.stem, str(path)
    setattr(slicer.modules, path.stem.lower(), module)
    setattr(slicer.moduleNames, path.stem, path.stem)
    try:
        with onlyWhatSlicerBrings():
            spec.loader.exec_module(file)
            module._instance = getattr(file, path.stem)(module)
    except BaseException:
        del sys.modules[path.stem]
        delattr(slicer.modules, path.stem.lower())
        raise
    setattr(slicer.modules, f"{path.stem}Instance", module._instance)
    slicer.app.startupCompleted.emit()
    slicer.app.startupCompleted.disconnect()  # each slot is called once, as if Slicer had started with the module
    return module


def open_(path: str | Path, width: int = 500, **widgetArguments):
    """The module's own widget, set up, entered and shown; the one that was open before is closed."""
    module = load(path)
    module._closePanel()
    module._makePanel(widgetArguments)
    module._panel.resize(width, 900)
    module._panel.show()
    with onlyWhatSlicerBrings():
        module._panel.enter()
    return module._panel.self()


def closeAll() -> None:
    for module in list(vars(slicer.modules).values()):
        if isinstance(module, qSlicerScriptedLoadableModule):
            module._closePanel()
