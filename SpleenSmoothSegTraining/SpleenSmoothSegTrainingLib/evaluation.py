"""Measures of a trained model on whole volumes, on the CT's own grid, without augmentation or smoothing."""

import csv
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from SpleenSmoothSegLib.atomic import written_aside
from SpleenSmoothSegLib.decathlon import Case
from SpleenSmoothSegLib.ensemble import segment_image
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.measurement import compare, volume_ml
from SpleenSmoothSegLib.modelfolder import load_model, read_card

from .dataset import read_decathlon


@dataclass(frozen=True)
class CaseMetrics:
    """The paper's measures of one case; `predicted_by` is "fold K" (which did not see the case) or "ensemble"."""

    case: str
    predicted_by: str
    dice: float
    precision: float
    recall: float
    label_ml: float
    predicted_ml: float


def evaluate(
    model_folder: Path,
    held_out: list[list[Case]],
    test: list[Case],
    device: str,
    report: Callable[[CaseMetrics], None] = lambda metrics: None,
) -> list[CaseMetrics]:
    """Every case as predicted by the fold that did not learn from it, and the test cases by the ensemble.

    Args:
        model_folder: the trained model.
        held_out: for each fold the cases it validated on.
        test: cases that no fold has seen.
        device: as for `segment_image`.
        report: called with each case's metrics as they come.
    """
    predictors = [(f"fold {fold}", [fold], cases) for fold, cases in enumerate(held_out)]
    results = []
    for name, folds, cases in [*predictors, ("ensemble", None, test)]:
        model = load_model(model_folder, folds)
        for case in cases:
            metrics = _evaluate_case(model, name, case, device)
            report(metrics)
            results.append(metrics)
    return results


def evaluate_trained(
    model_folder: Path, dataset: Path, device: str, report: Callable[[CaseMetrics], None] = lambda metrics: None
) -> list[CaseMetrics]:
    """`evaluate` with the split that the model's card holds; raises UserError where card and dataset do not match."""
    try:
        data = read_card(model_folder)["training"]["data"]
        held_out, test = data["held_out_by_fold"], data["test"]
    except (KeyError, TypeError) as error:
        raise UserError(f'The card of "{model_folder}" does not tell its split; train the model again.') from error
    cases = {case.name: case for case in read_decathlon(dataset)}
    if missing := [name for names in [*held_out, test] for name in names if name not in cases]:
        raise UserError(
            f'The dataset "{dataset}" lacks the case "{missing[0]}"; give the one the model was trained on.'
        )
    return evaluate(
        model_folder,
        [[cases[name] for name in names] for names in held_out],
        [cases[name] for name in test],
        device,
        report,
    )


def write_metrics(path: Path, results: list[CaseMetrics]) -> None:
    """One row a case, as CSV."""
    with written_aside(path) as aside, open(aside, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CaseMetrics.__dataclass_fields__)
        writer.writeheader()
        writer.writerows(asdict(metrics) for metrics in results)


def _evaluate_case(model, name: str, case: Case, device: str) -> CaseMetrics:
    ct, label = case.read()
    spleen = label == case.spleen
    mask = segment_image(ct, model, device).mask
    overlap = compare(mask, spleen)
    return CaseMetrics(
        case.name, name, overlap.dice, overlap.precision, overlap.recall, volume_ml(spleen), volume_ml(mask)
    )
