"""The trainings of one run that differ in nothing but the border: smoothed, its plain control, points of a sweep."""

from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.border.kernels import PLANES, Border
from SpleenSmoothSegLib.errors import UserError

from ..outfolder import PLAIN_NAME, RECIPE_NAME, SWEEP_NAME
from .file import read_recipe
from .recipe import Recipe


@dataclass(frozen=True)
class Variant:
    """One training: its name, its folder and its recipe."""

    name: str
    folder: Path
    recipe: Recipe


def list_variants(out: Path, recipe: Recipe, compare: bool = False, sweep: str | None = None) -> list[Variant]:
    """The trainings of a run: that of `recipe` in `out` itself, its control in plain, those of a sweep in sweep.

    Raises:
        UserError: a control of a training that is plain itself, or a sweep that is none.
    """
    border = _effective(Border.parse(recipe.border))
    is_plain = border == Border("none")
    if compare and (is_plain or recipe.border_probability == 0):
        raise UserError("--compare needs a soft border to compare with none; give --border, such as gaussian:1.5mm.")
    plain = recipe.with_changes(border="none")
    variants = [Variant(PLAIN_NAME if is_plain else "smoothed", out, recipe)]
    if compare:
        variants.append(Variant(PLAIN_NAME, out / PLAIN_NAME, plain))
    there = {border, Border("none")} if compare else {border}
    for border in parse_sweep(sweep) if sweep else ():
        if border not in there:
            name = str(border).replace(":", "_")
            variants.append(Variant(name, out / SWEEP_NAME / name, recipe.with_changes(border=str(border))))
    return variants


def parse_sweep(text: str) -> list[Border]:
    """None and each kernel with each width of a text such as "gaussian,box:1mm,2mm" or "gaussian:1mm:3d+box:3px"."""
    borders = [border for part in text.lower().split("+") for border in _each_with_each(part)]
    return list(dict.fromkeys([Border("none"), *borders]))


def sweep_of(out: Path) -> str | None:
    """The sweep that was begun in a results folder, as `parse_sweep` reads it; None where there was none.

    Raises UserError where a recipe of it is damaged.
    """
    recipes = [read_recipe(path)[0] for path in sorted((out / SWEEP_NAME).glob(f"*/{RECIPE_NAME}"))]
    return "+".join(recipe.border for recipe in recipes if recipe.border != "none") or None


def _each_with_each(text: str) -> list[Border]:
    kernels, _, rest = text.partition(":")
    widths, _, plane = rest.partition(":")
    if not widths or plane not in ("", *PLANES):
        raise UserError(f"{text!r} is no sweep; write kernels, a colon and widths, such as gaussian,box:1mm,2mm.")
    return [
        _effective(Border.parse(":".join(filter(None, (kernel, width, plane)))))
        for kernel in kernels.split(",")
        for width in widths.split(",")
    ]


def _effective(border: Border) -> Border:
    """A border of no width is none, however it is called."""
    return border if border.width and border.kernel != "none" else Border("none")
