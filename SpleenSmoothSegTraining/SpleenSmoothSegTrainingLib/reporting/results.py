"""The results folder OUT of a training, read for its report: recipe, splits, histories and metrics, of each variant."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError

from ..data.splits import Splits
from ..measuring.metricsfile import Metrics, read_metrics
from ..outfolder import PLAIN_NAME, RECIPE_NAME, SPLITS_NAME, SWEEP_NAME

HISTORY_NAME, CARD_NAME = "history.csv", "model.json"
SMOOTHED = "smoothed"


@dataclass(frozen=True)
class Training:
    """One variant: the training with a border, the plain one, or a point of a sweep.

    Attributes:
        folder: of its results.
        recipe: every number of it.
        words: [card] of the recipe.
        card: of the model folder; empty while there is none.
        histories: for each fold that was begun a row an epoch, "phase", "epoch", "loss", "validation_dice", ...
        metrics: empty while nothing is measured.
    """

    folder: Path
    recipe: Mapping
    words: Mapping
    card: Mapping
    histories: Mapping[int, list[dict]]
    metrics: Metrics

    @property
    def border(self) -> str:
        return str(self.recipe.get("border", "none"))


@dataclass(frozen=True)
class Results:
    """All of OUT. `arms` are the variants to compare by name: "plain" and "smoothed", or the only one there is.

    The plain one is the control of --compare, or else the point of a sweep that has no border.
    """

    arms: Mapping[str, Training]
    main: Training
    splits: Splits | None
    sweep: Mapping[str, Training]

    @property
    def is_comparison(self) -> bool:
        return len(self.arms) == 2

    @property
    def fold_count(self) -> int:
        if self.splits:
            return len(self.splits.folds)
        return int(self.main.recipe.get("fold_count", len(self.main.histories)))


def read_results(out: Path) -> Results:
    """What a training has left in its folder so far; raises UserError where there is none or a file is damaged."""
    out = Path(out)
    main = _read_training(out)
    plain = [folder for folder in (out / PLAIN_NAME, out / SWEEP_NAME / "none") if (folder / RECIPE_NAME).is_file()]
    arms = {PLAIN_NAME: _read_training(plain[0])} if plain and main.border != "none" else {}
    arms[PLAIN_NAME if main.border == "none" else SMOOTHED] = main
    points = sorted(path.parent for path in (out / SWEEP_NAME).glob(f"*/{RECIPE_NAME}"))
    return Results(arms, main, _read_splits(out / SPLITS_NAME), {point.name: _read_training(point) for point in points})


def _read_training(folder: Path) -> Training:
    recipe = _read_toml(folder / RECIPE_NAME)
    words = recipe.pop("card", {})
    card = folder / "model" / CARD_NAME
    histories = {
        int(path.parent.name.removeprefix("fold_")): _read_history(path)
        for path in folder.glob(f"fold_*/{HISTORY_NAME}")
        if path.parent.name.removeprefix("fold_").isdigit()
    }
    return Training(
        folder,
        recipe,
        words if isinstance(words, dict) else {},
        _read_json(card) if card.is_file() else {},
        {number: rows for number, rows in sorted(histories.items()) if rows},
        read_metrics(folder),
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


def _read_toml(path: Path) -> dict:
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise UserError(f'"{path.parent}" holds no training; give the folder that train.py filled.') from error
    except (OSError, ValueError) as error:
        raise _damaged(path) from error


def _damaged(path: Path) -> UserError:
    return UserError(f'"{path}" is damaged and cannot be read; restore it, or train again.')
