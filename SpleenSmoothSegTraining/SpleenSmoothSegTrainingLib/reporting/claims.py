"""What the paper claims for border smoothing, each beside what these data say of it."""

from collections.abc import Mapping
from statistics import fmean

from ..measuring.byheight import dice_of_slices
from ..measuring.metricsfile import Metrics
from ..measuring.statistics import Paired, compare_paired, how_sure, verdict
from .document import Answer, Table
from .tables import HELD_OUT, TESTED, select, select_slices, values

SHORT = {
    "nothing": "Did border smoothing help? Nothing is measured yet.",
    "one": "Did border smoothing help? One case cannot tell.",
    "same": "Did border smoothing help? No: every case has the same Dice without it.",
    "unclear": "Did border smoothing help? That could not be shown.",
    "perhaps better": "Did border smoothing help? Perhaps, but that is not sure.",
    "perhaps worse": "Did border smoothing help? Rather not, but that is not sure.",
    "better": "Did border smoothing help? Yes, on these cases.",
    "worse": "Did border smoothing help? No, it did harm on these cases.",
}


def dice_changes(plain: Metrics, smoothed: Metrics) -> dict[str, Paired]:
    """Paired change of Dice of the cases held out by a fold and of the test cases by the ensemble, if measured."""
    changes = {
        words: compare_paired(*(values(select(metrics, *which), "dice") for metrics in (plain, smoothed)))
        for words, which in (
            ("Dice of the cases that a fold held out", HELD_OUT),
            ("Dice of the test cases by the ensemble", TESTED),
        )
    }
    return {words: paired for words, paired in changes.items() if paired}


def answer(plain: Metrics, smoothed: Metrics) -> Answer:
    """Did smoothing help, and how sure is that: as the larger of the two sets says, with both beside it."""
    changes = dice_changes(plain, smoothed)
    larger = max(changes.values(), key=lambda paired: paired.n, default=None)
    return Answer(SHORT[verdict(larger)], [how_sure(words, paired) for words, paired in changes.items()])


def claims_table(plain: Metrics, smoothed: Metrics, fold_count: int) -> Table:
    """The paper's claims, tested on the cases held out by a fold, or on the test cases where there are no others."""
    which = HELD_OUT if select(plain, *HELD_OUT) and select(smoothed, *HELD_OUT) else TESTED
    volumes = [select(metrics, *which) for metrics in (plain, smoothed)]
    slices = [select_slices(metrics, *which) for metrics in (plain, smoothed)]

    def change(column: str) -> Paired | None:
        return compare_paired(*(values(rows, column) for rows in volumes))

    def change_of_slices(where: str) -> Paired | None:
        return compare_paired(*(dice_of_slices(rows, where) for rows in slices))

    rows = [
        ["Every single fold rises almost to the ensemble.", _folds_and_ensemble(plain, smoothed, fold_count)],
        [
            "There are fewer false negatives.",
            how_sure("Volume missed", change("false_negative_ml"), " mL", 1, more_is_better=False),
        ],
        [
            "It is better at the top and bottom of the organ.",
            f"{how_sure('Dice of slices in the lowest and highest fifth', change_of_slices('tips'))} "
            f"{how_sure('Dice of slices between', change_of_slices('between'))}",
        ],
        ["It matters for the study of the organ's surface.", _surface(change)],
    ]
    on = "the cases that a fold held out" if which == HELD_OUT else "the test cases by the ensemble"
    return Table(f"The paper's claims, on {on}", ["claim", "what these data say"], rows, is_text=True)


def _surface(change) -> str:
    distance, within = change("assd_mm"), change("surface_dice_1mm")
    if not (distance or within):
        return "Not measured: surface distances need the package surface-distance-based-measures and whole volumes."
    return (
        f"{how_sure('Average surface distance', distance, ' mm', 2, more_is_better=False)} "
        f"{how_sure('Surface Dice at 1 mm', within)}"
    )


def _folds_and_ensemble(plain: Metrics, smoothed: Metrics, fold_count: int) -> str:
    """Distance of the single folds from the ensemble, which needs test cases."""
    by_arm = [_test_dice(metrics, fold_count) for metrics in (plain, smoothed)]
    if not all(len(folds) > 1 and ensemble for folds, ensemble in by_arm):
        return "Cannot be said: it needs test cases, measured by several folds and by the ensemble of both variants."
    (plain_folds, plain_ensemble), (smoothed_folds, smoothed_ensemble) = by_arm
    shared = plain_folds.keys() & smoothed_folds.keys()
    risen = sum(fmean(smoothed_folds[fold].values()) > fmean(plain_folds[fold].values()) for fold in shared)
    below = [_below(folds, ensemble) for folds, ensemble in by_arm]
    gaps = compare_paired(*below)
    sizes = f"{_mean_of(below[0]):.3f} plain and {_mean_of(below[1]):.3f} smoothed"
    return (
        f"{risen} of {len(shared)} folds rose in mean test Dice. A single fold lies {sizes} below its ensemble "
        f"({_mean_of(plain_ensemble):.3f} and {_mean_of(smoothed_ensemble):.3f}). "
        f"{how_sure('That distance', gaps, more_is_better=False)}"
    )


def _test_dice(metrics: Metrics, fold_count: int) -> tuple[dict[int, dict[str, float]], dict[str, float]]:
    """Dice by case of each fold that was measured on the test cases, and of the ensemble."""
    folds = {number: values(select(metrics, "test", f"fold {number}"), "dice") for number in range(fold_count)}
    return {number: dice for number, dice in folds.items() if dice}, values(select(metrics, *TESTED), "dice")


def _below(folds: Mapping[int, Mapping[str, float]], ensemble: Mapping[str, float]) -> dict[str, float]:
    """By how much the mean of the single folds is below the ensemble, for each case."""
    return {
        case: dice - fmean(of_fold[case] for of_fold in folds.values())
        for case, dice in ensemble.items()
        if all(case in of_fold for of_fold in folds.values())
    }


def _mean_of(numbers: Mapping[str, float]) -> float:
    return fmean(numbers.values()) if numbers else float("nan")
