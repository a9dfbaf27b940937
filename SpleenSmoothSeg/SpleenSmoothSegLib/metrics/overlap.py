"""Measures of a mask, and of a mask against a label: the paper's Dice, precision and recall.

Lengths are those of the border of a mask, taken to lie half-way between a voxel inside and its neighbor outside, as the
surface that is shown of it does. They are in mm along the axes of the body, however the image is stored.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk


@dataclass(frozen=True)
class Overlap:
    """Voxel counts of a mask against a label: true positives, false positives, false negatives.

    Counts add up, so a sum of Overlaps measures several slices or volumes as one. Where neither mask nor label has a
    voxel the three measures are 1: nothing was wrong.
    """

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @classmethod
    def of(cls, mask: np.ndarray, label: np.ndarray) -> "Overlap":
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
