"""Uncertain places: order, area, distance, and restriction to the spleen."""

import numpy as np
import pytest
import SimpleITK as sitk

from phantoms import SOME_DIRECTIONS, SOME_ORIENTATIONS, in_ellipsoid, phantom
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.inference.uncertainty import MIN_AREA_MM2, MIN_DEVIATION, uncertain_places

GRID = {"extent": 120.0, "spacing": (2.0, 2.0, 4.0)}
SPLEEN = {"center": (10.0, 5.0, 0.0), "radii": (20.0, 15.0, 40.0)}
# Uncertain: the upper tip, less so a bump on the left; most of all an object far from the spleen.
TIP = {"center": (10.0, 5.0, 38.0), "radii": (12.0, 10.0, 9.0)}
BUMP = {"center": (30.0, 5.0, -10.0), "radii": (8.0, 8.0, 9.0)}
FAR = {"center": (-45.0, -40.0, -30.0), "radii": (14.0, 14.0, 20.0)}


def uncertainty_map(**grid) -> sitk.Image:
    """A map: 0.02 everywhere, 0.5 in the distant object, 0.45 in the tip, 0.3 in the bump."""

    def value_at(points):
        values = np.full(points.shape[:-1], 0.02, np.float32)
        for part, value in ((FAR, 0.5), (BUMP, 0.3), (TIP, 0.45)):
            values[in_ellipsoid(points, **part)] = value
        return values

    return phantom(value_at, **{**GRID, **grid})


def spleen(**grid) -> sitk.Image:
    return phantom(lambda points: in_ellipsoid(points, **SPLEEN).astype(np.uint8), **{**GRID, **grid})


def one_voxel(value: float, size=(10, 10, 10), spacing=(2.0, 3.0, 5.0)) -> sitk.Image:
    voxels = np.zeros(size, np.float32)
    voxels[5, 4, 3] = value
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing(spacing)
    return image


def nothing(image: sitk.Image) -> sitk.Image:
    return sitk.Cast(image * 0, sitk.sitkUInt8)


@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_most_uncertain_place_comes_first_on_any_grid(direction):
    tip, *others = uncertain_places(uncertainty_map(direction=direction), spleen(direction=direction))
    bump = next(place for place in others if place.point_lps[2] < 25)
    assert tip.area_mm2 > bump.area_mm2
    assert tip.point_lps == pytest.approx(TIP["center"], abs=5)
    assert bump.point_lps == pytest.approx(BUMP["center"], abs=5)


def test_area_is_that_on_which_two_folds_are_expected_to_differ():
    """If half of the folds predict 1 and half 0, the deviation is 0.5, and two folds differ half of the time."""
    (place,) = uncertain_places(one_voxel(0.5, spacing=(6.0, 8.0, 5.0)), nothing(one_voxel(0)))
    assert place.area_mm2 == pytest.approx(0.5 * 6 * 8)
    assert place.point_lps == pytest.approx((3 * 6, 4 * 8, 5 * 5))


@pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
def test_places_do_not_depend_on_stored_orientation(orientation):
    images = uncertainty_map(), spleen()
    here = uncertain_places(*images, apart_mm=0.0)
    there = uncertain_places(*(sitk.DICOMOrient(image, orientation) for image in images), apart_mm=0.0)
    assert len(there) == len(here) > 5
    from_below = (sorted(places, key=lambda place: place.point_lps[2]) for places in (here, there))
    for one, other in zip(*from_below, strict=True):
        assert other.area_mm2 == pytest.approx(one.area_mm2)
        assert other.point_lps == pytest.approx(one.point_lps)


def test_places_are_on_slices_at_the_minimum_distance():
    for apart in (0.0, 4.0, 10.0, 30.0):
        heights = [
            place.point_lps[2] for place in uncertain_places(uncertainty_map(), spleen(), count=100, apart_mm=apart)
        ]
        assert len(heights) >= 2
        assert np.diff(sorted(heights)).min() >= max(apart, 4.0) - 1e-6
    slices = uncertain_places(uncertainty_map(), spleen(), count=100, apart_mm=4.0)
    assert len(slices) == len(uncertain_places(uncertainty_map(), spleen(), count=100, apart_mm=0.0))


def test_areas_decrease_and_count_limits_the_places():
    places = uncertain_places(uncertainty_map(), spleen(), count=100, apart_mm=0.0)
    scores = [place.area_mm2 for place in places]
    assert scores == sorted(scores, reverse=True)
    assert scores[-1] >= MIN_AREA_MM2
    assert uncertain_places(uncertainty_map(), spleen(), count=3, apart_mm=0.0) == places[:3]
    assert len(places) > 3


def test_distant_foreground_of_single_folds_is_not_an_uncertain_place():
    heights = [place.point_lps[2] for place in uncertain_places(uncertainty_map(), spleen(), count=100)]
    assert min(heights) > BUMP["center"][2] - BUMP["radii"][2] - 4


def test_empty_mask_counts_all_uncertainty():
    (first, *_) = uncertain_places(uncertainty_map(), nothing(uncertainty_map()))
    assert first.point_lps == pytest.approx(FAR["center"], abs=4)


def test_folds_that_agree_have_no_uncertain_place():
    assert uncertain_places(uncertainty_map() * 0, spleen()) == []
    noise = uncertainty_map() * 0 + (MIN_DEVIATION - 0.01)
    assert uncertain_places(noise, spleen()) == []


def test_small_area_is_not_an_uncertain_place():
    speck = one_voxel(0.2)
    assert uncertain_places(speck, nothing(speck)) == []


def test_map_and_mask_are_not_modified():
    images = uncertainty_map(), spleen()
    before = [sitk.Hash(image) for image in images]
    uncertain_places(*images)
    assert [sitk.Hash(image) for image in images] == before
    assert same_grid(*images)
