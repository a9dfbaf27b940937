"""Write the soft labels of labeled CTs, without a window.

    python soften.py Task09_Spleen soft_labels --border gaussian:1.5mm

DATASET is a folder in the layout of the Medical Segmentation Decathlon (dataset.json and the labels that it lists).
OUT receives for each case the soft label of its spleen, named as the case: float32 in [0, 1] on the label's own grid.
It is for trainings of one's own: train.py softens labels by itself.

With --json, stdout holds one JSON object a line (progress, result, error); everything else goes to stderr. With
--child, as 3D Slicer runs it, the first line (started) tells the process id, and the program ends as soon as its stdin
is closed. What goes wrong is said in one sentence a label, and the other labels are still softened. The exit code is 0
if every label was softened, 130 if it was cancelled, else 1.
"""

import argparse
import os
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
    PersonConsole,
    exit_code,
    exit_process,
    exit_with_parent,
    stop_on_signals,
)
from SpleenSmoothSegLib.errors import UserError


@dataclass(frozen=True)
class Job:
    """One label to soften: its voxels that equal `value`."""

    title: str
    ct: Path  # the label; a console calls what it works on a CT
    value: int
    soft_label: Path


class SoftLabelConsole(PersonConsole):
    def result(self, result: dict) -> None:
        self._close()
        print(f"{result['ct']}: {result['soft_label']}", flush=True)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for what cannot be understood, SystemExit after --help."""
    parser = Parser("soften.py", __doc__)
    parser.add_argument("dataset", type=Path, metavar="DATASET", help="folder in Decathlon layout")
    parser.add_argument("out", type=Path, metavar="OUT", help="folder for the soft labels")
    parser.add_argument(
        "--border", required=True, metavar="KERNEL:WIDTH", help="such as gaussian:1.5mm, box:3px or svls:1px:3d"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout instead of a progress bar")
    parser.add_argument("--child", action="store_true", help="--json for a program: ends when its stdin is closed")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    return parser.parse_args(arguments)


def plan(options: argparse.Namespace) -> list[Job]:
    """What to do; raises UserError where that cannot be done."""
    from SpleenSmoothSegLib.io.atomic import check_writable
    from SpleenSmoothSegLib.io.decathlon import list_cases

    cases = list_cases(options.dataset)
    jobs = [Job(case.name, case.label, case.spleen, options.out / f"{case.name}.nii.gz") for case in cases]
    there = [job.soft_label for job in jobs if job.soft_label.exists()]
    given = [path for case in cases for path in (case.image, case.label) if path.exists()]
    if any(path.samefile(read) for path in there for read in given):
        raise UserError(f'"{options.out}" is a folder of the dataset itself; choose another for the soft labels.')
    if there and not options.overwrite:
        raise UserError(f'"{there[0]}" is there already; add --overwrite to replace it, or choose another folder.')
    check_writable(options.out)
    return jobs


def soften(job: Job, border) -> None:
    """Write the soft label of one job; raises UserError."""
    from SpleenSmoothSegLib.border.kernels import smooth_border
    from SpleenSmoothSegLib.io.atomic import atomic_write
    from SpleenSmoothSegLib.io.labels import read_label
    from SpleenSmoothSegLib.io.writing import write_image

    soft = smooth_border(read_label(job.ct), border, job.value)
    with atomic_write(job.soft_label) as aside:
        write_image(soft, aside)


def run(jobs: list[Job], border, console: Console) -> int:
    """Soften every label that can be softened; returns how many were."""
    done = 0
    for number, job in enumerate(jobs):
        try:
            console.progress(job.title, job.ct)(number / len(jobs), f"{job.title}, {number + 1} of {len(jobs)}")
            soften(job, border)
            console.result({"ct": str(job.ct), "soft_label": str(job.soft_label)})
            done += 1
        except BrokenPipeError:
            raise
        except Exception as error:
            console.error(error, job.ct)
    return done


def main(arguments: list[str]) -> int:
    """Do what the command line says and return the exit code."""
    speaks_json = {"--json", "--child"} & set(arguments)
    console = (JsonConsole if speaks_json else SoftLabelConsole)("--debug" in arguments)

    def work() -> int:
        from SpleenSmoothSegLib.border.kernels import Border

        if "--child" in arguments:
            exit_with_parent()
            console.event("started", pid=os.getpid())
        options = parse_arguments(arguments)
        border = Border.parse(options.border)
        jobs = plan(options)
        return 0 if run(jobs, border, console) == len(jobs) else 1

    return exit_code(work, console)


if __name__ == "__main__":
    stop_on_signals()
    exit_process(main(sys.argv[1:]), immediately="--child" in sys.argv)
