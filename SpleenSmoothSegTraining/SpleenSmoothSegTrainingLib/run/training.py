"""A whole run: check and split the data, train the folds of each variant, save the models, measure, report."""

import os
from dataclasses import dataclass, replace
from functools import partial
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
from ..data.splits import Splits, check_possible, fit_dataset, load_splits, read_splits, split
from ..learning.distributed import Processes, check_batch, is_first_process, joined_processes
from ..learning.fold import build_network
from ..learning.state import is_started, load_state
from ..outfolder import OutFolder
from ..recipe.variants import Variant, list_variants
from .epochprogress import EpochProgress
from .options import Run
from .reserve import check_free, reserve, rollback_unless_started, splits_of_training
from .tasks import FoldTask, MeasureTask, OnEvent, TaskOptions, check_tensorboard, measure, train_fold

WORKERS_WITH_GPU = 8
CPU_WARNING = "Training on the CPU, which can take days; check the remaining time after the first epoch."


@dataclass(frozen=True)
class Results:
    """Outcome of a run: the model folder, the HTML report, and the folds that the model still lacks."""

    model: Path
    report: Path
    missing_folds: tuple[int, ...] = ()


def train(run: Run, on_event: OnEvent = lambda event: None) -> Results | None:
    """Start or resume a run; returns None in torchrun processes other than the first.

    Args:
        run: the options.
        on_event: called with events {"event": "progress", "fraction", "step", "remaining_s"}, "epoch", "measured" and
            "warning".

    Raises:
        UserError: anything the user can fix. The epochs completed so far are kept for --resume.
    """
    variants = list_variants(run.out, run.recipe, run.compare, run.sweep)
    folds = _requested_folds(run)
    on_event = on_event if is_first_process() else lambda event: None
    device = choose_device(run.device, lambda message: _warn(on_event, message))
    options = TaskOptions(run.dataset, run.segment, run.cache, run.device, _workers(run, device), run.tensorboard)
    with joined_processes(device) as processes:
        check_batch(run.recipe.batch_size, processes)
        prepared = processes.run_on_first(lambda: _prepare(run, variants, processes, on_event))  # None in the others
        with rollback_unless_started([variant.folder for variant in variants], folds):
            processes.run_on_first(lambda: _reserve_folders(run, variants, prepared[1], folds))
            if device.type == "cpu":
                _warn(on_event, CPU_WARNING)
            tasks = [FoldTask(variant.name, variant.folder, fold, options) for variant in variants for fold in folds]
            _train_folds(run, tasks, processes, on_event)
    if not processes.is_first:
        return None
    measurements = [MeasureTask(variant.name, variant.folder, options) for variant in variants]
    on_event(_progress(1.0, "Measuring the model on the CTs"))
    raise_failures(list(run_jobs(measure, measurements, run.scheduler, lambda task, event: on_event(event))))
    from ..reporting.report import write_report

    on_event(_progress(1.0, "Writing the report"))
    _, page = write_report(run.out, {case.name: case for case in prepared[0].cases})
    model = OutFolder(run.out).model
    trained = read_card(model)["training"]["folds"]
    return Results(model, page, tuple(fold for fold in range(run.recipe.fold_count) if fold not in trained))


def _requested_folds(run: Run) -> list[int]:
    count = run.recipe.fold_count
    folds = sorted(set(run.folds or range(count)))
    if invalid := [fold for fold in folds if not 0 <= fold < count]:
        raise UserError(f"There is no fold {invalid[0]}; choose from 0 to {count - 1}.")
    return folds


def _prepare(run: Run, variants: list[Variant], processes: Processes, on_event: OnEvent) -> tuple[Dataset, Splits]:
    """Check everything, the cheap checks first; fill the slice cache and split the data. Writes no recipe yet."""
    if processes.count > 1 and run.scheduler:
        raise UserError("torchrun and --scheduler exclude each other; use one of them.")
    check_scheduler(run.scheduler)
    if run.tensorboard:
        check_tensorboard()
    if run.resume and not OutFolder(run.out).has_training():
        _warn(on_event, f'"{run.out}" contains no training to resume; starting a new one.')
    for variant in variants:
        check_free(variant.folder, variant.recipe, run.resume or variant.folder != run.out)
    Augmentation(run.recipe.augmentation)
    build_network(run.recipe)
    dataset = open_dataset(run.dataset, run.segment)
    dataset = replace(dataset, license=run.card.get("data_license", dataset.license))
    _check_splits(run, [case.name for case in dataset.cases])
    return dataset, _split(run, _cache_slices(run, dataset, on_event))


def _check_splits(run: Run, names: list[str]) -> None:
    """Raise UserError for invalid splits before any CT is read."""
    recipe = run.recipe
    if run.splits:
        splits = load_splits(run.splits)
        if splits.split_by != recipe.split_by:
            raise UserError(f'The splits "{run.splits}" are by {splits.split_by}; add --split-by {splits.split_by}.')
    elif _needs_new_splits(run):
        check_possible(names, recipe.split_by, recipe.fold_count, recipe.test_part, run.test)


def _cache_slices(run: Run, dataset: Dataset, on_event: OnEvent) -> dict[str, list[bool]]:
    """Check the CTs and cache their slices; returns for each case whether each slice contains spleen."""
    cache = SliceCache(run.cache, lambda message: _warn(on_event, message))
    report = prepare(dataset, run.recipe, cache, lambda fraction, step: on_event(_progress(0.0, step)))
    path = OutFolder(run.out).data_check
    with atomic_write(path) as temporary:
        temporary.write_text(report.as_text(), encoding="utf-8")
    report.raise_if_bad(path)
    for message in report.warnings:
        _warn(on_event, message)
    cut = slice_format(run.recipe)
    return {case.name: cache.slices(case, cut, Border("none")).with_spleen.tolist() for case in dataset.cases}


def _split(run: Run, spleen: dict[str, list[bool]]) -> Splits:
    """The splits of --splits, or those already in OUT, or new ones."""
    recipe = run.recipe
    if run.splits:
        return read_splits(run.splits, spleen, recipe.fold_count)
    if _needs_new_splits(run):
        return split(spleen, recipe.split_by, recipe.fold_count, recipe.test_part, recipe.seed, run.test)
    splits = splits_of_training(run.out)
    if not fit_dataset(splits, spleen):
        raise UserError(
            f'The cases or labels of "{run.dataset}" are not those of "{OutFolder(run.out).splits}"; '
            "give the unchanged dataset or choose another folder."
        )
    return splits


def _needs_new_splits(run: Run) -> bool:
    return run.test is not None or not OutFolder(run.out).has_training()


def _reserve_folders(run: Run, variants: list[Variant], splits: Splits, folds: list[int]) -> None:
    card_text = run.card | ({"command": run.command} if run.command else {})
    for variant in variants:
        reserve(variant.folder, variant.recipe, card_text, splits, folds, run.segment)


def _train_folds(run: Run, tasks: list[FoldTask], processes: Processes, on_event: OnEvent) -> None:
    progress = EpochProgress(len(tasks), sum(run.recipe.epochs), done=_completed_epochs(tasks))

    def on_task_event(task: FoldTask, event: dict) -> None:
        on_event(event)
        if event["event"] == "epoch":
            on_event(progress.after_epoch(task.title))

    if processes.count > 1:
        for task in tasks:
            train_fold(task, partial(on_task_event, task), processes)
    else:
        raise_failures(list(run_jobs(train_fold, tasks, run.scheduler, on_task_event)))


def _completed_epochs(tasks: list[FoldTask]) -> int:
    folders = [OutFolder(task.folder).fold(task.number) for task in tasks]
    return sum(len(load_state(folder).history) for folder in folders if is_started(folder))


def _warn(on_event: OnEvent, message: str) -> None:
    on_event({"event": "warning", "message": message})


def _progress(fraction: float, step: str) -> dict:
    return {"event": "progress", "fraction": fraction, "step": step, "remaining_s": None}


def _workers(run: Run, device: torch.device) -> int:
    """Number of worker processes that load batches; none on a CPU, where training needs all cores itself."""
    if run.workers is not None:
        return run.workers
    return min(WORKERS_WITH_GPU, (os.cpu_count() or 1) - 1) if device.type == "cuda" else 0
