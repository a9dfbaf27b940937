"""Example slices for the report: the best, the median and the worst, with contours of label and predictions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.geometry.grid import same_grid
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegLib.io.images import read_image

from ..measuring.casemetrics import SliceRow, axial
from ..measuring.predictions import prediction_path
from ..outfolder import OutFolder
from .figures import Example
from .results import Training
from .tables import HELD_OUT, TESTED, select_slices


def choose_slices(rows: Sequence[SliceRow]) -> dict[str, SliceRow]:
    """The best, median and worst slice with label by Dice; with equal Dice, the worst has the most label.

    Returns the best and the worst only for two slices, and the best for one.
    """
    ranked = sorted((row for row in rows if row.label_ml), key=lambda row: (-row.dice, row.label_ml))
    if len(ranked) < 3:
        return dict(zip(("best", "worst"), ranked, strict=False))
    return {"best": ranked[0], "median": ranked[len(ranked) // 2], "worst": ranked[-1]}


def find_examples(variants: Mapping[str, Training], dataset_cases: Mapping[str, Case]) -> list[Example]:
    """Slices ranked by the Dice of the last variant, predicted by the fold that held them out, or by the ensemble.

    Skips cases that are not in the dataset or have no saved mask.
    """
    training = list(variants.values())[-1]
    rows = select_slices(training.metrics, *HELD_OUT) or select_slices(training.metrics, *TESTED)
    available = [row for row in rows if row.case in dataset_cases and _mask_path(training, row).is_file()]
    examples = (
        _example(rank, row, variants, dataset_cases[row.case]) for rank, row in choose_slices(available).items()
    )
    return [example for example in examples if example]


def _example(rank: str, row: SliceRow, variants: Mapping[str, Training], case: Case) -> Example | None:
    ct, label = case.read()
    masks = {"label": label == case.spleen}
    for variant, training in variants.items():
        path = _mask_path(training, row)
        if path.is_file() and same_grid(mask := read_image(path), ct):
            masks[variant] = mask
    stack = axial(ct)
    if row.slice >= stack.GetDepth():  # a slice of the network's grid, for an oblique CT and a split by slice
        return None
    width, height = stack.GetSpacing()[:2]
    return Example(
        f"{rank}: {_shortened(row.case)}, slice {row.slice}\n{_dice_of(row, variants)}",
        sitk.GetArrayViewFromImage(stack)[row.slice].astype(np.float32),
        {name: sitk.GetArrayFromImage(axial(mask))[row.slice] != 0 for name, mask in masks.items()},
        (height, width),
    )


def _mask_path(training: Training, row: SliceRow) -> Path:
    return prediction_path(OutFolder(training.folder).predictions, row.case, row.predicted_by)


def _dice_of(row: SliceRow, variants: Mapping[str, Training]) -> str:
    """Dice of this slice by each variant."""
    found = {
        variant: other.dice
        for variant, training in variants.items()
        for other in training.metrics.slices
        if (other.set, other.predicted_by, other.case, other.slice) == (row.set, row.predicted_by, row.case, row.slice)
    }
    return "Dice " + ", ".join(f"{dice:.3f} {variant}" for variant, dice in found.items())


def _shortened(name: str) -> str:
    return name if len(name) <= 28 else f"{name[:14]}…{name[-13:]}"
