"""Slicer's Segment Editor as far as other modules hand something over to it: segmentation, volume, segment."""

import qt
import slicer
from slicer.ScriptedLoadableModule import ScriptedLoadableModule, ScriptedLoadableModuleWidget
from slicer.util import VTKObservationMixin

from standin.pythonqt import cppClass


class SegmentEditor(ScriptedLoadableModule):
    def __init__(self, parent):
        ScriptedLoadableModule.__init__(self, parent)
        parent.title = "Segment Editor"
        parent.categories = ["", "Segmentation"]
        parent.associatedNodeTypes = ["vtkMRMLSegmentEditorNode"]


class SegmentEditorWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    def __init__(self, parent=None):
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)

    def setup(self) -> None:
        super().setup()
        self.editor = qMRMLSegmentEditorWidget()
        self.layout.addWidget(self.editor)
        self.addObserver(slicer.mrmlScene, slicer.mrmlScene.StartCloseEvent, self.onSceneStartClose)

    def enter(self) -> None:
        tag = "SegmentEditor", "vtkMRMLSegmentEditorNode"
        node = slicer.mrmlScene.GetSingletonNode(*tag)
        if node is None:
            node = slicer.vtkMRMLSegmentEditorNode()
            node.SetSingletonTag(tag[0])
            node = slicer.mrmlScene.AddNode(node)
        self.editor.setMRMLSegmentEditorNode(node)
        if not self.editor.segmentationNode():
            known = slicer.mrmlScene.GetFirstNode(None, "vtkMRMLSegmentationNode")
            self.editor.setSegmentationNode(known or slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode"))

    def cleanup(self) -> None:
        self.removeObservers()

    def onSceneStartClose(self, _caller, _event) -> None:
        self.editor.setMRMLSegmentEditorNode(None)


@cppClass
class qMRMLSegmentEditorWidget(qt.QWidget):
    """Keeps what is edited in its parameter node, as Slicer's does; shows nothing."""

    _node = None

    def mrmlSegmentEditorNode(self):
        return self._node

    def setMRMLSegmentEditorNode(self, node) -> None:
        self._node = node

    def segmentationNode(self):
        return self._node and self._node.GetSegmentationNode()

    def setSegmentationNode(self, node) -> None:
        if self._node is None or node is self._node.GetSegmentationNode():
            return
        self._node.SetAndObserveSegmentationNode(node)
        reference = node and node.GetNodeReference(node.GetReferenceImageGeometryReferenceRole())
        self._node.SetAndObserveSourceVolumeNode(reference)
        ids = node.GetSegmentation().GetSegmentIDs() if node else ()
        self.setCurrentSegmentID(ids[0] if ids else "")

    def sourceVolumeNode(self):
        return self._node and self._node.GetSourceVolumeNode()

    def setSourceVolumeNode(self, node) -> None:
        if self._node:
            self._node.SetAndObserveSourceVolumeNode(node)

    def currentSegmentID(self) -> str:
        return (self._node and self._node.GetSelectedSegmentID()) or ""

    def setCurrentSegmentID(self, segmentID: str) -> None:
        if self._node:
            self._node.SetSelectedSegmentID(segmentID)
