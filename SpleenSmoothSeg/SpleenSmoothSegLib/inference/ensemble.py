"""Cross-fold ensemble prediction: the mean of the folds' probabilities, and where the folds disagree."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..callbacks import Progress, Warn
from ..geometry.grid import Grid, resample_overlap, resample_to_grid, threshold_on_grid
from ..geometry.slices import axial_grid, ct_slices
from ..metrics.shape import volume_ml
from ..model.folder import Model
from .components import around_largest_part, keep_largest_component
from .devices import choose_device, cpu_instead_of, device_failure, release_memory
from .foldpredictor import FoldPredictor
from .slicesearch import around_spleen
from .uncertainty import Place, uncertain_places

PREPARED, PREDICTED = 0.03, 0.97  # of the whole work, as measured on a CPU


class Cancelled(Exception):
    """Raised when `cancelled()` said so; nothing has been changed or written."""


@dataclass
class Segmentation:
    """What the ensemble says of one CT; images lie on the grid of the CT.

    Attributes:
        mask: uint8, 1 in the spleen.
        disagreement: how much two folds differ on average, 1 - Dice of their masks: 0 where all agree, 1 where no two
            overlap.
        fold_volumes_ml: volumes of the folds' masks.
        volume_ml: volume of `mask`.
        uncertain_places: where the folds disagree most about `mask`, on slices that are axial whatever the CT's are.
        device: name of the device that did the work.
        mean, deviation: of the folds' probabilities, on the slices that the folds have looked at.

    Of the mask of a fold, `disagreement` and `fold_volumes_ml` count the connected parts that share a voxel with
    `mask`: what one fold takes for spleen elsewhere is not in the result, and says nothing of it. Where `mask` is
    empty they count all, so that a spleen that only some folds see does not look like agreement.
    """

    mask: sitk.Image
    disagreement: float
    fold_volumes_ml: list[float]
    volume_ml: float
    uncertain_places: list[Place]
    device: str
    mean: sitk.Image
    deviation: sitk.Image

    @property
    def probability(self) -> sitk.Image:
        """Float32 in [0, 1], mean over the folds. Made when asked for: it is larger than the CT."""
        return resample_to_grid(self.mean, Grid.of(self.mask), outside=0.0)

    @property
    def disagreement_map(self) -> sitk.Image:
        """Float32 in [0, 0.5], standard deviation over the folds' probabilities. Made when asked for."""
        return resample_to_grid(self.deviation, Grid.of(self.mask), outside=0.0)

    @property
    def cropped_disagreement_map(self) -> sitk.Image:
        """The part of it that the folds have looked at: of a long CT, a small one."""
        return resample_overlap(self.deviation, Grid.of(self.mask), outside=0.0)


def segment_image(
    ct: sitk.Image,
    model: Model,
    device: str = "auto",
    largest_component: bool = True,
    progress: Progress = lambda fraction, step: None,
    cancelled: Callable[[], bool] = lambda: False,
    warn: Warn = lambda sentence: None,
    plain: bool = False,
) -> Segmentation:
    """Segment the spleen on a CT in HU (see `images.check_ct`).

    The folds find out where the spleen is and look at the slices there; elsewhere the maps are 0. What that changes,
    and `predicting.to_predict_on`, is measured in Testing/Benchmarks (`dice_fast_vs_plain_min`).

    Args:
        ct: scalar 3D image of any orientation, spacing and pixel type.
        model: from `modelfolder.load_model`; quicker with `predicting.to_predict_on`.
        device: "auto", "cpu", "cuda" or "mps".
        largest_component: keep only the largest connected part of the mask; else every slice is looked at.
        progress: called with the fraction done, 0 to 1, and the name of the step.
        cancelled: asked between batches of slices; True ends the work with `Cancelled`.
        warn: told in a sentence that the CPU does the work because the device has too little memory or does not work.
            Then the folds look at the slices once more, and the fraction goes back.
        plain: every fold looks at every slice.

    Raises:
        UserError: the device is not there.
        Cancelled: `cancelled()` returned True.
        MemoryError, RuntimeError: the computer's own memory is not enough.
    """
    progress(0.0, "Preparing slices")
    grid = axial_grid(ct, model.slice_format)
    chosen = choose_device(device, warn)
    everywhere = plain or not largest_component
    folds = _predict(
        ct_slices(ct, grid, model.slice_format.window), grid, model, chosen, everywhere, progress, cancelled, warn
    )

    progress(PREDICTED, "Returning to the CT's grid")
    mean, deviation = folds.take_maps(grid)
    if largest_component:
        # First on the coarse grid, and so that on the CT's, where a part far away would make it a large task.
        around = around_largest_part(mean, model.threshold, margin_mm=2 * max(*ct.GetSpacing(), *mean.GetSpacing()))
        mask = keep_largest_component(threshold_on_grid(model.threshold, around, Grid.of(ct)))
    else:
        mask = threshold_on_grid(model.threshold, mean, Grid.of(ct))
    on_slices = _nearest(mask, Grid.of(mean))
    overlap = folds.overlap(within=sitk.GetArrayViewFromImage(on_slices) > 0)
    places = uncertain_places(deviation, on_slices)
    progress(1.0, "Done")
    return Segmentation(
        mask=mask,
        disagreement=mean_pairwise_disagreement(overlap),
        fold_volumes_ml=[float(voxels) * _voxel_ml(grid) for voxels in np.diag(overlap)],
        volume_ml=volume_ml(mask),
        uncertain_places=places,
        device=folds.device.type,
        mean=mean,
        deviation=deviation,
    )


def mean_pairwise_disagreement(overlap: np.ndarray) -> float:
    """1 - mean Dice over pairs of folds; `overlap[i, j]` counts the voxels in the masks of both fold i and fold j."""
    sizes = np.diag(overlap)
    first, second = np.triu_indices(len(overlap), k=1)
    total = sizes[first] + sizes[second]
    dice = np.divide(2 * overlap[first, second], total, out=np.ones(len(first)), where=total > 0)
    return float(1 - dice.mean()) if len(first) else 0.0


def _nearest(mask: sitk.Image, grid: Grid) -> sitk.Image:
    """A mask at the nearest voxels of another grid."""
    return sitk.Resample(
        mask, grid.size, sitk.Transform(), sitk.sitkNearestNeighbor, grid.origin, grid.spacing, grid.direction
    )


def _predict(slices, grid, model, device, everywhere, progress, cancelled, warn) -> FoldPredictor:
    """The folds look at the slices on a device or, where that fails, on the CPU."""
    import torch

    try:
        return _predict_on(device, slices, grid, model, everywhere, progress, cancelled)
    except RuntimeError as error:
        reason = device_failure(error) if device.type != "cpu" else None
        if reason is None:
            raise
    # Not until here, with the error, are the networks gone from the device.
    release_memory(device)
    warn(cpu_instead_of(device.type, reason))
    return _predict_on(torch.device("cpu"), slices, grid, model, everywhere, progress, cancelled)


def _predict_on(device, slices, grid, model, everywhere, progress, cancelled) -> FoldPredictor:
    folds = FoldPredictor(model, slices, model.slice_format.channel_spacing / grid.spacing[2], device)
    every_slice = range(len(slices)), len(slices)
    fraction = PREPARED
    for indices, expected in [every_slice] if everywhere else around_spleen(folds, grid.spacing[2], _voxel_ml(grid)):
        for seen in folds.look(sorted(indices)):
            if cancelled():
                raise Cancelled
            fraction = max(fraction, round(PREPARED + (PREDICTED - PREPARED) * seen / expected, 4))
            progress(fraction, "Folds look at the slices")
    return folds


def _voxel_ml(grid: Grid) -> float:
    return float(np.prod(grid.spacing)) / 1000
