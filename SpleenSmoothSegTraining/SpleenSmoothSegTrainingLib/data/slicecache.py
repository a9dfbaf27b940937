"""Slices cut from the CTs once and kept on disk, memory-mapped, so that no epoch waits for NIfTI.

An entry is found by the content of its files and by all that was done to them: a CT under another name, or in another
folder, is the same entry, and a changed label is another. Two trainings can share a cache: files appear whole, and both
would write the same.
"""

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.border.kernels import Border, soften
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import SliceFormat, axial_grid, ct_slices, label_slices
from SpleenSmoothSegLib.io.atomic import atomic_write
from SpleenSmoothSegLib.io.decathlon import Case

CUT_VERSION = 1  # another number after a change of what is cut
CHUNK = 1 << 22
HEADERS = (".mhd", ".nhdr")  # of images whose voxels are in another file
VOXELS_IN = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)

Say = Callable[[str], None]


@dataclass(frozen=True)
class Slices:
    """The axial slices of one case as the network sees them, memory-mapped.

    Attributes:
        name: of the case.
        spacing: (slice, row, column) in mm.
        ct: float16 in [0, 1], (slice, row, column), from the foot end.
        label: bool, (slice, row, column).
        soft: float16 in [0, 1], (slice, row, column): the label with a soft border; `label` itself without one.
    """

    name: str
    spacing: tuple[float, float, float]
    ct: np.ndarray
    label: np.ndarray
    soft: np.ndarray

    @property
    def with_spleen(self) -> np.ndarray:
        """bool (slice,): which slices hold spleen."""
        return self.label.any(axis=(1, 2))


class _Kept(NamedTuple):
    """An entry of the cache."""

    spacing: tuple[float, float, float]
    ct: np.ndarray
    label: np.ndarray
    notes: dict | None


class SliceCache:
    """A folder of cut slices.

    Args:
        folder: made where it is not there; the user's own cache folder by default.
        say: told in a sentence of an entry that was damaged.
    """

    def __init__(self, folder: Path | None = None, say: Say = lambda sentence: None):
        self.folder, self._say = Path(folder or default_folder()), say

    def slices(self, case: Case, slice_format: SliceFormat, border: Border) -> Slices:
        """The slices of a case; read, cut and kept where they are not there yet.

        Raises UserError where the case cannot be read, or the folder not be written to.
        """
        entry = self._entry(case, slice_format)
        kept = self._kept(entry) or self._cut(entry, case, slice_format, *case.read(), notes=None)
        soft = kept.label
        if border != Border("none"):
            soft = self._soft(entry, kept.label, kept.spacing, border)
        return Slices(case.name, kept.spacing, kept.ct, kept.label, soft)

    def keep(self, case: Case, slice_format: SliceFormat, ct: sitk.Image, label: sitk.Image, notes: dict) -> None:
        """Cut a case that has been read, and keep what was noted of it with its slices."""
        self._cut(self._entry(case, slice_format), case, slice_format, ct, label, notes)

    def notes(self, case: Case, slice_format: SliceFormat) -> dict | None:
        """What was noted of a case when its slices were kept; None where they are not there, or are damaged."""
        kept = self._kept(self._entry(case, slice_format))
        return kept and kept.notes

    def _entry(self, case: Case, slice_format: SliceFormat) -> str:
        """The name of the case's entry. Neighbors are put together later: their number and distance do not matter."""
        window = [float(hu) for hu in slice_format.window]
        seen = {"size": slice_format.size, "spacing": float(slice_format.spacing), "window": window}
        label_of = {name: value for name, value in sorted(vars(case).items()) if name not in ("name", "image", "label")}
        digest = hashlib.sha256(json.dumps([CUT_VERSION, seen, label_of], default=str).encode())
        for path in (case.image, case.label):
            digest.update(_content_digest(path))
        return digest.hexdigest()[:32]

    def _cut(self, entry: str, case: Case, slice_format: SliceFormat, ct_image, label_image, notes) -> "_Kept":
        grid = axial_grid(ct_image, slice_format)
        arrays = {
            "ct": ct_slices(ct_image, grid, slice_format.window).astype(np.float16),
            "label": label_slices(label_image, grid, case.spleen),
        }
        sums = {name: self._keep(f"{entry}.{name}.npy", array) for name, array in arrays.items()}
        told = {"spacing": [float(length) for length in grid.spacing[::-1]], "sha256": sums, "notes": notes}
        told["checksum"] = _text_digest(told)
        with atomic_write(self.folder / f"{entry}.json") as aside:  # last: an entry without it is no entry
            aside.write_text(json.dumps(told), encoding="utf-8")
        kept = self._kept(entry)
        if kept is None:
            raise UserError(f'The cache "{self.folder}" does not keep what is written to it; give another --cache.')
        return kept

    def _kept(self, entry: str) -> "_Kept | None":
        try:
            told = json.loads((self.folder / f"{entry}.json").read_text(encoding="utf-8"))
            if told.pop("checksum", None) not in (None, _text_digest(told)):  # None: of an earlier version
                raise ValueError(f"{entry}.json differs from its checksum")
            ct, label = (self._open(f"{entry}.{name}.npy", told["sha256"][name]) for name in ("ct", "label"))
            return _Kept(tuple(told["spacing"]), ct, label, told["notes"])
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, AttributeError, OSError, EOFError) as error:
            self._say(f'The cached slices "{entry}" in "{self.folder}" were damaged ({error}); they are cut again.')
            return None

    def _soft(self, entry: str, label: np.ndarray, spacing: tuple, border: Border) -> np.ndarray:
        stem = f"{entry}.{str(border).replace(':', '_')}"
        try:
            told = (self.folder / f"{stem}.sha256").read_text(encoding="utf-8")
            return self._open(f"{stem}.npy", told)
        except FileNotFoundError:
            pass
        except (ValueError, OSError, EOFError):
            self._say(f'The cached soft labels "{stem}" in "{self.folder}" were damaged; they are made again.')
        soft = soften(np.asarray(label), spacing, border).astype(np.float16)
        told = self._keep(f"{stem}.npy", soft)
        with atomic_write(self.folder / f"{stem}.sha256") as aside:
            aside.write_text(told, encoding="utf-8")
        return self._open(f"{stem}.npy", told)

    def _keep(self, name: str, array: np.ndarray) -> str:
        """Write an array; returns its checksum."""
        with atomic_write(self.folder / name) as aside:
            np.save(aside, array)
            return _file_digest(aside).hex()

    def _open(self, name: str, sha256: str) -> np.ndarray:
        """The array in a file, memory-mapped; raises ValueError where it differs from its checksum."""
        path = self.folder / name
        if _file_digest(path).hex() != sha256:
            raise ValueError(f"{name} differs from its checksum")
        return np.load(path, mmap_mode="r", allow_pickle=False)


def default_folder() -> Path:
    """The user's cache folder, outside of Slicer and of the results; SPLEENSMOOTHSEG_CACHE names another."""
    if given := os.environ.get("SPLEENSMOOTHSEG_CACHE"):
        return Path(given)
    home = Path.home()
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", home / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or home / ".cache")
    return base / "SpleenSmoothSeg" / "slices"


def _content_digest(path: Path) -> bytes:
    """Of all files of an image, whatever their names; raises UserError where one cannot be read."""
    try:
        return hashlib.sha256(b"".join(sorted(map(_file_digest, _files_of(path))))).digest()
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f'"{error.filename or path}" cannot be read ({reason}); check that it is there.') from error


def _files_of(path: Path) -> list[Path]:
    """The file itself, a header and that with its voxels, or the files of a DICOM folder."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    if path.suffix.lower() not in HEADERS:
        return [path]
    named = VOXELS_IN.search(path.read_bytes()[:CHUNK])
    voxels = path.parent / os.fsdecode(named[1]) if named else path
    # A header may also list many files: then any change beside it counts.
    return [path, voxels] if voxels.is_file() else [file for file in path.parent.iterdir() if file.is_file()]


def _text_digest(told: dict) -> str:
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


def _file_digest(path: Path) -> bytes:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.digest()
