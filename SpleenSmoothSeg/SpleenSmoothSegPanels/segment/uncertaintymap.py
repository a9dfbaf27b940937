"""The disagreement of the folds as a volume node: an overlay on the CT that it was found on."""

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..shared.display import sequentialColors

LEAST = 0.05  # standard deviation over the folds' probabilities under which nothing is shown
MOST = 0.5  # no numbers between 0 and 1 deviate more
CT_ROLE = "SpleenSmoothSegCT"  # refers from the map to its CT


class DisagreementMap:
    """What there is to see of a disagreement map, kept until somebody wants to see it.

    Args:
        image: standard deviation over the folds' probabilities (SimpleITK) on voxels of ``volumeNode``.
        volumeNode: the CT.
        firstVoxel: which of its voxels (column, row, slice) the first one of the image is.
    """

    def __init__(self, image, volumeNode, firstVoxel=(0, 0, 0)):
        import SimpleITK as sitk

        self.volumeNode = volumeNode
        array = sitk.GetArrayViewFromImage(image)
        slices = np.flatnonzero([plane.max() >= LEAST for plane in array])  # in large CTs most planes hold nothing
        self.isEmpty = not slices.size
        if not self.isEmpty:
            seen = array[slices].max(axis=0) >= LEAST
            box = slices, np.flatnonzero(seen.any(axis=1)), np.flatnonzero(seen.any(axis=0))
            self._array = array[tuple(slice(side[0], side[-1] + 1) for side in box)].copy()
            self._corner = [
                first + int(side[0])  # column, row, slice
                for first, side in zip(firstVoxel, reversed(box), strict=True)
            ]

    def node(self):
        """The one volume node of its kind that belongs to the CT, on the CT's voxels and under its transform."""
        volumeNode = self.volumeNode
        node = _nodeFor(volumeNode)
        toRas = vtk.vtkMatrix4x4()
        volumeNode.GetIJKToRASMatrix(toRas)
        first = np.add(self._corner, volumeNode.GetImageData().GetExtent()[::2])
        modifying = node.StartModify()
        node.CopyOrientation(volumeNode)
        node.SetOrigin(toRas.MultiplyPoint([*first, 1])[:3])
        slicer.util.updateVolumeFromArray(node, self._array)
        node.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
        node.EndModify(modifying)
        return node


def _nodeFor(volumeNode):
    for node in slicer.util.getNodesByClass("vtkMRMLScalarVolumeNode"):
        if node.GetNodeReference(CT_ROLE) is volumeNode:
            return node
    name = _("{name} disagreement of the folds").format(name=volumeNode.GetName())
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", slicer.mrmlScene.GenerateUniqueName(name))
    node.SetNodeReferenceID(CT_ROLE, volumeNode.GetID())
    _setUpDisplay(node)
    hierarchy = slicer.mrmlScene.GetSubjectHierarchyNode()
    item = hierarchy.GetItemByDataNode(volumeNode)
    if item:
        hierarchy.CreateItem(hierarchy.GetItemParent(item), node)
    return node


def _setUpDisplay(node) -> None:
    node.CreateDefaultDisplayNodes()
    display = node.GetDisplayNode()
    display.SetAndObserveColorNodeID(sequentialColors().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0.0, MOST)
    display.AutoThresholdOff()
    display.SetThreshold(LEAST, MOST)
    display.ApplyThresholdOn()
