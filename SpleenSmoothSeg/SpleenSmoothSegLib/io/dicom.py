"""A CT from a folder of DICOM files: which of its series, and where its slices really lie."""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..callbacks import Warn
from ..errors import UserError
from ..geometry.slices import AIR_HU
from .sitkio import itk_name, silence_itk

WIDEST_GAP_MM = 10.0  # as far apart as the slices of the thickest CTs; a wider gap would hide too much of a spleen
_UNEVEN = 0.1  # slices: from here on a slice lies elsewhere than even spacing has it
_TILTED = 0.5  # pixels: from here on a slice has moved sideways

IMAGE_TYPE, MODALITY, DESCRIPTION = "0008|0008", "0008|0060", "0008|103e"
STUDY, NUMBER, POSITION, ORIENTATION = "0020|000d", "0020|0011", "0020|0032", "0020|0037"


@dataclass(frozen=True)
class Series:
    """One DICOM series: its files in slice order and what the first of them says of all."""

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
    """`folder` and the folders below it that hold a CT series, in name order; hidden ones are left out."""
    found = []
    for place, below, files in os.walk(folder):
        below[:] = sorted(name for name in below if not name.startswith("."))
        if files and any(series.is_ct for series in find_series(Path(place))):
            found.append(Path(place))
    return found


def find_series(folder: Path) -> list[Series]:
    """The DICOM series of images in a folder (not below it)."""
    with silence_itk():
        reader = sitk.ImageSeriesReader
        files = [reader.GetGDCMSeriesFileNames(itk_name(folder), uid) for uid in _series_ids(folder)]
        return [series for names in files if (series := _series(names)) is not None]


def read_ct_series(folder: Path, warn: Warn) -> sitk.Image:
    """The CT in a folder of DICOM files, in HU, on a grid with even slices and axes at right angles.

    Of several CT series it is the one with the most slices. Slices of a tilted gantry are moved to where they were
    taken; where slices are missing or uneven, those between are interpolated. `warn` is told in one sentence each.

    Raises:
        UserError: no CT series, CTs of several studies, or slices that make up no volume.
    """
    series = _choose(folder, find_series(folder), warn)
    if len(series.names) == 1:  # many slices in one file: ITK reads where they lie
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
        raise UserError(
            f'The DICOM files in "{folder}" do not say where their slices lie; export the CT again.'
        ) from error
    if np.ptp(orientations, axis=0).max() > 1e-3:
        raise UserError(f'The slices in "{folder}" look different ways; export the axial series alone.')
    return _straighten(image, positions, np.array([across, down, np.cross(across, down)]), folder, warn)


def _series_ids(folder: Path) -> tuple[str, ...]:
    return sitk.ImageSeriesReader.GetGDCMSeriesIDs(itk_name(folder))


def _series(names: tuple[str, ...]) -> Series | None:
    reader = sitk.ImageFileReader()
    reader.SetFileName(itk_name(names[0]))
    try:
        reader.ReadImageInformation()
    except RuntimeError:  # no image, or damaged
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
        raise UserError(
            f'"{folder}" holds no CT, neither as an image file nor as a DICOM series; choose another folder.'
        )
    cts = [series for series in all_series if series.is_ct]
    if not cts:
        found = ", ".join(sorted({_kind(series) for series in all_series}))
        raise UserError(f'"{folder}" holds {found} and no CT series; give the folder with the whole CT series.')
    if len({series.study for series in cts}) > 1:
        raise UserError(f'"{folder}" holds CTs of several studies; put each into a folder of its own.')
    chosen = max(cts, key=lambda series: (series.slices, -series.number))
    if len(cts) > 1:
        name = f'"{chosen.description}", ' if chosen.description else ""
        warn(
            f'"{folder}" holds {len(cts)} CT series; the one with the most slices ({name}{chosen.slices} slices) is '
            "segmented; to segment another, copy it into a folder of its own."
        )
    return chosen


def _kind(series: Series) -> str:
    if series.is_scout:
        return "a scout"
    return "a single slice" if series.modality == "CT" else series.modality or "images that are no CT"


def _numbers(text: str) -> list[float]:
    return [float(number) for number in text.split("\\")]


def _straighten(image: sitk.Image, positions, axes: np.ndarray, folder: Path, warn: Warn) -> sitk.Image:
    """`image` if its slices are where ITK has them, else its voxels sampled where they really lie.

    `positions` (slice, 3) of the first voxels in mm; `axes` are the unit vectors across, down and through the slices.
    """
    local = (positions - positions[0]) @ axes.T
    order = np.argsort(local[:, 2], kind="stable")
    local, through = local[order], local[order, 2]
    gaps = np.diff(through)
    if gaps.min() < 0.01:
        raise UserError(
            f'"{folder}" holds several slices at one place (phases or copies); export one phase into a folder.'
        )
    pixel = np.array(image.GetSpacing()[:2])
    even = np.linspace(through[0], through[-1], len(through))
    is_uneven = np.abs(through - even).max() > _UNEVEN * gaps.mean()
    is_tilted = (np.ptp(local[:, :2], axis=0) > _TILTED * pixel).any()
    if not is_uneven and not is_tilted and (np.diff(order) == 1).all():
        return image
    if is_uneven and gaps.max() > WIDEST_GAP_MM:
        raise UserError(f'"{folder}" misses slices: {gaps.max():.0f} mm lie between two of them; export the CT again.')
    slices = sitk.GetArrayFromImage(image).astype(np.float32)[order]
    lowest = local[:, :2].min(axis=0) if is_tilted else local[0, :2]
    if is_tilted:
        warn(f'"{folder}" was taken with a tilted gantry; its slices were moved to where they belong.')
        slices = _moved_sideways(slices, local[:, :2] - lowest, pixel)
    step = float(gaps.mean())
    if is_uneven:
        step = float(np.median(gaps))
        warn(
            f'"{folder}" has slices {gaps.min():.4g} to {gaps.max():.4g} mm apart, so that some may be missing; '
            "those between were interpolated."
        )
        slices = _evenly_spaced(slices, through - through[0], step)
    straight = sitk.GetImageFromArray(slices)
    straight.SetSpacing([*pixel.tolist(), step])
    straight.SetOrigin((positions[order[0]] + (lowest - local[0, :2]) @ axes[:2]).tolist())
    straight.SetDirection(axes.T.ravel().tolist())
    return straight


def _moved_sideways(slices: np.ndarray, shifts: np.ndarray, pixel: np.ndarray) -> np.ndarray:
    """Each slice moved by its shift (across, down; mm, not negative) in a frame that holds them all."""
    extra = np.ceil(shifts.max(axis=0) / pixel).astype(int)
    size = [slices.shape[2] + int(extra[0]), slices.shape[1] + int(extra[1])]
    frame = sitk.Image(size, sitk.sitkFloat32)
    frame.SetSpacing(pixel.tolist())
    moved = np.empty((len(slices), size[1], size[0]), np.float32)
    for number, shift in enumerate(shifts):
        one = sitk.GetImageFromArray(slices[number])
        one.SetSpacing(pixel.tolist())
        one.SetOrigin(shift.tolist())
        moved[number] = sitk.GetArrayFromImage(sitk.Resample(one, frame, sitk.Transform(), sitk.sitkLinear, AIR_HU))
    return moved


def _evenly_spaced(slices: np.ndarray, depths: np.ndarray, step: float) -> np.ndarray:
    """Slices every `step` mm, linear between those at `depths` (mm, ascending from 0)."""
    wanted = np.arange(int(depths[-1] / step + 1e-3) + 1) * step
    before = np.clip(np.searchsorted(depths, wanted, side="right") - 1, 0, len(depths) - 2)
    part = ((wanted - depths[before]) / np.diff(depths)[before])[:, None, None].astype(np.float32)
    return slices[before] * (1 - part) + slices[before + 1] * part
