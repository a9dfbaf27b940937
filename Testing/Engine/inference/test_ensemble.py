"""Ensemble prediction: position of the mask on any grid, fold agreement, progress, memory and devices.

Most tests use hand-made networks that threshold the brightness of a voxel, so that the result is known.
"""

import copy
import gc
import tracemalloc
import weakref

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from phantoms import (
    BODY,
    BONE,
    SOME_DIRECTIONS,
    SOME_ORIENTATIONS,
    SPLEEN,
    dice,
    ellipsoid,
    in_ellipsoid,
    phantom,
    trunk,
)
from SpleenSmoothSegLib.callbacks import Callbacks
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.inference import ensemble
from SpleenSmoothSegLib.inference import foldpredictor as folds
from SpleenSmoothSegLib.inference.components import crop_to_largest_part, keep_largest_component, parts_touching
from SpleenSmoothSegLib.inference.devices import choose_device
from SpleenSmoothSegLib.inference.ensemble import Canceled, Options, mean_pairwise_dice, segment_image
from SpleenSmoothSegLib.metrics.shape import volume_ml
from SpleenSmoothSegLib.model.folder import Model

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


# Position of the mask.


@some_directions
@pytest.mark.parametrize("spacing", [(1.5, 1.5, 5.0), (3.0, 3.0, 2.0)], ids=str)
def test_mask_is_at_the_spleen_on_the_grid_of_the_ct(direction, spacing):
    grid = {"spacing": spacing, "direction": direction, "extent": EXTENT}
    ct = trunk(**grid)
    found = segment_image(ct, model(SPLEEN_FINDER))
    for image in (found.mask, found.probability, found.uncertainty_map):
        assert same_grid(image, ct)
    assert dice(found.mask, ellipsoid(**SPLEEN, **grid)) > 0.93


@some_orientations
def test_mask_does_not_depend_on_stored_orientation(ct, orientation):
    two_folds = model(SPLEEN_FINDER, Between(80, 300))
    here = segment_image(ct, two_folds)
    there = segment_image(sitk.DICOMOrient(ct, orientation), two_folds)
    assert dice(sitk.DICOMOrient(there.mask, "LPS"), here.mask) > 0.999
    assert there.result.volume_ml == pytest.approx(here.result.volume_ml, rel=1e-3)
    assert there.result.fold_volumes_ml == pytest.approx(here.result.fold_volumes_ml, rel=1e-3)
    assert there.result.fold_agreement == pytest.approx(here.result.fold_agreement, abs=1e-3)


@some_orientations
def test_mask_of_real_networks_does_not_depend_on_stored_orientation(sample_ct, small_model, orientation):
    ct = sample_ct[:, :, 60:80]
    here = segment_image(ct, small_model).probability
    there = segment_image(sitk.DICOMOrient(ct, orientation), small_model).probability
    np.testing.assert_allclose(array(sitk.DICOMOrient(there, "LPS")), array(here), atol=1e-3)


@pytest.mark.parametrize("pixel", ["Int32", "Float32", "Float64"])
def test_mask_does_not_depend_on_pixel_type(ct, pixel):
    here, there = (
        segment_image(sitk.Cast(ct, getattr(sitk, f"sitk{name}")), model(SPLEEN_FINDER)) for name in ("Int16", pixel)
    )
    assert dice(here.mask, there.mask) == 1.0


def test_pixel_types_of_the_results(ct):
    found = segment_image(ct, model(SPLEEN_FINDER))
    assert found.mask.GetPixelID() == sitk.sitkUInt8
    assert set(np.unique(array(found.mask))) == {0, 1}
    for image in (found.probability, found.uncertainty_map):
        assert image.GetPixelID() == sitk.sitkFloat32
    assert 0 <= array(found.probability).min() <= array(found.probability).max() <= 1


def test_segment_image_does_not_modify_the_ct(ct):
    before = sitk.Hash(ct)
    segment_image(ct, model(SPLEEN_FINDER))
    assert sitk.Hash(ct) == before


def test_ct_of_two_slices_is_segmented(ct):
    assert segment_image(ct[:, :, 12:14], model(SPLEEN_FINDER)).result.volume_ml > 0


def test_probability_is_0_outside_of_the_network_grid(ct):
    found = segment_image(ct, model(Constant(0.9), slice_format=SliceFormat(20, 3.0)))
    probability = array(found.probability)
    assert probability.max() == pytest.approx(0.9)
    assert probability[:, 0].max() == 0


# Neighboring slices as channels.


class ShowChannel(nn.Module):
    """Returns one of its channels, scaled from the window to a logit."""

    def __init__(self, channel: int):
        super().__init__()
        self.channel = channel

    def forward(self, slices):
        return torch.logit(slices[:, self.channel : self.channel + 1].clamp(0.001, 0.999))


def height_phantom(**grid) -> sitk.Image:
    """A CT whose HU are its heights, with a body around the middle."""
    return phantom(lambda p: p[..., 2].astype(np.float32), (60.0, 60.0, 80.0), **grid)


@some_orientations
@pytest.mark.parametrize(("thickness", "distance"), [(2.5, 5.0), (3.0, 5.0), (7.0, 5.0), (1.0, 3.3)])
def test_channels_are_slices_at_the_channel_spacing(thickness, distance, orientation):
    ct = sitk.DICOMOrient(height_phantom(spacing=(3.0, 3.0, thickness)), orientation)
    seen = SliceFormat(size=20, spacing=3.0, window=(-60.0, 60.0), channels=3, channel_spacing=distance)
    shown = {
        channel: array(
            sitk.DICOMOrient(
                segment_image(
                    ct, model(ShowChannel(channel), slice_format=seen), options=Options(exhaustive=True)
                ).probability,
                "LPS",
            )
        )[:, 10, 10]
        * 120
        - 60
        for channel in range(3)
    }
    heights = array(sitk.DICOMOrient(ct, "LPS"))[:, 10, 10]
    for channel, offset in ((0, -distance), (1, 0.0), (2, distance)):
        wanted = np.clip(heights + offset, heights[0], heights[-1])  # beyond the ends the outermost slice is repeated
        np.testing.assert_allclose(shown[channel], wanted, atol=0.2)


def test_single_channel_does_not_depend_on_channel_spacing(ct):
    one, other = (
        segment_image(ct, model(SPLEEN_FINDER, slice_format=SliceFormat(80, 3.0, channel_spacing=mm)))
        for mm in (5.0, 1.3)
    )
    np.testing.assert_array_equal(array(one.probability), array(other.probability))


def test_batch_size_does_not_change_the_channels(ct, monkeypatch):
    seen = SliceFormat(80, 3.0, channels=5, channel_spacing=4.4)
    alone = segment_image(ct, model(ShowChannel(4), slice_format=seen)).probability
    monkeypatch.setattr(folds, "MAX_BATCH_SLICES", 7)
    np.testing.assert_array_equal(
        array(segment_image(ct, model(ShowChannel(4), slice_format=seen)).probability), array(alone)
    )


# Folds and ensemble.


def test_probability_is_the_mean_over_folds(ct):
    found = segment_image(ct, model(Constant(0.2), Constant(0.9), Constant(0.7)))
    np.testing.assert_allclose(array(found.probability), 0.6, atol=1e-5)
    np.testing.assert_allclose(array(found.uncertainty_map), np.std([0.2, 0.9, 0.7]), atol=1e-5)


def test_mask_uses_the_threshold_of_the_model(ct):
    two = Constant(0.2), Constant(0.4)
    assert segment_image(ct, model(*two, threshold=0.31)).result.volume_ml == 0
    whole = segment_image(ct, model(*two, threshold=0.29))
    assert whole.result.volume_ml == pytest.approx(np.prod(EXTENT) / 1000, rel=0.02)
    assert whole.result.fold_volumes_ml[0] == 0 < whole.result.fold_volumes_ml[1]


def test_fold_agreement_of_equal_folds_is_1(ct):
    found = segment_image(ct, model(SPLEEN_FINDER, SPLEEN_FINDER, SPLEEN_FINDER))
    assert found.result.fold_agreement == 1
    assert array(found.uncertainty_map).max() < 1e-6


def test_fold_agreement_of_disjoint_folds_is_0(ct):
    found = segment_image(ct, model(SPLEEN_FINDER, BONE_FINDER))
    assert found.result.fold_agreement == 0
    assert array(found.uncertainty_map).max() == pytest.approx(0.5, abs=0.01)
    assert array(found.uncertainty_map).min() == pytest.approx(0, abs=0.01)


def test_fold_agreement_of_a_single_fold_is_none(ct):
    assert segment_image(ct, model(SPLEEN_FINDER)).result.fold_agreement is None


@pytest.mark.parametrize(
    ("overlap", "dice"),
    [
        ([[4, 2], [2, 4]], 0.5),
        ([[6, 2], [2, 2]], 0.5),
        ([[3, 0], [0, 0]], 0),
        ([[0, 0], [0, 0]], 1),
        ([[4, 4, 0], [4, 4, 0], [0, 0, 4]], 1 / 3),
    ],
)
def test_mean_pairwise_dice_of_overlap_counts(overlap, dice):
    assert mean_pairwise_dice(np.array(overlap, float)) == pytest.approx(dice)


def test_mean_pairwise_dice_of_one_fold_is_none():
    assert mean_pairwise_dice(np.array([[4.0]])) is None


def test_volumes_equal_those_of_the_phantom(ct, ct_spleen):
    truth = volume_ml(ct_spleen)
    found = segment_image(ct, model(SPLEEN_FINDER))
    assert found.result.fold_volumes_ml == pytest.approx([truth], rel=0.06)
    assert found.result.volume_ml == pytest.approx(truth, rel=0.06)
    assert found.result.volume_ml == volume_ml(found.mask)


def test_each_fold_has_a_volume(ct):
    found = segment_image(ct, model(SPLEEN_FINDER, Constant(0.001), SPLEEN_FINDER))
    assert found.result.fold_volumes_ml[0] == found.result.fold_volumes_ml[2] > 50
    assert found.result.fold_volumes_ml[1] == 0


@pytest.mark.parametrize("size", [80, 77, 44])
def test_fold_volume_does_not_depend_on_the_size_of_the_slices(ct, ct_spleen, size):
    found = segment_image(ct, model(SPLEEN_FINDER, slice_format=SliceFormat(size, 4.0)))
    assert found.result.fold_volumes_ml == pytest.approx([volume_ml(ct_spleen)], rel=0.1)


# Distant foreground of single folds.


def test_distant_foreground_of_one_fold_does_not_change_volume_and_fold_agreement(ct, ct_spleen):
    with_bone = Between(100)
    found = segment_image(ct, model(SPLEEN_FINDER, SPLEEN_FINDER, with_bone))
    alone = segment_image(ct, model(with_bone), options=Options(largest_component=False))
    assert dice(found.mask, ct_spleen) > 0.9
    assert alone.result.volume_ml > 1.2 * found.result.volume_ml, "the fold does find the bone"
    assert found.result.fold_volumes_ml == pytest.approx([volume_ml(ct_spleen)] * 3, rel=0.06)
    assert found.result.fold_agreement > 1 - 1e-3


def test_all_components_option_counts_all_parts(ct):
    grid = {"spacing": (2.0, 2.0, 4.0)}
    bone_and_spleen = model(Between(100), Between(100), SPLEEN_FINDER)
    found = segment_image(ct, bone_and_spleen, options=Options(largest_component=False))
    assert found.result.fold_volumes_ml[:2] == pytest.approx([volume_ml(spleen_and_bone(**grid))] * 2, rel=0.1)
    assert found.result.fold_agreement < 0.95


def test_empty_mask_counts_all_foreground_of_each_fold(ct, ct_spleen):
    found = segment_image(ct, model(SPLEEN_FINDER, Constant(0.01), Constant(0.01)))
    assert found.result.volume_ml == 0
    assert found.result.fold_volumes_ml[0] > 0.9 * volume_ml(ct_spleen)
    assert found.result.fold_volumes_ml[1:] == (0, 0)
    assert found.result.fold_agreement == pytest.approx(1 / 3)
    assert found.result.uncertain_places


def test_parts_touching_returns_only_parts_that_share_a_voxel_with_the_seeds():
    mask = np.zeros((4, 6, 6), bool)
    mask[0, 0, :3], mask[1:3, 3:5, 3:5], mask[3, 5, 5] = True, True, True
    seeds = np.zeros_like(mask)
    seeds[2, 3, 3] = seeds[0, 5, 5] = True
    expected = np.zeros_like(mask)
    expected[1:3, 3:5, 3:5] = True
    np.testing.assert_array_equal(parts_touching(mask, seeds), expected)
    assert not parts_touching(mask, seeds & False).any()
    assert not parts_touching(mask & False, seeds).any()


@some_directions
def test_uncertain_places_are_where_the_folds_disagree_at_the_spleen(direction):
    """One fold misses the lower half, which is brighter; one also finds bone."""
    x, y, middle = SPLEEN["center"]

    def hu(points):
        values = np.where(in_ellipsoid(points, **BONE), 600, np.where(in_ellipsoid(points, **BODY), 40, -1000))
        values[in_ellipsoid(points, **SPLEEN)] = 150
        values[in_ellipsoid(points, **SPLEEN) & (points[..., 2] < middle)] = 200
        return values.astype(np.int16)

    ct = phantom(hu, EXTENT, spacing=(2.0, 2.0, 3.0), direction=direction)
    sees_all = Between(100, 240)
    found = segment_image(ct, model(sees_all, sees_all, Between(100, 180), Between(100)))
    heights = [place.point_lps[2] for place in found.result.uncertain_places]
    assert len(heights) >= 3
    assert middle - SPLEEN["radii"][2] - 3 <= min(heights) <= max(heights) <= middle + 3
    for place in found.result.uncertain_places:
        assert np.hypot(place.point_lps[0] - x, place.point_lps[1] - y) < 6


# The largest component.


def test_default_keeps_only_the_largest_component(ct, ct_spleen):
    everything = Between(100)  # spleen and bone
    grid = {"spacing": (2.0, 2.0, 4.0)}
    largest = segment_image(ct, model(everything)).mask
    parts = segment_image(ct, model(everything), options=Options(largest_component=False)).mask
    assert dice(parts, spleen_and_bone(**grid)) > 0.9
    assert dice(largest, ct_spleen) > 0.9
    assert not array(largest & ellipsoid(**BONE, extent=EXTENT, **grid)).any()


def test_parts_connected_only_at_a_corner_are_separate():
    voxels = np.zeros((4, 4, 4), np.uint8)
    voxels[:2, :2, :2], voxels[2:, 2:, 2:] = 1, 1
    voxels[3, 3, 3] = 0
    kept = array(keep_largest_component(sitk.GetImageFromArray(voxels)))
    assert kept[:2, :2, :2].all()
    assert kept.sum() == 8


def test_keep_largest_component_at_image_edges_keeps_the_grid():
    label = ellipsoid(radii=(90, 15, 15), direction=SOME_DIRECTIONS["mixed"], extent=80.0)
    kept = keep_largest_component(label)
    assert same_grid(kept, label)
    np.testing.assert_array_equal(array(kept), array(label))


def test_keep_largest_component_of_empty_mask_is_empty():
    assert not array(keep_largest_component(sitk.Image(3, 3, 3, sitk.sitkUInt8))).any()
    nothing = sitk.Image(3, 3, 3, sitk.sitkFloat32)
    assert crop_to_largest_part(nothing, 0.5, margin_mm=1.0) is nothing


def test_crop_to_largest_part_has_a_margin_without_other_parts():
    voxels = np.full((8, 9, 12), 0.2, np.float32)
    voxels[2:5, 3:6, 4:7] = 0.9
    voxels[6, 7, 9] = 0.8  # two voxels away from its corner
    voxels[2, 8, 11] = 0.7  # farther away, but in the box of the two
    voxels[0, 0, 0] = 0.7  # far away
    image = sitk.GetImageFromArray(voxels)
    image.SetSpacing((1.0, 2.0, 3.0))
    around = crop_to_largest_part(image, 0.5, margin_mm=2.0)
    assert around.TransformIndexToPhysicalPoint((0, 0, 0)) == image.TransformIndexToPhysicalPoint((2, 2, 1))
    expected = voxels[1:8, 2:9, 2:].copy()
    expected[2 - 1, 8 - 2, 11 - 2] = 0
    np.testing.assert_array_equal(array(around), expected)
    assert (array(around) >= 0.5).sum() == 28


def test_distant_part_uses_no_memory_on_the_grid_of_the_ct(ct, ct_spleen, monkeypatch):
    """The connected parts of a whole CT are as large as four CTs."""
    searched, search = [], sitk.ConnectedComponent

    def searching(image, *options):
        searched.append(image.GetNumberOfPixels())
        return search(image, *options)

    monkeypatch.setattr(sitk, "ConnectedComponent", searching)
    segment_image(ct, model(Between(100)))  # finds bone, too
    assert max(searched) < ct.GetNumberOfPixels() / 4


@pytest.mark.parametrize("largest_component", [True, False])
def test_ct_without_foreground_gives_an_empty_mask(ct, largest_component):
    found = segment_image(
        ct, model(Constant(0.01), Constant(0.02)), options=Options(largest_component=largest_component)
    )
    assert not array(found.mask).any()
    assert (found.result.volume_ml, found.result.fold_volumes_ml, found.result.fold_agreement) == (0, (0, 0), 1)


def test_ct_of_air_gives_an_empty_mask():
    air = phantom(lambda p: np.full(p.shape[:-1], -1000, np.int16))
    assert segment_image(air, model(SPLEEN_FINDER)).result.volume_ml == 0


# Progress, cancellation, repetition, memory, device.


def test_progress_goes_from_0_to_1_with_step_names(ct):
    reported = []
    segment_image(
        ct, model(SPLEEN_FINDER), callbacks=Callbacks(progress=lambda fraction, step: reported.append((fraction, step)))
    )
    fractions = [fraction for fraction, _ in reported]
    assert fractions == sorted(fractions)
    assert (fractions[0], fractions[-1]) == (0, 1)
    assert len(set(fractions)) > 5
    assert all(step for _, step in reported)


class Counting(Between):
    """Counts its batches."""

    batches = 0

    def forward(self, slices):
        self.batches += 1
        return super().forward(slices)


@pytest.mark.parametrize("after", [0, 1, 3])
def test_canceling_stops_before_the_next_batch(ct, after):
    network = Counting(100)
    with pytest.raises(Canceled):
        segment_image(ct, model(network), callbacks=Callbacks(canceled=lambda: network.batches >= after))
    assert network.batches == after


def test_same_ct_and_model_give_the_same_mask(sample_ct, small_model):
    ct = sample_ct[:, :, 60:75]
    first, second = (segment_image(ct, small_model, device="cpu") for _ in range(2))
    for image in ("mask", "probability", "uncertainty_map"):
        assert sitk.Hash(getattr(first, image)) == sitk.Hash(getattr(second, image))
    assert first.result.fold_volumes_ml == second.result.fold_volumes_ml
    assert first.result.fold_agreement == second.result.fold_agreement


class MemoryProbe(Counting):
    """Measures the memory of all arrays and tensors at some batches."""

    most = 0

    def forward(self, slices):
        logits = super().forward(slices)
        if self.batches % 5 == 0:
            tensors = sum(tensor.nbytes for tensor in gc.get_objects() if type(tensor) is torch.Tensor)
            self.most = max(self.most, tensors + tracemalloc.get_traced_memory()[0])
        return logits


def test_memory_does_not_grow_with_the_number_of_folds():
    ct = trunk(spacing=(6.0, 6.0, 0.2), extent=(220, 190, 64))
    volume_bytes = ct.GetDepth() * SLICES.size**2 * 4
    held = {}
    for number in (1, 6):
        watched = MemoryProbe(100)
        tracemalloc.start()
        segment_image(ct, model(*[SPLEEN_FINDER] * (number - 1), watched))
        tracemalloc.stop()
        held[number] = watched.most
    assert held[1] > volume_bytes, "the measure sees the volume itself"
    assert held[6] - held[1] < volume_bytes / 2


def test_unavailable_device_raises_user_error(ct):
    missing = "mps" if torch.cuda.is_available() else "cuda"
    with pytest.raises(UserError, match=f'"{missing}" is not available .*; choose auto or one of: .*cpu.*\\.$'):
        segment_image(ct, model(SPLEEN_FINDER), device=missing)


# A device that fails. No GPU is needed: PyTorch's device "meta" holds no data.


class FailsElsewhere(Between):
    """Works on the CPU; on any other device it raises an error like PyTorch's after some empty batches."""

    def __init__(self, error: type[Exception], words: str = "", works_for: int = 0):
        super().__init__(100, 200)
        self.error, self.words, self.works_for = error, words, works_for
        self.failed: list[weakref.ref] = []

    def forward(self, slices):
        if slices.device.type == "cpu":
            assert not any(network() for network in self.failed), "it is gone from the device before the CPU begins"
            return super().forward(slices)
        self.works_for -= 1
        if self.works_for >= 0:
            return torch.zeros_like(slices, device="cpu")
        self.failed.append(weakref.ref(self))
        raise self.error(self.words)

    def __deepcopy__(self, memo):
        network = FailsElsewhere(self.error, self.words, self.works_for)
        network.failed = self.failed
        return network


@pytest.fixture
def on_meta(monkeypatch):
    choose = {"auto": torch.device("meta"), "cpu": torch.device("cpu")}
    monkeypatch.setattr(ensemble, "choose_device", lambda name, warn: choose[name])


FAILURES = [
    (torch.cuda.OutOfMemoryError, "CUDA out of memory. Tried to allocate 2.00 GiB.", "not enough memory"),
    (RuntimeError, "MPS backend out of memory (MPS allocated: 8.77 GB)", "not enough memory"),
    (RuntimeError, "CUDA error: no kernel image is available for execution on", "does not support this GPU"),
    (getattr(torch, "AcceleratorError", RuntimeError), "CUDA error: unspecified launch failure", "PyTorch reports"),
]


@pytest.mark.parametrize(("kind", "words", "reason"), FAILURES, ids=[words for _, words, _ in FAILURES])
def test_device_failure_falls_back_to_the_cpu_with_one_warning(ct, on_meta, kind, words, reason):
    reported, fractions = [], []
    networks = model(SPLEEN_FINDER, FailsElsewhere(kind, words))
    found = segment_image(
        ct, networks, callbacks=Callbacks(warn=reported.append, progress=lambda fraction, _: fractions.append(fraction))
    )
    assert found.result.device == "cpu"
    assert len(reported) == 1
    assert reported[0].startswith('The device "meta" cannot be used (') and reason in reported[0]
    assert reported[0].endswith("; using the CPU instead, which is slower.")
    assert fractions[-1] == 1
    with_cpu = segment_image(ct, model(SPLEEN_FINDER, SPLEEN_FINDER), device="cpu")
    assert sitk.Hash(found.mask) == sitk.Hash(with_cpu.mask)
    assert sitk.Hash(found.probability) == sitk.Hash(with_cpu.probability)
    assert found.result.fold_volumes_ml == with_cpu.result.fold_volumes_ml


def test_cpu_fallback_uses_the_dtype_that_is_faster_on_the_cpu(ct, small_networks, monkeypatch):
    network = copy.deepcopy(small_networks[0]).bfloat16()
    seen = []
    network.register_forward_hook(lambda network, inputs, output: seen.append(output.dtype))
    for is_fast, dtype in ((True, torch.bfloat16), (False, torch.float32)):
        monkeypatch.setattr(
            "SpleenSmoothSegLib.inference.foldpredictor.prefers_bfloat16", lambda device, fast=is_fast: fast
        )
        segment_image(ct[:, :, :3], model(network), "cpu")
        assert seen.pop() == dtype


def test_device_failure_midway_restarts_on_the_cpu(ct, on_meta):
    reported = []
    network = FailsElsewhere(torch.cuda.OutOfMemoryError, "CUDA out of memory.", works_for=1)
    found = segment_image(
        ct, model(network), callbacks=Callbacks(progress=lambda fraction, step: reported.append(fraction))
    )
    assert len(network.failed) == 1
    assert reported != sorted(reported), "the fraction goes back"
    assert reported[3:] == sorted(reported[3:])
    assert sitk.Hash(found.mask) == sitk.Hash(segment_image(ct, model(SPLEEN_FINDER), "cpu").mask)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            RuntimeError,
            "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu!",
        ),
        (RuntimeError, "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory"),
        (MemoryError, ""),
        (ValueError, "CUDA error"),
        (KeyError, "CUDA error"),
    ],
)
def test_other_errors_and_full_main_memory_do_not_fall_back(ct, on_meta, error, words):
    with pytest.raises(error) as raised:
        segment_image(ct, model(FailsElsewhere(error, words)), callbacks=Callbacks(warn=pytest.fail))
    assert words in str(raised.value)


def test_error_of_the_meta_device_does_not_fall_back(ct, on_meta):
    with pytest.raises(NotImplementedError, match="meta"):
        segment_image(ct, model(SPLEEN_FINDER), callbacks=Callbacks(warn=pytest.fail))


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.cuda.OutOfMemoryError("out of memory"), RuntimeError("CUDA error")]
)
def test_failure_on_the_cpu_is_not_retried(ct, error):
    class Fails(Counting):
        def forward(self, slices):
            super().forward(slices)
            raise error

    network = Fails(100)
    with pytest.raises(type(error)):
        segment_image(ct, model(network), device="cpu", callbacks=Callbacks(warn=pytest.fail))
    assert network.batches == 1


def test_networks_of_the_model_stay_on_the_cpu(ct, on_meta, small_model):
    with pytest.raises(NotImplementedError, match="meta"):
        segment_image(ct, small_model, callbacks=Callbacks(warn=pytest.fail))
    assert {weight.device.type for network in small_model.networks for weight in network.parameters()} == {"cpu"}


@pytest.mark.skipif(
    not torch.backends.cuda.is_built() or torch.cuda.is_available(), reason="needs a CUDA build and no GPU"
)
def test_gpu_wrongly_reported_as_available_falls_back_to_the_cpu(ct, small_model, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    reported = []
    for device in ("cuda", "auto"):
        found = segment_image(ct[:, :, :4], small_model, device, callbacks=Callbacks(warn=reported.append))
        assert found.result.device == "cpu"
    assert reported == 2 * [
        'The device "cuda" cannot be used (no NVIDIA GPU with a working driver was found); '
        "using the CPU instead, which is slower."
    ]


def test_unknown_device_raises_user_error():
    with pytest.raises(UserError, match='"gpu" is not available'):
        choose_device("gpu")


def test_device_option_cpu_and_auto_are_accepted():
    assert choose_device("cpu").type == "cpu"
    assert choose_device("auto").type in ("cpu", "cuda", "mps")


def test_result_has_the_device(ct):
    assert segment_image(ct, model(SPLEEN_FINDER), "cpu").result.device == "cpu"
    assert segment_image(ct, model(SPLEEN_FINDER)).result.device == choose_device("auto").type
