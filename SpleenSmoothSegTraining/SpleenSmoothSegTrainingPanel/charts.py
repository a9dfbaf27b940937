"""Curves of a training in Slicer's own plot view: one chart of the validation Dice, one of the loss."""

import math

import slicer
from slicer.i18n import tr as _

from SpleenSmoothSegPanels.shared.display import showChart, updateChart

from .curves import PLAIN, SMOOTHED, Epoch, TrainingCurves

DICE, LOSS = "Training: validation Dice", "Training: loss"  # names of the chart nodes
LEGEND_ROOM = 1.5  # as wide as the curves are
# A color for each fold, which people of any color vision tell apart (Okabe and Ito).
FOLD_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def updateCharts(curves: TrainingCurves) -> None:
    """Bring both charts up to date, or make them."""
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
    if name == DICE:  # grows towards the legend, which needs a place beside it
        chart.SetXAxisRangeAuto(False)
        chart.SetXAxisRange(0, math.ceil(LEGEND_ROOM * longest))
    styles = _styles([variant for variant, _fold in folds])
    for index, ((variant, fold), epochs) in enumerate(folds.items()):
        curve = chart.GetNthPlotSeriesNode(index)
        curve.SetColor(*_rgb(FOLD_COLORS[fold % len(FOLD_COLORS)]))
        curve.SetLineStyle(styles[variant])
        # One point makes no line.
        curve.SetMarkerStyle(curve.MarkerStyleCircle if len(epochs) == 1 else curve.MarkerStyleNone)


def _title(variant: str, fold: int) -> str:
    """For the legend; folds are counted from 0, as in the results folder and in the report."""
    if variant == SMOOTHED:
        return _("Fold {fold}").format(fold=fold)
    if variant == PLAIN:
        return _("Fold {fold}, plain").format(fold=fold)
    return _("Fold {fold}, {border}").format(fold=fold, border=variant)


def _padded(epochs: list[Epoch], length: int, measure) -> list[float]:
    return [measure(epoch) for epoch in epochs] + [math.nan] * (length - len(epochs))


def _styles(variants: list[str]) -> dict[str, int]:
    """Solid for the soft border, dashed for the control, others by turns."""
    node = slicer.vtkMRMLPlotSeriesNode
    others = [variant for variant in dict.fromkeys(variants) if variant not in (SMOOTHED, PLAIN)]
    turns = (node.LineStyleDot, node.LineStyleDashDot, node.LineStyleDashDotDot)
    styles = {variant: turns[index % len(turns)] for index, variant in enumerate(others)}
    return styles | {SMOOTHED: node.LineStyleSolid, PLAIN: node.LineStyleDash}


def _rgb(color: str) -> tuple[float, ...]:
    return tuple(int(color[start : start + 2], 16) / 255 for start in (1, 3, 5))
