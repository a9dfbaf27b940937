"""The folder of one training: whose it is, and that a resumed run goes on with the same recipe and the same splits."""

import json
from pathlib import Path

from SpleenSmoothSegLib.atomic import written_aside
from SpleenSmoothSegLib.errors import UserError

from .data.splits import Splits
from .learning.state import is_begun
from .recipe import Recipe
from .recipefile import RECIPE_NAME, SPLITS_NAME, read_recipe, write_recipe_file

MODEL_NAME = "model"
RESULTS = (MODEL_NAME, "report.md", "report.html", "metrics.csv", "metrics_by_slice.csv", "predictions")


def fold_folder(out: Path, number: int) -> Path:
    """Where a fold keeps its state and its history."""
    return out / f"fold_{number}"


def check_free(out: Path, resume: bool) -> None:
    """Raise UserError where `out` holds a training that is not to be resumed, or one that cannot be."""
    has_recipe = (out / RECIPE_NAME).is_file()
    if has_recipe and not resume:
        raise UserError(f'"{out}" already holds a training; add --resume to go on with it or choose another folder.')
    if not has_recipe and any(is_begun(folder) for folder in out.glob("fold_*")):
        raise UserError(f'"{out}" holds folds but no {RECIPE_NAME} that tells how they came; choose another folder.')
    if not has_recipe and (others := [name for name in RESULTS if (out / name).exists()]):
        raise UserError(f'"{out / others[0]}" is of no training and would be overwritten; choose another folder.')


def claim(out: Path, recipe: Recipe, card: dict, splits: Splits, segment: str | None = None) -> None:
    """Write the recipe, with the segment of the labels, and the splits, or check that they are those already in `out`.

    Raises:
        UserError: `out` holds a training of another recipe or another dataset, or it cannot be read or written.
    """
    if not (out / RECIPE_NAME).is_file():
        with written_aside(out / SPLITS_NAME) as aside:
            aside.write_text(json.dumps(splits.to_json(), indent=2) + "\n", encoding="utf-8")
        write_recipe_file(out / RECIPE_NAME, recipe, card, segment)
        return
    old = read_recipe(out / RECIPE_NAME)[0]
    if old != recipe:
        name = next(name for name, value in recipe.as_dict().items() if getattr(old, name) != value)
        raise UserError(
            f'"{out / RECIPE_NAME}" holds another recipe ({name} is {getattr(old, name)}); '
            "leave that option out or choose another folder."
        )
    if claimed_splits(out) != splits:
        raise UserError(
            f'The cases or labels of the dataset are not those of "{out / SPLITS_NAME}" any more; '
            "put them back or choose another folder."
        )


def claimed_splits(out: Path) -> Splits:
    """The splits of the training in `out`; raises UserError where they cannot be read."""
    path = out / SPLITS_NAME
    try:
        return Splits.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f'"{path}" is damaged and cannot be read; choose another folder.') from error
