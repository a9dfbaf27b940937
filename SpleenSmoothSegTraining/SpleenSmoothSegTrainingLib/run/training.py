"""A whole run: check the data, split it, train the folds of each variant, put models together, measure, report."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from SpleenSmoothSegLib.batch.scheduling import check_scheduler, raise_failures, run_jobs
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.inference.devices import choose_device
from SpleenSmoothSegLib.io.atomic import atomic_write
from SpleenSmoothSegLib.model.folder import read_card

from ..data.augmentation import Augmentation
from ..data.dataset import Dataset, open_dataset
from ..data.prepare import prepare, slice_format
from ..data.slicecache import SliceCache
from ..data.splits import Splits, are_of, check_possible, load_splits, read_splits, split
from ..learning.distributed import Processes, check_batch, is_first_process, joined_processes
from ..learning.fold import build_network
from ..learning.state import is_begun, load_state
from ..outfolder import MODEL_NAME, SPLITS_NAME, fold_folder, holds_training
from ..recipe.variants import Variant, list_variants
from .claim import check_free, claim, claimed_splits, rollback_unless_started
from .jobs import FoldJob, Job, check_tensorboard, measure, train_fold
from .options import Run
from .remaining import Work

REPORT_OF_DATA = "dataset_check.txt"
WORKERS_WITH_A_GPU = 8
NO_GPU = "Training on the CPU: look after the first epoch how long it will take, and whether that is worth while."

Hear = Callable[[dict], None]


@dataclass(frozen=True)
class Results:
    """What a run made: the model folder, the report in HTML, and which folds the model still lacks."""

    model: Path
    report: Path
    missing_folds: tuple[int, ...] = ()


def train(run: Run, hear: Hear = lambda event: None) -> Results | None:
    """Do a run, from wherever it stands; None in those processes of torchrun that only helped.

    Args:
        run: what the command line says.
        hear: is told events: {"event": "progress", "fraction", "step", "remaining_s"}, "epoch", "measured", "warning".

    Raises:
        UserError: anything a person can mend, in one sentence. What was trained stays, for --resume.
    """
    variants = list_variants(run.out, run.recipe, run.compare, run.sweep)
    folders = [variant.folder for variant in variants]
    numbers = _fold_numbers(run)
    hear = hear if is_first_process() else lambda event: None
    device = choose_device(run.device, lambda sentence: _warn(hear, sentence))
    common = {
        "dataset": run.dataset,
        "segment": run.segment,
        "cache": run.cache,
        "device": run.device,
        "workers": _workers(run, device),
        "tensorboard": run.tensorboard,
    }
    with joined_processes(device) as processes:
        check_batch(run.recipe.batch_size, processes)
        found = processes.first_does(lambda: _prepare(run, variants, processes, hear))
        with rollback_unless_started(folders, numbers):
            processes.first_does(lambda: _claim(run, variants, found[1], numbers))
            if device.type == "cpu":
                _warn(hear, NO_GPU)
            _train_folds(run, variants, numbers, common, processes, hear)
    if not processes.is_first:
        return None
    jobs = [Job(variant.name, variant.folder, **common) for variant in variants]
    hear({"event": "progress", "fraction": 1.0, "step": "Measuring the model on the CTs", "remaining_s": None})
    raise_failures(list(run_jobs(measure, jobs, run.scheduler, lambda job, event: hear(event))))
    from ..reporting.report import write_report

    hear({"event": "progress", "fraction": 1.0, "step": "Writing the report", "remaining_s": None})
    _, page = write_report(run.out, {case.name: case for case in found[0].cases})
    trained = read_card(run.out / MODEL_NAME)["training"]["folds"]
    missing = tuple(number for number in range(run.recipe.fold_count) if number not in trained)
    return Results(run.out / MODEL_NAME, page, missing)


def _fold_numbers(run: Run) -> list[int]:
    count = run.recipe.fold_count
    numbers = sorted(set(run.folds or range(count)))
    if wrong := [number for number in numbers if not 0 <= number < count]:
        raise UserError(f"There is no fold {wrong[0]}; folds go from 0 to {count - 1}.")
    return numbers


def _prepare(run: Run, variants: list[Variant], processes: Processes, hear: Hear) -> tuple[Dataset, Splits]:
    """Find all that can be wrong, the cheap things first; cut the data and split it. Claims nothing yet."""
    if processes.count > 1 and run.scheduler:
        raise UserError("torchrun and --scheduler both share out the work; take one of them.")
    check_scheduler(run.scheduler)
    if run.tensorboard:
        check_tensorboard()
    if run.resume and not holds_training(run.out):
        _warn(hear, f'"{run.out}" holds no training to resume; a new one begins.')
    for variant in variants:
        check_free(variant.folder, variant.recipe, run.resume or variant.folder != run.out)
    Augmentation(run.recipe.augmentation)
    build_network(run.recipe)
    dataset = open_dataset(run.dataset, run.segment)
    dataset = replace(dataset, license=run.card.get("data_license", dataset.license))
    _check_splits(run, [case.name for case in dataset.cases])
    return dataset, _split(run, _cut(run, dataset, hear))


def _check_splits(run: Run, names: list[str]) -> None:
    """Raise UserError for what is wrong with them before any CT is read."""
    recipe = run.recipe
    if run.splits:
        splits = load_splits(run.splits)
        if splits.split_by != recipe.split_by:
            raise UserError(f'The splits "{run.splits}" are by {splits.split_by}; give --split-by {splits.split_by}.')
    elif run.test is not None or not holds_training(run.out):
        check_possible(names, recipe.split_by, recipe.fold_count, recipe.test_part, run.test)


def _cut(run: Run, dataset: Dataset, hear: Hear) -> dict[str, list[bool]]:
    """Check and cut the CTs; tells for each whether its slices hold spleen."""

    def report(fraction: float, step: str) -> None:
        hear({"event": "progress", "fraction": 0.0, "step": step, "remaining_s": None})

    cache = SliceCache(run.cache, lambda sentence: _warn(hear, sentence))
    found = prepare(dataset, run.recipe, cache, report)
    with atomic_write(run.out / REPORT_OF_DATA) as aside:
        aside.write_text(found.as_text(), encoding="utf-8")
    found.raise_if_bad(run.out / REPORT_OF_DATA)
    for sentence in found.warnings:
        _warn(hear, sentence)
    cut = slice_format(run.recipe)
    return {case.name: cache.slices(case, cut, Border("none")).with_spleen.tolist() for case in dataset.cases}


def _split(run: Run, spleen: dict[str, list[bool]]) -> Splits:
    """Those of a file, else those that OUT already has, else new ones."""
    recipe = run.recipe
    if run.splits:
        return read_splits(run.splits, spleen, recipe.fold_count)
    if run.test is not None or not holds_training(run.out):
        return split(spleen, recipe.split_by, recipe.fold_count, recipe.test_part, recipe.seed, run.test)
    splits = claimed_splits(run.out)
    if not are_of(splits, spleen):
        raise UserError(
            f'The cases or labels of "{run.dataset}" are not those of "{run.out / SPLITS_NAME}"; '
            "give that dataset, as it was, or choose another folder."
        )
    return splits


def _claim(run: Run, variants: list[Variant], splits: Splits, numbers: list[int]) -> None:
    words = run.card | ({"command": run.command} if run.command else {})
    for variant in variants:
        claim(variant.folder, variant.recipe, words, splits, numbers, run.segment)


def _train_folds(
    run: Run, variants: list[Variant], numbers: list[int], common: dict, processes: Processes, hear: Hear
) -> None:
    jobs = [
        FoldJob(variant.name, variant.folder, **common, number=number) for variant in variants for number in numbers
    ]
    work = Work(len(jobs), sum(run.recipe.epochs), done=_epochs_done(jobs))

    def on_event(job: FoldJob, event: dict) -> None:
        hear(event)
        if event["event"] == "epoch":
            hear(work.after_epoch(job.title))

    if processes.count > 1:
        for job in jobs:
            train_fold(job, lambda event, job=job: on_event(job, event), processes)
    else:
        raise_failures(list(run_jobs(train_fold, jobs, run.scheduler, on_event)))


def _epochs_done(jobs: list[FoldJob]) -> int:
    folders = [fold_folder(job.folder, job.number) for job in jobs]
    return sum(len(load_state(folder).history) for folder in folders if is_begun(folder))


def _warn(hear: Hear, sentence: str) -> None:
    hear({"event": "warning", "message": sentence})


def _workers(run: Run, device: torch.device) -> int:
    """Batches are made beside a GPU; on a CPU the training needs its cores itself."""
    if run.workers is not None:
        return run.workers
    return min(WORKERS_WITH_A_GPU, (os.cpu_count() or 1) - 1) if device.type == "cuda" else 0
