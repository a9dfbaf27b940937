"""Overlap of a mask with a label: Dice, precision and recall, as reported in the paper."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a mask against a label: true positives, false positives, false negatives.

    Counts add up, so a sum of Overlaps measures several slices or volumes as one. A measure whose denominator is 0
    is defined as 1: two empty masks agree.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @classmethod
    def of(cls, mask: np.ndarray, label: np.ndarray) -> "Overlap":
        """Count voxels of two boolean arrays of the same shape."""
        both = int(np.count_nonzero(mask & label))
        return cls(both, int(np.count_nonzero(mask)) - both, int(np.count_nonzero(label)) - both)

    def __add__(self, other: "Overlap") -> "Overlap":
        return Overlap(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def dice(self) -> float:
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        return _ratio(self.tp, self.tp + self.fp)

    @property
    def recall(self) -> float:
        return _ratio(self.tp, self.tp + self.fn)


def measure_overlap(mask: sitk.Image, label: sitk.Image, value: int = 1) -> Overlap:
    """Overlap of a mask (nonzero voxels) with `label == value`, both on the same grid."""
    return Overlap.of(sitk.GetArrayViewFromImage(mask) > 0, sitk.GetArrayViewFromImage(label) == value)


def _ratio(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
