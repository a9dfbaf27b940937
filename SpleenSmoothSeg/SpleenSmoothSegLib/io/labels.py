"""Reading of a labelmap, for training and for soft labels alike."""

from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..errors import UserError
from .images import read_image


def read_label(path: Path | str) -> sitk.Image:
    """The labelmap in a file, on its own grid, with whole numbers as values.

    Raises:
        UserError: the file is missing or unreadable, has several values per voxel, or has fractional values.
    """
    label = read_image(path)
    if label.GetNumberOfComponentsPerPixel() != 1:
        raise UserError(f'The label "{path}" is a color or vector image; save it as a labelmap.')
    voxels = sitk.GetArrayViewFromImage(label)
    if voxels.dtype.kind == "f" and not np.array_equal(voxels, np.rint(voxels)):
        raise UserError(f'The label "{path}" has fractional values; if it was resampled, use nearest neighbor.')
    return label
