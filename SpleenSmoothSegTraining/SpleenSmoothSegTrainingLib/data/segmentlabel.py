"""The spleen in a label as it comes: a labelmap of one or several values, or one segment of a ``.seg.nrrd``."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import Grid
from SpleenSmoothSegLib.io import terminology
from SpleenSmoothSegLib.io.images import check_readable

ON_LATTICE = 0.01  # voxels: headers round, and a label this far off is none the worse for it
MOST_NAMES = 10  # in a sentence


def choose_value(label: sitk.Image, wanted: str | None, path: Path) -> sitk.Image:
    """The mask (uint8, 0 and 1, same grid) of a labelmap's value `wanted`, or of the only one it has besides 0.

    A `wanted` that is no number names a segment; of a labelmap it chooses nothing.

    Raises:
        UserError: several values and none chosen, or the chosen one is not there.
    """
    voxels = sitk.GetArrayViewFromImage(label)
    values = np.unique(voxels[voxels != 0])
    number = int(wanted) if wanted is not None and wanted.isdecimal() else None
    if number is not None and len(values) and number not in values:
        raise UserError(f'The label "{path}" holds no {number} but {_listed(values)}; choose another with --segment.')
    if number is None and len(values) > 1:
        raise UserError(
            f'The label "{path}" holds {len(values)} values besides 0 ({_listed(values)}); '
            "choose that of the spleen by its number with --segment."
        )
    return label == number if number is not None else label != 0


def read_segment(path: Path, wanted: str | None) -> sitk.Image:
    """The mask (uint8, 0 and 1) of the spleen in a ``.seg.nrrd``, on the segmentation's own grid.

    It is the segment of the name `wanted`; without one, that with the terminology of a spleen, else that called
    "spleen", else the only one. Upper and lower case count the same.

    Raises:
        UserError: the file is not there or damaged, or none or several segments may be meant.
    """
    import slicerio

    check_readable(path)
    try:
        segmentation = slicerio.read_segmentation(str(path))
        segments = segmentation["segments"]
        number = segments.index(_choose(segments, wanted, path))
        return _mask(segmentation, number)
    except (UserError, MemoryError):
        raise
    except Exception as error:  # there is no end to what pynrrd and slicerio raise for a damaged file
        raise UserError(f'The segmentation "{path}" cannot be read; save it again in 3D Slicer.') from error


def place_on(mask: sitk.Image, ct: sitk.Image) -> sitk.Image | None:
    """The same mask on the grid of the CT, voxel for voxel; None where its voxels are not voxels of the CT.

    Slicer saves a segmentation cropped to what it holds, and its axes may run the other way.
    """
    to_index = np.linalg.inv(_axes(ct))
    steps = to_index @ _axes(mask)  # of the CT's voxels for one of the mask's
    start = to_index @ np.subtract(mask.GetOrigin(), ct.GetOrigin())
    drift = np.abs(steps - steps.round()) @ mask.GetSize() + np.abs(start - start.round())
    turns = np.abs(steps.round())
    if drift.max() > ON_LATTICE or (turns.sum(axis=0) != 1).any() or (turns.sum(axis=1) != 1).any():
        return None
    placed = sitk.Resample(mask, ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    kept, all_voxels = (np.count_nonzero(sitk.GetArrayViewFromImage(image)) for image in (placed, mask))
    return placed if kept == all_voxels else None


def _choose(segments: list[dict], wanted: str | None, path: Path) -> dict:
    def called(name: str) -> list[dict]:
        return [segment for segment in segments if segment.get("name", "").casefold() == name.casefold()]

    if not segments:
        raise UserError(f'The segmentation "{path}" holds no segment; segment the spleen or take the case out.')
    code = terminology.CODE
    if wanted is not None:
        found = called(wanted)
    else:
        with_code = [segment for segment in segments if segment.get("terminology", {}).get("type", [])[:2] == code]
        found = with_code or called(terminology.NAME) or segments
    if not found:
        raise UserError(
            f'The segmentation "{path}" has no segment "{wanted}" but {_listed(_names(segments))}; '
            "choose another with --segment."
        )
    if len(found) > 1:
        raise UserError(
            f'The segmentation "{path}" has several segments that may be the spleen ({_listed(_names(found))}); '
            "choose one by its name with --segment."
        )
    return found[0]


def _mask(segmentation: dict, number: int) -> sitk.Image:
    """The mask of the segment of that number; old versions of Slicer wrote each into a layer of its own."""
    segment, voxels = segmentation["segments"][number], segmentation["voxels"]
    if voxels.ndim == 4:
        voxels = voxels[segment.get("layer", number)]
    inside = voxels == segment.get("labelValue", 1)
    axes = segmentation["ijkToLPS"][:3, :3]
    spacing = np.linalg.norm(axes, axis=0)
    origin = segmentation["ijkToLPS"][:3, 3]
    grid = Grid(inside.shape, tuple(origin.tolist()), tuple(spacing.tolist()), tuple((axes / spacing).ravel().tolist()))
    return grid.with_voxels(inside.astype(np.uint8).transpose())


def _axes(image: sitk.Image) -> np.ndarray:
    """Steps (LPS, mm) from voxel to voxel along column, row and slice, one a column."""
    return np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()


def _names(segments: list[dict]) -> list[str]:
    return [segment.get("name", "without a name") for segment in segments]


def _listed(things: Iterable) -> str:
    texts = [f"{thing:g}" if isinstance(thing, np.number) else str(thing) for thing in things]
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more
