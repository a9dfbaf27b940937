"""What the panel shows of a recipe before train.py reads it."""

from pathlib import Path

PUBLISHED_BORDER = "gaussian:1.5mm"  # as in SpleenSmoothSegTrainingLib.recipe, which Slicer itself does not import
STARTER = Path(__file__).resolve().parents[1] / "Resources" / "Recipes" / "starter.toml"


def borderOf(recipe: Path | None) -> str | None:
    """The soft border that a recipe file states, or else the published one; None where the file cannot be read."""
    if recipe is None:
        return PUBLISHED_BORDER
    try:
        import tomllib
    except ImportError:  # Python 3.10
        import tomli as tomllib
    try:
        return str(tomllib.loads(recipe.read_text(encoding="utf-8")).get("border", PUBLISHED_BORDER))
    except (OSError, ValueError):
        return None
