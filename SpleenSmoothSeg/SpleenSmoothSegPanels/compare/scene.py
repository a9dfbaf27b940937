"""The MRML nodes of a comparison, which are saved with the scene: a table, a chart, and a colored surface."""

import numpy as np
import slicer
import vtk
from slicer.i18n import tr as _
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from ..shared.display import COOL_TO_WARM, centerOn, divergingColors, showChart, updateChart
from ..shared.override import override, restore
from .surface import transformed

OWNER = "compare"
TABLE, CHART, SURFACE = "Comparison", "Comparison by height", "Comparison surface"
LABELS = "segment", "reference"  # roles of the two labels in the table node
SCALARS = "Signed distance (mm)"  # array name in files for other programs: not translated
RANGE_PERCENTILE = 95  # of the absolute distances; larger ones get the last color of the range
MIN_RANGE_MM = 0.1  # for identical surfaces


class CompareScene:
    """The nodes of the last comparison, found by an attribute, so that those of a loaded scene are reused."""

    # Numbers

    def storeNumbers(self, labels, rows: list[tuple[str, float]], remarks: str) -> None:
        """Store the rows (title, value; NaN if not computed) and the remarks in the table node.

        Args:
            labels: the ``Label`` of the segment and of the reference.
        """
        titles, values = vtk.vtkStringArray(), numpy_to_vtk(np.array([value for _title, value in rows]), deep=True)
        titles.SetName(_("Measure"))
        values.SetName(_("Value"))
        for title, _value in rows:
            titles.InsertNextValue(title)
        table = vtk.vtkTable()
        table.AddColumn(titles)
        table.AddColumn(values)
        node = _find("vtkMRMLTableNode", TABLE) or _create("vtkMRMLTableNode", TABLE)
        node.SetAndObserveTable(table)
        node.SetDescription(remarks)
        node.SetLocked(True)  # read-only in the table view
        for role, (label, segmentId) in zip(LABELS, labels, strict=True):
            node.SetNodeReferenceID(role, label.GetID())
            node.SetAttribute(_key(role), segmentId)
        node.RemoveAttribute(_key("outdated"))

    def numbersOf(self, labels) -> tuple[list[float], str] | None:
        """Values and remarks for these labels; None if not compared, changed since then, or deleted."""
        node = self._tableOf(labels)
        if node is None or node.GetAttribute(_key("outdated")):
            return None
        return vtk_to_numpy(node.GetTable().GetColumn(1)).tolist(), node.GetDescription() or ""

    def isOutdated(self, labels) -> bool:
        """Whether these labels have changed since they were compared."""
        node = self._tableOf(labels)
        return node is not None and node.GetAttribute(_key("outdated")) is not None

    def outdate(self) -> None:
        """Mark the result as outdated, because a label has changed."""
        node = _find("vtkMRMLTableNode", TABLE)
        if node is not None:
            node.SetAttribute(_key("outdated"), "1")

    def _tableOf(self, labels):
        node = _find("vtkMRMLTableNode", TABLE)
        if node is None or not node.GetNumberOfRows():
            return None
        kept = [(node.GetNodeReference(role), node.GetAttribute(_key(role)) or "") for role in LABELS]
        return node if kept == [tuple(label) for label in labels] else None

    # Errors by height

    def storeErrors(self, height_mm, false_negative_ml, false_positive_ml) -> None:
        """Plot the errors of each slice (mL) against its height above the lowest slice of the reference (mm)."""
        chart = updateChart(
            CHART,
            _("Errors by height"),
            _("Height in the reference (mm), bottom to top"),
            _("Errors per slice (mL)"),
            height_mm,
            {_("False negatives"): false_negative_ml, _("False positives"): false_positive_ml},
        )
        for index, color in enumerate((COOL_TO_WARM[0], COOL_TO_WARM[-1])):  # as on the surface: blue inside
            chart.GetNthPlotSeriesNode(index).SetColor(*(part / 255 for part in color))

    def errors(self) -> list[list[float]] | None:
        """Height (mm), false negatives and false positives (mL) of each slice; None if they were deleted."""
        chart = _find("vtkMRMLPlotChartNode", CHART)
        curve = chart and chart.GetNthPlotSeriesNode(0)
        table = curve and curve.GetTableNode()
        if table is None:
            return None
        return np.transpose([vtk_to_numpy(table.GetTable().GetColumn(column)) for column in range(3)]).tolist()

    def showChart(self) -> None:
        """Show the chart in the only layout of Slicer that has plot, 3D and slice views."""
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        layout.SetViewArrangement(layout.SlicerLayoutConventionalPlotView)
        showChart(_find("vtkMRMLPlotChartNode", CHART))

    # Signed distances

    def storeSurface(self, name: str, surface: vtk.vtkPolyData, distances_mm, parent) -> None:
        """Create or update the model of the segment's surface, colored by signed distance to the reference.

        Args:
            surface: in world RAS.
            distances_mm: one per point; positive outside of the reference.
            parent: the parent transform node of the segment, which also becomes that of the model; or None.
        """
        node = _find("vtkMRMLModelNode", SURFACE) or _create("vtkMRMLModelNode", SURFACE)
        node.SetName(name)
        node.SetAndObserveTransformNodeID(parent.GetID() if parent else None)
        node.SetAndObservePolyData(_inParent(surface, distances_mm, parent))
        if node.GetDisplayNode() is None:
            node.CreateDefaultDisplayNodes()
        display, limit = node.GetDisplayNode(), _rangeLimit(distances_mm)
        display.SetAndObserveColorNodeID(divergingColors().GetID())
        display.SetActiveScalarName(SCALARS)
        display.SetScalarRangeFlag(display.UseManualScalarRange)
        display.SetScalarRange(-limit, limit)
        display.SetScalarVisibility(True)
        legend = slicer.vtkSlicerColorLogic.AddDefaultColorLegendDisplayNode(display)
        legend.SetTitleText(_("Distance (mm)\n+ outside\n- inside"))
        legend.SetLabelFormat("%+.1f")
        legend.SetViewNodeIDs([view.GetID() for view in slicer.util.getNodesByClass("vtkMRMLViewNode")])

    def showSurface(self, isShown: bool) -> None:
        """Show the colored surface in 3D instead of the surfaces of both segments, or restore these."""
        restore(OWNER)
        model, table = _find("vtkMRMLModelNode", SURFACE), _find("vtkMRMLTableNode", TABLE)
        if model is None:
            return
        model.SetDisplayVisibility(isShown)
        if isShown and table is not None:
            for role in LABELS:
                _hide3D(table.GetNodeReference(role), table.GetAttribute(_key(role)))

    def hasSurface(self) -> bool:
        return _find("vtkMRMLModelNode", SURFACE) is not None

    def centerOnSurface(self) -> None:
        bounds = [0.0] * 6
        _find("vtkMRMLModelNode", SURFACE).GetRASBounds(bounds)
        centerOn([(low + high) / 2 for low, high in zip(bounds[::2], bounds[1::2], strict=True)])


def _hide3D(node, segmentId: str) -> None:
    if node is not None and node.IsA("vtkMRMLSegmentationNode"):
        for index in range(node.GetNumberOfDisplayNodes()):
            override(OWNER, node.GetNthDisplayNode(index), "SegmentVisibility3D", False, segmentId)


def _inParent(surface: vtk.vtkPolyData, distances_mm, parent) -> vtk.vtkPolyData:
    """The surface in the coordinates of its parent transform, with the distances as point scalars."""
    toParent = vtk.vtkGeneralTransform()
    slicer.vtkMRMLTransformNode.GetTransformBetweenNodes(None, parent, toParent)
    inParent = transformed(surface, toParent)
    scalars = numpy_to_vtk(np.asarray(distances_mm, np.float32), deep=True)
    scalars.SetName(SCALARS)
    inParent.GetPointData().SetScalars(scalars)
    return inParent


def _rangeLimit(distances_mm) -> float:
    return max(MIN_RANGE_MM, float(np.percentile(np.abs(distances_mm), RANGE_PERCENTILE)))


def _key(role: str) -> str:
    return f"SpleenSmoothSeg.{role}"


def _find(nodeClass: str, name: str):
    for node in slicer.util.getNodesByClass(nodeClass):
        if node.GetAttribute("SpleenSmoothSeg") == name:
            return node
    return None


def _create(nodeClass: str, name: str):
    node = slicer.mrmlScene.AddNewNodeByClass(nodeClass, name)
    node.SetAttribute("SpleenSmoothSeg", name)
    return node
