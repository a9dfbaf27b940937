"""What a soft border does to a label: the soft label at once, and its effect in numbers and in words.

A radiologist chooses a border before she trains with it. What counts for training is whether 0.5, where a network's
mask will end, still lies on the border that was drawn, how wide the slope is, and which thin parts fall below 0.5.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import UserError
from ..geometry.box import bounding_box
from .contour import IN_SLICES, IN_SPACE, MaskBorder, crossings
from .kernels import Border, reach, soften

INSIDE, OUTSIDE = 0.95, 0.05  # between these two the label is soft
MOST_POINTS = 5_000  # of a contour that are measured: all of them (40,000 of a spleen) give the same to 4 %
MOST_VOXELS = 10_000  # that make a profile


@dataclass(frozen=True)
class BorderEffect:
    """How a soft label differs from the label.

    Attributes:
        contour_shift_mean_mm, contour_shift_p95_mm: how far the 0.5 contour lies from the border of the label; None
            where there is no such contour.
        volume_ml, soft_volume_ml: of the label, and of the soft label from 0.5.
        volume_change_ml, volume_change_percent: soft volume less volume.
        band_mm: mean distance between the 0.05 and the 0.95 contour; 0 if no voxel lies between, None where one of
            them is missing.
        tips_lost_ml, tips_lost_parts: volume and number of the parts that fall below 0.5 more than one voxel deep.
        voxel_mm, slice_mm: shortest edge of a voxel in the plane of the slice, and distance of the slices.

    Of a 2d border, distances and depths are those within each slice, as it is smoothed.
    """

    contour_shift_mean_mm: float | None
    contour_shift_p95_mm: float | None
    volume_ml: float
    soft_volume_ml: float
    volume_change_ml: float
    volume_change_percent: float
    band_mm: float | None
    tips_lost_ml: float
    tips_lost_parts: int
    voxel_mm: float
    slice_mm: float


class BorderPreview:
    """The soft label of one label (nonzero voxels) with one border after another.

    What does not depend on the border is kept: the label's box, and its border. The label may be changed afterwards.
    Raises UserError where the label is no 3D image of numbers, or is empty.
    """

    def __init__(self, label: sitk.Image):
        if label.GetDimension() != 3 or label.GetNumberOfComponentsPerPixel() != 1:
            raise UserError("The label is not a 3D image with one number a voxel: choose a labelmap volume.")
        mask = sitk.GetArrayViewFromImage(label) != 0
        box = bounding_box(mask)
        self._mask = mask[box].copy()
        if not self._mask.size:
            raise UserError("The label is empty, so it has no border; choose another label.")
        self._start = np.array([side.start for side in box])
        self._room = np.array(mask.shape) - [side.stop for side in box]  # from the label to the image's far edges
        self._spacing = label.GetSpacing()[::-1]
        self._grid = label[:0, :0, :0]  # its geometry without its voxels

    def soften(self, border: Border) -> sitk.Image:
        """What `smooth_border` gives for the label, in the same place: all that can be above 0, and a voxel around."""
        mask, corner = self._with_margin(np.add(reach(border, self._spacing), 1))
        soft = sitk.GetImageFromArray(soften(mask, self._spacing, border))
        soft.SetSpacing(self._grid.GetSpacing())
        soft.SetDirection(self._grid.GetDirection())
        soft.SetOrigin(self._grid.TransformIndexToPhysicalPoint(corner[::-1].tolist()))
        return soft

    def effect(self, border: Border, soft: sitk.Image) -> BorderEffect:
        """Measure what `soften` made with a border."""
        values, corner = sitk.GetArrayViewFromImage(soft), self._corner_of(soft)
        in_box = tuple(slice(i, i + size) for i, size in zip(self._start - corner, self._mask.shape, strict=True))
        shift, areas = self._distances(values, corner, 0.5, border)
        voxel_ml = float(np.prod(self._spacing)) / 1000
        volume, soft_volume = (int(np.count_nonzero(voxels)) * voxel_ml for voxels in (self._mask, values >= 0.5))
        lost, parts = _tips(self._mask, values[in_box] >= 0.5, (3, 3, 3) if border.plane == "3d" else (1, 3, 3))
        return BorderEffect(
            contour_shift_mean_mm=float(np.average(np.abs(shift), weights=areas)) if len(shift) else None,
            contour_shift_p95_mm=_percentile(np.abs(shift), areas, 95) if len(shift) else None,
            volume_ml=volume,
            soft_volume_ml=soft_volume,
            volume_change_ml=soft_volume - volume,
            volume_change_percent=100 * (soft_volume / volume - 1),
            band_mm=self._band_mm(values, corner, border),
            tips_lost_ml=lost * voxel_ml,
            tips_lost_parts=parts,
            voxel_mm=min(self._spacing[1:]),
            slice_mm=self._spacing[0],
        )

    def profile(self, border: Border, soft: sitk.Image) -> tuple[np.ndarray, np.ndarray]:
        """The slope: distances in mm to the border of the label, below 0 outside, and the mean soft label there.

        As far as the soft label differs from the label, and two voxels farther, in steps of a voxel.
        """
        values, corner = sitk.GetArrayViewFromImage(soft), self._corner_of(soft)
        picked = _some(values.size, MOST_VOXELS)
        points = np.stack(np.unravel_index(picked, values.shape), axis=-1) + corner
        farthest = max(np.multiply(reach(border, self._spacing), self._spacing))
        voxel = min(self._spacing[axis] for axis in _axes(border))
        distances = self._border_for(border).signed_distance(points, most=farthest + 2 * voxel)
        inside, away = np.signbit(distances), np.abs(distances)
        values = values.ravel()[picked]
        is_soft = np.isfinite(away) & (values > 0.005) & (values < 0.995)
        near = away <= away[is_soft].max(initial=0) + 2 * voxel
        step = np.floor(away[near] / voxel)
        _, step = np.unique(np.where(inside[near], step, -1 - step), return_inverse=True)
        count = np.bincount(step)
        return np.bincount(step, -distances[near]) / count, np.bincount(step, values[near]) / count

    def _band_mm(self, values: np.ndarray, corner: np.ndarray, border: Border) -> float | None:
        if not ((values > OUTSIDE) & (values < INSIDE)).any():
            return 0.0
        contours = [self._distances(values, corner, level, border) for level in (OUTSIDE, INSIDE)]
        if not all(len(distances) for distances, _ in contours):
            return None
        outer, inner = (np.average(distances, weights=areas) for distances, areas in contours)
        return float(outer - inner)

    def _distances(self, values, corner, level: float, border: Border) -> tuple[np.ndarray, np.ndarray]:
        """Signed distances to the label's border from points of a contour of the soft label, and their weights."""
        points, areas = crossings(values, level, self._spacing, _axes(border))
        picked = _some(len(points), MOST_POINTS)
        return self._border_for(border).signed_distance(points[picked] + corner), areas[picked]

    def _corner_of(self, soft: sitk.Image) -> np.ndarray:
        return np.array(self._grid.TransformPhysicalPointToIndex(soft.GetOrigin())[::-1])

    def _border_for(self, border: Border) -> MaskBorder:
        return self._border_in_space if border.plane == "3d" else self._border_in_slices

    @cached_property
    def _border_in_space(self) -> MaskBorder:
        return MaskBorder(*self._with_margin((1, 1, 1)), self._spacing, IN_SPACE)

    @cached_property
    def _border_in_slices(self) -> MaskBorder:
        return MaskBorder(*self._with_margin((1, 1, 1)), self._spacing, IN_SLICES)

    def _with_margin(self, margin: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """The label with a margin around it, which ends where the image does, and the index of its corner."""
        before, after = np.minimum(margin, self._start), np.minimum(margin, self._room)
        return np.pad(self._mask, np.stack([before, after], axis=-1)), self._start - before


def describe_effect(effect: BorderEffect, border: Border) -> list[str]:
    """What the effect of a border means for training with it, in one to four sentences."""
    if effect.contour_shift_mean_mm is None:
        return [_nowhere(effect)]
    if effect.contour_shift_mean_mm == effect.band_mm == 0:
        return [_hard(effect, border)]
    sentences = [_place(effect, border), _slope(effect, border)]
    if effect.tips_lost_ml >= 0.05:
        sentences.append(
            f"{_rounded(effect.tips_lost_ml)} mL ({_counted(effect.tips_lost_parts, 'part')}), such as thin tips, fall "
            "below 0.5 more than a voxel deep; training would take them for background, and "
            f"{_gentler(border)} keeps more of them."
        )
    return [*sentences, _volume(effect)]


def _nowhere(effect: BorderEffect) -> str:
    if effect.soft_volume_ml:
        return "The border of the label lies outside the image, so there is nothing to soften."
    return "Nothing of the label reaches 0.5, so training would see no organ; choose a narrower border."


def _hard(effect: BorderEffect, border: Border) -> str:
    if border.kernel == "none" or not border.width:
        return "The border stays hard: training would see the label as it was drawn."
    return (
        f"The border stays hard: voxels of {effect.voxel_mm:.3g} mm are too large for this width; choose a wider one."
    )


def _place(effect: BorderEffect, border: Border) -> str:
    mean, p95 = effect.contour_shift_mean_mm, effect.contour_shift_p95_mm
    if mean >= effect.voxel_mm / 2:
        return (
            f"The 0.5 contour moves by {_rounded(mean)} mm on average, half a voxel or more, so training would teach "
            f"another shape than the one drawn; {_gentler(border)} keeps it."
        )
    if p95 >= effect.voxel_mm:
        return (
            "The 0.5 contour stays within half a voxel of the border on average, but moves by "
            f"{_rounded(p95)} mm or more at the worst twentieth of it, mostly at edges and tips."
        )
    return "The 0.5 contour stays within half a voxel of the border on average, so the shape is kept."


def _slope(effect: BorderEffect, border: Border) -> str:
    apart = f"the slices, {effect.slice_mm:.3g} mm apart"
    if effect.band_mm is None:
        return "Nothing of the label reaches 0.95: training would be sure of the organ nowhere."
    if effect.band_mm == 0:
        return "The slope is so steep that no voxel lies between 0.05 and 0.95."
    slope = f"Training would be unsure over {_rounded(effect.band_mm)} mm, from 0.05 to 0.95 across the border"
    if border.plane == "2d":
        return f"{slope} within each slice; between {apart}, a 2D border does nothing."
    if effect.band_mm < effect.slice_mm:
        return f"{slope}; that is less than the distance of {apart}, so little happens between them."
    return f"{slope}, also between {apart}."


def _volume(effect: BorderEffect) -> str:
    if abs(effect.volume_change_percent) < 1:
        return "The volume stays the same to within 1 %."
    change = "grows" if effect.volume_change_ml > 0 else "shrinks"
    percent, ml = _rounded(abs(effect.volume_change_percent)), _rounded(abs(effect.volume_change_ml))
    return f"The volume from 0.5 {change} by {percent} % ({ml} mL)."


def _gentler(border: Border) -> str:
    return "a narrower or a 2D border" if border.plane == "3d" else "a narrower border"


def _rounded(number: float) -> str:
    """One decimal below 10, none from there: the voxels give no more."""
    return f"{number:.1f}" if number < 9.95 else f"{number:.0f}"


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _axes(border: Border) -> tuple[int, ...]:
    return IN_SPACE if border.plane == "3d" else IN_SLICES


def _some(size: int, most: int) -> np.ndarray:
    """Indices of `most` of `size` things, drawn at random but always the same; all where there are fewer."""
    return np.arange(size) if size <= most else np.random.default_rng(0).integers(size, size=most)


def _percentile(numbers: np.ndarray, weights: np.ndarray, percent: float) -> float:
    order = np.argsort(numbers)
    below = np.cumsum(weights[order])
    return float(numbers[order][np.searchsorted(below, percent / 100 * below[-1])])


def _tips(label: np.ndarray, kept: np.ndarray, neighborhood: Sequence[int]) -> tuple[int, int]:
    """Voxels and number of the parts that are lost so deep that a voxel of theirs has no neighbor that is kept."""
    lost = label & ~kept
    if not lost.any():
        return 0, 0
    deep = lost & ~ndimage.maximum_filter(label & kept, neighborhood)
    tips = lost & ndimage.maximum_filter(deep, neighborhood)
    return int(np.count_nonzero(tips)), ndimage.label(tips, np.ones((3, 3, 3)))[1]
