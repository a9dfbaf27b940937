"""Training of one fold through both phases; an interrupted one goes on from its last epoch to the same result.

All randomness of an epoch comes from (seed, fold, epoch), so that nothing of it has to be stored to resume.
"""

import copy
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

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
from .precision import autocast, computes_mixed, keep_depthwise_full
from .state import HISTORY_COLUMNS, FoldState, is_begun, load_state, save_state

Parts = Sequence[tuple[Slices, Sequence[int]]]  # cases, each with some of its slices


@dataclass(frozen=True)
class ComputeConfig:
    """What a training computes with, and what it does not depend on.

    Attributes:
        device: torch device.
        workers: processes that make the batches, beside the training.
        processes: those that train together.
    """

    device: torch.device = torch.device("cpu")
    workers: int = 0
    processes: Processes = ALONE


class FoldTraining:
    """One fold in training.

    Args:
        recipe: every number of it.
        number: of the fold.
        training: what to learn from.
        validation: what is held out; neither augmented nor smoothed.
        folder: where the state of the last epoch and the history are kept.
        means: what to compute with.
        report: called after every epoch with its row of the history.
    """

    def __init__(
        self,
        recipe: Recipe,
        number: int,
        training: Parts,
        validation: Parts,
        folder: Path,
        means: ComputeConfig = ComputeConfig(),
        report: Callable[[dict], None] = lambda row: None,
    ):
        self.recipe, self.number, self.folder, self.means, self.report = recipe, number, Path(folder), means, report
        self.device, self.processes = means.device, means.processes
        self.validation = validation
        self.samples = Samples(recipe, training)
        if not len(self.samples.with_spleen):
            raise UserError(f"No slice that fold {number} would learn from holds spleen; give more labeled CTs.")
        check_batch(recipe.batch_size, self.processes)
        self.batches = Batches(
            self.samples, recipe.batch_size, means.workers, self.processes.rank, self.processes.count
        )
        torch.manual_seed(_seed(recipe, number, 0))
        self.network = build_network(recipe).to(self.device, memory_format=torch.channels_last)
        self.mixed = computes_mixed(recipe.precision, self.device)
        if self.mixed:
            keep_depthwise_full(self.network, self.device)
        self.averaged = copy.deepcopy(self.network) if recipe.averaging else self.network
        self.shared = share_network(self.network, self.processes)

    def run(self, resume: bool = False) -> LinkNet:
        """Train through both phases and return the network of the best validation Dice, on the CPU."""
        state = load_state(self.folder) if resume and is_begun(self.folder) else None
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
        scheduler = phase.scheduler(optimizer, len(self.batches))
        if resumed:
            optimizer.load_state_dict(resumed.optimizer)
            scheduler.load_state_dict(resumed.scheduler)
        for epoch in range(resumed.epoch + 1 if resumed else 0, phase.epochs):
            start = time.monotonic()
            loss = self._train_epoch(index, epoch, optimizer, scheduler if phase.steps_each_batch else None)
            dice = self._validate()
            rate = optimizer.param_groups[0]["lr"]
            if not phase.steps_each_batch:
                scheduler.step(dice)
            seconds = round(time.monotonic() - start, 2)
            values = (phase.name, epoch, rate, loss, dice, seconds, self.device.type)
            row = dict(zip(HISTORY_COLUMNS, values, strict=True))
            state = self._next_state(state, row, index, epoch, optimizer, scheduler)
            if self.processes.is_first:
                save_state(self.folder, state)
                self.report(row)
        return state

    def _train_epoch(self, phase: int, epoch: int, optimizer, scheduler) -> float:
        seed = _seed(self.recipe, self.number, 1 + epoch + phase * self.recipe.epochs[0])
        torch.manual_seed(seed)
        self.network.train()
        losses = []
        for ct, label in self.batches.epoch(seed):
            losses.append(self._step(ct, label, optimizer))
            if scheduler is not None:
                scheduler.step()
        return float(np.mean(losses))

    def _step(self, ct: torch.Tensor, label: torch.Tensor, optimizer) -> float:
        """Learn from one batch; returns its loss."""
        ct = ct.to(self.device, memory_format=torch.channels_last, non_blocking=True)
        label = label.to(self.device, non_blocking=True)
        with autocast(self.mixed, self.device):
            logits = self.shared(ct)
        loss = dice_and_cross_entropy(logits.float(), label, self.processes.add)
        if not torch.isfinite(loss):
            raise UserError(
                f"The loss of fold {self.number} is no longer a number; train again with a lower learning rate."
            )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        if self.recipe.clip_gradient:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.clip_gradient)
        optimizer.step()
        self._average()
        return loss.item()

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

    def _validate(self) -> float:
        """Mean over cases of the Dice on the network's grid, each process a share of the cases."""
        share = self.validation[self.processes.rank :: self.processes.count]
        dices = [dice_of_case(self.averaged, part, self.device, self.recipe, self.mixed) for part in share]
        sums = torch.tensor([sum(dices), len(dices)], dtype=torch.float64, device=self.device)
        total, count = self.processes.add(sums).tolist()
        return total / count

    def _next_state(
        self, before: FoldState | None, row: dict, phase: int, epoch: int, optimizer, scheduler
    ) -> FoldState:
        network = _snapshot(self.network)
        averaged = network if self.averaged is self.network else _snapshot(self.averaged)
        if before is None or row["validation_dice"] > before.best_dice:
            best_network, best_dice = averaged, row["validation_dice"]
        else:
            best_network, best_dice = before.best_network, before.best_dice
        return FoldState(
            network=network,
            averaged=averaged,
            optimizer=optimizer.state_dict(),
            scheduler={name: value for name, value in scheduler.state_dict().items() if not callable(value)},
            best_network=best_network,
            best_dice=best_dice,
            phase=phase,
            epoch=epoch,
            history=[*(before.history if before else []), row],
        )


def build_network(recipe: Recipe) -> LinkNet:
    """The network of a recipe with its first weights; raises UserError for an encoder or weights that are not there."""
    from_hub = recipe.encoder_weights == "imagenet"
    network = LinkNet(
        recipe.encoder, recipe.channels, recipe.decoder_reduction, encoder_weights="imagenet" if from_hub else None
    )
    if recipe.encoder_weights not in ("none", "imagenet"):
        load_encoder_weights(network.encoder, recipe.encoder_weights)
    return network


def dice_of_case(network, part, device: torch.device, recipe: Recipe, mixed: bool) -> float:
    """Dice over some slices of a case on the network's grid, without augmentation or smoothing."""
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
