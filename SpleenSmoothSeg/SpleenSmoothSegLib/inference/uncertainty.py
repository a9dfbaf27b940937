"""Where the folds disagree most about the spleen: the axial slices that a person should look at first."""

from dataclasses import dataclass

import numpy as np
import SimpleITK as sitk

from .components import parts_that_touch

LEAST_MM2 = 10.0  # a smaller score is not worth a look
TOLERANCE_MM = 1e-3
IN_DOUBT = 0.1  # standard deviation over the folds; what is below is the noise of folds that agree


@dataclass(frozen=True)
class Place:
    """A place to look at.

    Attributes:
        point_lps: center of the disagreement on an axial slice (LPS, mm).
        score: area of this slice in mm2 on which two folds are expected to differ: the sum of 2 s^2 over its voxels,
            for folds whose probabilities have the standard deviation s and that draw lots with them.
    """

    point_lps: tuple[float, float, float]
    score: float


def uncertain_places(
    disagreement_map: sitk.Image, mask: sitk.Image, count: int = 10, apart_mm: float = 10.0
) -> list[Place]:
    """Up to `count` places on axial slices at least `apart_mm` apart, the one with the most disagreement first.

    Only disagreement that is connected with the mask counts, for what single folds take for spleen elsewhere is not in
    the result; where the mask is empty, all counts.

    Args:
        disagreement_map: standard deviation over the folds' probabilities; of any orientation.
        mask: the result, on the same grid.
    """
    deviation = sitk.GetArrayViewFromImage(disagreement_map)
    inside = sitk.GetArrayViewFromImage(mask) > 0
    doubt = deviation >= IN_DOUBT
    if inside.any():
        doubt &= parts_that_touch(doubt | inside, inside)
    if not doubt.any():
        return []
    weights = 2 * deviation[doubt].astype(float) ** 2
    spacing = np.array(disagreement_map.GetSpacing())
    direction = np.reshape(disagreement_map.GetDirection(), (3, 3))
    index = np.stack(np.nonzero(doubt)[::-1], axis=-1)  # (column, row, slice)
    points = index @ (direction * spacing).T + disagreement_map.GetOrigin()

    thickness = spacing[np.abs(direction[2]).argmax()]  # along the axis of the image nearest to the body's
    numbers = np.round((points[:, 2] - points[:, 2].min()) / thickness).astype(int)
    scores = np.bincount(numbers, weights) * spacing.prod() / thickness
    chosen: list[int] = []
    for number in np.argsort(-scores, kind="stable"):
        if len(chosen) == count or scores[number] < LEAST_MM2:
            break
        if all(abs(number - other) * thickness > apart_mm - TOLERANCE_MM for other in chosen):
            chosen.append(number)
    return [
        Place(
            tuple(np.average(points[numbers == number], axis=0, weights=weights[numbers == number]).tolist()),
            float(scores[number]),
        )
        for number in chosen
    ]
