"""``slicer.app.layoutManager()``: the views of the layout that the scene's layout node names, as real Qt widgets.

Slicer's own layout logic makes the view nodes and describes the arrangement.
"""

from xml.etree import ElementTree

import qt
import slicer
import vtk

from .pythonqt import Signal, cppClass
from .viewwidgets import qMRMLPlotWidget, qMRMLSliceWidget, qMRMLThreeDWidget

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

    def mrmlSliceLogics(self):
        return self._applicationLogic.GetSliceLogics()

    def resetSliceViews(self) -> None:
        for widget in self._ofClass(qMRMLSliceWidget):
            widget.sliceController().fitSliceToBackground()

    def resetThreeDViews(self) -> None:
        for widget in self._ofClass(qMRMLThreeDWidget):
            widget.threeDView().resetFocalPoint()
            widget.threeDView().resetCamera()

    def setRenderPaused(self, paused: bool) -> None:
        """Nothing to do: views are drawn only when painted."""

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
        """One widget for each view node; those of the layout at the place that its description gives."""
        if self._isUpdating:  # a new view adds nodes
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
