"""Border smoothing: turn the hard border of a label into a soft one.

Annotators disagree mostly at the border, so the network is trained on labels whose border is a slope, not a step. A
:class:`Border` defines the kernel and its width; :func:`smooth_border` applies it to an image, :func:`soften` to an
array. A kernel is a function of a mask and of the width in voxels along each axis. Spacing and plane are converted
before the call, so a kernel needs no extra code for anisotropic voxels, 2D or 3D.

Every kernel leaves the label unchanged at width 0, is symmetric between label and background (so 0.5 stays on a
straight border), and repeats the edge voxels beyond the array (a truncated label gets no soft border at the edge).
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import SimpleITK as sitk
from scipy import ndimage

from ..errors import UserError
from ..geometry.box import Region, bounding_box

UNITS = ("mm", "px")
PLANES = ("2d", "3d")
MAX_WIDTH = 100.0  # a border as wide as the organ is a typo, and slow


@dataclass(frozen=True)
class Border:
    """A soft border; as text ``none``, ``gaussian:1.5mm``, ``box:3px`` or ``svls:1px:3d``.

    ``width`` is defined in the kernel's docstring, in mm or in voxels (``px``) of the label's own grid.
    ``plane`` is ``2d`` (in-plane only) or ``3d`` (in-plane and through-plane).
    Raises UserError for an unknown kernel, unit or plane and for a width outside 0 to MAX_WIDTH.
    """

    kernel: str
    width: float = 0.0
    unit: str = "mm"
    plane: str = "2d"

    def __post_init__(self):
        for field, value, known in (
            ("kernel", self.kernel, KERNELS),
            ("unit", self.unit, UNITS),
            ("plane", self.plane, PLANES),
        ):
            if value not in known:
                raise UserError(f"Unknown border {field} {value!r}; choose one of {', '.join(known)}.")
        if not 0 <= self.width <= MAX_WIDTH:
            raise UserError(f"Border width {self.width} {self.unit} is out of range; choose 0 to {MAX_WIDTH:g}.")

    @classmethod
    def parse(cls, text: str) -> "Border":
        """Parse ``kernel[:width[unit]][:plane]``; unit and plane default to mm and 2d.

        Raises UserError for invalid text. Every kernel but ``none`` requires a width.
        """
        kernel, *rest = (part.strip() for part in text.lower().split(":"))
        plane = rest.pop() if rest and rest[-1] in PLANES else "2d"
        if len(rest) > 1:
            raise UserError(f"{text!r} is not a border; examples: none, gaussian:1.5mm, svls:1px:3d.")
        width = rest[0] if rest else "0"
        unit = next((unit for unit in UNITS if width.endswith(unit)), "mm")
        try:
            border = cls(kernel, float(width.removesuffix(unit)), unit, plane)
        except ValueError:
            raise UserError(f"The width of the border {text!r} is not a number; examples: 1.5mm, 3px.") from None
        if not rest and kernel != "none":
            raise UserError(f"The border {text!r} has no width; write it like {kernel}:1.5mm.")
        return border

    def __str__(self) -> str:
        """Text that :meth:`parse` converts back to an equal border."""
        if self == Border("none"):
            return "none"
        width = str(float(self.width)).removesuffix(".0")
        return f"{self.kernel}:{width}{self.unit}" + (":3d" if self.plane == "3d" else "")


def smooth_border(label: sitk.Image, border: Border, value: int = 1) -> sitk.Image:
    """Soft label of the voxels that equal ``value``: float32 in [0, 1] on the grid of ``label``.

    A labelmap of several labels is smoothed one ``value`` at a time; a value it does not contain gives zeros.
    The plane of a 2d border is that of the image's own rows and columns.
    Raises UserError if ``label`` is not a scalar 3D image.
    """
    if label.GetDimension() != 3 or label.GetNumberOfComponentsPerPixel() != 1:
        raise UserError("The label is not a scalar 3D image; choose a labelmap volume.")
    mask = sitk.GetArrayViewFromImage(label) == value
    soft = sitk.Image(label.GetSize(), sitk.sitkFloat32)
    region, values = _soft_region(mask, label.GetSpacing()[::-1], border)
    if values.size:
        soft[region[::-1]] = sitk.GetImageFromArray(values)
    soft.CopyInformation(label)
    return soft


def soften(mask: np.ndarray, spacing: tuple[float, float, float], border: Border) -> np.ndarray:
    """Soft label of a mask: (slice, row, column) bool to float32 in [0, 1] of the same shape.

    ``spacing`` is in mm, (slice, row, column).
    Raises ValueError if the mask is not 3D or the spacing is not three positive numbers.
    """
    mask = np.asarray(mask, bool)
    region, values = _soft_region(mask, spacing, border)
    soft = np.zeros(mask.shape, np.float32)
    soft[region] = values
    return soft


def reach(border: Border, spacing: Sequence[float]) -> tuple[int, int, int]:
    """How many voxels beyond the label the soft label can be above 0, along (slice, row, column)."""
    slices, rows, columns = (
        math.floor(REACH[border.kernel] * w) + 1 if w else 0 for w in _width_in_voxels(border, spacing)
    )
    return slices, rows, columns


def none(mask: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """The hard label y, at any width."""
    return mask.astype(np.float32)


def gaussian(mask: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """Gaussian filter: y * g with g(i) proportional to exp(-i^2 / 2 sigma^2), sum 1; **width is sigma**.

    Sampled at voxel centers and truncated at 4 sigma, scipy's default, which drops 6e-5 of the mass.
    Source: the standard Gaussian filter, scipy.ndimage.gaussian_filter.
    """
    return _correlate(mask, [_gaussian_taps(w) if w else np.ones(1) for w in width])


def box(mask: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """Mean of y over a box around the voxel's center; **width is the box's full edge length**.

    A partly covered voxel counts in part, w(i) = min(1, width/2 + 1/2 - |i|) / width, so even and fractional widths
    stay centered. A box no larger than one voxel changes nothing.
    Source: the standard mean filter, scipy.ndimage.uniform_filter, which is equal for odd integer widths.
    """
    return _correlate(mask, [_taps(w / 2 + 0.5, np.ones_like) if w > 1 else np.ones(1) for w in width])


def svls(mask: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """Spatially varying label smoothing: half the voxel itself, half the Gaussian mean of its neighbors.

    y/2 + (sum over i != 0 of g(i) y(i)) / (2 sum over i != 0 of g(i)), g(i) = exp(-|i|^2 / 2 sigma^2);
    **width is sigma**. The published kernel has sigma 1 and size 3; here the size is 2 sigma + 1 voxels along each
    axis, and the outermost voxels count in part where that is not an odd integer. Across a straight edge sigma 1 gives
    .17/.83 in 2D and .15/.85 in 3D, as published. The neighbors weigh as much as the center at any sigma, so a sigma
    below half a voxel along every axis is defined to change nothing.
    Source: Islam and Glocker, Spatially Varying Label Smoothing, IPMI 2021, arXiv 2104.05788.
    """
    if max(width) < 0.5:
        return none(mask, width)
    taps = [_taps(w + 1, partial(_bell, w)) if w else np.ones(1) for w in width]
    center = float(math.prod(t[t.size // 2] for t in taps))
    mean = _correlate(mask, taps)
    return np.where(mask, 1 - (1 - mean) / (2 - 2 * center), mean / (2 - 2 * center))


def boundary_uncertainty(mask: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """1 in the core, 0.9 in the inner rim, 0.1 in the outer rim, 0 outside; **width is the width of one rim**.

    0.8 y + 0.1 erode(y) + 0.1 dilate(y). The structuring element is the published square (3 x 3 for one voxel; a cube
    in 3D), 2 r + 1 voxels along each axis, where r is the width rounded to whole voxels. A width below half a voxel
    changes nothing along that axis.
    Source: Yeung et al., Incorporating Boundary Uncertainty into loss functions for biomedical image
    segmentation, 2021, arXiv 2111.00533 (alpha 0.9, beta 0.1, one iteration).
    """
    size = [2 * math.floor(w + 0.5) + 1 for w in width]
    eroded = ndimage.minimum_filter(mask, size, mode="nearest")
    dilated = ndimage.maximum_filter(mask, size, mode="nearest")
    depth = eroded.astype(np.uint8) + mask + dilated
    return np.array([0, 0.1, 0.9, 1], np.float32)[depth]


def signed_distance(mask: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """Logistic of the signed distance d to the border; **width is the width of the band from 0.1 to 0.9**.

    1 / (1 + exp(-2 ln 9 d / width)); d is the exact Euclidean distance from the voxel's center to the nearest face
    between label and background, positive inside. Beyond 2 widths (0.0002, 0.9998) it is clipped to 0 or 1.
    Source: softening by signed distance after Li et al., Superpixel-Guided Label Softening, MICCAI 2020,
    arXiv 2007.08897, which maps it by d / (1 + |d|) within superpixels; the logistic has shorter tails.
    """
    squared = _squared_distance(mask, width)
    around = tuple(slice(max(0, side.start - 1), side.stop + 1) for side in bounding_box(mask))
    squared[around] += _squared_distance(~mask[around], width)  # one of the two is 0
    near = squared <= REACH["signed_distance"] ** 2
    inside = mask[near]
    tail = 1 / (1 + np.exp(2 * math.log(9) * np.sqrt(squared[near])))
    soft = none(mask, width)
    soft[near] = np.where(inside, 1 - tail, tail)
    return soft


KERNELS: dict[str, Callable[[np.ndarray, Sequence[float]], np.ndarray]] = {
    "none": none,
    "gaussian": gaussian,
    "box": box,
    "svls": svls,
    "boundary_uncertainty": boundary_uncertainty,
    "signed_distance": signed_distance,
}
"""(mask, width in voxels along each axis, 0 for an axis that is not smoothed) -> float32 soft label."""

REACH = {"none": 0, "gaussian": 4, "box": 0.5, "svls": 1, "boundary_uncertainty": 1, "signed_distance": 2}
"""Distance from the label up to which a kernel can be above 0, in widths; add up to one voxel."""


def _soft_region(mask: np.ndarray, spacing: Sequence[float], border: Border) -> tuple[Region, np.ndarray]:
    """Region of the array where the soft label can be above 0, and the soft label in it."""
    if mask.ndim != 3 or len(spacing) != 3 or min(spacing) <= 0:
        raise ValueError(f"expected a 3D mask and three positive spacings, not {mask.shape} and {spacing}")
    slices, rows, columns = (
        slice(max(0, side.start - r), min(side.stop + r, length))
        for side, r, length in zip(bounding_box(mask), reach(border, spacing), mask.shape, strict=True)
    )
    region = slices, rows, columns
    if not mask[region].size:
        return region, np.zeros(mask[region].shape, np.float32)
    return region, KERNELS[border.kernel](mask[region], _width_in_voxels(border, spacing)).clip(0, 1)


def _width_in_voxels(border: Border, spacing: Sequence[float]) -> list[float]:
    """Width of a border in voxels along each axis; 0 for an axis that is not smoothed."""
    voxel = spacing if border.unit == "mm" else (1, 1, 1)
    width = [border.width / size for size in voxel]
    return [0.0, *width[1:]] if border.plane == "2d" else width


def _gaussian_taps(sigma: float) -> np.ndarray:
    """Weights of a 1D Gaussian, sum 1, truncated like scipy.ndimage.gaussian_filter."""
    radius = math.floor(REACH["gaussian"] * sigma + 0.5)
    taps = _bell(sigma, np.arange(-radius, radius + 1.0))
    return taps / taps.sum()


def _bell(sigma: float, distance: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (distance / sigma) ** 2)


def _taps(half: float, weight: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Weights of a symmetric 1D kernel of half-width ``half``, sum 1; voxels cut by its end count in part."""
    distance = np.abs(np.arange(-math.floor(half), math.floor(half) + 1.0))
    taps = weight(distance) * np.clip(half - distance, 0, 1)
    return taps / taps.sum()


def _correlate(mask: np.ndarray, taps: Sequence[np.ndarray]) -> np.ndarray:
    """Filter with one 1D kernel along each axis, repeating the edge voxels.

    Each axis is one matrix product over the voxels of the label's bounding box. For wide kernels this takes a fraction
    of the time of scipy.ndimage.correlate1d, for narrow ones about the same (bench_borders.py).
    """
    box = bounding_box(mask)
    soft = mask[box].astype(float)  # in float32 the sums in the core would not be exactly 1
    for length, side, weights in zip(mask.shape, box, taps, strict=True):
        # tensordot moves the filtered first axis to the end, so three passes restore the axis order.
        soft = np.tensordot(soft, _filter_matrix(weights, length)[:, side], (0, 1))
    return soft.astype(np.float32)


def _filter_matrix(taps: np.ndarray, length: int) -> np.ndarray:
    """Matrix that filters a line of voxels: weight of input voxel (column) in output voxel (row)."""
    matrix, rows = np.zeros((length, length)), np.arange(length)
    for offset, weight in enumerate(taps, -(taps.size // 2)):
        matrix[rows, np.clip(rows + offset, 0, length - 1)] += weight
    return matrix


def _squared_distance(target: np.ndarray, width: Sequence[float]) -> np.ndarray:
    """Squared distance, in widths, from each voxel's center to the nearest face of a target voxel; inf out of reach.

    ndimage.distance_transform_edt measures to the target's center, half a voxel beyond the border, a length that
    depends on the direction. Along each axis, the face of a voxel i steps away is i - 1/2 steps away, so the minimum
    over all targets separates by axis: exact, and faster.
    """
    *others, along_rows = width
    gaps = np.concatenate([[0], _squared_gaps(along_rows, target.shape[-1]), [np.inf]]).astype(np.float32)
    squared = gaps[np.minimum(_steps_along_rows(target), len(gaps) - 1)]
    for axis, w in enumerate(others):
        source = np.moveaxis(squared, axis, 0)
        squared = squared.copy()
        nearest = np.moveaxis(squared, axis, 0)
        for step, gap in enumerate(_squared_gaps(w, len(source)), 1):
            np.minimum(nearest[step:], source[:-step] + gap, out=nearest[step:])
            np.minimum(nearest[:-step], source[step:] + gap, out=nearest[:-step])
    return squared


def _squared_gaps(width: float, length: int) -> np.ndarray:
    """Squared distance, in widths, to the face of the voxel 1, 2, ... steps away on a line, within reach."""
    steps = np.arange(1, min(math.floor(REACH["signed_distance"] * width + 0.5) + 1, length))
    return (((steps - 0.5) / width) ** 2 if width else np.zeros(0)).astype(np.float32)


def _steps_along_rows(target: np.ndarray) -> np.ndarray:
    """Steps from each voxel to the nearest target of its row: 0 on a target, at least the row's length if none."""
    length = target.shape[-1]
    index = np.arange(length, dtype=np.int32)
    before = np.maximum.accumulate(np.where(target, index, -length), axis=-1)
    after = np.minimum.accumulate(np.where(target, index, 2 * length)[..., ::-1], axis=-1)[..., ::-1]
    return np.minimum(index - before, after - index)
