"""``slicer.app`` and what hangs on it: settings, modules, main window, layout, reading and writing, PythonSlicer.

``install`` makes it once a process; ``newScene`` gives it an empty scene, set up as when Slicer starts.
"""

import atexit
import os
import shutil
import sys
import tempfile
import types
from pathlib import Path

import qt
import slicer

from . import modules, theme
from .coreio import qSlicerCoreIOManager
from .layout import qMRMLLayoutManager
from .pythonqt import Signal, cppClass
from .scene import MODULE_LOGICS, Logics, SubjectHierarchy
from .window import qSlicerMainWindow

VERSION = (5, 12, 4)


@cppClass
class qSlicerApplication(qt.QApplication):
    startupCompleted = Signal()
    mrmlSceneChanged = Signal("vtkMRMLScene*")

    _logics = _scene = _hierarchy = _home = _ioManager = _layoutManager = _moduleManager = _mainWindow = None
    _testing = True

    def __init__(self, home: Path):
        super().__init__(["Slicer"])
        self._home = home
        self.organizationName, self.organizationDomain = "NA-MIC", "slicer.org"
        self.applicationName, self.applicationVersion = "Slicer", ".".join(map(str, VERSION))
        qt.QSettings.setDefaultFormat(qt.QSettings.IniFormat)
        qt.QSettings.setPath(qt.QSettings.IniFormat, qt.QSettings.UserScope, str(home / "settings"))
        for folder in ("tmp", "cache"):
            (home / folder).mkdir()
        self._logics = Logics(home, home / "tmp")
        self._ioManager = qSlicerCoreIOManager(self._logics)
        self._moduleManager = qSlicerModuleManager()
        self._mainWindow = qSlicerMainWindow(self._moduleManager)
        self._layoutManager = qMRMLLayoutManager(self._mainWindow._viewport, self._logics.application)

    # Scene and logic

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        self._leaveScene()
        self._scene = slicer.mrmlScene = scene
        self._logics.setScene(scene)
        self._hierarchy = SubjectHierarchy(scene)
        self._layoutManager.setMRMLScene(scene)
        self.mrmlSceneChanged.emit(scene)

    def _leaveScene(self) -> None:
        if self._scene:
            self._layoutManager.close()
            self._hierarchy.close()

    def applicationLogic(self):
        return self._logics.application

    def moduleLogic(self, name: str):
        return self._logics.modules.get(name)

    # Parts

    def coreIOManager(self):
        return self._ioManager

    def layoutManager(self):
        return self._layoutManager

    def moduleManager(self):
        return self._moduleManager

    def mainWindow(self):
        return self._mainWindow

    def pythonConsole(self):
        return None

    def pauseRender(self) -> None:
        self._layoutManager.pauseRender()

    def resumeRender(self) -> None:
        self._layoutManager.resumeRender()

    # Settings and options

    def settings(self):
        return qt.QSettings()

    def testingEnabled(self) -> bool:
        return self._testing

    def environment(self):
        return qt.QProcessEnvironment.systemEnvironment()

    def translate(self, _context: str, text: str, _disambiguation: str = "") -> str:
        return text

    # Facts

    @property
    def slicerHome(self) -> str:
        return str(self._home)

    @property
    def temporaryPath(self) -> str:
        return str(self._home / "tmp")

    @property
    def cachePath(self) -> str:
        return str(self._home / "cache")

    @property
    def launcherExecutableFilePath(self) -> str:
        return str(self._home / "Slicer")

    @property
    def os(self) -> str:
        return {"darwin": "macosx", "win32": "win"}.get(sys.platform, "linux")

    @property
    def arch(self) -> str:
        return "amd64"

    @property
    def platform(self) -> str:
        return f"{self.os}-{self.arch}"


@cppClass
class qSlicerModule(qt.QObject):
    """A module of Slicer: a logic, without a panel."""

    _name, _logic = "", None

    def __init__(self, name: str, logic):
        super().__init__()
        self._name, self._logic = name, logic

    @property
    def name(self) -> str:
        return self._name

    @property
    def title(self) -> str:
        return self._name

    @property
    def path(self) -> str:
        return ""

    def logic(self):
        return self._logic

    def widgetRepresentation(self):
        return None


@cppClass
class qSlicerModuleManager(qt.QObject):
    """Finds the modules that are in ``slicer.modules``."""

    moduleAboutToBeUnloaded = Signal("QString")

    def module(self, name: str):
        return getattr(slicer.modules, name.lower(), None)

    def isLoaded(self, name: str) -> bool:
        return name in vars(slicer.moduleNames)


def install() -> qSlicerApplication:
    """``slicer.app``, ``slicer.modules``, ``slicer.moduleNames``; PythonSlicer on the PATH. Once a process."""
    if isinstance(getattr(slicer, "app", None), qSlicerApplication):
        return slicer.app
    qt.qInstallMessageHandler(_printMessage)
    slicer.modules, slicer.moduleNames = types.SimpleNamespace(), types.SimpleNamespace()
    home = Path(tempfile.mkdtemp(prefix="Slicer-"))
    _writeLaunchers(home)
    slicer.app = app = qSlicerApplication(home)
    theme.install()
    for name in MODULE_LOGICS:
        setattr(slicer.modules, name.lower(), qSlicerModule(name, app.moduleLogic(name)))
        setattr(slicer.moduleNames, name, name)
    atexit.register(_close, app)
    newScene()
    modules.load(Path(__file__).with_name("slicermodules") / "SegmentEditor.py")
    return app


def _printMessage(_kind, _context, text: str) -> None:
    """Print Qt's messages, except those about features that need a screen."""
    if not text.startswith("This plugin does not support"):
        print(text, file=sys.stderr)


def _close(app: qSlicerApplication) -> None:
    """Let go of the scene and its views while Python still stands, and remove what was written."""
    modules.closeAll()
    app._leaveScene()
    shutil.rmtree(app.slicerHome, ignore_errors=True)


def newScene():
    """An empty scene with the nodes, logics and views that Slicer starts with; also ``slicer.mrmlScene``."""
    slicer.app.setMRMLScene(slicer.vtkMRMLScene())
    return slicer.mrmlScene


def _writeLaunchers(home: Path) -> None:
    """PythonSlicer, which runs a Python script as Slicer's does, where ``shutil.which`` finds it."""
    launchers = home / "bin" / "PythonSlicer", home / "Slicer"
    for launcher in launchers:
        launcher.parent.mkdir(exist_ok=True)
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
        launcher.chmod(0o755)
    os.environ["PATH"] = f"{launchers[0].parent}{os.pathsep}{os.environ.get('PATH', '')}"
