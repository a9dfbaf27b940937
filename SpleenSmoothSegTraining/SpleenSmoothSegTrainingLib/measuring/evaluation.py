"""Measures of a trained model on labeled CTs, as it will be used: whole volumes, no augmentation, no smoothing.

Every case is measured by the fold that did not learn from it, and each test case by every fold and by the ensemble.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import axial_grid
from SpleenSmoothSegLib.inference.devices import choose_device, to_predict_on
from SpleenSmoothSegLib.inference.ensemble import segment_image
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegLib.model.folder import Model, load_model, read_card

from ..data.splits import Part, Splits
from .casemetrics import RowKey, Rows, VolumeRow, measure_slices, measure_volume
from .metricsfile import Metrics
from .predictions import kept_mask, mask_origin, prediction_path


class Job(NamedTuple):
    """One case to measure by some of the model's networks; `slices` None means the whole volume."""

    who: RowKey
    networks: tuple[int, ...]
    slices: tuple[int, ...] | None


def evaluate(
    model_folder: Path,
    dataset_cases: Mapping[str, Case],
    splits: Splits,
    device: str = "auto",
    predictions: Path | None = None,
    report: Callable[[VolumeRow], None] = lambda row: None,
    folds: Sequence[int] | None = None,
    test_by_fold: bool = True,
) -> Metrics:
    """Measure a model on the CTs' own grids or, where only some slices of a case count, on the network's.

    Args:
        model_folder: the trained model.
        dataset_cases: by their names; all that `splits` name.
        splits: what each fold held out and what none has seen.
        device: as for `segment_image`.
        predictions: folder for the masks; those that are there, of this model, are not computed again.
        report: called with each volume's row as it comes.
        folds: which folds the networks of the model are, in their order; None means all of `splits`.
        test_by_fold: measure the test cases by every fold, too, not only by the ensemble.

    Raises:
        UserError: model, splits and cases do not belong together, a case cannot be read, a mask cannot be written.
    """
    model = load_model(model_folder, prepare=to_predict_on(choose_device(device)))
    numbers = list(range(len(splits.folds)) if folds is None else folds)
    if len(numbers) != len(model.networks):
        raise UserError(
            f'The model "{model_folder}" has {len(model.networks)} folds where its splits have {len(numbers)}; '
            "give the model and the splits of one training."
        )
    if missing := [name for name in splits.cases if name not in dataset_cases]:
        raise UserError(f'The dataset lacks the case "{missing[0]}"; give the one the model was trained on.')
    volumes, slices = [], []
    for name, jobs in _by_case(list_jobs(splits, numbers, test_by_fold)).items():
        for volume, of_slices in _measure_case(dataset_cases[name], jobs, model, device, predictions):
            report(volume)
            volumes.append(volume)
            slices.extend(of_slices)
    return Metrics(tuple(volumes), tuple(slices))


def list_jobs(splits: Splits, numbers: Sequence[int], test_by_fold: bool = True) -> list[Job]:
    """What there is to measure for a model whose networks are the folds `numbers`."""
    single = [(f"fold {number}", (network,)) for network, number in enumerate(numbers)]
    jobs = [
        job
        for number, (name, network) in zip(numbers, single, strict=True)
        for job in _jobs("validation", name, network, splits.folds[number])
    ]
    together = [("ensemble", tuple(range(len(numbers))))]
    for name, networks in (single if test_by_fold else []) + together:
        jobs.extend(_jobs("test", name, networks, splits.test))
    return jobs


def splits_of_model(model_folder: Path) -> tuple[Splits, list[int] | None]:
    """The splits on the model's card, and which folds its networks are; raises UserError where it tells none."""
    training = read_card(model_folder).get("training") or {}
    try:
        if "splits" in training:
            return Splits.from_json(training["splits"]), training.get("folds")
        data = training["data"]  # so a card of format 1 tells it
        parts = [dict.fromkeys(map(str, names)) for names in (data["test"], *data["held_out_by_fold"])]
        return Splits("volume", 0, parts[0], tuple(parts[1:]), {}), None
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f'The card of "{model_folder}" does not tell its split; train the model again.') from error


def _jobs(of_set: str, predicted_by: str, networks: tuple[int, ...], part: Part) -> list[Job]:
    return [Job(RowKey(of_set, predicted_by, case), networks, slices) for case, slices in part.items()]


def _by_case(jobs: Sequence[Job]) -> dict[str, list[Job]]:
    """So that each CT is read once."""
    grouped: dict[str, list[Job]] = {}
    for job in jobs:
        grouped.setdefault(job.who.case, []).append(job)
    return grouped


def _measure_case(case: Case, jobs: Sequence[Job], model: Model, device: str, folder: Path | None) -> Iterator[Rows]:
    ct, label = case.read()
    spleen = label == case.spleen
    masks: dict[tuple[int, ...], sitk.Image] = {}
    for job in jobs:
        if job.networks not in masks:
            masks[job.networks] = _predict(ct, job, model, device, folder)
        mask = masks[job.networks]
        if job.slices is None:
            yield measure_volume(job.who, mask, spleen)
        else:
            yield measure_slices(job.who, mask, spleen, axial_grid(ct, model.slice_format), job.slices)


def _predict(ct: sitk.Image, job: Job, model: Model, device: str, folder: Path | None) -> sitk.Image:
    some = replace(model, networks=[model.networks[number] for number in job.networks])
    path = folder and prediction_path(folder, job.who.case, job.who.predicted_by)
    origin = mask_origin(model.card, job.networks, ct) if path else ""
    return kept_mask(path, origin, ct, lambda: segment_image(ct, some, device).mask)
