"""Slice search: only slices around the spleen are predicted, and the mask is complete."""

import numpy as np
import pytest
import SimpleITK as sitk
from torch import nn

from phantoms import SOME_DIRECTIONS, in_ellipsoid, phantom, trunk
from SpleenSmoothSegLib.callbacks import NO_CALLBACKS, Callbacks
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.inference.ensemble import Options, segment_image
from SpleenSmoothSegLib.model.folder import Model

TALL = (220.0, 190.0, 400.0)
FAT_HU, SPLEEN_HU = -100.0, 150.0


class Finder(nn.Module):
    """Segments everything above 75 HU, and counts its slices."""

    def __init__(self):
        super().__init__()
        self.slices = 0

    def forward(self, slices):
        self.slices += len(slices)
        return (slices * 400 - 150 - 75) / 4


def segment(ct: sitk.Image, callbacks: Callbacks = NO_CALLBACKS, **options):
    """The segmentation, and how many slices were predicted."""
    finder = Finder()
    found = segment_image(ct, Model({}, SliceFormat(80, 3.0), 0.5, [finder]), "cpu", Options(**options), callbacks)
    return found, finder.slices


def with_spleens(*heights: tuple[float, float, float], spacing: float = 2.5) -> sitk.Image:
    """A body with ellipsoids as bright as a spleen, each given by its center, height and width in mm."""

    def hu(points):
        body = np.where(in_ellipsoid(points, (0, 0, 0), (100, 80, 1000)), FAT_HU + 140, -1000.0)
        for middle, height, width in heights:
            body[in_ellipsoid(points, (40, 20, middle), (width / 2, width / 2, height / 2))] = SPLEEN_HU
        return body.astype(np.float32)

    return phantom(hu, TALL, spacing=(3.0, 3.0, spacing))


def same(first: sitk.Image, second: sitk.Image) -> bool:
    return np.array_equal(sitk.GetArrayFromImage(first), sitk.GetArrayFromImage(second))


@pytest.mark.parametrize("spacing", [1.0, 2.5, 5.0, 12.0])
@pytest.mark.parametrize("middle", [-190.0, -33.0, 0.0, 101.0, 199.0], ids=lambda mm: f"{mm:.0f} mm")
def test_spleen_at_any_height_is_complete(middle, spacing):
    ct = with_spleens((middle, 90.0, 70.0), spacing=spacing)
    found, looked = segment(ct)
    whole, every = segment(ct, exhaustive=True)
    assert whole.result.volume_ml > 60 and same(found.mask, whole.mask)
    assert every == ct.GetDepth() and looked <= (0.7 if spacing < 10 else 1) * every
    assert found.result.fold_volumes_ml == whole.result.fold_volumes_ml


@pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)
def test_spleen_is_complete_in_any_orientation(direction):
    ct = trunk(spacing=(3.0, 3.0, 3.0), direction=direction)
    assert same(segment(ct)[0].mask, segment(ct, exhaustive=True)[0].mask)


def test_larger_of_two_parts_is_kept_whichever_is_predicted_first():
    for heights in ((-120.0, 100.0), (100.0, -120.0)):
        ct = with_spleens((heights[0], 60.0, 60.0), (heights[1], 90.0, 80.0))
        assert same(segment(ct)[0].mask, segment(ct, exhaustive=True)[0].mask)


def test_thin_part_between_coarse_slices_is_found_if_nothing_else_is():
    """Between two coarse slices: they are 20 mm apart, and the part is 12 mm high."""
    ct = with_spleens((-TALL[2] / 2 + 30.0, 12.0, 60.0))
    found, looked = segment(ct)
    assert found.result.volume_ml > 5 and looked == ct.GetDepth()


def test_empty_result_only_after_predicting_every_slice():
    ct = with_spleens()
    found, looked = segment(ct)
    assert found.result.volume_ml == 0 and looked == ct.GetDepth()


def test_progress_does_not_decrease_when_more_slices_are_predicted_than_expected():
    ct, fractions = with_spleens((-TALL[2] / 2 + 30.0, 12.0, 60.0), (TALL[2] / 2, 6.0, 20.0)), []
    segment(ct, Callbacks(progress=lambda fraction, step: fractions.append(fraction)))
    assert fractions == sorted(fractions) and len(set(fractions)) > 10


def test_all_components_predicts_every_slice():
    ct = with_spleens((-30.0, 90.0, 70.0), (-TALL[2] / 2 + 30.0, 12.0, 60.0))
    found, looked = segment(ct, largest_component=False)
    assert looked == ct.GetDepth()
    assert same(found.mask, segment(ct, exhaustive=True, largest_component=False)[0].mask)


def test_maps_are_0_on_slices_not_predicted():
    """No stripes from the coarse slices."""
    ct = with_spleens((0.0, 90.0, 70.0))
    probability = sitk.GetArrayFromImage(segment(ct)[0].probability)
    exhaustive_map = sitk.GetArrayFromImage(segment(ct, exhaustive=True)[0].probability)
    assert probability[:40].max() == 0 < exhaustive_map[:40].max()
    middle = slice(len(exhaustive_map) // 2 - 10, len(exhaustive_map) // 2 + 10)
    np.testing.assert_array_equal(probability[middle], exhaustive_map[middle])
