"""Train SpleenSmoothSeg on labeled CTs, without a window.

    python train.py Task09_Spleen results
    python train.py Task09_Spleen results --border none --folds 0,1 --epochs 10,2
    python train.py Task09_Spleen results --resume
    Slicer --no-main-window --python-script train.py Task09_Spleen results

DATASET is a folder in the layout of the Medical Segmentation Decathlon (dataset.json, imagesTr, labelsTr). OUT receives
recipe.json, splits.json, a folder for each fold and, when all folds are trained, model (the folder that Segment Spleen
uses) and metrics.csv. Without options this is the published recipe: five folds, 100 epochs of Adam, 20 of SGD; only the
published tenth of the cases for the test has to be named, with --test. What was interrupted goes on with --resume.
Research software, not a medical device.
"""

import argparse
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In a clone the libraries lie beside this file and in the other module, in an installed extension one folder up.
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent, HERE.parent / "SpleenSmoothSeg")]

from SpleenSmoothSegLib.console import Parser, PersonConsole, exit_code, leave, stop_on_signals  # noqa: E402


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for what cannot be understood, SystemExit after --help."""
    from SpleenSmoothSegTrainingLib.recipe import Recipe

    published = Recipe()
    parser = Parser("train.py", __doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder in Decathlon layout")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the results")
    parser.add_argument(
        "--recipe", type=Path, metavar="FILE", help="TOML file with a recipe; options change it further"
    )
    parser.add_argument("--folds", type=whole_numbers, metavar="0,1", help="folds to train now (default: all)")
    parser.add_argument(
        "--test", type=names, metavar="NAME,NAME", help="cases that no fold sees, to measure the ensemble"
    )
    parser.add_argument(
        "--epochs",
        type=two_whole_numbers,
        metavar="ADAM,SGD",
        help=f"length of the two phases (default: {published.adam_epochs},{published.sgd_epochs})",
    )
    parser.add_argument("--encoder", help=f"any encoder of segmentation-models-pytorch (default: {published.encoder})")
    parser.add_argument("--image-size", type=int, metavar="PIXELS", help=f"(default: {published.image_size})")
    parser.add_argument("--spacing", type=float, metavar="MM", help=f"of these pixels (default: {published.spacing})")
    parser.add_argument(
        "--border",
        metavar="KERNEL:WIDTH",
        help=f"soft border of the training labels, such as box:3px, or none (default: {published.border})",
    )
    parser.add_argument("--augmentation", choices=("published", "anatomical", "none"), help="(default: published)")
    parser.add_argument("--batch-size", type=int, help=f"(default: {published.batch_size})")
    parser.add_argument("--seed", type=int, help=f"(default: {published.seed})")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: %(default)s)"
    )
    parser.add_argument("--resume", action="store_true", help="go on with what OUT holds")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Do what the command line says and return the exit code."""

    def work() -> int:
        options = parse_arguments(arguments)
        try:
            run(options)
        except KeyboardInterrupt:
            raise KeyboardInterrupt("Stopped; --resume goes on from the last epoch.") from None
        return 0

    return exit_code(work, PersonConsole("--debug" in arguments))


def run(options: argparse.Namespace) -> None:
    """Train; raises UserError."""
    from SpleenSmoothSegTrainingLib.recipe import Recipe, read_recipe_file
    from SpleenSmoothSegTrainingLib.run import train

    recipe, test, card = read_recipe_file(options.recipe) if options.recipe else (Recipe(), (), {})
    adam_epochs, sgd_epochs = options.epochs or (None, None)
    recipe = recipe.with_changes(
        adam_epochs=adam_epochs,
        sgd_epochs=sgd_epochs,
        encoder=options.encoder,
        image_size=options.image_size,
        spacing=options.spacing,
        border=options.border,
        augmentation=options.augmentation,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    train(
        options.dataset,
        options.out,
        recipe,
        card=card,
        folds=options.folds,
        test=test if options.test is None else options.test,
        device=options.device,
        resume=options.resume,
        say=lambda line: print(line, flush=True),
    )


def whole_numbers(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} are no whole numbers with commas between") from error


def two_whole_numbers(text: str) -> list[int]:
    numbers = whole_numbers(text)
    if len(numbers) != 2:
        raise argparse.ArgumentTypeError(f"{text!r} are not two whole numbers with a comma between")
    return numbers


def names(text: str) -> tuple[str, ...]:
    return tuple(part for part in text.split(",") if part)


if __name__ == "__main__":
    stop_on_signals()
    leave(main(sys.argv[1:]))
