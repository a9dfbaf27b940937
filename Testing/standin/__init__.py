"""A stand-in for the Qt side of 3D Slicer, for tests: real module files and real .ui files on Slicer's own MRML.

Real: MRML, module logics and displayable managers (slicer-core), ``slicer.util``, Qt (PyQt5, which pythonqt.py makes
behave as PythonQt). Standing in: the application, its widgets, and the Python base classes of scripted modules; with
the environment variable SLICER_PYTHON=/path/to/Slicer/Base/Python, Slicer's own base classes and parameter nodes are
used instead. It is no proof that a module runs in Slicer; it is where most mistakes show before.

    import standin
    app = standin.start()
    standin.newScene()
    widget = standin.openModule("SpleenSmoothSeg/SpleenSmoothSeg.py")
    standin.screenshot(widget.parent, "panel.png")
"""

import importlib
import inspect
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

errorsInSlots: list[BaseException] = []  # filled once start() was called
_application = None


def start():
    """Slicer's application; ``qt``, ``ctk`` and ``slicer.*`` are importable from then on. Once a process."""
    global _application
    if _application is None:
        _installQt()
        _installSlicersPython()
        from . import application

        _application = application.install()
        _installSampleData()
    return _application


def newScene() -> None:
    """Close what is open, and start with a fresh scene, as after starting Slicer."""
    import slicer

    from . import application, modules

    modules.closeAll()
    slicer.mrmlScene.Clear()
    slicer.mrmlScene.RemoveAllObservers()  # no observer outlives the scene
    application.newScene()
    processEvents()
    errorsInSlots.clear()


def openModule(path: str | Path, **widgetArguments):
    """Open the module of this file in a panel: its ``...Widget`` object, set up, entered, its ``parent`` shown."""
    from . import modules

    return modules.open_(path, **widgetArguments)


def closeModules() -> None:
    """Leave the open modules, clean them up and delete their panels."""
    from . import modules

    modules.closeAll()
    processEvents()


def loadUi(path: str | Path):
    import slicer

    return slicer.util.loadUI(str(path))


def processEvents() -> None:
    import qt

    _application.processEvents()
    _application.sendPostedEvents(None, qt.QEvent.DeferredDelete)


def waitUntil(condition, seconds: float = 30) -> None:
    """Let Qt work until the condition holds; AssertionError with the condition's text where it does not in time."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            text = inspect.getsource(condition).strip() if inspect.isfunction(condition) else repr(condition)
            raise AssertionError(f"after {seconds} s this still does not hold: {text}")
        processEvents()
        time.sleep(0.005)


def screenshot(widget, path: str | Path) -> None:
    """What a user sees of a widget, as a PNG."""
    processEvents()
    if not widget.grab().save(str(path)):
        raise OSError(f"cannot write {path}")


def _installQt() -> None:
    from . import pythonqt

    qt = pythonqt.install(errorsInSlots)
    from . import ctkwidgets

    sys.modules["ctk"] = ctkwidgets.makeModule()
    import slicer

    for name in ("mrmlwidgets", "nodewidgets", "segmentwidgets", "modules"):
        module = importlib.import_module(f".{name}", __name__)
        widgets = {name: value for name, value in vars(module).items() if name.startswith(("qMRML", "qSlicer"))}
        for each, value in widgets.items():
            setattr(slicer, each, value)
    from . import uiloader

    qt.QUiLoader = uiloader.QUiLoader


def _installSlicersPython() -> None:
    import slicer

    folder = os.environ.get("SLICER_PYTHON")
    if folder:
        slicer.__path__.append(str(Path(folder) / "slicer"))
        return
    for name, standin in {
        "i18n": "i18n",
        "ScriptedLoadableModule": "scripted",
        "parameterNodeWrapper": "parameternode",
    }.items():
        module = importlib.import_module(f".{standin}", __name__)
        sys.modules[f"slicer.{name}"] = module
        setattr(slicer, name, module)


def _installSampleData() -> None:
    import slicer

    slicer.modules.sampleDataSources = {}
    sys.modules["SampleData"] = importlib.import_module(".sampledata", __name__)
