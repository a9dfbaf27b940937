"""Size, position and shape of a mask."""

import time
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.distance import pdist

from phantoms import LEFT_HANDED, SOME_DIRECTIONS, SOME_ORIENTATIONS, ellipsoid, turned
from SpleenSmoothSegLib.metrics.shape import center_lps, extent_mm, longest_mm, reaches_edge, volume_ml


@pytest.mark.parametrize("direction", [turned(10, 20, 30), LEFT_HANDED], ids=["oblique", "left-handed"])
def test_volume_ml_counts_nonzero_voxels_on_any_grid(direction):
    label = ellipsoid(radii=(40, 25, 45), spacing=(0.9, 1.1, 3.0), direction=direction)
    assert volume_ml(label * 255) == pytest.approx(4 / 3 * np.pi * 40 * 25 * 45 / 1000, rel=0.01)


def test_volume_ml_of_empty_mask_is_0():
    assert volume_ml(sitk.Image(4, 4, 4, sitk.sitkUInt8)) == 0.0


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


def test_extent_mm_includes_whole_voxels():
    assert extent_mm(blocks(BLOCK)) == pytest.approx((30 * 0.8, 15 * 0.9, 6 * 2.5))


def test_extent_mm_of_full_image():
    assert extent_mm(blocks(np.s_[:, :, :])) == pytest.approx((40 * 0.8, 30 * 0.9, 20 * 2.5))


def test_separate_parts_are_measured_together():
    parts = blocks(np.s_[0, 0, 0], np.s_[19, 29, 39])
    assert extent_mm(parts) == pytest.approx((40 * 0.8, 30 * 0.9, 20 * 2.5))
    centers = np.linalg.norm([39 * 0.8, 29 * 0.9, 19 * 2.5])
    assert centers < longest_mm(parts) < centers + 2.5
    assert center_lps(parts) == pytest.approx((-50 + 19.5 * 0.8, 20 + 14.5 * 0.9, 1000 + 9.5 * 2.5))


def test_single_voxel_has_the_size_of_the_voxel():
    voxel = blocks(np.s_[5, 6, 7])
    assert extent_mm(voxel) == pytest.approx((0.8, 0.9, 2.5))
    assert longest_mm(voxel) == pytest.approx(2.5)
    assert center_lps(voxel) == pytest.approx(voxel.TransformIndexToPhysicalPoint((7, 6, 5)))


def test_longest_mm_of_a_row_of_voxels():
    assert longest_mm(blocks(np.s_[5, 6, 3:33])) == pytest.approx(30 * 0.8)


def test_empty_mask_has_zero_size_and_no_center():
    empty = blocks()
    assert (extent_mm(empty), longest_mm(empty), center_lps(empty)) == ((0, 0, 0), 0, None)


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0)], ids=str)
@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_ellipsoid_size_and_center_do_not_depend_on_the_grid(direction, spacing):
    label = ellipsoid((3.0, -4.0, 5.0), (30, 20, 45), spacing=spacing, direction=direction)
    voxel = max(spacing)
    assert extent_mm(label) == pytest.approx((60, 40, 90), abs=voxel)
    assert longest_mm(label) == pytest.approx(90, abs=voxel)
    assert center_lps(label) == pytest.approx((3, -4, 5), abs=0.1)


def test_longest_mm_of_diagonal_bar_is_its_length():
    """At 45 degrees to the patient's axes, the extent along each is shorter than the bar."""
    z_turned = np.s_[9:11, 13:17, :]  # 40 columns of 1 mm
    bar = blocks(z_turned, spacing=(1.0, 1.0, 1.0), direction=turned(0, 0, 45))
    assert 40 <= longest_mm(bar) < 40.5
    assert extent_mm(bar) == pytest.approx((31, 31, 2), abs=1)


@pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
def test_shape_does_not_depend_on_stored_orientation(sample_label, orientation):
    stored = sitk.DICOMOrient(sample_label, orientation)
    assert extent_mm(stored) == pytest.approx(extent_mm(sample_label))
    assert longest_mm(stored) == pytest.approx(longest_mm(sample_label))
    assert center_lps(stored) == pytest.approx(center_lps(sample_label))


def test_longest_mm_matches_brute_force():
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
def test_any_nonzero_value_is_foreground(pixel):
    mask = sitk.Cast(blocks(BLOCK) * 6, getattr(sitk, f"sitk{pixel}"))
    assert extent_mm(mask) == extent_mm(blocks(BLOCK))
    assert center_lps(mask) == center_lps(blocks(BLOCK))


def test_reaches_edge_for_each_side_of_the_image():
    inside = sitk.Image(6, 5, 4, sitk.sitkUInt8)
    assert not reaches_edge(inside)
    inside[2, 2, 2] = 1
    assert not reaches_edge(inside)
    for index in ((0, 2, 2), (5, 2, 2), (2, 0, 2), (2, 4, 2), (2, 2, 0), (2, 2, 3)):
        mask = sitk.Image(inside)
        mask[index] = 1
        assert reaches_edge(mask)


def test_shape_of_512_x_512_x_300_ct_takes_under_half_a_second():
    """Comparing all pairs of border points would take minutes."""
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
