"""Measures of one mask against one label: a row for the volume and a row for each axial slice.

Slices are numbered from inferior to superior. Relative height is 0 in the label's lowest slice and 1 in its highest.
Precision is None for an empty mask, recall for an empty label; the Dice of two empty masks is 1, as in `Overlap`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import Grid
from SpleenSmoothSegLib.geometry.slices import label_slices
from SpleenSmoothSegLib.metrics.overlap import Overlap
from SpleenSmoothSegLib.metrics.surface import compare_masks


class RowKey(NamedTuple):
    """The key of a row: set "test" or "validation", predicted by "fold K" or "ensemble", name of the case."""

    set: str
    predicted_by: str
    case: str


@dataclass(frozen=True)
class VolumeRow:
    """One volume by one predictor; the columns of ``metrics.csv``. See `Comparison` for the surface measures."""

    set: str
    predicted_by: str
    case: str
    dice: float
    precision: float | None
    recall: float | None
    hd95_mm: float | None
    assd_mm: float | None
    surface_dice_1mm: float | None
    surface_dice_2mm: float | None
    predicted_ml: float
    label_ml: float
    false_negative_ml: float
    false_positive_ml: float


@dataclass(frozen=True)
class SliceRow:
    """One axial slice where label or mask is not empty; the columns of ``metrics_by_slice.csv``."""

    set: str
    predicted_by: str
    case: str
    slice: int
    relative_height: float | None
    dice: float
    precision: float | None
    recall: float | None
    label_ml: float
    predicted_ml: float
    false_negative_ml: float
    false_positive_ml: float


Rows = tuple[VolumeRow, list[SliceRow]]
SURFACE_MEASURES = ("hd95_mm", "assd_mm", "surface_dice_1mm", "surface_dice_2mm")


def measure_volume(key: RowKey, mask: sitk.Image, label: sitk.Image) -> Rows:
    """Measure a whole volume on the CT's grid; slices are those along the axis nearest to the body's axis.

    Args:
        key: of the rows.
        mask: nonzero in the prediction.
        label: nonzero in the spleen, on the grid of `mask`.
    """
    predicted, labeled = (sitk.GetArrayFromImage(axial(image)) != 0 for image in (mask, label))
    voxel_ml = float(np.prod(label.GetSpacing())) / 1000
    return _rows(key, predicted, labeled, range(len(labeled)), voxel_ml, _surfaces(mask, label))


def measure_slices(key: RowKey, mask: sitk.Image, label: sitk.Image, grid: Grid, slices: Sequence[int]) -> Rows:
    """Measure some slices of the network's grid; the volume's row pools them.

    Surface measures are None, because separate slices have no surface. Other arguments as for `measure_volume`.
    """
    predicted, labeled = (label_slices(image != 0, grid) for image in (mask, label))
    voxel_ml = float(np.prod(grid.spacing)) / 1000
    return _rows(key, predicted, labeled, slices, voxel_ml, dict.fromkeys(SURFACE_MEASURES))


def axial(image: sitk.Image) -> sitk.Image:
    """The image with its axes in the nearest LPS order: slices from inferior to superior."""
    return sitk.DICOMOrient(image, "LPS")


def _rows(key: RowKey, mask: np.ndarray, label: np.ndarray, slices: Sequence[int], voxel_ml: float, surfaces) -> Rows:
    chosen = list(slices)
    both, predicted, labeled = (np.count_nonzero(voxels, axis=(1, 2)) for voxels in (mask & label, mask, label))
    heights = _relative_heights(labeled)
    counts = np.stack([both, predicted, labeled], axis=1)
    rows = [
        SliceRow(*key, index, heights[index], **_measures(counts[index], voxel_ml))
        for index in chosen
        if predicted[index] or labeled[index]
    ]
    measures = _measures(counts[chosen].sum(axis=0), voxel_ml) | surfaces
    return VolumeRow(*key, **measures), rows


def _relative_heights(labeled: np.ndarray) -> list[float | None]:
    """For each slice; all None if the label is empty, and 0 in the slice of a label that has only one."""
    held = np.flatnonzero(labeled)
    if not len(held):
        return [None] * len(labeled)
    return ((np.arange(len(labeled)) - held[0]) / max(held[-1] - held[0], 1)).tolist()


def _measures(counts: np.ndarray, voxel_ml: float) -> dict[str, Any]:
    """Measures from voxel counts: in both, in the prediction, in the label."""
    both, predicted, labeled = counts.tolist()
    overlap = Overlap(both, predicted - both, labeled - both)
    return {
        "dice": overlap.dice,
        "precision": overlap.precision if predicted else None,
        "recall": overlap.recall if labeled else None,
        "label_ml": labeled * voxel_ml,
        "predicted_ml": predicted * voxel_ml,
        "false_negative_ml": overlap.fn * voxel_ml,
        "false_positive_ml": overlap.fp * voxel_ml,
    }


def _surfaces(mask: sitk.Image, label: sitk.Image) -> dict[str, float | None]:
    try:
        comparison = compare_masks(mask, label)
    except UserError:  # too far apart for the memory
        return dict.fromkeys(SURFACE_MEASURES)
    return {name: getattr(comparison, name) for name in SURFACE_MEASURES}
