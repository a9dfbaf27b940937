"""One picture per CT: the spleen's contour on the axial, coronal and sagittal plane through it, and its volume."""

import warnings
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..geometry.grid import bounds
from ..geometry.slices import AIR_HU, SOFT_TISSUE_HU, body_center
from ..io import terminology

WINDOW_HU = (-160.0, 240.0)
PIXEL_MM = 1.0
WIDTH_INCHES, DOTS_PER_INCH, TITLE_INCHES = 12.0, 100, 0.65
MARGIN_MM = 10.0  # around the body
MAX_HEIGHT_MM = 400.0  # a taller CT is cropped around the spleen
TABLE_MM = 8.0  # thinner structures, such as the table, are not part of the body
CONTOUR_COLOR = tuple(min(1.0, 1.45 * part) for part in terminology.COLOR)  # the segment's color, bright enough on a CT
# Name, axis that the plane lies across (x, y or z; LPS), and the letter at its left edge.
PLANES = (("axial", 2, "R"), ("coronal", 1, "R"), ("sagittal", 0, "A"))


def write_overlay(path: Path, ct: sitk.Image, mask: sitk.Image, title: str) -> None:
    """Write a PNG of three planes of `ct` through the middle of `mask`, the contour of `mask` on it.

    Planes are the patient's own, in mm and all at one scale, whatever the grid of the CT: the head is up, and the left
    of a picture is the patient's right (of the sagittal one, the front). Without a spleen they go through the middle
    of the body.

    Raises:
        OSError: `path` cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    center = _center(ct, mask)
    lowest, highest = _field(ct, mask, center)
    planes = [_plane(ct, mask, center, lowest, highest, axis) for _, axis, _ in PLANES]
    widths = [hu.shape[1] for hu, _ in planes]
    tallest = max(hu.shape[0] for hu, _ in planes)
    figure = Figure(figsize=(WIDTH_INCHES, WIDTH_INCHES * tallest / sum(widths) + TITLE_INCHES), facecolor="black")
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, 3, gridspec_kw={"width_ratios": widths, "wspace": 0.01})
    for axes_of_plane, (name, _, left), (hu, inside) in zip(axes, PLANES, planes, strict=True):
        _draw(axes_of_plane, name, left, hu, inside)
    figure.suptitle(_printable(title), color="white", fontsize=12, parse_math=False)  # a name may contain $
    figure.subplots_adjust(left=0, right=1, bottom=0, top=1 - TITLE_INCHES / figure.get_figheight())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the font lacks a character of the title and shows a box
        figure.savefig(path, dpi=DOTS_PER_INCH, format="png")


def _draw(axes, name: str, left: str, hu: np.ndarray, inside: np.ndarray) -> None:
    axes.imshow(hu, cmap="gray", vmin=WINDOW_HU[0], vmax=WINDOW_HU[1], interpolation="bilinear")
    if inside.max() > 0.5:
        bordered = np.pad(inside, 1)  # so that the contour is closed where the spleen is truncated
        rows, columns = (np.arange(-1, size + 1).clip(-0.5, size - 0.5) for size in inside.shape)
        axes.contour(columns, rows, bordered, levels=[0.5], colors=[CONTOUR_COLOR], linewidths=1.2)
    axes.set_axis_off()
    axes.set_title(name, color="white", fontsize=9, pad=3)
    axes.text(0.01, 0.5, left, transform=axes.transAxes, color="yellow", fontsize=11, va="center")


def _center(ct: sitk.Image, mask: sitk.Image) -> tuple[float, float, float]:
    if not sitk.GetArrayViewFromImage(mask).any():
        return body_center(ct)
    shape = sitk.LabelShapeStatisticsImageFilter()
    shape.Execute(mask)
    return shape.GetCentroid(1)


def _field(ct: sitk.Image, mask: sitk.Image, center: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest coordinates (mm) shown: the body on the axial plane, at most MAX_HEIGHT_MM tall."""
    lowest, highest = bounds(ct)
    hu, inside = _plane(ct, mask, center, lowest, highest, axis=2)
    body = sitk.BinaryMorphologicalOpening(
        sitk.GetImageFromArray((hu > SOFT_TISSUE_HU).astype(np.uint8)), [round(TABLE_MM / PIXEL_MM / 2)] * 2
    )
    largest = sitk.RelabelComponent(sitk.ConnectedComponent(body), sortByObjectSize=True) == 1
    shown = (sitk.GetArrayFromImage(largest) > 0) | (inside > 0.5)
    for axis in (0, 1):
        pixels = np.flatnonzero(shown.any(axis=axis))
        if len(pixels):
            first, last = lowest[axis] + PIXEL_MM * pixels[[0, -1]]
            lowest[axis], highest[axis] = max(lowest[axis], first - MARGIN_MM), min(highest[axis], last + MARGIN_MM)
    if highest[2] - lowest[2] > MAX_HEIGHT_MM:
        middle = np.clip(center[2], lowest[2] + MAX_HEIGHT_MM / 2, highest[2] - MAX_HEIGHT_MM / 2)
        lowest[2], highest[2] = middle - MAX_HEIGHT_MM / 2, middle + MAX_HEIGHT_MM / 2
    return lowest, highest


def _plane(ct, mask, center, lowest, highest, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """HU and mask fraction (row, column) of the plane across `axis` through `center`, from `lowest` to `highest`."""
    size = np.floor((highest - lowest) / PIXEL_MM).astype(int) + 1
    size[axis] = 1
    origin = np.where(np.arange(3) == axis, center, lowest)

    def sample(image: sitk.Image, outside: float) -> np.ndarray:
        resample = sitk.ResampleImageFilter()
        resample.SetSize(size.tolist())
        resample.SetOutputOrigin(origin.tolist())
        resample.SetOutputSpacing([PIXEL_MM] * 3)
        resample.SetDefaultPixelValue(outside)
        resample.SetOutputPixelType(sitk.sitkFloat32)
        plane = np.take(sitk.GetArrayFromImage(resample.Execute(image)), 0, axis=2 - axis)
        return plane if axis == 2 else plane[::-1]  # the head is up

    return sample(ct, AIR_HU), sample(mask, 0.0)


def _printable(title: str) -> str:
    """One line of text that fits above the picture; a long name is shortened in the middle, to keep the volume."""
    text = " ".join(title.split()).encode("utf-8", "replace").decode()
    return text if len(text) <= 110 else f"{text[:60]} ... {text[-45:]}"
