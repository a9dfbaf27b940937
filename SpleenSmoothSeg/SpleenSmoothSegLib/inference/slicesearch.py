"""Finds the slices around the spleen by a coarse search, so that the folds need not predict the whole CT."""

from collections.abc import Iterator

import numpy as np

from .foldpredictor import FoldPredictor

COARSE_MM = 20.0  # less than the height of a spleen
MIN_VOLUME_ML = 30.0  # less than the volume of a spleen


def search_spleen(folds: FoldPredictor, thickness: float, voxel_ml: float) -> Iterator[tuple[set[int], int]]:
    """Yields the slices to predict next, and the expected total number.

    First the slices COARSE_MM apart and the outermost ones; then all slices between two of these of which one has
    foreground, so that every part found is predicted completely. A part thinner than COARSE_MM could be missed;
    so if the volume found is less than MIN_VOLUME_ML, all slices follow.

    Args:
        folds: must have predicted the slices yielded before.
        thickness: distance between slices, mm.
        voxel_ml: volume of a voxel.
    """
    count = len(folds.predicted)
    every = max(1, int(COARSE_MM / thickness))
    coarse = {*range(0, count, every), count - 1}
    yield coarse, count
    hits = np.flatnonzero(folds.foreground()).tolist()
    around = {near for hit in hits for near in range(max(0, hit - every + 1), min(count, hit + every))}
    yield around, len(coarse | around)
    if folds.foreground().sum() * voxel_ml < MIN_VOLUME_ML:
        yield set(range(count)), count
    else:
        folds.discard(coarse - around)
