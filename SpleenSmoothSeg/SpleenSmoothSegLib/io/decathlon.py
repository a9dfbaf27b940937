"""Datasets in the layout of the Medical Segmentation Decathlon: CTs, labels, and a dataset.json that lists them."""

import json
from dataclasses import dataclass
from pathlib import Path

import SimpleITK as sitk

from ..callbacks import Warn
from ..errors import UserError
from ..geometry.grid import same_grid
from .images import check_ct, image_name, read_image
from .labels import read_label

DESCRIPTION = "dataset.json"


@dataclass(frozen=True)
class Case:
    """One labeled CT of a dataset; `spleen` is the value of the spleen in the label."""

    name: str
    image: Path
    label: Path
    spleen: int = 1

    def read(self, warn: Warn = lambda message: None) -> tuple[sitk.Image, sitk.Image]:
        """Read the CT and its label on the CT's grid, in which `label == spleen`; `warn` as for `read_image`.

        Raises:
            UserError: a file is unreadable, the CT or the label is invalid, or their grids differ.
        """
        ct = self.read_ct(warn)
        label = self.on_grid_of(ct, self.read_label())
        if label is None:
            raise UserError(
                f'The label "{self.label}" and its CT "{self.image}" have different grids; resample the label.'
            )
        return ct, label

    def read_ct(self, warn: Warn = lambda message: None) -> sitk.Image:
        """Read and check the CT only; raises UserError."""
        ct = read_image(self.image, warn)
        check_ct(ct, self.image)
        return ct

    def read_label(self) -> sitk.Image:
        """Read the label only, on its own grid; raises UserError."""
        return read_label(self.label)

    def on_grid_of(self, ct: sitk.Image, label: sitk.Image) -> sitk.Image | None:
        """The result of `read_label` on the CT's grid; None if the grids do not match."""
        return label if same_grid(ct, label) else None


def list_cases(folder: Path | str, segment: str | None = None) -> list[Case]:
    """The labeled cases of a Decathlon folder, in the order of its ``dataset.json``; their files may be missing.

    `segment` is the name or value of the spleen's label if it is not called "spleen".

    Raises:
        UserError: no readable dataset.json, no such label, no training cases, or a duplicate name.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION
    description = read_description(folder)
    try:
        value = _label_value(description["labels"], segment or "spleen")
        # Lists generated on macOS can contain its hidden "._" files.
        entries = [entry for entry in description["training"] if not Path(entry["image"]).name.startswith("._")]
        cases = [
            Case(image_name(Path(entry["image"])), folder / entry["image"], folder / entry["label"], value)
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'"{path}" does not describe labels and training cases ({error}); correct the file.') from error
    names = [case.name for case in cases]
    if duplicates := [name for name in names if names.count(name) > 1]:
        raise UserError(f'"{path}" lists two cases named "{duplicates[0]}"; rename one of the files.')
    if not cases:
        raise UserError(f'"{path}" lists no training cases; choose another dataset.')
    return cases


def read_description(folder: Path | str) -> dict:
    """The content of a Decathlon folder's ``dataset.json``; raises UserError."""
    path = Path(folder) / DESCRIPTION
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f'"{folder}" has no readable {DESCRIPTION}; choose a folder in Decathlon layout.') from error
    except ValueError as error:
        raise UserError(f'"{path}" is not valid JSON ({error}); correct the file.') from error


def _label_value(labels: dict, wanted: str) -> int:
    """Value of the label named `wanted`, in Decathlon style {"1": "spleen"} or {"spleen": 1}; raises ValueError."""
    pairs = [(name, key) if key.isdigit() else (key, name) for key, name in labels.items()]
    for name, value in pairs:
        if wanted.casefold() in (str(name).casefold(), str(value)):
            return int(value)
    raise ValueError(f'no label "{wanted}", only {", ".join(str(name) for name, _ in pairs)}')
