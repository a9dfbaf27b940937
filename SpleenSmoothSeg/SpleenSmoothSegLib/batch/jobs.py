"""What is to be done for a command line: each CT and the files that come of it, checked before any work."""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from ..io.atomic import check_writable, nearest_existing
from ..io.dicom import ct_folders
from ..io.images import IMAGE_SUFFIXES, check_readable, image_name
from ..io.sitkio import itk_name
from ..io.writing import check_suffix

SPLEEN, PROBABILITY, DISAGREEMENT, OVERLAY = "_spleen", "_probability", "_disagreement", ".png"
COMPRESSED, UNCOMPRESSED = ".nii.gz", ".nrrd"  # maps
# In a folder of CTs: what comes of one.
NO_CTS = (".seg.nrrd", *(name + end for name in (PROBABILITY, DISAGREEMENT) for end in (COMPRESSED, UNCOMPRESSED)))


@dataclass(frozen=True)
class Job:
    """One CT and the files that come of it; those that are not wanted are None. `title` is what a person calls it."""

    ct: Path
    title: str
    segmentation: Path
    overlay: Path | None = None
    probability: Path | None = None
    disagreement: Path | None = None
    label: Path | None = None

    @property
    def outputs(self) -> list[Path]:
        return [path for path in (self.segmentation, self.overlay, self.probability, self.disagreement) if path]


def plan_jobs(
    given: list[Path],
    output: Path,
    *,
    label: Path | None = None,
    overlay: bool = True,
    probability: bool = False,
    disagreement: bool = False,
    overwrite: bool = False,
    compressed: bool = True,
) -> list[Job]:
    """The jobs for the CTs `given`, each a file, a DICOM folder or a folder of CTs.

    `output` is a file for one CT if it ends as an image does, else a folder, where every CT has its own name. Maps are
    written as NIfTI or, not to be compressed, as NRRD.

    Raises:
        UserError: a CT or label is not there, two outputs are the same, one would replace a CT, one is there already
            and not to be overwritten, or their folder cannot be written to.
    """
    cts = _named_cts(given)
    into_file = output.name.lower().endswith(IMAGE_SUFFIXES) and not output.is_dir()
    if into_file:
        check_suffix(output)
    if len(cts) > 1 and (into_file or label):
        raise UserError(f"There are {len(cts)} CTs; give a folder after -o and no --label, or one CT.")
    if label:
        check_readable(label)
    map_suffix = COMPRESSED if compressed else UNCOMPRESSED
    jobs = []
    for ct, name in cts.items():
        segmentation = output if into_file else output / f"{name}{SPLEEN}.seg.nrrd"
        stem = re.sub(r"\.seg$", "", image_name(segmentation), flags=re.IGNORECASE)
        jobs.append(
            Job(
                ct,
                ct.name if ct.is_file() else name,
                segmentation,
                overlay=segmentation.with_name(stem + OVERLAY) if overlay else None,
                probability=segmentation.with_name(stem + PROBABILITY + map_suffix) if probability else None,
                disagreement=segmentation.with_name(stem + DISAGREEMENT + map_suffix) if disagreement else None,
                label=label,
            )
        )
    _check_outputs(jobs, overwrite)
    return jobs


def find_cts(folder: Path) -> list[Path]:
    """The CTs in a folder: its image files, and itself and the folders below it that hold a DICOM series of a CT.

    Hidden files and what this program makes of a CT are left out.
    """
    check_readable(folder)
    files = sorted(path for path in folder.iterdir() if path.is_file() and _is_ct_name(path.name.lower()))
    return files + ct_folders(folder)


def _is_ct_name(name: str) -> bool:
    return name.endswith(IMAGE_SUFFIXES) and not name.endswith(NO_CTS) and not name.startswith(".")


def _named_cts(given: list[Path]) -> dict[Path, str]:
    """Each CT once, with a name that no other has: folders above it are put before a name that two would have."""
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
            if ct.is_dir():  # named after the folder that was given, and the folders on the way if it holds several CTs
                below = ct.relative_to(path).parts if len(found) > 1 else ()
                top, name = path, "_".join([path.resolve().name, *below])
            names[ct] = name
            above[ct] = [folder.name for folder in top.resolve().parents]
    while twice := _same(names):
        for ct in twice:
            if not above[ct]:
                raise UserError(f'"{ct}" would have the same results as another CT; segment them one at a time.')
            names[ct] = f"{above[ct].pop(0)}_{names[ct]}"
    return names


def _same(names: dict[Path, str]) -> list[Path]:
    """The CTs whose names are taken twice, also where upper and lower case count the same."""
    counts = Counter(name.casefold() for name in names.values())
    return [ct for ct, name in names.items() if counts[name.casefold()] > 1]


def _check_outputs(jobs: list[Job], overwrite: bool) -> None:
    inputs = {_identity(path) for job in jobs for path in (job.ct, job.label) if path}
    outputs = [path for job in jobs for path in job.outputs]
    for path in outputs:
        itk_name(path)
        if not _is_there(path):
            continue
        if _identity(path) in inputs:
            raise UserError(f'The output would replace "{path}", which is to be read; give another name after -o.')
        if path.is_dir():
            raise UserError(f'"{path}" is a folder; give another name after -o.')
        if not overwrite:
            raise UserError(f'"{path}" is there already; add --overwrite to replace it, or give another after -o.')
    for folder in {path.parent for path in outputs}:
        there = nearest_existing(folder)
        if not there.is_dir():
            raise UserError(f'"{there}" is a file, so no folder can be there; give another place after -o.')
        check_writable(there)


def _identity(path: Path) -> tuple[int, int]:
    """What two paths of the same file have in common."""
    status = path.stat()
    return status.st_dev, status.st_ino


def _is_there(path: Path) -> bool:
    try:
        (nearest_existing(path.parent) / path.name).exists()  # asks whether the disk takes such a name
        return path.exists()
    except OSError as error:  # it does not, or nobody may look into the folder
        reason = (error.strerror or str(error)).lower()
        raise UserError(f'"{path}" cannot be written ({reason}); choose another place.') from error
