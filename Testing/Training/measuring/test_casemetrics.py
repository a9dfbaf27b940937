"""Measures of one mask against one label, compared with values calculated by hand."""

import importlib.util

import numpy as np
import pytest
import SimpleITK as sitk

from phantoms import SOME_ORIENTATIONS
from SpleenSmoothSegLib.geometry.grid import Grid
from SpleenSmoothSegTrainingLib.measuring.casemetrics import RowKey, measure_slices, measure_volume
from SpleenSmoothSegTrainingLib.measuring.metricsfile import Metrics, write_metrics

KEY = RowKey("validation", "fold 0", "a")
VOXEL_ML = 0.002  # of the boxes below


def box(first: int, last: int, columns: int = 10) -> sitk.Image:
    """1 in 10 rows and some columns of the slices from first to last, of 12; voxels of 1 x 1 x 2 mm."""
    voxels = np.zeros((12, 20, 20), np.uint8)
    voxels[first : last + 1, 5:15, 5 : 5 + columns] = 1
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.0, 1.0, 2.0))
    return image


def test_measure_volume_equals_manual_calculation():
    row, _ = measure_volume(KEY, box(4, 9), box(2, 7))  # four common slices, two of each alone
    assert (row.set, row.predicted_by, row.case) == KEY
    assert (row.dice, row.precision, row.recall) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (row.label_ml, row.predicted_ml) == pytest.approx((600 * VOXEL_ML, 600 * VOXEL_ML))
    assert (row.false_negative_ml, row.false_positive_ml) == pytest.approx((200 * VOXEL_ML, 200 * VOXEL_ML))
    assert row.hd95_mm == pytest.approx(4)  # two slices of 2 mm
    assert 0 < row.surface_dice_1mm <= row.surface_dice_2mm < 1


def test_slice_rows_equal_manual_calculation_and_have_relative_heights():
    _, rows = measure_volume(KEY, box(4, 9, columns=5), box(2, 7))
    assert [row.slice for row in rows] == [2, 3, 4, 5, 6, 7, 8, 9]
    assert [row.relative_height for row in rows] == pytest.approx([0, 0.2, 0.4, 0.6, 0.8, 1, 1.2, 1.4])
    by_slice = {row.slice: row for row in rows}
    assert (by_slice[5].dice, by_slice[5].precision, by_slice[5].recall) == pytest.approx((2 / 3, 1, 0.5))
    assert (by_slice[5].false_negative_ml, by_slice[5].false_positive_ml) == pytest.approx((50 * VOXEL_ML, 0))
    assert (by_slice[2].dice, by_slice[2].precision, by_slice[2].recall) == (0, None, 0)
    assert (by_slice[9].dice, by_slice[9].precision, by_slice[9].recall) == (0, 0, None)


@pytest.mark.parametrize("letters", SOME_ORIENTATIONS)
def test_slices_are_numbered_from_inferior_in_any_orientation(letters):
    mask, label = box(4, 9, columns=7), box(2, 7)
    expected = measure_volume(KEY, mask, label)
    volume, slices = measure_volume(KEY, sitk.DICOMOrient(mask, letters), sitk.DICOMOrient(label, letters))
    assert slices == expected[1]
    assert volume.dice == expected[0].dice and volume.hd95_mm == pytest.approx(expected[0].hd95_mm)


def test_measures_of_empty_masks_are_none_or_one():
    empty = box(0, -1)
    missed, _ = measure_volume(KEY, empty, box(2, 7))
    assert (missed.dice, missed.precision, missed.recall, missed.assd_mm) == (0, None, 0, None)
    nothing, slices = measure_volume(KEY, empty, empty)
    assert (nothing.dice, nothing.precision, nothing.recall) == (1, None, None) and slices == []
    _, invented = measure_volume(KEY, box(3, 3), empty)
    assert [row.relative_height for row in invented] == [None]


def test_label_of_one_slice_has_height_0():
    _, rows = measure_volume(KEY, box(4, 5), box(4, 4))
    assert [row.relative_height for row in rows] == [0, 1]


def test_measure_slices_pools_only_the_given_slices():
    mask, label = box(4, 9), box(2, 7)
    row, rows = measure_slices(KEY, mask, label, Grid.of(label), [0, 2, 5, 9])
    assert [row.slice for row in rows] == [2, 5, 9]
    assert [row.relative_height for row in rows] == pytest.approx([0, 0.6, 1.4])
    assert (row.dice, row.precision, row.recall) == (0.5, 0.5, 0.5)
    assert row.label_ml == pytest.approx(200 * VOXEL_ML)
    assert row.assd_mm is None  # separate slices have no surface


def test_surface_measures_are_empty_without_the_library(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    row, _ = measure_volume(KEY, box(4, 9), box(2, 7))
    assert (row.hd95_mm, row.surface_dice_2mm) == (None, None)
    write_metrics(tmp_path, Metrics((row,)))
    assert ",,,,," in (tmp_path / "metrics.csv").read_text()
