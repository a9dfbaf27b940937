"""Slicer's main window: the module selector above, the module's panel at the left, the views at the right."""

import qt
import slicer

from .pythonqt import Signal, cppClass

SIZE = (1600, 900)
PANEL_WIDTH = 500


def showWindow(panel=None, layout: int | None = None, size: tuple[int, int] = SIZE):
    """The main window with this module panel and layout, so that panel and views have the size that a user sees.

    ``layout`` is one of ``slicer.vtkMRMLLayoutNode.SlicerLayout...``.
    """
    window = slicer.app.mainWindow()
    window.resize(*size)
    if panel is not None:
        window._panel.setWidget(panel)
        panel.show()
    if layout is not None:
        slicer.app.layoutManager().setLayout(layout)
    window.show()
    qt.QApplication.processEvents()
    return window


def hideWindow() -> None:
    """Hide the main window, and release its panel to its owner."""
    window = slicer.app.mainWindow()
    panel = window._panel.takeWidget()
    if panel is not None:
        panel.setParent(None)
    window.hide()


def windowPicture(panel, path: str, layout: int | None = None, size: tuple[int, int] = SIZE) -> None:
    """A picture (PNG) of the main window with this panel. The views show the scene."""
    picture = showWindow(panel, layout, size).grab()
    hideWindow()
    if not picture.save(str(path)):
        raise OSError(f"cannot write {path}")


@cppClass
class qSlicerModuleSelectorToolBar(qt.QToolBar):
    moduleSelected = Signal("QString")
    _manager = _names = _panel = None
    _selected = ""

    def __init__(self, moduleManager):
        super().__init__()
        self._manager = moduleManager
        self.objectName = "ModuleSelectorToolBar"
        self.movable = False
        self._names = qt.QComboBox()
        self._names.minimumContentsLength = 30
        self.addWidget(qt.QLabel(" Modules: "))
        self.addWidget(self._names)

    @property
    def selectedModule(self) -> str:
        return self._selected

    def selectModule(self, name: str) -> None:
        """Leave the panel that was open and enter this module's, as Slicer does; an unknown name changes nothing."""
        module = self._manager.module(name)
        if module is None:
            return
        former, self._panel, self._selected = self._panel, module.widgetRepresentation(), name
        if former and former is not self._panel:
            former.exit()
        if self._panel and former is not self._panel:
            self._panel.enter()
        self._names.clear()
        self._names.addItem(module.title)
        self.moduleSelected.emit(name)


@cppClass
class qSlicerMainWindow(qt.QMainWindow):
    _selector = _viewport = _panel = None

    def __init__(self, moduleManager):
        super().__init__()
        self.objectName = "qSlicerMainWindow"
        self.windowTitle = "3D Slicer (stand-in)"
        self._selector = qSlicerModuleSelectorToolBar(moduleManager)
        self.addToolBar(self._selector)
        self._viewport = qt.QFrame()
        self._viewport.objectName = "CentralWidgetLayoutFrame"
        self.setCentralWidget(self._viewport)
        dock = qt.QDockWidget()
        dock.objectName = "PanelDockWidget"
        dock.setTitleBarWidget(qt.QWidget())
        self._panel = qt.QScrollArea()
        self._panel.objectName = "ModulePanel"
        self._panel.widgetResizable = True
        self._panel.setMinimumWidth(PANEL_WIDTH)
        self._panel.setFrameShape(qt.QFrame.NoFrame)
        dock.setWidget(self._panel)
        self.addDockWidget(qt.Qt.LeftDockWidgetArea, dock)
        self.resize(*SIZE)

    def moduleSelector(self):
        return self._selector

    def pythonConsole(self):
        return None
