"""Training of one fold through both phases; an interrupted one goes on from its last epoch to the same result.

All randomness of an epoch comes from (seed, fold, epoch), so that nothing of it has to be stored to resume.
"""

import contextlib
import copy
import csv
import io
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from SpleenSmoothSegLib.atomic import written_aside
from SpleenSmoothSegLib.borders import Border, soften
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.measurement import Overlap
from SpleenSmoothSegLib.network import LinkNet

from .augmentation import augment, augmentation
from .dataset import Slices
from .loss import dice_and_cross_entropy
from .phases import Phase, phases
from .recipe import Recipe

STATE_NAME = "last.pt"
HISTORY_NAME = "history.csv"
HISTORY_COLUMNS = ("phase", "epoch", "rate", "loss", "validation_dice")


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


class FoldTraining:
    """One fold in training.

    Args:
        recipe: every number of it.
        number: of the fold.
        training: slices of the cases to learn from.
        validation: slices of the cases held out; neither augmented nor smoothed.
        folder: where the state of the last epoch and the history are kept.
        device: torch device.
        report: called after every epoch with its row of the history.
    """

    def __init__(
        self,
        recipe: Recipe,
        number: int,
        training: list[Slices],
        validation: list[Slices],
        folder: Path,
        device: torch.device,
        report: Callable[[dict], None] = lambda row: None,
    ):
        self.recipe, self.number, self.folder, self.device, self.report = recipe, number, Path(folder), device, report
        self.validation = validation
        self.ct = np.concatenate([case.ct for case in training])
        self.label = np.concatenate([soft_labels(case, Border.parse(recipe.border)) for case in training])
        self.with_spleen = np.flatnonzero(np.concatenate([case.label.any(axis=(1, 2)) for case in training]))
        self.without_spleen = np.setdiff1d(np.arange(len(self.ct)), self.with_spleen)
        if not len(self.with_spleen):
            raise UserError(f"No slice that fold {number} would learn from holds spleen; give more labeled CTs.")
        torch.manual_seed(_seed(recipe, number, 0))
        network = LinkNet(recipe.encoder, decoder_reduction=recipe.decoder_reduction)
        self.network = network.to(device, memory_format=torch.channels_last)
        self.averaged = copy.deepcopy(self.network) if recipe.averaging else self.network

    def run(self, resume: bool = False) -> LinkNet:
        """Train through both phases and return the network of the best validation Dice, on the CPU."""
        state = load_state(self.folder) if resume and (self.folder / STATE_NAME).is_file() else None
        for index, phase in enumerate(phases(self.recipe)):
            if phase.epochs and (state is None or state.phase <= index):
                state = self._run_phase(index, phase, state)
        if state is not None:
            self.averaged.load_state_dict(state.best_network)
        return self.averaged.cpu().eval()

    def _run_phase(self, index: int, phase: Phase, state: FoldState | None) -> FoldState:
        begun = state is not None and state.phase == index
        if state is not None:  # a phase begins with the best network of the one before
            self.network.load_state_dict(state.network if begun else state.best_network)
            self.averaged.load_state_dict(state.averaged if begun else state.best_network)
        optimizer = phase.optimizer(self.network.parameters())
        scheduler = phase.scheduler(optimizer, math.ceil(self._slices_per_epoch() / self.recipe.batch_size))
        if begun:
            optimizer.load_state_dict(state.optimizer)
            scheduler.load_state_dict(state.scheduler)
        for epoch in range(state.epoch + 1 if begun else 0, phase.epochs):
            loss = self._train_epoch(index, epoch, optimizer, scheduler if phase.steps_each_batch else None)
            dice = validation_dice(self.averaged, self.validation, self.device, self.recipe)
            rate = optimizer.param_groups[0]["lr"]
            if not phase.steps_each_batch:
                scheduler.step(dice)
            row = dict(zip(HISTORY_COLUMNS, (phase.name, epoch, rate, loss, dice), strict=True))
            state = self._next_state(state, row, index, epoch, optimizer, scheduler)
            self._save(state)
            self.report(row)
        return state

    def _train_epoch(self, phase: int, epoch: int, optimizer, scheduler) -> float:
        seed = _seed(self.recipe, self.number, 1 + epoch + phase * self.recipe.adam_epochs)
        chosen = self._draw_slices(np.random.default_rng(seed))
        transform = augmentation(self.recipe.augmentation)
        transform.set_random_seed(seed)
        torch.manual_seed(seed)
        self.network.train()
        total = 0.0
        for start in range(0, len(chosen), self.recipe.batch_size):
            pairs = [
                augment(transform, self.ct[i], self.label[i]) for i in chosen[start : start + self.recipe.batch_size]
            ]
            ct, label = (
                torch.from_numpy(np.stack(arrays)[:, None]).to(self.device) for arrays in zip(*pairs, strict=True)
            )
            with mixed_precision(self.device):
                logits = self.network(ct.contiguous(memory_format=torch.channels_last))
            loss = dice_and_cross_entropy(logits.float(), label)
            if not torch.isfinite(loss):
                raise UserError(
                    f"The loss of fold {self.number} is no longer a number; train again with a lower learning rate."
                )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            if scheduler is not None:
                scheduler.step()
            self._average()
            total += loss.item() * len(pairs)
        return total / len(chosen)

    @torch.no_grad()
    def _average(self) -> None:
        """Move the averaged network a little towards the trained one, batch norm's statistics too."""
        if self.averaged is self.network:
            return
        for mean, value in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - self.recipe.averaging)
            else:
                mean.copy_(value)

    def _draw_slices(self, generator: np.random.Generator) -> np.ndarray:
        """The slices of one epoch, in random order: all with spleen, and so many without as the recipe says."""
        empty = generator.permutation(self.without_spleen)[: self._slices_per_epoch() - len(self.with_spleen)]
        return generator.permutation(np.concatenate([self.with_spleen, empty]))

    def _slices_per_epoch(self) -> int:
        empty = min(len(self.without_spleen), self.recipe.empty_slices * len(self.with_spleen))
        return len(self.with_spleen) + int(empty)

    def _next_state(
        self, before: FoldState | None, row: dict, phase: int, epoch: int, optimizer, scheduler
    ) -> FoldState:
        network = _snapshot(self.network)
        averaged = network if self.averaged is self.network else _snapshot(self.averaged)
        better = before is None or row["validation_dice"] > before.best_dice
        return FoldState(
            network=network,
            averaged=averaged,
            optimizer=optimizer.state_dict(),
            scheduler={name: value for name, value in scheduler.state_dict().items() if not callable(value)},
            best_network=averaged if better else before.best_network,
            best_dice=row["validation_dice"] if better else before.best_dice,
            phase=phase,
            epoch=epoch,
            history=[*(before.history if before else []), row],
        )

    def _save(self, state: FoldState) -> None:
        with written_aside(self.folder / HISTORY_NAME) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, HISTORY_COLUMNS)
            writer.writeheader()
            writer.writerows(state.history)
        buffer = io.BytesIO()  # torch.save tells a full disk by an error of its own, a file of Python's by OSError
        torch.save(vars(state), buffer)
        with written_aside(self.folder / STATE_NAME) as aside:
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


def is_finished(folder: Path, recipe: Recipe) -> bool:
    """Whether the fold in `folder` has been through its last epoch."""
    if not (folder / STATE_NAME).is_file():
        return False
    state = load_state(folder)
    last = [(index, phase.epochs - 1) for index, phase in enumerate(phases(recipe)) if phase.epochs][-1]
    return (state.phase, state.epoch) == last


def soft_labels(case: Slices, border: Border) -> np.ndarray:
    """Training labels float32 (slice, row, column) in [0, 1] of a case: its mask with a smoothed border."""
    return soften(case.label, case.grid.spacing[::-1], border)


def validation_dice(network, cases: list[Slices], device: torch.device, recipe: Recipe) -> float:
    """Mean over volumes of the Dice on the network's grid, without augmentation or smoothing."""
    network.eval()
    dices = []
    for case in cases:
        overlap = Overlap()
        for start in range(0, len(case.ct), recipe.batch_size):
            part = slice(start, start + recipe.batch_size)
            ct = torch.from_numpy(case.ct[part, None]).to(device)
            with torch.inference_mode(), mixed_precision(device):
                mask = (
                    torch.sigmoid(network(ct.contiguous(memory_format=torch.channels_last)).float()) >= recipe.threshold
                )
            overlap += Overlap.of(mask[:, 0].cpu().numpy(), case.label[part])
        dices.append(overlap.dice)
    return float(np.mean(dices))


def mixed_precision(device: torch.device):
    """Autocast to bfloat16 where the device computes in it; full precision elsewhere."""
    if device.type == "cuda":
        fast = torch.cuda.get_device_capability(device)[0] >= 8  # older ones only emulate it
    else:
        fast = device.type == "cpu" and _cpu_computes_in_bfloat16()
    return torch.autocast(device.type, dtype=torch.bfloat16) if fast else contextlib.nullcontext()


def _cpu_computes_in_bfloat16() -> bool:
    capability = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch >= 2.9
    return bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))


def _snapshot(network: torch.nn.Module) -> dict:
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}


def _seed(recipe: Recipe, fold: int, epoch: int) -> int:
    return int(np.random.SeedSequence([recipe.seed, fold, epoch]).generate_state(1)[0])
