"""Reading of a CT from a file or a DICOM folder, and the checks of a CT before any processing."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..callbacks import Warn
from ..errors import UserError, reason_of
from ..geometry.slices import SOFT_TISSUE_HU
from . import nifti
from .dicom import read_ct_series
from .sitkio import itk_name, silence_itk

IMAGE_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd")
SHORTEST_MM, LONGEST_MM = 10.0, 10_000.0  # longest side of a CT; outside this range the spacing is wrong


def read_image(path: Path | str, warn: Warn = lambda message: None) -> sitk.Image:
    """Read an image file, or the CT in a folder of DICOM files.

    A fourth axis of length 1 is dropped. `warn` receives one message per choice made or problem corrected.

    Raises:
        UserError: the file is missing, damaged or unreadable.
        MemoryError: the image does not fit in memory.
    """
    path = Path(path)
    check_readable(path)
    with _itk_errors_translated(path):
        image = read_ct_series(path, warn) if path.is_dir() else _read_file(path)
    return image[:, :, :, 0] if image.GetDimension() == 4 and image.GetSize()[3] == 1 else image


def check_readable(path: Path) -> None:
    """Raise UserError unless `path` is a file or folder that can be opened."""
    itk_name(path)
    try:
        if path.is_dir():
            next(path.iterdir(), None)
        else:
            path.open("rb").close()
    except FileNotFoundError as error:
        raise UserError(f'"{path}" does not exist; check the path.') from error
    except OSError as error:
        raise UserError(
            f'"{path}" cannot be opened ({reason_of(error)}); check the path and its permissions.'
        ) from error


def check_ct(image: sitk.Image, name: object = "The input") -> None:
    """Raise UserError unless `image` is a scalar 3D CT in Hounsfield units; `name` is shown in the message."""
    if image.GetDimension() != 3 or image.GetNumberOfPixels() == 0:
        raise UserError(f'"{name}" is not a 3D volume ({image.GetDimension()}D); use the whole CT series.')
    if image.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f'"{name}" is a color or vector image; use a CT.')
    if min(image.GetSize()) < 2:
        raise UserError(f'"{name}" has only one slice; use the whole CT series (for DICOM, its folder).')
    longest = max(np.multiply(image.GetSize(), image.GetSpacing()))
    if not SHORTEST_MM <= longest <= LONGEST_MM:
        raise UserError(f'"{name}" is {longest:.3g} mm long, so its voxel spacing is wrong; correct it (in mm).')
    voxels = sitk.GetArrayViewFromImage(image)
    if voxels.dtype.kind not in "iuf":
        raise UserError(
            f'"{name}" has voxels of type {image.GetPixelIDTypeAsString()}, not Hounsfield units; use a CT.'
        )
    lowest, highest = float(voxels.min()), float(voxels.max())
    if not np.isfinite([lowest, highest]).all():
        raise _not_finite(name)
    if lowest == highest:
        raise UserError(f'"{name}" has the value {lowest:g} in every voxel; use a CT.')
    # Air is about -1000 HU, and every CT of a trunk contains some in the lungs, in the bowel or around the patient.
    if lowest > -100 or highest < SOFT_TISSUE_HU:
        raise UserError(
            f'"{name}" does not look like a CT in Hounsfield units (values range from {lowest:g} to {highest:g}); '
            "use a CT with rescale slope and intercept applied."
        )


def image_name(path: Path) -> str:
    """File or folder name of an image without its suffixes."""
    suffix = next((suffix for suffix in IMAGE_SUFFIXES if path.name.lower().endswith(suffix)), "")
    return path.name[: len(path.name) - len(suffix)] or path.resolve().name


def _read_file(path: Path) -> sitk.Image:
    if path.stat().st_size == 0:
        raise UserError(f'"{path}" is empty; copy or export it again.')
    defect = nifti.find_defect(path) if path.name.lower().endswith(nifti.NIFTI_SUFFIXES) else None
    if defect == "incomplete":
        raise UserError(f'"{path}" is damaged or incomplete; copy or export it again.')
    if defect == "not finite":
        raise _not_finite(path)
    with silence_itk():  # ITK reports any other defect
        return sitk.ReadImage(itk_name(path))


@contextlib.contextmanager
def _itk_errors_translated(path: Path) -> Iterator[None]:
    """Convert ITK's RuntimeError to UserError or MemoryError."""
    try:
        yield
    except RuntimeError as error:
        if any(word in str(error).lower() for word in ("allocat", "out of memory")):
            raise MemoryError from error
        if "orthonormal" in str(error):
            raise UserError(
                f'The axes of "{path}" are not perpendicular, possibly due to gantry tilt; resample it first, for '
                "example with Crop Volume in 3D Slicer."
            ) from error
        formats = "NIfTI, NRRD, MetaImage or a DICOM folder"
        raise UserError(f'"{path}" cannot be read; if it is damaged, copy it again, or use {formats}.') from error


def _not_finite(name: object) -> UserError:
    return UserError(f'"{name}" has NaN or infinite voxels; replace them (for example with -1024) first.')
