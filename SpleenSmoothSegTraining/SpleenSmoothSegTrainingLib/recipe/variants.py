"""The trainings of one run, which differ only in the border: smoothed, its control, the points of a sweep."""

from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegLib.border.kernels import PLANES, Border
from SpleenSmoothSegLib.errors import UserError

from ..outfolder import CONTROL, SMOOTHED, OutFolder
from .file import read_recipe
from .recipe import Recipe

NO_BORDER = Border("none")


@dataclass(frozen=True)
class Variant:
    """One training: its name, its folder and its recipe."""

    name: str
    folder: Path
    recipe: Recipe


def list_variants(out: Path, recipe: Recipe, compare: bool = False, sweep: str | None = None) -> list[Variant]:
    """The trainings of a run: `recipe` in OUT itself, its control in OUT/control, the points of a sweep in OUT/sweep.

    Raises UserError if `compare` is set and `recipe` does not smooth, or if `sweep` is invalid.
    """
    folder = OutFolder(out)
    border = _effective(recipe.border)
    if compare and (border == NO_BORDER or recipe.border_probability == 0):
        raise UserError("--compare needs border smoothing; add --border, such as --border gaussian:1.5mm.")
    variants = [Variant(CONTROL if border == NO_BORDER else SMOOTHED, out, recipe)]
    if compare:
        variants.append(Variant(CONTROL, folder.control.path, recipe.with_changes(border=NO_BORDER)))
    included = {border, NO_BORDER} if compare else {border}
    for point in parse_sweep(sweep) if sweep else ():
        if point not in included:
            name = str(point).replace(":", "_")
            variants.append(Variant(name, folder.sweep_point(name).path, recipe.with_changes(border=point)))
    return variants


def parse_sweep(text: str) -> list[Border]:
    """No border, and every kernel with every width of a text such as "gaussian,box:1mm,2mm" or "svls:1mm:3d+box:3px".

    Raises UserError for invalid text.
    """
    borders = [border for part in text.lower().split("+") for border in _combinations(part)]
    return list(dict.fromkeys([NO_BORDER, *borders]))


def sweep_in(out: Path) -> str | None:
    """The sweep that was started in OUT, as text for `parse_sweep`; None if there is none.

    Raises UserError if one of its recipes is damaged.
    """
    borders = [read_recipe(point.recipe)[0].border for point in OutFolder(out).sweep_points().values()]
    return "+".join(str(border) for border in borders if border != NO_BORDER) or None


def _combinations(text: str) -> list[Border]:
    kernels, _, rest = text.partition(":")
    widths, _, plane = rest.partition(":")
    if not widths or plane not in ("", *PLANES):
        raise UserError(f"{text!r} is not a sweep; give KERNELS:WIDTHS, such as gaussian,box:1mm,2mm.")
    return [
        _effective(Border.parse(":".join(filter(None, (kernel, width, plane)))))
        for kernel in kernels.split(",")
        for width in widths.split(",")
    ]


def _effective(border: Border) -> Border:
    """No border if the width is 0, whatever the kernel."""
    return border if border.width and border.kernel != "none" else NO_BORDER
