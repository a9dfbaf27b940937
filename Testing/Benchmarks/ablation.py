"""What each choice of the starter's recipe is worth: one changed at a time, on some folds, for some epochs.

    python Testing/Benchmarks/ablation.py DATASET OUT [--folds 3] [--epochs 8,0]

Goes on where it stopped. Prints a table: each change with the Dice of every case by the fold that had not learned from
it or, of the test cases, by the trained folds together, and the mean difference to the recipe as it is. One seed and a
short training: differences of a hundredth say nothing.
"""

import argparse
import statistics
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(REPOSITORY / name) for name in ("SpleenSmoothSeg", "SpleenSmoothSegTraining")]

from SpleenSmoothSegTrainingLib.layout import holds_training  # noqa: E402
from SpleenSmoothSegTrainingLib.measuring.metricsfile import read_metrics  # noqa: E402
from SpleenSmoothSegTrainingLib.options import make_parser, read_run  # noqa: E402

RECIPES = REPOSITORY / "SpleenSmoothSegTraining" / "Resources" / "Recipes"
EVERYTHING = "body+intensity+organ+noise+thickness"
FULL = "full"
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
}


def train_with(change: str, dataset: str, out: Path, folds: str, epochs: str) -> dict[str, float]:
    """Dice by case of the recipe with a change, trained if it is not yet."""
    from SpleenSmoothSegTrainingLib.run import train

    folder = out / change
    if not (folder / "report.md").is_file():
        begun = ("--resume",) if holds_training(folder) else ()
        arguments = (dataset, str(folder), *begun, "--recipe", str(RECIPES / "starter.toml"), "--folds", folds)
        splits = ("--splits", str(RECIPES / "starter-splits.json"), "--epochs", epochs, *CHANGES[change])
        train(read_run(make_parser(""), [*arguments, *splits]))
    return {row.case: row.dice or 0.0 for row in read_metrics(folder).best_known()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset")
    parser.add_argument("out", type=Path)
    parser.add_argument("--folds", default="3")
    parser.add_argument("--epochs", default="8,0")
    parser.add_argument("--only", help="some of: " + ", ".join(CHANGES))
    options = parser.parse_args()
    full = {}
    for change in options.only.split(",") if options.only else CHANGES:
        dice = train_with(change, options.dataset, options.out, options.folds, options.epochs)
        if not full:
            full = dice
            print(f"| change | {' | '.join(full)} | mean difference |")
            print(f"|---|{'---|' * (len(full) + 1)}")
        difference = statistics.mean(dice[case] - full[case] for case in full)
        print(f"| {change} | {' | '.join(f'{dice[case]:.3f}' for case in full)} | {difference:+.3f} |", flush=True)


if __name__ == "__main__":
    main()
