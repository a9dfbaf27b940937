"""Measure a model on the dataset it was trained on, without a window.

    python evaluate.py MODEL DATASET

Every case is segmented by the fold that did not learn from it, the test cases by the whole ensemble, as the model's
card tells, and compared with its label on the CT's own grid. Prints a table in Markdown. Research software, not a
medical device.
"""

import argparse
import statistics
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In a clone the libraries lie beside this file and in the other module, in an installed extension one folder up.
sys.path[:0] = [str(folder) for folder in (HERE, HERE.parent, HERE.parent / "SpleenSmoothSeg")]

from SpleenSmoothSegLib.console import Parser, PersonConsole, exit_code, leave, stop_on_signals  # noqa: E402


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for what cannot be understood, SystemExit after --help."""
    parser = Parser("evaluate.py", __doc__)
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder that train.py made")
    parser.add_argument(
        "dataset", type=Path, metavar="DATASET", help="the folder in Decathlon layout it was trained on"
    )
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: %(default)s)"
    )
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Do what the command line says and return the exit code."""

    def work() -> int:
        options = parse_arguments(arguments)
        from SpleenSmoothSegTrainingLib.evaluation import evaluate_trained

        print("| case | predicted by | Dice | precision | recall | mL, predicted | mL, label |")
        print("|---|---|---|---|---|---|---|")
        results = evaluate_trained(options.model, options.dataset, options.device, report=print_row)
        print_means([result for result in results if result.predicted_by != "ensemble"])
        return 0

    return exit_code(work, PersonConsole("--debug" in arguments))


def print_row(m) -> None:
    print(
        f"| {m.case} | {m.predicted_by} | {m.dice:.3f} | {m.precision:.3f} | {m.recall:.3f} "
        f"| {m.predicted_ml:.0f} | {m.label_ml:.0f} |",
        flush=True,
    )


def print_means(results: list) -> None:
    for name in ("dice", "precision", "recall") if results else ():
        mean = statistics.mean(getattr(result, name) for result in results)
        print(f"\nMean {name} of the {len(results)} cases that a fold had not learned from: {mean:.3f}")


if __name__ == "__main__":
    stop_on_signals()
    leave(main(sys.argv[1:]))
