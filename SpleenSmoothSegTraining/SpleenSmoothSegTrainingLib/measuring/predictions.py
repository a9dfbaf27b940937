"""Predicted masks on disk; each file has a digest of its model and CT, so that it is used again only for these."""

import contextlib
import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.io.atomic import atomic_write
from SpleenSmoothSegLib.io.digest import sha256_of
from SpleenSmoothSegLib.io.images import read_image
from SpleenSmoothSegLib.io.writing import write_mask

NOTE = "ITK_FileNotes"  # ITK's name for the description in the header of a NIfTI file
IGNORED_KEYS = ("name", "description", "training", "metrics", "folds")  # of a model card; all others affect the masks


def prediction_path(folder: Path, case: str, predicted_by: str) -> Path:
    """The file of the mask of a case by "fold K" or "ensemble"."""
    return Path(folder) / f"{case}_{predicted_by.replace(' ', '_')}.nii.gz"


def mask_origin(card: dict, networks: Sequence[int], ct: sitk.Image) -> str:
    """A digest of everything that determines a mask: weights, settings of the model, and CT."""
    used = {key: value for key, value in card.items() if key not in IGNORED_KEYS}
    weights = [card["folds"][number]["sha256"] for number in networks]
    grid = [ct.GetSize(), ct.GetSpacing(), ct.GetOrigin(), ct.GetDirection(), ct.GetPixelIDTypeAsString()]
    text = json.dumps([used, weights, grid], sort_keys=True).encode()
    return sha256_of(chain([text], (each.tobytes() for each in sitk.GetArrayViewFromImage(ct))))


def cached_mask(path: Path, origin: str, ct: sitk.Image, predict: Callable[[], sitk.Image]) -> sitk.Image:
    """The mask in a file if it has this origin, else the result of `predict`, which is saved there.

    Raises UserError if the file cannot be written.
    """
    if path.is_file():
        with contextlib.suppress(UserError):  # damaged: predict again
            found = read_image(path)
            if found.HasMetaDataKey(NOTE) and found.GetMetaData(NOTE).strip() == origin and same_grid(found, ct):
                return found
    mask = sitk.Cast(predict(), sitk.sitkUInt8)
    mask.SetMetaData(NOTE, origin)
    with atomic_write(path) as temporary:
        write_mask(mask, temporary)
    return mask
