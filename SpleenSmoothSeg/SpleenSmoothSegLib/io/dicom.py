"""Reading of a CT from a DICOM folder: choice of the series, and correction of slice positions."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..callbacks import Warn
from ..errors import UserError
from ..geometry.slices import AIR_HU
from .sitkio import itk_name, silence_itk

MAX_GAP_MM = 10.0  # slice spacing of the thickest CTs; a wider gap could hide too much of a spleen
_UNEVEN = 0.1  # slice spacings; minimum deviation from even spacing that is corrected
_TILTED = 0.5  # pixels; minimum in-plane shift that is corrected

IMAGE_TYPE, MODALITY, DESCRIPTION = "0008|0008", "0008|0060", "0008|103e"
STUDY, NUMBER, POSITION, ORIENTATION = "0020|000d", "0020|0011", "0020|0032", "0020|0037"


@dataclass(frozen=True)
class Series:
    """One DICOM series: its files in slice order, and tags of the first."""

    names: tuple[str, ...]
    slices: int
    modality: str
    is_scout: bool
    number: int
    description: str
    study: str

    @property
    def is_ct(self) -> bool:
        return self.modality == "CT" and self.slices > 1 and not self.is_scout


def ct_folders(folder: Path) -> list[Path]:
    """`folder` and its subfolders that contain a CT series, sorted by name, without hidden ones."""
    found = []
    for current, subfolders, files in os.walk(folder):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if files and any(series.is_ct for series in find_series(Path(current))):
            found.append(Path(current))
    return found


def find_series(folder: Path) -> list[Series]:
    """The DICOM image series in a folder, not in its subfolders."""
    with silence_itk():
        reader = sitk.ImageSeriesReader
        files = [reader.GetGDCMSeriesFileNames(itk_name(folder), uid) for uid in _series_ids(folder)]
        return [series for names in files if (series := _series(names)) is not None]


def read_ct_series(folder: Path, warn: Warn) -> sitk.Image:
    """Read the CT in a DICOM folder, in HU, on a grid with even slice spacing and perpendicular axes.

    Of several CT series, the one with the most slices is read. With a gantry tilt, slices are shifted to their true
    positions; if slices are missing or unevenly spaced, the volume is interpolated. `warn` receives a message for each.

    Raises:
        UserError: no CT series, CTs of several studies, or slices that do not form a volume.
    """
    series = _choose(folder, find_series(folder), warn)
    if len(series.names) == 1:  # enhanced multi-frame file: ITK reads its slice positions
        with silence_itk():
            return sitk.ReadImage(series.names[0])
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(series.names)
    reader.MetaDataDictionaryArrayUpdateOn()
    with silence_itk():
        image = reader.Execute()
    try:
        positions, orientations = (
            np.array([_numbers(reader.GetMetaData(i, tag)) for i in range(len(series.names))])
            for tag in (POSITION, ORIENTATION)
        )
        across, down = orientations[0].reshape(2, 3)
    except (RuntimeError, ValueError) as error:
        raise UserError(f'The DICOM files in "{folder}" have no valid slice positions; export the CT again.') from error
    if np.ptp(orientations, axis=0).max() > 1e-3:
        raise UserError(f'The slices in "{folder}" have different orientations; export only the axial series.')
    return _straighten(image, positions, np.array([across, down, np.cross(across, down)]), folder, warn)


def _series_ids(folder: Path) -> tuple[str, ...]:
    return sitk.ImageSeriesReader.GetGDCMSeriesIDs(itk_name(folder))


def _series(names: tuple[str, ...]) -> Series | None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(itk_name(names[0]))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # not an image, or damaged
        return None

    def tag(key: str) -> str:
        return reader.GetMetaData(key).strip() if reader.HasMetaDataKey(key) else ""

    size = reader.GetSize()
    return Series(
        names=tuple(itk_name(name) for name in names),
        slices=len(names) if len(names) > 1 else size[2] if len(size) > 2 else 1,
        modality=tag(MODALITY),
        is_scout="LOCALIZER" in tag(IMAGE_TYPE).upper(),
        number=int(tag(NUMBER)) if tag(NUMBER).isdigit() else 0,
        description=tag(DESCRIPTION),
        study=tag(STUDY),
    )


def _choose(folder: Path, all_series: list[Series], warn: Warn) -> Series:
    if not all_series:
        raise UserError(f'"{folder}" contains no CT, neither image file nor DICOM series; choose another folder.')
    cts = [series for series in all_series if series.is_ct]
    if not cts:
        found = ", ".join(sorted({_kind(series) for series in all_series}))
        raise UserError(f'"{folder}" contains {found} but no CT series; choose the folder of the whole CT series.')
    if len({series.study for series in cts}) > 1:
        raise UserError(f'"{folder}" contains CTs of several studies; move each into a separate folder.')
    chosen = max(cts, key=lambda series: (series.slices, -series.number))
    if len(cts) > 1:
        name = f'"{chosen.description}", ' if chosen.description else ""
        warn(
            f'"{folder}" contains {len(cts)} CT series; using the one with the most slices ({name}{chosen.slices} '
            "slices); to use another, copy it into a separate folder."
        )
    return chosen


def _kind(series: Series) -> str:
    if series.is_scout:
        return "a scout"
    return "a single slice" if series.modality == "CT" else series.modality or "images of unknown modality"


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split("\\")]


def _straighten(image: sitk.Image, positions: np.ndarray, axes: np.ndarray, folder: Path, warn: Warn) -> sitk.Image:
    """`image` if its slices are where ITK places them, else resampled from their true positions.

    `positions` (slice, 3) are those of the first voxels in mm; the rows of `axes` are the unit vectors along the rows,
    the columns and the slices.
    """
    local = (positions - positions[0]) @ axes.T
    order = np.argsort(local[:, 2], kind="stable")
    in_plane, depths = local[order, :2], local[order, 2]
    gaps = np.diff(depths)
    if gaps.min() < 0.01:
        raise UserError(
            f'"{folder}" contains several slices at the same position (phases or duplicates); export one phase.'
        )
    pixel = np.array(image.GetSpacing()[:2])
    is_uneven = np.abs(depths - np.linspace(depths[0], depths[-1], len(depths))).max() > _UNEVEN * gaps.mean()
    is_tilted = (np.ptp(in_plane, axis=0) > _TILTED * pixel).any()
    if not is_uneven and not is_tilted and (np.diff(order) == 1).all():
        return image
    slices = sitk.GetArrayFromImage(image).astype(np.float32)[order]
    corner, step = in_plane[0], float(gaps.mean())
    if is_tilted:
        warn(f'"{folder}" has a gantry tilt; its slices were shifted to their true positions.')
        corner = in_plane.min(axis=0)
        slices = _shift_in_plane(slices, in_plane - corner, pixel)
    if is_uneven:
        _check_gaps(gaps, folder, warn)
        step = float(np.median(gaps))
        slices = _interpolate_slices(slices, depths - depths[0], step)
    straight = sitk.GetImageFromArray(slices)
    straight.SetSpacing([*pixel.tolist(), step])
    straight.SetOrigin((positions[order[0]] + (corner - in_plane[0]) @ axes[:2]).tolist())
    straight.SetDirection(axes.T.ravel().tolist())
    return straight


def _check_gaps(gaps: np.ndarray, folder: Path, warn: Warn) -> None:
    """Raise UserError for a gap too wide to interpolate; warn about any other uneven spacing."""
    if gaps.max() > MAX_GAP_MM:
        raise UserError(f'"{folder}" has missing slices (a gap of {gaps.max():.0f} mm); export the CT again.')
    warn(
        f'"{folder}" has slices {gaps.min():.4g} to {gaps.max():.4g} mm apart, so slices may be missing; the gaps were '
        "interpolated."
    )


def _shift_in_plane(slices: np.ndarray, shifts: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Shift each slice by (x, y) mm, not negative, in a frame large enough for all."""
    extra = np.ceil(shifts.max(axis=0) / pixel).astype(int)
    size = [slices.shape[2] + int(extra[0]), slices.shape[1] + int(extra[1])]
    frame = sitk.Image(size, sitk.sitkFloat32)
    frame.SetSpacing(pixel.tolist())
    shifted = np.empty((len(slices), size[1], size[0]), np.float32)
    for number, shift in enumerate(shifts):
        image = sitk.GetImageFromArray(slices[number])
        image.SetSpacing(pixel.tolist())
        image.SetOrigin(shift.tolist())
        resampled = sitk.Resample(image, frame, sitk.Transform(), sitk.sitkLinear, AIR_HU)
        shifted[number] = sitk.GetArrayFromImage(resampled)
    return shifted


def _interpolate_slices(slices: np.ndarray, depths: np.ndarray, step: float) -> np.ndarray:
    """Slices every `step` mm, interpolated linearly between those at `depths` (mm, ascending from 0)."""
    wanted = np.arange(int(depths[-1] / step + 1e-3) + 1) * step
    before = np.clip(np.searchsorted(depths, wanted, side="right") - 1, 0, len(depths) - 2)
    weight = ((wanted - depths[before]) / np.diff(depths)[before])[:, None, None].astype(np.float32)
    return slices[before] * (1 - weight) + slices[before + 1] * weight
