"""Ensemble prediction: the mask lies on the spleen whatever the grid, and says how far the folds agree.

Most tests use hand-made networks that look at nothing but the brightness of a voxel, so that the right answer is known.
"""

import gc
import tracemalloc

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from phantoms import BONE, SOME_DIRECTIONS, SOME_ORIENTATIONS, SPLEEN, dice, ellipsoid, phantom, trunk
from SpleenSmoothSegLib.ensemble import (
    Cancelled,
    choose_device,
    keep_largest_component,
    mean_pairwise_disagreement,
    segment_image,
)
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.images import same_grid
from SpleenSmoothSegLib.measurement import volume_ml
from SpleenSmoothSegLib.modelfolder import Model
from SpleenSmoothSegLib.preprocessing import SliceFormat

SLICES = SliceFormat(size=80, spacing=3.0)
EXTENT = (220.0, 190.0, 110.0)

some_orientations = pytest.mark.parametrize("orientation", SOME_ORIENTATIONS)
some_directions = pytest.mark.parametrize("direction", SOME_DIRECTIONS.values(), ids=SOME_DIRECTIONS)


class Between(nn.Module):
    """Finds the voxels between two HU; the probability rises from 0 to 1 within some HU."""

    def __init__(self, lowest: float, highest: float = 1e6, rise: float = 20.0):
        super().__init__()
        self.lowest, self.highest, self.rise = lowest, highest, rise

    def forward(self, slices):
        low, high = SLICES.window
        hu = slices * (high - low) + low
        return torch.minimum(hu - self.lowest, self.highest - hu) * (5 / self.rise)


class Constant(nn.Module):
    """The same probability everywhere."""

    def __init__(self, probability: float):
        super().__init__()
        self.logit = float(np.log(probability / (1 - probability)))

    def forward(self, slices):
        return torch.full_like(slices, self.logit)


SPLEEN_FINDER = Between(100, 200)
BONE_FINDER = Between(240)


def model(*networks: nn.Module, threshold: float = 0.5, slice_format: SliceFormat = SLICES) -> Model:
    return Model({}, slice_format, threshold, list(networks))


def array(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image)


def spleen_and_bone(**grid) -> sitk.Image:
    return ellipsoid(**SPLEEN, extent=EXTENT, **grid) | ellipsoid(**BONE, extent=EXTENT, **grid)


@pytest.fixture(scope="module")
def ct() -> sitk.Image:
    return trunk(spacing=(2.0, 2.0, 4.0))


@pytest.fixture(scope="module")
def ct_spleen() -> sitk.Image:
    return ellipsoid(**SPLEEN, extent=EXTENT, spacing=(2.0, 2.0, 4.0))


@pytest.fixture(scope="module")
def small_model(small_networks) -> Model:
    return model(*small_networks)


# Where the mask lies.


@some_directions
@pytest.mark.parametrize("spacing", [(1.5, 1.5, 5.0), (3.0, 3.0, 2.0)], ids=str)
def test_the_mask_lies_on_the_spleen_on_the_grid_of_the_ct(direction, spacing):
    grid = {"spacing": spacing, "direction": direction, "extent": EXTENT}
    ct = trunk(**grid)
    found = segment_image(ct, model(SPLEEN_FINDER))
    for image in (found.mask, found.probability, found.disagreement_map):
        assert same_grid(image, ct)
    assert dice(found.mask, ellipsoid(**SPLEEN, **grid)) > 0.93


@some_orientations
def test_a_ct_stored_in_another_orientation_gets_its_mask_at_the_same_place(ct, orientation):
    two_folds = model(SPLEEN_FINDER, Between(80, 300))
    here = segment_image(ct, two_folds)
    there = segment_image(sitk.DICOMOrient(ct, orientation), two_folds)
    assert dice(sitk.DICOMOrient(there.mask, "LPS"), here.mask) > 0.999
    assert there.volume_ml == pytest.approx(here.volume_ml, rel=1e-3)
    assert there.fold_volumes_ml == pytest.approx(here.fold_volumes_ml, rel=1e-3)
    assert there.disagreement == pytest.approx(here.disagreement, abs=1e-3)


@some_orientations
def test_real_networks_see_the_same_in_every_orientation(sample_ct, small_model, orientation):
    ct = sample_ct[:, :, 60:80]
    here = segment_image(ct, small_model).probability
    there = segment_image(sitk.DICOMOrient(ct, orientation), small_model).probability
    np.testing.assert_allclose(array(sitk.DICOMOrient(there, "LPS")), array(here), atol=1e-3)


@pytest.mark.parametrize("pixel", ["Int32", "Float32", "Float64"])
def test_the_pixel_type_of_the_ct_does_not_matter(ct, pixel):
    here, there = (
        segment_image(sitk.Cast(ct, getattr(sitk, f"sitk{name}")), model(SPLEEN_FINDER)) for name in ("Int16", pixel)
    )
    assert dice(here.mask, there.mask) == 1.0


def test_pixel_types_of_the_results(ct):
    found = segment_image(ct, model(SPLEEN_FINDER))
    assert found.mask.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(array(found.mask))) == {0, 1}
    for image in (found.probability, found.disagreement_map):
        assert image.GetPixelID() == sitk.sitkFloat32
    assert 0 <= array(found.probability).min() <= array(found.probability).max() <= 1


def test_the_ct_is_not_changed(ct):
    before = sitk.Hash(ct)
    segment_image(ct, model(SPLEEN_FINDER))
    assert sitk.Hash(ct) == before


def test_a_ct_of_two_slices_is_enough(ct):
    assert segment_image(ct[:, :, 12:14], model(SPLEEN_FINDER)).volume_ml > 0


def test_beyond_what_the_networks_see_the_probability_is_0(ct):
    found = segment_image(ct, model(Constant(0.9), slice_format=SliceFormat(20, 3.0)))
    probability = array(found.probability)
    assert probability.max() == pytest.approx(0.9)
    assert probability[:, 0].max() == 0


# What the folds say together.


def test_the_probability_is_the_mean_of_the_folds(ct):
    found = segment_image(ct, model(Constant(0.2), Constant(0.9), Constant(0.7)))
    np.testing.assert_allclose(array(found.probability), 0.6, atol=1e-5)
    np.testing.assert_allclose(array(found.disagreement_map), np.std([0.2, 0.9, 0.7]), atol=1e-5)


def test_the_threshold_of_the_model_decides(ct):
    folds = Constant(0.2), Constant(0.4)
    assert segment_image(ct, model(*folds, threshold=0.31)).volume_ml == 0
    whole = segment_image(ct, model(*folds, threshold=0.29))
    assert whole.volume_ml == pytest.approx(np.prod(EXTENT) / 1000, rel=0.02)
    assert whole.fold_volumes_ml[0] == 0 < whole.fold_volumes_ml[1]


def test_equal_folds_disagree_by_0(ct):
    found = segment_image(ct, model(SPLEEN_FINDER, SPLEEN_FINDER, SPLEEN_FINDER))
    assert found.disagreement == 0
    assert array(found.disagreement_map).max() < 1e-6


def test_folds_that_find_different_things_disagree_by_1(ct):
    found = segment_image(ct, model(SPLEEN_FINDER, BONE_FINDER))
    assert found.disagreement == 1
    assert array(found.disagreement_map).max() == pytest.approx(0.5, abs=0.01)
    assert array(found.disagreement_map).min() == pytest.approx(0, abs=0.01)


def test_a_single_fold_does_not_disagree(ct):
    assert segment_image(ct, model(SPLEEN_FINDER)).disagreement == 0


@pytest.mark.parametrize(
    ("overlap", "disagreement"),
    [
        ([[4]], 0),
        ([[4, 2], [2, 4]], 0.5),
        ([[6, 2], [2, 2]], 0.5),
        ([[3, 0], [0, 0]], 1),
        ([[0, 0], [0, 0]], 0),
        ([[4, 4, 0], [4, 4, 0], [0, 0, 4]], 2 / 3),
    ],
)
def test_disagreement_is_one_minus_the_mean_dice_of_pairs_of_folds(overlap, disagreement):
    assert mean_pairwise_disagreement(np.array(overlap, float)) == pytest.approx(disagreement)


def test_volumes_are_those_of_the_phantom(ct, ct_spleen):
    truth = volume_ml(ct_spleen)
    found = segment_image(ct, model(SPLEEN_FINDER))
    assert found.fold_volumes_ml == pytest.approx([truth], rel=0.06)
    assert found.volume_ml == pytest.approx(truth, rel=0.06)
    assert found.volume_ml == volume_ml(found.mask)


def test_each_fold_has_its_own_volume(ct):
    found = segment_image(ct, model(SPLEEN_FINDER, Constant(0.001), SPLEEN_FINDER))
    assert found.fold_volumes_ml[0] == found.fold_volumes_ml[2] > 50
    assert found.fold_volumes_ml[1] == 0


# The largest component.


def test_only_the_largest_part_is_kept_unless_asked_for_all(ct, ct_spleen):
    everything = Between(100)  # spleen and bone
    grid = {"spacing": (2.0, 2.0, 4.0)}
    largest = segment_image(ct, model(everything)).mask
    parts = segment_image(ct, model(everything), largest_component=False).mask
    assert dice(parts, spleen_and_bone(**grid)) > 0.9
    assert dice(largest, ct_spleen) > 0.9
    assert not array(largest & ellipsoid(**BONE, extent=EXTENT, **grid)).any()


def test_parts_that_touch_at_a_corner_only_are_two():
    voxels = np.zeros((4, 4, 4), np.uint8)
    voxels[:2, :2, :2], voxels[2:, 2:, 2:] = 1, 1
    voxels[3, 3, 3] = 0
    kept = array(keep_largest_component(sitk.GetImageFromArray(voxels)))
    assert kept[:2, :2, :2].all()
    assert kept.sum() == 8


def test_the_largest_part_is_found_at_the_edges_of_the_image_and_keeps_its_grid():
    label = ellipsoid(radii=(90, 15, 15), direction=SOME_DIRECTIONS["mixed"], extent=80.0)
    kept = keep_largest_component(label)
    assert same_grid(kept, label)
    np.testing.assert_array_equal(array(kept), array(label))


def test_an_empty_mask_has_no_largest_part():
    assert not array(keep_largest_component(sitk.Image(3, 3, 3, sitk.sitkUInt8))).any()


@pytest.mark.parametrize("largest_component", [True, False])
def test_a_ct_without_anything_found_gives_an_empty_mask_and_no_error(ct, largest_component):
    found = segment_image(ct, model(Constant(0.01), Constant(0.02)), largest_component=largest_component)
    assert not array(found.mask).any()
    assert (found.volume_ml, found.fold_volumes_ml, found.disagreement) == (0, [0, 0], 0)


def test_a_ct_of_air_gives_an_empty_mask():
    air = phantom(lambda p: np.full(p.shape[:-1], -1000, np.int16))
    assert segment_image(air, model(SPLEEN_FINDER)).volume_ml == 0


# Progress, cancellation, repetition, memory, device.


def test_progress_goes_from_0_to_1_and_names_its_steps(ct):
    told = []
    segment_image(ct, model(SPLEEN_FINDER), progress=lambda fraction, step: told.append((fraction, step)))
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert len(set(fractions)) > 5
    assert all(step for _, step in told)


class Counting(Between):
    """Counts the batches it sees."""

    batches = 0

    def forward(self, slices):
        self.batches += 1
        return super().forward(slices)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_cancelling_ends_the_work_before_the_next_batch(ct, after):
    network = Counting(100)
    with pytest.raises(Cancelled):
        segment_image(ct, model(network), cancelled=lambda: network.batches >= after)
    assert network.batches == after


def test_the_same_ct_and_model_give_the_same_mask_twice(sample_ct, small_model):
    ct = sample_ct[:, :, 60:75]
    first, second = (segment_image(ct, small_model, device="cpu") for _ in range(2))
    for image in ("mask", "probability", "disagreement_map"):
        assert sitk.Hash(getattr(first, image)) == sitk.Hash(getattr(second, image))
    assert first.fold_volumes_ml == second.fold_volumes_ml
    assert first.disagreement == second.disagreement


class Watched(Counting):
    """Measures now and then how much memory all arrays and tensors hold."""

    most = 0

    def forward(self, slices):
        logits = super().forward(slices)
        if self.batches % 10 == 0:
            tensors = sum(thing.nbytes for thing in gc.get_objects() if type(thing) is torch.Tensor)
            self.most = max(self.most, tensors + tracemalloc.get_traced_memory()[0])
        return logits


def test_memory_does_not_grow_with_the_number_of_folds():
    ct = trunk(spacing=(6.0, 6.0, 0.4), extent=(220, 190, 64))
    volume_bytes = ct.GetDepth() * SLICES.size**2 * 4
    held = {}
    for folds in (1, 6):
        watched = Watched(100)
        tracemalloc.start()
        segment_image(ct, model(*[SPLEEN_FINDER] * (folds - 1), watched))
        tracemalloc.stop()
        held[folds] = watched.most
    assert held[1] > volume_bytes, "the measure sees the volume itself"
    assert held[6] - held[1] < volume_bytes / 2


def test_a_device_that_is_not_there_is_told_in_one_sentence(ct):
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(UserError, match=f'"{missing}" is not available .*; choose auto or one of: .*cpu.*\\.$'):
        segment_image(ct, model(SPLEEN_FINDER), device=missing)


def test_an_unknown_device_is_told_in_one_sentence():
    with pytest.raises(UserError, match='"gpu" is not available'):
        choose_device("gpu")


def test_the_cpu_can_be_forced_and_auto_finds_a_device():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")
