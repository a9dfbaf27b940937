"""From a CT on any grid to the network's slices and back: nothing may move, and nothing may get lost at an edge."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from phantoms import (
    ALL_ORIENTATIONS,
    AXIAL,
    LEFT_HANDED,
    SOME_DIRECTIONS,
    SOME_ORIENTATIONS,
    dice,
    ellipsoid,
    phantom,
    trunk,
    turned,
)
from SpleenSmoothSegLib.geometry.grid import Grid, resample_to_grid
from SpleenSmoothSegLib.geometry.slices import (
    SliceFormat,
    axial_grid,
    body_center,
    ct_slices,
    label_slices,
    with_neighbors,
)
from SpleenSmoothSegLib.metrics.shape import volume_ml

SPACINGS = [(0.6, 0.6, 8.0), (0.78, 0.78, 5.0), (1.0, 1.0, 3.0), (1.4, 1.4, 7.8), (3.0, 3.0, 1.0)]
MILLIMETER = SliceFormat(size=128, spacing=1.0)

some_orientations = pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
some_directions = pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
every_axis = pytest.mark.parametrize("axis", [0, 1, 2], ids=["left", "back", "head"])


def fraction(label: sitk.Image) -> sitk.Image:
    return sitk.Cast(label != 0, sitk.sitkFloat32)


def back_and_forth(label: sitk.Image, slice_format: SliceFormat = MILLIMETER, ct: sitk.Image | None = None):
    """The label seen on the network's grid, brought back to its own."""
    seen = resample_to_grid(fraction(label), axial_grid(ct or label, slice_format), outside=0.0)
    return resample_to_grid(seen, Grid.of(label), outside=0.0) >= 0.5


def cropped(image: sitk.Image, label: sitk.Image, margin: int) -> sitk.Image:
    """`image` around the nonzero voxels of `label`; margin 0 puts the label at every edge of the image."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(label != 0)
    box = shape.GetBoundingBox(1)
    start = [max(0, at - margin) for at in box[:3]]
    stop = [min(full, at + size + margin) for at, size, full in zip(box[:3], box[3:], image.GetSize(), strict=True)]
    return image[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]


def points(image: sitk.Image) -> np.ndarray:
    """Coordinates (LPS, mm) of the voxels, (slice, row, column, 3)."""
    indices = np.moveaxis(np.indices(image.GetSize()[::-1]), 0, -1)[..., ::-1]
    step = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    return indices @ step.T + image.GetOrigin()


def test_the_sample_is_the_real_one(sample_ct, sample_label):
    assert sample_ct.GetSize() == sample_label.GetSize() == (122, 101, 112)
    assert volume_ml(sample_label) == pytest.approx(261, abs=1)


# A label comes back to where it was.


@some_directions
@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_a_label_comes_back_from_the_networks_grid(spacing, direction):
    label = ellipsoid(radii=(36, 22, 38), spacing=spacing, direction=direction, extent=92.0)
    assert dice(back_and_forth(label), label) >= 0.98


def test_a_label_on_fine_voxels_comes_back_from_the_networks_grid():
    label = ellipsoid(radii=(20, 15, 25), spacing=(0.6, 0.6, 1.0), direction=SOME_DIRECTIONS["mixed"], extent=60.0)
    assert dice(back_and_forth(label), label) >= 0.98


@some_orientations
@pytest.mark.parametrize("margin", [0, 6], ids=["at-every-edge", "inside"])
def test_a_real_label_comes_back_from_the_networks_grid(sample_ct, sample_label, orientation, margin):
    ct, label = (
        sitk.DICOMOrient(cropped(image, sample_label, margin), orientation) for image in (sample_ct, sample_label)
    )
    assert dice(back_and_forth(label, ct=ct), label) >= 0.98


@some_directions
def test_a_real_label_of_an_oblique_ct_comes_back(sample_label, direction):
    label = cropped(sample_label, sample_label, margin=8)
    label.SetDirection(direction)
    assert dice(back_and_forth(label), label) >= 0.98


@pytest.mark.parametrize("case", ["spleen_4", "spleen_5", "spleen_7", "spleen_10"])
def test_labels_of_other_cts_come_back(shared_case, case):
    ct, label = shared_case(case)
    ct, label = cropped(ct, label, margin=15), cropped(label, label, margin=15)
    assert dice(back_and_forth(label, ct=ct), label) >= 0.98


@every_axis
@pytest.mark.parametrize("side", [-1, 1], ids=["near", "far"])
@pytest.mark.parametrize("spacing", [(0.45, 0.45, 3.0), (0.7, 0.7, 2.3), (1.1, 1.1, 5.0)], ids=str)
def test_a_label_cut_off_by_the_edge_of_the_image_keeps_what_is_there(spacing, side, axis):
    """Voxel numbers that no whole number divides, so that an edge which is left over would be lost."""
    size = np.array([107, 107, 17])
    center = np.zeros(3)
    center[axis] = side * ((size - 1) * spacing / 2)[axis]
    label = ellipsoid(center, radii=(17, 17, 17), extent=size * spacing, spacing=spacing)
    assert label.GetSize() == tuple(size)
    assert dice(back_and_forth(label, SliceFormat(64, 2.0)), label) >= 0.98


def test_label_slices_hold_the_voxels_half_inside_the_label_of_that_value(sample_ct, sample_label):
    grid = axial_grid(sample_ct, SliceFormat(192, 2.0))
    label = sample_label * 7
    inside = label_slices(label, grid, value=7)
    assert inside.dtype == bool
    assert np.count_nonzero(inside) * np.prod(grid.spacing) / 1000 == pytest.approx(volume_ml(label), rel=0.01)
    assert not label_slices(label, grid, value=1).any()


# Nothing moves.


@every_axis
@settings(max_examples=8, deadline=None)
@given(
    angles=st.tuples(*[st.integers(-30, 30)] * 3),
    spacing=st.tuples(st.floats(0.4, 3), st.floats(0.4, 3), st.floats(0.6, 8)),
    handed=st.sampled_from([AXIAL, LEFT_HANDED]),
    coarse=st.sampled_from([0.7, 1.0, 2.0, 3.3]),
)
def test_every_voxel_shows_the_place_where_it_is(axis, angles, spacing, handed, coarse):
    """A CT whose value is its own coordinate must, on any grid, show each voxel's own coordinate."""
    ramp = phantom(lambda p: p[..., axis], 40.0, spacing, turned(*angles, handed), center=(7.0, -3.0, 11.0))
    grid = axial_grid(ramp, SliceFormat(round(60 / coarse), coarse))
    seen = resample_to_grid(ramp, grid, outside=np.nan)
    values, places = sitk.GetArrayFromImage(seen), points(seen)[..., axis]
    inside = np.isfinite(values)
    assert inside.any()
    # In the half voxel beyond the outermost centers an interpolated image is flat, so only the interior tells.
    inner = inside & np.isfinite(sitk.GetArrayFromImage(resample_to_grid(interior(ramp), grid, outside=np.nan)))
    np.testing.assert_allclose(values[inner], places[inner], atol=0.05)


def interior(image: sitk.Image) -> sitk.Image:
    """The image without its outermost voxels, where it has more than two along an axis."""
    margin = [1 if size > 4 else 0 for size in image.GetSize()]
    return sitk.Crop(image, margin, margin)


@some_orientations
@pytest.mark.parametrize("spacing", [(0.5, 0.5, 2.0), (0.66, 0.66, 3.0), (1.37, 1.37, 2.5), (3.0, 3.0, 3.0)], ids=str)
def test_averaging_noise_away_moves_nothing(spacing, orientation):
    """The centroid of a soft label stays within 0.05 mm, and its volume within 1 %."""
    label = ellipsoid((3.0, -5.0, 2.0), (20, 15, 25), extent=60.0, spacing=spacing)
    label = sitk.DICOMOrient(label, orientation)
    seen = resample_to_grid(fraction(label), axial_grid(label, SliceFormat(32, 2.0)), outside=0.0)
    (mass, centroid), (seen_mass, seen_centroid) = moments(fraction(label)), moments(seen)
    np.testing.assert_allclose(seen_centroid, centroid, atol=0.05)
    assert seen_mass == pytest.approx(mass, rel=0.01)


def moments(image: sitk.Image) -> tuple[float, np.ndarray]:
    values = sitk.GetArrayFromImage(image).astype(float)
    centroid = np.average(points(image).reshape(-1, 3), axis=0, weights=values.ravel())
    return values.sum() * np.prod(image.GetSpacing()), centroid


def test_noise_and_fine_structure_are_averaged_where_the_network_sees_less_than_the_ct():
    fine = trunk(noise=100, extent=60, spacing=(0.5, 0.5, 3.0))
    slices = ct_slices(fine, axial_grid(fine, SliceFormat(20, 2.0)), window=(-960, 1040))
    assert slices[:, 5:15, 5:15].std() * 2000 < 40


# The same CT gives the same slices.


@pytest.fixture(scope="module")
def noisy_ct():
    """Sizes that no whole number divides, spacings that differ along each axis."""
    return trunk(noise=30, spacing=(1.3, 0.7, 3.1), extent=(61, 43, 41))


@pytest.fixture(scope="module")
def noisy_slices(noisy_ct):
    grid = axial_grid(noisy_ct, SliceFormat(40, 2.0))
    return grid, ct_slices(noisy_ct, grid, (-150, 250))


@pytest.mark.parametrize("orientation", ALL_ORIENTATIONS)
def test_the_same_ct_stored_in_another_orientation_gives_the_same_slices(noisy_ct, noisy_slices, orientation):
    other = sitk.DICOMOrient(noisy_ct, orientation)
    grid, slices = noisy_slices
    other_grid = axial_grid(other, SliceFormat(40, 2.0))
    np.testing.assert_allclose(other_grid.origin, grid.origin, atol=1e-6)
    assert (other_grid.size, other_grid.direction) == (grid.size, grid.direction)
    np.testing.assert_allclose(other_grid.spacing, grid.spacing)
    np.testing.assert_allclose(ct_slices(other, other_grid, (-150, 250)), slices, atol=1e-4)


@some_orientations
def test_a_real_ct_stored_in_another_orientation_gives_the_same_slices(sample_ct, orientation):
    ct = sitk.DICOMOrient(sample_ct, orientation)
    slice_format = SliceFormat(96, 4.0)
    slices = (ct_slices(image, axial_grid(image, slice_format), slice_format.window) for image in (ct, sample_ct))
    np.testing.assert_allclose(*slices, atol=1e-4)


@pytest.mark.parametrize("pixel", ["Int16", "Int32", "Int64", "Float32", "Float64"])
def test_the_same_ct_in_another_pixel_type_gives_the_same_slices(pixel):
    ct = trunk(noise=30, extent=60, spacing=(0.9, 0.9, 3.0))
    cast = sitk.Cast(ct, getattr(sitk, f"sitk{pixel}"))
    slice_format = SliceFormat(32, 2.0)
    slices = (ct_slices(image, axial_grid(image, slice_format), slice_format.window) for image in (ct, cast))
    np.testing.assert_allclose(*slices, atol=1e-6)


@pytest.mark.parametrize("pixel", ["UInt16", "UInt32"])
def test_unsigned_voxels_with_an_offset_are_seen_as_they_are(pixel):
    """As some scanners store them: 1024 above HU. No door takes these for HU, but nothing may wrap around."""
    ct = trunk(noise=30, extent=60, spacing=(0.9, 0.9, 3.0))
    offset = sitk.Cast(ct + 1024, getattr(sitk, f"sitk{pixel}"))
    grid = axial_grid(ct, SliceFormat(24, 2.0))
    slices = ct_slices(ct, grid, (-150, 250)), ct_slices(offset, grid, (874, 1274))
    np.testing.assert_allclose(*slices, atol=1e-6)


# The network's grid.


@some_directions
def test_the_networks_grid_is_axial_and_holds_the_whole_height_of_the_ct(direction):
    ct = trunk(spacing=(2.0, 2.0, 3.0), direction=direction)
    slice_format = SliceFormat(80, 3.0)
    grid = axial_grid(ct, slice_format)
    heights = points(ct)[..., 2]
    assert grid.direction == AXIAL
    assert grid.size[:2] == (80, 80)
    assert grid.spacing[:2] == (3.0, 3.0)
    top = grid.origin[2] + grid.spacing[2] * (grid.size[2] - 1)
    assert grid.origin[2] == pytest.approx(heights.min())
    assert top == pytest.approx(heights.max(), abs=grid.spacing[2] / 2 + 1e-6)


@some_orientations
def test_a_ct_that_is_not_oblique_keeps_its_own_slices(orientation):
    ct = trunk(noise=30, spacing=(2.0, 2.0, 3.7))
    grid = axial_grid(sitk.DICOMOrient(ct, orientation), SliceFormat(8, 2.0))
    assert grid.size[2] == ct.GetDepth()
    assert grid.spacing[2] == pytest.approx(3.7)
    assert grid.origin[2] == pytest.approx(ct.GetOrigin()[2])


def test_columns_run_to_the_left_rows_to_the_back_and_slices_to_the_head():
    for axis in range(3):
        ramp = phantom(lambda p, axis=axis: p[..., axis], 60.0, direction=SOME_DIRECTIONS["coronal"])
        slices = sitk.GetArrayFromImage(resample_to_grid(ramp, axial_grid(ramp, SliceFormat(16, 2.0)), outside=0.0))
        middle = slices[5:15, 4:12, 4:12]
        assert (np.diff(middle, axis=2 - axis) > 1).all()


@some_directions
def test_the_square_is_centered_on_the_body(direction):
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


def test_a_ct_of_nothing_but_air_is_seen_around_its_middle():
    air = phantom(lambda p: np.full(p.shape[:-1], -1000, np.int16), center=(10.0, 20.0, 30.0))
    np.testing.assert_allclose(body_center(air), (10, 20, 30), atol=1e-6)


def test_a_ct_whose_voxels_are_far_finer_than_the_networks_costs_no_more_than_some_samples_a_voxel():
    micro = phantom(lambda p: p[..., 0], extent=(4.0, 4.0, 0.1), spacing=(0.02, 0.02, 0.05))
    grid = axial_grid(micro, SliceFormat(2, 2.0))
    seen = sitk.GetArrayFromImage(resample_to_grid(micro, grid, outside=0.0))
    np.testing.assert_allclose(seen[0, 0], [-1, 1], atol=0.05)


# The window.


def test_the_ends_of_the_window_become_0_and_1_and_values_beyond_are_clipped():
    values = (-3000, -150, -50, 50, 250, 3000)
    steps = phantom(lambda p: np.choose(((p[..., 2] + 9) // 3).astype(int), values), extent=(30, 30, 18))
    steps.SetOrigin((0, 0, 0))
    slices = ct_slices(steps, axial_grid(steps, SliceFormat(4, 2.0)), window=(-150, 250))
    assert slices.dtype == np.float32
    np.testing.assert_allclose(slices[:, 1, 1], [0, 0, 0.25, 0.5, 1, 1], atol=1e-6)


def test_beyond_the_ct_the_network_sees_air():
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
def test_a_slice_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError):
        SliceFormat(**wrong)


# Neighboring slices as channels.


def test_one_channel_is_the_slice_itself_bit_for_bit():
    slices = np.random.default_rng(0).random((9, 5, 7), np.float32)
    for step in (0.3, 1.0, 2.5):
        stacks = with_neighbors(slices, range(9), 1, step)
        assert stacks.dtype == np.float32 and stacks.shape == (9, 1, 5, 7)
        np.testing.assert_array_equal(stacks[:, 0], slices)


@pytest.mark.parametrize("kind", [np.float16, np.uint8, bool, np.float64])
def test_slices_of_any_type_become_float32(kind):
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
def test_a_channel_shows_the_place_at_its_distance_in_mm_and_beyond_the_ends_the_outermost_slice(
    spacing, distance, channels, count
):
    """Slices that show their own height, whatever the distance of the slices and of the channels."""
    heights = np.arange(count) * spacing
    slices = np.broadcast_to(heights[:, None, None], (count, 2, 3)).astype(np.float32)
    stacks = with_neighbors(slices, range(count), channels, distance / spacing)
    wanted = heights[:, None] + (np.arange(channels) - channels // 2) * distance
    shown = np.clip(wanted, 0, heights[-1])
    np.testing.assert_allclose(stacks, np.broadcast_to(shown[..., None, None], stacks.shape), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(stacks[:, channels // 2], slices)


def test_the_first_channel_is_the_lowest_slice():
    slices = np.arange(10, dtype=np.float32)[:, None, None]
    np.testing.assert_array_equal(with_neighbors(slices, [4], 3, 2.0)[0, :, 0, 0], [2, 4, 6])
    np.testing.assert_array_equal(with_neighbors(slices, [4], 5, 1.0)[0, :, 0, 0], [2, 3, 4, 5, 6])


def test_between_two_slices_a_neighbor_is_interpolated():
    slices = np.array([0, 1, 4, 9], np.float32)[:, None, None]
    np.testing.assert_allclose(with_neighbors(slices, [1, 2], 3, 0.25)[:, :, 0, 0], [[0.75, 1, 1.75], [3.25, 4, 5.25]])


def test_the_ends_are_repeated():
    slices = np.array([3, 5, 8], np.float32)[:, None, None]
    np.testing.assert_array_equal(
        with_neighbors(slices, [0, 2], 5, 10.0)[:, :, 0, 0], [[3, 3, 3, 8, 8], [3, 3, 8, 8, 8]]
    )
    np.testing.assert_array_equal(with_neighbors(slices[:1], [0], 3, 1.7)[:, :, 0, 0], [[3, 3, 3]])


def test_any_slices_in_any_order_can_be_asked_for_and_the_slices_stay_as_they_are():
    slices = np.random.default_rng(0).random((8, 4, 4), np.float32)
    before = slices.copy()
    some = with_neighbors(slices, (7, 2, 2), 3, 1.5)
    everything = with_neighbors(slices, range(8), 3, 1.5)
    np.testing.assert_array_equal(some, everything[[7, 2, 2]])
    some[:] = 0
    np.testing.assert_array_equal(slices, before)


def test_slices_on_a_disk_are_read_as_those_in_memory(tmp_path):
    slices = np.random.default_rng(0).random((8, 4, 4)).astype(np.float16)
    np.save(tmp_path / "slices.npy", slices)
    mapped = np.load(tmp_path / "slices.npy", mmap_mode="r")
    np.testing.assert_array_equal(with_neighbors(mapped, [1, 5], 3, 0.7), with_neighbors(slices, [1, 5], 3, 0.7))
