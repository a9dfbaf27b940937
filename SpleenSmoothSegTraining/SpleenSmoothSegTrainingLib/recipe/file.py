"""Recipes as TOML files: keys are options of train.py, and the table [card] holds text for the model card."""

import json
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

from .recipe import Recipe
from .tomlfile import read_toml

CARD_KEYS = ("name", "description", "data_license", "command")


def read_recipe_file(path: Path) -> tuple[dict, dict]:
    """Options by name (with underscores) and the [card] of a TOML file; raises UserError."""
    content = read_toml(path)
    card = content.pop("card", {})
    if not isinstance(card, dict) or any(key not in CARD_KEYS or not isinstance(card[key], str) for key in card):
        raise UserError(f'[card] of the recipe "{path}" is invalid; it may hold the texts {", ".join(CARD_KEYS)}.')
    return {name.replace("-", "_"): value for name, value in content.items()}, card


def write_recipe_file(path: Path, recipe: Recipe, card: dict, segment: str | None = None) -> None:
    """Write the complete recipe, which --recipe can read again; raises UserError if that fails.

    Args:
        path: of the TOML file.
        recipe, card: its contents.
        segment: name or value of the spleen in the labels, for --resume; None if it was not given.
    """
    lines = [
        "# The complete recipe of this training; reuse it with `train.py DATASET OUT --recipe FILE`.",
        *_lines(recipe.as_dict() | ({"segment": segment} if segment else {})),
    ]
    if card:
        lines += ["", "[card]", *_lines(card)]
    with atomic_write(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_recipe(path: Path) -> tuple[Recipe, dict]:
    """The recipe and card of a file that `write_recipe_file` wrote; raises UserError if it is damaged."""
    values, card = read_recipe_file(path)
    values.pop("segment", None)
    return Recipe.from_dict(values), card


def _lines(values: dict) -> list[str]:
    """TOML lines: strings, numbers and lists are the same in JSON, except for the character DEL."""
    return [
        f"{name} = {json.dumps(value, ensure_ascii=False)}".replace("\x7f", "\\u007f") for name, value in values.items()
    ]
