"""Labeled CTs in a folder. These layouts are known:

Decathlon        dataset.json lists CTs and labels, as in the Medical Segmentation Decathlon
two folders      imagesTr and labelsTr, or images and labels, with the same names in both
side by side     ct1.nrrd and ct1.seg.nrrd, ct1.nii.gz and ct1_label.nii.gz (or -label, _seg, _spleen, _mask)
one a patient    a folder for each patient, with one CT and one label

A CT is a NIfTI, NRRD or MetaImage file or a folder of DICOM files. A label is a labelmap on the CT's grid or a
segmentation of 3D Slicer (.seg.nrrd), which may be cropped. In a labelmap all that is not 0 is spleen if it is of one
value. In a segmentation the spleen is the segment with the terminology of a spleen, else the one called "spleen", else
the only one. Where that does not settle it, name the segment, or the value, with --segment.
"""

from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.decathlon import DESCRIPTION, Case, list_cases, read_description
from SpleenSmoothSegLib.io.images import check_readable

from .pairs import find_pairs


@dataclass(frozen=True)
class Dataset:
    """Labeled CTs and what is known of them; their files are not read yet.

    Attributes:
        folder: where they lie.
        name, description: as dataset.json has it, or made from the folder's name.
        license: of the data; "" where it is not stated.
        cases: at least one, in the order of dataset.json or of their names.
        problems: a sentence on each CT or label that stands alone, and so is in no case.
    """

    folder: Path
    name: str
    description: str
    license: str
    cases: tuple[Case, ...]
    problems: tuple[str, ...] = ()


def open_dataset(folder: Path | str, segment: str | None = None) -> Dataset:
    """The labeled CTs of a folder; the docstring of this file lists the layouts that are known.

    Args:
        folder: with dataset.json, or with CTs and labels.
        segment: name of the segment, or value in the labelmaps, that means spleen, where that is not plain.

    Raises:
        UserError: no such folder, or no cases.
    """
    folder = Path(folder)
    check_readable(folder)
    if not folder.is_dir():
        raise UserError(f'"{folder}" is a file; give the folder of the dataset.')
    if not (folder / DESCRIPTION).is_file():
        pairs, name = find_pairs(folder, segment), folder.resolve().name
        return Dataset(folder, name, f"{len(pairs.cases)} labeled CTs", "", tuple(pairs.cases), tuple(pairs.problems))
    cases, told = list_cases(folder, segment), read_description(folder)

    def word(*keys: str) -> str:
        return next((str(told[key]).strip() for key in keys if told.get(key)), "")

    return Dataset(
        folder,
        name=word("name") or folder.resolve().name,
        description=word("description") or f"{len(cases)} labeled CTs",
        license=word("licence", "license"),  # the Decathlon spells it the British way
        cases=tuple(cases),
    )
