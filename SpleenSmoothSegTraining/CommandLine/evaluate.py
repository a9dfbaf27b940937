"""Measure a model on the dataset it was trained on, without a window.

    python evaluate.py MODEL DATASET
    python evaluate.py MODEL DATASET --out FOLDER

Every case is segmented by the fold that did not learn from it, the test cases by the whole ensemble, as the model's
card tells, and compared with its label on the CT's own grid. Prints a table in Markdown. With --out each test case is
measured by every fold, too, and FOLDER receives metrics.csv, metrics_by_slice.csv and the masks in predictions, which
are not computed again the next time. Research software, not a medical device.
"""

import argparse
import statistics
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1]
# The engine lies in the other module; in an installed extension both modules are in one folder.
sys.path[:0] = [str(MODULE), str(MODULE.parent / "SpleenSmoothSeg")]

from SpleenSmoothSegLib.batch.console import Parser, PersonConsole, exit_code, exit_process, stop_on_signals


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for what cannot be understood, SystemExit after --help."""
    parser = Parser("evaluate.py", __doc__)
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder that train.py made")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder of the labeled CTs it was trained on")
    parser.add_argument(
        "--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="(default: %(default)s)"
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write all measures and the masks there")
    parser.add_argument("--segment", help="the segment, or value, that means spleen, where that is not plain")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Do what the command line says and return the exit code."""

    def work() -> int:
        run(parse_arguments(arguments))
        return 0

    return exit_code(work, PersonConsole("--debug" in arguments))


def run(options: argparse.Namespace) -> None:
    """Measure; raises UserError."""
    from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
    from SpleenSmoothSegTrainingLib.measuring.evaluation import evaluate, splits_of_model
    from SpleenSmoothSegTrainingLib.measuring.metricsfile import write_metrics

    splits, folds = splits_of_model(options.model)
    cases = {case.name: case for case in open_dataset(options.dataset, options.segment).cases}
    print("| case | predicted by | Dice | precision | recall | mL, predicted | mL, label |")
    print("|---|---|---|---|---|---|---|")
    metrics = evaluate(
        options.model,
        cases,
        splits,
        options.device,
        predictions=options.out and options.out / "predictions",
        report=print_row,
        folds=folds,
        test_by_fold=options.out is not None,
    )
    print_means([row for row in metrics.volumes if row.set == "validation"])
    if options.out:
        write_metrics(options.out, metrics)
        print(f"\nWritten: {options.out}")


def print_row(row) -> None:
    numbers = [f"{value:.3f}" if value is not None else "–" for value in (row.dice, row.precision, row.recall)]
    cells = [row.case, row.predicted_by, *numbers, f"{row.predicted_ml:.0f}", f"{row.label_ml:.0f}"]
    print(f"| {' | '.join(cells)} |", flush=True)


def print_means(rows: list) -> None:
    for name in ("dice", "precision", "recall"):
        if known := [value for row in rows if (value := getattr(row, name)) is not None]:
            mean = statistics.mean(known)
            of = "the one case" if len(known) == 1 else f"the {len(known)} cases"
            print(f"\nMean {name} of {of} that a fold had not learned from: {mean:.3f}")


if __name__ == "__main__":
    stop_on_signals()
    exit_process(main(sys.argv[1:]))
