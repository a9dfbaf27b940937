"""Where an array crosses a level, and how far points are from the border of a mask.

Points are (n, 3), counted in voxels along (slice, row, column) from the center of the first. A contour lies on the
lines that join neighboring voxels, where linear interpolation gives its level, as it is drawn: between a voxel of a
mask and its neighbor outside, that is half-way.
"""

from collections.abc import Sequence

import numpy as np
from scipy import ndimage
from scipy.spatial import cKDTree

IN_SPACE, IN_SLICES = (0, 1, 2), (1, 2)
"""Along which axes of the array a contour is looked for, and distances are measured."""

ELSEWHERE = 1e5  # mm; farther than anything in the same slice, and nearer than any other slice shall be


def crossings(
    values: np.ndarray, level: float, spacing: Sequence[float], axes: Sequence[int] = IN_SPACE
) -> tuple[np.ndarray, np.ndarray]:
    """Where values (slice, row, column) cross a level along the axes: points, and the area of the face gone through.

    The areas (mm2) are weights that make the points of a contour count alike on each side of anisotropic voxels.
    """
    above = values >= level
    points, areas = [np.empty((0, 3))], [np.empty(0)]
    for axis in axes:
        change = np.diff(above, axis=axis)
        before = np.unravel_index(np.flatnonzero(change), change.shape)  # np.nonzero takes several times as long
        after = tuple(index + (along == axis) for along, index in enumerate(before))
        points.append(np.stack(before, axis=-1).astype(float))
        points[-1][:, axis] += (level - values[before]) / (values[after] - values[before])
        areas.append(np.full(len(points[-1]), np.prod(spacing) / spacing[axis]))
    return np.concatenate(points), np.concatenate(areas)


class MaskBorder:
    """The border of a mask, to which distances are measured along the axes.

    A distance is that to the nearest crossing: right to a fraction of a voxel, and a mask knows its border no better.
    In slices, borders in different slices have nothing to do with each other.

    Args:
        mask: (slice, row, column), bool.
        corner: its first voxel in the image that points are counted in.
        spacing: in mm, in the same order.
    """

    def __init__(self, mask: np.ndarray, corner: Sequence[int], spacing: Sequence[float], axes: Sequence[int]):
        self._values = mask.astype(np.float32)
        self._corner = corner
        self._scale = np.array([spacing[axis] if axis in axes else 10 * ELSEWHERE for axis in IN_SPACE])
        points, _ = crossings(self._values, 0.5, spacing, axes)
        self._tree = cKDTree(points * self._scale)

    def signed_distance(self, points: np.ndarray, most: float = ELSEWHERE) -> np.ndarray:
        """Distance in mm of each point, with the sign + outside of the mask and - inside.

        It is infinite where the border is not in the point's slice, or not within `most` mm, a limit that spares time.
        """
        points = points - self._corner
        distance, _ = self._tree.query(points * self._scale, distance_upper_bound=most, workers=-1)
        inside = ndimage.map_coordinates(self._values, points.T, order=1, mode="nearest") > 0.5
        return np.where(inside, -distance, distance)
