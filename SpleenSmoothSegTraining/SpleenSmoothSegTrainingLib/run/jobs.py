"""What a run consists of: jobs that know nothing of each other, one a fold to train and one a training to measure.

A job finds all it needs in the folder of its training (recipe, splits, states), so that any process that sees the
folder can do it, and can take it up again after another one died.
"""

import importlib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.inference.devices import choose_device, keep_freed_memory
from SpleenSmoothSegLib.model.folder import save_model

from ..data.dataset import Dataset, open_dataset
from ..data.prepare import slice_format
from ..data.slicecache import SliceCache
from ..data.splits import Part
from ..learning.distributed import ALONE, Processes, local_device
from ..learning.fold import ComputeConfig, FoldTraining, build_network
from ..learning.state import is_finished, load_state
from ..measuring.evaluation import evaluate
from ..measuring.metricsfile import write_metrics
from ..outfolder import MODEL_NAME, RECIPE_NAME, fold_folder
from ..recipe.file import read_recipe
from ..recipe.recipe import Recipe
from ..reporting.figures import draw_curve
from .card import model_card
from .claim import claimed_splits

Say = Callable[[dict], None]


@dataclass(frozen=True)
class Job:
    """What the jobs of one run share.

    Attributes:
        variant: name of the training.
        folder: of the training.
        dataset, segment, cache, device, workers, tensorboard: as in `options.Run`.
    """

    variant: str
    folder: Path
    dataset: Path
    segment: str | None = None
    cache: Path | None = None
    device: str = "auto"
    workers: int = 0
    tensorboard: bool = False

    @property
    def title(self) -> str:
        return f"measuring {self.variant}"


@dataclass(frozen=True)
class FoldJob(Job):
    """One fold to train, from where it stands."""

    number: int = 0

    @property
    def title(self) -> str:
        return f"fold {self.number} of {self.variant}"


def train_fold(job: FoldJob, say: Say, processes: Processes = ALONE) -> None:
    """Train a fold to its end, from where it stands; says {"event": "epoch", ...} after each epoch.

    Raises UserError: anything a person can mend, in one sentence.
    """
    keep_freed_memory()
    torch.backends.cudnn.deterministic = True  # a seed fixes the training on a GPU, too
    recipe, _ = read_recipe(job.folder / RECIPE_NAME)
    folder = fold_folder(job.folder, job.number)
    told = {"event": "epoch", "variant": job.variant, "fold": job.number}
    write = _tensorboard_writer(folder) if job.tensorboard and processes.is_first else lambda row: None

    def report(row: dict) -> None:
        write(row)
        say({**told, **row})

    if is_finished(folder, recipe):
        return
    splits = claimed_splits(job.folder)
    dataset = open_dataset(job.dataset, job.segment)
    cache = SliceCache(job.cache, lambda sentence: say({"event": "warning", "message": sentence}))
    device = local_device(choose_device(job.device))
    training = FoldTraining(
        recipe,
        job.number,
        _parts(splits.learned_by(job.number), dataset, recipe, cache),
        _parts(splits.folds[job.number], dataset, recipe, cache),
        folder,
        ComputeConfig(device, job.workers, processes),
        report,
    )
    training.run(resume=True)
    if processes.is_first:
        draw_curve(load_state(folder).history, folder / "curve.png")


def measure(job: Job, say: Say) -> None:
    """Put the finished folds of a training into its model folder, and measure it; says {"event": "measured", ...}.

    Raises UserError: anything a person can mend, in one sentence.
    """
    recipe, words = read_recipe(job.folder / RECIPE_NAME)
    splits = claimed_splits(job.folder)
    dataset = open_dataset(job.dataset, job.segment)
    folds = finished_folds(job.folder, recipe)
    if not folds:
        raise UserError(f'No fold of "{job.folder}" is finished; train one first.')
    devices, networks = set(), []
    for number in folds:  # one after another, for a state holds four times the network
        state = load_state(fold_folder(job.folder, number))
        devices |= {row["device"] for row in state.history if row.get("device")}
        networks.append(_network(recipe, state.best_network))
    card = model_card(recipe, dataset, splits, words, folds, sorted(devices))
    save_model(job.folder / MODEL_NAME, card, networks)
    metrics = evaluate(
        job.folder / MODEL_NAME,
        {case.name: case for case in dataset.cases},
        splits,
        job.device,
        predictions=job.folder / "predictions",
        report=lambda row: say({"event": "measured", "variant": job.variant, **asdict(row)}),
        folds=folds,
    )
    write_metrics(job.folder, metrics)
    best_known = [asdict(row) for row in metrics.best_known()]
    save_model(job.folder / MODEL_NAME, {**card, "metrics": best_known}, networks)


def finished_folds(folder: Path, recipe: Recipe) -> list[int]:
    """The numbers of the folds in the folder of a training that have been through their last epoch."""
    return [number for number in range(recipe.fold_count) if is_finished(fold_folder(folder, number), recipe)]


def _parts(part: Part, dataset: Dataset, recipe: Recipe, cache: SliceCache) -> list:
    """The slices of a part, each case with the numbers of those that belong to it."""
    cases = {case.name: case for case in dataset.cases}
    parts = []
    for name, indices in part.items():
        slices = cache.slices(cases[name], slice_format(recipe), Border.parse(recipe.border))
        parts.append((slices, range(len(slices.ct)) if indices is None else indices))
    return parts


def _network(recipe: Recipe, weights: dict):
    network = build_network(recipe.with_changes(encoder_weights="none"))
    network.load_state_dict(weights)
    return network.eval()


def check_tensorboard() -> None:
    """Raise UserError where TensorBoard is not installed."""
    try:
        importlib.import_module("torch.utils.tensorboard")
    except ImportError as error:
        raise UserError("--tensorboard needs the package tensorboard; install it, or leave the option out.") from error


def _tensorboard_writer(folder: Path) -> Callable[[dict], None]:
    """Writes rows of the history as TensorBoard events."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(folder / "tensorboard")

    def write(row: dict) -> None:
        step = row["epoch"] if row["phase"] == "adam" else 10_000 + row["epoch"]
        for name in ("rate", "loss", "validation_dice"):
            writer.add_scalar(name, row[name], step)
        writer.flush()

    return write
