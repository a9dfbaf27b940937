"""From cached slices to batches: the slices that an epoch draws, and the samples made from them.

All randomness of a sample comes from a seed that is drawn with it: the batches of an epoch are the same for any number
of workers, resumed or not.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from SpleenSmoothSegLib.geometry.slices import with_neighbors

from ..recipe.recipe import Recipe
from .augmentation import Augmentation
from .slicecache import Slices

Draw = tuple[int, int]  # index into `Samples.places`, and the seed of the sample


class Samples(Dataset):
    """The training samples of one fold.

    Args:
        recipe: channels, augmentation and the probability of a smoothed label.
        parts: cases, each with the indices of the slices to train on.
    """

    def __init__(self, recipe: Recipe, parts: Sequence[tuple[Slices, Sequence[int]]]):
        self.recipe, self.cases = recipe, [case for case, _ in parts]
        self.places = [(number, int(i)) for number, (_, indices) in enumerate(parts) for i in indices]
        holds_spleen = np.concatenate([case.with_spleen[list(indices)] for case, indices in parts])
        self.with_spleen, self.without_spleen = np.flatnonzero(holds_spleen), np.flatnonzero(~holds_spleen)
        self.augmentation = Augmentation(recipe.augmentation, recipe.window[1] - recipe.window[0])

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, draw: Draw) -> tuple[torch.Tensor, torch.Tensor]:
        """Float32 CT (channel, row, column) in [0, 1] and label (1, row, column) in [0, 1]."""
        place, seed = draw
        number, index = self.places[place]
        case = self.cases[number]
        step = self.recipe.channel_spacing / case.spacing[0] * self.augmentation.channel_distance(seed)
        ct = with_neighbors(case.ct, [index], self.recipe.channels, step)[0]
        smoothed = np.random.default_rng((seed, 0)).random() < self.recipe.border_probability
        label = (case.soft if smoothed else case.label)[index].astype(np.float32)
        ct, label = self.augmentation(ct, label, seed)
        return torch.from_numpy(np.ascontiguousarray(ct)), torch.from_numpy(np.ascontiguousarray(label))[None]

    def draw(self, seed: int) -> list[Draw]:
        """The samples of one epoch in random order: all slices with spleen, and as many without as the recipe sets."""
        generator = np.random.default_rng(seed)
        empty = generator.permutation(self.without_spleen)[: self.per_epoch - len(self.with_spleen)]
        places = generator.permutation(np.concatenate([self.with_spleen, empty]))
        seeds = generator.integers(2**31, size=len(places))
        return [(int(place), int(each)) for place, each in zip(places, seeds, strict=True)]

    @property
    def per_epoch(self) -> int:
        empty = min(len(self.without_spleen), self.recipe.empty_slices * len(self.with_spleen))
        return len(self.with_spleen) + int(empty)


class Batches:
    """The batches of an epoch, made by `workers` processes, or in the training process if 0.

    An incomplete last batch is dropped; it has other samples in each epoch. In distributed training each process gets
    its `rank`-th share of every batch.
    """

    def __init__(self, samples: Samples, batch_size: int, workers: int = 0, rank: int = 0, ranks: int = 1):
        self._samples = samples
        self._rank, self._ranks = rank, ranks
        largest = samples.per_epoch - samples.per_epoch % ranks  # fewer samples than a batch make one batch
        self._size = min(batch_size, largest)
        self._sampler = _BatchSampler()
        self._loader = DataLoader(
            samples,
            batch_sampler=self._sampler,
            num_workers=workers,
            worker_init_fn=_use_one_thread,
            generator=torch.Generator(),  # separate: the network's randomness must not depend on the workers
            persistent_workers=workers > 0,
            pin_memory=torch.cuda.is_available(),
        )

    def __len__(self) -> int:
        """Batches of an epoch."""
        return self._samples.per_epoch // self._size

    def epoch(self, seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """CTs (batch, channel, row, column) and labels (batch, 1, row, column) of the epoch with that seed."""
        draws = self._samples.draw(seed)
        batches = [draws[start : start + self._size] for start in range(0, len(self) * self._size, self._size)]
        self._sampler.batches = [batch[self._rank :: self._ranks] for batch in batches]
        return iter(self._loader)


class _BatchSampler:
    """The batch sampler of the loader; its batches change each epoch while the workers keep running.

    It has no reference to its `Batches`: with a reference cycle, workers would end only many seconds later.
    """

    batches: Sequence[list[Draw]] = ()

    def __iter__(self) -> Iterator[list[Draw]]:
        return iter(self.batches)

    def __len__(self) -> int:
        return len(self.batches)


def _use_one_thread(_number: int) -> None:
    """Use one thread in each worker, to leave the others to the training."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
