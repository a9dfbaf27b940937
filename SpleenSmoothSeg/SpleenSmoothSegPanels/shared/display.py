"""Slice, 3D and plot views: overlays, surfaces, charts and their colors."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk

OVERLAY_OPACITY = 0.4  # the CT beneath is still readable


def showOverlay(volumeNode, opacity: float = OVERLAY_OPACITY) -> None:
    """Show the volume as the foreground of the slice views."""
    slicer.util.setSliceViewerLayers(foreground=volumeNode, foregroundOpacity=opacity)


def hideOverlay(volumeNode) -> None:
    """Remove the volume from the foreground of the slice views that show it."""
    for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
        if composite.GetForegroundVolumeID() == volumeNode.GetID():
            composite.SetForegroundVolumeID(None)


def centerOn(pointRas) -> None:
    """Center every slice view and 3D view on a point (world RAS, mm)."""
    slicer.vtkMRMLSliceNode.JumpAllSlices(slicer.mrmlScene, *pointRas, slicer.vtkMRMLSliceNode.CenteredJumpSlice)
    for camera in slicer.util.getNodesByClass("vtkMRMLCameraNode"):
        moved = [to - was for to, was in zip(pointRas, camera.GetFocalPoint(), strict=True)]
        camera.SetPosition([at + by for at, by in zip(camera.GetPosition(), moved, strict=True)])
        camera.SetFocalPoint(pointRas)


def showSurface(segmentationNode, smoothing: float = 0.5) -> None:
    """Show the segmentation's closed surface in 3D, smoothed by a factor from 0 to 1, as Segment Editor does."""
    segmentation = segmentationNode.GetSegmentation()
    segmentation.SetConversionParameter("Smoothing factor", str(smoothing))
    segmentationNode.CreateClosedSurfaceRepresentation()
    segmentationNode.GetDisplayNode().SetVisibility(True)
    segmentationNode.GetDisplayNode().SetPreferredDisplayRepresentationName3D("Closed surface")


# Colors (RGB, 0 to 255) at equal distances, from the lowest value to the highest.
# Viridis by Stefan van der Walt and Nathaniel Smith (CC0), from dark blue to yellow.
VIRIDIS = ((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
           (170, 220, 50), (253, 231, 37))  # fmt: skip
# Cool to warm by Kenneth Moreland (Diverging Color Maps for Scientific Visualization, 2009): blue, light gray, red.
COOL_TO_WARM = ((59, 76, 192), (98, 130, 234), (141, 176, 254), (184, 208, 249), (221, 221, 221), (245, 196, 173),
                (244, 154, 123), (222, 96, 77), (180, 4, 38))  # fmt: skip


def sequentialColors():
    """The color node for amounts (soft label, uncertainty): dark is low, bright is high."""
    return _colorTable("Spleen viridis", VIRIDIS)


def divergingColors():
    """The color node for signed values, on a range symmetric about 0: blue is negative, red is positive."""
    return _colorTable("Spleen cool to warm", COOL_TO_WARM)


def _colorTable(name: str, colors, steps: int = 256):
    node = slicer.mrmlScene.GetFirstNode(name, "vtkMRMLColorTableNode")
    if node is not None:
        return node
    between = vtk.vtkColorTransferFunction()
    for index, color in enumerate(colors):
        between.AddRGBPoint(index / (len(colors) - 1), *(part / 255 for part in color))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetTypeToUser()
    node.SetNumberOfColors(steps)
    for index in range(steps):
        value = index / (steps - 1)
        node.SetColor(index, f"{value:.3f}", *between.GetColor(value))
    node.SetAttribute("Category", "SpleenSmoothSeg")
    return node


def updateChart(name: str, title: str, xTitle: str, yTitle: str, x, series: dict):
    """Create the chart node ``name``, or update the existing one.

    Args:
        x: the values along the x axis.
        series: for each curve its title in the legend, and its values, as many as ``x`` has.
    """
    table = _node("vtkMRMLTableNode", f"{name} table")
    _fill(table, {xTitle: x, **series})
    chart = _node("vtkMRMLPlotChartNode", name)
    modifying = chart.StartModify()
    chart.SetTitle(title)
    chart.SetXAxisTitle(xTitle)
    chart.SetYAxisTitle(yTitle)
    curves = [_curve(table, xTitle, column) for column in series]
    shown = [chart.GetNthPlotSeriesNodeID(index) for index in range(chart.GetNumberOfPlotSeriesNodes())]
    if shown != [curve.GetID() for curve in curves]:
        chart.RemoveAllPlotSeriesNodeIDs()
        for curve in curves:
            chart.AddAndObservePlotSeriesNodeID(curve.GetID())
    chart.EndModify(modifying)
    return chart


def showChart(chartNode) -> None:
    """Show the chart in Slicer's plot view, in a layout that has one."""
    slicer.modules.plots.logic().ShowChartInLayout(chartNode)


def _curve(table, xTitle: str, column: str):
    curve = _node("vtkMRMLPlotSeriesNode", f"{table.GetName()}: {column}")
    if curve.GetTableNodeID() != table.GetID():
        curve.SetAndObserveTableNodeID(table.GetID())
        curve.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        curve.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        curve.SetLineWidth(3)
        curve.SetUniqueColor()
    curve.SetXColumnName(xTitle)
    curve.SetYColumnName(column)
    curve.SetName(column)  # shown in the legend
    return curve


def _fill(tableNode, columns: dict) -> None:
    table = vtk.vtkTable()
    for title, values in columns.items():
        array = numpy_to_vtk(np.asarray(values, float), deep=True)
        array.SetName(title)
        table.AddColumn(array)
    tableNode.SetAndObserveTable(table)


def _node(nodeClass: str, name: str):
    """The node that carries this name in an attribute: a user's node of the same name is never touched."""
    for node in slicer.util.getNodesByClass(nodeClass):
        if node.GetAttribute("SpleenSmoothSeg") == name:
            return node
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
    node.SetAttribute("SpleenSmoothSeg", name)
    return node
