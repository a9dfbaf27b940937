"""A mask against a label: overlap, surface distances, volumes, and errors by height along the body.

Nonzero voxels are foreground. Surface distances come from the reference implementation of Nikolov et al., Deep learning
to achieve clinically applicable segmentation of head and neck anatomy for radiotherapy, arXiv 1809.04430, which weights
each surface element by its area (PyPI: surface-distance-based-measures).
"""

import importlib.util
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..geometry.box import bounding_box
from .overlap import Overlap
from .shape import volume_ml

MAX_VOXELS = 100_000_000  # of the box around mask and label; surface distances take about 50 bytes per voxel


@dataclass(frozen=True)
class Comparison:
    """Measures of a mask against a label.

    Attributes:
        dice, precision, recall: see `Overlap`.
        hd95_mm: 95th percentile Hausdorff distance (HD95), the larger of both directions.
        assd_mm: average symmetric surface distance (ASSD), weighted by area.
        surface_dice_1mm, surface_dice_2mm: fraction of both surfaces within 1 or 2 mm of the other (NSD).
        volume_ml, label_volume_ml: each on its own grid.
        volume_difference_ml, volume_difference_percent: mask minus label.

    The library places a surface where eight voxels meet, in a layer about one voxel thick. ASSD is therefore up to half
    a voxel too short, and surface Dice too high at a tolerance below the voxel size.
    The four surface measures are None if mask or label is empty or the library is not installed; the percentage is None
    if the label is empty.
    """

    dice: float
    precision: float
    recall: float
    hd95_mm: float | None
    assd_mm: float | None
    surface_dice_1mm: float | None
    surface_dice_2mm: float | None
    volume_ml: float
    label_volume_ml: float
    volume_difference_ml: float
    volume_difference_percent: float | None


@dataclass(frozen=True)
class ErrorsByHeight:
    """False negatives and false positives in each slice, from the lowest to the highest slice of the label.

    Attributes:
        height_mm: height of each slice above the lowest, from center to center.
        relative_height: the same, from 0 at the label's lowest slice to 1 at its highest.
        false_negative_ml, false_positive_ml: volumes in each slice.
        false_positive_below_ml, false_positive_above_ml: volumes beyond the label's tips.
    """

    height_mm: np.ndarray
    relative_height: np.ndarray
    false_negative_ml: np.ndarray
    false_positive_ml: np.ndarray
    false_positive_below_ml: float
    false_positive_above_ml: float


def compare_masks(mask: sitk.Image, label: sitk.Image) -> Comparison:
    """Compare a mask with a label on any two grids (see `on_common_grid`).

    A truncated surface is closed at the edge of the image. Raises UserError as `on_common_grid` does.
    """
    mask_voxels, label_voxels = (_voxels(image) for image in on_common_grid(mask, label))
    overlap = Overlap.of(mask_voxels, label_voxels)
    volume, label_volume = volume_ml(mask), volume_ml(label)
    difference = volume - label_volume
    hd95, assd, surface_dice_1mm, surface_dice_2mm = _surface_measures(
        mask_voxels, label_voxels, label.GetSpacing()[::-1]
    )
    return Comparison(
        dice=overlap.dice,
        precision=overlap.precision,
        recall=overlap.recall,
        hd95_mm=hd95,
        assd_mm=assd,
        surface_dice_1mm=surface_dice_1mm,
        surface_dice_2mm=surface_dice_2mm,
        volume_ml=volume,
        label_volume_ml=label_volume,
        volume_difference_ml=difference,
        volume_difference_percent=100 * difference / label_volume if label_volume else None,
    )


def on_common_grid(first: sitk.Image, second: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Both (uint8, 0 and 1) on the lattice of the second, cropped to the foreground of both plus one voxel.

    Nearest neighbor, so exact where both share a lattice, even with permuted or flipped axes. The grid is extended
    where the first reaches beyond it.

    Raises:
        UserError: one is not a scalar 3D image, or they are so far apart that the grid would be huge.
    """
    for image in (first, second):
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise UserError("Only scalar 3D images can be compared; choose a segment or a labelmap volume.")
    corners = np.concatenate([_corners_of_box(image, second) for image in (first, second)])
    if not len(corners):
        corners = np.zeros((1, 3))
    start = np.floor(corners.min(axis=0) + 0.5).astype(int) - 1
    size = np.ceil(corners.max(axis=0) - 0.5).astype(int) + 2 - start
    if np.prod(size, dtype=float) > MAX_VOXELS:
        span = " x ".join(f"{length:.0f}" for length in size * second.GetSpacing())
        raise UserError(
            f"Mask and label together span {span} mm, too much at this voxel size; check that both belong to the same "
            "CT, and remove stray parts far from the organ."
        )
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(second.GetSpacing())
    grid.SetDirection(second.GetDirection())
    grid.SetOrigin(second.TransformContinuousIndexToPhysicalPoint(start.astype(float).tolist()))
    return _resampled(first, grid), _resampled(second, grid)


def errors_by_height(mask: sitk.Image, label: sitk.Image) -> ErrorsByHeight:
    """False negatives and false positives from the bottom to the top of the label along the superior axis.

    The slice thickness is the largest superior step of the label's grid axes; on an axial, coronal or sagittal grid the
    slices are the grid's own slices or rows. On an oblique grid each voxel is shared linearly between the two slices
    nearest to its center.

    Raises UserError if the label is empty, and as `on_common_grid` does.
    """
    mask, label = on_common_grid(mask, label)
    mask_voxels, label_voxels = _voxels(mask), _voxels(label)
    if not label_voxels.any():
        raise UserError("The label is empty; choose another label.")
    up = np.multiply(np.reshape(label.GetDirection(), (3, 3))[2], label.GetSpacing())  # mm per step of each index

    def height(voxels: np.ndarray) -> np.ndarray:
        return np.argwhere(voxels)[:, ::-1] @ up

    heights = height(label_voxels)
    bottom, top = heights.min(), heights.max()
    steps = round((top - bottom) / np.abs(up).max())
    thickness = (top - bottom) / steps if steps else np.abs(up).max()

    def by_slice(voxels: np.ndarray) -> np.ndarray:
        """Volume in mL below the lowest slice, in each slice, and above the highest."""
        position = (height(voxels) - bottom) / thickness + 1
        position = np.round(np.clip(position, 0, steps + 2), 6)  # an exact 3 may be stored as 2.9999999
        slice_ = np.minimum(position.astype(int), steps + 1)
        upper = position - slice_
        volume = np.bincount(slice_, 1 - upper, steps + 3) + np.bincount(slice_ + 1, upper, steps + 3)
        return volume * np.prod(label.GetSpacing()) / 1000

    missing, extra = by_slice(label_voxels & ~mask_voxels), by_slice(mask_voxels & ~label_voxels)
    return ErrorsByHeight(
        height_mm=thickness * np.arange(steps + 1),
        relative_height=np.linspace(0, 1, steps + 1),
        false_negative_ml=missing[1:-1],
        false_positive_ml=extra[1:-1],
        false_positive_below_ml=float(extra[0]),
        false_positive_above_ml=float(extra[-1]),
    )


def _voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image) != 0


def _resampled(image: sitk.Image, grid: sitk.Image) -> sitk.Image:
    return sitk.Resample(image != 0, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)


def _corners_of_box(image: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """Corners of the bounding box of the nonzero voxels, in voxels (column, row, slice) of a grid; (0, 3) if empty."""
    box = bounding_box(sitk.GetArrayViewFromImage(image) != 0)[::-1]
    if box[0].start == box[0].stop:
        return np.empty((0, 3))
    corners = np.stack(np.meshgrid(*[(side.start - 0.5, side.stop - 0.5) for side in box]), axis=-1).reshape(-1, 3)
    points = [image.TransformContinuousIndexToPhysicalPoint(corner) for corner in corners.tolist()]
    return np.array([grid.TransformPhysicalPointToContinuousIndex(point) for point in points])


def _surface_measures(mask: np.ndarray, label: np.ndarray, spacing: tuple[float, float, float]) -> list[float | None]:
    """HD95, ASSD and surface Dice at 1 and 2 mm; None without a surface or without the library."""
    if not (mask.any() and label.any() and importlib.util.find_spec("surface_distance")):
        return [None] * 4
    import surface_distance

    surfaces = surface_distance.compute_surface_distances(label, mask, spacing)
    distances = np.concatenate([surfaces["distances_gt_to_pred"], surfaces["distances_pred_to_gt"]])
    areas = np.concatenate([surfaces["surfel_areas_gt"], surfaces["surfel_areas_pred"]])
    measures = [
        surface_distance.compute_robust_hausdorff(surfaces, 95),
        np.average(distances, weights=areas),
        *(surface_distance.compute_surface_dice_at_tolerance(surfaces, tolerance) for tolerance in (1, 2)),
    ]
    return [float(measure) for measure in measures]
