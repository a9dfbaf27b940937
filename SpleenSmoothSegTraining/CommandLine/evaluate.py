"""Evaluate a model on the dataset it was trained on, without a GUI.

    python evaluate.py MODEL DATASET
    python evaluate.py MODEL DATASET --out FOLDER

Each case is segmented by the fold that was not trained on it, test cases by the ensemble, according to the model card,
and compared with its label on the CT's grid. The result is printed as a Markdown table. With --out, every fold also
segments the test cases, and FOLDER receives metrics.csv, metrics_by_slice.csv and the masks in predictions, which the
next call reuses. A research tool, not a medical device.
"""

import argparse
import statistics
import sys
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1]
# The engine is in the other module; an installed extension has both modules in one folder.
sys.path[:0] = [str(MODULE), str(MODULE.parent / "SpleenSmoothSeg")]

from SpleenSmoothSegLib.batch.console import Console, Parser, run_program
from SpleenSmoothSegLib.batch.process import exit_process, stop_on_signals


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for invalid arguments, SystemExit after --help."""
    parser = Parser("evaluate.py", __doc__)
    parser.add_argument("model", type=Path, metavar="MODEL", help="model folder written by train.py")
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder of the labeled CTs it was trained on")
    parser.add_argument(
        "--device",
        default="auto",
        choices=("auto", "cpu", "cuda", "mps"),
        help="where to compute (default: %(default)s)",
    )
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write all metrics and the masks here")
    parser.add_argument("--segment", help="name or value of the spleen in labels with several segments")
    parser.add_argument("--debug", action="store_true", help="print the traceback of an error")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""

    def work(_: Console) -> int:
        run(parse_arguments(arguments))
        return 0

    return run_program(work, arguments)


def run(options: argparse.Namespace) -> None:
    """Evaluate and print the table; raises UserError."""
    from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
    from SpleenSmoothSegTrainingLib.measuring.evaluation import EvaluationOptions, evaluate, splits_of_model
    from SpleenSmoothSegTrainingLib.measuring.metricsfile import write_metrics
    from SpleenSmoothSegTrainingLib.outfolder import OutFolder

    splits, folds = splits_of_model(options.model)
    cases = {case.name: case for case in open_dataset(options.dataset, options.segment).cases}
    print("| case | predicted by | Dice | precision | recall | predicted mL | label mL |")
    print("|---|---|---|---|---|---|---|")
    metrics = evaluate(
        options.model,
        cases,
        splits,
        EvaluationOptions(
            options.device,
            predictions=options.out and OutFolder(options.out).predictions,
            folds=folds,
            test_by_fold=options.out is not None,
        ),
        on_row=print_row,
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
    for name in ("Dice", "precision", "recall"):
        if known := [value for row in rows if (value := getattr(row, name.lower())) is not None]:
            mean = statistics.mean(known)
            print(f"\nMean validation {name} ({len(known)} case{'s' * (len(known) > 1)}): {mean:.3f}")


if __name__ == "__main__":
    stop_on_signals()
    exit_process(main(sys.argv[1:]))
