"""How sure a mean or a difference is: bootstrap intervals, a paired test, and a sentence that says no more than these.

The unit is the patient, never the slice: slices of one patient are alike, so they are averaged within it first.
"""

import warnings
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from scipy import stats

Key = TypeVar("Key", bound=Hashable)

LEVEL = 0.95
RESAMPLES = 9999
MOST_EXACT = 50  # patients; beyond them the normal approximation of the signed rank test is as good
FEWEST_FOR_P = 6  # with five, the smallest two-sided p of the signed rank test is 1/16


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` patients and its 95 % interval, None where fewer than two patients allow none."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Paired:
    """The same patients measured twice: the mean difference, how many rose, fell or stayed, and a two-sided p.

    `p` is that of Wilcoxon's signed rank test; None with fewer than two patients.
    """

    difference: Estimate
    rose: int
    fell: int
    p: float | None

    @property
    def n(self) -> int:
        return self.difference.n


def estimate(values: Iterable[float | None], seed: int = 0) -> Estimate | None:
    """Mean and bootstrap interval of what is not None, one value a patient; None where there is none.

    The interval is bias-corrected and accelerated (BCa), or of percentiles where all resamples but a few are alike.
    """
    known = np.array([value for value in values if value is not None], float)
    return _estimate(known, seed) if len(known) else None


def compare_paired(
    before: Mapping[Key, float | None], after: Mapping[Key, float | None], *, seed: int = 0
) -> Paired | None:
    """What changes from `before` to `after`, of the patients that both know; None where there are none."""
    differences = np.array(
        [
            second - first
            for key, first in before.items()
            if first is not None and (second := after.get(key)) is not None
        ]
    )
    if not len(differences):
        return None
    p = signed_rank_p(differences, seed) if len(differences) > 1 else None
    return Paired(_estimate(differences, seed), int((differences > 0).sum()), int((differences < 0).sum()), p)


def signed_rank_p(differences: Sequence[float], seed: int = 0) -> float:
    """Two-sided p of Wilcoxon's signed rank test, exact for small numbers also where ranks are shared."""
    changed = np.array([value for value in differences if value != 0], float)
    if not len(changed):
        return 1.0
    if len(set(np.abs(changed))) == len(changed) or len(changed) > MOST_EXACT:
        return float(stats.wilcoxon(changed, method="exact" if len(changed) <= MOST_EXACT else "auto").pvalue)
    ranks = stats.rankdata(np.abs(changed)) * np.sign(changed)

    def sum_of_ranks(signed, axis):
        return np.sum(signed, axis=axis)

    tested = stats.permutation_test(
        (ranks,),
        sum_of_ranks,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        random_state=np.random.default_rng(seed),
    )
    return float(tested.pvalue)


def by_patient(values: Iterable[tuple[Key, float | None]]) -> dict[Key, float]:
    """Mean of what each patient's slices or folds gave, from pairs of patient and value; None counts nowhere."""
    grouped: dict[Key, list[float]] = {}
    for patient, value in values:
        if value is not None:
            grouped.setdefault(patient, []).append(value)
    return {patient: float(np.mean(of_patient)) for patient, of_patient in grouped.items()}


def verdict(paired: Paired | None, more_is_better: bool = True) -> str:
    """What may be said of a change: a key of `VERDICTS`."""
    if paired is None:
        return "nothing"
    low, high = paired.difference.low, paired.difference.high
    if low is None or high is None or paired.p is None:
        return "one"
    if not paired.rose and not paired.fell:
        return "same"
    if low <= 0 <= high:
        return "unclear"
    direction = "better" if (paired.difference.mean > 0) == more_is_better else "worse"
    is_sure = paired.n >= FEWEST_FOR_P and paired.p < 1 - LEVEL
    return direction if is_sure else f"perhaps {direction}"


VERDICTS = {
    "nothing": "nothing can be said of it",
    "one": "one case cannot tell whether smoothing helps",
    "same": "it is the same in every case",
    "unclear": "no difference could be shown, and one within the interval is not ruled out",
    "perhaps better": "the cases lean towards better, but are too few or too unlike to be sure",
    "perhaps worse": "the cases lean towards worse, but are too few or too unlike to be sure",
    "better": "better by more than the differences between cases explain",
    "worse": "worse by more than the differences between cases explain",
}


def how_sure(what: str, paired: Paired | None, unit: str = "", digits: int = 3, more_is_better: bool = True) -> str:
    """One sentence on what border smoothing did to `what`, such as "Dice", that never says more than is known."""
    says = VERDICTS[verdict(paired, more_is_better)]
    if paired is None:
        return f"{what}: no case was measured with and without smoothing, so {says}."
    change = f"{paired.difference.mean:+.{digits}f}{unit}"
    if paired.n == 1:
        return f"{what}: {change} in the only case; {says}."
    low, high = paired.difference.low, paired.difference.high
    return (
        f"{what}: {change} on average in {paired.n} cases (95 % interval {low:+.{digits}f} to {high:+.{digits}f}, "
        f"p {format_p(paired.p)}; it rose in {paired.rose} and fell in {paired.fell}); {says}."
    )


def format_p(p: float | None) -> str:
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _estimate(values: np.ndarray, seed: int) -> Estimate:
    low, high = _interval(values, seed) if len(values) > 1 else (None, None)
    return Estimate(float(values.mean()), low, high, len(values))


def _interval(values: np.ndarray, seed: int) -> tuple[float, float]:
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])

    def found(method: str) -> tuple[float, float]:
        interval = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=LEVEL,
            n_resamples=RESAMPLES,
            method=method,
            random_state=np.random.default_rng(seed),
        ).confidence_interval
        return float(interval.low), float(interval.high)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats.DegenerateDataWarning)
        low, high = found("BCa")
    return (low, high) if np.isfinite([low, high]).all() else found("percentile")
