"""``slicer.app.layoutManager()``: the views of the layout that the scene's layout node names, as real Qt widgets.

Slicer's own layout logic makes the view nodes and describes the arrangement. A view paints what ``views`` draws, and
only when somebody looks: nothing is rendered while tests click buttons.
"""

from xml.etree import ElementTree

import qt
import slicer
import vtk

from .pythonqt import Signal, cppClass
from .views import PlotView, SliceView, ThreeDView


@cppClass
class _ViewWidget(qt.QWidget):
    """The place in a window where a view is painted, at the widget's size."""

    _view = None

    def __init__(self, view):
        super().__init__()
        self._view = view
        self.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Expanding)

    def paintEvent(self, _event) -> None:
        self._view.resize(self.width, self.height)
        pixels = self._view.pixels()
        rows, columns, _ = pixels.shape
        painter = qt.QPainter(self)
        painter.drawImage(self.rect, qt.QImage(pixels.data, columns, rows, 3 * columns, qt.QImage.Format_RGB888))
        painter.end()

    def renderWindow(self):
        return self._view.window

    def renderer(self):
        return self._view.renderer

    def forceRender(self) -> None:
        self._view.pixels()

    def scheduleRender(self) -> None:
        self.update()


class _ManagedViewWidget(_ViewWidget):
    def interactor(self):
        return self._view.interactor

    def displayableManagerByClassName(self, className: str):
        return self._view.managers.GetDisplayableManagerByClassName(className)


@cppClass
class qMRMLSliceView(_ManagedViewWidget):
    def mrmlSliceNode(self):
        return self._view.node


@cppClass
class qMRMLThreeDView(_ManagedViewWidget):
    def mrmlViewNode(self):
        return self._view.node

    def cameraNode(self):
        return self._view.camera

    def resetFocalPoint(self) -> None:
        self._view.resetFocalPoint()

    def resetCamera(self, resetRotation=True, resetTranslation=True, resetDistance=True) -> None:
        self._view.resetCamera(resetRotation, resetTranslation, resetDistance)

    def rotateToViewAxis(self, axis: int) -> None:
        camera = slicer.vtkMRMLCameraNode
        sides = camera.Left, camera.Right, camera.Posterior, camera.Anterior, camera.Inferior, camera.Superior
        self._view.camera.RotateTo(sides[axis])


@cppClass
class qMRMLPlotView(_ViewWidget):
    def mrmlPlotViewNode(self):
        return self._view.node


@cppClass
class _Controller(qt.QWidget):
    """The bar above a view, in the view's color, with its label."""

    _view, _label = None, None

    def __init__(self, view, color: tuple[float, float, float]):
        super().__init__()
        self._view = view
        color = "#" + "".join(f"{round(255 * part):02x}" for part in color)
        self.objectName = "Controller"
        self.setAttribute(qt.Qt.WA_StyledBackground)
        self.setStyleSheet(f"#Controller {{background: {color}}} QLabel {{color: black; font-weight: bold}}")
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(6, 1, 6, 1)
        self._label = qt.QLabel(view.node.GetLayoutLabel() or "")
        row.addWidget(self._label)
        row.addStretch(1)


@cppClass
class qMRMLSliceControllerWidget(_Controller):
    """Label, slider and offset of a slice view."""

    _slider, _offset = None, None

    def __init__(self, view):
        super().__init__(view, view.node.GetLayoutColor())
        self._slider, self._offset = qt.QSlider(qt.Qt.Horizontal), qt.QLabel()
        self._offset.setMinimumWidth(90)
        self._offset.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        self.layout().insertWidget(1, self._slider, 8)
        self.layout().addWidget(self._offset)
        self._slider.valueChanged.connect(lambda tenths: self.setSliceOffsetValue(tenths / 10))

    def sliceLogic(self):
        return self._view.logic

    def mrmlSliceNode(self):
        return self._view.node

    def mrmlSliceCompositeNode(self):
        return self._view.logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()
        self._view.node.UpdateMatrices()

    def setSliceVisible(self, visible: bool) -> None:
        self._view.node.SetSliceVisible(visible)

    def setSliceOffsetValue(self, offset: float) -> None:
        self._view.logic.SetSliceOffset(offset)

    def setSliceOrientation(self, orientation: str) -> None:
        self._view.node.SetOrientation(orientation)

    def paintEvent(self, event) -> None:
        self._showOffset()
        super().paintEvent(event)

    def _showOffset(self) -> None:
        node, offset = self._view.node, self._view.logic.GetSliceOffset()
        normal = [node.GetSliceToRAS().GetElement(row, 2) for row in range(3)]
        self._offset.text = f"{node.GetDirectionLabel(normal, True)}: {offset:.1f}mm"
        bounds = [0.0] * 6
        self._view.logic.GetLowestVolumeSliceBounds(bounds)
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(round(10 * bounds[4]), round(10 * bounds[5]))
        self._slider.value = round(10 * offset)
        self._slider.blockSignals(blocked)


@cppClass
class _ViewFrame(qt.QFrame):
    """A view with its bar: what a layout arranges."""

    _controller, _viewWidget = None, None

    def __init__(self, controller, viewWidget):
        super().__init__()
        self._controller, self._viewWidget = controller, viewWidget
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(controller)
        column.addWidget(viewWidget, 1)

    def viewWidget(self):
        return self._viewWidget

    def controllerWidget(self):
        return self._controller


@cppClass
class qMRMLSliceWidget(_ViewFrame):
    def __init__(self, node, applicationLogic):
        view = SliceView(node, applicationLogic)
        super().__init__(qMRMLSliceControllerWidget(view), qMRMLSliceView(view))

    def sliceView(self):
        return self._viewWidget

    def sliceController(self):
        return self._controller

    def sliceLogic(self):
        return self._controller.sliceLogic()

    def mrmlSliceNode(self):
        return self._controller.mrmlSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._controller.mrmlSliceCompositeNode()


@cppClass
class qMRMLThreeDWidget(_ViewFrame):
    def __init__(self, node, applicationLogic):
        view = ThreeDView(node, applicationLogic)
        super().__init__(_Controller(view, view.node.GetThreeDViewBlueColor()), qMRMLThreeDView(view))

    def threeDView(self):
        return self._viewWidget

    def threeDController(self):
        return self._controller

    def mrmlViewNode(self):
        return self._viewWidget.mrmlViewNode()

    def viewLogic(self):
        return self._viewWidget._view.logic


@cppClass
class qMRMLPlotWidget(_ViewFrame):
    def __init__(self, node, _applicationLogic):
        view = PlotView(node)
        super().__init__(_Controller(view, (0.88, 0.88, 0.88)), qMRMLPlotView(view))

    def plotView(self):
        return self._viewWidget

    def plotController(self):
        return self._controller

    def mrmlPlotViewNode(self):
        return self._viewWidget.mrmlPlotViewNode()


VIEW_WIDGETS = {
    "vtkMRMLSliceNode": qMRMLSliceWidget,
    "vtkMRMLViewNode": qMRMLThreeDWidget,
    "vtkMRMLPlotViewNode": qMRMLPlotWidget,
}


@cppClass
class qMRMLLayoutManager(qt.QObject):
    layoutChanged = Signal("int")
    _applicationLogic = _logic = _viewport = _arrangement = _widgets = None
    _observed, _isUpdating = (), False

    def __init__(self, viewport, applicationLogic):
        super().__init__()
        self._applicationLogic, self._viewport, self._widgets = applicationLogic, viewport, {}
        qt.QVBoxLayout(viewport).setContentsMargins(0, 0, 0, 0)
        applicationLogic.SetSliceLogics(vtk.vtkCollection())
        applicationLogic.SetViewLogics(vtk.vtkCollection())

    def setMRMLScene(self, scene) -> None:
        """Open the views of this scene; those of the former one are closed already."""
        self._logic = slicer.vtkMRMLLayoutLogic()
        self._logic.SetMRMLApplicationLogic(self._applicationLogic)
        self._logic.SetMRMLScene(scene)
        layoutNode = self._logic.GetLayoutNode()
        if layoutNode.GetViewArrangement() in (layoutNode.SlicerLayoutNone, layoutNode.SlicerLayoutInitialView):
            layoutNode.SetViewArrangement(layoutNode.SlicerLayoutFourUpView)
        events = [(scene, scene.NodeAddedEvent), (scene, scene.NodeRemovedEvent)]
        events += [(layoutNode, vtk.vtkCommand.ModifiedEvent)]
        self._observed = [(thing, thing.AddObserver(event, self._update)) for thing, event in events]
        self._update()

    def close(self) -> None:
        for thing, tag in self._observed:
            thing.RemoveObserver(tag)
        for node in list(self._widgets):
            self._close(node)
        self._applicationLogic.GetSliceLogics().RemoveAllItems()
        self._applicationLogic.GetViewLogics().RemoveAllItems()

    def mrmlScene(self):
        return self._logic.GetMRMLScene()

    def layoutLogic(self):
        return self._logic

    def viewport(self):
        return self._viewport

    @property
    def layout(self) -> int:
        return self._logic.GetLayoutNode().GetViewArrangement()

    @layout.setter
    def layout(self, number: int) -> None:
        self.setLayout(number)

    def setLayout(self, number: int) -> None:
        self._logic.GetLayoutNode().SetViewArrangement(number)

    def viewWidget(self, node):
        return self._widgets.get(node)

    def viewWidgets(self) -> tuple:
        return tuple(self._widgets.values())

    def sliceViewNames(self) -> tuple[str, ...]:
        return tuple(widget.mrmlSliceNode().GetLayoutName() for widget in self._ofClass(qMRMLSliceWidget))

    def sliceWidget(self, name: str):
        widgets = self._ofClass(qMRMLSliceWidget)
        return next((widget for widget in widgets if widget.mrmlSliceNode().GetLayoutName() == name), None)

    def threeDWidget(self, which):
        widgets = self._ofClass(qMRMLThreeDWidget)
        if isinstance(which, str):
            return next((widget for widget in widgets if widget.mrmlViewNode().GetLayoutName() == which), None)
        return widgets[which] if which < len(widgets) else None

    def plotWidget(self, index: int):
        widgets = self._ofClass(qMRMLPlotWidget)
        return widgets[index] if index < len(widgets) else None

    @property
    def threeDViewCount(self) -> int:
        return len(self._ofClass(qMRMLThreeDWidget))

    @property
    def plotViewCount(self) -> int:
        return len(self._ofClass(qMRMLPlotWidget))

    @property
    def tableViewCount(self) -> int:
        return 0  # there are no table views here

    def mrmlSliceLogics(self):
        return self._applicationLogic.GetSliceLogics()

    def mrmlViewLogics(self):
        return self._applicationLogic.GetViewLogics()

    def activeMRMLThreeDViewNode(self):
        return self.threeDWidget(0).mrmlViewNode()

    def resetSliceViews(self) -> None:
        for widget in self._ofClass(qMRMLSliceWidget):
            widget.sliceController().fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        for widget in self._ofClass(qMRMLThreeDWidget):
            widget.threeDView().resetFocalPoint()
            widget.threeDView().resetCamera()

    def setRenderPaused(self, paused: bool) -> None:
        """Nothing to do: views are drawn only when somebody looks."""

    def pauseRender(self) -> None:
        self.setRenderPaused(True)

    def resumeRender(self) -> None:
        self.setRenderPaused(False)

    def _ofClass(self, cls) -> list:
        return [widget for widget in self._widgets.values() if isinstance(widget, cls)]

    def _close(self, node) -> None:
        widget = self._widgets.pop(node)
        widget.viewWidget()._view.close()
        widget.setParent(None)
        widget.deleteLater()

    def _update(self, *_event) -> None:
        """One widget for each view node; those of the layout where its description says."""
        if self._isUpdating:  # a new view adds nodes of its own
            return
        self._isUpdating = True
        self._makeWidgets()
        self._arrange()
        self._isUpdating = False

    def _makeWidgets(self) -> None:
        scene = self.mrmlScene()
        nodes = [node for cls in VIEW_WIDGETS for node in slicer.util.getNodesByClass(cls, scene)]
        for node in [node for node in self._widgets if node not in nodes]:
            self._close(node)
        for node in nodes:
            if node not in self._widgets:
                self._widgets[node] = VIEW_WIDGETS[node.GetClassName()](node, self._applicationLogic)

    def _arrange(self) -> None:
        arrangement = self._logic.GetLayoutNode().GetCurrentLayoutDescription(), self.viewWidgets()
        if not all(arrangement) or arrangement == self._arrangement:
            return
        self._arrangement = arrangement
        for widget in self._widgets.values():
            widget.setParent(None)
        outer = self._viewport.layout()
        while outer.count():
            outer.takeAt(0).widget().deleteLater()
        outer.addWidget(self._widgetOf(ElementTree.fromstring(arrangement[0])))
        self.layoutChanged.emit(self.layout)

    def _widgetOf(self, element):
        """The widget for a <layout> or a <view> of Slicer's layout descriptions."""
        if element.tag == "view":
            node = self._logic.GetMRMLScene().GetSingletonNode(element.get("singletontag"), element.get("class"))
            return self._widgets.get(node) or qt.QLabel(element.get("class"))
        kind = element.get("type", "horizontal")
        children = [(item, self._widgetOf(item[0])) for item in element.findall("item")]
        if kind == "tab":
            tabs = qt.QTabWidget()
            for item, child in children:
                tabs.addTab(child, item.get("name", ""))
            return tabs
        box = qt.QWidget()
        lines = qt.QGridLayout(box)
        lines.setContentsMargins(0, 0, 0, 0)
        lines.setSpacing(1)
        for index, (item, child) in enumerate(children):
            row = int(item.get("row", index if kind == "vertical" else 0))
            column = int(item.get("column", index if kind == "horizontal" else 0))
            lines.addWidget(child, row, column)
            child.show()
            lines.setRowStretch(row, 1)
            lines.setColumnStretch(column, 1)
        return box
