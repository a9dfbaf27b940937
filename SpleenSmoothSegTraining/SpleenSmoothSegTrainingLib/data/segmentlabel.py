"""The spleen in a label: a labelmap with one or several values, or one segment of a ``.seg.nrrd``."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import Grid
from SpleenSmoothSegLib.io import terminology
from SpleenSmoothSegLib.io.images import check_readable

GRID_TOLERANCE = 0.01  # voxels; headers are rounded
MAX_NAMES = 10  # in a message


def choose_value(label: sitk.Image, wanted: str | None, path: Path) -> sitk.Image:
    """The mask (uint8, 0 and 1, same grid) of the value `wanted` of a labelmap, or of its only value besides 0.

    A `wanted` that is not a number is the name of a segment and is ignored for a labelmap.

    Raises:
        UserError: several values and none chosen, or the label lacks the chosen one.
    """
    voxels = sitk.GetArrayViewFromImage(label)
    values = np.unique(voxels[voxels != 0])
    number = int(wanted) if wanted is not None and wanted.isdecimal() else None
    if number is not None and len(values) and number not in values:
        raise UserError(f'The label "{path}" has no value {number}, only {_listed(values)}; choose one with --segment.')
    if number is None and len(values) > 1:
        raise UserError(
            f'The label "{path}" has {len(values)} values besides 0 ({_listed(values)}); '
            "choose the spleen's value with --segment."
        )
    return label == number if number is not None else label != 0


def read_segment(path: Path, wanted: str | None) -> sitk.Image:
    """The mask (uint8, 0 and 1) of the spleen in a ``.seg.nrrd``, on the segmentation's own grid.

    The spleen is the segment named `wanted`; without a name, the one with the terminology of a spleen, else the one
    named "spleen", else the only one. Case is ignored.

    Raises:
        UserError: the file is missing or damaged, or no segment or several segments match.
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
    except Exception as error:  # pynrrd and slicerio raise many types for a damaged file
        raise UserError(f'The segmentation "{path}" cannot be read; save it again in 3D Slicer.') from error


def place_on(mask: sitk.Image, ct: sitk.Image) -> sitk.Image | None:
    """The same mask on the grid of the CT, voxel by voxel; None if its voxels are not voxels of the CT.

    Slicer crops a segmentation to its segments when saving, and its axes may be flipped or permuted.
    """
    to_index = np.linalg.inv(_axes(ct))
    steps = to_index @ _axes(mask)  # in CT voxels per voxel of the mask
    start = to_index @ np.subtract(mask.GetOrigin(), ct.GetOrigin())
    drift = np.abs(steps - steps.round()) @ mask.GetSize() + np.abs(start - start.round())
    permutation = np.abs(steps.round())
    if drift.max() > GRID_TOLERANCE or (permutation.sum(axis=0) != 1).any() or (permutation.sum(axis=1) != 1).any():
        return None
    placed = sitk.Resample(mask, ct, sitk.Transform(), sitk.sitkNearestNeighbor, 0, sitk.sitkUInt8)
    placed_voxels, all_voxels = (np.count_nonzero(sitk.GetArrayViewFromImage(image)) for image in (placed, mask))
    return placed if placed_voxels == all_voxels else None


def _choose(segments: list[dict], wanted: str | None, path: Path) -> dict:
    def named(name: str) -> list[dict]:
        return [segment for segment in segments if segment.get("name", "").casefold() == name.casefold()]

    if not segments:
        raise UserError(f'The segmentation "{path}" has no segments; segment the spleen or remove the case.')
    code = terminology.CODE
    if wanted is not None:
        found = named(wanted)
    else:
        with_code = [segment for segment in segments if segment.get("terminology", {}).get("type", [])[:2] == code]
        found = with_code or named(terminology.NAME) or segments
    if not found:
        raise UserError(
            f'The segmentation "{path}" has no segment "{wanted}", only {_listed(_names(segments))}; '
            "choose one with --segment."
        )
    if len(found) > 1:
        raise UserError(
            f'The segmentation "{path}" has several segments that may be the spleen ({_listed(_names(found))}); '
            "choose one by name with --segment."
        )
    return found[0]


def _mask(segmentation: dict, number: int) -> sitk.Image:
    """The mask of the segment with that index; old versions of Slicer wrote each segment to a separate layer."""
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
    """Steps (LPS, mm) between voxels along column, row and slice, as the columns of a matrix."""
    return np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()


def _names(segments: list[dict]) -> list[str]:
    return [segment.get("name", "unnamed") for segment in segments]


def _listed(things: Iterable) -> str:
    texts = [f"{thing:g}" if isinstance(thing, np.number) else str(thing) for thing in things]
    more = f" and {len(texts) - MAX_NAMES} more" if len(texts) > MAX_NAMES else ""
    return ", ".join(texts[:MAX_NAMES]) + more
