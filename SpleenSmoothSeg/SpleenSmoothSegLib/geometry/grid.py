"""Sampling grids, and resampling of images between them."""

from collections.abc import Iterator, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

MAX_SAMPLES = 4  # per output voxel and axis
TOLERANCE = 1e-3  # of a voxel
SLAB_SLICES = 32


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
        """The grid shifted along its own axes by `voxels` (column, row, slice)."""
        step = np.reshape(self.direction, (3, 3)) @ np.multiply(self.spacing, voxels)
        return self._replace(origin=tuple((self.origin + step).tolist()))

    def part(self, lowest: Sequence[int], size: Sequence[int]) -> "Grid":
        """The sub-grid of `size` voxels that starts at voxel `lowest`."""
        column, row, slice_ = lowest
        columns, rows, slices = size
        return self.shifted((column, row, slice_))._replace(size=(columns, rows, slices))

    def with_voxels(self, array: np.ndarray) -> sitk.Image:
        """An image of `array` (slice, row, column) on this grid."""
        image = sitk.GetImageFromArray(array)
        image.SetOrigin(self.origin)
        image.SetSpacing(self.spacing)
        image.SetDirection(self.direction)
        return image


def bounds(image: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates (LPS, mm) of the voxel centers."""
    indices = product(*((0.0, size - 1.0) for size in image.GetSize()))
    corners = [image.TransformContinuousIndexToPhysicalPoint(index) for index in indices]
    return np.min(corners, axis=0), np.max(corners, axis=0)


def same_grid(first: sitk.Image, second: sitk.Image, tolerance: float = TOLERANCE) -> bool:
    """Whether two images have the same size and, within `tolerance` voxels, the same geometry."""
    if first.GetSize() != second.GetSize():
        return False
    last = [size - 1.0 for size in first.GetSize()]
    for corner in ([0.0, 0.0, 0.0], [last[0], 0.0, 0.0], [0.0, last[1], 0.0], [0.0, 0.0, last[2]]):
        point = first.TransformContinuousIndexToPhysicalPoint(corner)
        shift = np.subtract(second.TransformPhysicalPointToContinuousIndex(point), corner)
        if np.abs(shift).max() > tolerance:
            return False
    return True


def resample_to_grid(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
    """Float32 image on `grid` by linear interpolation, with the value `outside` beyond the image.

    Where `grid` is coarser than the image, each output voxel is the mean of evenly spaced samples, about one per input
    voxel. That avoids aliasing of noise and fine structure and includes the image's outermost voxels.
    Only the part of `grid` that the image overlaps is interpolated, which saves time where the image is small.
    """
    lowest, size = _part_within(grid, image)
    part = _interpolated(image, grid.part(lowest, size), outside)
    if tuple(size) == tuple(grid.size):
        return part
    above = np.subtract(np.subtract(grid.size, size), lowest)
    return sitk.ConstantPad(part, lowest, above.tolist(), outside)


def resample_overlap(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
    """Like `resample_to_grid`, but only for the box of `grid` that overlaps the image."""
    return _interpolated(image, grid.part(*_part_within(grid, image)), outside)


def threshold_on_grid(value: float, image: sitk.Image, grid: Grid) -> sitk.Image:
    """Mask (uint8) on `grid`: 1 where the resampled image is at least `value` (> 0), 0 beyond the image."""
    mask = np.empty(grid.size[::-1], np.uint8)
    for slab, values in resample_slabs(image, grid, outside=0.0):
        np.greater_equal(values, value, out=mask[slab].view(bool))
    return grid.with_voxels(mask)


def resample_slabs(image: sitk.Image, grid: Grid, outside: float) -> Iterator[tuple[slice, np.ndarray]]:
    """Slice ranges and their part of `resample_to_grid`, a few slices at a time to limit peak memory."""
    for start in range(0, grid.size[2], SLAB_SLICES):
        count = min(SLAB_SLICES, grid.size[2] - start)
        part = resample_to_grid(image, grid.part((0, 0, start), (*grid.size[:2], count)), outside)
        yield slice(start, start + count), sitk.GetArrayViewFromImage(part)


def _part_within(grid: Grid, image: sitk.Image) -> tuple[list[int], list[int]]:
    """First voxel and size of the smallest box of `grid` that contains every voxel overlapping the image."""
    edges = product(*((-0.5, size - 0.5) for size in image.GetSize()))
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint(corner) for corner in edges])
    indices = (corners - grid.origin) @ np.reshape(grid.direction, (3, 3)) / grid.spacing
    lowest = np.clip(np.ceil(indices.min(axis=0) - 0.5 - TOLERANCE), 0, np.subtract(grid.size, 1)).astype(int)
    highest = np.clip(np.floor(indices.max(axis=0) + 0.5 + TOLERANCE), lowest, np.subtract(grid.size, 1)).astype(int)
    return lowest.tolist(), (highest - lowest + 1).tolist()


def _interpolated(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
    """Like `resample_to_grid`, but computed over the whole of `grid`."""
    cosines = np.abs(np.reshape(image.GetDirection(), (3, 3)).T @ np.reshape(grid.direction, (3, 3)))
    finest = np.array(image.GetSpacing())[cosines.argmax(axis=0)]
    counts = np.clip(np.round(np.array(grid.spacing) / finest), 1, MAX_SAMPLES).astype(int)
    if counts.max() == 1:
        return sample(image, grid, outside)
    total = np.zeros(grid.size[::-1], np.float32)
    for shift in product(*((np.arange(count) + 0.5) / count - 0.5 for count in counts)):
        samples = sample(image, grid.shifted(shift), outside)
        total += sitk.GetArrayViewFromImage(samples)
    total /= np.float32(counts.prod())
    return grid.with_voxels(total)


def sample(image: sitk.Image, grid: Grid, outside: float) -> sitk.Image:
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
