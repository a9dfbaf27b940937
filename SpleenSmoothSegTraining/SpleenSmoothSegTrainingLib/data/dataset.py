"""Labeled CTs in a folder, in one of these layouts:

Decathlon        dataset.json lists CTs and labels, as in the Medical Segmentation Decathlon
two folders      imagesTr and labelsTr, or images and labels, with the same names in both
side by side     ct1.nrrd and ct1.seg.nrrd, ct1.nii.gz and ct1_label.nii.gz (or -label, _seg, _spleen, _mask)
one per patient  a folder for each patient with one CT and one label

A CT is a NIfTI, NRRD or MetaImage file or a folder of DICOM files. A label is a labelmap on the CT's grid or a
segmentation of 3D Slicer (.seg.nrrd), which may be cropped. In a labelmap with one value besides 0, that value is the
spleen. In a segmentation the spleen is the segment with the terminology of a spleen, else the segment named "spleen",
else the only segment. In all other cases give the segment's name, or the label value, with --segment.
"""

from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.decathlon import DESCRIPTION, Case, list_cases, read_description
from SpleenSmoothSegLib.io.images import check_readable

from .pairs import find_pairs


@dataclass(frozen=True)
class Dataset:
    """Labeled CTs and their description; their files are not read yet.

    Attributes:
        folder: of the dataset.
        name, description: from dataset.json, or from the folder's name and the number of CTs.
        license: of the data; "" if unknown.
        cases: at least one, in the order of dataset.json or of their names.
        problems: sentences about CTs and labels without a partner, which are in no case.
    """

    folder: Path
    name: str
    description: str
    license: str
    cases: tuple[Case, ...]
    problems: tuple[str, ...] = ()


def open_dataset(folder: Path | str, segment: str | None = None) -> Dataset:
    """Find the labeled CTs of a folder in one of the layouts in the docstring of this module.

    Args:
        folder: with dataset.json, or with CTs and labels.
        segment: name of the segment, or label value, of the spleen where that is ambiguous.

    Raises:
        UserError: the folder does not exist or has no labeled CTs.
    """
    folder = Path(folder)
    check_readable(folder)
    if not folder.is_dir():
        raise UserError(f'"{folder}" is a file; give the folder of the dataset.')
    if not (folder / DESCRIPTION).is_file():
        pairs, name = find_pairs(folder, segment), folder.resolve().name
        return Dataset(folder, name, f"{len(pairs.cases)} labeled CTs", "", tuple(pairs.cases), tuple(pairs.problems))
    cases, fields = list_cases(folder, segment), read_description(folder)

    def text(*keys: str) -> str:
        return next((str(fields[key]).strip() for key in keys if fields.get(key)), "")

    return Dataset(
        folder,
        name=text("name") or folder.resolve().name,
        description=text("description") or f"{len(cases)} labeled CTs",
        license=text("licence", "license"),  # the Decathlon uses the British spelling
        cases=tuple(cases),
    )
