"""CTs and labels as people keep them: which files of a folder belong together."""

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
Trouble = dict[str, list[str]]  # what is the matter, with the names of whom
_LABEL_ENDINGS = (r"\.seg$", rf"[-_. ]({'|'.join(LABEL_WORDS)})$")


@dataclass(frozen=True)
class PairCase(Case):
    """A CT and its label: a labelmap, or a ``.seg.nrrd``, which may be cropped; what is read of it is 1 in the spleen.

    `segment` is the name of the segment, or the labelmap's value, that means spleen, where that is not plain.
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
    """A CT file or a folder with a DICOM series, and what its case is called."""

    name: str
    path: Path


class Pairs(NamedTuple):
    """CTs with their labels, in the order of their names; and a sentence on what has no partner, or several."""

    cases: list[PairCase]
    problems: list[str]


def find_pairs(folder: Path, segment: str | None = None) -> Pairs:
    """The labeled CTs of a folder; ``dataset.__doc__`` tells the layouts. Raises UserError where there are none."""
    for ct_folder, label_folder in TWO_FOLDERS:
        if (folder / ct_folder).is_dir() and (folder / label_folder).is_dir():
            named = _named(_image_files(folder / ct_folder)) + _dicom_cts(folder / ct_folder)
            cases, trouble = _matched(named, _image_files(folder / label_folder))
            break
    else:
        if files := _image_files(folder):
            cts, labels = _told_apart(files)
            cases, trouble = _matched(_named(cts) + _dicom_cts(folder), labels)
        else:
            cases, trouble = _one_a_patient(folder)
    problems = _sentences(folder, trouble)
    if not cases and not problems:
        raise UserError(
            f'"{folder}" holds no labeled CTs in a layout that is known, such as {TWO_FOLDERS[0][0]} and '
            f"{TWO_FOLDERS[0][1]}; --help shows them all."
        )
    if not cases:
        raise UserError(problems[0])
    return Pairs([PairCase(ct.name, ct.path, label, segment=segment) for ct, label in cases], problems)


def _matched(cts: list[NamedCT], labels: list[Path]) -> tuple[list[tuple[NamedCT, Path]], Trouble]:
    """Each CT with the one label of its name, and those of which there is another number."""
    ct_count = Counter(ct.name for ct in cts)
    labels_of: defaultdict[str, list[Path]] = defaultdict(list)
    without_ct: list[Path] = []
    for label in labels:
        name = next((name for name in _ct_names(label) if name in ct_count), None)
        (without_ct if name is None else labels_of[name]).append(label)
    trouble = {
        "no label for": [name for name in ct_count if name not in labels_of],
        "no CT for": [label.name for label in without_ct],
        "several labels for": [name for name, found in labels_of.items() if len(found) > 1],
        "several CTs called": [name for name, count in ct_count.items() if count > 1],
    }
    clear = [ct for ct in sorted(cts) if ct_count[ct.name] == len(labels_of.get(ct.name, ())) == 1]
    return [(ct, labels_of[ct.name][0]) for ct in clear], trouble


def _one_a_patient(folder: Path) -> tuple[list[tuple[NamedCT, Path]], Trouble]:
    """The one CT and the one label in each folder; folders without either are left out."""
    cases, trouble = [], defaultdict(list)
    for patient in _folders(folder):
        cts, labels = _told_apart(_image_files(patient))
        series = ct_folders(patient)
        if series and not labels:  # whatever it is called, what lies beside DICOM files is the label
            cts, labels = [], cts
        cts = cts + series
        for kind, found in (("CT", cts), ("label", labels)):
            if len(found) != 1 and (cts or labels):
                trouble[f"{'several ' + kind + 's' if found else 'no ' + kind} in"].append(patient.name)
        if len(cts) == len(labels) == 1:
            cases.append((NamedCT(patient.name, cts[0]), labels[0]))
    return cases, trouble


def _told_apart(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """CTs and labels among files side by side.

    A label is what is called like another file and a word for labels, or a word for labels alone. So "ct_spleen" is a
    CT if there is a "ct_spleen_label", and no "ct".
    """
    names = {image_name(file) for file in files}
    partner = {file: next((name for name in _ct_names(file)[1:] if name in names), None) for file in files}
    has_label = set(partner.values())
    labels = [file for file in files if partner[file] or (_is_called_label(file) and image_name(file) not in has_label)]
    return [file for file in files if file not in labels], labels


def _ct_names(label: Path) -> list[str]:
    """What the CT of a label may be called, most like the label first: ct_spleen.seg, ct_spleen, ct."""
    names = [image_name(label)]
    for ending in _LABEL_ENDINGS:
        shorter = re.sub(ending, "", names[-1], flags=re.IGNORECASE)
        if shorter != names[-1]:
            names.append(shorter)
    return names


def _is_called_label(file: Path) -> bool:
    return len(_ct_names(file)) > 1 or image_name(file).casefold() in LABEL_WORDS


def _sentences(folder: Path, trouble: Trouble) -> list[str]:
    """One for all trouble, or none."""
    parts = [f"{what} {', '.join(names)}" for what, names in trouble.items() if names]
    return [f'"{folder}" has {", ".join(parts)}; give each CT one label, in a layout that --help shows.'] * bool(parts)


def _named(files: Iterable[Path]) -> list[NamedCT]:
    return [NamedCT(image_name(file), file) for file in files]


def _dicom_cts(folder: Path) -> list[NamedCT]:
    return [NamedCT(below.name, ct) for below in _folders(folder) for ct in ct_folders(below)]


def _image_files(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_file() and path.name.lower().endswith(IMAGE_SUFFIXES)]


def _folders(folder: Path) -> list[Path]:
    return [path for path in _visible(folder) if path.is_dir()]


def _visible(folder: Path) -> list[Path]:
    """What a folder holds, without hidden files such as macOS's "._ct.nii.gz"."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))
