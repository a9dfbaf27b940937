"""Uncertainty of means and differences: bootstrap intervals, a paired test, and a sentence that summarizes both.

The unit is the patient, not the slice: slices of one patient are correlated, so they are averaged per patient first.
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
MAX_EXACT = 50  # patients; above, the normal approximation of the signed rank test is accurate
MIN_FOR_P = 6  # with five, the smallest two-sided p of the signed rank test is 1/16


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` patients with its 95 % interval, which is None for fewer than two patients."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Paired:
    """A paired comparison: mean difference, number of patients with a rise and with a fall, and two-sided p.

    `p` is from Wilcoxon's signed rank test; None for fewer than two patients.
    """

    difference: Estimate
    rose: int
    fell: int
    p: float | None

    @property
    def n(self) -> int:
        return self.difference.n


def estimate(values: Iterable[float | None], seed: int = 0) -> Estimate | None:
    """Mean and bootstrap interval of the values that are not None, one per patient; None without values.

    The interval is bias-corrected and accelerated (BCa), or a percentile interval if BCa is undefined.
    """
    known = np.array([value for value in values if value is not None], float)
    return _estimate(known, seed) if len(known) else None


def compare_paired(
    before: Mapping[Key, float | None], after: Mapping[Key, float | None], *, seed: int = 0
) -> Paired | None:
    """The change from `before` to `after` in the patients that both have; None without such patients."""
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
    """Two-sided p of Wilcoxon's signed rank test, exact for small samples, also with ties."""
    changed = np.array([value for value in differences if value != 0], float)
    if not len(changed):
        return 1.0
    if len(set(np.abs(changed))) == len(changed) or len(changed) > MAX_EXACT:
        return float(stats.wilcoxon(changed, method="exact" if len(changed) <= MAX_EXACT else "auto").pvalue)
    ranks = stats.rankdata(np.abs(changed)) * np.sign(changed)

    def sum_of_ranks(signed, axis):
        return np.sum(signed, axis=axis)

    test = stats.permutation_test(
        (ranks,),
        sum_of_ranks,
        permutation_type="samples",
        vectorized=True,
        n_resamples=RESAMPLES,
        random_state=np.random.default_rng(seed),
    )
    return float(test.pvalue)


def by_patient(values: Iterable[tuple[Key, float | None]]) -> dict[Key, float]:
    """Mean value of each patient, from pairs of patient and value; None is ignored."""
    grouped: dict[Key, list[float]] = {}
    for patient, value in values:
        if value is not None:
            grouped.setdefault(patient, []).append(value)
    return {patient: float(np.mean(each)) for patient, each in grouped.items()}


def verdict(paired: Paired | None, higher_is_better: bool = True) -> str:
    """The conclusion that a change allows: a key of `VERDICTS`."""
    if paired is None:
        return "nothing"
    low, high = paired.difference.low, paired.difference.high
    if low is None or high is None or paired.p is None:
        return "one"
    if not paired.rose and not paired.fell:
        return "same"
    if low <= 0 <= high:
        return "unclear"
    direction = "better" if (paired.difference.mean > 0) == higher_is_better else "worse"
    is_sure = paired.n >= MIN_FOR_P and paired.p < 1 - LEVEL
    return direction if is_sure else f"perhaps {direction}"


VERDICTS = {
    "nothing": "not measured",
    "one": "one case does not allow a conclusion",
    "same": "no change in any case",
    "unclear": "no significant difference; the interval shows which differences remain possible",
    "perhaps better": "a tendency to better, but not significant",
    "perhaps worse": "a tendency to worse, but not significant",
    "better": "significantly better",
    "worse": "significantly worse",
}


def describe_change(
    what: str, paired: Paired | None, unit: str = "", digits: int = 3, higher_is_better: bool = True
) -> str:
    """One sentence about the effect of border smoothing on `what`, such as "Dice", with its uncertainty."""
    conclusion = VERDICTS[verdict(paired, higher_is_better)]
    if paired is None:
        return f"{what}: {conclusion}, as no case has both a smoothed training and a control."
    change = f"{paired.difference.mean:+.{digits}f}{unit}"
    if paired.n == 1:
        return f"{what}: {change} in the only case; {conclusion}."
    low, high = paired.difference.low, paired.difference.high
    return (
        f"{what}: {change} on average in {paired.n} cases (95 % interval {low:+.{digits}f} to {high:+.{digits}f}, "
        f"p {format_p(paired.p)}; higher in {paired.rose}, lower in {paired.fell}); {conclusion}."
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

    def bootstrap(method: str) -> tuple[float, float]:
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
        low, high = bootstrap("BCa")
    return (low, high) if np.isfinite([low, high]).all() else bootstrap("percentile")
