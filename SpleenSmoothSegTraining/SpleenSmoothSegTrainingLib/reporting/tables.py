"""The report's tables; a cell of a comparison is "control (smoothed)", as in the paper's Table 1."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean

from SpleenSmoothSegLib.border.kernels import Border

from ..measuring.byheight import dice_of_slices
from ..measuring.casemetrics import VolumeRow
from ..measuring.metricsfile import Metrics
from ..measuring.statistics import Estimate, by_patient, compare_paired, estimate, format_p
from ..recipe.variants import NO_BORDER
from .document import Table

NOTHING = "–"
OVERLAP = {"dice": "Dice", "precision": "precision", "recall": "recall"}
MEASURES = (  # column, name, digits
    *((column, name, 3) for column, name in OVERLAP.items()),
    ("surface_dice_1mm", "surface Dice at 1 mm", 3),
    ("surface_dice_2mm", "surface Dice at 2 mm", 3),
    ("assd_mm", "ASSD, mm", 2),
    ("hd95_mm", "HD95, mm", 1),
    ("false_negative_ml", "false negatives, mL", 1),
    ("false_positive_ml", "false positives, mL", 1),
)

# Groza et al., Table 1: folds 0 to 4 and ensemble, each without and with border smoothing.
PAPER_TABLE_1 = {
    "dice": (
        *((0.9034, 0.9280), (0.9098, 0.9141), (0.9072, 0.9328), (0.9324, 0.9418), (0.9169, 0.9334)),
        (0.9432, 0.9486),
    ),
    "precision": (
        *((0.9504, 0.9434), (0.9405, 0.9312), (0.9375, 0.9464), (0.9458, 0.9601), (0.9267, 0.9449)),
        (0.9584, 0.9542),
    ),
    "recall": (
        *((0.9018, 0.9370), (0.9272, 0.9352), (0.9279, 0.9405), (0.9466, 0.9389), (0.9370, 0.9481)),
        (0.9445, 0.9535),
    ),
}

VariantMetrics = Mapping[str, Metrics]  # "control" before "smoothed", or a single variant
HELD_OUT, TESTED = ("validation", None), ("test", "ensemble")


def select(metrics: Metrics, of_set: str, predicted_by: str | None = None) -> list[VolumeRow]:
    """The volume rows of a set, by one predictor or by all."""
    return [row for row in metrics.volumes if row.set == of_set and predicted_by in (None, row.predicted_by)]


def select_slices(metrics: Metrics, of_set: str, predicted_by: str | None = None) -> list:
    return [row for row in metrics.slices if row.set == of_set and predicted_by in (None, row.predicted_by)]


def values(rows: Iterable[VolumeRow], column: str) -> dict[str, float]:
    """The mean of a measure by patient."""
    return by_patient((row.case, getattr(row, column)) for row in rows)


def table_1(variants: VariantMetrics, fold_count: int) -> Table:
    """Mean Dice, precision and recall of the test cases by fold and by ensemble, in the layout of the paper's Table 1.

    Without test cases, the values of each fold are from its held-out cases, and there is no ensemble.
    """
    is_tested = any(select(metrics, "test") for metrics in variants.values())
    of_set = "test" if is_tested else "validation"
    predictors = [*(f"fold {number}" for number in range(fold_count)), "ensemble"]
    count = len({row.case for metrics in variants.values() for row in select(metrics, of_set)})
    rows = [
        [name, *(_means(variants, of_set, predictor, column) for predictor in predictors)]
        for column, name in OVERLAP.items()
    ]
    if is_tested:
        note = f"Mean over {_cases(count, 'test case')} that no fold was trained on."
    else:
        note = (
            "Without test cases, each fold is measured on its held-out cases, so the folds have different cases, and "
            "the ensemble cannot be measured."
        )
    caption = f"Table 1 of this training{_legend(variants)}"
    return Table(caption, ["", *predictors], rows, note)


def paper_table() -> Table:
    """The numbers of the paper in the same layout."""
    rows = [
        [name, *(f"{control:.4f} ({smoothed:.4f})" for control, smoothed in PAPER_TABLE_1[column])]
        for column, name in OVERLAP.items()
    ]
    return Table(
        "The paper's Table 1: control (smoothed)",
        ["", *(f"fold {number}" for number in range(5)), "ensemble"],
        rows,
        "On other data: Groza et al. used the 41 labeled CTs of the Medical Segmentation Decathlon with a split of "
        "their own.",
    )


def case_table(variants: VariantMetrics) -> Table | None:
    """Each held-out case by its fold; None without such cases."""
    by_variant = [
        {(row.case, row.predicted_by): row for row in select(metrics, *HELD_OUT)} for metrics in variants.values()
    ]
    keys = list(dict.fromkeys(key for rows in by_variant for key in rows))
    if not keys:
        return None

    def cell(key: tuple[str, str], column: str, digits: int) -> str:
        return _brackets([_number(getattr(rows.get(key), column, None), digits) for rows in by_variant])

    rows = [
        [
            *key,
            *(cell(key, column, 3) for column in OVERLAP),
            cell(key, "predicted_ml", 0),
            _number(next(rows[key].label_ml for rows in by_variant if key in rows), 0),
        ]
        for key in keys
    ]
    means = [_means(variants, *HELD_OUT, column, digits=3) for column in OVERLAP]
    return Table(
        f"Held-out cases by fold{_legend(variants)}",
        ["case", "predicted by", *OVERLAP.values(), "predicted mL", "label mL"],
        [*rows, ["mean of patients", "", *means, "", ""]],
    )


def measure_table(variants: VariantMetrics, of_set: str, predicted_by: str | None, caption: str) -> Table | None:
    """All measures with 95 % intervals and, for two variants, the paired difference; None without measures."""
    rows = []
    for column, name, digits in MEASURES:
        known = [values(select(metrics, of_set, predicted_by), column) for metrics in variants.values()]
        rows.append([name, *_estimates(known, digits)])
        if column == "recall":
            known = [dice_of_slices(select_slices(metrics, of_set, predicted_by)) for metrics in variants.values()]
            rows.append(["Dice of slices", *_estimates(known, 3)])
    rows = [row for row in rows if set(row[1:]) != {NOTHING}]
    if not rows:
        return None
    names = [f"{variant}, mean (95 % interval)" for variant in variants]
    change = ["difference (95 % interval)", "p"] if len(variants) == 2 else []
    return Table(caption, ["", *names, *change, "cases"], rows)


def sweep_table(sweep: Mapping[Border, Metrics]) -> Table:
    """Mean measures of each border and, if there is a control, the paired difference of Dice to it."""
    control = values(select(sweep.get(NO_BORDER, Metrics()), *HELD_OUT), "dice")
    rows = []
    for border, metrics in sweep.items():
        held_out = select(metrics, *HELD_OUT)
        dice = values(held_out, "dice")
        change = compare_paired(control, dice) if border != NO_BORDER else None
        others = [
            _number(_mean(values(held_out, column).values()), digits)
            for column, digits in (("precision", 3), ("recall", 3), ("assd_mm", 2), ("surface_dice_1mm", 3))
        ]
        difference = [_interval(change.difference if change else None, 3, "+")] if control else []
        rows.append([str(border), _interval(estimate(dice.values()), 3), *difference, *others, str(len(dice))])
    header = ["border", "Dice (95 % interval)", *["difference to control (95 % interval)"] * bool(control)]
    return Table(
        "Borders: held-out cases by fold",
        [*header, "precision", "recall", "ASSD, mm", "surface Dice at 1 mm", "cases"],
        rows,
        "The best of many borders is biased by its selection: confirm it on other cases.",
    )


def _estimates(known: Sequence[Mapping[str, float]], digits: int) -> list[str]:
    cells = [_interval(estimate(each.values()), digits) for each in known]
    if len(known) == 1:
        return [*cells, str(len(known[0])) if known[0] else NOTHING]
    paired = compare_paired(*known)
    if paired is None:
        return [*cells, NOTHING, NOTHING, NOTHING]
    return [*cells, _interval(paired.difference, digits, "+"), format_p(paired.p), str(paired.n)]


def _means(variants: VariantMetrics, of_set: str, predicted_by: str | None, column: str, digits: int = 4) -> str:
    means = [_mean(values(select(metrics, of_set, predicted_by), column).values()) for metrics in variants.values()]
    return _brackets([_number(mean, digits) for mean in means])


def _mean(numbers: Iterable[float]) -> float | None:
    numbers = list(numbers)
    return fmean(numbers) if numbers else None


def _brackets(cells: Sequence[str]) -> str:
    if len(cells) == 1 or set(cells) == {NOTHING}:
        return cells[0]
    return f"{cells[0]} ({cells[1]})"


def _number(value: float | None, digits: int) -> str:
    return NOTHING if value is None else f"{value:.{digits}f}"


def _interval(value: Estimate | None, digits: int, sign: str = "") -> str:
    if value is None:
        return NOTHING
    mean = f"{value.mean:{sign}.{digits}f}"
    return mean if value.low is None else f"{mean} ({value.low:{sign}.{digits}f} to {value.high:{sign}.{digits}f})"


def _legend(variants: VariantMetrics) -> str:
    return ": control (smoothed)" if len(variants) == 2 else ""


def _cases(count: int, word: str) -> str:
    return f"one {word}" if count == 1 else f"{count} {word}s"
