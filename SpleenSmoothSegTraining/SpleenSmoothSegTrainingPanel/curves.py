"""Loss and validation Dice of each epoch, from the events of train.py and from the history.csv that it keeps."""

import csv
import re
from dataclasses import dataclass
from pathlib import Path

from .recipefile import borderOf
from .resultsfolder import ResultsFolder

SMOOTHED, PLAIN = "smoothed", "plain"


@dataclass(frozen=True)
class Epoch:
    """Attributes:
    variant: "smoothed", "plain" (the control without border smoothing) or the name of a point of a sweep.
    fold: from 0.
    phase: "adam" or "sgd".
    epoch: from 0 within its phase.
    dice: of the validation cases.
    """

    variant: str
    fold: int
    phase: str
    epoch: int
    loss: float
    dice: float

    @classmethod
    def fromValues(cls, values: dict) -> "Epoch | None":
        """What an event or a line of history.csv says; None where it is damaged."""
        try:
            return cls(
                str(values["variant"]),
                int(values["fold"]),
                str(values["phase"]),
                int(values["epoch"]),
                float(values["loss"]),
                float(values["validation_dice"]),
            )
        except (KeyError, TypeError, ValueError):
            return None


class TrainingCurves:
    """The epochs of all folds of a training, in the order in which they were trained."""

    def __init__(self):
        self._folds: dict[tuple[str, int], dict[tuple[str, int], Epoch]] = {}

    @classmethod
    def read(cls, out: str | Path) -> "TrainingCurves":
        """Those of an earlier training in the results folder; none where there was none."""
        curves, folder = cls(), ResultsFolder(out)
        for variant, part in _variants(folder):
            for path in _histories(part):
                number = int(path.parent.name.removeprefix("fold_"))
                for row in _rows(path):
                    epoch = Epoch.fromValues(row | {"variant": variant, "fold": number})
                    if epoch:
                        curves.add(epoch)
        return curves

    def add(self, epoch: Epoch) -> int:
        """Take up an epoch, in place of an earlier one of that number; which one it is of its fold, from 1."""
        epochs = self._folds.setdefault((epoch.variant, epoch.fold), {})
        key = epoch.phase, epoch.epoch
        epochs[key] = epoch
        return list(epochs).index(key) + 1

    def folds(self) -> dict[tuple[str, int], list[Epoch]]:
        """The epochs by variant and fold."""
        return {key: list(epochs.values()) for key, epochs in sorted(self._folds.items(), key=_smoothedFirst)}

    def __bool__(self) -> bool:
        return bool(self._folds)


def _smoothedFirst(item) -> tuple:
    (variant, fold), _epochs = item
    return (variant != SMOOTHED, variant != PLAIN, variant, fold)


def _variants(folder: ResultsFolder) -> list[tuple[str, Path]]:
    """The trainings in a results folder: its own, that of the control, those of a sweep."""
    own = PLAIN if folder.holdsTraining() and borderOf(folder.recipe) == "none" else SMOOTHED
    try:
        sweep = sorted(part for part in (folder.path / "sweep").iterdir() if part.is_dir())
    except (OSError, ValueError):  # there is none, or the path cannot be one
        sweep = []
    return [(own, folder.path), (PLAIN, folder.path / "plain"), *((part.name, part) for part in sweep)]


def _histories(part: Path) -> list[Path]:
    try:
        found = [path for path in part.glob("fold_*/history.csv") if re.fullmatch(r"fold_\d+", path.parent.name)]
    except (OSError, ValueError):
        return []
    return sorted(found, key=lambda path: int(path.parent.name.removeprefix("fold_")))


def _rows(path: Path) -> list[dict]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):  # it is written just now, or damaged: the training itself will say so
        return []
