"""The surfaces of two labels, and how far one lies from the other."""

import numpy as np
import vtk
from vtk.util.numpy_support import vtk_to_numpy

SMOOTHING = 0.5  # what Segment Editor takes, from 0 to 1


def surface(label) -> vtk.vtkPolyData:
    """The surface of a ``sitk.Image`` in world RAS, without the steps of its voxels: as Segment Editor shows it."""
    from SpleenSmoothSegLib.mrml import surfaceOf

    smooth = vtk.vtkWindowedSincPolyDataFilter()
    smooth.SetInputData(surfaceOf(label))
    smooth.SetNumberOfIterations(int(20 + 40 * SMOOTHING))
    smooth.SetPassBand(10 ** (-4 * SMOOTHING))
    smooth.BoundarySmoothingOff()
    smooth.NonManifoldSmoothingOn()
    smooth.NormalizeCoordinatesOn()
    return _turnedOut(smooth)


def signedDistances(measured: vtk.vtkPolyData, reference: vtk.vtkPolyData) -> np.ndarray:
    """Distance in mm of each point of one surface to the nearest point of the other; below 0 within the other."""
    toReference, distances = vtk.vtkImplicitPolyDataDistance(), vtk.vtkDoubleArray()
    toReference.SetInput(reference)
    toReference.FunctionValue(measured.GetPoints().GetData(), distances)
    return vtk_to_numpy(distances)


def moved(measured: vtk.vtkPolyData, transform: vtk.vtkAbstractTransform) -> vtk.vtkPolyData:
    """A copy of the surface in other coordinates."""
    placed = vtk.vtkTransformPolyDataFilter()
    placed.SetTransform(transform)
    placed.SetInputData(measured)
    return _turnedOut(placed)


def _turnedOut(source: vtk.vtkPolyDataAlgorithm) -> vtk.vtkPolyData:
    """What ``source`` makes, with normals that point out: grids and transforms that mirror turn it inside out."""
    normals = vtk.vtkPolyDataNormals()
    normals.SetInputConnection(source.GetOutputPort())
    normals.SplittingOff()
    normals.AutoOrientNormalsOn()
    normals.Update()
    return normals.GetOutput()
