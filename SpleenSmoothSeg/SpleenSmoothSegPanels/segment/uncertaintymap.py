"""The uncertainty map as a volume node: an overlay on its CT."""

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _

from ..shared.display import sequentialColors

MIN_SHOWN = 0.05  # standard deviation over the folds' probabilities; lower values are transparent
MAX_SHOWN = 0.5  # the largest possible standard deviation of values between 0 and 1
CT_ROLE = "SpleenSmoothSegCT"  # node reference from the map to its CT


class UncertaintyMap:
    """The visible part of an uncertainty map, kept as an array until it is shown.

    Args:
        image: standard deviation over the folds' probabilities (SimpleITK) on voxels of ``volumeNode``.
        volumeNode: the CT.
        firstVoxel: (column, row, slice) of the image's first voxel in the CT.
    """

    def __init__(self, image, volumeNode, firstVoxel=(0, 0, 0)):
        import SimpleITK as sitk

        self.volumeNode = volumeNode
        array = sitk.GetArrayViewFromImage(image)
        slices = np.flatnonzero([plane.max() >= MIN_SHOWN for plane in array])  # most slices of a large CT are empty
        self.isEmpty = not slices.size
        if not self.isEmpty:
            visible = array[slices].max(axis=0) >= MIN_SHOWN
            box = slices, np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
            self._array = array[tuple(slice(side[0], side[-1] + 1) for side in box)].copy()
            self._corner = [
                first + int(side[0])  # column, row, slice
                for first, side in zip(firstVoxel, reversed(box), strict=True)
            ]

    def node(self):
        """The map's volume node, one per CT, on the CT's voxels and under its transform."""
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
    name = _("{name} uncertainty map").format(name=volumeNode.GetName())
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
    display.SetWindowLevelMinMax(0.0, MAX_SHOWN)
    display.AutoThresholdOff()
    display.SetThreshold(MIN_SHOWN, MAX_SHOWN)
    display.ApplyThresholdOn()
