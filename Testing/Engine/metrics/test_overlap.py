"""Dice, precision and recall of a mask against a label."""

import numpy as np
import pytest
import SimpleITK as sitk

from SpleenSmoothSegLib.metrics.overlap import Overlap, measure_overlap

MASK = np.array([1, 1, 1, 0, 0, 0], bool)
LABEL = np.array([0, 1, 1, 1, 1, 0], bool)
EMPTY = np.zeros(6, bool)


def test_overlap_counts_tp_fp_and_fn():
    assert Overlap.of(MASK, LABEL) == Overlap(tp=2, fp=1, fn=2)


def test_dice_precision_and_recall_follow_their_definitions():
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
    ids=["equal", "disjoint", "empty label", "empty mask", "both empty"],
)
def test_dice_precision_and_recall_of_edge_cases(mask, label, dice, precision, recall):
    overlap = Overlap.of(mask, label)
    assert (overlap.dice, overlap.precision, overlap.recall) == (dice, precision, recall)


def test_sum_of_overlaps_equals_overlap_of_the_whole():
    parts = sum((Overlap.of(MASK[i : i + 2], LABEL[i : i + 2]) for i in (0, 2, 4)), Overlap())
    assert parts == Overlap.of(MASK, LABEL)


def test_measure_overlap_selects_one_label_value():
    label = sitk.GetImageFromArray(np.array([[[0, 1, 6, 6]]], np.int16))
    mask = sitk.GetImageFromArray(np.array([[[0, 0, 255, 255]]], np.uint8))
    assert measure_overlap(mask, label, value=6) == Overlap(tp=2, fp=0, fn=0)
    assert measure_overlap(mask, label) == Overlap(tp=0, fp=2, fn=1)
