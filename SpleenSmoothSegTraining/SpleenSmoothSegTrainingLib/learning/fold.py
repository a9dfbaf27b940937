"""Training of one fold through both phases; an interrupted training resumes to the same result.

All randomness of an epoch is seeded with (seed, fold, epoch), so no random state has to be saved.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import with_neighbors
from SpleenSmoothSegLib.metrics.overlap import Overlap
from SpleenSmoothSegLib.model.network import LinkNet

from ..data.samples import Batches, Samples
from ..data.slicecache import Slices
from ..recipe.recipe import Recipe
from .distributed import ALONE, Processes, check_batch, share_network
from .encoderweights import load_encoder_weights
from .loss import dice_and_cross_entropy
from .phases import Phase, phases
from .precision import autocast, computes_mixed, keep_depthwise_float32
from .state import HISTORY_COLUMNS, FoldState, is_started, load_state, save_state

Parts = Sequence[tuple[Slices, Sequence[int]]]  # cases, each with the indices of some slices


@dataclass(frozen=True)
class ComputeConfig:
    """Hardware settings, which are not part of the recipe.

    Attributes:
        device: torch device.
        workers: processes that load batches; 0 loads them in the training process.
        processes: of a distributed training.
    """

    device: torch.device = torch.device("cpu")
    workers: int = 0
    processes: Processes = ALONE


@dataclass(frozen=True)
class FoldData:
    """The number of a fold and its data.

    Attributes:
        number: of the fold, from 0.
        training: slices to train on.
        validation: slices held out; neither augmented nor smoothed.
    """

    number: int
    training: Parts
    validation: Parts


@dataclass(frozen=True)
class _RunningPhase:
    """A phase, its index, and its optimizer and scheduler."""

    index: int
    phase: Phase
    optimizer: Optimizer
    scheduler: Any


class FoldTraining:
    """Training of one fold.

    Args:
        recipe: all hyperparameters.
        data: of the fold.
        folder: for the state of the last epoch and the history.
        config: device and processes.
        on_epoch: called after every epoch with its row of the history.

    Raises:
        UserError: no training slice has spleen, or the batch size does not suit the number of processes.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: FoldData,
        folder: Path,
        config: ComputeConfig = ComputeConfig(),
        on_epoch: Callable[[dict], None] = lambda row: None,
    ):
        self.recipe, self.number, self.folder, self.on_epoch = recipe, data.number, Path(folder), on_epoch
        self.device, self.processes = config.device, config.processes
        self.validation = data.validation
        self.samples = Samples(recipe, data.training)
        if not len(self.samples.with_spleen):
            raise UserError(f"Fold {self.number} has no training slice with spleen; add labeled CTs.")
        check_batch(recipe.batch_size, self.processes)
        self.batches = Batches(
            self.samples, recipe.batch_size, config.workers, self.processes.rank, self.processes.count
        )
        torch.manual_seed(_seed(recipe, self.number, 0))
        self.network = build_network(recipe).to(self.device, memory_format=torch.channels_last)
        self.mixed = computes_mixed(recipe.precision, self.device)
        if self.mixed:
            keep_depthwise_float32(self.network, self.device)
        self.averaged = copy.deepcopy(self.network) if recipe.averaging else self.network
        self.shared = share_network(self.network, self.processes)

    def run(self, resume: bool = False) -> LinkNet:
        """Train both phases and return the network with the best validation Dice, on the CPU."""
        state = load_state(self.folder) if resume and is_started(self.folder) else None
        for index, phase in enumerate(phases(self.recipe)):
            if phase.epochs and (state is None or state.phase <= index):
                state = self._run_phase(index, phase, state)
        if state is None:
            raise ValueError("the recipe has no epochs")
        self.averaged.load_state_dict(state.best_network)
        return self.averaged.cpu().eval()

    def _run_phase(self, index: int, phase: Phase, state: FoldState | None) -> FoldState | None:
        resumed = state if state is not None and state.phase == index else None
        if state is not None:  # a phase starts with the best network of the previous one
            self.network.load_state_dict(resumed.network if resumed else state.best_network)
            self.averaged.load_state_dict(resumed.averaged if resumed else state.best_network)
        optimizer = phase.optimizer(self.network.parameters())
        running = _RunningPhase(index, phase, optimizer, phase.scheduler(optimizer, len(self.batches)))
        if resumed:
            optimizer.load_state_dict(resumed.optimizer)
            running.scheduler.load_state_dict(resumed.scheduler)
        for epoch in range(resumed.epoch + 1 if resumed else 0, phase.epochs):
            start = time.monotonic()
            loss = self._train_epoch(running, epoch)
            dice = self._validate()
            rate = optimizer.param_groups[0]["lr"]
            if not phase.steps_each_batch:
                running.scheduler.step(dice)
            seconds = round(time.monotonic() - start, 2)
            values = (phase.name, epoch, rate, loss, dice, seconds, self.device.type)
            row = dict(zip(HISTORY_COLUMNS, values, strict=True))
            state = self._next_state(state, row, running)
            if self.processes.is_first:
                save_state(self.folder, state)
                self.on_epoch(row)
        return state

    def _train_epoch(self, running: _RunningPhase, epoch: int) -> float:
        """Train one epoch; returns its mean loss."""
        seed = _seed(self.recipe, self.number, 1 + epoch + running.index * self.recipe.epochs[0])
        torch.manual_seed(seed)
        self.network.train()
        losses = []
        for ct, label in self.batches.epoch(seed):
            losses.append(self._step(ct, label, running.optimizer))
            if running.phase.steps_each_batch:
                running.scheduler.step()
        return float(np.mean(losses))

    def _step(self, ct: torch.Tensor, label: torch.Tensor, optimizer: Optimizer) -> float:
        """Train on one batch; returns its loss."""
        ct = ct.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        label = label.to(self.device, non_blocking=True)
        with autocast(self.mixed, self.device):
            logits = self.shared(ct)
        loss = dice_and_cross_entropy(logits.float(), label, self.processes.all_reduce)
        if not torch.isfinite(loss):
            raise UserError(f"The loss of fold {self.number} is not finite; train again with a lower learning rate.")
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip_gradient:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_gradient)
        optimizer.step()
        self._average()
        return loss.item()

    @torch.no_grad()
    def _average(self) -> None:
        """Update the exponential moving average of the weights and batch norm statistics."""
        if self.averaged is self.network:
            return
        for mean, value in zip(self.averaged.state_dict().values(), self.network.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - self.recipe.averaging)
            else:
                mean.copy_(value)

    def _validate(self) -> float:
        """Mean Dice over cases on the network's grid; each process computes a share of the cases."""
        share = self.validation[self.processes.rank :: self.processes.count]
        dices = [dice_of_case(self.averaged, part, self.device, self.recipe, self.mixed) for part in share]
        sums = torch.tensor([sum(dices), len(dices)], dtype=torch.float64, device=self.device)
        total, count = self.processes.all_reduce(sums).tolist()
        return total / count

    def _next_state(self, before: FoldState | None, row: dict, running: _RunningPhase) -> FoldState:
        network = _snapshot(self.network)
        averaged = network if self.averaged is self.network else _snapshot(self.averaged)
        if before is None or row["validation_dice"] > before.best_dice:
            best_network, best_dice = averaged, row["validation_dice"]
        else:
            best_network, best_dice = before.best_network, before.best_dice
        return FoldState(
            network=network,
            averaged=averaged,
            optimizer=running.optimizer.state_dict(),
            scheduler={name: value for name, value in running.scheduler.state_dict().items() if not callable(value)},
            best_network=best_network,
            best_dice=best_dice,
            phase=running.index,
            epoch=row["epoch"],
            history=[*(before.history if before else []), row],
        )


def build_network(recipe: Recipe) -> LinkNet:
    """The network of a recipe with its initial weights; raises UserError for an unknown encoder or missing weights."""
    from_hub = recipe.encoder_weights == "imagenet"
    network = LinkNet(
        recipe.encoder, recipe.channels, recipe.decoder_reduction, encoder_weights="imagenet" if from_hub else None
    )
    if recipe.encoder_weights not in ("none", "imagenet"):
        load_encoder_weights(network.encoder, recipe.encoder_weights)
    return network


def dice_of_case(network, part, device: torch.device, recipe: Recipe, mixed: bool) -> float:
    """Dice over some slices of a case on the network's grid, against the hard label, without augmentation."""
    network.eval()
    case, indices = part
    indices = np.asarray(indices)
    step = recipe.channel_spacing / case.spacing[0]
    overlap = Overlap()
    for start in range(0, len(indices), recipe.batch_size):
        batch = indices[start : start + recipe.batch_size]
        ct = torch.from_numpy(with_neighbors(case.ct, batch, recipe.channels, step))
        with torch.inference_mode(), autocast(mixed, device):
            logits = network(ct.to(device, memory_format=torch.channels_last))[:, 0].float()
        overlap += Overlap.of((torch.sigmoid(logits) >= recipe.threshold).cpu().numpy(), case.label[batch])
    return overlap.dice


def _snapshot(network: nn.Module) -> dict:
    return {name: value.detach().to("cpu", copy=True) for name, value in network.state_dict().items()}


def _seed(recipe: Recipe, fold: int, epoch: int) -> int:
    return int(np.random.SeedSequence([recipe.seed, fold, epoch]).generate_state(1)[0])
