"""Which slices the folds look at: those around the spleen, which they find themselves on slices far apart."""

from collections.abc import Iterator

import numpy as np

from .foldpredictor import FoldPredictor

COARSE_MM = 20.0  # a spleen is higher
LEAST_ML = 30.0  # and larger


def around_spleen(folds: FoldPredictor, thickness: float, voxel_ml: float) -> Iterator[tuple[set[int], int]]:
    """Which slices to look at next, and how many it will be in all.

    First slices COARSE_MM apart and the outermost ones; then all between two of these of which one holds something
    that the folds together take for spleen, so that whatever they have met is seen whole. What is thinner than
    COARSE_MM could be missed; so, where less was found than a spleen has, they look at all.

    Args:
        folds: that have looked at what came before.
        thickness: distance of the slices, mm.
        voxel_ml: volume of a voxel.
    """
    count = len(folds.seen)
    every = max(1, int(COARSE_MM / thickness))
    coarse = {*range(0, count, every), count - 1}
    yield coarse, count
    hits = np.flatnonzero(folds.found()).tolist()
    around = {near for hit in hits for near in range(max(0, hit - every + 1), min(count, hit + every))}
    yield around, len(coarse | around)
    if folds.found().sum() * voxel_ml < LEAST_ML:
        yield set(range(count)), count
    else:
        folds.forget(coarse - around)
