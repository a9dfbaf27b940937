"""A folder in the layout of the Medical Segmentation Decathlon: CTs, their labels, and dataset.json that lists them."""

import json
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from .errors import UserError
from .images import check_ct, read_image, same_grid


@dataclass(frozen=True)
class Case:
    """One labeled CT of a dataset; `spleen` is the label's value that means spleen."""

    name: str
    image: Path
    label: Path
    spleen: int = 1

    def read(self) -> tuple[sitk.Image, sitk.Image]:
        """The CT and its label, checked; raises UserError where one is unreadable, no CT, or they differ in grid."""
        ct = read_image(self.image)
        check_ct(ct, self.image)
        label = read_image(self.label)
        if label.GetNumberOfComponentsPerPixel() != 1 or not same_grid(ct, label):
            raise UserError(
                f'The label "{self.label}" and its CT "{self.image}" lie on different grids; resample the label.'
            )
        return ct, label


def list_cases(folder: Path | str) -> list[Case]:
    """The labeled cases of a Decathlon folder, in the order of its ``dataset.json``; their files may be missing.

    Raises:
        UserError: no readable dataset.json, no label called spleen, no training cases, or two of one name.
    """
    folder = Path(folder)
    path = folder / "dataset.json"
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
        # The Decathlon writes {"1": "spleen"}, others {"spleen": 1}.
        values = [_label_value(key, name) for key, name in description["labels"].items() if "spleen" in (key, name)]
        cases = [
            Case(_case_name(entry["image"]), folder / entry["image"], folder / entry["label"], values[0])
            for entry in description["training"]
        ]
    except OSError as error:
        raise UserError(f'"{folder}" holds no readable dataset.json; choose a folder in Decathlon layout.') from error
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise UserError(
            f'"{path}" does not describe cases with a label "spleen" ({error}); correct the file.'
        ) from error
    names = [case.name for case in cases]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f'"{path}" lists two cases of the name "{twice[0]}"; rename one of the files.')
    if not cases:
        raise UserError(f'"{path}" lists no training cases; choose another dataset.')
    return cases


def _label_value(key: str, name) -> int:
    return int(key) if name == "spleen" else int(name)


def _case_name(image: str) -> str:
    return Path(image).name.removesuffix(".gz").removesuffix(".nii")
