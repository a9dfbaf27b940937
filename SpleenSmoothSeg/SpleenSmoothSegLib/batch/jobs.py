"""The jobs of a command line: each CT with its output files, checked before any work."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError, reason_of
from ..io.atomic import check_writable, nearest_existing
from ..io.dicom import ct_folders
from ..io.images import IMAGE_SUFFIXES, check_readable, image_name
from ..io.sitkio import itk_name
from ..io.writing import check_suffix

SPLEEN, PROBABILITY, UNCERTAINTY, OVERLAY = "_spleen", "_probability", "_uncertainty", ".png"
COMPRESSED, UNCOMPRESSED = ".nii.gz", ".nrrd"  # maps
# Names of output files, which are not CTs.
NOT_CTS = (".seg.nrrd", *(name + end for name in (PROBABILITY, UNCERTAINTY) for end in (COMPRESSED, UNCOMPRESSED)))


@dataclass(frozen=True)
class Job:
    """One CT and its output files, None where not requested. `title` is its short name in messages."""

    ct: Path
    title: str
    segmentation: Path
    overlay: Path | None = None
    probability: Path | None = None
    uncertainty_map: Path | None = None
    label: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        return [path for path in (self.segmentation, self.overlay, self.probability, self.uncertainty_map) if path]

    def files(self) -> dict[str, str | None]:
        """The output files by the names they have in JSON."""
        names = ("segmentation", "overlay", "probability", "uncertainty_map")
        return {name: str(path) if (path := getattr(self, name)) else None for name in names}


@dataclass(frozen=True)
class OutputOptions:
    """Which files to write for each CT.

    Attributes:
        overlay: a PNG with the contour.
        probability, uncertainty_map: maps, NIfTI if compressed, else NRRD.
        overwrite: replace existing files.
    """

    overlay: bool = True
    probability: bool = False
    uncertainty_map: bool = False
    compressed: bool = True
    overwrite: bool = False


def plan_jobs(
    given: list[Path],
    output: Path,
    label: Path | None = None,
    options: OutputOptions = OutputOptions(),
) -> list[Job]:
    """The jobs for the CTs `given`, each a file, a DICOM folder or a folder of CTs.

    `output` is a file for one CT if it has an image suffix, else a folder, where every CT gets its own name.

    Raises:
        UserError: a CT or label does not exist, two CTs would have the same outputs, an output would replace a CT or
            exists and may not be overwritten, or its folder is not writable.
    """
    cts = _named_cts(given)
    into_file = output.name.lower().endswith(IMAGE_SUFFIXES) and not output.is_dir()
    if into_file:
        check_suffix(output)
    if len(cts) > 1 and (into_file or label):
        raise UserError(f"{len(cts)} CTs were given; give a folder after -o and no --label, or one CT.")
    if label:
        check_readable(label)
    map_suffix = COMPRESSED if options.compressed else UNCOMPRESSED
    jobs = []
    for ct, name in cts.items():
        segmentation = output if into_file else output / f"{name}{SPLEEN}.seg.nrrd"
        stem = re.sub(r"\.seg$", "", image_name(segmentation), flags=re.IGNORECASE)
        jobs.append(
            Job(
                ct,
                ct.name if ct.is_file() else name,
                segmentation,
                overlay=segmentation.with_name(stem + OVERLAY) if options.overlay else None,
                probability=segmentation.with_name(stem + PROBABILITY + map_suffix) if options.probability else None,
                uncertainty_map=segmentation.with_name(stem + UNCERTAINTY + map_suffix)
                if options.uncertainty_map
                else None,
                label=label,
            )
        )
    _check_outputs(jobs, options.overwrite)
    return jobs


def find_cts(folder: Path) -> list[Path]:
    """The CTs in a folder: its image files, and itself and its subfolders that hold a DICOM series of a CT.

    Hidden files and output files of this program are skipped.
    """
    check_readable(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and _is_ct_name(path.name.lower()))
    return files + ct_folders(folder)


def _is_ct_name(name: str) -> bool:
    return name.endswith(IMAGE_SUFFIXES) and not name.endswith(NOT_CTS) and not name.startswith(".")


def _named_cts(given: list[Path]) -> dict[Path, str]:
    """Each CT once, with a unique name: duplicate names are prefixed with the names of parent folders."""
    names: dict[Path, str] = {}
    above: dict[Path, list[str]] = {}
    seen = set()
    for path in given:
        check_readable(path)
        found = (find_cts(path) or [path]) if path.is_dir() else [path]
        for ct in found:
            if ct.resolve() in seen:
                continue
            seen.add(ct.resolve())
            top, name = ct, image_name(ct)
            if ct.is_dir():  # named after the given folder, and the subfolders if it holds several CTs
                below = ct.relative_to(path).parts if len(found) > 1 else ()
                top, name = path, "_".join([path.resolve().name, *below])
            names[ct] = name
            above[ct] = [folder.name for folder in top.resolve().parents]
    while duplicates := _duplicates(names):
        for ct in duplicates:
            if not above[ct]:
                raise UserError(f'"{ct}" would have the same output files as another CT; segment them one at a time.')
            names[ct] = f"{above[ct].pop(0)}_{names[ct]}"
    return names


def _duplicates(names: dict[Path, str]) -> list[Path]:
    """The CTs whose names are not unique, ignoring case."""
    counts = Counter(name.casefold() for name in names.values())
    return [ct for ct, name in names.items() if counts[name.casefold()] > 1]


def _check_outputs(jobs: list[Job], overwrite: bool) -> None:
    inputs = {_identity(path) for job in jobs for path in (job.ct, job.label) if path}
    outputs = [path for job in jobs for path in job.outputs]
    for path in outputs:
        itk_name(path)
        if not _exists(path):
            continue
        if _identity(path) in inputs:
            raise UserError(f'The output would replace "{path}", which is an input; give another name after -o.')
        if path.is_dir():
            raise UserError(f'"{path}" is a folder; give another name after -o.')
        if not overwrite:
            raise UserError(f'"{path}" already exists; add --overwrite to replace it, or give another name after -o.')
    for folder in {path.parent for path in outputs}:
        existing = nearest_existing(folder)
        if not existing.is_dir():
            raise UserError(f'"{existing}" is a file, not a folder; give another place after -o.')
        check_writable(existing)


def _identity(path: Path) -> tuple[int, int]:
    """Equal for two paths of the same file."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _exists(path: Path) -> bool:
    try:
        (nearest_existing(path.parent) / path.name).exists()  # raises if the disk does not support such a name
        return path.exists()
    except OSError as error:  # or if the folder may not be read
        raise UserError(f'"{path}" cannot be written ({reason_of(error)}); choose another place.') from error
