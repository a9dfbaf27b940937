"""A synthetic results folder of a training with known measures."""

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from SpleenSmoothSegTrainingLib.measuring.casemetrics import SliceRow, VolumeRow
from SpleenSmoothSegTrainingLib.measuring.metricsfile import Metrics, write_metrics

FOLDS = (("a", "b"), ("c", "d"))
TEST = ("t",)
MANY_FOLDS = (("a", "b", "c", "d"), ("e", "f", "g", "h"))
HISTORY_COLUMNS = ("phase", "epoch", "rate", "loss", "validation_dice", "seconds")
HEIGHTS = (0.0, 0.25, 0.5, 0.75, 1.0)


def volume_row(of_set: str, predicted_by: str, case: str, dice: float | None, **others) -> VolumeRow:
    """A row with measures derived from its Dice, unless given."""
    error = 1 - (dice or 0)
    known = {
        "precision": dice,
        "recall": dice,
        "hd95_mm": 100 * error,
        "assd_mm": 10 * error,
        "surface_dice_1mm": dice,
        "surface_dice_2mm": dice,
        "predicted_ml": 200.0,
        "label_ml": 200.0,
        "false_negative_ml": 100 * error,
        "false_positive_ml": 100 * error,
    }
    return VolumeRow(of_set, predicted_by, case, dice, **{**known, **others})


def slice_row(of_set: str, predicted_by: str, case: str, height: float, dice: float, number: int = 0) -> SliceRow:
    return SliceRow(of_set, predicted_by, case, number, height, dice, dice, dice, 10.0, 10.0, 1 - dice, 2 * (1 - dice))


def metrics_of(dice: Callable[[str, str], float], folds: Sequence = FOLDS, test: Sequence[str] = TEST) -> Metrics:
    """Metrics of every case by fold and ensemble; `dice` takes predictor and case."""
    keys = [("validation", f"fold {number}", case) for number, cases in enumerate(folds) for case in cases]
    predictors = [*(f"fold {number}" for number in range(len(folds))), "ensemble"]
    keys += [("test", predictor, case) for predictor in predictors for case in test]
    volumes = tuple(volume_row(*row, dice(row[1], row[2])) for row in keys)
    slices = tuple(
        slice_row(*row, height, dice(row[1], row[2]) - abs(height - 0.5) / 5, number)
        for row in keys
        for number, height in enumerate(HEIGHTS)
    )
    return Metrics(volumes, slices)


def steady(dice: float, ensemble: float = 0.0):
    """Dice that differs slightly between cases and is higher for the ensemble."""
    return lambda predictor, case: dice - 0.01 * (ord(case[0]) % 5) + (ensemble if predictor == "ensemble" else 0)


CONTROL, SMOOTHED = metrics_of(steady(0.8, 0.1)), metrics_of(steady(0.85, 0.07))


def write_history(folder: Path, best: float, adam: int = 4, sgd: int = 2) -> None:
    folder.mkdir(parents=True)
    phases = [("adam", epoch) for epoch in range(adam)] + [("sgd", epoch) for epoch in range(sgd)]
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(HISTORY_COLUMNS)
        for place, (phase, epoch) in enumerate(phases):
            writer.writerow([phase, epoch, 1e-4, 1 / (1 + place), best * (1 - 0.5**place), 2.0])


def write_training(
    folder: Path,
    metrics: Metrics | None,
    border: str = "gaussian:1.5mm",
    folds: Sequence[int] = (0, 1),
    name: str = "Synthetic",
) -> None:
    """Write one variant: recipe, histories, card, metrics."""
    for number in folds:
        write_history(folder / f"fold_{number}", 0.8 + 0.05 * number)
    (folder / "recipe.toml").write_text(
        f'encoder = "tu-regnetx_002"\nborder = "{border}"\nepochs = [4, 2]\nfold_count = 2\nbatch_size = 8\nseed = 3\n'
        f"image_size = 64\nspacing = 6.0\n\n[card]\nname = {json.dumps(name)}\n",
        encoding="utf-8",
    )
    if metrics:
        data = {"name": "Phantoms", "description": "Five ellipsoids", "license": "CC0 <1.0>"}
        card = {"name": "Model", "training": {"data": data, "device": "cpu", "versions": {"torch": "2.9"}}}
        (folder / "model").mkdir()
        (folder / "model" / "model.json").write_text(json.dumps(card), encoding="utf-8")
        write_metrics(folder, metrics)


def write_out(
    folder: Path, control: Metrics | None, smoothed: Metrics | None, folds=FOLDS, test=TEST, name="Synthetic"
) -> Path:
    """Write a results folder of train.py --compare or, if `control` is None, of one training."""
    folder.mkdir(parents=True, exist_ok=True)
    write_training(folder, smoothed, folds=range(len(folds)), name=name)
    if control:
        write_training(folder / "control", control, border="none", folds=range(len(folds)), name=name)
    spleen_slices = {case: len(HEIGHTS) for part in (*folds, test) for case in part}
    splits = {
        "split_by": "volume", "seed": 3, "test": list(test), "folds": [list(part) for part in folds],
        "spleen_slices": spleen_slices,
    }  # fmt: skip
    (folder / "splits.json").write_text(json.dumps(splits), encoding="utf-8")
    return folder
