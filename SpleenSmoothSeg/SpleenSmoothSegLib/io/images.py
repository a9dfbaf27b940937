"""Reading a CT from a file or a DICOM folder, and the checks that every door makes before any work."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..callbacks import Warn
from ..errors import UserError
from ..geometry.slices import SOFT_TISSUE_HU
from . import nifti
from .dicom import read_ct_series
from .sitkio import itk_name, silence_itk

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
SHORTEST_MM, LONGEST_MM = 10.0, 10_000.0  # of the longest side of a CT; beyond them the spacing is wrong


def read_image(path: Path | str, warn: Warn = lambda sentence: None) -> sitk.Image:
    """The image in a file, or the CT in a folder of DICOM files.

    A fourth axis of one voxel is left out. `warn` is told what had to be chosen or mended, one sentence each.

    Raises:
        UserError: it is not there, is damaged or cannot be read.
        MemoryError: it is larger than the memory.
    """
    path = Path(path)
    check_readable(path)
    with _explained(path):
        image = read_ct_series(path, warn) if path.is_dir() else _read_file(path)
    return image[:, :, :, 0] if image.GetDimension() == 4 and image.GetSize()[3] == 1 else image


def check_readable(path: Path) -> None:
    """Raise UserError unless `path` is a file or a folder that can be opened."""
    itk_name(path)
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            path.open("rb").close()
    except FileNotFoundError as error:
        raise UserError(f'"{path}" does not exist; check the path.') from error
    except OSError as error:
        raise UserError(f'"{path}" cannot be opened ({(error.strerror or str(error)).lower()}).') from error


def check_ct(image: sitk.Image, name: object = "The input") -> None:
    """Raise UserError, one sentence, unless `image` is a scalar 3D image that holds a body in Hounsfield units."""
    if image.GetDimension() != 3 or image.GetNumberOfPixels() == 0:
        raise UserError(f'"{name}" is not a 3D volume ({image.GetDimension()}D); give the whole CT series.')
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f'"{name}" is a color or vector image, not a CT; give the CT itself.')
    if min(image.GetSize()) < 2:
        raise UserError(f'"{name}" has only one slice; give the whole CT series (of DICOM files: their folder).')
    longest = max(np.multiply(image.GetSize(), image.GetSpacing()))
    if not SHORTEST_MM <= longest <= LONGEST_MM:
        raise UserError(f'"{name}" would be {longest:.3g} mm long; correct its voxel spacing, which is in mm.')
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.dtype.kind not in "iuf":
        raise UserError(f'"{name}" holds {image.GetPixelIDTypeAsString()}, not Hounsfield units; give a CT.')
    lowest, highest = float(voxels.min()), float(voxels.max())
    if not np.isfinite([lowest, highest]).all():
        raise _not_finite(name)
    if lowest == highest:
        raise UserError(f'"{name}" holds the value {lowest:g} everywhere; give a CT.')
    # Air is about -1000 HU, and every CT of a trunk holds some, in the lungs, in the bowel or around the patient.
    if lowest > -100 or highest < SOFT_TISSUE_HU:
        raise UserError(
            f'"{name}" does not look like a CT in Hounsfield units (its values go from {lowest:g} to {highest:g}); '
            "give a CT with its rescale slope and intercept applied."
        )


def image_name(path: Path) -> str:
    """The name of a CT without its suffixes."""
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)] or path.resolve().name


def _read_file(path: Path) -> sitk.Image:
    if path.stat().st_size == 0:
        raise UserError(f'"{path}" is empty; copy or export it again.')
    trouble = nifti.find_defect(path) if path.name.lower().endswith(nifti.NIFTI_SUFFIXES) else None
    if trouble == "incomplete":
        raise UserError(f'"{path}" is damaged or incomplete; copy or export it again.')
    if trouble == "not finite":
        raise _not_finite(path)
    with silence_itk():  # whether anything else is an image is for ITK to say
        return sitk.ReadImage(itk_name(path))


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say in a sentence what ITK says in a RuntimeError."""
    try:
        yield
    except RuntimeError as error:
        if any(word in str(error).lower() for word in ("allocat", "out of memory")):
            raise MemoryError from error
        if "orthonormal" in str(error):
            raise UserError(
                f'The axes of "{path}" are not at right angles, as after a gantry tilt; resample it first, for example '
                "with Crop Volume in 3D Slicer."
            ) from error
        kinds = "NIfTI, NRRD, MetaImage or a folder of DICOM files"
        raise UserError(f'"{path}" cannot be read; copy it again if it is damaged, or give a CT as {kinds}.') from error


def _not_finite(name: object) -> UserError:
    return UserError(f'"{name}" holds voxels that are not a number or infinite; replace them (with -1024) first.')
