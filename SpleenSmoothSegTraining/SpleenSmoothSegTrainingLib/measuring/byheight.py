"""Errors by relative height in the spleen: 0 is the lowest slice of the label (inferior tip), 1 the highest."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from .casemetrics import SliceRow
from .statistics import by_patient

PARTS = 10
TIPS = 0.2  # of the height at each end


@dataclass(frozen=True)
class Profile:
    """Means over patients in each part of the height.

    Attributes:
        height: center of each part, 0 to 1.
        false_negative_ml, false_positive_ml: volume per patient in each part.
        dice: mean over the slices with label; NaN where no patient has any.
        below_ml, above_ml: false positives beyond the label's tips.
        patients: their number.
    """

    height: np.ndarray
    false_negative_ml: np.ndarray
    false_positive_ml: np.ndarray
    dice: np.ndarray
    below_ml: float
    above_ml: float
    patients: int


def profile(rows: Iterable[SliceRow], parts: int = PARTS) -> Profile | None:
    """The profile of the slices of some patients, or None if no slice has a height.

    A slice counts in each part by its overlap with it, so that thick slices leave no part empty.
    """
    patients: dict[str, list[SliceRow]] = {}
    for row in rows:
        if row.relative_height is not None:
            patients.setdefault(row.case, []).append(row)
    if not patients:
        return None
    missed, extra, dice = zip(*(_patient_profile(slices, parts) for slices in patients.values()), strict=True)
    extra = np.mean(extra, axis=0)
    known = np.isfinite(dice)
    return Profile(
        (np.arange(parts) + 0.5) / parts,
        np.mean(missed, axis=0)[1:-1],
        extra[1:-1],
        _ratio(np.where(known, dice, 0).sum(axis=0), known.sum(axis=0))[1:-1],
        float(extra[0]),
        float(extra[-1]),
        len(patients),
    )


def _patient_profile(rows: Sequence[SliceRow], parts: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """False negatives (mL), false positives (mL) and Dice of one patient: below the label, in each part, above."""
    shares = _shares(np.array([row.relative_height for row in rows]), parts)
    missed, extra = (shares.T @ [getattr(row, f"false_{kind}_ml") for row in rows] for kind in ("negative", "positive"))
    weights = shares.T * [row.label_ml > 0 for row in rows]
    return missed, extra, _ratio(weights @ [row.dice for row in rows], weights.sum(axis=1))


def _shares(heights: np.ndarray, parts: int) -> np.ndarray:
    """The fraction of each slice below the label, in each part of its height, and above: (slice, parts + 2)."""
    distinct = np.unique(np.round(heights, 5))
    last = round(1 / np.diff(distinct).min()) if len(distinct) > 1 else 0  # index of the label's highest slice
    bottom = np.round(heights * last)[:, None] / (last + 1)
    edges = np.array([-np.inf, *np.linspace(0, 1, parts + 1), np.inf])
    overlap = np.minimum(bottom + 1 / (last + 1), edges[1:]) - np.maximum(bottom, edges[:-1])
    return np.clip(overlap, 0, None) * (last + 1)


def dice_of_slices(rows: Iterable[SliceRow], where: str = "all") -> dict[str, float]:
    """Each patient's mean Dice over slices with label: "all" slices, those at the "tips", or those "between" them."""
    return by_patient(
        (row.case, row.dice)
        for row in rows
        if row.label_ml and row.relative_height is not None and _is_in(row.relative_height, where)
    )


def _is_in(height: float, where: str) -> bool:
    return where == "all" or (where == "tips") == (height <= TIPS or height >= 1 - TIPS)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(part), np.nan), where=whole > 1e-9)
