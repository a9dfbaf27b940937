"""One mask against one label: the row of the volume, and a row for each axial slice.

Slices are counted from the foot end. Relative height is 0 in the lowest slice of the label and 1 in the highest.
What has nothing to divide by is None: the precision where nothing was predicted, the recall where there is no label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import Grid
from SpleenSmoothSegLib.geometry.slices import label_slices
from SpleenSmoothSegLib.metrics.surface import compare_masks


class RowKey(NamedTuple):
    """What a row is about: set "test" or "validation", "fold K" or "ensemble", and the name of the case."""

    set: str
    predicted_by: str
    case: str


@dataclass(frozen=True)
class VolumeRow:
    """One volume by one predictor; the columns of ``metrics.csv``. Surface measures are those of `comparison`."""

    set: str
    predicted_by: str
    case: str
    dice: float | None
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
    """One axial slice in which label or prediction has a voxel; the columns of ``metrics_by_slice.csv``."""

    set: str
    predicted_by: str
    case: str
    slice: int
    relative_height: float | None
    dice: float | None
    precision: float | None
    recall: float | None
    label_ml: float
    predicted_ml: float
    false_negative_ml: float
    false_positive_ml: float


Rows = tuple[VolumeRow, list[SliceRow]]
SURFACE_MEASURES = ("hd95_mm", "assd_mm", "surface_dice_1mm", "surface_dice_2mm")


def measure_volume(who: RowKey, mask: sitk.Image, label: sitk.Image) -> Rows:
    """A whole volume on the CT's own grid; its slices are those along the axis that is nearest to the body's.

    Args:
        who: what the rows say of themselves.
        mask: nonzero in the prediction.
        label: nonzero in the spleen, on the grid of `mask`.
    """
    predicted, labeled = (sitk.GetArrayFromImage(axial(image)) != 0 for image in (mask, label))
    voxel_ml = float(np.prod(label.GetSpacing())) / 1000
    return _rows(who, predicted, labeled, range(len(labeled)), voxel_ml, _surfaces(mask, label))


def measure_slices(who: RowKey, mask: sitk.Image, label: sitk.Image, grid: Grid, slices: Sequence[int]) -> Rows:
    """Only some slices of the grid on which the network saw the CT; the volume's row pools them.

    Slices that are not neighbors have no surface: its measures stay None. Other arguments as for `measure_volume`.
    """
    predicted, labeled = (label_slices(image != 0, grid) for image in (mask, label))
    voxel_ml = float(np.prod(grid.spacing)) / 1000
    return _rows(who, predicted, labeled, slices, voxel_ml, dict.fromkeys(SURFACE_MEASURES))


def axial(image: sitk.Image) -> sitk.Image:
    """The image with its axes in the order and direction that is nearest to the body's: slices go to the head."""
    return sitk.DICOMOrient(image, "LPS")


def _rows(who: RowKey, mask: np.ndarray, label: np.ndarray, slices: Sequence[int], voxel_ml: float, surfaces) -> Rows:
    chosen = list(slices)
    both, predicted, labeled = (np.count_nonzero(voxels, axis=(1, 2)) for voxels in (mask & label, mask, label))
    heights = _relative_heights(labeled)
    counts = np.stack([both, predicted, labeled], axis=1)
    rows = [
        SliceRow(*who, index, heights[index], **_measures(counts[index], voxel_ml))
        for index in chosen
        if predicted[index] or labeled[index]
    ]
    measures = _measures(counts[chosen].sum(axis=0), voxel_ml) | surfaces
    return VolumeRow(*who, **measures), rows


def _relative_heights(labeled: np.ndarray) -> list[float | None]:
    """For each slice; None in all where the label is empty, 0 in the slice of a label that has only one."""
    held = np.flatnonzero(labeled)
    if not len(held):
        return [None] * len(labeled)
    return ((np.arange(len(labeled)) - held[0]) / max(held[-1] - held[0], 1)).tolist()


def _measures(counts: np.ndarray, voxel_ml: float) -> dict[str, Any]:
    """Measures of a row from its voxel counts: of both, of the prediction and of the label."""
    both, predicted, labeled = counts.tolist()
    return {
        "dice": _ratio(2 * both, predicted + labeled),
        "precision": _ratio(both, predicted),
        "recall": _ratio(both, labeled),
        "label_ml": labeled * voxel_ml,
        "predicted_ml": predicted * voxel_ml,
        "false_negative_ml": (labeled - both) * voxel_ml,
        "false_positive_ml": (predicted - both) * voxel_ml,
    }


def _ratio(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _surfaces(mask: sitk.Image, label: sitk.Image) -> dict[str, float | None]:
    try:
        comparison = compare_masks(mask, label)
    except UserError:  # the two lie too far apart to measure between them
        return dict.fromkeys(SURFACE_MEASURES)
    return {name: getattr(comparison, name) for name in SURFACE_MEASURES}
