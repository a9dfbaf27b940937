"""Where the training of a fold stands, kept on disk after every epoch."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import torch

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

from ..recipe.recipe import Recipe
from .phases import phases

STATE_NAME = "last.pt"
HISTORY_NAME = "history.csv"
HISTORY_COLUMNS = ("phase", "epoch", "rate", "loss", "validation_dice", "seconds", "device")


@dataclass
class FoldState:
    """Where the training of a fold stands after an epoch; all that a resumed run needs."""

    network: dict
    averaged: dict
    optimizer: dict
    scheduler: dict
    best_network: dict
    best_dice: float
    phase: int
    epoch: int
    history: list[dict]


def save_state(folder: Path, state: FoldState) -> None:
    """Keep `state` and its history in `folder`; raises UserError where that cannot be written, the old one stays."""
    with atomic_write(folder / HISTORY_NAME) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS)
        writer.writeheader()
        writer.writerows(state.history)
    buffer = io.BytesIO()  # torch.save tells a full disk by an error of its own, a file of Python's by OSError
    torch.save(vars(state), buffer)
    with atomic_write(folder / STATE_NAME) as aside:
        aside.write_bytes(buffer.getvalue())


def load_state(folder: Path) -> FoldState:
    """The state of the last epoch of the fold in `folder`, on the CPU; raises UserError where it cannot be read."""
    path = folder / STATE_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'"{path}" cannot be read; check that it is there and may be read.') from error
    try:
        return FoldState(**torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises whatever a damaged file makes it raise
        raise UserError(f'"{path}" is damaged; delete it to train this fold from its beginning.') from error


def is_begun(folder: Path) -> bool:
    """Whether the fold in `folder` has been through an epoch."""
    return (folder / STATE_NAME).is_file()


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether the fold in `folder` has been through its last epoch."""
    if not is_begun(folder):
        return False
    state = load_state(folder)
    last = [(index, phase.epochs - 1) for index, phase in enumerate(phases(recipe)) if phase.epochs][-1]
    return (state.phase, state.epoch) == last
