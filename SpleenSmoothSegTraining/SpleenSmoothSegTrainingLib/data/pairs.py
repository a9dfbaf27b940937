"""Match CTs and labels by the names of files and folders."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegLib.io.dicom import ct_folders
from SpleenSmoothSegLib.io.images import IMAGE_SUFFIXES, image_name
from SpleenSmoothSegLib.io.writing import SEGMENTATION_SUFFIX

from .segmentlabel import choose_value, place_on, read_segment

TWO_FOLDERS = (("imagesTr", "labelsTr"), ("images", "labels"))
LABEL_WORDS = ("label", "labels", "seg", "segmentation", "spleen", "mask")
Unmatched = dict[str, list[str]]  # problem: names of the CTs, labels or folders that have it
_LABEL_ENDINGS = (r"\.seg$", rf"[-_. ]({'|'.join(LABEL_WORDS)})$")


@dataclass(frozen=True)
class PairCase(Case):
    """A CT and its label: a labelmap, or a ``.seg.nrrd``, which may be cropped. `read_label` returns 1 in the spleen.

    `segment` is the name of the segment, or the label value, of the spleen where that is ambiguous.
    """

    segment: str | None = None

    def read_label(self) -> sitk.Image:
        if self._is_segmentation():
            return read_segment(self.label, self.segment)
        return choose_value(super().read_label(), self.segment, self.label)

    def on_grid_of(self, ct: sitk.Image, label: sitk.Image) -> sitk.Image | None:
        return place_on(label, ct) if self._is_segmentation() else super().on_grid_of(ct, label)

    def _is_segmentation(self) -> bool:
        return self.label.name.lower().endswith(SEGMENTATION_SUFFIX)


class NamedCT(NamedTuple):
    """The name of a case, and its CT: a file or a folder with a DICOM series."""

    name: str
    path: Path


class Pairs(NamedTuple):
    """Cases in the order of their names, and a sentence about what has no partner or several."""

    cases: list[PairCase]
    problems: list[str]


def find_pairs(folder: Path, segment: str | None = None) -> Pairs:
    """Find the labeled CTs of a folder; ``dataset.__doc__`` lists the layouts. Raises UserError if there are none."""
    for ct_folder, label_folder in TWO_FOLDERS:
        if (folder / ct_folder).is_dir() and (folder / label_folder).is_dir():
            named = _named(_image_files(folder / ct_folder)) + _dicom_cts(folder / ct_folder)
            cases, unmatched = _matched(named, _image_files(folder / label_folder))
            break
    else:
        if files := _image_files(folder):
            cts, labels = _split_by_kind(files)
            cases, unmatched = _matched(_named(cts) + _dicom_cts(folder), labels)
        else:
            cases, unmatched = _one_per_patient(folder)
    problems = _sentences(folder, unmatched)
    if not cases and not problems:
        raise UserError(
            f'"{folder}" has no labeled CTs in a known layout, such as {TWO_FOLDERS[0][0]} and '
            f"{TWO_FOLDERS[0][1]}; --help lists all layouts."
        )
    if not cases:
        raise UserError(problems[0])
    return Pairs([PairCase(ct.name, ct.path, label, segment=segment) for ct, label in cases], problems)


def _matched(cts: list[NamedCT], labels: list[Path]) -> tuple[list[tuple[NamedCT, Path]], Unmatched]:
    """Each CT with the only label of its name, and what has no partner or several."""
    ct_count = Counter(ct.name for ct in cts)
    labels_of: defaultdict[str, list[Path]] = defaultdict(list)
    without_ct: list[Path] = []
    for label in labels:
        name = next((name for name in _ct_names(label) if name in ct_count), None)
        (without_ct if name is None else labels_of[name]).append(label)
    unmatched = {
        "no label for": [name for name in ct_count if name not in labels_of],
        "no CT for": [label.name for label in without_ct],
        "several labels for": [name for name, found in labels_of.items() if len(found) > 1],
        "several CTs named": [name for name, count in ct_count.items() if count > 1],
    }
    clear = [ct for ct in sorted(cts) if ct_count[ct.name] == len(labels_of.get(ct.name, ())) == 1]
    return [(ct, labels_of[ct.name][0]) for ct in clear], unmatched


def _one_per_patient(folder: Path) -> tuple[list[tuple[NamedCT, Path]], Unmatched]:
    """The CT and the label in each folder; skips folders with neither."""
    cases, unmatched = [], defaultdict(list)
    for patient in _folders(folder):
        cts, labels = _split_by_kind(_image_files(patient))
        series = ct_folders(patient)
        if series and not labels:  # an image file beside a DICOM series is the label, whatever its name
            cts, labels = [], cts
        cts = cts + series
        for kind, found in (("CT", cts), ("label", labels)):
            if len(found) != 1 and (cts or labels):
                unmatched[f"{'several ' + kind + 's' if found else 'no ' + kind} in"].append(patient.name)
        if len(cts) == len(labels) == 1:
            cases.append((NamedCT(patient.name, cts[0]), labels[0]))
    return cases, unmatched


def _split_by_kind(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Split the files of one folder into CTs and labels.

    A label is named like another file plus a word for labels, or is such a word alone. So "ct_spleen" is a CT if
    there is a "ct_spleen_label" and no "ct".
    """
    names = {image_name(file) for file in files}
    partner = {file: next((name for name in _ct_names(file)[1:] if name in names), None) for file in files}
    has_label = set(partner.values())
    labels = [file for file in files if partner[file] or (_is_named_label(file) and image_name(file) not in has_label)]
    return [file for file in files if file not in labels], labels


def _ct_names(label: Path) -> list[str]:
    """Possible names of the CT of a label, the longest first: ct_spleen.seg, ct_spleen, ct."""
    names = [image_name(label)]
    for ending in _LABEL_ENDINGS:
        shorter = re.sub(ending, "", names[-1], flags=re.IGNORECASE)
        if shorter != names[-1]:
            names.append(shorter)
    return names


def _is_named_label(file: Path) -> bool:
    return len(_ct_names(file)) > 1 or image_name(file).casefold() in LABEL_WORDS


def _sentences(folder: Path, unmatched: Unmatched) -> list[str]:
    """One sentence about everything unmatched, or none."""
    parts = [f"{what} {', '.join(names)}" for what, names in unmatched.items() if names]
    return [f'"{folder}" has {", ".join(parts)}; give each CT one label, in a layout that --help lists.'] * bool(parts)


def _named(files: Iterable[Path]) -> list[NamedCT]:
    return [NamedCT(image_name(file), file) for file in files]


def _dicom_cts(folder: Path) -> list[NamedCT]:
    return [NamedCT(below.name, ct) for below in _folders(folder) for ct in ct_folders(below)]


def _image_files(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_file() and path.name.lower().endswith(IMAGE_SUFFIXES)]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    """The content of a folder without hidden files such as "._ct.nii.gz" of macOS."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
