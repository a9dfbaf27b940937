"""A folder in the layout of the Medical Segmentation Decathlon: CTs, their labels, and dataset.json that lists them."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from ..callbacks import Warn
from ..errors import UserError
from ..geometry.grid import same_grid
from .images import check_ct, image_name, read_image

DESCRIPTION = "dataset.json"


@dataclass(frozen=True)
class Case:
    """One labeled CT of a dataset; `spleen` is the label's value that means spleen."""

    name: str
    image: Path
    label: Path
    spleen: int = 1

    def read(self, warn: Warn = lambda sentence: None) -> tuple[sitk.Image, sitk.Image]:
        """The CT and its label on the CT's grid, where `label == spleen` is spleen; `warn` as for `read_image`.

        Raises:
            UserError: one of them is unreadable, the CT is none, the label is of no use, or their grids differ.
        """
        ct = self.read_ct(warn)
        label = self.on_grid_of(ct, self.read_label())
        if label is None:
            raise UserError(
                f'The label "{self.label}" and its CT "{self.image}" lie on different grids; resample the label.'
            )
        return ct, label

    def read_ct(self, warn: Warn = lambda sentence: None) -> sitk.Image:
        """The CT alone, checked; raises UserError."""
        ct = read_image(self.image, warn)
        check_ct(ct, self.image)
        return ct

    def read_label(self) -> sitk.Image:
        """The label alone, on its own grid; raises UserError."""
        label = read_image(self.label)
        if label.GetNumberOfComponentsPerPixel() != 1:
            raise UserError(f'The label "{self.label}" is a color or vector image; save it as a labelmap.')
        voxels = sitk.GetArrayViewFromImage(label)
        if voxels.dtype.kind == "f" and not np.array_equal(voxels, np.rint(voxels)):
            raise UserError(
                f'The label "{self.label}" holds fractions, as after resampling; resample it with nearest neighbor.'
            )
        return label

    def on_grid_of(self, ct: sitk.Image, label: sitk.Image) -> sitk.Image | None:
        """What `read_label` gave on the grid of the CT; None where it does not lie on it."""
        return label if same_grid(ct, label) else None


def list_cases(folder: Path | str, segment: str | None = None) -> list[Case]:
    """The labeled cases of a Decathlon folder, in the order of its ``dataset.json``; their files may be missing.

    `segment` is the label that means spleen, by its name or value, if it is not called "spleen".

    Raises:
        UserError: no readable dataset.json, no such label, no training cases, or two of one name.
    """
    folder = Path(folder)
    path = folder / DESCRIPTION
    description = read_description(folder)
    try:
        value = _label_value(description["labels"], segment or "spleen")
        # macOS leaves "._" files behind, which whoever lists a folder by program lists, too.
        entries = [entry for entry in description["training"] if not Path(entry["image"]).name.startswith("._")]
        cases = [
            Case(image_name(Path(entry["image"])), folder / entry["image"], folder / entry["label"], value)
            for entry in entries
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'"{path}" does not describe labels and training cases ({error}); correct the file.') from error
    names = [case.name for case in cases]
    if twice := [name for name in names if names.count(name) > 1]:
        raise UserError(f'"{path}" lists two cases of the name "{twice[0]}"; rename one of the files.')
    if not cases:
        raise UserError(f'"{path}" lists no training cases; choose another dataset.')
    return cases


def read_description(folder: Path | str) -> dict:
    """What ``dataset.json`` of a Decathlon folder holds; raises UserError."""
    path = Path(folder) / DESCRIPTION
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f'"{folder}" holds no readable {DESCRIPTION}; choose a folder in Decathlon layout.') from error
    except ValueError as error:
        raise UserError(f'"{path}" is no JSON ({error}); correct the file.') from error


def _label_value(labels: dict, wanted: str) -> int:
    """The Decathlon writes {"1": "spleen"}, others {"spleen": 1}; raises ValueError where `wanted` is not there."""
    pairs = [(name, key) if key.isdigit() else (key, name) for key, name in labels.items()]
    for name, value in pairs:
        if wanted.casefold() in (str(name).casefold(), str(value)):
            return int(value)
    raise ValueError(f'it has no label "{wanted}" but {", ".join(str(name) for name, _ in pairs)}')
