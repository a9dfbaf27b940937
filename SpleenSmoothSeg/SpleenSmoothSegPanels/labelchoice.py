"""Choosing a label: a segmentation and one of its segments, or a labelmap volume."""

from typing import NamedTuple

from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError


class Label(NamedTuple):
    """A segment of a segmentation node, or the voxels other than 0 of a labelmap volume node."""

    node: object = None
    segmentId: str = ""

    def isThere(self) -> bool:
        return self.isInScene() and (not self.isSegment() or self._segment() is not None)

    def isInScene(self) -> bool:
        return self.node is not None and self.node.GetScene() is not None

    def isSegment(self) -> bool:
        return self.node.IsA("vtkMRMLSegmentationNode")

    @property
    def name(self) -> str:
        return f"{self._segment().GetName()} ({self.node.GetName()})" if self.isSegment() else self.node.GetName()

    def image(self):
        """The label where it lies in the world (``sitk.Image``, 0 and 1), cut to its box; raises UserError if empty."""
        import SimpleITK as sitk

        from SpleenSmoothSegLib.borders import bounding_box
        from SpleenSmoothSegLib.mrml import labelImage

        image = labelImage(self.node, self.segmentId)
        sides = bounding_box(sitk.GetArrayViewFromImage(image))[::-1]
        if any(side.start == side.stop for side in sides):
            raise UserError(_('"{name}" is empty; choose another label.').format(name=self.name))
        return image[sides]

    def _segment(self):
        return self.node.GetSegmentation().GetSegment(self.segmentId)


def likelySegment(node) -> str:
    """Id of the spleen by its terminology, or of the first segment where there is none; "" without segments."""
    from SpleenSmoothSegLib.mrml import findSpleenSegment

    if node is None or not node.IsA("vtkMRMLSegmentationNode") or not node.GetSegmentation().GetNumberOfSegments():
        return ""
    return findSpleenSegment(node) or node.GetSegmentation().GetNthSegmentID(0)


class LabelChoice:
    """One label that a person chooses, kept in two parameters.

    A node selector is connected to the parameter ``<name>Node`` by the .ui file; this adds the segment.

    Args:
        segmentSelector: a qMRMLSegmentSelectorWidget without a node selector of its own.
    """

    def __init__(self, segmentSelector, name: str):
        self._selector, self._name = segmentSelector, name
        self._parameters = None
        self._node = None  # of which the segment was chosen
        self._shownNode = None  # whose segments the selector shows
        segmentSelector.connect("currentSegmentChanged(QString)", self._onSegment)

    def setParameters(self, parameters) -> None:
        """Keep what they hold, and from now on what the user chooses; None: nothing is chosen any longer."""
        self._parameters = parameters
        self._node = self.label.node

    @property
    def label(self) -> Label:
        if self._parameters is None:
            return Label()
        node = getattr(self._parameters, f"{self._name}Node")
        return Label(node, getattr(self._parameters, f"{self._name}Id"))

    def choose(self, label: Label) -> None:
        self._node = label.node
        setattr(self._parameters, f"{self._name}Node", label.node)
        setattr(self._parameters, f"{self._name}Id", label.segmentId)

    def update(self) -> None:
        """Choose a segment where the node is another than before, and show the segments of the node."""
        node, segmentId = self.label
        if node is not self._node:
            segmentId = likelySegment(node)
            self.choose(Label(node, segmentId))
        isSegmentation = node is not None and node.IsA("vtkMRMLSegmentationNode")
        wasBlocked = self._selector.blockSignals(True)
        self._selector.setCurrentNode(node if isSegmentation else None)
        self._selector.setCurrentSegmentID(segmentId)
        self._selector.blockSignals(wasBlocked)
        self._selector.visible = isSegmentation
        self._shownNode = node

    def _onSegment(self, segmentId: str) -> None:
        """The user chose it, or the selector by itself, as while a scene is loaded: of another node than ours."""
        if self._parameters is not None and self._shownNode is self.label.node:
            setattr(self._parameters, f"{self._name}Id", segmentId)
