"""Writing of masks and maps: ``.seg.nrrd``, which Slicer opens as a segmentation, or a single-file image format."""

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from . import nifti, terminology
from .atomic import atomic_write
from .sitkio import itk_name, silence_itk

SEGMENTATION_SUFFIX = ".seg.nrrd"
OUTPUT_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha")


@contextlib.contextmanager
def atomic_writes(paths: Iterable[Path]) -> Iterator[dict[Path, Path]]:
    """`atomic_write` for several paths: yield the temporary path of each; on an error, all and new folders are removed.

    Raises UserError if a location is not writable.
    """
    paths = list(paths)
    new_folders = {folder for path in paths for folder in path.parents if not folder.exists()}
    try:
        with contextlib.ExitStack() as stack:
            yield {path: stack.enter_context(atomic_write(path)) for path in paths}
    except BaseException:
        for folder in sorted(new_folders, key=lambda folder: -len(folder.parts)):
            with contextlib.suppress(OSError):  # not created yet, or contains someone else's files
                folder.rmdir()
        raise


def write_mask(mask: sitk.Image, path: Path, compressed: bool = True) -> None:
    """Write a mask: as a segmentation if the name ends in ".seg.nrrd", else as a labelmap image.

    Uncompressed files are faster to write and read; ".nii.gz" is always compressed.

    Raises:
        UserError: unsupported suffix.
        OSError: the location is not writable or the disk is full; a partial file may remain.
    """
    if path.name.lower().endswith(SEGMENTATION_SUFFIX):
        _write_segmentation(mask, path, compressed)
    else:
        write_image(mask, path, compressed)


def write_image(image: sitk.Image, path: Path, compressed: bool = True) -> None:
    """Write an image, compressed if the format supports it; raises like `write_mask`."""
    check_suffix(path)
    with silence_itk():
        try:
            sitk.WriteImage(image, itk_name(path), useCompression=compressed)
        except RuntimeError as error:  # raised by ITK for a full disk and a read-only folder, without the reason
            raise OSError(_reason(path.parent)) from error
    if path.name.endswith(nifti.NIFTI_SUFFIXES) and nifti.find_defect(path):
        raise OSError(_reason(path.parent))


def check_suffix(path: Path) -> None:
    """Raise UserError unless `path` has the suffix of an image format that stores the grid in the same file.

    Lowercase only: for uppercase suffixes ITK writes to another file or none.
    """
    if not (path.name.endswith(OUTPUT_SUFFIXES) or path.name.lower().endswith(SEGMENTATION_SUFFIX)):
        raise UserError(f'"{path}" has an unsupported suffix; use {SEGMENTATION_SUFFIX} or .nii.gz.')


def _write_segmentation(mask: sitk.Image, path: Path, compressed: bool) -> None:
    import slicerio

    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, :3] = np.reshape(mask.GetDirection(), (3, 3)) * mask.GetSpacing()
    ijk_to_lps[:3, 3] = mask.GetOrigin()
    segment = {
        "id": terminology.NAME,
        "name": terminology.NAME,
        "color": list(terminology.COLOR),
        "labelValue": 1,
        "layer": 0,
        "extent": [index for size in mask.GetSize() for index in (0, size - 1)],
        "terminology": terminology.TERMINOLOGY,
    }
    segmentation = {
        "voxels": sitk.GetArrayFromImage(mask).transpose(),
        "ijkToLPS": ijk_to_lps,
        "containedRepresentationNames": ["Binary labelmap"],
        "segments": [segment],
    }
    slicerio.write_segmentation(str(path), segmentation, compression_level=6 if compressed else 0)


def _reason(folder: Path) -> str:
    if not os.access(folder, os.W_OK):
        return "the folder is read-only"
    return "the disk is full" if shutil.disk_usage(folder).free < 1_000_000 else "the image writer failed"
