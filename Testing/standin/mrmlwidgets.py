"""What the widgets over the MRML scene share, and the plain ones among them.

As with ctkwidgets: properties, signals, slots and what Slicer marks as invokable, no more.
"""

import weakref

import qt
import slicer

from .pythonqt import Signal, cppClass, sip

SCENE_EVENTS = "NodeAddedEvent", "NodeRemovedEvent", "EndCloseEvent", "EndImportEvent"


class Observed:
    """Observers of VTK objects that call a method of a widget, and go with the widget."""

    def __init__(self, method):
        self.method = weakref.WeakMethod(method)
        self.tags = []

    def watch(self, *objectsAndEvents) -> None:
        """Watch these (object, event) pairs instead of those before."""
        for thing, tag in self.tags:
            thing.RemoveObserver(tag)
        self.tags = [(thing, thing.AddObserver(event, self._called())) for thing, event in objectsAndEvents if thing]

    def _called(self):
        def called(_caller, _event):
            method = self.method()
            if method is not None and not sip.isdeleted(method.__self__):
                method()

        return called


class HasScene:
    """What every widget with a scene has; mixed into a Qt class, which must come last."""

    _scene = None

    def mrmlScene(self):
        return self._scene

    def setMRMLScene(self, scene) -> None:
        if scene is not None and not isinstance(scene, slicer.vtkMRMLScene):
            raise ValueError(f"setMRMLScene needs a vtkMRMLScene, not {scene!r}")
        if scene is not self._scene:
            self._scene = scene
            self._sceneWasSet()

    def _sceneWasSet(self) -> None:
        if hasattr(type(self), "mrmlSceneChanged"):
            self.mrmlSceneChanged.emit(self._scene)


@cppClass
class qMRMLWidget(HasScene, qt.QWidget):
    mrmlSceneChanged = Signal("vtkMRMLScene*")


@cppClass
class qSlicerWidget(HasScene, qt.QWidget):
    mrmlSceneChanged = Signal("vtkMRMLScene*")
