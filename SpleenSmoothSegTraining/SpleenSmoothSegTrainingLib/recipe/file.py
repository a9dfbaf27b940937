"""Recipes as TOML files: keys are the options of train.py, and a table [card] holds words for the model's card."""

import json
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

from .recipe import Recipe

CARD_KEYS = ("name", "description", "data_license", "command")


def read_recipe_file(path: Path) -> tuple[dict, dict]:
    """Options by their names (words with _ between) and the [card] of a TOML file; raises UserError."""
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        content = tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))  # Windows writes a mark before it
    except OSError as error:
        raise UserError(f'The recipe "{path}" cannot be read; check the path.') from error
    except ValueError as error:
        raise UserError(f'The recipe "{path}" is no valid TOML ({error}); correct it.') from error
    card = content.pop("card", {})
    if not isinstance(card, dict) or any(key not in CARD_KEYS or not isinstance(card[key], str) for key in card):
        raise UserError(
            f'[card] of the recipe "{path}" is not understood; it holds texts named {", ".join(CARD_KEYS)}.'
        )
    return {name.replace("-", "_"): value for name, value in content.items()}, card


def write_recipe_file(path: Path, recipe: Recipe, card: dict, segment: str | None = None) -> None:
    """Write the whole recipe, so that --recipe with this file repeats it; raises UserError where that fails.

    Args:
        path: of the TOML file.
        recipe, card: what it says.
        segment: of the labels, which a training goes on with; None where that need not be told.
    """
    lines = [
        "# The whole recipe of this training; `train.py DATASET OUT --recipe` takes this file.",
        *_lines(recipe.as_dict() | ({"segment": segment} if segment else {})),
    ]
    if card:
        lines += ["", "[card]", *_lines(card)]
    with atomic_write(path) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_recipe(path: Path) -> tuple[Recipe, dict]:
    """The recipe and card of a file that `write_recipe_file` wrote; raises UserError where it is damaged."""
    values, card = read_recipe_file(path)
    values.pop("segment", None)
    return Recipe.from_dict(values), card


def _lines(values: dict) -> list[str]:
    """Texts, numbers and lists of these are written in JSON as in TOML, but for the character DEL."""
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f") for name, value in values.items()
    ]
