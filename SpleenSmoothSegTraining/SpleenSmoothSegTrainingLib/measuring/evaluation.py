"""Evaluation of a trained model on labeled CTs as in use: whole volumes, no augmentation, no smoothing.

Each case is measured with the fold that held it out, and each test case with every fold and the ensemble.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import axial_grid
from SpleenSmoothSegLib.inference.devices import choose_device, prepare_for
from SpleenSmoothSegLib.inference.ensemble import segment_image
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegLib.model.folder import Model, load_model, read_card

from ..data.splits import Part, Splits
from .casemetrics import RowKey, Rows, VolumeRow, measure_slices, measure_volume
from .metricsfile import Metrics
from .predictions import cached_mask, mask_origin, prediction_path


class Measurement(NamedTuple):
    """A case to measure with some of the model's networks; `slices` None means the whole volume."""

    key: RowKey
    networks: tuple[int, ...]
    slices: tuple[int, ...] | None


@dataclass(frozen=True)
class EvaluationOptions:
    """Options of `evaluate`.

    Attributes:
        device: as for `segment_image`.
        predictions: folder for the masks; masks of this model that exist are used again.
        folds: the folds of the model's networks, in their order; None means all of the splits.
        test_by_fold: measure test cases with each fold, too, not only with the ensemble.
    """

    device: str = "auto"
    predictions: Path | None = None
    folds: Sequence[int] | None = None
    test_by_fold: bool = True


def evaluate(
    model_folder: Path,
    dataset_cases: Mapping[str, Case],
    splits: Splits,
    options: EvaluationOptions = EvaluationOptions(),
    on_row: Callable[[VolumeRow], None] = lambda row: None,
) -> Metrics:
    """Measure a model on the CTs' grids or, for a split by slice, on the network's grid.

    Args:
        model_folder: the trained model.
        dataset_cases: all cases of `splits` by name.
        splits: of the training.
        options: device, predictions and folds.
        on_row: called with the row of each volume.

    Raises:
        UserError: model, splits and cases do not match, a case cannot be read, or a mask cannot be written.
    """
    model = load_model(model_folder, prepare=prepare_for(choose_device(options.device)))
    numbers = list(range(len(splits.folds)) if options.folds is None else options.folds)
    if len(numbers) != len(model.networks):
        raise UserError(
            f'The model "{model_folder}" has {len(model.networks)} folds, but its splits have {len(numbers)}; '
            "give model and splits of the same training."
        )
    if missing := [name for name in splits.cases if name not in dataset_cases]:
        raise UserError(f'The dataset lacks the case "{missing[0]}"; give the dataset that the model was trained on.')
    volumes, slices = [], []
    for name, measurements in _by_case(list_measurements(splits, numbers, options.test_by_fold)).items():
        for volume, slice_rows in _measure_case(dataset_cases[name], measurements, model, options):
            on_row(volume)
            volumes.append(volume)
            slices.extend(slice_rows)
    return Metrics(tuple(volumes), tuple(slices))


def list_measurements(splits: Splits, numbers: Sequence[int], test_by_fold: bool = True) -> list[Measurement]:
    """All measurements of a model whose networks are the folds `numbers`."""
    single = [(f"fold {number}", (network,)) for network, number in enumerate(numbers)]
    measurements = [
        measurement
        for number, (name, network) in zip(numbers, single, strict=True)
        for measurement in _measurements("validation", name, network, splits.folds[number])
    ]
    ensemble = [("ensemble", tuple(range(len(numbers))))]
    for name, networks in (single if test_by_fold else []) + ensemble:
        measurements.extend(_measurements("test", name, networks, splits.test))
    return measurements


def splits_of_model(model_folder: Path) -> tuple[Splits, list[int] | None]:
    """The splits in the model's card, and the folds of its networks; raises UserError if the card has no splits."""
    training = read_card(model_folder).get("training") or {}
    try:
        return Splits.from_json(training["splits"]), training.get("folds")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f'The card of "{model_folder}" has no splits; train the model again.') from error


def _measurements(of_set: str, predicted_by: str, networks: tuple[int, ...], part: Part) -> list[Measurement]:
    return [Measurement(RowKey(of_set, predicted_by, case), networks, slices) for case, slices in part.items()]


def _by_case(measurements: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Group by case, to read each CT once."""
    grouped: dict[str, list[Measurement]] = {}
    for measurement in measurements:
        grouped.setdefault(measurement.key.case, []).append(measurement)
    return grouped


def _measure_case(
    case: Case, measurements: Sequence[Measurement], model: Model, options: EvaluationOptions
) -> Iterator[Rows]:
    ct, label = case.read()
    spleen = label == case.spleen
    masks: dict[tuple[int, ...], sitk.Image] = {}
    for key, networks, slices in measurements:
        if networks not in masks:
            masks[networks] = _predict(ct, key, networks, model, options)
        if slices is None:
            yield measure_volume(key, masks[networks], spleen)
        else:
            yield measure_slices(key, masks[networks], spleen, axial_grid(ct, model.slice_format), slices)


def _predict(
    ct: sitk.Image, key: RowKey, networks: tuple[int, ...], model: Model, options: EvaluationOptions
) -> sitk.Image:
    selected = replace(model, networks=[model.networks[number] for number in networks])

    def predict() -> sitk.Image:
        return segment_image(ct, selected, options.device).mask

    if options.predictions is None:
        return predict()
    path = prediction_path(options.predictions, key.case, key.predicted_by)
    return cached_mask(path, mask_origin(model.card, networks, ct), ct, predict)
