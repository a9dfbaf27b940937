"""Resampling between grids: positions, volumes and edges are preserved."""

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings
from hypothesis import strategies as st

from inputs import small_ct
from phantoms import (
    AXIAL,
    LEFT_HANDED,
    SOME_DIRECTIONS,
    SOME_ORIENTATIONS,
    dice,
    ellipsoid,
    phantom,
    turned,
    voxel_centers,
)
from SpleenSmoothSegLib.geometry.grid import Grid, resample_to_grid, same_grid
from SpleenSmoothSegLib.geometry.slices import SliceFormat, axial_grid

SPACINGS = [(0.6, 0.6, 8.0), (0.78, 0.78, 5.0), (1.0, 1.0, 3.0), (1.4, 1.4, 7.8), (3.0, 3.0, 1.0)]


MILLIMETER = SliceFormat(size=128, spacing=1.0)


some_orientations = pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)


some_directions = pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)


every_axis = pytest.mark.parametrize("axis", [0, 1, 2], ids=["left", "back", "head"])


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return small_ct()


def fraction(label: sitk.Image) -> sitk.Image:
    return sitk.Cast(label != 0, sitk.sitkFloat32)


def back_and_forth(label: sitk.Image, slice_format: SliceFormat = MILLIMETER, ct: sitk.Image | None = None):
    """The label resampled to the network's grid and back to its own."""
    seen = resample_to_grid(fraction(label), axial_grid(ct or label, slice_format), outside=0.0)
    return resample_to_grid(seen, Grid.of(label), outside=0.0) >= 0.5


def cropped(image: sitk.Image, label: sitk.Image, margin: int) -> sitk.Image:
    """`image` cropped around the nonzero voxels of `label`; with margin 0 the label touches every edge."""
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(label != 0)
    box = shape.GetBoundingBox(1)
    start = [max(0, at - margin) for at in box[:3]]
    stop = [min(full, at + size + margin) for at, size, full in zip(box[:3], box[3:], image.GetSize(), strict=True)]
    return image[start[0] : stop[0], start[1] : stop[1], start[2] : stop[2]]


@some_directions
@pytest.mark.parametrize("spacing", SPACINGS, ids=str)
def test_label_round_trip_keeps_position(spacing, direction):
    label = ellipsoid(radii=(36, 22, 38), spacing=spacing, direction=direction, extent=92.0)
    assert dice(back_and_forth(label), label) >= 0.98


def test_label_round_trip_with_fine_voxels():
    label = ellipsoid(radii=(20, 15, 25), spacing=(0.6, 0.6, 1.0), direction=SOME_DIRECTIONS["mixed"], extent=60.0)
    assert dice(back_and_forth(label), label) >= 0.98


@some_orientations
@pytest.mark.parametrize("margin", [0, 6], ids=["at-every-edge", "inside"])
def test_real_label_round_trip_in_any_orientation(sample_ct, sample_label, orientation, margin):
    ct, label = (
        sitk.DICOMOrient(cropped(image, sample_label, margin), orientation) for image in (sample_ct, sample_label)
    )
    assert dice(back_and_forth(label, ct=ct), label) >= 0.98


@some_directions
def test_real_label_round_trip_on_oblique_ct(sample_label, direction):
    label = cropped(sample_label, sample_label, margin=8)
    label.SetDirection(direction)
    assert dice(back_and_forth(label), label) >= 0.98


@pytest.mark.parametrize("case", ["spleen_4", "spleen_5", "spleen_7", "spleen_10"])
def test_real_label_round_trip_of_other_cts(shared_case, case):
    ct, label = shared_case(case)
    ct, label = cropped(ct, label, margin=15), cropped(label, label, margin=15)
    assert dice(back_and_forth(label, ct=ct), label) >= 0.98


@every_axis
@pytest.mark.parametrize("side", [-1, 1], ids=["near", "far"])
@pytest.mark.parametrize("spacing", [(0.45, 0.45, 3.0), (0.7, 0.7, 2.3), (1.1, 1.1, 5.0)], ids=str)
def test_truncated_label_round_trip_keeps_edge_voxels(spacing, side, axis):
    """Sizes are prime, so that a remainder at an edge would be lost."""
    size = np.array([107, 107, 17])
    center = np.zeros(3)
    center[axis] = side * ((size - 1) * spacing / 2)[axis]
    label = ellipsoid(center, radii=(17, 17, 17), extent=size * spacing, spacing=spacing)
    assert label.GetSize() == tuple(size)
    assert dice(back_and_forth(label, SliceFormat(64, 2.0)), label) >= 0.98


@every_axis
@settings(max_examples=8, deadline=None)
@given(
    angles=st.tuples(*[st.integers(-30, 30)] * 3),
    spacing=st.tuples(st.floats(0.4, 3), st.floats(0.4, 3), st.floats(0.6, 8)),
    handed=st.sampled_from([AXIAL, LEFT_HANDED]),
    coarse=st.sampled_from([0.7, 1.0, 2.0, 3.3]),
)
def test_resampled_coordinate_ramp_equals_coordinates(axis, angles, spacing, handed, coarse):
    """A CT whose value is its coordinate must give each voxel's coordinate on any grid."""
    ramp = phantom(lambda p: p[..., axis], 40.0, spacing, turned(*angles, handed), center=(7.0, -3.0, 11.0))
    grid = axial_grid(ramp, SliceFormat(round(60 / coarse), coarse))
    seen = resample_to_grid(ramp, grid, outside=np.nan)
    values, places = sitk.GetArrayFromImage(seen), voxel_centers(seen)[..., axis]
    inside = np.isfinite(values)
    assert inside.any()
    # Interpolation is constant in the half voxel beyond the outermost centers, so only the interior is compared.
    inner = inside & np.isfinite(sitk.GetArrayFromImage(resample_to_grid(interior(ramp), grid, outside=np.nan)))
    np.testing.assert_allclose(values[inner], places[inner], atol=0.05)


def interior(image: sitk.Image) -> sitk.Image:
    """The image without its outermost voxels, along axes of more than four voxels."""
    margin = [1 if size > 4 else 0 for size in image.GetSize()]
    return sitk.Crop(image, margin, margin)


@some_orientations
@pytest.mark.parametrize("spacing", [(0.5, 0.5, 2.0), (0.66, 0.66, 3.0), (1.37, 1.37, 2.5), (3.0, 3.0, 3.0)], ids=str)
def test_downsampling_keeps_centroid_and_volume(spacing, orientation):
    """The centroid of a soft label stays within 0.05 mm, and its volume within 1 %."""
    label = ellipsoid((3.0, -5.0, 2.0), (20, 15, 25), extent=60.0, spacing=spacing)
    label = sitk.DICOMOrient(label, orientation)
    seen = resample_to_grid(fraction(label), axial_grid(label, SliceFormat(32, 2.0)), outside=0.0)
    (mass, centroid), (seen_mass, seen_centroid) = moments(fraction(label)), moments(seen)
    np.testing.assert_allclose(seen_centroid, centroid, atol=0.05)
    assert seen_mass == pytest.approx(mass, rel=0.01)


def moments(image: sitk.Image) -> tuple[float, np.ndarray]:
    values = sitk.GetArrayFromImage(image).astype(float)
    centroid = np.average(voxel_centers(image).reshape(-1, 3), axis=0, weights=values.ravel())
    return values.sum() * np.prod(image.GetSpacing()), centroid


def test_downsampling_of_micro_ct_limits_samples_per_voxel():
    micro = phantom(lambda p: p[..., 0], extent=(4.0, 4.0, 0.1), spacing=(0.02, 0.02, 0.05))
    grid = axial_grid(micro, SliceFormat(2, 2.0))
    seen = sitk.GetArrayFromImage(resample_to_grid(micro, grid, outside=0.0))
    np.testing.assert_allclose(seen[0, 0], [-1, 1], atol=0.05)


def test_same_grid_is_false_for_a_shift_of_a_hundredth_of_a_voxel(ct):
    other = sitk.Image(ct)
    assert same_grid(ct, other)
    other.SetOrigin(np.add(ct.GetOrigin(), [0, 0, 0.06]).tolist())
    assert not same_grid(ct, other)
    assert not same_grid(ct, ct[:, :, :-1])


def test_same_grid_is_true_within_rounding(ct):
    other = sitk.Image(ct)
    other.SetSpacing([spacing * (1 + 1e-7) for spacing in ct.GetSpacing()])
    other.SetOrigin(np.add(ct.GetOrigin(), 1e-4).tolist())
    assert same_grid(ct, other)
