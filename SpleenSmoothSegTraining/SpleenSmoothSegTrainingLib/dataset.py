"""The labeled cases of a folder in the layout of the Medical Segmentation Decathlon, and the slices cut from them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from SpleenSmoothSegLib.decathlon import Case, list_cases
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.preprocessing import Grid, SliceFormat, axial_grid, ct_slices, label_slices


@dataclass(frozen=True)
class Slices:
    """The axial slices of one case as the network sees them.

    Attributes:
        name: of the case.
        grid: of the slices.
        ct: float32 in [0, 1], (slice, row, column).
        label: bool, (slice, row, column).
    """

    name: str
    grid: Grid
    ct: np.ndarray
    label: np.ndarray

    @property
    def spleen_slices(self) -> int:
        """Number of slices that hold spleen."""
        return int(self.label.any(axis=(1, 2)).sum())


def read_decathlon(folder: Path | str) -> list[Case]:
    """The labeled cases of a Decathlon folder, in the order of its ``dataset.json``.

    Raises:
        UserError: no readable dataset.json, no label called spleen, no training cases, or missing files,
            or two cases of one name.
    """
    cases = list_cases(folder)
    missing = [file for case in cases for file in (case.image, case.label) if not file.is_file()]
    if missing:
        path = Path(folder) / "dataset.json"
        raise UserError(f'"{path}" lists {len(missing)} files that are not there, the first "{missing[0]}"; add them.')
    return cases


def cut_slices(case: Case, slice_format: SliceFormat) -> Slices:
    """The case as the network sees it."""
    ct, label = case.read()
    grid = axial_grid(ct, slice_format)
    return Slices(case.name, grid, ct_slices(ct, grid, slice_format.window), label_slices(label, grid, case.spleen))
