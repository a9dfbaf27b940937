"""Measures of a mask, and of a mask against a label."""

import time
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.distance import pdist

from phantoms import LEFT_HANDED, SOME_DIRECTIONS, SOME_ORIENTATIONS, ellipsoid, turned
from SpleenSmoothSegLib.metrics.overlap import Overlap, measure_overlap
from SpleenSmoothSegLib.metrics.shape import center_lps, extent_mm, longest_mm, reaches_edge, volume_ml

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
    assert measure_overlap(mask, label, value=6) == Overlap(tp=2, fp=0, fn=0)
    assert measure_overlap(mask, label) == Overlap(tp=0, fp=2, fn=1)


@pytest.mark.parametrize("direction", [turned(10, 20, 30), LEFT_HANDED], ids=["oblique", "left-handed"])
def test_the_volume_is_that_of_the_nonzero_voxels_whatever_the_grid(direction):
    label = ellipsoid(radii=(40, 25, 45), spacing=(0.9, 1.1, 3.0), direction=direction)
    assert volume_ml(label * 255) == pytest.approx(4 / 3 * np.pi * 40 * 25 * 45 / 1000, rel=0.01)


def test_an_empty_mask_has_no_volume():
    assert volume_ml(sitk.Image(4, 4, 4, sitk.sitkUInt8)) == 0.0


# ---- place and size


def blocks(*regions: tuple[slice, slice, slice], spacing=(0.8, 0.9, 2.5), direction=None) -> sitk.Image:
    """A mask, 1 in blocks of voxels (slice, row, column), on a grid of 20 slices, 30 rows and 40 columns."""
    voxels = np.zeros((20, 30, 40), np.uint8)
    for region in regions:
        voxels[region] = 1
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    image.SetOrigin((-50.0, 20.0, 1000.0))
    image.SetDirection(direction or np.eye(3).ravel().tolist())
    return image


BLOCK = np.s_[2:8, 10:25, 4:34]  # 6 slices, 15 rows, 30 columns


def test_the_extent_is_that_of_the_voxels_from_right_to_left_front_to_back_bottom_to_top():
    assert extent_mm(blocks(BLOCK)) == pytest.approx((30 * 0.8, 15 * 0.9, 6 * 2.5))


def test_the_extent_reaches_to_the_edges_of_the_image():
    assert extent_mm(blocks(np.s_[:, :, :])) == pytest.approx((40 * 0.8, 30 * 0.9, 20 * 2.5))


def test_parts_far_apart_are_measured_together():
    parts = blocks(np.s_[0, 0, 0], np.s_[19, 29, 39])
    assert extent_mm(parts) == pytest.approx((40 * 0.8, 30 * 0.9, 20 * 2.5))
    centers = np.linalg.norm([39 * 0.8, 29 * 0.9, 19 * 2.5])
    assert centers < longest_mm(parts) < centers + 2.5
    assert center_lps(parts) == pytest.approx((-50 + 19.5 * 0.8, 20 + 14.5 * 0.9, 1000 + 9.5 * 2.5))


def test_one_voxel_is_as_long_as_its_longest_side():
    voxel = blocks(np.s_[5, 6, 7])
    assert extent_mm(voxel) == pytest.approx((0.8, 0.9, 2.5))
    assert longest_mm(voxel) == pytest.approx(2.5)
    assert center_lps(voxel) == pytest.approx(voxel.TransformIndexToPhysicalPoint((7, 6, 5)))


def test_a_row_of_voxels_is_as_long_as_its_voxels():
    assert longest_mm(blocks(np.s_[5, 6, 3:33])) == pytest.approx(30 * 0.8)


def test_an_empty_mask_has_no_extent_no_length_and_no_center():
    empty = blocks()
    assert (extent_mm(empty), longest_mm(empty), center_lps(empty)) == ((0, 0, 0), 0, None)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0)], ids=str)
@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_an_ellipsoid_has_its_size_and_place_whatever_the_grid(direction, spacing):
    label = ellipsoid((3.0, -4.0, 5.0), (30, 20, 45), spacing=spacing, direction=direction)
    voxel = max(spacing)
    assert extent_mm(label) == pytest.approx((60, 40, 90), abs=voxel)
    assert longest_mm(label) == pytest.approx(90, abs=voxel)
    assert center_lps(label) == pytest.approx((3, -4, 5), abs=0.1)


def test_what_lies_aslant_is_as_long_as_it_is():
    """45 degrees to the axes of the body: no extent along them is its length."""
    z_turned = np.s_[9:11, 13:17, :]  # 40 columns of 1 mm
    bar = blocks(z_turned, spacing=(1.0, 1.0, 1.0), direction=turned(0, 0, 45))
    assert 40 <= longest_mm(bar) < 40.5
    assert extent_mm(bar) == pytest.approx((31, 31, 2), abs=1)


@pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
def test_the_orientation_in_which_a_mask_is_stored_does_not_matter(sample_label, orientation):
    stored = sitk.DICOMOrient(sample_label, orientation)
    assert extent_mm(stored) == pytest.approx(extent_mm(sample_label))
    assert longest_mm(stored) == pytest.approx(longest_mm(sample_label))
    assert center_lps(stored) == pytest.approx(center_lps(sample_label))


def test_the_length_is_the_largest_distance_of_any_two_points_of_the_border():
    voxels = np.random.default_rng(3).random((7, 9, 8)) < 0.1
    mask = sitk.GetImageFromArray(voxels.astype(np.uint8))
    mask.SetSpacing((0.7, 1.1, 3.0))
    mask.SetDirection(turned(20, -30, 40))
    halves = [shift for shift in product((-0.5, 0, 0.5), repeat=3) if np.count_nonzero(shift) == 1]
    border = [
        mask.TransformContinuousIndexToPhysicalPoint(np.add(index[::-1], half).tolist())
        for index in np.argwhere(voxels)
        for half in halves
    ]
    assert longest_mm(mask) == pytest.approx(pdist(border).max())
    assert extent_mm(mask) == pytest.approx(tuple(np.ptp(border, axis=0)))


@pytest.mark.parametrize("pixel", ["UInt8", "Int16", "Float32"])
def test_any_value_but_0_counts(pixel):
    mask = sitk.Cast(blocks(BLOCK) * 6, getattr(sitk, f"sitk{pixel}"))
    assert extent_mm(mask) == extent_mm(blocks(BLOCK))
    assert center_lps(mask) == center_lps(blocks(BLOCK))


def test_a_mask_at_an_edge_of_the_image_may_be_cut_off():
    inside = sitk.Image(6, 5, 4, sitk.sitkUInt8)
    assert not reaches_edge(inside)
    inside[2, 2, 2] = 1
    assert not reaches_edge(inside)
    for index in ((0, 2, 2), (5, 2, 2), (2, 0, 2), (2, 4, 2), (2, 2, 0), (2, 2, 3)):
        mask = sitk.Image(inside)
        mask[index] = 1
        assert reaches_edge(mask)


def test_a_whole_ct_is_measured_at_once():
    """Milliseconds; comparing all points of the border with each other would take minutes."""
    spleen = ellipsoid(radii=(40, 35, 70), spacing=(0.75, 0.75, 1.0), extent=(84, 72, 144))
    spleen = sitk.ConstantPad(spleen, (300, 300, 100), (100, 116, 56))
    assert spleen.GetSize() == (512, 512, 300)
    seconds = []
    for _ in range(3):
        before = time.process_time()
        lengths = extent_mm(spleen), longest_mm(spleen), center_lps(spleen)
        seconds.append(time.process_time() - before)
    assert lengths[1] == pytest.approx(140, abs=1)
    assert min(seconds) < 0.5
