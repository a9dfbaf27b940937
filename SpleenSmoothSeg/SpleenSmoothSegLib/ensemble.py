"""Cross-fold ensemble prediction: the mean of the folds' probabilities, and where the folds disagree.

Slices are streamed through all folds, so that memory does not grow with folds x volume.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .errors import UserError
from .measurement import volume_ml
from .modelfolder import Model
from .preprocessing import Grid, axial_grid, ct_slices, to_grid

Progress = Callable[[float, str], None]
SLICES_PER_BATCH = 4


class Cancelled(Exception):
    """Raised when `cancelled()` said so; nothing has been changed or written."""


@dataclass
class Segmentation:
    """What the ensemble says of one CT; images lie on the grid of the CT.

    Attributes:
        mask: uint8, 1 in the spleen.
        probability: float32 in [0, 1], mean over the folds.
        disagreement_map: float32 in [0, 0.5], standard deviation over the folds' probabilities.
        disagreement: how much two folds differ on average, 1 - Dice of their masks: 0 where all agree, 1 where no two
            overlap.
        fold_volumes_ml: volume that each fold alone would give, before the largest component is kept.
        volume_ml: volume of `mask`.
    """

    mask: sitk.Image
    probability: sitk.Image
    disagreement_map: sitk.Image
    disagreement: float
    fold_volumes_ml: list[float]
    volume_ml: float


def segment_image(
    ct: sitk.Image,
    model: Model,
    device: str = "auto",
    largest_component: bool = True,
    progress: Progress = lambda fraction, step: None,
    cancelled: Callable[[], bool] = lambda: False,
) -> Segmentation:
    """Segment the spleen on a CT in HU (see `images.check_ct`).

    Args:
        ct: scalar 3D image of any orientation, spacing and pixel type.
        model: from `modelfolder.load_model`.
        device: "auto", "cpu", "cuda" or "mps".
        largest_component: keep only the largest connected part of the mask.
        progress: called with the fraction done, 0 to 1, and the name of the step.
        cancelled: asked between batches of slices; True ends the work with `Cancelled`.

    Raises:
        UserError: the device is not there.
        Cancelled: `cancelled()` returned True.
    """
    progress(0.0, "Preparing slices")
    grid = axial_grid(ct, model.slice_format)
    slices = ct_slices(ct, grid, model.slice_format.window)
    mean, deviation, overlap = _predict(slices, model, choose_device(device), progress, cancelled)

    progress(0.9, "Returning to the CT's grid")
    probability = to_grid(grid.with_voxels(mean), Grid.of(ct), outside=0.0)
    disagreement_map = to_grid(grid.with_voxels(deviation), Grid.of(ct), outside=0.0)
    mask = probability >= model.threshold
    if largest_component:
        mask = keep_largest_component(mask)
    progress(1.0, "Done")
    voxel_ml = float(np.prod(grid.spacing)) / 1000
    return Segmentation(
        mask=mask,
        probability=probability,
        disagreement_map=disagreement_map,
        disagreement=mean_pairwise_disagreement(overlap),
        fold_volumes_ml=[float(voxels) * voxel_ml for voxels in np.diag(overlap)],
        volume_ml=volume_ml(mask),
    )


def choose_device(name: str):
    """The torch device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Raises UserError where PyTorch cannot use it.
    """
    import torch

    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        name = next(device for device, available in there.items() if available)
    if not there.get(name, False):
        usable = ", ".join(device for device, available in there.items() if available)
        raise UserError(f'The device "{name}" is not available to PyTorch here; choose auto or one of: {usable}.')
    return torch.device(name)


def mean_pairwise_disagreement(overlap: np.ndarray) -> float:
    """1 - mean Dice over pairs of folds; `overlap[i, j]` counts the voxels in the masks of both fold i and fold j."""
    sizes = np.diag(overlap)
    first, second = np.triu_indices(len(overlap), k=1)
    total = sizes[first] + sizes[second]
    dice = np.divide(2 * overlap[first, second], total, out=np.ones(len(first)), where=total > 0)
    return float(1 - dice.mean()) if len(first) else 0.0


def keep_largest_component(mask: sitk.Image) -> sitk.Image:
    """The largest face-connected part of a mask, searched in its bounding box only."""
    if not sitk.GetArrayViewFromImage(mask).any():
        return mask
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    box = shape.GetBoundingBox(1)
    inside = sitk.RegionOfInterest(mask, box[3:], box[:3])
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(inside), sortByObjectSize=True) == 1
    return sitk.Paste(mask, largest, largest.GetSize(), destinationIndex=box[:3])


def _predict(slices, model, device, progress, cancelled):
    """Mean and standard deviation over folds (slice, row, column), and the overlap matrix of the folds' masks."""
    import torch

    networks = [network.to(device, memory_format=torch.channels_last) for network in model.networks]
    mean, deviation = np.empty_like(slices), np.empty_like(slices)
    overlap = np.zeros((len(networks), len(networks)))
    for start in range(0, len(slices), SLICES_PER_BATCH):
        if cancelled():
            raise Cancelled
        batch = torch.from_numpy(slices[start : start + SLICES_PER_BATCH, None]).to(device)
        with torch.inference_mode():
            folds = torch.stack([torch.sigmoid(network(batch))[:, 0] for network in networks])
            votes = (folds >= model.threshold).flatten(1).float()
            mean[start : start + len(batch)] = folds.mean(0).cpu()
            deviation[start : start + len(batch)] = folds.std(0, correction=0).cpu()
            overlap += (votes @ votes.T).cpu().numpy()
        progress(0.1 + 0.8 * (start + len(batch)) / len(slices), "Folds look at the slices")
    return mean, deviation, overlap
