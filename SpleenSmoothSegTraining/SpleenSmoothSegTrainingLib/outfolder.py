"""The folder OUT of a training: whose it is, and that a resumed run goes on with the same recipe and the same split."""

import json
from pathlib import Path

from SpleenSmoothSegLib.atomic import written_aside
from SpleenSmoothSegLib.errors import UserError

from .recipe import Recipe

RECIPE_NAME, SPLITS_NAME = "recipe.json", "splits.json"


def fold_folder(out: Path, number: int) -> Path:
    """Where a fold keeps its state and its history."""
    return out / f"fold_{number}"


def check_free(out: Path, resume: bool) -> None:
    """Raise UserError where `out` holds a training that is not to be resumed, or one that cannot be."""
    has_recipe = (out / RECIPE_NAME).is_file()
    if has_recipe and not resume:
        raise UserError(f'"{out}" already holds a training; add --resume to go on with it or choose another folder.')
    if not has_recipe and any(out.glob("fold_*/*")):
        raise UserError(f'"{out}" holds folds but no {RECIPE_NAME} that tells how they came; choose another folder.')


def claim(out: Path, recipe: Recipe, splits: dict) -> None:
    """Write the recipe and the splits into `out`, or check that they are those of the training in it.

    Raises:
        UserError: `out` holds a training of another recipe or another dataset, or it cannot be read or written.
    """
    recipe_values, splits = _as_read(recipe.as_dict()), _as_read(splits)
    if not (out / RECIPE_NAME).is_file():
        _write(out / SPLITS_NAME, splits)
        _write(out / RECIPE_NAME, recipe_values)
        return
    if _read(out / RECIPE_NAME) != recipe_values:
        raise UserError(f'"{out / RECIPE_NAME}" holds another recipe; give the same options or choose another folder.')
    if _read(out / SPLITS_NAME) != splits:
        raise UserError(
            f'The cases or labels of the dataset are not those of "{out / SPLITS_NAME}" any more; '
            "put them back or choose another folder."
        )


def _as_read(value) -> dict:
    """As it comes back from a file: lists for tuples."""
    return json.loads(json.dumps(value))


def _read(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f'"{path}" is damaged and cannot be read; choose another folder.') from error


def _write(path: Path, value: dict) -> None:
    with written_aside(path) as aside:
        aside.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
