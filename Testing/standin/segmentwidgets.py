"""The widgets over segmentations that panels use, as ``slicer.qMRMLSegmentSelectorWidget``, on the real scene."""

import qt
import slicer

from .mrmlwidgets import Observed, qMRMLWidget
from .nodewidgets import qMRMLNodeComboBox
from .properties import delegated, stored
from .pythonqt import Signal, cppClass

SEGMENT_EVENTS = "SegmentAdded", "SegmentRemoved", "SegmentModified"


@cppClass
class qMRMLSegmentSelectorWidget(qMRMLWidget):
    """Chooses a segmentation and one of its segments.

    As in Slicer, the chosen segment's id outlives the segment: it stays when the segmentation has no segment left.
    """

    currentNodeChanged = Signal("vtkMRMLNode*", "bool")
    currentSegmentChanged = Signal("QString")
    horizontalLayout = stored(bool, False, then="_arrange")
    _nodeSelector = None
    _segments = None
    _message = None
    _segmentationNode = None
    _currentSegmentID = ""
    _observed = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._observed = Observed(self._populate)
        self._nodeSelector = qMRMLNodeComboBox(self)
        self._nodeSelector.objectName = "MRMLNodeComboBox_Segmentation"
        self._nodeSelector.nodeTypes = ["vtkMRMLSegmentationNode"]
        self._nodeSelector.addEnabled = self._nodeSelector.removeEnabled = False
        self._segments = qt.QComboBox(self)
        self._segments.objectName = "comboBox_Segment"
        self._message = qt.QLabel(self)
        self._message.objectName = "label_Message"
        layout = qt.QGridLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        self._arrange()
        self._nodeSelector.connect("currentNodeChanged(vtkMRMLNode*)", self._nodeChanged)
        self._segments.connect("currentIndexChanged(int)", self._segmentChanged)
        self._populate()

    selectNodeUponCreation = delegated(bool, "_nodeSelector", "selectNodeUponCreation")
    segmentationNodeSelectorVisible = delegated(bool, "_nodeSelector", "visible")
    noneEnabled = qt.Property(
        bool, lambda self: self._nodeSelector.noneEnabled, lambda self, enabled: self._setNoneEnabled(enabled)
    )

    def currentNode(self):
        return self._nodeSelector.currentNode()

    def currentNodeID(self) -> str:
        return self._nodeSelector.currentNodeID

    def setCurrentNode(self, node) -> None:
        self._nodeSelector.setCurrentNode(node)

    def setCurrentNodeID(self, nodeID: str) -> None:
        self._nodeSelector.setCurrentNodeID(nodeID)

    def currentSegmentID(self) -> str:
        return self._currentSegmentID

    def setCurrentSegmentID(self, segmentID: str) -> None:
        if not segmentID and self.noneEnabled:
            self._segments.setCurrentIndex(0)
        elif self._segments.findData(segmentID) >= 0:
            self._segments.setCurrentIndex(self._segments.findData(segmentID))

    def _setNoneEnabled(self, enabled: bool) -> None:
        self._nodeSelector.noneEnabled = enabled
        self._populate()

    def _sceneWasSet(self) -> None:
        super()._sceneWasSet()
        self._nodeSelector.setMRMLScene(self._scene)

    def _nodeChanged(self, node) -> None:
        self._segmentationNode = node
        self._observed.watch(*[(node, getattr(slicer.vtkSegmentation, event)) for event in SEGMENT_EVENTS])
        self._populate()
        self.currentNodeChanged.emit(node)
        self.currentNodeChanged._signalOf("bool").emit(node is not None)

    def _populate(self) -> None:
        segmentation = self._segmentationNode.GetSegmentation() if self._segmentationNode else None
        IDs = list(segmentation.GetSegmentIDs()) if segmentation else []
        names = [segmentation.GetSegment(ID).GetName() for ID in IDs]
        self._segments.blockSignals(True)
        self._segments.clear()
        if self.noneEnabled and IDs:
            self._segments.addItem("None", "")
        for ID, name in zip(IDs, names, strict=True):
            self._segments.addItem(name, ID)
        self._segments.blockSignals(False)
        self._message.text = "" if IDs else "No segments in segmentation" if segmentation else "No node is selected"
        self._message.visible = not IDs
        self._segments.visible = bool(IDs)
        if IDs:
            self._restoreCurrentSegment(IDs)

    def _restoreCurrentSegment(self, IDs: list[str]) -> None:
        self._segments.blockSignals(True)
        known = self._currentSegmentID in IDs or (self.noneEnabled and not self._currentSegmentID)
        self._segments.setCurrentIndex(self._segments.findData(self._currentSegmentID) if known else -1)
        self._segments.blockSignals(False)
        if not known:
            self._segments.setCurrentIndex(int(self.noneEnabled))

    def _segmentChanged(self, row: int) -> None:
        if self._segmentationNode:
            self._currentSegmentID = self._segments.itemData(row) or ""
            self.currentSegmentChanged.emit(self._currentSegmentID)

    def _arrange(self) -> None:
        layout = self.layout()
        layout.addWidget(self._nodeSelector, 0, 0)
        row, column = (0, 1) if self.horizontalLayout else (1, 0)
        for widget in (self._segments, self._message):
            layout.addWidget(widget, row, column)
