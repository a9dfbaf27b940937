"""The bounding box of a mask."""

import numpy as np

Region = tuple[slice, slice, slice]


def bounding_box(mask: np.ndarray) -> Region:
    """Smallest region that contains the whole mask; three empty slices if the mask is empty."""
    slices = _extent(mask.any(axis=(1, 2)))
    plane = mask[slices].any(axis=0)
    return slices, _extent(plane.any(axis=1)), _extent(plane.any(axis=0))


def _extent(line: np.ndarray) -> slice:
    where = np.flatnonzero(line)
    return slice(int(where[0]), int(where[-1]) + 1) if where.size else slice(0, 0)
