"""The two published phases: Adam with ReduceLROnPlateau, then SGD with a cyclic learning rate."""

from collections.abc import Callable
from dataclasses import dataclass

from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import CyclicLR, LRScheduler, ReduceLROnPlateau

from ..recipe.recipe import Recipe


@dataclass(frozen=True)
class Phase:
    """One phase of the training of a fold.

    Attributes:
        name: "adam" or "sgd".
        epochs: their number.
        optimizer: creates the optimizer for the network's parameters.
        scheduler: creates the scheduler for that optimizer and a number of steps per epoch.
        steps_each_batch: the scheduler steps after every batch; otherwise after every epoch, with the validation Dice.
    """

    name: str
    epochs: int
    optimizer: Callable[[object], Optimizer]
    scheduler: Callable[[Optimizer, int], LRScheduler]
    steps_each_batch: bool


def phases(recipe: Recipe) -> tuple[Phase, Phase]:
    """Phases 1 and 2 of the paper with the hyperparameters of `recipe`."""
    return (
        Phase(
            name="adam",
            epochs=recipe.epochs[0],
            optimizer=lambda parameters: Adam(parameters, lr=recipe.adam_rate),
            scheduler=lambda optimizer, steps_per_epoch: ReduceLROnPlateau(
                optimizer, mode="max", factor=recipe.plateau_factor, patience=recipe.plateau_patience
            ),
            steps_each_batch=False,
        ),
        Phase(
            name="sgd",
            epochs=recipe.epochs[1],
            optimizer=lambda parameters: SGD(parameters, lr=recipe.sgd_base_rate, momentum=recipe.sgd_momentum),
            scheduler=lambda optimizer, steps_per_epoch: CyclicLR(
                optimizer,
                base_lr=recipe.sgd_base_rate,
                max_lr=recipe.sgd_max_rate,
                step_size_up=max(1, recipe.sgd_cycle_epochs * steps_per_epoch // 2),
                cycle_momentum=False,
            ),
            steps_each_batch=True,
        ),
    )
