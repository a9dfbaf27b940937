"""The contents of the results folder OUT for the report: recipe, splits, histories and metrics of each variant."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError

from ..data.splits import Splits
from ..measuring.metricsfile import Metrics, read_metrics
from ..outfolder import CONTROL, SMOOTHED, OutFolder
from ..recipe.tomlfile import read_toml
from ..recipe.variants import NO_BORDER


@dataclass(frozen=True)
class Training:
    """One variant: the training with a border, its control, or a point of a sweep.

    Attributes:
        folder: of the training.
        recipe: all hyperparameters.
        card_text: the [card] of the recipe.
        card: of the model folder; empty if there is none yet.
        histories: for each started fold a row per epoch: "phase", "epoch", "loss", "validation_dice", ...
        metrics: empty if nothing is measured yet.
    """

    folder: Path
    recipe: Mapping
    card_text: Mapping
    card: Mapping
    histories: Mapping[int, list[dict]]
    metrics: Metrics

    @property
    def border(self) -> Border:
        return Border.parse(str(self.recipe.get("border", NO_BORDER)))


@dataclass(frozen=True)
class Results:
    """All of OUT. `variants` are those to compare by name: "control" and "smoothed", or a single one.

    The control is that of --compare, or else the point of a sweep without a border.
    """

    variants: Mapping[str, Training]
    main: Training
    splits: Splits | None
    sweep: Mapping[str, Training]

    @property
    def is_comparison(self) -> bool:
        return len(self.variants) == 2

    @property
    def fold_count(self) -> int:
        if self.splits:
            return len(self.splits.folds)
        return int(self.main.recipe.get("fold_count", len(self.main.histories)))


def read_results(out: Path) -> Results:
    """Read the results of a training so far; raises UserError if there is none or a file is damaged."""
    folder = OutFolder(out)
    main = _read_training(folder)
    controls = [each for each in (folder.control, folder.sweep_point("none")) if each.has_training()]
    variants = {CONTROL: _read_training(controls[0])} if controls and main.border != NO_BORDER else {}
    variants[CONTROL if main.border == NO_BORDER else SMOOTHED] = main
    points = {name: _read_training(point) for name, point in folder.sweep_points().items()}
    return Results(variants, main, _read_splits(folder.splits), points)


def _read_training(folder: OutFolder) -> Training:
    if not folder.recipe.exists():
        raise UserError(f'"{folder.path}" contains no training; give the results folder of train.py.')
    try:
        recipe = read_toml(folder.recipe)
    except UserError as error:
        raise _damaged(folder.recipe) from error
    card_text = recipe.pop("card", {})
    histories = {number: _read_history(path) for number, path in folder.histories().items()}
    return Training(
        folder.path,
        recipe,
        card_text if isinstance(card_text, dict) else {},
        _read_json(folder.model_card) if folder.has_model() else {},
        {number: rows for number, rows in histories.items() if rows},
        read_metrics(folder.path),
    )


def _read_splits(path: Path) -> Splits | None:
    if not path.is_file():
        return None
    try:
        return Splits.from_json(_read_json(path))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _damaged(path) from error


def _read_history(path: Path) -> list[dict]:
    try:
        with open(path, newline="", encoding="utf-8") as file:
            return [{name: _number(name, cell) for name, cell in row.items()} for row in csv.DictReader(file)]
    except (OSError, ValueError, TypeError, csv.Error) as error:
        raise _damaged(path) from error


def _number(column: str, cell: str):
    if column in ("phase", "device"):
        return cell
    return int(cell) if column == "epoch" else float(cell or "nan")


def _read_json(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> UserError:
    return UserError(f'"{path}" is damaged; restore it, or train again.')
