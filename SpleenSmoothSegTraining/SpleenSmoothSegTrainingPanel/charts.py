"""Training curves in Slicer's plot view: one chart of the validation Dice, one of the loss."""

import math

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegPanels.shared.display import showChart, updateChart
from SpleenSmoothSegTrainingLib.outfolder import CONTROL, SMOOTHED

from .curves import Epoch, TrainingCurves

DICE, LOSS = "Training: validation Dice", "Training: loss"  # names of the chart nodes
LEGEND_ROOM = 1.5  # width of the chart, relative to the curves
# One color per fold, distinguishable with color vision deficiency (Okabe and Ito).
FOLD_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def updateCharts(curves: TrainingCurves) -> None:
    """Update both charts, or create them."""
    _update(DICE, _("Validation Dice"), _("Dice"), curves, lambda epoch: epoch.dice)
    _update(LOSS, _("Training loss"), _("Loss"), curves, lambda epoch: epoch.loss)


def showCurves(name: str, curves: TrainingCurves) -> None:
    """Show DICE or LOSS in the plot view, in a layout that has one."""
    updateCharts(curves)
    showChart(next(node for node in slicer.util.getNodesByClass("vtkMRMLPlotChartNode") if _isOurs(node, name)))


def _isOurs(node, name: str) -> bool:
    return node.GetAttribute("SpleenSmoothSeg") == name


def _update(name: str, title: str, yTitle: str, curves: TrainingCurves, measure) -> None:
    folds = curves.folds()
    longest = max(map(len, folds.values()), default=0)
    series = {_title(*key): _padded(epochs, longest, measure) for key, epochs in folds.items()}
    chart = updateChart(name, title, _("Epoch of the fold"), yTitle, range(1, longest + 1), series)
    if name == DICE:  # these curves rise toward the legend, which needs free space to the right
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(0, math.ceil(LEGEND_ROOM * longest))
    styles = _styles([variant for variant, _fold in folds])
    for index, ((variant, fold), epochs) in enumerate(folds.items()):
        curve = chart.GetNthPlotSeriesNode(index)
        curve.SetColor(*_rgb(FOLD_COLORS[fold % len(FOLD_COLORS)]))
        curve.SetLineStyle(styles[variant])
        # A single point is not visible as a line.
        curve.SetMarkerStyle(curve.MarkerStyleCircle if len(epochs) == 1 else curve.MarkerStyleNone)


def _title(variant: str, fold: int) -> str:
    """Text in the legend; folds are counted from 0, as in the results folder and the report."""
    if variant == SMOOTHED:
        return _("Fold {fold}").format(fold=fold)
    if variant == CONTROL:
        return _("Fold {fold}, control").format(fold=fold)
    return _("Fold {fold}, {border}").format(fold=fold, border=variant)


def _padded(epochs: list[Epoch], length: int, measure) -> list[float]:
    return [measure(epoch) for epoch in epochs] + [math.nan] * (length - len(epochs))


def _styles(variants: list[str]) -> dict[str, int]:
    """Line styles: solid for the soft border, dashed for the control, alternating for the others."""
    node = slicer.vtkMRMLPlotSeriesNode
    others = [variant for variant in dict.fromkeys(variants) if variant not in (SMOOTHED, CONTROL)]
    otherStyles = (node.LineStyleDot, node.LineStyleDashDot, node.LineStyleDashDotDot)
    styles = {variant: otherStyles[index % len(otherStyles)] for index, variant in enumerate(others)}
    return styles | {SMOOTHED: node.LineStyleSolid, CONTROL: node.LineStyleDash}


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
