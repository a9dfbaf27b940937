"""Size, position and shape of a mask.

Lengths are those of the border of a mask, taken to lie half-way between a voxel inside and its neighbor outside, as the
surface that is shown of it does. They are in mm along the axes of the body, however the image is stored.
"""

import numpy as np
import SimpleITK as sitk
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from ..geometry.box import bounding_box


def volume_ml(mask: sitk.Image) -> float:
    """Volume in mL of the nonzero voxels."""
    return float(np.count_nonzero(sitk.GetArrayViewFromImage(mask)) * np.prod(mask.GetSpacing()) / 1000)


def center_lps(mask: sitk.Image) -> tuple[float, float, float] | None:
    """Centroid (LPS, mm) of the nonzero voxels; None where there are none."""
    voxels, corner = _cut_out(mask)
    if not voxels.size:
        return None
    counts = [np.count_nonzero(voxels, axis=across) for across in ((0, 1), (0, 2), (1, 2))]  # along column, row, slice
    index = [np.average(np.arange(len(count)), weights=count) for count in counts]
    return mask.TransformContinuousIndexToPhysicalPoint(np.add(index, corner).tolist())


def reaches_edge(mask: sitk.Image) -> bool:
    """Whether nonzero voxels lie at an edge of the image: then there may be more of the organ beyond it."""
    box = bounding_box(sitk.GetArrayViewFromImage(mask))
    sizes = mask.GetSize()[::-1]
    return any(
        side.stop > side.start and (side.start == 0 or side.stop == size) for side, size in zip(box, sizes, strict=True)
    )


def extent_mm(mask: sitk.Image) -> tuple[float, float, float]:
    """How far the nonzero voxels reach from right to left, from front to back and from bottom to top; 0 if none."""
    points = _border_points(mask)
    return tuple(np.ptp(points, axis=0).tolist()) if len(points) else (0.0, 0.0, 0.0)


def longest_mm(mask: sitk.Image) -> float:
    """The largest distance between two points of the border of the nonzero voxels; 0 if there are none."""
    points = _border_points(mask)
    if not len(points):
        return 0.0
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _cut_out(mask: sitk.Image) -> tuple[np.ndarray, list[int]]:
    """The nonzero voxels (slice, row, column) in their bounding box, and its first index (column, row, slice)."""
    voxels = sitk.GetArrayViewFromImage(mask)
    box = bounding_box(voxels)
    return voxels[box] != 0, [side.start for side in reversed(box)]


def _border_points(mask: sitk.Image) -> np.ndarray:
    """Points (n, 3; LPS, mm) of the border, among them all that are farthest out in any direction.

    These are the first and the last of every line of voxels along each axis of the image, moved out by half a voxel.
    """
    voxels, corner = _cut_out(mask)
    if not voxels.size:
        return np.empty((0, 3))
    ends = []
    for axis, length in enumerate(voxels.shape):
        lines = np.nonzero(voxels.any(axis=axis))
        first = voxels.argmax(axis=axis)[lines]
        last = length - 1 - np.flip(voxels, axis).argmax(axis=axis)[lines]
        for place in (first - 0.5, last + 0.5):
            ends.append(np.stack([*lines[:axis], place, *lines[axis:]][::-1], axis=-1))
    to_mm = np.reshape(mask.GetDirection(), (3, 3)) * mask.GetSpacing()
    return (np.concatenate(ends) + corner) @ to_mm.T + mask.GetOrigin()
