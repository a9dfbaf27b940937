"""A CT as the slices that are the network's input, whatever its grid."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import (
    ALL_ORIENTATIONS,
    AXIAL,
    SOME_DIRECTIONS,
    SOME_ORIENTATIONS,
    phantom,
    trunk,
    voxel_centers,
)
from SpleenSmoothSegLib.geometry.grid import resample_to_grid
from SpleenSmoothSegLib.geometry.slices import (
    SliceFormat,
    axial_grid,
    body_center,
    ct_slices,
    label_slices,
    with_neighbors,
)
from SpleenSmoothSegLib.metrics.shape import volume_ml

some_orientations = pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
some_directions = pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)


def test_sample_has_expected_size_and_volume(sample_ct, sample_label):
    assert sample_ct.GetSize() == sample_label.GetSize() == (122, 101, 112)
    assert volume_ml(sample_label) == pytest.approx(261, abs=1)


def test_label_slices_threshold_one_label_value_at_half(sample_ct, sample_label):
    grid = axial_grid(sample_ct, SliceFormat(192, 2.0))
    label = sample_label * 7
    inside = label_slices(label, grid, value=7)
    assert inside.dtype == bool
    assert np.count_nonzero(inside) * np.prod(grid.spacing) / 1000 == pytest.approx(volume_ml(label), rel=0.01)
    assert not label_slices(label, grid, value=1).any()


def test_downsampling_averages_noise():
    fine = trunk(noise=100, extent=60, spacing=(0.5, 0.5, 3.0))
    slices = ct_slices(fine, axial_grid(fine, SliceFormat(20, 2.0)), window=(-960, 1040))
    assert slices[:, 5:15, 5:15].std() * 2000 < 40


# Slices do not depend on how the CT is stored


@pytest.fixture(scope="module")
def noisy_ct():
    """Prime sizes, and a different spacing along each axis."""
    return trunk(noise=30, spacing=(1.3, 0.7, 3.1), extent=(61, 43, 41))


@pytest.fixture(scope="module")
def noisy_slices(noisy_ct):
    grid = axial_grid(noisy_ct, SliceFormat(40, 2.0))
    return grid, ct_slices(noisy_ct, grid, (-150, 250))


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_slices_do_not_depend_on_stored_orientation(noisy_ct, noisy_slices, orientation):
    other = sitk.DICOMOrient(noisy_ct, orientation)
    grid, slices = noisy_slices
    other_grid = axial_grid(other, SliceFormat(40, 2.0))
    np.testing.assert_allclose(other_grid.origin, grid.origin, atol=1e-6)
    assert (other_grid.size, other_grid.direction) == (grid.size, grid.direction)
    np.testing.assert_allclose(other_grid.spacing, grid.spacing)
    np.testing.assert_allclose(ct_slices(other, other_grid, (-150, 250)), slices, atol=1e-4)


@some_orientations
def test_slices_of_real_ct_do_not_depend_on_stored_orientation(sample_ct, orientation):
    ct = sitk.DICOMOrient(sample_ct, orientation)
    slice_format = SliceFormat(96, 4.0)
    slices = (ct_slices(image, axial_grid(image, slice_format), slice_format.window) for image in (ct, sample_ct))
    np.testing.assert_allclose(*slices, atol=1e-4)


@pytest.mark.parametrize("pixel", ["Int16", "Int32", "Int64", "Float32", "Float64"])
def test_slices_do_not_depend_on_pixel_type(pixel):
    ct = trunk(noise=30, extent=60, spacing=(0.9, 0.9, 3.0))
    cast = sitk.Cast(ct, getattr(sitk, f"sitk{pixel}"))
    slice_format = SliceFormat(32, 2.0)
    slices = (ct_slices(image, axial_grid(image, slice_format), slice_format.window) for image in (ct, cast))
    np.testing.assert_allclose(*slices, atol=1e-6)


@pytest.mark.parametrize("pixel", ["UInt16", "UInt32"])
def test_unsigned_pixel_types_do_not_wrap_around(pixel):
    """Some scanners store HU + 1024 as unsigned. `check_ct` rejects these, but values must not wrap around."""
    ct = trunk(noise=30, extent=60, spacing=(0.9, 0.9, 3.0))
    offset = sitk.Cast(ct + 1024, getattr(sitk, f"sitk{pixel}"))
    grid = axial_grid(ct, SliceFormat(24, 2.0))
    slices = ct_slices(ct, grid, (-150, 250)), ct_slices(offset, grid, (874, 1274))
    np.testing.assert_allclose(*slices, atol=1e-6)


# Network grid


@some_directions
def test_axial_grid_covers_the_height_of_the_ct(direction):
    ct = trunk(spacing=(2.0, 2.0, 3.0), direction=direction)
    slice_format = SliceFormat(80, 3.0)
    grid = axial_grid(ct, slice_format)
    heights = voxel_centers(ct)[..., 2]
    assert grid.direction == AXIAL
    assert grid.size[:2] == (80, 80)
    assert grid.spacing[:2] == (3.0, 3.0)
    top = grid.origin[2] + grid.spacing[2] * (grid.size[2] - 1)
    assert grid.origin[2] == pytest.approx(heights.min())
    assert top == pytest.approx(heights.max(), abs=grid.spacing[2] / 2 + 1e-6)


@some_orientations
def test_axial_grid_of_non_oblique_ct_keeps_its_slices(orientation):
    ct = trunk(noise=30, spacing=(2.0, 2.0, 3.7))
    grid = axial_grid(sitk.DICOMOrient(ct, orientation), SliceFormat(8, 2.0))
    assert grid.size[2] == ct.GetDepth()
    assert grid.spacing[2] == pytest.approx(3.7)
    assert grid.origin[2] == pytest.approx(ct.GetOrigin()[2])


def test_slices_are_in_lps_order():
    for axis in range(3):
        ramp = phantom(lambda p, axis=axis: p[..., axis], 60.0, direction=SOME_DIRECTIONS["coronal"])
        slices = sitk.GetArrayFromImage(resample_to_grid(ramp, axial_grid(ramp, SliceFormat(16, 2.0)), outside=0.0))
        middle = slices[5:15, 4:12, 4:12]
        assert (np.diff(middle, axis=2 - axis) > 1).all()


@some_directions
def test_axial_grid_is_centered_on_the_body(direction):
    shift = np.array([-31.0, 17.0, 0.0])
    body = phantom(
        lambda p: np.where((((p - shift) / (60, 45, 70)) ** 2).sum(-1) < 1, 40, -1000).astype(np.int16),
        200.0,
        (2.0, 2.0, 4.0),
        direction,
    )
    np.testing.assert_allclose(body_center(body), shift, atol=0.5)
    grid = axial_grid(body, SliceFormat(63, 2.0))
    np.testing.assert_allclose(np.add(grid.origin[:2], 62.0), shift[:2], atol=0.5)


def test_body_center_of_air_is_the_image_center():
    air = phantom(lambda p: np.full(p.shape[:-1], -1000, np.int16), center=(10.0, 20.0, 30.0))
    np.testing.assert_allclose(body_center(air), (10, 20, 30), atol=1e-6)


# Window


def test_ct_slices_maps_window_to_0_and_1_and_clips():
    values = (-3000, -150, -50, 50, 250, 3000)
    steps = phantom(lambda p: np.choose(((p[..., 2] + 9) // 3).astype(int), values), extent=(30, 30, 18))
    steps.SetOrigin((0, 0, 0))
    slices = ct_slices(steps, axial_grid(steps, SliceFormat(4, 2.0)), window=(-150, 250))
    assert slices.dtype == np.float32
    np.testing.assert_allclose(slices[:, 1, 1], [0, 0, 0.25, 0.5, 1, 1], atol=1e-6)


def test_ct_slices_are_air_beyond_the_ct():
    ct = phantom(lambda p: np.full(p.shape[:-1], 200, np.int16), extent=30.0)
    slices = ct_slices(ct, axial_grid(ct, SliceFormat(64, 2.0)), window=(-150, 250))
    assert slices[:, 0].max() == 0
    assert slices[5, 32, 32] == pytest.approx(350 / 400)


@pytest.mark.parametrize(
    "wrong",
    [
        {"size": 0},
        {"size": 10**9},
        {"spacing": 0.0},
        {"spacing": float("nan")},
        {"window": (250.0, -150.0)},
        {"window": (0.0, float("inf"))},
        {"window": (1.0,)},
        {"channels": 0},
        {"channels": 2},
        {"channels": 33},
        {"channels": 1.5},
        {"channel_spacing": 0.0},
        {"channel_spacing": float("nan")},
    ],
    ids=str,
)
def test_slice_format_out_of_range_raises_value_error(wrong):
    with pytest.raises(ValueError):
        SliceFormat(**wrong)


# Neighboring slices as channels


def test_with_neighbors_of_one_channel_returns_the_slice():
    slices = np.random.default_rng(0).random((9, 5, 7), np.float32)
    for step in (0.3, 1.0, 2.5):
        stacks = with_neighbors(slices, range(9), 1, step)
        assert stacks.dtype == np.float32 and stacks.shape == (9, 1, 5, 7)
        np.testing.assert_array_equal(stacks[:, 0], slices)


@pytest.mark.parametrize("kind", [np.float16, np.uint8, bool, np.float64])
def test_with_neighbors_returns_float32_for_any_type(kind):
    slices = (np.random.default_rng(0).random((6, 4, 4)) * 2).astype(kind)
    stacks = with_neighbors(slices, [3], 3, 0.5)
    assert stacks.dtype == np.float32
    np.testing.assert_array_equal(stacks[0, 1], slices[3].astype(np.float32))
    np.testing.assert_allclose(stacks[0, 2], (slices[3].astype(float) + slices[4]) / 2, atol=1e-6)


@settings(max_examples=60, deadline=None)
@given(
    spacing=st.floats(0.5, 8),
    distance=st.floats(0.5, 12),
    channels=st.sampled_from([1, 3, 5, 9]),
    count=st.integers(1, 40),
)
def test_with_neighbors_channels_lie_at_their_distance_in_mm(spacing, distance, channels, count):
    """Slices whose value is their height, at any slice and channel spacing."""
    heights = np.arange(count) * spacing
    slices = np.broadcast_to(heights[:, None, None], (count, 2, 3)).astype(np.float32)
    stacks = with_neighbors(slices, range(count), channels, distance / spacing)
    wanted = heights[:, None] + (np.arange(channels) - channels // 2) * distance
    shown = np.clip(wanted, 0, heights[-1])
    np.testing.assert_allclose(stacks, np.broadcast_to(shown[..., None, None], stacks.shape), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(stacks[:, channels // 2], slices)


def test_with_neighbors_first_channel_is_the_lowest_slice():
    slices = np.arange(10, dtype=np.float32)[:, None, None]
    np.testing.assert_array_equal(with_neighbors(slices, [4], 3, 2.0)[0, :, 0, 0], [2, 4, 6])
    np.testing.assert_array_equal(with_neighbors(slices, [4], 5, 1.0)[0, :, 0, 0], [2, 3, 4, 5, 6])


def test_with_neighbors_interpolates_between_slices():
    slices = np.array([0, 1, 4, 9], np.float32)[:, None, None]
    np.testing.assert_allclose(with_neighbors(slices, [1, 2], 3, 0.25)[:, :, 0, 0], [[0.75, 1, 1.75], [3.25, 4, 5.25]])


def test_with_neighbors_repeats_the_outermost_slices():
    slices = np.array([3, 5, 8], np.float32)[:, None, None]
    np.testing.assert_array_equal(
        with_neighbors(slices, [0, 2], 5, 10.0)[:, :, 0, 0], [[3, 3, 3, 8, 8], [3, 3, 8, 8, 8]]
    )
    np.testing.assert_array_equal(with_neighbors(slices[:1], [0], 3, 1.7)[:, :, 0, 0], [[3, 3, 3]])


def test_with_neighbors_accepts_any_indices_and_copies():
    slices = np.random.default_rng(0).random((8, 4, 4), np.float32)
    before = slices.copy()
    some = with_neighbors(slices, (7, 2, 2), 3, 1.5)
    everything = with_neighbors(slices, range(8), 3, 1.5)
    np.testing.assert_array_equal(some, everything[[7, 2, 2]])
    some[:] = 0
    np.testing.assert_array_equal(slices, before)


def test_with_neighbors_accepts_memory_mapped_slices(tmp_path):
    slices = np.random.default_rng(0).random((8, 4, 4)).astype(np.float16)
    np.save(tmp_path / "slices.npy", slices)
    mapped = np.load(tmp_path / "slices.npy", mmap_mode="r")
    np.testing.assert_array_equal(with_neighbors(mapped, [1, 5], 3, 0.7), with_neighbors(slices, [1, 5], 3, 0.7))
