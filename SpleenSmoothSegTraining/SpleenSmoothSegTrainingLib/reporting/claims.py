"""The paper's claims about border smoothing, each with the result on these data."""

from collections.abc import Mapping
from statistics import fmean

from ..measuring.byheight import dice_of_slices
from ..measuring.metricsfile import Metrics
from ..measuring.statistics import Paired, compare_paired, describe_change, verdict
from .document import Answer, Table
from .tables import HELD_OUT, TESTED, select, select_slices, values

SHORT_ANSWERS = {
    "nothing": "Did border smoothing help? Nothing is measured yet.",
    "one": "Did border smoothing help? One case does not allow a conclusion.",
    "same": "Did border smoothing help? No: the Dice of every case is unchanged.",
    "unclear": "Did border smoothing help? No significant difference.",
    "perhaps better": "Did border smoothing help? Perhaps: better on average, but not significantly.",
    "perhaps worse": "Did border smoothing help? Probably not: worse on average, but not significantly.",
    "better": "Did border smoothing help? Yes, on these cases.",
    "worse": "Did border smoothing help? No, results on these cases are worse.",
}


def dice_changes(control: Metrics, smoothed: Metrics) -> dict[str, Paired]:
    """Paired change of Dice in the held-out cases by fold and in the test cases by the ensemble, if measured."""
    changes = {
        name: compare_paired(*(values(select(metrics, *which), "dice") for metrics in (control, smoothed)))
        for name, which in (
            ("Dice of the held-out cases by fold", HELD_OUT),
            ("Dice of the test cases by the ensemble", TESTED),
        )
    }
    return {name: paired for name, paired in changes.items() if paired}


def answer(control: Metrics, smoothed: Metrics) -> Answer:
    """The answer of the report: the conclusion from the larger of the two sets, and the changes in both."""
    changes = dice_changes(control, smoothed)
    larger = max(changes.values(), key=lambda paired: paired.n, default=None)
    return Answer(SHORT_ANSWERS[verdict(larger)], [describe_change(name, paired) for name, paired in changes.items()])


def claims_table(control: Metrics, smoothed: Metrics, fold_count: int) -> Table:
    """The paper's claims, tested on the held-out cases by fold, or else on the test cases."""
    which = HELD_OUT if select(control, *HELD_OUT) and select(smoothed, *HELD_OUT) else TESTED
    volumes = [select(metrics, *which) for metrics in (control, smoothed)]
    slices = [select_slices(metrics, *which) for metrics in (control, smoothed)]

    def change(column: str) -> Paired | None:
        return compare_paired(*(values(rows, column) for rows in volumes))

    def change_of_slices(where: str) -> Paired | None:
        return compare_paired(*(dice_of_slices(rows, where) for rows in slices))

    rows = [
        ["Every single fold rises almost to the ensemble.", _folds_and_ensemble(control, smoothed, fold_count)],
        [
            "There are fewer false negatives.",
            describe_change("Volume missed", change("false_negative_ml"), " mL", 1, higher_is_better=False),
        ],
        [
            "It is better at the top and bottom of the organ.",
            f"{describe_change('Dice of slices in the lowest and highest fifth', change_of_slices('tips'))} "
            f"{describe_change('Dice of the slices in between', change_of_slices('between'))}",
        ],
        ["It matters for the study of the organ's surface.", _surface(change)],
    ]
    on = "the held-out cases by fold" if which == HELD_OUT else "the test cases by the ensemble"
    return Table(f"The paper's claims, on {on}", ["claim", "result on these data"], rows, is_text=True)


def _surface(change) -> str:
    distance, within = change("assd_mm"), change("surface_dice_1mm")
    if not (distance or within):
        return "Not measured: surface distances need the package surface-distance-based-measures and whole volumes."
    return (
        f"{describe_change('Average surface distance', distance, ' mm', 2, higher_is_better=False)} "
        f"{describe_change('Surface Dice at 1 mm', within)}"
    )


def _folds_and_ensemble(control: Metrics, smoothed: Metrics, fold_count: int) -> str:
    """The difference between single folds and the ensemble, which needs test cases."""
    by_variant = [_test_dice(metrics, fold_count) for metrics in (control, smoothed)]
    if not all(len(folds) > 1 and ensemble for folds, ensemble in by_variant):
        return "Not measured: needs test cases, measured by several folds and the ensemble of both variants."
    (control_folds, control_ensemble), (smoothed_folds, smoothed_ensemble) = by_variant
    shared = control_folds.keys() & smoothed_folds.keys()
    risen = sum(fmean(smoothed_folds[fold].values()) > fmean(control_folds[fold].values()) for fold in shared)
    below = [_below(folds, ensemble) for folds, ensemble in by_variant]
    gaps = compare_paired(*below)
    sizes = f"{_mean_of(below[0]):.3f} (control) and {_mean_of(below[1]):.3f} (smoothed)"
    return (
        f"{risen} of {len(shared)} folds have a higher mean test Dice. A single fold is {sizes} below its ensemble "
        f"({_mean_of(control_ensemble):.3f} and {_mean_of(smoothed_ensemble):.3f}). "
        f"{describe_change('This difference', gaps, higher_is_better=False)}"
    )


def _test_dice(metrics: Metrics, fold_count: int) -> tuple[dict[int, dict[str, float]], dict[str, float]]:
    """Test Dice by case, of each measured fold and of the ensemble."""
    folds = {number: values(select(metrics, "test", f"fold {number}"), "dice") for number in range(fold_count)}
    return {number: dice for number, dice in folds.items() if dice}, values(select(metrics, *TESTED), "dice")


def _below(folds: Mapping[int, Mapping[str, float]], ensemble: Mapping[str, float]) -> dict[str, float]:
    """The Dice of the ensemble minus the mean of the single folds, for each case."""
    return {
        case: dice - fmean(fold[case] for fold in folds.values())
        for case, dice in ensemble.items()
        if all(case in fold for fold in folds.values())
    }


def _mean_of(numbers: Mapping[str, float]) -> float:
    return fmean(numbers.values()) if numbers else float("nan")
