"""Slicer's main window: the module selector above, the module's panel at the left, the views at the right."""

import qt
import slicer

from .pythonqt import Signal, cppClass

SIZE = (1600, 900)
PANEL_WIDTH = 500


def windowPicture(panel, path: str, layout: int | None = None, size: tuple[int, int] = SIZE) -> None:
    """A picture (PNG) of Slicer's window with this module panel at the left and the views at the right.

    ``layout`` is one of ``slicer.vtkMRMLLayoutNode.SlicerLayout...``. The views are as the scene says: use
    ``showWindow`` first where they shall be fitted at the size that they have in the window.
    """
    window = showWindow(layout, size)
    if not grabWindow(panel).save(str(path)):
        raise OSError(f"cannot write {path}")
    window.hide()


def grabWindow(panel) -> qt.QPixmap:
    """The main window as it is shown, with this panel in it as long as it takes."""
    window, shown = slicer.app.mainWindow(), panel.visible
    window._panel.setWidget(panel)
    panel.show()
    qt.QApplication.processEvents()
    picture = window.grab()
    window._panel.takeWidget()
    panel.setParent(None)
    panel.visible = shown
    return picture


def showWindow(layout: int | None = None, size: tuple[int, int] = SIZE):
    """The main window at this size with this layout, so that its views have the size that they have in the picture."""
    window = slicer.app.mainWindow()
    window.resize(*size)
    if layout is not None:
        slicer.app.layoutManager().setLayout(layout)
    window.show()
    qt.QApplication.processEvents()
    return window


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
