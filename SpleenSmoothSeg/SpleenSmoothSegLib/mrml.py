"""Conversion between MRML nodes and SimpleITK images; the only file of the engine that imports `slicer`.

Slicer uses RAS, SimpleITK uses LPS; both in mm. World coordinates are those after all parent transforms.
Matrices are 4 x 4 and map a voxel's (column, row, slice) to mm.
"""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from .errors import UserError
from .geometry.box import bounding_box
from .geometry.grid import same_grid
from .io import terminology

_RAS_TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
_PERPENDICULAR = 1e-3  # largest cosine between two axes that counts as rounding error: 0.25 mm at 250 mm


def imageFromVolumeNode(volumeNode) -> sitk.Image:
    """The volume's voxels in world coordinates (LPS), with value and type unchanged.

    Raises UserError for a node that is not a scalar volume, has no voxels, or has a non-linear or shearing transform.
    """
    ijkToWorld = _ijkToWorld(volumeNode)
    return _placed(sitk.GetImageFromArray(slicer.util.arrayFromVolume(volumeNode)), ijkToWorld)


def addSpleenSegment(mask: sitk.Image, volumeNode, segmentationNode=None, replacedId: str | None = None):
    """Add ``mask`` (nonzero voxels, on the grid of ``imageFromVolumeNode``) as a segment.

    Without ``segmentationNode``, a new node is created in the volume's subject hierarchy folder. A new or unused node
    gets the volume's geometry and parent transform. Any other node keeps its segments, transform and geometry, and the
    mask is resampled to match. The segment ``replacedId`` is removed at the end, and the new one takes its name.

    Returns (segmentation node, segment id). Raises UserError for an empty mask or one on another grid.
    On any exception the scene is restored.
    """
    labelmap = _labelmap(mask, volumeNode)
    with _sceneRestoredOnError(volumeNode.GetScene(), segmentationNode):
        if segmentationNode is None:
            segmentationNode = _newSegmentationNode(volumeNode)
        isUnused = _isUnused(segmentationNode)
        if not isUnused and segmentationNode.GetTransformNodeID() != volumeNode.GetTransformNodeID():
            toSegmentation = _transformBetween(volumeNode, segmentationNode)
            slicer.vtkOrientedImageDataResample.TransformOrientedImage(labelmap, toSegmentation)
        segmentId = _addSegment(labelmap, segmentationNode)
        if isUnused:  # transform first: the reference geometry is relative to it
            segmentationNode.SetAndObserveTransformNodeID(volumeNode.GetTransformNodeID())
            segmentationNode.SetReferenceImageGeometryParameterFromVolumeNode(volumeNode)
        if replacedId:
            _replaceSegment(replacedId, segmentId, segmentationNode.GetSegmentation())
        return segmentationNode, segmentId


def findSpleenSegment(segmentationNode) -> str | None:
    """Id of the first segment with the terminology of a spleen, whatever its name; else None."""
    segmentation = segmentationNode.GetSegmentation()
    for index in range(segmentation.GetNumberOfSegments()):
        entry = vtk.mutable("")
        segmentation.GetNthSegment(index).GetTag(slicer.vtkSegment.GetTerminologyEntryTagName(), entry)
        if terminology.is_spleen(str(entry)):
            return segmentation.GetNthSegmentID(index)
    return None


def imageFromSegment(segmentationNode, segmentId: str, referenceVolumeNode) -> sitk.Image:
    """The segment as uint8 (1 inside, 0 outside) on the grid of ``imageFromVolumeNode(referenceVolumeNode)``.

    Nearest neighbor if the segment was drawn on another grid; cropped to the volume.
    """
    ijkToWorld = _ijkToWorld(referenceVolumeNode)
    segment = _segmentLabelmap(segmentationNode, segmentId)
    voxels = referenceVolumeNode.GetImageData()
    array = np.zeros(voxels.GetDimensions()[::-1], np.uint8)
    if not segment.IsEmpty():
        onGrid = slicer.vtkOrientedImageData()
        slicer.vtkOrientedImageDataResample.ResampleOrientedImageToReferenceOrientedImage(
            segment,
            _orientedImage(array, voxels.GetExtent(), referenceVolumeNode),
            onGrid,
            False,  # nearest neighbor
            False,  # no padding: exactly the volume's grid
            _transformBetween(segmentationNode, referenceVolumeNode),
        )
        array[:] = vtk_to_numpy(onGrid.GetPointData().GetScalars()).reshape(array.shape) != 0
    return _placed(sitk.GetImageFromArray(array), ijkToWorld)


def labelImage(node, segmentId: str = "", referenceVolumeNode=None) -> sitk.Image:
    """A label as uint8 (1 inside, 0 outside) in world coordinates (LPS).

    ``node`` is a segmentation with the segment ``segmentId``, or a labelmap volume (nonzero voxels). The result is on
    the grid of ``referenceVolumeNode`` (nearest neighbor), or else on the label's own, where a segment is cropped to
    its extent.
    Raises UserError if the label is missing or its transform is not supported.
    """
    if node is None:
        raise UserError("No label is selected; choose a segment or a labelmap volume.")
    if node.IsA("vtkMRMLSegmentationNode"):
        if referenceVolumeNode is not None:
            return imageFromSegment(node, segmentId, referenceVolumeNode)
        return _imageOnOwnGrid(node, segmentId)
    voxels = imageFromVolumeNode(node)
    label = sitk.Cast(voxels != 0, sitk.sitkUInt8)
    if referenceVolumeNode is None:
        return label
    reference = imageFromVolumeNode(referenceVolumeNode)
    if same_grid(label, reference):
        return label
    return sitk.Resample(label, reference, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)


def setVoxels(volumeNode, image: sitk.Image) -> None:
    """Set voxels and geometry of a scalar volume to those of ``image``, with a single Modified event."""
    array = sitk.GetArrayViewFromImage(image)
    voxels = vtk.vtkImageData()
    voxels.SetDimensions(image.GetSize())
    voxels.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    modifying = volumeNode.StartModify()
    volumeNode.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(_ijkToRas(image)))
    volumeNode.SetAndObserveImageData(voxels)
    volumeNode.EndModify(modifying)


def surfaceOf(image: sitk.Image, value: float = 0.5) -> vtk.vtkPolyData:
    """Isosurface of ``image`` at ``value``: triangles in RAS, mm, closed at the edges of the image."""
    array = np.pad(sitk.GetArrayViewFromImage(image).astype(np.float32, copy=False), 1)
    voxels = vtk.vtkImageData()
    voxels.SetExtent([bound for size in image.GetSize() for bound in (-1, size)])
    voxels.GetPointData().SetScalars(numpy_to_vtk(array.ravel()))
    contour = vtk.vtkFlyingEdges3D()
    contour.SetInputData(voxels)
    contour.SetValue(0, value)
    contour.ComputeNormalsOff()
    contour.ComputeScalarsOff()
    toRas = vtk.vtkTransform()
    toRas.SetMatrix(_ijkToRas(image).ravel())
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetTransform(toRas)
    placed.SetInputConnection(contour.GetOutputPort())
    placed.Update()
    return placed.GetOutput()


# Geometry


def _ijkToWorld(volumeNode) -> np.ndarray:
    """Matrix from voxel (column, row, slice), counted from the first one stored, to world RAS. Raises UserError."""
    if volumeNode is None or not volumeNode.IsA("vtkMRMLScalarVolumeNode"):
        raise UserError("No scalar volume is selected; choose a CT volume.")
    name, voxels = volumeNode.GetName(), volumeNode.GetImageData()
    if voxels is None or voxels.GetNumberOfPoints() == 0:
        raise UserError(f'"{name}" has no voxels; load the CT again.')
    if voxels.GetNumberOfScalarComponents() != 1:
        raise UserError(f'"{name}" has several values per voxel (colors or vectors); choose a CT volume.')
    matrix = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(matrix)
    return _inWorld(matrix, voxels.GetExtent(), volumeNode)


def _inWorld(ijkToLocal, extent, node) -> np.ndarray:
    """``ijkToLocal`` from the first voxel of ``extent``, followed by the node's transforms. Raises UserError."""
    name, parent, matrix = node.GetName(), node.GetParentTransformNode(), ijkToLocal
    if parent is not None:
        if not parent.IsTransformToWorldLinear():
            raise UserError(f'"{name}" has the non-linear transform "{parent.GetName()}"; harden it first.')
        toWorld, matrix = vtk.vtkMatrix4x4(), vtk.vtkMatrix4x4()
        parent.GetMatrixTransformToWorld(toWorld)
        vtk.vtkMatrix4x4.Multiply4x4(toWorld, ijkToLocal, matrix)
    ijkToWorld = slicer.util.arrayFromVTKMatrix(matrix)
    ijkToWorld[:, 3] = ijkToWorld @ [*extent[::2], 1]
    return _shearFree(ijkToWorld, name)


def _shearFree(ijkToWorld: np.ndarray, name: str) -> np.ndarray:
    """The matrix with exactly perpendicular axes, of either handedness. Raises UserError for more than rounding."""
    spacing = np.linalg.norm(ijkToWorld[:3, :3], axis=0)
    axes = ijkToWorld[:3, :3] / np.maximum(spacing, np.finfo(float).tiny)
    if not np.abs(axes.T @ axes - np.eye(3)).max() < _PERPENDICULAR:  # "not <" is also true for NaN
        raise UserError(f'The axes of "{name}" are not perpendicular; resample it with Crop Volume first.')
    left, _, right = np.linalg.svd(axes)
    clean = ijkToWorld.copy()
    clean[:3, :3] = left @ right * spacing
    return clean


def _placed(image: sitk.Image, ijkToWorld: np.ndarray) -> sitk.Image:
    matrix = _RAS_TO_LPS @ ijkToWorld
    spacing = np.linalg.norm(matrix[:3, :3], axis=0)
    image.SetSpacing(spacing.tolist())
    image.SetDirection((matrix[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(matrix[:3, 3].tolist())
    return image


def _ijkToRas(image: sitk.Image) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return _RAS_TO_LPS @ matrix  # its own inverse


def _transformBetween(fromNode, toNode) -> vtk.vtkAbstractTransform:
    """Transform from one node's coordinates to another's, as a single matrix if it is linear.

    vtkOrientedImageDataResample (5.12) multiplies nested linear transforms in the wrong order.
    """
    chain, linear = vtk.vtkGeneralTransform(), vtk.vtkTransform()
    nodes = slicer.vtkMRMLTransformNode
    nodes.GetTransformBetweenNodes(fromNode.GetParentTransformNode(), toNode.GetParentTransformNode(), chain)
    return linear if nodes.IsGeneralTransformLinear(chain, linear) else chain


# Segments


def _labelmap(mask: sitk.Image, volumeNode):
    """The mask, cropped to its bounding box, as an oriented image in the volume's own coordinates."""
    name = volumeNode.GetName()
    if not same_grid(mask, imageFromVolumeNode(volumeNode)):
        raise UserError(f'"{name}" has changed its geometry since it was segmented; segment it again.')
    inside = sitk.GetArrayViewFromImage(mask) != 0
    if not inside.any():
        raise UserError(f'No spleen was found in "{name}"; choose a CT that shows the spleen.')
    box = bounding_box(inside)
    extent = [bound for side in reversed(box) for bound in (side.start, side.stop - 1)]
    firstVoxel = np.repeat(volumeNode.GetImageData().GetExtent()[::2], 2)
    return _orientedImage(inside[box].astype(np.uint8), extent + firstVoxel, volumeNode)


def _segmentLabelmap(segmentationNode, segmentId: str):
    """A copy of one segment (segments share labelmaps), converted from its surface if it has no labelmap."""
    labelmap, isRead = slicer.vtkOrientedImageData(), False
    segment = segmentationNode.GetSegmentation().GetSegment(segmentId)
    if segment is not None:
        name = slicer.vtkSegmentationConverter.GetSegmentationBinaryLabelmapRepresentationName()
        if segment.GetRepresentation(name) is not None:
            isRead = segmentationNode.GetBinaryLabelmapRepresentation(segmentId, labelmap)
        else:
            convert = slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentBinaryLabelmapRepresentation
            isRead = convert(segmentationNode, segmentId, labelmap, False)
    if not isRead:
        raise UserError(f'"{segmentationNode.GetName()}" has no segment "{segmentId}"; choose another segment.')
    return labelmap


def _imageOnOwnGrid(segmentationNode, segmentId: str) -> sitk.Image:
    """The segment in world coordinates, on the grid it was drawn on, cropped to its extent."""
    labelmap = _segmentLabelmap(segmentationNode, segmentId)
    extent = [0] * 6
    if labelmap.IsEmpty() or not slicer.vtkOrientedImageDataResample.CalculateEffectiveExtent(labelmap, extent):
        name = segmentationNode.GetSegmentation().GetSegment(segmentId).GetName()
        raise UserError(f'The segment "{name}" of "{segmentationNode.GetName()}" is empty; choose another segment.')
    cropped = slicer.vtkOrientedImageData()
    slicer.vtkOrientedImageDataResample.CopyImage(labelmap, cropped, extent)
    array = vtk_to_numpy(cropped.GetPointData().GetScalars()).reshape(cropped.GetDimensions()[::-1])
    matrix = vtk.vtkMatrix4x4()
    cropped.GetImageToWorldMatrix(matrix)
    image = sitk.GetImageFromArray((array != 0).astype(np.uint8))
    return _placed(image, _inWorld(matrix, cropped.GetExtent(), segmentationNode))


def _replaceSegment(replacedId: str, segmentId: str, segmentation) -> None:
    replaced = segmentation.GetSegment(replacedId)
    if replaced is not None:
        name = replaced.GetName()
        segmentation.RemoveSegment(replacedId)
        segmentation.GetSegment(segmentId).SetName(name)


def _orientedImage(array: np.ndarray, extent, volumeNode):
    ijkToRas = vtk.vtkMatrix4x4()
    volumeNode.GetIJKToRASMatrix(ijkToRas)
    image = slicer.vtkOrientedImageData()
    image.SetExtent([int(bound) for bound in extent])
    image.GetPointData().SetScalars(numpy_to_vtk(array.ravel(), deep=True))
    image.SetGeometryFromImageToWorldMatrix(ijkToRas)
    return image


def _newSegmentationNode(volumeNode):
    scene = volumeNode.GetScene()
    name = scene.GenerateUniqueName(f"{volumeNode.GetName()} segmentation")
    node = scene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    node.CreateDefaultDisplayNodes()
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    volumeItem = hierarchy.GetItemByDataNode(volumeNode)
    folder = hierarchy.GetItemParent(volumeItem) if volumeItem else hierarchy.GetSceneItemID()
    hierarchy.CreateItem(folder, node)  # moves the item if Slicer has already created it
    return node


def _isUnused(segmentationNode) -> bool:
    """True for a node that was just created, here or by a node selector."""
    segmentation, reference = segmentationNode.GetSegmentation(), slicer.vtkMRMLSegmentationNode
    return (
        segmentation.GetNumberOfSegments() == 0
        and segmentationNode.GetParentTransformNode() is None
        and segmentationNode.GetNodeReference(reference.GetReferenceImageGeometryReferenceRole()) is None
    )


def _addSegment(labelmap, segmentationNode) -> str:
    segmentation = segmentationNode.GetSegmentation()
    name, count = terminology.NAME, 0
    while segmentation.GetSegmentIdBySegmentName(name):
        count += 1
        name = f"{terminology.NAME}_{count}"
    segmentId = segmentationNode.AddSegmentFromBinaryLabelmapRepresentation(labelmap, name, terminology.COLOR)
    if not segmentId:
        raise UserError(f'"{segmentationNode.GetName()}" cannot hold a labelmap; choose another segmentation.')
    tag = slicer.vtkSegment.GetTerminologyEntryTagName()
    segmentation.GetSegment(segmentId).SetTag(tag, terminology.ENTRY)
    return segmentId


@contextmanager
def _sceneRestoredOnError(scene, segmentationNode):
    """Remove the nodes, hierarchy items and segments that were added in the block if it raises."""
    hierarchy = slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    nodesBefore = set(_nodes(scene))
    segmentsBefore = set(segmentationNode.GetSegmentation().GetSegmentIDs()) if segmentationNode else set()
    try:
        yield
    except BaseException:
        if segmentationNode:
            segmentation = segmentationNode.GetSegmentation()
            for segmentId in set(segmentation.GetSegmentIDs()) - segmentsBefore:
                segmentation.RemoveSegment(segmentId)
        for node in set(_nodes(scene)) - nodesBefore:
            item = hierarchy.GetItemByDataNode(node)
            if item:
                hierarchy.RemoveItem(item, False, False)
            if scene.IsNodePresent(node):
                scene.RemoveNode(node)
        raise


def _nodes(scene):
    return [scene.GetNthNode(index) for index in range(scene.GetNumberOfNodes())]
