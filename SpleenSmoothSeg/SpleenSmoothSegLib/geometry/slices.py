"""A CT on any grid as the axial slices that are the network's input.

The network's grid is aligned with the patient: columns increase to the left (L), rows to the back (P), slices to the
head (S), whatever the orientation, obliqueness or slice order of the input. The slice spacing is that of the input's
axis nearest to superior-inferior, so a non-oblique input keeps its own slices.
"""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .grid import Grid, bounds, resample_slabs, resample_to_grid, sample

AIR_HU = -1024.0
SOFT_TISSUE_HU = -200.0
BODY_POINTS = 100  # along each axis


@dataclass(frozen=True)
class SliceFormat:
    """Format of the network's input slices. The paper does not state it; every model folder records its own.

    Attributes:
        size: rows and columns in pixels; the square is centered on the body.
        spacing: in-plane spacing in mm.
        window: lowest and highest HU, mapped to 0 and 1; values beyond are clipped.
        channels: number of slices in one input (odd): the slice to segment in the middle and its neighbors on both
            sides.
        channel_spacing: distance in mm between channels, independent of the CT's slice spacing.

    Raises:
        ValueError: a value is out of range.
    """

    size: int = 192
    spacing: float = 2.0
    window: tuple[float, float] = (-150.0, 250.0)
    channels: int = 1
    channel_spacing: float = 5.0

    def __post_init__(self):
        lowest, highest = self.window
        if not (0 < self.size <= 4096 and 0 < self.spacing < 1000 and -1e6 < lowest < highest < 1e6):
            raise ValueError(f"size, spacing or window out of range: {self}")
        if self.channels not in range(1, 32, 2) or not 0 < self.channel_spacing < 1000:
            raise ValueError(f"channels must be odd and below 32, channel_spacing positive: {self}")


def axial_grid(ct: sitk.Image, slice_format: SliceFormat) -> Grid:
    """The network's grid for this CT: axial, with the format's size and spacing, centered on the body."""
    lowest, highest = bounds(ct)
    slice_axis = int(np.argmax(np.abs(ct.GetDirection()[6:9])))
    slice_spacing = ct.GetSpacing()[slice_axis]
    left, back = body_center(ct)[:2]
    half = slice_format.spacing * (slice_format.size - 1) / 2
    return Grid(
        size=(slice_format.size, slice_format.size, round((highest[2] - lowest[2]) / slice_spacing) + 1),
        origin=(left - half, back - half, float(lowest[2])),
        spacing=(slice_format.spacing, slice_format.spacing, slice_spacing),
    )


def body_center(ct: sitk.Image) -> tuple[float, float, float]:
    """Centroid (LPS, mm) of everything denser than fat; the center of the image if nothing is.

    Sampled at points along the patient's axes instead of at voxels, so the result does not depend on how the CT is
    stored.
    """
    lowest, highest = bounds(ct)
    step = (highest - lowest) / (BODY_POINTS - 1)
    points = sample(ct, Grid((BODY_POINTS,) * 3, tuple(lowest.tolist()), tuple(step.tolist())), AIR_HU)
    inside = sitk.GetArrayViewFromImage(points) > SOFT_TISSUE_HU
    if not inside.any():
        return tuple(((lowest + highest) / 2).tolist())
    profiles = [inside.sum(axis=across) for across in ((0, 1), (0, 2), (1, 2))]
    center = [np.average(np.arange(BODY_POINTS), weights=profile) for profile in profiles]
    return tuple((lowest + step * center).tolist())


def ct_slices(ct: sitk.Image, grid: Grid, window: tuple[float, float]) -> np.ndarray:
    """The CT on `grid`, windowed from `window` (HU) to [0, 1]: float32, (slice, row, column)."""
    lowest, highest = window
    slices = np.empty(grid.size[::-1], np.float32)
    for slab, values in resample_slabs(ct, grid, outside=AIR_HU):
        slices[slab] = values
    slices -= lowest
    slices /= highest - lowest
    return np.clip(slices, 0.0, 1.0, out=slices)


def with_neighbors(slices: np.ndarray, indices, channels: int, step: float) -> np.ndarray:
    """Stack each slice of `indices` with its neighbors: float32, (index, channel, row, column).

    Args:
        slices: (slice, row, column), any numeric type; may be memory-mapped.
        indices: the slices to stack.
        channels: odd; the middle one is the slice itself.
        step: distance between channels, in slices. Neighbors between two slices are interpolated linearly; beyond the
            ends the outermost slice is repeated.
    """
    offsets = (np.arange(channels) - channels // 2) * step
    places = np.clip(np.add.outer(np.asarray(indices), offsets), 0, len(slices) - 1)
    below = np.floor(places).astype(int)
    stacks = slices[below].astype(np.float32)
    part = (places - below).astype(np.float32)
    between = part > 0
    stacks[between] += part[between][:, None, None] * (slices[below[between] + 1] - stacks[between])
    return stacks


def label_slices(label: sitk.Image, grid: Grid, value: int = 1) -> np.ndarray:
    """Voxels of `grid` at least half inside `label == value`: bool, (slice, row, column)."""
    fraction = resample_to_grid(sitk.Cast(label == value, sitk.sitkFloat32), grid, outside=0.0)
    return sitk.GetArrayFromImage(fraction) >= 0.5
