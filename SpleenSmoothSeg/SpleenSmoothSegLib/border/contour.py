"""Level crossings of an array, and distances from points to the border of a mask.

Points are (n, 3) in voxel units along (slice, row, column), with 0 at the center of the first voxel. A contour lies on
the lines between neighboring voxels, where linear interpolation reaches its level. For a mask, that is halfway between
a voxel inside and its neighbor outside.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

IN_SPACE, IN_SLICES = (0, 1, 2), (1, 2)
"""Axes of the array along which contours are found and distances are measured."""

OTHER_SLICE_MM = 1e5  # farther than any point of the same slice


def crossings(
    values: np.ndarray, level: float, spacing: Sequence[float], axes: Sequence[int] = IN_SPACE
) -> tuple[np.ndarray, np.ndarray]:
    """Points where values (slice, row, column) cross a level along the axes, and the area (mm2) of each crossed face.

    The areas are weights: with them, each side of an anisotropic voxel counts by its size.
    """
    above = values >= level
    points, areas = [np.empty((0, 3))], [np.empty(0)]
    for axis in axes:
        change = np.diff(above, axis=axis)
        before = np.unravel_index(np.flatnonzero(change), change.shape)  # several times faster than np.nonzero
        after = tuple(index + (along == axis) for along, index in enumerate(before))
        points.append(np.stack(before, axis=-1).astype(float))
        points[-1][:, axis] += (level - values[before]) / (values[after] - values[before])
        areas.append(np.full(len(points[-1]), np.prod(spacing) / spacing[axis]))
    return np.concatenate(points), np.concatenate(areas)


class MaskBorder:
    """The border of a mask, for distances along the axes.

    Distances are to the nearest crossing, which is accurate to a fraction of a voxel. With `IN_SLICES`, each slice is
    measured on its own.

    Args:
        mask: (slice, row, column), bool.
        corner: index of the mask's first voxel in the image that the points refer to.
        spacing: in mm, (slice, row, column).
    """

    def __init__(self, mask: np.ndarray, corner: Sequence[int], spacing: Sequence[float], axes: Sequence[int]):
        self._values = mask.astype(np.float32)
        self._corner = corner
        self._scale = np.array([spacing[axis] if axis in axes else 10 * OTHER_SLICE_MM for axis in IN_SPACE])
        points, _ = crossings(self._values, 0.5, spacing, axes)
        self._tree = cKDTree(points * self._scale)

    def signed_distance(self, points: np.ndarray, limit: float = OTHER_SLICE_MM) -> np.ndarray:
        """Distance in mm of each point to the border: positive outside the mask, negative inside.

        Infinite where the slice has no border or the border is farther than `limit` mm. A low limit saves time.
        """
        points = points - self._corner
        distance, _ = self._tree.query(points * self._scale, distance_upper_bound=limit, workers=-1)
        inside = ndimage.map_coordinates(self._values, points.T, order=1, mode="nearest") > 0.5
        return np.where(inside, -distance, distance)
