"""Segment the spleen on CTs without a window.

    python segment.py ct.nii.gz -o spleen.seg.nrrd
    python segment.py dicom_folder another_ct.nrrd folder_of_cts -o results
    Slicer --no-main-window --python-script segment.py ct.nii.gz -o spleen.seg.nrrd

Without a CT it segments the sample CT of the repository and compares it with the sample's label. A folder may hold CT
files, one CT as DICOM files, or folders of those; CTs of the same name are told apart by the folders above them.

With --json, stdout holds one JSON object a line (progress, warning, result, error); everything else goes to stderr. The
fraction of "progress" is that of the whole wait for a CT: the seconds left are about those so far times
(1 - fraction) / fraction. With --child, as 3D Slicer runs it, the first line (started) tells the process id, and the
program ends as soon as its stdin is closed. With --stay, too, it says "ready" after a result and waits five minutes,
its networks loaded, for another command line, a JSON list on stdin. With --devices the only line (devices) says which
devices work here.

With --scheduler, a study: several CTs at a time, by processes of this computer or a dask cluster. The table
results.csv in the folder of results has a line a CT, done or failed, as it comes. The same command once more goes on: a
CT is done again only if it failed, its file or the model has changed, or its results are gone. The results in such a
folder are the study's, and replaced without --overwrite; with it, all is done again.

The CPU takes over from a device that has too little memory or does not work; a warning says so.
What goes wrong is said in one sentence a CT, and the other CTs are still done. The exit code is 0 if every CT was
segmented, 130 if it was cancelled, else 1. A research tool, not a medical device.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
from collections.abc import Callable
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

STARTER_MODEL = MODULE / "Resources" / "Models" / "Starter"
SAMPLE = MODULE / "Resources" / "SampleData"
PACKAGES = ("torch", "torchvision", "segmentation_models_pytorch", "safetensors")
STAYS_SECONDS = 300.0
SAMPLE_CT, SAMPLE_LABEL = SAMPLE / "ct.nii.gz", SAMPLE / "spleen.nii.gz"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for what cannot be understood, SystemExit after --help."""
    parser = Parser("segment.py", __doc__)
    parser.add_argument("cts", nargs="*", type=Path, metavar="CT", help="CT file, DICOM folder, or folder of CTs")
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        default=Path("results"),
        help="for one CT a file ending in .seg.nrrd, .nii.gz or another image suffix, else a folder "
        "(default: %(default)s)",
    )
    parser.add_argument("--model", type=Path, default=STARTER_MODEL, help="model folder (default: the shipped Starter)")
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda", "mps"), help="default: %(default)s")
    parser.add_argument(
        "--probability", action="store_true", help="write the probability and the folds' disagreement too"
    )
    parser.add_argument("--disagreement", action="store_true", help="write the folds' disagreement too")
    parser.add_argument("--cropped", action="store_true", help="of that only the part that the folds have looked at")
    parser.add_argument("--all-components", action="store_true", help="keep more than the largest connected part")
    parser.add_argument(
        "--plain", action="store_true", help="every fold on every slice, in float32: the same to 0.995 Dice, far slower"
    )
    parser.add_argument("--no-overlay", action="store_true", help="write no PNG picture")
    parser.add_argument("--uncompressed", action="store_true", help="write larger files, more quickly; maps as NRRD")
    parser.add_argument("--label", type=Path, help="label of the one CT to compare with (nonzero is spleen)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    parser.add_argument(
        "--scheduler",
        metavar="WHERE",
        help="a study, several CTs at a time: local, local:4 (processes of this computer) or the address of a dask "
        "scheduler (tcp://host:8786)",
    )
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout instead of a progress bar")
    parser.add_argument("--child", action="store_true", help="--json for a program: ends when its stdin is closed")
    parser.add_argument("--stay", action="store_true", help="with --child: wait for another command line on stdin")
    parser.add_argument("--devices", action="store_true", help="list the devices that work here, as JSON, and end")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    return parser.parse_intermixed_args(arguments)  # CTs before and after options


def plan(options: argparse.Namespace) -> list:
    """The jobs (``jobs.Job``), checked as far as is cheap before any work; raises UserError."""
    from SpleenSmoothSegLib.batch.jobs import plan_jobs
    from SpleenSmoothSegLib.model.folder import read_card

    table = check_study(options) if options.scheduler is not None else None
    given, label = options.cts, options.label
    if not given:
        if not SAMPLE_CT.is_file():
            raise UserError("No CT was given and the sample CT is not here; give a CT file or a DICOM folder.")
        given, label = [SAMPLE_CT], label or SAMPLE_LABEL
    jobs = plan_jobs(
        given,
        options.output,
        label=label,
        overlay=not options.no_overlay,
        probability=options.probability,
        disagreement=options.disagreement or options.probability,
        overwrite=options.overwrite or (table is not None and table.is_there()),
        compressed=not options.uncompressed,
    )
    if table is not None:
        table.check_free(jobs)
    read_card(options.model)
    missing = [name for name in needed_packages(options, jobs) if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(name=", ".join(missing))
    return jobs


def check_study(options: argparse.Namespace):
    """The table of the study. Makes paths absolute, for workers start anywhere; raises UserError."""
    from SpleenSmoothSegLib.batch.scheduling import check_scheduler
    from SpleenSmoothSegLib.batch.studytable import StudyTable
    from SpleenSmoothSegLib.io.images import IMAGE_SUFFIXES

    check_scheduler(options.scheduler)
    if not options.cts:
        raise UserError("A study needs CTs; give a folder of them, or leave out --scheduler.")
    if options.label or (options.output.name.lower().endswith(IMAGE_SUFFIXES) and not options.output.is_dir()):
        raise UserError("A study has many CTs; give a folder after -o, and no --label.")
    options.cts = [Path(os.path.abspath(ct)) for ct in options.cts]  # not resolved: links have the names people know
    options.output, options.model = (Path(os.path.abspath(path)) for path in (options.output, options.model))
    return StudyTable(options.output)


def needed_packages(options: argparse.Namespace, jobs: list) -> list[str]:
    """What this very run will import: the panel asks for less than a person does, and Slicer has installed no more."""
    from SpleenSmoothSegLib.io.writing import SEGMENTATION_SUFFIX

    is_segmentation = any(job.segmentation.name.lower().endswith(SEGMENTATION_SUFFIX) for job in jobs)
    wanted = {
        "slicerio": is_segmentation,
        "matplotlib": not options.no_overlay,
        "tqdm": not (options.json or options.child),
    }
    return [*PACKAGES, *(name for name, is_wanted in wanted.items() if is_wanted)]


def settings_of(options: argparse.Namespace):
    """How the CTs are to be segmented (``segmenter.Settings``)."""
    from SpleenSmoothSegLib.batch.runner import Settings

    return Settings(
        options.model,
        options.device,
        not options.all_components,
        options.plain,
        compressed=not options.uncompressed,
        cropped=options.cropped,
    )


def run(jobs: list, segment, console: Console) -> int:
    """Let ``segment`` (``segmenter.Segmenter``) do every CT that can be done, one after another; returns how many."""
    from SpleenSmoothSegLib.batch.runner import SetupError

    done = 0
    for job in jobs:
        try:
            console.result(segment(job, console.progress(job.title, job.ct), console.warner(job.ct)))
            done += 1
        except BrokenPipeError:
            raise
        except SetupError as error:
            console.error(error, job.ct)
            break
        except Exception as error:
            console.error(error, job.ct)
    return done


def run_study(jobs: list, options: argparse.Namespace, console: Console) -> int:
    """Segment those of the CTs that are not done yet, several at a time; returns how many are done."""
    from SpleenSmoothSegLib.batch.study import segment_study
    from SpleenSmoothSegLib.batch.studytable import StudyTable

    progress, ended, warnings = console.progress("CTs", None), 0, set()
    table = StudyTable(options.output)

    def hear(job, event: dict) -> None:
        nonlocal ended
        match event:
            case {"event": "warning", "message": message}:
                if message not in warnings:  # each worker has the same to say of its device
                    warnings.add(message)
                    console.warning(message, job.ct)
                return
            case {"event": "step"}:
                return
            case {"event": "result"}:
                console.result({key: value for key, value in event.items() if key != "event"})
            case {"event": "error", "error": error}:
                console.error(error, job.ct)
        ended += 1
        progress(ended / len(jobs), f"{ended} of {len(jobs)} CTs")

    progress(0.0, f"0 of {len(jobs)} CTs")
    counts = segment_study(jobs, settings_of(options), table, options.scheduler, hear, options.overwrite, options.debug)
    console.study(counts, table.path)
    return counts.done


def list_devices(console: JsonConsole) -> int:
    from SpleenSmoothSegLib.inference.devices import devices

    console.event("devices", devices=[dataclasses.asdict(device) for device in devices()])
    return 0


def stay(segment, next_line: Callable[[float], str | None], console: JsonConsole) -> bool:
    """Do one command line after another with the networks that are loaded; whether all went well to the end."""
    while segment.is_as_asked:
        segment.rest()
        console.event("ready")
        line = next_line(STAYS_SECONDS)
        if line is None:
            break
        options = parse_arguments(json.loads(line))
        if settings_of(options) != segment.settings:
            raise UserError("Another model or device was asked for; start another process for it.")
        jobs = plan(options)
        for sentence in segment.warnings:
            console.warning(sentence, jobs[0].ct)
        if run(jobs, segment, console) < len(jobs):
            return False
    return True


def main(arguments: list[str]) -> int:
    """Do what the command line says and return the exit code."""
    speaks_json = {"--json", "--child", "--devices"} & set(arguments)
    console = (JsonConsole if speaks_json else PersonConsole)("--debug" in arguments)

    def work() -> int:
        if "--child" in arguments:
            next_line = exit_with_parent()
            console.event("started", pid=os.getpid())
        options = parse_arguments(arguments)
        if options.devices:
            return list_devices(console)
        if options.stay and not options.child:
            raise UserError("--stay is for a program that runs this one; add --child, or leave it out.")
        jobs = plan(options)
        if options.scheduler:
            return 0 if run_study(jobs, options, console) == len(jobs) else 1
        from SpleenSmoothSegLib.batch.runner import Segmenter

        segment = Segmenter(settings_of(options))
        went_well = run(jobs, segment, console) == len(jobs)
        if went_well and options.stay:
            went_well = stay(segment, next_line, console)
        return 0 if went_well else 1

    return exit_code(work, console)


if __name__ == "__main__":
    stop_on_signals()
    exit_process(main(sys.argv[1:]), immediately="--child" in sys.argv)
