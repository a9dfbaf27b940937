"""A whole run: check the data, split it, train the folds of each variant, put models together, measure, report."""

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from SpleenSmoothSegLib.atomic import written_aside
from SpleenSmoothSegLib.borders import Border
from SpleenSmoothSegLib.devices import choose_device
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.scheduling import check_scheduler, raise_failures, run_jobs

from .data.augmentation import Augmentation
from .data.dataset import Dataset, open_dataset
from .data.prepare import prepare, slice_format
from .data.slicecache import SliceCache
from .data.splits import Splits, read_splits, split
from .jobs import FoldJob, Job, measure, train_fold
from .learning.distributed import Processes, check_batch, join_processes
from .learning.fold import build_network
from .learning.state import is_begun, load_state
from .options import Run
from .outfolder import MODEL_NAME, check_free, claim, fold_folder
from .remaining import Work
from .variants import Variant, list_variants

REPORT_OF_DATA = "dataset.txt"
WORKERS_WITH_A_GPU = 8
NO_GPU = "Training on the CPU: look after the first epoch how long it will take, and whether that is worth while."

Hear = Callable[[dict], None]


@dataclass(frozen=True)
class Results:
    """What a run made: the model folder and the report in HTML, None where only a part of the folds was asked for."""

    model: Path | None
    report: Path | None


def train(run: Run, hear: Hear = lambda event: None) -> Results:
    """Do a run, from wherever it stands.

    Args:
        run: what the command line says.
        hear: is told events: {"event": "progress", "fraction", "step", "remaining_s"}, "epoch", "measured", "warning".

    Raises:
        UserError: anything a person can mend, in one sentence. What was trained stays, for --resume.
    """
    variants = list_variants(run.out, run.recipe, run.compare, run.sweep)
    numbers = _check(run, variants)
    device = choose_device(run.device, lambda sentence: hear({"event": "warning", "message": sentence}))
    processes = join_processes(device)
    check_batch(run.recipe.batch_size, processes)
    if processes.count > 1 and run.scheduler:
        raise UserError("torchrun and --scheduler both share out the work; take one of them.")
    hear = hear if processes.is_first else lambda event: None
    if processes.is_first:
        dataset = _opened(run)
        splits = _prepare(run, dataset, hear)
        for variant in variants:
            claim(variant.folder, variant.recipe, run.card, splits, run.segment)
        if device.type == "cpu":
            hear({"event": "warning", "message": NO_GPU})
    processes.wait()
    common = {
        "dataset": run.dataset,
        "segment": run.segment,
        "cache": run.cache,
        "device": run.device,
        "workers": _workers(run, device),
        "tensorboard": run.tensorboard,
        "command": run.command,
    }
    _train_folds(run, variants, numbers, common, processes, hear)
    if not processes.is_first:
        return Results(None, None)
    jobs = [Job(variant.name, variant.folder, **common) for variant in variants]
    outcomes = list(run_jobs(measure, jobs, run.scheduler, lambda job, event: hear(event)))
    raise_failures(outcomes)
    from .reporting.report import write_report

    hear({"event": "progress", "fraction": 1.0, "step": "Writing the report", "remaining_s": None})
    _, page = write_report(run.out, {case.name: case for case in dataset.cases})
    return Results(run.out / MODEL_NAME, page)


def _check(run: Run, variants: list[Variant]) -> list[int]:
    """Find all that can be wrong with the options before anything is read or written; returns the folds to train."""
    recipe = run.recipe
    numbers = sorted(set(range(recipe.fold_count) if run.folds is None else run.folds))
    if wrong := [number for number in numbers if not 0 <= number < recipe.fold_count]:
        raise UserError(f"There is no fold {wrong[0]}; folds go from 0 to {recipe.fold_count - 1}.")
    check_scheduler(run.scheduler)
    for variant in variants:
        check_free(variant.folder, run.resume or variant.folder != run.out)
    Augmentation(recipe.augmentation)
    build_network(recipe)
    return numbers


def _opened(run: Run) -> Dataset:
    dataset = open_dataset(run.dataset, run.segment)
    return replace(dataset, license=run.card.get("data_license", dataset.license))


def _prepare(run: Run, dataset: Dataset, hear: Hear) -> Splits:
    """Check and cut the data, and split it."""

    def report(fraction: float, step: str) -> None:
        hear({"event": "progress", "fraction": 0.0, "step": step, "remaining_s": None})

    cache = SliceCache(run.cache, lambda sentence: hear({"event": "warning", "message": sentence}))
    found = prepare(dataset, run.recipe, cache, report)
    if found.problems or found.warnings:
        with written_aside(run.out / REPORT_OF_DATA) as aside:
            aside.write_text(found.as_text(), encoding="utf-8")
    found.raise_if_bad(run.out / REPORT_OF_DATA)
    for sentence in found.warnings:
        hear({"event": "warning", "message": sentence})
    cut = slice_format(run.recipe)
    spleen = {case.name: cache.slices(case, cut, Border("none")).with_spleen.tolist() for case in dataset.cases}
    recipe = run.recipe
    if run.splits:
        splits = read_splits(run.splits, spleen, recipe.fold_count)
        if splits.split_by != recipe.split_by:
            raise UserError(f'The splits "{run.splits}" are by {splits.split_by}; give --split-by {splits.split_by}.')
        return splits
    return split(spleen, recipe.split_by, recipe.fold_count, recipe.test_part, recipe.seed, run.test)


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

    with contextlib.ExitStack() as stack:
        if processes.count > 1:
            stack.callback(_leave_processes)
            for job in jobs:
                train_fold(job, lambda event, job=job: on_event(job, event), processes)
            return
        raise_failures(list(run_jobs(train_fold, jobs, run.scheduler, on_event)))


def _epochs_done(jobs: list[FoldJob]) -> int:
    folders = [fold_folder(job.folder, job.number) for job in jobs]
    return sum(len(load_state(folder).history) for folder in folders if is_begun(folder))


def _leave_processes() -> None:
    torch.distributed.destroy_process_group()


def _workers(run: Run, device: torch.device) -> int:
    """Batches are made beside a GPU; on a CPU the training needs its cores itself."""
    if run.workers is not None:
        return max(0, run.workers)
    return min(WORKERS_WITH_A_GPU, (os.cpu_count() or 1) - 1) if device.type == "cuda" else 0
