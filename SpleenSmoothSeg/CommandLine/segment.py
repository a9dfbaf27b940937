"""Segment the spleen on CTs, without a GUI.

    python segment.py ct.nii.gz -o spleen.seg.nrrd
    python segment.py dicom_folder another_ct.nrrd folder_of_cts -o results
    python segment.py folder_of_cts -o study --scheduler local:4
    Slicer --no-main-window --python-script segment.py ct.nii.gz -o spleen.seg.nrrd

Without a CT, the sample CT of the repository is segmented and compared with its label. A folder may hold CT files, one
CT as DICOM files, or folders of those; CTs of the same name are distinguished by the names of their folders.

A CT that cannot be segmented is reported in one sentence, and the others are still segmented. If the device lacks
memory or fails, the CPU takes over, with a warning. Exit code: 0 if all CTs were segmented, 130 if canceled, else 1.

--json: stdout has one JSON object per line (events progress, warning, error, result); all else goes to stderr.
"fraction" covers all steps of a CT: seconds left = seconds so far * (1 - fraction) / fraction. --child, for a
parent process such as 3D Slicer: the first event is "started" with the process id, and the program exits when its stdin
is closed. With --stay it then emits "ready" and waits five minutes, networks loaded, for the next command line, a JSON
list on stdin. --devices: the only event is "devices", the devices that work on this computer.

--scheduler: a study, several CTs at a time, in processes on this computer or on a dask cluster. results.csv in the
output folder has one line per CT, done or failed. Run the same command again to resume: a CT is segmented again only if
it failed, its file or the model has changed, or its results are missing. Results in that folder are replaced without
--overwrite; with it, all CTs are segmented again.

A research tool, not a medical device.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
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
from SpleenSmoothSegLib.batch.process import exit_process, raise_if_interrupted, stop_on_signals
from SpleenSmoothSegLib.callbacks import Callbacks
from SpleenSmoothSegLib.errors import UserError

STARTER_MODEL = MODULE / "Resources" / "Models" / "Starter"
SAMPLE = MODULE / "Resources" / "SampleData"
PACKAGES = ("torch", "torchvision", "segmentation_models_pytorch", "safetensors")
STAY_SECONDS = 300.0
SAMPLE_CT, SAMPLE_LABEL = SAMPLE / "ct.nii.gz", SAMPLE / "spleen.nii.gz"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """Raises UserError for invalid arguments, SystemExit after --help."""
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
        "--probability", action="store_true", help="also write the mean probability and the uncertainty map"
    )
    parser.add_argument(
        "--uncertainty", action="store_true", help="also write the uncertainty map (std over the folds)"
    )
    parser.add_argument("--cropped", action="store_true", help="crop the uncertainty map to the predicted slices")
    parser.add_argument("--all-components", action="store_true", help="keep more than the largest connected part")
    parser.add_argument(
        "--exhaustive",
        action="store_true",
        help="predict every slice with every fold in float32: far slower, Dice with the default 0.995",
    )
    parser.add_argument("--no-overlay", action="store_true", help="write no PNG overlay")
    parser.add_argument("--uncompressed", action="store_true", help="write faster, larger files; maps as NRRD")
    parser.add_argument("--label", type=Path, help="label of the one CT, for the Dice (nonzero is spleen)")
    parser.add_argument("--overwrite", action="store_true", help="replace existing files")
    parser.add_argument(
        "--scheduler",
        metavar="WHERE",
        help="segment several CTs at a time: local, local:4 (processes on this computer) or the address of a dask "
        "scheduler (tcp://host:8786)",
    )
    parser.add_argument("--stay", action="store_true", help="with --child: wait for another command line on stdin")
    parser.add_argument("--devices", action="store_true", help="list the devices that work, as JSON, and exit")
    add_console_options(parser)
    return parser.parse_intermixed_args(arguments)  # CTs before and after options


def plan(options: argparse.Namespace) -> list:
    """The jobs (``jobs.Job``), checked as far as possible before any work; raises UserError."""
    from SpleenSmoothSegLib.batch.jobs import OutputOptions, plan_jobs
    from SpleenSmoothSegLib.model.folder import read_card

    table = check_study(options) if options.scheduler is not None else None
    given, label = options.cts, options.label
    if not given:
        if not SAMPLE_CT.is_file():
            raise UserError("No CT was given and the sample CT is missing; give a CT file or a DICOM folder.")
        given, label = [SAMPLE_CT], label or SAMPLE_LABEL
    jobs = plan_jobs(
        given,
        options.output,
        label,
        OutputOptions(
            overlay=not options.no_overlay,
            probability=options.probability,
            uncertainty_map=options.uncertainty or options.probability,
            compressed=not options.uncompressed,
            overwrite=options.overwrite or (table is not None and table.exists()),
        ),
    )
    if table is not None:
        table.check_free(jobs)
    read_card(options.model)
    missing = [name for name in needed_packages(options, jobs) if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(name=", ".join(missing))
    return jobs


def check_study(options: argparse.Namespace):
    """The table of the study. Makes paths absolute, because workers start in any folder; raises UserError."""
    from SpleenSmoothSegLib.batch.scheduling import check_scheduler
    from SpleenSmoothSegLib.batch.studytable import StudyTable
    from SpleenSmoothSegLib.io.images import IMAGE_SUFFIXES

    check_scheduler(options.scheduler)
    if not options.cts:
        raise UserError("A study needs CTs; give a folder of CTs, or omit --scheduler.")
    if options.label or (options.output.name.lower().endswith(IMAGE_SUFFIXES) and not options.output.is_dir()):
        raise UserError("A study has many CTs; give a folder after -o, and no --label.")
    options.cts = [Path(os.path.abspath(ct)) for ct in options.cts]  # keep the names of links
    options.output, options.model = (Path(os.path.abspath(path)) for path in (options.output, options.model))
    return StudyTable(options.output)


def needed_packages(options: argparse.Namespace, jobs: list) -> list[str]:
    """What this run will import; the panel uses fewer features, and Slicer has only the packages for those."""
    from SpleenSmoothSegLib.io.writing import SEGMENTATION_SUFFIX

    is_segmentation = any(job.segmentation.name.lower().endswith(SEGMENTATION_SUFFIX) for job in jobs)
    optional = {
        "slicerio": is_segmentation,
        "matplotlib": not options.no_overlay,
        "tqdm": not (options.json or options.child),
    }
    return [*PACKAGES, *(name for name, is_needed in optional.items() if is_needed)]


def settings_of(options: argparse.Namespace):
    """How to segment the CTs (``runner.Settings``)."""
    from SpleenSmoothSegLib.batch.runner import Settings

    return Settings(
        options.model,
        options.device,
        not options.all_components,
        options.exhaustive,
        compressed=not options.uncompressed,
        cropped=options.cropped,
    )


def run(jobs: list, segmenter, console: Console) -> int:
    """Segment every CT that can be segmented, one after another; returns how many were."""
    from SpleenSmoothSegLib.batch.runner import SetupError

    done = 0
    for job in jobs:
        raise_if_interrupted()
        try:
            result = segmenter(job, Callbacks(console.progress(job.title, job.ct), console.warner(job.ct)))
            console.result(result_event(job, result))
            done += 1
        except BrokenPipeError:
            raise
        except SetupError as error:
            console.error(error, job.ct)
            break
        except Exception as error:
            console.error(error, job.ct)
    return done


def result_event(job, result) -> dict:
    return {"ct": str(job.ct), "result": result.to_dict(), "files": job.files()}


def run_study(jobs: list, options: argparse.Namespace, console: Console) -> int:
    """Segment the CTs that are not done yet, several at a time; returns how many are done."""
    from SpleenSmoothSegLib.batch.study import Study, segment_study
    from SpleenSmoothSegLib.batch.studytable import StudyTable

    progress, ended, warnings = console.progress("CTs", None), 0, set()
    table = StudyTable(options.output)

    def on_event(job, event: dict) -> None:
        nonlocal ended
        match event:
            case {"event": "warning", "message": message}:
                if message not in warnings:  # all workers warn of the same device
                    warnings.add(message)
                    console.warning(message, job.ct)
                return
            case {"event": "step"}:
                return
            case {"event": "result", "result": result}:
                console.result(result_event(job, result))
            case {"event": "error", "error": error}:
                console.error(error, job.ct)
        ended += 1
        progress(ended / len(jobs), f"{ended} of {len(jobs)} CTs")

    progress(0.0, f"0 of {len(jobs)} CTs")
    study = Study(jobs, settings_of(options), table, options.overwrite)
    counts = segment_study(study, options.scheduler, on_event, options.debug)
    console.study(counts, table.path)
    return counts.done


def list_devices(console: JsonConsole) -> int:
    from SpleenSmoothSegLib.inference.devices import devices

    console.event("devices", devices=[dataclasses.asdict(device) for device in devices()])
    return 0


def stay(segmenter, console: JsonConsole) -> bool:
    """Run further command lines from stdin with the loaded networks; whether all CTs were segmented."""
    while not segmenter.fell_back_to_cpu:
        segmenter.release_memory()
        console.event("ready")
        line = console.next_line(STAY_SECONDS)
        if line is None:
            break
        options = parse_arguments(json.loads(line))
        if settings_of(options) != segmenter.settings:
            raise UserError("Another model or device was requested; start another process for it.")
        jobs = plan(options)
        for message in segmenter.warnings:
            console.warning(message, jobs[0].ct)
        if run(jobs, segmenter, console) < len(jobs):
            return False
    return True


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""

    def work(console) -> int:
        options = parse_arguments(arguments)
        if options.devices:
            return list_devices(console)
        if options.stay and not options.child:
            raise UserError("--stay is for a parent process; add --child, or omit it.")
        jobs = plan(options)
        if options.scheduler:
            return 0 if run_study(jobs, options, console) == len(jobs) else 1
        from SpleenSmoothSegLib.batch.runner import Segmenter

        segmenter = Segmenter(settings_of(options))
        complete = run(jobs, segmenter, console) == len(jobs)
        if complete and options.stay:
            complete = stay(segmenter, console)
        return 0 if complete else 1

    return run_program(work, arguments, (TerminalConsole, JsonConsole), json_options=("--json", "--devices"))


if __name__ == "__main__":
    stop_on_signals()
    exit_process(main(sys.argv[1:]), immediately="--child" in sys.argv)
