"""Surface measures and errors by height, on shapes with a known result."""

import importlib.util

import numpy as np
import pytest
import SimpleITK as sitk
from scipy.spatial.distance import cdist

from phantoms import SOME_DIRECTIONS, SOME_ORIENTATIONS, ellipsoid, phantom
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.metrics.overlap import measure_overlap
from SpleenSmoothSegLib.metrics.shape import volume_ml
from SpleenSmoothSegLib.metrics.surface import Comparison, compare_masks, errors_by_height, on_common_grid

SURFACE_MEASURES = ("hd95_mm", "assd_mm", "surface_dice_1mm", "surface_dice_2mm")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:surface_distance")

if importlib.util.find_spec("surface_distance") is None:
    pytest.skip("needs surface-distance-based-measures", allow_module_level=True)


def box(low, high, spacing=(1.0, 1.0, 1.0), size=(40, 40, 40)) -> sitk.Image:
    """A label that is 1 from voxel `low` (column, row, slice) up to, not including, voxel `high`."""
    label = sitk.Image(size, sitk.sitkUInt8)
    label.SetSpacing(spacing)
    label[tuple(slice(*ends) for ends in zip(low, high, strict=True))] = 1
    return label


def empty_like(image: sitk.Image) -> sitk.Image:
    return sitk.Mask(image, image != image)


def values(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def surface_values(comparison: Comparison) -> list:
    return [getattr(comparison, name) for name in SURFACE_MEASURES]


# --- measures --------------------------------------------------------------------------------------------


def test_label_against_itself_is_perfect(sample_label):
    comparison = compare_masks(sample_label, sample_label)
    assert (comparison.dice, comparison.precision, comparison.recall) == (1, 1, 1)
    assert surface_values(comparison) == [0, 0, 1, 1]
    assert comparison.volume_ml == comparison.label_volume_ml == pytest.approx(volume_ml(sample_label))
    assert (comparison.volume_difference_ml, comparison.volume_difference_percent) == (0, 0)


def test_compare_masks_overlap_equals_measure_overlap(sample_label):
    mask = sitk.BinaryDilate(sample_label, [1, 2, 0])
    overlap = measure_overlap(mask, sample_label)
    comparison = compare_masks(mask, sample_label)
    assert (comparison.dice, comparison.precision, comparison.recall) == (
        overlap.dice,
        overlap.precision,
        overlap.recall,
    )
    measured = sitk.LabelOverlapMeasuresImageFilter()
    measured.Execute(sample_label, mask)
    assert comparison.dice == pytest.approx(measured.GetDiceCoefficient())


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 2.5), (2.0, 0.7, 1.3)])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_hd95_of_box_shifted_by_three_voxels(spacing, axis):
    low, high = np.array([10, 10, 10]), np.array([26, 26, 26])
    shift = 3 * np.eye(3, dtype=int)[axis]
    comparison = compare_masks(box(low + shift, high + shift, spacing), box(low, high, spacing))
    assert comparison.hd95_mm == pytest.approx(3 * spacing[axis])
    assert comparison.dice == pytest.approx(13 / 16)


@pytest.mark.parametrize("more", [1.5, 3.0])
def test_surface_distances_of_concentric_spheres(more):
    grid = {"spacing": (0.5, 0.5, 0.5), "extent": 50.0}
    small, large = ellipsoid(radii=(20,) * 3, **grid), ellipsoid(radii=(20 + more,) * 3, **grid)
    comparison = compare_masks(large, small)
    assert comparison.hd95_mm == pytest.approx(more, abs=0.25)
    assert comparison.assd_mm == pytest.approx(more, abs=0.35)
    assert comparison.surface_dice_1mm < 0.2
    assert (comparison.surface_dice_2mm > 0.9) == (more == 1.5)
    assert (comparison.precision, comparison.recall) == (pytest.approx((20 / (20 + more)) ** 3, abs=0.01), 1)


def test_assd_averages_both_surfaces():
    label = box((5, 10, 10), (15, 20, 20))
    mask = label + box((25, 10, 10), (35, 20, 20))  # plus an equal box, 10 to 20 mm away
    there, back = compare_masks(mask, label), compare_masks(label, mask)
    assert there.assd_mm == pytest.approx(15 / 3, rel=0.05)  # three surfaces, two of them at distance 0
    assert (there.hd95_mm, there.assd_mm) == (pytest.approx(back.hd95_mm), pytest.approx(back.assd_mm))
    assert there.hd95_mm == pytest.approx(20)


def test_surface_distances_match_brute_force():
    spacing = (2.0, 2.0, 3.0)
    first = ellipsoid(center=(3, -2, 4), radii=(18, 12, 15), spacing=spacing, extent=60.0)
    second = ellipsoid(radii=(15, 15, 15), spacing=spacing, extent=60.0)
    points = []
    for image in (first, second):
        there = np.pad(values(image), 1)
        corners = sum(np.roll(there, step, (0, 1, 2)) for step in np.ndindex(2, 2, 2))
        points.append(np.argwhere((corners > 0) & (corners < 8)) * spacing[::-1])  # where eight voxels meet
    apart = cdist(*points)
    nearest = [apart.min(axis=1), apart.min(axis=0)]
    comparison = compare_masks(first, second)
    assert comparison.hd95_mm == pytest.approx(max(np.percentile(distance, 95) for distance in nearest), abs=0.6)
    assert comparison.assd_mm == pytest.approx(np.concatenate(nearest).mean(), abs=0.2)
    for tolerance, found in ((1, comparison.surface_dice_1mm), (2, comparison.surface_dice_2mm)):
        assert found == pytest.approx((np.concatenate(nearest) <= tolerance).mean(), abs=0.05)


def test_volume_difference_in_ml_and_percent_of_label():
    comparison = compare_masks(box((5, 5, 5), (25, 15, 15)), box((5, 5, 5), (15, 15, 15)))
    assert (comparison.volume_ml, comparison.label_volume_ml) == (pytest.approx(2), pytest.approx(1))
    assert comparison.volume_difference_ml == pytest.approx(1)
    assert comparison.volume_difference_percent == pytest.approx(100)


def test_empty_masks_have_no_surface_measures():
    label = box((5, 5, 5), (15, 15, 15))
    empty = empty_like(label)
    missed, invented, nothing = (
        compare_masks(*pair) for pair in ((empty, label), (label, empty), (empty, empty_like(label)))
    )
    for comparison in (missed, invented, nothing):
        assert surface_values(comparison) == [None] * 4
    assert [missed.dice, missed.precision, missed.recall, missed.volume_difference_percent] == [0, 1, 0, -100]
    assert [invented.dice, invented.precision, invented.recall, invented.volume_difference_percent] == [0, 0, 1, None]
    assert [nothing.dice, nothing.precision, nothing.recall, nothing.volume_difference_percent] == [1, 1, 1, None]


def test_without_library_only_surface_measures_are_none(sample_label, monkeypatch):
    mask = sitk.BinaryErode(sample_label)
    everything = compare_masks(mask, sample_label)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    comparison = compare_masks(mask, sample_label)
    assert surface_values(comparison) == [None] * 4
    for name in vars(everything).keys() - set(SURFACE_MEASURES):
        assert getattr(comparison, name) == getattr(everything, name)


def test_eroded_real_label_is_off_by_the_erosion(shared_case):
    _, label = shared_case("spleen_3")
    mask, _ = on_common_grid(label, label)  # cropped to the spleen
    mask = sitk.BinaryErode(mask, [2, 2, 0], sitk.sitkBox)
    comparison = compare_masks(mask, label)
    pixel = label.GetSpacing()[0]
    assert comparison.precision == 1
    assert pixel <= comparison.assd_mm <= 2 * pixel
    assert 2 * pixel <= comparison.hd95_mm <= 4 * pixel
    assert comparison.volume_difference_ml < 0


# --- common grid -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("letters", SOME_ORIENTATIONS)
def test_comparison_does_not_depend_on_stored_orientation(sample_label, letters):
    mask = sitk.BinaryDilate(sample_label, [2, 1, 0])
    turned_mask = sitk.DICOMOrient(mask, letters)
    assert compare_masks(turned_mask, sample_label) == compare_masks(mask, sample_label)
    first, second = on_common_grid(turned_mask, sample_label)
    assert values(first).sum() == values(mask).sum()
    assert values(second).sum() == values(sample_label).sum()


def test_cropped_masks_of_one_lattice_are_compared_exactly(sample_label):
    mask = sitk.BinaryDilate(sample_label, [1, 1, 1])
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    start = shape.GetBoundingBox(1)
    cut = sitk.RegionOfInterest(mask, start[3:], start[:3])
    assert compare_masks(cut, sample_label) == compare_masks(mask, sample_label)
    there_and_back = compare_masks(sample_label, cut)
    assert there_and_back.dice == compare_masks(mask, sample_label).dice


def test_common_grid_is_the_bounding_box_with_margin():
    first, second = box((5, 6, 7), (15, 15, 15)), box((12, 6, 7), (20, 20, 20))
    for image in on_common_grid(first, second):
        assert np.all(np.array(image.GetSize()) <= [15 + 4, 14 + 4, 13 + 4])
        assert image.GetSpacing() == second.GetSpacing()
    first, _ = on_common_grid(first, second)
    assert first.TransformPhysicalPointToIndex((5, 6, 7)) in [(1, 1, 1), (2, 2, 2)]


def test_mask_beyond_the_labels_image_is_counted():
    mask = box((0, 5, 5), (40, 15, 15))
    label = box((0, 5, 5), (20, 15, 15))[:20]
    comparison = compare_masks(mask, label)
    assert (comparison.precision, comparison.recall) == (0.5, 1)
    assert comparison.volume_difference_percent == pytest.approx(100)


@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_same_organ_on_oblique_grid_is_nearly_equal(direction):
    oblique = ellipsoid(spacing=(1.5, 1.5, 2.0), direction=direction)
    straight = ellipsoid(spacing=(1.5, 1.5, 2.0))
    comparison = compare_masks(oblique, straight)
    assert comparison.dice > 0.97
    assert comparison.assd_mm < 0.5
    assert abs(comparison.volume_difference_percent) < 1


def test_masks_far_apart_raise_user_error():
    first, second = box((5, 5, 5), (15, 15, 15)), box((5, 5, 5), (15, 15, 15))
    second.SetOrigin((2000, -3000, 1500))
    with pytest.raises(UserError, match="same CT"):
        on_common_grid(first, second)


@pytest.mark.parametrize("other", [sitk.Image(8, 8, sitk.sitkUInt8), sitk.Image([4, 4, 4], sitk.sitkVectorUInt8, 3)])
def test_non_scalar_3d_image_raises_user_error(other):
    with pytest.raises(UserError, match=r"^[^.]*3D images[^.]*\.$"):
        compare_masks(box((1, 1, 1), (3, 3, 3)), other)


# --- errors by height ------------------------------------------------------------------------------------


def test_errors_by_height_of_boxes():
    spacing = (1.0, 1.0, 2.5)
    label = box((10, 10, 5), (20, 20, 25), spacing)
    mask = box((10, 10, 8), (20, 22, 27), spacing)  # 3 slices missing below, 2 extra above, 2 extra rows
    errors = errors_by_height(mask, label)
    np.testing.assert_allclose(errors.height_mm, 2.5 * np.arange(20))
    np.testing.assert_allclose(errors.relative_height, np.linspace(0, 1, 20))
    np.testing.assert_allclose(errors.false_negative_ml, [0.25] * 3 + [0] * 17)
    np.testing.assert_allclose(errors.false_positive_ml, [0] * 3 + [0.05] * 17)
    assert (errors.false_positive_below_ml, errors.false_positive_above_ml) == (0, pytest.approx(2 * 10 * 12 * 0.0025))


@pytest.mark.parametrize("letters", SOME_ORIENTATIONS)
def test_errors_by_height_do_not_depend_on_stored_orientation(sample_label, letters):
    mask = sitk.BinaryDilate(sample_label, [2, 1, 2])
    bottom = int(np.flatnonzero(values(sample_label).any(axis=(1, 2)))[0])
    mask[:, :, bottom + 4 : bottom + 7] = 0
    expected = errors_by_height(mask, sample_label)
    found = errors_by_height(sitk.DICOMOrient(mask, letters), sitk.DICOMOrient(sample_label, letters))
    assert expected.false_negative_ml.sum() > 0
    assert expected.false_positive_below_ml > 0
    for name, number in vars(expected).items():
        np.testing.assert_allclose(getattr(found, name), number, atol=1e-9)


@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_errors_by_height_on_oblique_grid_are_complete(direction):
    grid = {"spacing": (1.5, 1.5, 3.0), "direction": direction, "extent": 130.0}
    label = ellipsoid(radii=(30, 25, 40), **grid)
    lower = phantom(lambda at: (at[..., 2] < 20).astype(np.uint8), **grid)
    mask = label * lower  # truncated 20 mm above the center
    errors = errors_by_height(mask, label)
    voxel_ml = np.prod(grid["spacing"]) / 1000
    missing = np.count_nonzero(values(label) & ~(values(mask) > 0)) * voxel_ml
    assert errors.false_negative_ml.sum() == pytest.approx(missing)
    assert errors.false_positive_ml.sum() == pytest.approx(0)
    assert errors.height_mm[-1] == pytest.approx(80, abs=4)
    assert errors.false_negative_ml[errors.height_mm < 55].sum() == 0
    assert errors.false_negative_ml[errors.height_mm > 64].sum() > 0.5 * missing
    thickness = errors.height_mm[1]
    at_63 = np.interp(63, errors.height_mm, errors.false_negative_ml) / thickness * 1000  # mm2
    assert at_63 == pytest.approx(np.pi * 30 * 25 * (1 - (23 / 40) ** 2), rel=0.15)


def test_errors_by_height_of_single_slice_label():
    label = box((10, 10, 5), (20, 20, 6))
    errors = errors_by_height(empty_like(label), label)
    assert (errors.height_mm.tolist(), errors.relative_height.tolist()) == ([0], [0])
    np.testing.assert_allclose(errors.false_negative_ml, [0.1])


def test_errors_by_height_of_empty_label_raises_user_error():
    label = box((10, 10, 5), (20, 20, 6))
    with pytest.raises(UserError, match="The label is empty"):
        errors_by_height(label, empty_like(label))
