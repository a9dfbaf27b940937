"""A Slicer scene without the application, for the tests on slicer-core (real MRML, no Qt)."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def new_scene():
    """An empty scene with color and segmentation logics; also ``slicer.mrmlScene``."""
    import slicer

    scene = slicer.vtkMRMLScene()
    slicer.mrmlScene = scene
    application = slicer.vtkSlicerApplicationLogic()
    application.SetMRMLScene(scene)
    colors = application.GetColorLogic()
    colors.SetMRMLScene(scene)
    colors.AddDefaultColorNodes()
    application.SetModuleLogic("Colors", colors)
    segmentations = slicer.vtkSlicerSegmentationsModuleLogic()
    segmentations.SetMRMLScene(scene)
    segmentations.SetMRMLApplicationLogic(application)
    application.SetModuleLogic("Segmentations", segmentations)
    return scene


def load_volume(scene, path: Path, name: str = "CT"):
    """A scalar volume node read by Slicer's own reader, with its subject hierarchy item."""
    node = scene.AddNewNodeByClass("vtkMRMLScalarVolumeNode", name)
    storage = scene.AddNewNodeByClass("vtkMRMLVolumeArchetypeStorageNode")
    storage.SetFileName(str(path))
    assert storage.ReadData(node) == 1
    node.SetAndObserveStorageNodeID(storage.GetID())
    hierarchy = scene.GetSubjectHierarchyNode()
    hierarchy.CreateItem(hierarchy.GetSceneItemID(), node)
    return node


def add_linear_transform(scene, matrix: np.ndarray, parent=None):
    """A transform node with this 4 x 4 matrix (RAS to parent), under ``parent``."""
    import slicer

    node = scene.AddNewNodeByClass("vtkMRMLLinearTransformNode", "Linear")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(matrix))
    node.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
    return node


def add_bending_transform(scene, shift_mm: float = 20.0):
    """A thin plate spline that keeps seven points and moves one: not linear."""
    import vtk

    landmarks = [[x, y, z] for x in (-300, 300) for y in (-500, 500) for z in (0, 600)]
    source, target = vtk.vtkPoints(), vtk.vtkPoints()
    for landmark in landmarks:
        source.InsertNextPoint(landmark)
        target.InsertNextPoint(landmark)
    target.SetPoint(0, [coordinate + shift_mm for coordinate in landmarks[0]])
    spline = vtk.vtkThinPlateSplineTransform()
    spline.SetSourceLandmarks(source)
    spline.SetTargetLandmarks(target)
    spline.SetBasisToR()
    node = scene.AddNewNodeByClass("vtkMRMLTransformNode", "Bend")
    node.SetAndObserveTransformToParent(spline)
    return node


def rigid(degrees_about_xyz=(0.0, 0.0, 0.0), shift_mm=(0.0, 0.0, 0.0)) -> np.ndarray:
    """4 x 4 matrix: rotate about x, then y, then z, then shift."""
    matrix = np.eye(4)
    for axis, angle in enumerate(np.deg2rad(degrees_about_xyz)):
        i, j = [k for k in range(3) if k != axis]
        turn = np.eye(4)
        turn[i, i] = turn[j, j] = np.cos(angle)
        turn[i, j], turn[j, i] = -np.sin(angle), np.sin(angle)
        matrix = turn @ matrix
    matrix[:3, 3] = shift_mm
    return matrix


def segment_center(segmentation_node, segment_id: str) -> np.ndarray:
    """Center of mass of the segment in world RAS, mm, computed without the product's code."""
    import slicer
    import vtk
    from vtk.util.numpy_support import vtk_to_numpy

    labelmap = slicer.vtkOrientedImageData()
    if segmentation_node.GetSegmentation().GetSegment(segment_id).GetRepresentation("Binary labelmap"):
        assert segmentation_node.GetBinaryLabelmapRepresentation(segment_id, labelmap)
    else:
        assert slicer.vtkSlicerSegmentationsModuleLogic.GetSegmentBinaryLabelmapRepresentation(
            segmentation_node, segment_id, labelmap, False
        )
    voxels = vtk_to_numpy(labelmap.GetPointData().GetScalars()).reshape(labelmap.GetDimensions()[::-1])
    slices, rows, columns = np.nonzero(voxels)
    first = labelmap.GetExtent()[::2]
    to_local, to_world = vtk.vtkMatrix4x4(), vtk.vtkGeneralTransform()
    labelmap.GetImageToWorldMatrix(to_local)
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(segmentation_node.GetParentTransformNode(), None, to_world)
    indices = np.c_[columns, rows, slices, np.ones(len(columns))] + [*first, 0]
    points = indices @ slicer.util.arrayFromVTKMatrix(to_local).T
    return np.mean([to_world.TransformPoint(point[:3]) for point in points], axis=0)


def label_center(label, to_world: np.ndarray | None = None) -> np.ndarray:
    """Center of mass of a SimpleITK label in RAS, mm, moved by the 4 x 4 matrix ``to_world``."""
    import SimpleITK as sitk

    slices, rows, columns = np.nonzero(sitk.GetArrayViewFromImage(label))
    points = np.c_[columns, rows, slices, np.ones(len(slices))] @ ijk_to_ras(label).T
    return ((np.eye(4) if to_world is None else to_world) @ points.mean(axis=0))[:3]


def ijk_to_ras(image) -> np.ndarray:
    """4 x 4 matrix from a SimpleITK image's voxel indices to RAS, mm."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    matrix[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ matrix


def add_volume(scene, image, name: str = "CT"):
    """A scalar volume node on the grid of a SimpleITK image, also a left-handed one, which readers would flip."""
    import SimpleITK as sitk
    import slicer

    matrix = slicer.util.vtkMatrixFromArray(ijk_to_ras(image))
    return slicer.util.addVolumeFromArray(sitk.GetArrayFromImage(image), matrix, name)


def curves(chart):
    """Title and values, x and y, of each curve of a chart."""
    import slicer

    found = {}
    for index in range(chart.GetNumberOfPlotSeriesNodes()):
        series = chart.GetNthPlotSeriesNode(index)
        table = series.GetTableNode()
        columns = (series.GetXColumnName(), series.GetYColumnName())
        found[series.GetName()] = [slicer.util.arrayFromTableColumn(table, column).tolist() for column in columns]
    return found
