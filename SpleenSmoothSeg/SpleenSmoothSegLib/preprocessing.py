"""From a CT on any grid to the axial slices that the network sees, and back.

The network's grid is aligned with the patient: columns run to the left (L), rows to the back (P), slices to the head
(S), whatever the orientation, obliqueness or slice order of the input. Slices keep the distance that the input has
along its axis nearest to the patient's, so an input that is not oblique keeps its own slices.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

AIR_HU = -1024.0
SOFT_TISSUE_HU = -200.0
BODY_POINTS = 100
MOST_SAMPLES = 4
TOLERANCE = 1e-3  # of a voxel
SLICES_AT_A_TIME = 32


@dataclass(frozen=True)
class SliceFormat:
    """What one slice looks like to the network. The paper states none of it; every model records its own.

    Attributes:
        size: rows and columns in pixels; the square is centered on the body.
        spacing: in-plane spacing in mm.
        window: lowest and highest HU; they become 0 and 1, and values beyond are clipped.
        channels: how many slices the network sees at once: the one it is asked about in the middle, as many of its
            neighbors below as above.
        channel_spacing: distance in mm from one of these to the next, whatever the distance of the CT's own slices.

    Raises:
        ValueError: a number that no slice can have.
    """

    size: int = 192
    spacing: float = 2.0
    window: tuple[float, float] = (-150.0, 250.0)
    channels: int = 1
    channel_spacing: float = 5.0

    def __post_init__(self):
        lowest, highest = self.window
        if not (0 < self.size <= 4096 and 0 < self.spacing < 1000 and -1e6 < lowest < highest < 1e6):
            raise ValueError(f"no slice has {self}")
        if self.channels not in range(1, 32, 2) or not 0 < self.channel_spacing < 1000:
            raise ValueError(f"no slice has {self}")


class Grid(NamedTuple):
    """A sampling grid in SimpleITK's order (column, row, slice); mm, LPS."""

    size: tuple[int, int, int]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    @classmethod
    def of(cls, image: sitk.Image) -> "Grid":
        return cls(image.GetSize(), image.GetOrigin(), image.GetSpacing(), image.GetDirection())

    def shifted(self, voxels: tuple[float, float, float]) -> "Grid":
        """The grid moved along its own axes by (column, row, slice) `voxels`."""
        step = np.reshape(self.direction, (3, 3)) @ np.multiply(self.spacing, voxels)
        return self._replace(origin=tuple((self.origin + step).tolist()))

    def part(self, lowest: Sequence[int], size: Sequence[int]) -> "Grid":
        """The box of `size` voxels of the grid that begins at the voxel `lowest`."""
        return self.shifted(tuple(lowest))._replace(size=tuple(size))

    def with_voxels(self, array: np.ndarray) -> sitk.Image:
        """The image of `array` (slice, row, column) on this grid."""
        image = sitk.GetImageFromArray(array)
        image.SetOrigin(self.origin)
        image.SetSpacing(self.spacing)
        image.SetDirection(self.direction)
        return image


def axial_grid(ct: sitk.Image, slice_format: SliceFormat) -> Grid:
    """The grid on which the network sees this CT: axial, of the format's size and spacing, centered on the body."""
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


def bounds(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates (LPS, mm) of the centers of the voxels."""
    indices = product(*((0.0, size - 1.0) for size in image.GetSize()))
    corners = [image.TransformContinuousIndexToPhysicalPoint(index) for index in indices]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def body_center(ct: sitk.Image) -> tuple[float, float, float]:
    """Centroid (LPS, mm) of all that is denser than fat; the middle of the image if nothing is.

    Looked for at points spread over the patient's axes, not at voxels: the same CT has the same center however it is
    stored.
    """
    lowest, highest = bounds(ct)
    step = (highest - lowest) / (BODY_POINTS - 1)
    points = _sample(ct, Grid((BODY_POINTS,) * 3, tuple(lowest.tolist()), tuple(step.tolist())), AIR_HU)
    inside = sitk.GetArrayViewFromImage(points) > SOFT_TISSUE_HU
    if not inside.any():
        return tuple(((lowest + highest) / 2).tolist())
    profiles = [inside.sum(axis=across) for across in ((0, 1), (0, 2), (1, 2))]
    center = [np.average(np.arange(BODY_POINTS), weights=profile) for profile in profiles]
    return tuple((lowest + step * center).tolist())


def to_grid(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
    """Float32 image on `grid`, `outside` beyond the image: linear interpolation.

    Where `grid` is coarser than the image, each voxel is the mean of samples spread evenly over it, about one for each
    voxel of the image, so that noise and fine structure do not alias and the last voxels of the image count too.
    Nothing is computed beyond the image, which makes a difference where it is a small part of `grid`.
    """
    lowest, size = _part_within(grid, image)
    part = _interpolated(image, grid.part(lowest, size), outside)
    if tuple(size) == tuple(grid.size):
        return part
    above = np.subtract(np.subtract(grid.size, size), lowest)
    return sitk.ConstantPad(part, lowest, above.tolist(), outside)


def to_part_of_grid(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
    """As `to_grid`, but only the box of `grid` that the image meets."""
    return _interpolated(image, grid.part(*_part_within(grid, image)), outside)


def at_least(value: float, image: sitk.Image, grid: Grid) -> sitk.Image:
    """Mask (uint8) of where on `grid` `to_grid` gives `value`, above 0, or more; 0 beyond the image."""
    mask = np.empty(grid.size[::-1], np.uint8)
    for some, values in _slabs(image, grid, outside=0.0):
        np.greater_equal(values, value, out=mask[some].view(bool))
    return grid.with_voxels(mask)


def _slabs(image: sitk.Image, grid: Grid, outside: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Some slices of `to_grid` at a time, and which: so nothing of float32 is as large as the grid."""
    for start in range(0, grid.size[2], SLICES_AT_A_TIME):
        count = min(SLICES_AT_A_TIME, grid.size[2] - start)
        part = to_grid(image, grid.part((0, 0, start), (*grid.size[:2], count)), outside)
        yield slice(start, start + count), sitk.GetArrayViewFromImage(part)


def _part_within(grid: Grid, image: sitk.Image) -> tuple[list[int], list[int]]:
    """The first voxel and the size of the smallest box of `grid` that holds all of its voxels that meet the image."""
    edges = product(*((-0.5, size - 0.5) for size in image.GetSize()))
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint(corner) for corner in edges])
    indices = (corners - grid.origin) @ np.reshape(grid.direction, (3, 3)) / grid.spacing
    lowest = np.clip(np.ceil(indices.min(axis=0) - 0.5 - TOLERANCE), 0, np.subtract(grid.size, 1)).astype(int)
    highest = np.clip(np.floor(indices.max(axis=0) + 0.5 + TOLERANCE), lowest, np.subtract(grid.size, 1)).astype(int)
    return lowest.tolist(), (highest - lowest + 1).tolist()


def _interpolated(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
    """As `to_grid`, everywhere."""
    cosines = np.abs(np.reshape(image.GetDirection(), (3, 3)).T @ np.reshape(grid.direction, (3, 3)))
    finest = np.array(image.GetSpacing())[cosines.argmax(axis=0)]
    counts = np.clip(np.round(np.array(grid.spacing) / finest), 1, MOST_SAMPLES).astype(int)
    if counts.max() == 1:
        return _sample(image, grid, outside)
    total = np.zeros(grid.size[::-1], np.float32)
    for shift in product(*((np.arange(count) + 0.5) / count - 0.5 for count in counts)):
        samples = _sample(image, grid.shifted(shift), outside)
        total += sitk.GetArrayViewFromImage(samples)
    total /= np.float32(counts.prod())
    return grid.with_voxels(total)


def _sample(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
    """Float32 values of `image` at the points of `grid`, interpolated linearly."""
    return sitk.Resample(
        image,
        grid.size,
        sitk.Transform(),
        sitk.sitkLinear,
        grid.origin,
        grid.spacing,
        grid.direction,
        outside,
        sitk.sitkFloat32,
    )


def ct_slices(ct: sitk.Image, grid: Grid, window: tuple[float, float]) -> np.ndarray:
    """Float32 slices (slice, row, column) in [0, 1]: the CT on `grid`, seen through `window` (HU)."""
    lowest, highest = window
    slices = np.empty(grid.size[::-1], np.float32)
    for some, values in _slabs(ct, grid, outside=AIR_HU):
        slices[some] = values
    slices -= lowest
    slices /= highest - lowest
    return np.clip(slices, 0.0, 1.0, out=slices)


def with_neighbors(slices: np.ndarray, indices, channels: int, step: float) -> np.ndarray:
    """Float32 (index, channel, row, column): each slice of `indices` between its neighbors.

    Args:
        slices: (slice, row, column), any type of number; may be memory-mapped.
        indices: which slices.
        channels: odd; the middle one is the slice itself.
        step: from one channel to the next, in slices; between two slices the neighbor is interpolated. Beyond the ends
            the outermost slice is repeated.
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
    """Boolean slices (slice, row, column): the voxels of `grid` at least half inside `label == value`."""
    fraction = to_grid(sitk.Cast(label == value, sitk.sitkFloat32), grid, outside=0.0)
    return sitk.GetArrayFromImage(fraction) >= 0.5
