"""A mask against a label: overlap, distances between their surfaces, volumes, and where along the body they differ.

Nonzero voxels count. Distances between surfaces come from the reference implementation of Nikolov et al., Deep learning
to achieve clinically applicable segmentation of head and neck anatomy for radiotherapy, arXiv 1809.04430, which weighs
each element of a surface by its area (PyPI: surface-distance-based-measures).
"""

import importlib.util
from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from ..geometry.box import bounding_box
from .overlap import Overlap
from .shape import volume_ml

MOST_VOXELS = 100_000_000  # of what holds mask and label: distances take some 50 bytes a voxel


@dataclass(frozen=True)
class Comparison:
    """What compares a mask with a label.

    Attributes:
        dice, precision, recall: see `measurement.Overlap`.
        hd95_mm: 95th percentile of the Hausdorff distance, the larger of both directions.
        assd_mm: average symmetric surface distance, over the area of both surfaces.
        surface_dice_1mm, surface_dice_2mm: part of both surfaces that lies within 1 or 2 mm of the other (NSD).
        volume_ml, label_volume_ml: each on its own grid.
        volume_difference_ml, volume_difference_percent: of the mask, more (above 0) or less than the label.

    The library takes a surface to lie where eight voxels meet, in a layer that is about one voxel thick: ASSD comes out
    up to half a voxel short, and surface Dice at a tolerance below the size of a voxel high.
    The four measures of the surfaces are None where mask or label is empty, and where the library is not installed; the
    percentage is None where the label is empty.
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
    """Errors in each slice across the body, from the lowest to the highest slice of the label.

    Attributes:
        height_mm: of each slice's middle above that of the lowest.
        relative_height: the same from 0, the label's lowest slice, to 1, its highest.
        false_negative_ml, false_positive_ml: what the mask misses of the label there, and has too much.
        false_positive_below_ml, false_positive_above_ml: what it has too much beyond the label's tips.
    """

    height_mm: np.ndarray
    relative_height: np.ndarray
    false_negative_ml: np.ndarray
    false_positive_ml: np.ndarray
    false_positive_below_ml: float
    false_positive_above_ml: float


def compare_masks(mask: sitk.Image, label: sitk.Image) -> Comparison:
    """Compare a mask with a label, on any two grids (see `on_common_grid`).

    A surface that the field of view cuts off is closed there. Raises UserError as `on_common_grid` does.
    """
    mask_there, label_there = (_voxels(image) for image in on_common_grid(mask, label))
    overlap = Overlap.of(mask_there, label_there)
    volume, label_volume = volume_ml(mask), volume_ml(label)
    difference = volume - label_volume
    return Comparison(
        overlap.dice,
        overlap.precision,
        overlap.recall,
        *_surface_measures(mask_there, label_there, label.GetSpacing()[::-1]),
        volume,
        label_volume,
        difference,
        100 * difference / label_volume if label_volume else None,
    )


def on_common_grid(first: sitk.Image, second: sitk.Image) -> tuple[sitk.Image, sitk.Image]:
    """Both (uint8, 0 and 1) on the grid of the second, cut to what holds both and a voxel around them.

    Each voxel is that of the first whose center is nearest: exact where both share a lattice, also where their axes are
    named or directed otherwise. The grid is extended where the first reaches beyond it.

    Raises:
        UserError: one is not a 3D image of numbers, or they lie so far apart that the grid would be huge.
    """
    for image in (first, second):
        if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1:
            raise UserError("Only 3D images with one number a voxel can be compared; choose a segment or a labelmap.")
    corners = np.concatenate([_corners_of_box(image, second) for image in (first, second)])
    if not len(corners):
        corners = np.zeros((1, 3))
    start = np.floor(corners.min(axis=0) + 0.5).astype(int) - 1
    size = np.ceil(corners.max(axis=0) - 0.5).astype(int) + 2 - start
    if np.prod(size, dtype=float) > MOST_VOXELS:
        span = " x ".join(f"{length:.0f}" for length in size * second.GetSpacing())
        raise UserError(
            f"The two together span {span} mm, too much to compare in voxels of this size; check that both belong to "
            "the same CT, and remove stray parts far from the organ."
        )
    grid = sitk.Image(size.tolist(), sitk.sitkUInt8)
    grid.SetSpacing(second.GetSpacing())
    grid.SetDirection(second.GetDirection())
    grid.SetOrigin(second.TransformContinuousIndexToPhysicalPoint(start.astype(float).tolist()))
    return tuple(
        sitk.Resample(image != 0, grid, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
        for image in (first, second)
    )


def errors_by_height(mask: sitk.Image, label: sitk.Image) -> ErrorsByHeight:
    """False negatives and false positives from the label's bottom to its top, along the body's own axis.

    A slice is as thick as the step of the label's grid that goes up most; on an axial, coronal or sagittal grid these
    are its own slices or rows. On an oblique grid each voxel counts in the two slices whose middles its center lies
    between, the more the nearer.

    Raises UserError where the label is empty, and as `on_common_grid` does.
    """
    mask, label = on_common_grid(mask, label)
    mask_there, label_there = _voxels(mask), _voxels(label)
    if not label_there.any():
        raise UserError("The label is empty, so it has no bottom and no top; choose another label.")
    up = np.multiply(np.reshape(label.GetDirection(), (3, 3))[2], label.GetSpacing())  # mm for a step of each index

    def height(voxels: np.ndarray) -> np.ndarray:
        return np.argwhere(voxels)[:, ::-1] @ up

    heights = height(label_there)
    bottom, top = heights.min(), heights.max()
    steps = round((top - bottom) / np.abs(up).max())
    thickness = (top - bottom) / steps if steps else np.abs(up).max()

    def by_slice(voxels: np.ndarray) -> np.ndarray:
        """Volume in mL below the lowest slice, in each, and above the highest."""
        place = np.round(np.clip((height(voxels) - bottom) / thickness + 1, 0, steps + 2), 6)  # 3 may come as 2.9999999
        slice_ = np.minimum(place.astype(int), steps + 1)
        upper = place - slice_
        volume = np.bincount(slice_, 1 - upper, steps + 3) + np.bincount(slice_ + 1, upper, steps + 3)
        return volume * np.prod(label.GetSpacing()) / 1000

    missing, extra = by_slice(label_there & ~mask_there), by_slice(mask_there & ~label_there)
    return ErrorsByHeight(
        thickness * np.arange(steps + 1),
        np.linspace(0, 1, steps + 1),
        missing[1:-1],
        extra[1:-1],
        float(extra[0]),
        float(extra[-1]),
    )


def _voxels(image: sitk.Image) -> np.ndarray:
    return sitk.GetArrayFromImage(image) != 0


def _corners_of_box(image: sitk.Image, grid: sitk.Image) -> np.ndarray:
    """Corners of the box of the nonzero voxels, in voxels (column, row, slice) of a grid; none where there are none."""
    box = bounding_box(sitk.GetArrayViewFromImage(image) != 0)[::-1]
    if box[0].start == box[0].stop:
        return np.empty((0, 3))
    corners = np.stack(np.meshgrid(*[(side.start - 0.5, side.stop - 0.5) for side in box]), axis=-1).reshape(-1, 3)
    points = [image.TransformContinuousIndexToPhysicalPoint(corner) for corner in corners.tolist()]
    return np.array([grid.TransformPhysicalPointToContinuousIndex(point) for point in points])


def _surface_measures(mask: np.ndarray, label: np.ndarray, spacing: tuple[float, float, float]) -> list[float | None]:
    """HD95, ASSD and surface Dice at 1 and 2 mm; None where there is no surface or no library."""
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
