"""Size, position and shape of a mask.

Lengths are measured on the border of the mask, which lies halfway between a voxel inside and its neighbor outside, like
the displayed surface. They are in mm along the patient's axes, however the image is stored.
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
    """Centroid (LPS, mm) of the nonzero voxels; None if there are none."""
    voxels, corner = _cropped(mask)
    if not voxels.size:
        return None
    counts = [np.count_nonzero(voxels, axis=across) for across in ((0, 1), (0, 2), (1, 2))]  # along column, row, slice
    index = [np.average(np.arange(len(count)), weights=count) for count in counts]
    return mask.TransformContinuousIndexToPhysicalPoint(np.add(index, corner).tolist())


def reaches_edge(mask: sitk.Image) -> bool:
    """Whether nonzero voxels touch an edge of the image, so that the organ may be truncated."""
    box = bounding_box(sitk.GetArrayViewFromImage(mask))
    sizes = mask.GetSize()[::-1]
    return any(
        side.stop > side.start and (side.start == 0 or side.stop == size) for side, size in zip(box, sizes, strict=True)
    )


def extent_mm(mask: sitk.Image) -> tuple[float, float, float]:
    """Extent of the nonzero voxels along right-left, anterior-posterior and superior-inferior; 0 if there are none."""
    points = _border_points(mask)
    if not len(points):
        return 0.0, 0.0, 0.0
    across, deep, high = np.ptp(points, axis=0).tolist()
    return across, deep, high


def longest_mm(mask: sitk.Image) -> float:
    """Largest distance between two points on the border of the nonzero voxels; 0 if there are none."""
    points = _border_points(mask)
    if not len(points):
        return 0.0
    return float(pdist(points[ConvexHull(points).vertices]).max())


def _cropped(mask: sitk.Image) -> tuple[np.ndarray, list[int]]:
    """Nonzero voxels (slice, row, column) cropped to their bounding box, and its first index (column, row, slice)."""
    voxels = sitk.GetArrayViewFromImage(mask)
    box = bounding_box(voxels)
    return voxels[box] != 0, [side.start for side in reversed(box)]


def _border_points(mask: sitk.Image) -> np.ndarray:
    """Points (n, 3; LPS, mm) on the border, including the outermost in every direction.

    The first and the last voxel of every line along each axis of the image, shifted outward by half a voxel.
    """
    voxels, corner = _cropped(mask)
    if not voxels.size:
        return np.empty((0, 3))
    ends = []
    for axis, length in enumerate(voxels.shape):
        lines = np.nonzero(voxels.any(axis=axis))
        first = voxels.argmax(axis=axis)[lines]
        last = length - 1 - np.flip(voxels, axis).argmax(axis=axis)[lines]
        for end in (first - 0.5, last + 0.5):
            ends.append(np.stack([*lines[:axis], end, *lines[axis:]][::-1], axis=-1))
    to_mm = np.reshape(mask.GetDirection(), (3, 3)) * mask.GetSpacing()
    return (np.concatenate(ends) + corner) @ to_mm.T + mask.GetOrigin()
