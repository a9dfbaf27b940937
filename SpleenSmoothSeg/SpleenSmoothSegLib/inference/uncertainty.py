"""The axial slices on which the folds disagree most about the spleen: those to review first."""

import numpy as np
import SimpleITK as sitk

from .components import parts_touching
from .result import UncertainPlace

MIN_AREA_MM2 = 10.0  # a smaller area is not worth a review
TOLERANCE_MM = 1e-3
MIN_DEVIATION = 0.1  # standard deviation over the folds; below it is the noise of folds that agree


def uncertain_places(
    uncertainty_map: sitk.Image, mask: sitk.Image, count: int = 10, apart_mm: float = 10.0
) -> list[UncertainPlace]:
    """Up to `count` places on axial slices at least `apart_mm` apart, the most uncertain first.

    `area_mm2` is the sum of 2 s^2 over the voxels of the slice, times their area: the area on which two folds are
    expected to differ, if a fold's voxel is foreground at random, s being the standard deviation over the folds.

    Only uncertainty connected to the mask counts, because foreground of single folds elsewhere is not in the result;
    where the mask is empty, all counts.

    Args:
        uncertainty_map: standard deviation of the probability over the folds; any orientation.
        mask: segmentation on the same grid.
    """
    deviation = sitk.GetArrayViewFromImage(uncertainty_map)
    inside = sitk.GetArrayViewFromImage(mask) > 0
    uncertain = deviation >= MIN_DEVIATION
    if inside.any():
        uncertain &= parts_touching(uncertain | inside, inside)
    if not uncertain.any():
        return []
    weights = 2 * deviation[uncertain].astype(float) ** 2
    spacing = np.array(uncertainty_map.GetSpacing())
    direction = np.reshape(uncertainty_map.GetDirection(), (3, 3))
    index = np.stack(np.nonzero(uncertain)[::-1], axis=-1)  # (column, row, slice)
    points = index @ (direction * spacing).T + uncertainty_map.GetOrigin()

    thickness = spacing[np.abs(direction[2]).argmax()]  # along the axis of the image nearest to the body's
    numbers = np.round((points[:, 2] - points[:, 2].min()) / thickness).astype(int)
    areas = np.bincount(numbers, weights) * spacing.prod() / thickness
    chosen: list[int] = []
    for number in np.argsort(-areas, kind="stable"):
        if len(chosen) == count or areas[number] < MIN_AREA_MM2:
            break
        if all(abs(number - other) * thickness > apart_mm - TOLERANCE_MM for other in chosen):
            chosen.append(number)
    return [
        UncertainPlace(
            tuple(np.average(points[numbers == number], axis=0, weights=weights[numbers == number]).tolist()),
            float(areas[number]),
        )
        for number in chosen
    ]
