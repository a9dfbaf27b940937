"""Loss and validation Dice of each epoch, from the events of train.py and its history.csv files."""

import csv
from dataclasses import dataclass
from pathlib import Path

from SpleenSmoothSegTrainingLib.outfolder import CONTROL, SMOOTHED, OutFolder

from .choices import readBorder


@dataclass(frozen=True)
class Epoch:
    """Loss and validation Dice of one epoch.

    Attributes:
        variant: "smoothed", "control" or the name of a border of a sweep.
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
        """The epoch of an event or a row of history.csv; None if it is damaged."""
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
    """The epochs of all folds of a training, in training order."""

    def __init__(self):
        self._folds: dict[tuple[str, int], dict[tuple[str, int], Epoch]] = {}

    @classmethod
    def read(cls, out: str | Path) -> "TrainingCurves":
        """The curves of the training in a results folder; empty if there is none."""
        curves = cls()
        for variant, folder in _variants(OutFolder(out)):
            for number, path in folder.histories().items():
                for row in _rows(path):
                    epoch = Epoch.fromValues(row | {"variant": variant, "fold": number})
                    if epoch:
                        curves.add(epoch)
        return curves

    def add(self, epoch: Epoch) -> int:
        """Add an epoch or replace the one of that number; returns its position in its fold, from 1."""
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
    return (variant != SMOOTHED, variant != CONTROL, variant, fold)


def _variants(folder: OutFolder) -> list[tuple[str, OutFolder]]:
    """The trainings in a results folder: its own, the control, the sweep."""
    own = CONTROL if folder.has_training() and readBorder(folder.recipe) == "none" else SMOOTHED
    return [(own, folder), (CONTROL, folder.control), *folder.sweep_points().items()]


def _rows(path: Path) -> list[dict]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    except (OSError, ValueError, csv.Error):  # damaged; train.py reports it
        return []
