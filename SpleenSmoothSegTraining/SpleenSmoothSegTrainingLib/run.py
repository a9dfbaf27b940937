"""A whole training: the folds one after another, then the model folder and its metrics."""

from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import torch

from SpleenSmoothSegLib.decathlon import Case
from SpleenSmoothSegLib.ensemble import choose_device
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.modelfolder import load_model, save_model
from SpleenSmoothSegLib.network import LinkNet
from SpleenSmoothSegLib.preprocessing import SliceFormat

from .augmentation import augmentation
from .card import model_card
from .dataset import Slices, cut_slices, read_decathlon
from .evaluation import CaseMetrics, evaluate_trained, write_metrics
from .fold import FoldTraining, is_finished, load_state
from .outfolder import check_free, claim, fold_folder
from .recipe import Recipe
from .splits import split_by_volume

Say = Callable[[str], None]


def train(
    dataset: Path,
    out: Path,
    recipe: Recipe,
    card: dict | None = None,
    folds: list[int] | None = None,
    test: tuple[str, ...] = (),
    device: str = "auto",
    resume: bool = False,
    say: Say = print,
) -> Path | None:
    """Train the folds of `recipe` on a Decathlon folder.

    Args:
        dataset: folder with ``dataset.json``.
        out: receives ``recipe.json``, ``splits.json``, ``fold_K/``, and at the end ``model/`` and ``metrics.csv``.
        recipe: every number of the training.
        card: "name", "description" and "data_license" for the model's card.
        folds: which folds to train now; None means all.
        test: names of cases that no fold sees; the ensemble is measured on them.
        device: "auto", "cpu", "cuda" or "mps".
        resume: go on with what `out` holds.
        say: receives one line of progress at a time.

    Returns:
        The model folder, or None while folds are missing.

    Raises:
        UserError: anything a person can mend, in one sentence.
    """
    # All that can be wrong is found before anything is written or trained.
    numbers = list(range(recipe.folds)) if folds is None else sorted(set(folds))
    if wrong := [number for number in numbers if not 0 <= number < recipe.folds]:
        raise UserError(f"There is no fold {wrong[0]}; folds go from 0 to {recipe.folds - 1}.")
    torch_device = choose_device(device)
    check_free(out, resume)
    cases = {case.name: case for case in read_decathlon(dataset)}
    learned = _learned(cases, test, recipe)
    augmentation(recipe.augmentation)
    _network(recipe)

    say(f"Reading {len(cases)} labeled CTs")
    slices = _cut(cases, recipe)
    spleen_slices = {name: slices[name].spleen_slices for name in learned}
    splits = {"test": sorted(test), "folds": split_by_volume(spleen_slices, recipe.folds, recipe.seed)}
    whole_card = model_card(recipe, dataset, splits, card or {}, torch_device)
    claim(out, recipe, {**splits, "spleen_slices": spleen_slices})

    torch.backends.cudnn.deterministic = True  # a seed fixes the training on a GPU, too
    for number in numbers:
        held_out = splits["folds"][number]
        say(f"Fold {number}: learns without {', '.join(held_out)}")
        training = FoldTraining(
            recipe,
            number,
            [slices[name] for name in learned if name not in held_out],
            [slices[name] for name in held_out],
            fold_folder(out, number),
            torch_device,
            report=lambda row, number=number: say(_epoch_line(number, row)),
        )
        training.run(resume)
    if missing := [number for number in range(recipe.folds) if not is_finished(fold_folder(out, number), recipe)]:
        say(f"Folds still to train: {', '.join(map(str, missing))}")
        return None
    return _save_model(out, recipe, whole_card, dataset, device, say)


def _learned(cases: dict[str, Case], test: tuple[str, ...], recipe: Recipe) -> list[str]:
    if wrong := [name for name in test if name not in cases]:
        raise UserError(f'The dataset has no case "{wrong[0]}" to test on; it has {", ".join(cases)}.')
    learned = [name for name in cases if name not in test]
    if len(learned) < recipe.folds:
        raise UserError(
            f"{recipe.folds} folds need at least as many labeled CTs, but there are {len(learned)}; give more."
        )
    return learned


def _network(recipe: Recipe) -> LinkNet:
    return LinkNet(recipe.encoder, decoder_reduction=recipe.decoder_reduction)


def _cut(cases: dict[str, Case], recipe: Recipe) -> dict[str, Slices]:
    slice_format = SliceFormat(recipe.image_size, recipe.spacing, recipe.window)
    slices = {name: cut_slices(case, slice_format) for name, case in cases.items()}
    if empty := [name for name, cut in slices.items() if not cut.spleen_slices]:
        raise UserError(
            f'The label of "{empty[0]}" holds no spleen (value {cases[empty[0]].spleen}); '
            "correct it or take the case out of dataset.json."
        )
    return slices


def _epoch_line(number: int, row: dict) -> str:
    return (
        f"  fold {number} {row['phase']} {row['epoch'] + 1:3d}  rate {row['rate']:.2g}  loss {row['loss']:.4f}  "
        f"validation Dice {row['validation_dice']:.4f}"
    )


def _case_line(m: CaseMetrics) -> str:
    return (
        f"  {m.case:12s} {m.predicted_by:8s}  Dice {m.dice:.4f}  precision {m.precision:.4f}  recall {m.recall:.4f}  "
        f"{m.predicted_ml:.0f} mL (label {m.label_ml:.0f} mL)"
    )


def _save_model(out: Path, recipe: Recipe, card: dict, dataset: Path, device: str, say: Say) -> Path:
    """Write the model folder and measure it as it will be used, with float16 weights on the CTs' own grids."""
    networks = []
    for number in range(recipe.folds):
        network = _network(recipe)
        network.load_state_dict(load_state(fold_folder(out, number)).best_network)
        networks.append(network)
    folder = out / "model"
    save_model(folder, card, networks)
    say("Measuring each case with the fold that did not learn from it, and the test cases with the ensemble")
    results = evaluate_trained(folder, dataset, device, report=lambda metrics: say(_case_line(metrics)))
    write_metrics(out / "metrics.csv", results)
    save_model(folder, {**card, "metrics": [asdict(metrics) for metrics in results]}, load_model(folder).networks)
    say(f"Model folder: {folder}")
    return folder
