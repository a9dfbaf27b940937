"""Write the soft labels of labeled CTs, without a GUI.

    python soften.py Task09_Spleen soft_labels --border gaussian:1.5mm

DATASET is a folder in the layout of the Medical Segmentation Decathlon (dataset.json and the labels that it lists).
OUT gets one soft label of the spleen per case, with the name of the case: float32 in [0, 1] on the grid of the label.
For your own training code; train.py computes its soft labels itself.

A label that cannot be read is reported in one sentence, and the others are still softened. Exit code: 0 if all labels
were softened, 130 if canceled, else 1.

--json: stdout has one JSON object per line (events progress, error, result); all else goes to stderr. --child, for a
parent process such as 3D Slicer: the first event is "started" with the process id, and the program exits when its stdin
is closed.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

MODULE = Path(__file__).resolve().parents[1]
if str(MODULE) not in sys.path:
    sys.path.insert(0, str(MODULE))

from SpleenSmoothSegLib.batch.console import (
    Console,
    JsonConsole,
    Parser,
    TerminalConsole,
    add_console_options,
    run_program,
)
from SpleenSmoothSegLib.batch.process import exit_process, stop_on_signals
from SpleenSmoothSegLib.errors import UserError


@dataclass(frozen=True)
class Softening:
    """One label to soften: its voxels that equal `value`."""

    title: str
    label: Path
    value: int
    soft_label: Path


class SoftLabelConsole(TerminalConsole):
    def result(self, values: dict[str, str]) -> None:
        self._close()
        print(f"{values['label']}: {values['soft_label']}", flush=True)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for invalid arguments, SystemExit after --help."""
    parser = Parser("soften.py", __doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder in Decathlon layout")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the soft labels")
    parser.add_argument(
        "--border", required=True, metavar="KERNEL:WIDTH", help="such as gaussian:1.5mm, box:3px or svls:1px:3d"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    add_console_options(parser)
    return parser.parse_args(arguments)


def plan(options: argparse.Namespace) -> list[Softening]:
    """The labels to soften; raises UserError if that is not possible."""
    from SpleenSmoothSegLib.io.atomic import check_writable
    from SpleenSmoothSegLib.io.decathlon import list_cases

    cases = list_cases(options.dataset)
    labels = [Softening(case.name, case.label, case.spleen, options.out / f"{case.name}.nii.gz") for case in cases]
    existing = [label.soft_label for label in labels if label.soft_label.exists()]
    inputs = [path for case in cases for path in (case.image, case.label) if path.exists()]
    if any(path.samefile(read) for path in existing for read in inputs):
        raise UserError(f'"{options.out}" is a folder of the dataset itself; choose another for the soft labels.')
    if existing and not options.overwrite:
        raise UserError(f'"{existing[0]}" already exists; add --overwrite to replace it, or choose another folder.')
    check_writable(options.out)
    return labels


def soften(label: Softening, border) -> None:
    """Write one soft label; raises UserError."""
    from SpleenSmoothSegLib.border.kernels import smooth_border
    from SpleenSmoothSegLib.io.atomic import atomic_write
    from SpleenSmoothSegLib.io.labels import read_label
    from SpleenSmoothSegLib.io.writing import write_image

    soft = smooth_border(read_label(label.label), border, label.value)
    with atomic_write(label.soft_label) as temporary:
        write_image(soft, temporary)


def run(labels: list[Softening], border, console: Console) -> int:
    """Soften every label that can be softened; returns how many were."""
    done = 0
    for number, label in enumerate(labels):
        try:
            step = f"{label.title}, {number + 1} of {len(labels)}"
            console.progress(label.title, label.label)(number / len(labels), step)
            soften(label, border)
            console.result({"label": str(label.label), "soft_label": str(label.soft_label)})
            done += 1
        except BrokenPipeError:
            raise
        except Exception as error:
            console.error(error, label.label)
    return done


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""

    def work(console: Console) -> int:
        from SpleenSmoothSegLib.border.kernels import Border

        options = parse_arguments(arguments)
        border = Border.parse(options.border)
        labels = plan(options)
        return 0 if run(labels, border, console) == len(labels) else 1

    return run_program(work, arguments, (SoftLabelConsole, JsonConsole))


if __name__ == "__main__":
    stop_on_signals()
    exit_process(main(sys.argv[1:]), immediately="--child" in sys.argv)
