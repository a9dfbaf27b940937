"""Connected parts of a mask; voxels are connected through their faces."""

import numpy as np
import SimpleITK as sitk


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


def parts_that_touch(mask: np.ndarray, seeds: np.ndarray) -> np.ndarray:
    """The connected parts of a mask (slice, row, column; bool) that share a voxel with `seeds`."""
    labels = sitk.GetArrayFromImage(sitk.ConnectedComponent(sitk.GetImageFromArray(mask.astype(np.uint8))))
    touch = np.zeros(labels.max() + 1, bool)
    touch[labels[seeds]] = True
    touch[0] = False
    return touch[labels]
