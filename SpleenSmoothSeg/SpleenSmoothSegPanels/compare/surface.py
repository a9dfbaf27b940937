"""Surfaces of labels, and signed distances between them."""

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SMOOTHING = 0.5  # 0 to 1; the default of Segment Editor


def smoothSurface(label) -> vtk.vtkPolyData:
    """The surface of a ``sitk.Image`` in world RAS, smoothed as in Segment Editor."""
    from SpleenSmoothSegLib.mrml import surfaceOf

    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputData(surfaceOf(label))
    smooth.SetNumberOfIterations(int(20 + 40 * SMOOTHING))
    smooth.SetPassBand(10 ** (-4 * SMOOTHING))
    smooth.BoundarySmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    return _withOutwardNormals(smooth)


def signedDistances(surface: vtk.vtkPolyData, reference: vtk.vtkPolyData) -> np.ndarray:
    """Distance (mm) of each point of ``surface`` to the nearest point of ``reference``; negative inside of it."""
    toReference, distances = vtk.vtkImplicitPolyDataDistance(), vtk.vtkDoubleArray()
    toReference.SetInput(reference)
    toReference.FunctionValue(surface.GetPoints().GetData(), distances)
    return vtk_to_numpy(distances)


def transformed(surface: vtk.vtkPolyData, transform: vtk.vtkAbstractTransform) -> vtk.vtkPolyData:
    """A transformed copy of the surface."""
    apply = vtk.vtkTransformPolyDataFilter()
    apply.SetTransform(transform)
    apply.SetInputData(surface)
    return _withOutwardNormals(apply)


def _withOutwardNormals(source: vtk.vtkPolyDataAlgorithm) -> vtk.vtkPolyData:
    """The output of ``source``, with normals that point outward: mirrored grids and transforms reverse them."""
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(source.GetOutputPort())
    normals.SplittingOff()
    normals.AutoOrientNormalsOn()
    normals.Update()
    return normals.GetOutput()
