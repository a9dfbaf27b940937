"""The state of a fold's training, saved after every epoch."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import torch

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.atomic import atomic_write

from ..outfolder import HISTORY_NAME, STATE_NAME
from ..recipe.recipe import Recipe
from .phases import phases

HISTORY_COLUMNS = ("phase", "epoch", "rate", "loss", "validation_dice", "seconds", "device")


@dataclass
class FoldState:
    """The state of a fold's training after an epoch, complete for resuming."""

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
    """Save state and history in `folder`; raises UserError if they cannot be written, and the previous ones remain."""
    with atomic_write(folder / HISTORY_NAME) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, HISTORY_COLUMNS)
        writer.writeheader()
        writer.writerows(state.history)
    buffer = io.BytesIO()  # to a file, torch.save raises another type than OSError if the disk is full
    torch.save(vars(state), buffer)
    with atomic_write(folder / STATE_NAME) as temporary:
        temporary.write_bytes(buffer.getvalue())


def load_state(folder: Path) -> FoldState:
    """The state after the last epoch of the fold in `folder`, on the CPU; raises UserError if it cannot be read."""
    path = folder / STATE_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f'"{path}" cannot be read; check that it exists and that you may read it.') from error
    try:
        return FoldState(**torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))
    except MemoryError:
        raise
    except Exception as error:  # torch.load raises many types for a damaged file
        raise UserError(f'"{path}" is damaged; delete it to train this fold from the beginning.') from error


def is_started(folder: Path) -> bool:
    """Whether the fold in `folder` has completed an epoch."""
    return (folder / STATE_NAME).is_file()


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether the fold in `folder` has completed its last epoch."""
    if not is_started(folder):
        return False
    state = load_state(folder)
    last = [(index, phase.epochs - 1) for index, phase in enumerate(phases(recipe)) if phase.epochs][-1]
    return (state.phase, state.epoch) == last
