"""What a soft border preview puts into the scene: an overlay and two contours, taken away again without a trace."""

import numpy as np
import slicer
from slicer.i18n import tr as _

from ..shared.display import sequentialColors, showChart, updateChart
from ..shared.override import override, restore

OWNER = "border"
CHART = "Soft border profile"
HARD_COLOR = (255, 255, 255)
PLOTTED_HARD_COLOR = (128, 128, 128)  # of the same on a plot's bright background
SOFT_COLOR = (255, 90, 50)  # not in viridis; the color blind tell it from white, too
LEAST_SHOWN = 0.01  # below it a soft label is not shown: a Gaussian's tails would darken half the CT


class BorderScene:
    """The nodes of the preview: hidden in the node selectors, not saved with the scene."""

    def __init__(self):
        self._helpers = {}

    def drawLabel(self, hard) -> None:
        """Draw the contour of the label itself (``sitk.Image``, 0 and 1)."""
        self._draw("hard contour", hard, HARD_COLOR)

    def drawSoftLabel(self, soft) -> None:
        """Show the soft label (``sitk.Image``, 0 to 1) and draw its 0.5 contour."""
        from SpleenSmoothSegLib.mrml import setVoxels

        overlay = self._helper("overlay", slicer.vtkMRMLScalarVolumeNode)
        if overlay.GetDisplayNode() is None:
            overlay.SetAndObserveDisplayNodeID(self._overlayDisplay().GetID())
        setVoxels(overlay, soft)
        self._draw("soft contour", soft, SOFT_COLOR)

    def layOver(self, node, segmentId: str, opacity: float) -> None:
        """Show the overlay in every slice view in place of the label, which would cover it."""
        overlay = self._helpers["overlay"]
        for composite in slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode"):
            override(OWNER, composite, "ForegroundVolumeID", overlay.GetID())
            override(OWNER, composite, "ForegroundOpacity", opacity)
            if composite.GetLabelVolumeID() == node.GetID():
                override(OWNER, composite, "LabelVolumeID", None)
        if node.IsA("vtkMRMLSegmentationNode"):
            for index in range(node.GetNumberOfDisplayNodes()):
                for part in ("Fill", "Outline"):
                    override(OWNER, node.GetNthDisplayNode(index), f"SegmentVisibility2D{part}", False, segmentId)

    def updateProfile(self, border: str, distances, soft) -> None:
        """Plot the mean of the soft label over the distance to the border (mm), beside the step of the hard one."""
        step = np.searchsorted(distances, 0)
        x = np.insert(distances, step, [0, 0])  # from 0 to 1 at one and the same place
        chart = updateChart(
            CHART,
            _("Soft label across the border: {border}").format(border=border),
            _("Distance to the border (mm), inside above 0"),
            _("Label"),
            x,
            {_("soft"): np.interp(x, distances, soft), _("hard"): np.arange(len(x)) > step},
        )
        self._helpers["chart"] = chart
        for index, color in enumerate((SOFT_COLOR, PLOTTED_HARD_COLOR)):
            series = chart.GetNthPlotSeriesNode(index)
            series.SetColor(*(part / 255 for part in color))
            self._helpers[f"curve {index}"], self._helpers["table"] = series, series.GetTableNode()
        for helper in self._helpers.values():
            helper.SetSaveWithScene(False)

    def showProfile(self) -> None:
        """Bring up Slicer's plot view with the profile; the layout of before comes back with `remove`."""
        layout = slicer.mrmlScene.GetFirstNodeByClass("vtkMRMLLayoutNode")
        withPlot = slicer.modules.plots.logic().GetLayoutWithPlot(layout.GetViewArrangement())
        override(OWNER, layout, "ViewArrangement", withPlot)
        showChart(self._helpers["chart"])

    def restore(self) -> None:
        """Show label and foreground as they were."""
        restore(OWNER)

    def remove(self) -> None:
        """Take everything away, and show what was there before."""
        restore(OWNER)
        for helper in self._helpers.values():
            if helper.GetScene() is not None:  # it went with the scene, or somebody deleted it
                helper.GetScene().RemoveNode(helper)
        self._helpers.clear()

    def _helper(self, name: str, nodeClass):
        """The helper of that name; made anew where it is not there, or no longer."""
        helper = self._helpers.get(name)
        if helper is None or helper.GetScene() is None:
            helper = nodeClass()
            helper.SetName(f"Soft border {name}")
            helper.SetHideFromEditors(True)
            helper.SetSaveWithScene(False)
            self._helpers[name] = slicer.mrmlScene.AddNode(helper)
        return helper

    def _overlayDisplay(self):
        display = self._helper("overlay display", slicer.vtkMRMLScalarVolumeDisplayNode)
        display.SetAndObserveColorNodeID(sequentialColors().GetID())
        display.SetAutoWindowLevel(False)
        display.SetWindowLevelMinMax(0, 1)
        display.SetApplyThreshold(True)
        display.SetThreshold(LEAST_SHOWN, 1)
        display.SetInterpolate(False)  # voxel by voxel: between slices an in-plane border is a step
        return display

    def _draw(self, name: str, image, color) -> None:
        from SpleenSmoothSegLib.mrml import surfaceOf

        model = self._helper(name, slicer.vtkMRMLModelNode)
        if model.GetDisplayNode() is None:
            display = self._helper(f"{name} display", slicer.vtkMRMLModelDisplayNode)
            display.SetColor(*(part / 255 for part in color))
            display.SetVisibility2D(True)
            display.SetVisibility3D(False)
            display.SetSliceIntersectionThickness(2)
            model.SetAndObserveDisplayNodeID(display.GetID())
        model.SetAndObservePolyData(surfaceOf(image))
