"""Cross-fold ensemble prediction: mean probability over the folds, its uncertainty, and the measures of the mask."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import SimpleITK as sitk

from ..callbacks import NO_CALLBACKS, Callbacks
from ..geometry.grid import Grid, resample_overlap, resample_to_grid, threshold_on_grid
from ..geometry.slices import axial_grid, ct_slices
from ..metrics.overlap import Overlap
from ..metrics.shape import center_lps, extent_mm, longest_mm, volume_ml
from ..model.folder import Model
from .components import crop_to_largest_part, keep_largest_component
from .devices import choose_device, cpu_fallback_message, device_failure, release_memory
from .foldpredictor import FoldPredictor
from .result import SegmentationResult
from .slicesearch import search_spleen
from .uncertainty import uncertain_places

PREPARED, PREDICTED = 0.03, 0.97  # fractions of the whole work, as measured on a CPU


class Canceled(Exception):
    """Raised after `Callbacks.canceled` returned True; nothing has been changed or written."""


@dataclass(frozen=True)
class Options:
    """How to segment.

    Attributes:
        largest_component: keep only the largest connected part of the mask; else predict all slices.
        exhaustive: predict all slices instead of searching for the spleen.
    """

    largest_component: bool = True
    exhaustive: bool = False


@dataclass(frozen=True)
class Segmentation:
    """Output of the ensemble for one CT; images lie on the grid of the CT.

    Attributes:
        mask: uint8, 1 in the spleen.
        result: measures of the mask and of the folds.
        mean, deviation: of the probability over the folds; the predicted slices only, on the grid of the network.
    """

    mask: sitk.Image
    result: SegmentationResult
    mean: sitk.Image
    deviation: sitk.Image

    @property
    def probability(self) -> sitk.Image:
        """Float32 in [0, 1], mean over the folds. Resampled on each access, because it is larger than the CT."""
        return resample_to_grid(self.mean, Grid.of(self.mask), outside=0.0)

    @property
    def uncertainty_map(self) -> sitk.Image:
        """Float32 in [0, 0.5], standard deviation of the probability over the folds. Resampled on each access."""
        return resample_to_grid(self.deviation, Grid.of(self.mask), outside=0.0)

    @property
    def cropped_uncertainty_map(self) -> sitk.Image:
        """`uncertainty_map` cropped to the predicted slices, a small part of a long CT."""
        return resample_overlap(self.deviation, Grid.of(self.mask), outside=0.0)


def segment_image(
    ct: sitk.Image,
    model: Model,
    device: str = "auto",
    options: Options = Options(),
    callbacks: Callbacks = NO_CALLBACKS,
) -> Segmentation:
    """Segment the spleen on a CT in HU (see `images.check_ct`).

    By default the folds search for the spleen and predict only the slices around it; elsewhere the maps are 0. The
    effect of that, and of `devices.prepare_for`, is measured in Testing/Benchmarks.

    Of each fold's mask, `fold_agreement` and `fold_volumes_ml` count the connected parts that share a voxel with the
    final mask: other foreground of a single fold is not in the result. Where the final mask is empty they count all,
    so that a spleen found by only some folds does not look like agreement.

    Args:
        ct: scalar 3D image of any orientation, spacing and pixel type.
        model: from `model.folder.load_model`; faster with `prepare=prepare_for(device)`.
        device: "auto", "cpu", "cuda" or "mps".
        options: how to segment.
        callbacks: `warn` is called when the CPU takes over from a device that fails or lacks memory; prediction then
            starts again, and the fraction goes back.

    Raises:
        UserError: the device is not available.
        Canceled: `callbacks.canceled` returned True.
        MemoryError, RuntimeError: the computer's own memory is not enough.
    """
    callbacks.progress(0.0, "Preparing slices")
    grid = axial_grid(ct, model.slice_format)
    chosen = choose_device(device, callbacks.warn)
    # Inline, so that nothing holds the slices once the predictor has released them.
    folds = _predict(_Input(ct_slices(ct, grid, model.slice_format.window), grid, model, options), chosen, callbacks)

    callbacks.progress(PREDICTED, "Resampling to the CT's grid")
    mean, deviation = folds.pop_maps(grid)
    if options.largest_component:
        # First on the coarse grid and then on the CT's, where a distant part would make it a large task.
        around = crop_to_largest_part(mean, model.threshold, margin_mm=2 * max(*ct.GetSpacing(), *mean.GetSpacing()))
        mask = keep_largest_component(threshold_on_grid(model.threshold, around, Grid.of(ct)))
    else:
        mask = threshold_on_grid(model.threshold, mean, Grid.of(ct))
    on_slices = _nearest(mask, Grid.of(mean))
    overlap = folds.overlap(within=sitk.GetArrayViewFromImage(on_slices) > 0)
    right_left, anterior_posterior, superior_inferior = extent_mm(mask)
    result = SegmentationResult(
        volume_ml=volume_ml(mask),
        fold_volumes_ml=tuple(float(voxels) * _voxel_ml(grid) for voxels in np.diag(overlap)),
        fold_agreement=mean_pairwise_dice(overlap),
        extent_rl_mm=right_left,
        extent_ap_mm=anterior_posterior,
        extent_si_mm=superior_inferior,
        longest_mm=longest_mm(mask),
        center_lps=center_lps(mask),
        uncertain_places=tuple(uncertain_places(deviation, on_slices)),
        device=folds.device.type,
    )
    callbacks.progress(1.0, "Done")
    return Segmentation(mask, result, mean, deviation)


def mean_pairwise_dice(overlap: np.ndarray) -> float | None:
    """Mean Dice over the pairs of folds; None for fewer than two.

    `overlap[i, j]` is the number of voxels in the masks of both fold i and fold j. Two empty masks agree (`Overlap`).
    """
    counts = overlap.astype(int)
    pairs = combinations(range(len(counts)), 2)
    dice = [Overlap(tp := counts[i, j], counts[i, i] - tp, counts[j, j] - tp).dice for i, j in pairs]
    return float(np.mean(dice)) if dice else None


def _nearest(mask: sitk.Image, grid: Grid) -> sitk.Image:
    """A mask at the nearest voxels of another grid."""
    return sitk.Resample(
        mask, grid.size, sitk.Transform(), sitk.sitkNearestNeighbor, grid.origin, grid.spacing, grid.direction
    )


@dataclass(frozen=True)
class _Input:
    """What the folds predict: float32 slices (slice, row, column) on `grid`."""

    slices: np.ndarray
    grid: Grid
    model: Model
    options: Options

    def batches(self, folds: FoldPredictor) -> Iterable[tuple[Iterable[int], int]]:
        """The slices to predict next, and the expected total number."""
        if self.options.exhaustive or not self.options.largest_component:
            return [(range(len(self.slices)), len(self.slices))]
        return search_spleen(folds, self.grid.spacing[2], _voxel_ml(self.grid))


def _predict(given: _Input, device, callbacks: Callbacks) -> FoldPredictor:
    """Predict on a device or, where that fails, on the CPU."""
    import torch

    try:
        return _predict_on(device, given, callbacks)
    except RuntimeError as error:
        reason = device_failure(error) if device.type != "cpu" else None
        if reason is None:
            raise
    # Only here, after the error with its traceback is gone, are the networks freed on the device.
    release_memory(device)
    callbacks.warn(cpu_fallback_message(device.type, reason))
    return _predict_on(torch.device("cpu"), given, callbacks)


def _predict_on(device, given: _Input, callbacks: Callbacks) -> FoldPredictor:
    step = given.model.slice_format.channel_spacing / given.grid.spacing[2]
    folds = FoldPredictor(given.model, given.slices, step, device)
    fraction = PREPARED
    for indices, expected in given.batches(folds):
        for predicted in folds.predict(sorted(indices)):
            if callbacks.canceled():
                raise Canceled
            fraction = max(fraction, round(PREPARED + (PREDICTED - PREPARED) * predicted / expected, 4))
            callbacks.progress(fraction, "Predicting")
    return folds


def _voxel_ml(grid: Grid) -> float:
    return float(np.prod(grid.spacing)) / 1000
