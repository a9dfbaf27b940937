"""What lies where in the folder of a training, OUT."""

from pathlib import Path

RECIPE_NAME, SPLITS_NAME, MODEL_NAME = "recipe.toml", "splits.json", "model"
PLAIN_NAME, SWEEP_NAME = "plain", "sweep"  # trainings with another border: the control, and a folder a point of a sweep


def holds_training(out: Path) -> bool:
    """Whether a training was begun in `out`."""
    return (out / RECIPE_NAME).is_file()


def fold_folder(out: Path, number: int) -> Path:
    """Where a fold keeps its state and its history."""
    return out / f"fold_{number}"


def claimed_folds(out: Path) -> list[int]:
    """The numbers of the folds that were asked for in `out`."""
    numbers = [path.name.removeprefix("fold_") for path in out.glob("fold_*") if path.is_dir()]
    return sorted(int(number) for number in numbers if number.isdecimal())
