"""The independent tasks of a run: one for each fold to train, and one for each variant to measure.

A task reads all it needs from the folder of its training (recipe, splits, states). So any process that can access the
folder can run it, and another can resume it after the first one died.
"""

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.inference.devices import choose_device, keep_freed_memory
from SpleenSmoothSegLib.model.folder import save_model

from ..data.dataset import Dataset, open_dataset
from ..data.prepare import slice_format
from ..data.slicecache import SliceCache
from ..data.splits import Part
from ..learning.distributed import ALONE, Processes, local_device
from ..learning.fold import ComputeConfig, FoldData, FoldTraining, build_network
from ..learning.state import is_finished, load_state
from ..measuring.evaluation import EvaluationOptions, evaluate
from ..measuring.metricsfile import write_metrics
from ..outfolder import CURVE_NAME, OutFolder
from ..recipe.file import read_recipe
from ..recipe.recipe import Recipe
from ..reporting.figures import draw_curve
from .card import model_card
from .reserve import splits_of_training

OnEvent = Callable[[dict], None]


@dataclass(frozen=True)
class TaskOptions:
    """What all tasks of a run share; the attributes are those of `options.Run`."""

    dataset: Path
    segment: str | None = None
    cache: Path | None = None
    device: str = "auto"
    workers: int = 0
    tensorboard: bool = False


@dataclass(frozen=True)
class FoldTask:
    """One fold of a variant to train, or to resume."""

    variant: str
    folder: Path
    number: int
    options: TaskOptions

    @property
    def title(self) -> str:
        return f"fold {self.number} of {self.variant}"


@dataclass(frozen=True)
class MeasureTask:
    """One variant to measure, after its folds are trained."""

    variant: str
    folder: Path
    options: TaskOptions

    @property
    def title(self) -> str:
        return f"measuring {self.variant}"


def train_fold(task: FoldTask, on_event: OnEvent, processes: Processes = ALONE) -> None:
    """Train a fold to the end, from its last epoch; emits {"event": "epoch", ...} after each epoch.

    Raises UserError for anything the user can fix.
    """
    keep_freed_memory()
    torch.backends.cudnn.deterministic = True  # so that a seed fixes the training on a GPU as well
    out, options = OutFolder(task.folder), task.options
    recipe, _ = read_recipe(out.recipe)
    folder = out.fold(task.number)
    if is_finished(folder, recipe):
        return
    write = _tensorboard_writer(folder) if options.tensorboard and processes.is_first else lambda row: None

    def on_epoch(row: dict) -> None:
        write(row)
        on_event({"event": "epoch", "variant": task.variant, "fold": task.number, **row})

    splits = splits_of_training(task.folder)
    dataset = open_dataset(options.dataset, options.segment)
    cache = SliceCache(options.cache, lambda message: on_event({"event": "warning", "message": message}))
    device = local_device(choose_device(options.device))
    data = FoldData(
        task.number,
        training=_parts(splits.training_part(task.number), dataset, recipe, cache),
        validation=_parts(splits.folds[task.number], dataset, recipe, cache),
    )
    config = ComputeConfig(device, options.workers, processes)
    FoldTraining(recipe, data, folder, config, on_epoch).run(resume=True)
    if processes.is_first:
        draw_curve(load_state(folder).history, folder / CURVE_NAME)


def measure(task: MeasureTask, on_event: OnEvent) -> None:
    """Save the finished folds as the model folder and measure it; emits {"event": "measured", ...} for each row.

    Raises UserError for anything the user can fix.
    """
    out = OutFolder(task.folder)
    recipe, card_text = read_recipe(out.recipe)
    splits = splits_of_training(task.folder)
    dataset = open_dataset(task.options.dataset, task.options.segment)
    folds = finished_folds(task.folder, recipe)
    if not folds:
        raise UserError(f'"{task.folder}" has no finished fold; train one first.')
    devices, networks = set(), []
    for number in folds:  # one at a time, because a state is four times as large as the network
        state = load_state(out.fold(number))
        devices |= {row["device"] for row in state.history if row.get("device")}
        networks.append(_network(recipe, state.best_network))
    card = model_card(recipe, dataset, splits, card_text, folds, sorted(devices))
    save_model(out.model, card, networks)
    metrics = evaluate(
        out.model,
        {case.name: case for case in dataset.cases},
        splits,
        EvaluationOptions(task.options.device, out.predictions, folds),
        on_row=lambda row: on_event({"event": "measured", "variant": task.variant, **asdict(row)}),
    )
    write_metrics(task.folder, metrics)
    save_model(out.model, {**card, "metrics": [asdict(row) for row in metrics.one_per_case()]}, networks)


def finished_folds(folder: Path, recipe: Recipe) -> list[int]:
    """Numbers of the folds in the folder of a training that have completed their last epoch."""
    out = OutFolder(folder)
    return [number for number in range(recipe.fold_count) if is_finished(out.fold(number), recipe)]


def _parts(part: Part, dataset: Dataset, recipe: Recipe, cache: SliceCache) -> list:
    """For each case of a part, its slices and the indices of those that belong to the part."""
    cases = {case.name: case for case in dataset.cases}
    parts = []
    for name, indices in part.items():
        slices = cache.slices(cases[name], slice_format(recipe), recipe.border)
        parts.append((slices, range(len(slices.ct)) if indices is None else indices))
    return parts


def _network(recipe: Recipe, weights: dict):
    network = build_network(recipe.with_changes(encoder_weights="none"))
    network.load_state_dict(weights)
    return network.eval()


def check_tensorboard() -> None:
    """Raise UserError if TensorBoard is not installed."""
    try:
        importlib.import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise UserError("--tensorboard needs the package tensorboard; install it or remove the option.") from error


def _tensorboard_writer(folder: Path) -> Callable[[dict], None]:
    """Returns a function that writes a row of the history as TensorBoard events."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder / "tensorboard")

    def write(row: dict) -> None:
        step = row["epoch"] if row["phase"] == "adam" else 10_000 + row["epoch"]
        for name in ("rate", "loss", "validation_dice"):
            writer.add_scalar(name, row[name], step)
        writer.flush()

    return write
