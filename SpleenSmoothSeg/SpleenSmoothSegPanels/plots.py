"""Curves in Slicer's own plot view: a table node, a series node for each of its curves, and a chart node."""

import numpy as np
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk


def updateChart(name: str, title: str, xTitle: str, yTitle: str, x, series: dict):
    """The chart node ``name``: made the first time, later with new numbers.

    Args:
        x: the values along the axis below.
        series: for each curve its title, as the legend shows it, and its values, as many as ``x`` has.
    """
    table = _node("vtkMRMLTableNode", f"{name} table")
    _fill(table, {xTitle: x, **series})
    chart = _node("vtkMRMLPlotChartNode", name)
    modifying = chart.StartModify()
    chart.SetTitle(title)
    chart.SetXAxisTitle(xTitle)
    chart.SetYAxisTitle(yTitle)
    curves = [_curve(table, xTitle, column, number) for number, column in enumerate(series)]
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


def _curve(table, xTitle: str, column: str, number: int):
    curve = _node("vtkMRMLPlotSeriesNode", f"{table.GetName()}: {column}")
    if curve.GetTableNodeID() != table.GetID():
        curve.SetAndObserveTableNodeID(table.GetID())
        curve.SetPlotType(slicer.vtkMRMLPlotSeriesNode.PlotTypeScatter)
        curve.SetMarkerStyle(slicer.vtkMRMLPlotSeriesNode.MarkerStyleNone)
        curve.SetLineWidth(3)
        curve.SetUniqueColor()
    curve.SetXColumnName(xTitle)
    curve.SetYColumnName(column)
    curve.SetName(column)  # the legend shows it
    return curve


def _fill(tableNode, columns: dict) -> None:
    table = vtk.vtkTable()
    for title, values in columns.items():
        array = numpy_to_vtk(np.asarray(values, float), deep=True)
        array.SetName(title)
        table.AddColumn(array)
    tableNode.SetAndObserveTable(table)


def _node(nodeClass: str, name: str):
    """The node of that name, ours by an attribute, so that a user's node of the same name is left alone."""
    for node in slicer.util.getNodesByClass(nodeClass):
        if node.GetAttribute("SpleenSmoothSeg") == name:
            return node
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
    node.SetAttribute("SpleenSmoothSeg", name)
    return node
