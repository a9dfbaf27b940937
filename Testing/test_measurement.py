"""Measures of a mask, and of a mask against a label."""

import numpy as np
import pytest
import SimpleITK as sitk

from phantoms import LEFT_HANDED, ellipsoid, turned
from SpleenSmoothSegLib.measurement import Overlap, compare, volume_ml

MASK = np.array([1, 1, 1, 0, 0, 0], bool)
LABEL = np.array([0, 1, 1, 1, 1, 0], bool)
EMPTY = np.zeros(6, bool)


def test_overlap_counts_what_is_right_too_much_and_missing():
    assert Overlap.of(MASK, LABEL) == Overlap(tp=2, fp=1, fn=2)


def test_dice_precision_and_recall_are_the_papers():
    overlap = Overlap.of(MASK, LABEL)
    assert overlap.dice == pytest.approx(2 * 2 / (3 + 4))
    assert overlap.precision == pytest.approx(2 / 3)
    assert overlap.recall == pytest.approx(2 / 4)


@pytest.mark.parametrize(
    ("mask", "label", "dice", "precision", "recall"),
    [
        (MASK, MASK, 1, 1, 1),
        (MASK, ~MASK, 0, 0, 0),
        (MASK, EMPTY, 0, 0, 1),
        (EMPTY, MASK, 0, 1, 0),
        (EMPTY, EMPTY, 1, 1, 1),
    ],
    ids=["the same", "disjoint", "all too much", "all missing", "nothing there, nothing found"],
)
def test_measures_of_the_extremes(mask, label, dice, precision, recall):
    overlap = Overlap.of(mask, label)
    assert (overlap.dice, overlap.precision, overlap.recall) == (dice, precision, recall)


def test_a_sum_of_overlaps_measures_several_parts_as_one():
    parts = sum((Overlap.of(MASK[i : i + 2], LABEL[i : i + 2]) for i in (0, 2, 4)), Overlap())
    assert parts == Overlap.of(MASK, LABEL)


def test_a_mask_is_compared_with_one_value_of_a_label():
    label = sitk.GetImageFromArray(np.array([[[0, 1, 6, 6]]], np.int16))
    mask = sitk.GetImageFromArray(np.array([[[0, 0, 255, 255]]], np.uint8))
    assert compare(mask, label, value=6) == Overlap(tp=2, fp=0, fn=0)
    assert compare(mask, label) == Overlap(tp=0, fp=2, fn=1)


@pytest.mark.parametrize("direction", [turned(10, 20, 30), LEFT_HANDED], ids=["oblique", "left-handed"])
def test_the_volume_is_that_of_the_nonzero_voxels_whatever_the_grid(direction):
    label = ellipsoid(radii=(40, 25, 45), spacing=(0.9, 1.1, 3.0), direction=direction)
    assert volume_ml(label * 255) == pytest.approx(4 / 3 * np.pi * 40 * 25 * 45 / 1000, rel=0.01)


def test_an_empty_mask_has_no_volume():
    assert volume_ml(sitk.Image(4, 4, 4, sitk.sitkUInt8)) == 0.0
