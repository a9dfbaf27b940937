"""Predicts slices of a CT by all folds of a model, in small batches: memory does not grow with folds x volume."""

import copy
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import SimpleITK as sitk

from ..geometry.grid import Grid
from ..geometry.slices import with_neighbors
from ..model.folder import Model
from .components import parts_touching
from .devices import prefers_bfloat16

MAX_BATCH_SLICES, MAX_BATCH_PIXELS = 8, 300_000  # 8 slices of 192 x 192, 4 of 256 x 256, 1 of 512 x 512


class FoldPredictor:
    """Predictions of all folds for the slices predicted so far; 0 elsewhere.

    Args:
        model: its own networks stay on the CPU.
        slices: float32 (slice, row, column), as the networks take them.
        step: distance between the channels of the network, in slices.
        device: torch device.

    Attributes:
        mean: float32 (slice, row, column), mean probability over the folds.
        deviation: float32, standard deviation of the probability over the folds.
        masks: uint8 (fold, slice, row, columns / 8), eight voxels per byte.
        predicted: bool (slice,), which slices have been predicted.
    """

    def __init__(self, model: Model, slices: np.ndarray, step: float, device):
        count, rows, columns = slices.shape
        self.device, self._model, self._slices, self._step = device, model, slices, step
        self._networks = [_moved(network, device) for network in model.networks]
        self.mean, self.deviation = np.zeros_like(slices), np.zeros_like(slices)
        self.masks = np.zeros((len(self._networks), count, rows, -(-columns // 8)), np.uint8)
        self.predicted = np.zeros(count, bool)

    def predict(self, indices: Sequence[int]) -> Iterator[int]:
        """Predict those of these slices that are new; yields the number predicted so far before each batch."""
        import torch

        new = [index for index in indices if not self.predicted[index]]
        size = max(1, min(MAX_BATCH_SLICES, MAX_BATCH_PIXELS // self._slices[0].size))
        for start in range(0, len(new), size):
            yield int(self.predicted.sum())
            batch = new[start : start + size]
            stacks = with_neighbors(self._slices, batch, self._model.slice_format.channels, self._step)
            stacks = torch.from_numpy(stacks).to(self.device, memory_format=torch.channels_last)
            with torch.inference_mode():
                folds = torch.stack([_probability(network, stacks) for network in self._networks])
                mean = folds.mean(0)
                self.mean[batch] = mean.cpu()
                self.deviation[batch] = (folds - mean).square_().mean(0).sqrt_().cpu()  # torch's std is far slower
                self.masks[:, batch] = np.packbits((folds >= self._model.threshold).cpu().numpy(), axis=-1)
            self.predicted[batch] = True

    def discard(self, indices: Iterable[int]) -> None:
        """Reset these slices to not predicted."""
        indices = list(indices)
        self.mean[indices] = self.deviation[indices] = 0
        self.masks[:, indices] = 0
        self.predicted[indices] = False

    def pop_maps(self, grid: Grid) -> tuple[sitk.Image, sitk.Image]:
        """Mean and deviation from the first to the last predicted slice; the slices of this object lie on `grid`.

        Releases both and the slices here, so that no memory holds them twice, and crops `masks` to that part.
        """
        predicted = np.flatnonzero(self.predicted)
        first, last = int(predicted[0]), int(predicted[-1])
        self.masks = self.masks[:, first : last + 1]
        part, self._slices = grid.part((0, 0, first), (*grid.size[:2], last - first + 1)), None
        mean, self.mean = part.with_voxels(self.mean[first : last + 1]), None
        deviation, self.deviation = part.with_voxels(self.deviation[first : last + 1]), None
        return mean, deviation

    def foreground(self) -> np.ndarray:
        """Voxels of each slice whose mean probability reaches the threshold."""
        return (self.mean >= self._model.threshold).sum(axis=(1, 2))

    def overlap(self, within: np.ndarray) -> np.ndarray:
        """Voxels in the masks of both fold i and fold j, (fold, fold).

        Only the connected parts that touch `within` count; all of them where it is empty.
        """
        occupied = np.flatnonzero(self.masks.any(axis=(0, 2, 3)))
        part = slice(occupied[0], occupied[-1] + 1) if len(occupied) else slice(0)
        masks, within = self.masks[:, part], within[part]
        if within.any():
            masks = [
                np.packbits(parts_touching(np.unpackbits(mask, axis=-1, count=within.shape[-1]) > 0, within), axis=-1)
                for mask in masks
            ]
        return np.array([[np.unpackbits(first & second).sum() for second in masks] for first in masks], float)


def _probability(network, stacks):
    """Float32, whatever precision the network computes in."""
    import torch

    weight = next(network.parameters(), stacks)
    return torch.sigmoid(network(stacks.to(weight.dtype))[:, 0].float())


def _moved(network, device):
    """The network on a device; the model keeps its own on the CPU, as a fallback when the device fails."""
    import torch

    if device.type != "cpu":
        network = copy.deepcopy(network)
    elif not prefers_bfloat16(device):  # it may have been converted for a device that failed
        network = network.float()
    return network.to(device, memory_format=torch.channels_last)
