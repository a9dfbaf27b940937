"""Cache of the CTs' slices on disk, memory-mapped, so that no epoch waits for NIfTI.

An entry's key is a digest of the content of its files and of the slice format: a renamed or moved CT has the same
entry, an edited label another. Trainings can share a cache: files are written atomically, with equal content.
"""

import json
import os
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.border.kernels import Border, soften
from SpleenSmoothSegLib.callbacks import Warn
from SpleenSmoothSegLib.errors import UserError, reason_of
from SpleenSmoothSegLib.geometry.slices import SliceFormat, axial_grid, ct_slices, label_slices
from SpleenSmoothSegLib.io.atomic import atomic_write
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegLib.io.digest import sha256_of

SLICE_VERSION = 1  # to be raised when the content of an entry changes
HEADERS = (".mhd", ".nhdr")  # formats with voxels in a separate file
VOXELS_IN = re.compile(rb"^(?:ElementDataFile\s*=|data ?file:)\s*(.*?)\s*$", re.IGNORECASE | re.MULTILINE)
Images = tuple[sitk.Image, sitk.Image]  # CT and label


@dataclass(frozen=True)
class Slices:
    """The axial slices of one case on the network's grid, memory-mapped.

    Attributes:
        name: of the case.
        spacing: (slice, row, column) in mm.
        ct: float16 in [0, 1], (slice, row, column), from inferior to superior.
        label: bool, (slice, row, column).
        soft: float16 in [0, 1], (slice, row, column): the soft label; `label` itself for the border "none".
    """

    name: str
    spacing: tuple[float, float, float]
    ct: np.ndarray
    label: np.ndarray
    soft: np.ndarray

    @property
    def with_spleen(self) -> np.ndarray:
        """bool (slice,): which slices contain spleen."""
        return self.label.any(axis=(1, 2))


class _Entry(NamedTuple):
    """The content of a cache entry."""

    spacing: tuple[float, float, float]
    ct: np.ndarray
    label: np.ndarray
    notes: dict | None


class SliceCache:
    """A folder of slices.

    Args:
        folder: created if missing; by default the user's cache folder.
        warn: called for each damaged entry.
    """

    def __init__(self, folder: Path | None = None, warn: Warn = lambda message: None):
        self.folder, self._warn = Path(folder or default_folder()), warn

    def slices(self, case: Case, slice_format: SliceFormat, border: Border) -> Slices:
        """The slices of a case, from the cache or else from its files, and then added to the cache.

        Raises UserError if the case cannot be read or the cache cannot be written.
        """
        key = self._key(case, slice_format)
        entry = self._load(key) or self._write(key, case, slice_format, case.read(), notes=None)
        soft = entry.label
        if border != Border("none"):
            soft = self._soft(key, entry, border)
        return Slices(case.name, entry.spacing, entry.ct, entry.label, soft)

    def add(self, case: Case, slice_format: SliceFormat, images: Images, notes: dict) -> None:
        """Write the slices of a case whose CT and label are read already, with notes about it."""
        self._write(self._key(case, slice_format), case, slice_format, images, notes)

    def notes(self, case: Case, slice_format: SliceFormat) -> dict | None:
        """The notes that were added with the slices of a case; None if these are missing or damaged."""
        entry = self._load(self._key(case, slice_format))
        return entry and entry.notes

    def _key(self, case: Case, slice_format: SliceFormat) -> str:
        """The name of the case's entry, whatever the number of channels and their distance."""
        window = [float(hu) for hu in slice_format.window]
        grid = {"size": slice_format.size, "spacing": float(slice_format.spacing), "window": window}
        label_of = {name: value for name, value in sorted(vars(case).items()) if name not in ("name", "image", "label")}
        text = json.dumps([SLICE_VERSION, grid, label_of], default=str)
        return sha256_of("".join([text, *map(_content_digest, (case.image, case.label))]).encode())[:32]

    def _write(self, key: str, case: Case, slice_format: SliceFormat, images: Images, notes: dict | None) -> _Entry:
        ct_image, label_image = images
        grid = axial_grid(ct_image, slice_format)
        arrays = {
            "ct": ct_slices(ct_image, grid, slice_format.window).astype(np.float16),
            "label": label_slices(label_image, grid, case.spleen),
        }
        sums = {name: self._save(f"{key}.{name}.npy", array) for name, array in arrays.items()}
        record: dict[str, Any] = {
            "spacing": [float(length) for length in grid.spacing[::-1]],
            "sha256": sums,
            "notes": notes,
        }
        record["checksum"] = _text_digest(record)
        with atomic_write(self.folder / f"{key}.json") as temporary:  # last: this completes the entry
            temporary.write_text(json.dumps(record), encoding="utf-8")
        entry = self._load(key)
        if entry is None:
            raise UserError(
                f'The cache "{self.folder}" lost what was written to it; choose another folder with --cache.'
            )
        return entry

    def _load(self, key: str) -> _Entry | None:
        try:
            record = json.loads((self.folder / f"{key}.json").read_text(encoding="utf-8"))
            if record.pop("checksum") != _text_digest(record):
                raise ValueError(f"{key}.json differs from its checksum")
            ct, label = (self._open(f"{key}.{name}.npy", record["sha256"][name]) for name in ("ct", "label"))
            return _Entry(tuple(record["spacing"]), ct, label, record["notes"])
        except FileNotFoundError:
            return None
        except (ValueError, LookupError, TypeError, AttributeError, OSError, EOFError) as error:
            self._warn(f'The cached slices "{key}" in "{self.folder}" are damaged ({error}); reading the CT again.')
            return None

    def _soft(self, key: str, entry: _Entry, border: Border) -> np.ndarray:
        stem = f"{key}.{str(border).replace(':', '_')}"
        try:
            sha256 = (self.folder / f"{stem}.sha256").read_text(encoding="utf-8")
            return self._open(f"{stem}.npy", sha256)
        except FileNotFoundError:
            pass
        except (ValueError, OSError, EOFError):
            self._warn(f'The cached soft labels "{stem}" in "{self.folder}" are damaged; computing them again.')
        soft = soften(np.asarray(entry.label), entry.spacing, border).astype(np.float16)
        sha256 = self._save(f"{stem}.npy", soft)
        with atomic_write(self.folder / f"{stem}.sha256") as temporary:
            temporary.write_text(sha256, encoding="utf-8")
        return self._open(f"{stem}.npy", sha256)

    def _save(self, name: str, array: np.ndarray) -> str:
        """Write an array; returns its checksum."""
        with atomic_write(self.folder / name) as temporary:
            np.save(temporary, array)
            return sha256_of(temporary)

    def _open(self, name: str, sha256: str) -> np.ndarray:
        """The array in a file, memory-mapped; raises ValueError if it differs from its checksum."""
        path = self.folder / name
        if sha256_of(path) != sha256:
            raise ValueError(f"{name} differs from its checksum")
        return np.load(path, mmap_mode="r", allow_pickle=False)


def default_folder() -> Path:
    """The user's cache folder, outside of Slicer and of the results, or the one in SPLEENSMOOTHSEG_CACHE."""
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


def _content_digest(path: Path) -> str:
    """A digest of all files of an image, whatever their names; raises UserError if one cannot be read."""
    try:
        return sha256_of("".join(sorted(map(sha256_of, _files_of(path)))).encode())
    except OSError as error:
        raise UserError(
            f'"{error.filename or path}" cannot be read ({reason_of(error)}); check that it exists.'
        ) from error


def _files_of(path: Path) -> list[Path]:
    """The file itself, a header and its file of voxels, or the files of a DICOM folder."""
    if path.is_dir():
        return [file for file in path.rglob("*") if file.is_file()]
    if path.suffix.lower() not in HEADERS:
        return [path]
    match = VOXELS_IN.search(path.read_bytes())
    voxels = path.parent / os.fsdecode(match[1]) if match else path
    # A header may also list many files: then use all files of its folder.
    return [path, voxels] if voxels.is_file() else [file for file in path.parent.iterdir() if file.is_file()]


def _text_digest(record: dict) -> str:
    return sha256_of(json.dumps(record, sort_keys=True).encode())
