"""Connected parts of a mask; voxels are connected through their faces."""

import numpy as np
import SimpleITK as sitk

from ..geometry.box import bounding_box
from ..geometry.grid import Grid


def keep_largest_component(mask: sitk.Image) -> sitk.Image:
    """The largest connected part of a mask, searched in its bounding box only."""
    if not sitk.GetArrayViewFromImage(mask).any():
        return mask
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    box = shape.GetBoundingBox(1)
    inside = sitk.RegionOfInterest(mask, box[3:], box[:3])
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(inside), sortByObjectSize=True) == 1
    return sitk.Paste(mask, largest, largest.GetSize(), destinationIndex=box[:3])


def crop_to_largest_part(image: sitk.Image, value: float, margin_mm: float) -> sitk.Image:
    """The box of the largest part of the voxels of `value` or more, cut out with a margin.

    Other voxels of `value` or more in the box are set to 0. Voxels with a gap of up to two count as connected, because
    interpolation may bridge it; so after resampling there may still be several parts. Returns the image itself if no
    voxel reaches `value`.
    """
    values = sitk.GetArrayViewFromImage(image)
    above = values >= value
    if not above.any():
        return image
    box = bounding_box(above)
    wider = sitk.BinaryDilate(sitk.GetImageFromArray(above[box].astype(np.uint8)), (1, 1, 1), sitk.sitkBox)
    parts = sitk.ConnectedComponent(wider)
    labels = sitk.GetArrayViewFromImage(parts)
    sizes = np.bincount(labels[above[box]])
    largest = np.zeros_like(above)
    largest[box] = above[box] & (labels == sizes.argmax())
    margins = np.ceil(np.divide(margin_mm, image.GetSpacing())).astype(int)[::-1]
    wide = tuple(
        slice(max(0, side.start - more), side.stop + more)
        for side, more in zip(bounding_box(largest), margins, strict=True)
    )
    cut = np.where(above[wide] & ~largest[wide], 0, values[wide])
    lowest = tuple(side.start for side in reversed(wide))
    return Grid.of(image).part(lowest, cut.shape[::-1]).with_voxels(cut)


def parts_touching(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The connected parts of a mask (slice, row, column; bool) that share a voxel with `seeds`."""
    touching = np.zeros_like(mask)
    if mask.any():
        box = bounding_box(mask)
        parts = sitk.ConnectedComponent(sitk.GetImageFromArray(mask[box].astype(np.uint8)))
        labels = sitk.GetArrayViewFromImage(parts)
        touch = np.zeros(labels.max() + 1, bool)
        touch[labels[seeds[box]]] = True
        touch[0] = False
        touching[box] = touch[labels]
    return touching
