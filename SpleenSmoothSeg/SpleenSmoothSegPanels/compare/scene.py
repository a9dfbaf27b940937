"""What a comparison leaves in the scene, and a saved scene keeps: a table, a chart, and a surface with colors."""

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..shared.display import COOL_TO_WARM, centerOn, divergingColors, showChart, updateChart
from ..shared.override import override, restore
from .surface import moved

OWNER = "compare"
TABLE, CHART, SURFACE = "Comparison", "Comparison by height", "Comparison surface"
LABELS = "segment", "reference"  # roles of the two labels in the table node
SCALARS = "Signed distance (mm)"  # name of the array, which other programs read: not translated
RANGE_PERCENTILE = 95  # of the distances; farther ones have the color of the end of the range
SMALLEST_RANGE_MM = 0.1  # where the surfaces are the same


class CompareScene:
    """The nodes of the newest comparison: found by an attribute, so that those of a loaded scene are taken up again."""

    # Numbers

    def keepNumbers(self, labels, rows: list[tuple[str, float]], notes: str) -> None:
        """Write (title, value) into the table, NaN for what could not be computed, with sentences on them.

        Args:
            labels: (node, segment id) of the segment and of the reference.
        """
        titles, values = vtk.vtkStringArray(), numpy_to_vtk(np.array([value for _title, value in rows]), deep=True)
        titles.SetName(_("Measure"))
        values.SetName(_("Value"))
        for title, _value in rows:
            titles.InsertNextValue(title)
        table = vtk.vtkTable()
        table.AddColumn(titles)
        table.AddColumn(values)
        node = _found("vtkMRMLTableNode", TABLE) or _made("vtkMRMLTableNode", TABLE)
        node.SetAndObserveTable(table)
        node.SetDescription(notes)
        node.SetLocked(True)  # for the table view: what was measured is not edited
        for role, (label, segmentId) in zip(LABELS, labels, strict=True):
            node.SetNodeReferenceID(role, label.GetID())
            node.SetAttribute(_key(role), segmentId)
        node.RemoveAttribute(_key("outdated"))

    def numbersOf(self, labels) -> tuple[list[float], str] | None:
        """Values and sentences of these two labels, or None: never compared, changed since, or deleted."""
        node = self._tableOf(labels)
        if node is None or node.GetAttribute(_key("outdated")):
            return None
        return vtk_to_numpy(node.GetTable().GetColumn(1)).tolist(), node.GetDescription() or ""

    def isOutdated(self, labels) -> bool:
        node = self._tableOf(labels)
        return node is not None and node.GetAttribute(_key("outdated")) is not None

    def outdate(self) -> None:
        """The labels have changed: the numbers are no longer theirs."""
        node = _found("vtkMRMLTableNode", TABLE)
        if node is not None:
            node.SetAttribute(_key("outdated"), "1")

    def _tableOf(self, labels):
        node = _found("vtkMRMLTableNode", TABLE)
        if node is None or not node.GetNumberOfRows():
            return None
        kept = [(node.GetNodeReference(role), node.GetAttribute(_key(role)) or "") for role in LABELS]
        return node if kept == [tuple(label) for label in labels] else None

    # Errors by height

    def keepErrors(self, height_mm, false_negative_ml, false_positive_ml) -> None:
        """Draw the errors of each slice over its height above the lowest slice of the reference."""
        chart = updateChart(
            CHART,
            _("Errors by height"),
            _("Height in the reference (mm), bottom to top"),
            _("Volume of a slice's errors (mL)"),
            height_mm,
            {_("False negatives"): false_negative_ml, _("False positives"): false_positive_ml},
        )
        for index, color in enumerate((COOL_TO_WARM[0], COOL_TO_WARM[-1])):  # as the surface: missing blue, extra red
            chart.GetNthPlotSeriesNode(index).SetColor(*(part / 255 for part in color))

    def errors(self) -> list[list[float]] | None:
        """Height (mm), false negatives and false positives (mL) of each slice; None if they are deleted."""
        chart = _found("vtkMRMLPlotChartNode", CHART)
        curve = chart and chart.GetNthPlotSeriesNode(0)
        table = curve and curve.GetTableNode()
        if table is None:
            return None
        return np.transpose([vtk_to_numpy(table.GetTable().GetColumn(column)) for column in range(3)]).tolist()

    def showChart(self) -> None:
        """Show the chart beside the 3D view, in the only one of Slicer's layouts that has both and the slice views."""
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        layout.SetViewArrangement(layout.SlicerLayoutConventionalPlotView)
        showChart(_found("vtkMRMLPlotChartNode", CHART))

    # Signed distances

    def keepSurface(self, name: str, surface: vtk.vtkPolyData, distances_mm, parent) -> None:
        """Make the model of the judged segment's surface, colored by its signed distances to the reference.

        Args:
            surface: in world RAS.
            distances_mm: of each of its points; above 0 outside of the reference.
            parent: the transform node that the segment follows, and then the model, too; or None.
        """
        node = _found("vtkMRMLModelNode", SURFACE) or _made("vtkMRMLModelNode", SURFACE)
        node.SetName(name)
        node.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
        node.SetAndObservePolyData(_placed(surface, distances_mm, parent))
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        display, reach = node.GetDisplayNode(), _reach(distances_mm)
        display.SetAndObserveColorNodeID(divergingColors().GetID())
        display.SetActiveScalarName(SCALARS)
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        display.SetScalarRange(-reach, reach)
        display.SetScalarVisibility(True)
        legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(display)
        legend.SetTitleText(_("Distance (mm)\n+ outside\n- inside"))
        legend.SetLabelFormat("%+.1f")
        legend.SetViewNodeIDs([view.GetID() for view in slicer.util.getNodesByClass("vtkMRMLViewNode")])

    def showSurface(self, isShown: bool) -> None:
        """Show the colored surface with its legend, in place of the 3D surfaces of the two segments; or these again."""
        restore(OWNER)
        model, table = _found("vtkMRMLModelNode", SURFACE), _found("vtkMRMLTableNode", TABLE)
        if model is None:
            return
        model.SetDisplayVisibility(isShown)
        if isShown and table is not None:
            for role in LABELS:
                _hide3D(table.GetNodeReference(role), table.GetAttribute(_key(role)))

    def hasSurface(self) -> bool:
        return _found("vtkMRMLModelNode", SURFACE) is not None

    def centerOnSurface(self) -> None:
        bounds = [0.0] * 6
        _found("vtkMRMLModelNode", SURFACE).GetRASBounds(bounds)
        centerOn([(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)])


def _hide3D(node, segmentId: str) -> None:
    if node is not None and node.IsA("vtkMRMLSegmentationNode"):
        for index in range(node.GetNumberOfDisplayNodes()):
            override(OWNER, node.GetNthDisplayNode(index), "SegmentVisibility3D", False, segmentId)


def _placed(surface: vtk.vtkPolyData, distances_mm, parent) -> vtk.vtkPolyData:
    """The surface in the coordinates of its parent transform, with its distances as point scalars."""
    toParent = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, parent, toParent)
    placed = moved(surface, toParent)
    scalars = numpy_to_vtk(np.asarray(distances_mm, np.float32), deep=True)
    scalars.SetName(SCALARS)
    placed.GetPointData().SetScalars(scalars)
    return placed


def _reach(distances_mm) -> float:
    return max(SMALLEST_RANGE_MM, float(np.percentile(np.abs(distances_mm), RANGE_PERCENTILE)))


def _key(role: str) -> str:
    return f"SpleenSmoothSeg.{role}"


def _found(nodeClass: str, name: str):
    for node in slicer.util.getNodesByClass(nodeClass):
        if node.GetAttribute("SpleenSmoothSeg") == name:
            return node
    return None


def _made(nodeClass: str, name: str):
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
    node.SetAttribute("SpleenSmoothSeg", name)
    return node
