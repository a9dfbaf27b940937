"""The MRML nodes of the soft border preview: an overlay, two contours and a plot, all removed when it is hidden."""

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..shared.display import sequentialColors, showChart, updateChart
from ..shared.override import override, restore

OWNER = "border"
CHART = "Soft border profile"
HARD_COLOR = (255, 255, 255)
PLOTTED_HARD_COLOR = (128, 128, 128)  # white is invisible on a plot's bright background
SOFT_COLOR = (255, 90, 50)  # not in viridis; distinct from white with color blindness too
MIN_SHOWN = 0.01  # lower values are hidden: the tails of a Gaussian would darken half the CT


class BorderScene:
    """The nodes of the preview: hidden in node selectors, and not saved with the scene."""

    def __init__(self):
        self._nodes = {}

    def drawLabel(self, hard) -> None:
        """Draw the border of the label (``sitk.Image``, 0 and 1)."""
        self._draw("hard contour", hard, HARD_COLOR)

    def drawSoftLabel(self, soft) -> None:
        """Show the soft label (``sitk.Image``, 0 to 1) and draw its 0.5 contour."""
        from SpleenSmoothSegLib.mrml import setVoxels

        overlay = self._node("overlay", slicer.vtkMRMLScalarVolumeNode)
        if overlay.GetDisplayNode() is None:
            overlay.SetAndObserveDisplayNodeID(self._overlayDisplay().GetID())
        setVoxels(overlay, soft)
        self._draw("soft contour", soft, SOFT_COLOR)

    def show(self, label, opacity: float) -> None:
        """Show the overlay in every slice view, and hide the label (``shared.widgets.Label``), which would cover it."""
        overlay = self._nodes["overlay"]
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            override(OWNER, composite, "ForegroundVolumeID", overlay.GetID())
            override(OWNER, composite, "ForegroundOpacity", opacity)
            if composite.GetLabelVolumeID() == label.node.GetID():
                override(OWNER, composite, "LabelVolumeID", None)
        if label.isSegment():
            for index in range(label.node.GetNumberOfDisplayNodes()):
                display = label.node.GetNthDisplayNode(index)
                for part in ("Fill", "Outline"):
                    override(OWNER, display, f"SegmentVisibility2D{part}", False, label.segmentId)

    def updateProfile(self, border: str, distances, soft) -> None:
        """Plot the mean soft label, and the step of the hard label, against the signed distance to the border (mm)."""
        step = np.searchsorted(distances, 0)
        x = np.insert(distances, step, [0, 0])  # two points, for a vertical step from 0 to 1
        chart = updateChart(
            CHART,
            _("Soft label across the border: {border}").format(border=border),
            _("Distance to the border (mm), positive inside"),
            _("Label"),
            x,
            {_("soft"): np.interp(x, distances, soft), _("hard"): np.arange(len(x)) > step},
        )
        self._nodes["chart"] = chart
        for index, color in enumerate((SOFT_COLOR, PLOTTED_HARD_COLOR)):
            series = chart.GetNthPlotSeriesNode(index)
            series.SetColor(*(part / 255 for part in color))
            self._nodes[f"curve {index}"], self._nodes["table"] = series, series.GetTableNode()
        for node in self._nodes.values():
            node.SetSaveWithScene(False)

    def showProfile(self) -> None:
        """Show the profile in a layout with a plot view, until `remove` restores the previous layout."""
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        withPlot = slicer.modules.plots.logic().GetLayoutWithPlot(layout.GetViewArrangement())
        override(OWNER, layout, "ViewArrangement", withPlot)
        showChart(self._nodes["chart"])

    def restore(self) -> None:
        """Restore the visibility of the label and the foreground of the views."""
        restore(OWNER)

    def remove(self) -> None:
        """Remove all nodes, and restore the views."""
        restore(OWNER)
        for node in self._nodes.values():
            if node.GetScene() is not None:  # else the user deleted it, or closed the scene
                node.GetScene().RemoveNode(node)
        self._nodes.clear()

    def _node(self, name: str, nodeClass):
        """The node of that name; created if it does not exist, or was deleted."""
        node = self._nodes.get(name)
        if node is None or node.GetScene() is None:
            node = nodeClass()
            node.SetName(f"Soft border {name}")
            node.SetHideFromEditors(True)
            node.SetSaveWithScene(False)
            self._nodes[name] = slicer.mrmlScene.AddNode(node)
        return node

    def _overlayDisplay(self):
        display = self._node("overlay display", slicer.vtkMRMLScalarVolumeDisplayNode)
        display.SetAndObserveColorNodeID(sequentialColors().GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, 1)
        display.SetApplyThreshold(True)
        display.SetThreshold(MIN_SHOWN, 1)
        display.SetInterpolate(False)  # an in-plane border is a step between slices, which interpolation would hide
        return display

    def _draw(self, name: str, image, color) -> None:
        from SpleenSmoothSegLib.mrml import surfaceOf

        model = self._node(name, slicer.vtkMRMLModelNode)
        if model.GetDisplayNode() is None:
            display = self._node(f"{name} display", slicer.vtkMRMLModelDisplayNode)
            display.SetColor(*(part / 255 for part in color))
            display.SetVisibility2D(True)
            display.SetVisibility3D(False)
            display.SetSliceIntersectionThickness(2)
            model.SetAndObserveDisplayNodeID(display.GetID())
        model.SetAndObservePolyData(surfaceOf(image))
