"""Ablation of the Starter's recipe: one change at a time, on some folds, for some epochs.

    python Testing/Benchmarks/ablation.py DATASET OUT [--folds 2,3] [--epochs 8,0]

Resumes an interrupted run. Prints a table of the recipes with the Dice of single folds on held-out CTs, unchanged and
modified as by robustness.py. With one seed and a short training, differences of 0.01 are noise.
"""

import argparse
import hashlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import torch

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / name) for name in ("SpleenSmoothSeg", "SpleenSmoothSegTraining")]

from robustness import CHANGES as ALTERED
from robustness import EMPTY, measure_robustness

from SpleenSmoothSegLib.inference.devices import choose_device, prepare_for
from SpleenSmoothSegLib.model.folder import load_model, read_card
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from SpleenSmoothSegTrainingLib.measuring.evaluation import splits_of_model
from SpleenSmoothSegTrainingLib.outfolder import OutFolder
from SpleenSmoothSegTrainingLib.run.options import make_parser, read_run

RECIPES = REPOSITORY / "SpleenSmoothSegTraining" / "Resources" / "Recipes"
EVERYTHING = "body+intensity+organ+noise+thickness"
FULL, FLIPPED = "full", "flipped"
CHANGES = {
    FULL: (),
    **{
        f"no_{part}": ("--augmentation", "+".join(other for other in EVERYTHING.split("+") if other != part))
        for part in EVERYTHING.split("+")
    },
    "published_augmentation": ("--augmentation", "published"),
    "one_channel": ("--channels", "1", "--augmentation", "body+intensity+organ+noise"),
    "all_empty": ("--empty-slices", "1000"),
    "no_averaging": ("--averaging", "0"),
    "no_border": ("--border", "none"),
    FLIPPED: (),  # the full recipe's networks, averaged over each slice and its mirror image
}
LEFT_OUT = {"spleen_7"}  # the lower half of its label is missing


class Flipped(torch.nn.Module):
    """The mean of a network's outputs for a slice and its mirror image."""

    def __init__(self, network: torch.nn.Module):
        super().__init__()
        self.network = network

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        return (self.network(slices) + self.network(slices.flip(-1)).flip(-1)) / 2


def train_with(change: str, dataset: str, out: Path, folds: str, epochs: str) -> Path:
    """The model folder of the recipe with a change; trains it if needed."""
    from SpleenSmoothSegTrainingLib.run.training import train

    folder = out / (FULL if change == FLIPPED else change)
    model = OutFolder(folder).model
    if not model.is_dir() or not set(map(int, folds.split(","))) <= set(read_card(model)["training"]["folds"]):
        begun = ("--resume",) if OutFolder(folder).has_training() else ()
        arguments = (dataset, str(folder), *begun, "--recipe", str(RECIPES / "starter.toml"), "--folds", folds)
        splits = ("--splits", str(RECIPES / "starter-splits.json"), "--epochs", epochs, *CHANGES[change])
        train(read_run(make_parser(""), [*arguments, *splits]))
    return model


def measured(change: str, folder: Path, dataset: str) -> dict[str, float]:
    """The measures of robustness.py, cached next to the model."""
    splits, numbers = splits_of_model(folder)
    weights = hashlib.sha256("".join(fold["sha256"] for fold in read_card(folder)["folds"]).encode()).hexdigest()
    kept = folder.parent / f"{change}_{weights[:16]}.json"
    if not kept.is_file():
        model = load_model(folder, prepare=prepare_for(choose_device("cpu")))
        if change == FLIPPED:
            model = replace(model, networks=[Flipped(network).eval() for network in model.networks])
        cases = {case.name: case for case in open_dataset(dataset).cases}
        kept.write_text(json.dumps(measure_robustness(model, splits, numbers, cases, LEFT_OUT)))
    return json.loads(kept.read_text())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", default="2,3")
    parser.add_argument("--epochs", default="8,0")
    parser.add_argument("--only", help="some of: " + ", ".join(CHANGES))
    options = parser.parse_args()
    print(f"| recipe | {' | '.join(ALTERED)} | {EMPTY} |\n|{'---|' * (len(ALTERED) + 2)}", flush=True)
    for change in options.only.split(",") if options.only else CHANGES:
        model = train_with(change, options.dataset, options.out, options.folds, options.epochs)
        values = measured(change, model, options.dataset)
        dice = " | ".join(f"{values[name]:.3f}" for name in ALTERED)
        print(f"| {change} | {dice} | {values[EMPTY]:.1f} |", flush=True)


if __name__ == "__main__":
    main()
