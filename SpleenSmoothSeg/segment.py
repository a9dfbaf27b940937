"""Segment the spleen on CTs without a window.

    python segment.py ct.nii.gz -o spleen.seg.nrrd
    python segment.py dicom_folder another_ct.nrrd folder_of_cts -o results
    Slicer --no-main-window --python-script segment.py ct.nii.gz -o spleen.seg.nrrd

Without a CT it segments the sample CT of the repository and compares it with the sample's label. A folder may hold CT
files, one CT as DICOM files, or folders of those; CTs of the same name are told apart by the folders above them.

With --json, stdout holds one JSON object a line (progress, warning, result, error); everything else goes to stderr. The
fraction of "progress" is that of the whole wait for a CT: the seconds left are about those so far times
(1 - fraction) / fraction. With --child, as 3D Slicer runs it, the first line (started) tells the process id, and the
program ends as soon as its stdin is closed. With --devices the only line (devices) says which devices work here.

The CPU takes over from a device that has too little memory or does not work; a warning says so.
What goes wrong is said in one sentence a CT, and the other CTs are still done. The exit code is 0 if every CT was
segmented, 130 if it was cancelled, else 1. A research tool, not a medical device.
"""

import argparse
import dataclasses
import functools
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

HERE = Path(__file__).resolve().parent
# In an installed extension this file lies one folder below the module, or Slicer would take it for one.
HOME = HERE if (HERE / "SpleenSmoothSegLib").is_dir() else HERE.parent
if str(HOME) not in sys.path:
    sys.path.insert(0, str(HOME))

from SpleenSmoothSegLib.console import (  # noqa: E402
    Console,
    JsonConsole,
    Parser,
    PersonConsole,
    exit_code,
    leave,
    live_as_child,
    stop_on_signals,
)
from SpleenSmoothSegLib.errors import UserError  # noqa: E402
from SpleenSmoothSegLib.progress import Wait  # noqa: E402

STARTER_MODEL = HOME / "Resources" / "Models" / "Starter"
SAMPLE = HOME / "Resources" / "SampleData"
PACKAGES = ("torch", "torchvision", "segmentation_models_pytorch", "safetensors")
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
    parser.add_argument("--all-components", action="store_true", help="keep more than the largest connected part")
    parser.add_argument(
        "--plain", action="store_true", help="every fold on every slice, in float32: the same to 0.995 Dice, far slower"
    )
    parser.add_argument("--no-overlay", action="store_true", help="write no PNG picture")
    parser.add_argument("--uncompressed", action="store_true", help="write larger files, more quickly; maps as NRRD")
    parser.add_argument("--label", type=Path, help="label of the one CT to compare with (nonzero is spleen)")
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there already")
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout instead of a progress bar")
    parser.add_argument("--child", action="store_true", help="--json for a program: ends when its stdin is closed")
    parser.add_argument("--devices", action="store_true", help="list the devices that work here, as JSON, and end")
    parser.add_argument("--debug", action="store_true", help="show where in the program an error came from")
    return parser.parse_intermixed_args(arguments)  # CTs before and after options


def plan(options: argparse.Namespace) -> list:
    """The jobs (``jobs.Job``), checked as far as is cheap before any work; raises UserError."""
    from SpleenSmoothSegLib.jobs import plan_jobs
    from SpleenSmoothSegLib.modelfolder import read_card

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
        overwrite=options.overwrite,
        compressed=not options.uncompressed,
    )
    read_card(options.model)
    missing = [name for name in needed_packages(options, jobs) if importlib.util.find_spec(name) is None]
    if missing:
        raise ModuleNotFoundError(name=", ".join(missing))
    return jobs


def needed_packages(options: argparse.Namespace, jobs: list) -> list[str]:
    """What this very run will import: the panel asks for less than a person does, and Slicer has installed no more."""
    from SpleenSmoothSegLib.writing import SEGMENTATION_SUFFIX

    is_segmentation = any(job.segmentation.name.lower().endswith(SEGMENTATION_SUFFIX) for job in jobs)
    wanted = {
        "slicerio": is_segmentation,
        "matplotlib": not options.no_overlay,
        "tqdm": not (options.json or options.child),
    }
    return [*PACKAGES, *(name for name, is_wanted in wanted.items() if is_wanted)]


def load(options: argparse.Namespace, wait: Wait, warn: Callable[[str], None]):
    """The ensemble and the name of the device; raises UserError."""
    wait.step("Starting PyTorch")
    importlib.import_module("torch")
    wait.step("Starting PyTorch", 0.5)
    importlib.import_module("SpleenSmoothSegLib.network")
    from SpleenSmoothSegLib.devices import choose_device, keep_freed_memory
    from SpleenSmoothSegLib.modelfolder import load_model
    from SpleenSmoothSegLib.predicting import to_predict_on

    wait.step("Loading the ensemble")
    keep_freed_memory()
    device = choose_device(options.device, warn)
    ways = {} if options.plain else {"prepare": to_predict_on(device)}
    return load_model(options.model, **ways), device.type


def read(job, warn: Callable[[str], None]):
    """The CT of a job and its label or None, fit to be segmented; raises UserError."""
    from SpleenSmoothSegLib.images import check_ct, read_image, same_grid

    ct = read_image(job.ct, warn)
    check_ct(ct, job.ct)
    if job.label is None:
        return ct, None
    label = read_image(job.label, warn)
    if label.GetNumberOfComponentsPerPixel() != 1 or not same_grid(ct, label):
        raise UserError(f'The label "{job.label}" lies on another grid than the CT; resample it onto the CT.')
    return ct, label != 0


def segment(job, ct, label, model, device: str, options: argparse.Namespace, wait: Wait, warn) -> dict:
    """Segment one CT, write its files together or not at all, and return the result; raises UserError."""
    from SpleenSmoothSegLib.ensemble import segment_image
    from SpleenSmoothSegLib.overlay import write_overlay
    from SpleenSmoothSegLib.writing import write_image, write_mask, written_together

    def progress(part: float, doing: str) -> None:
        if part < 1:
            wait.step("Segmenting", part, doing)

    largest = not options.all_components
    found = segment_image(ct, model, device, largest, progress=progress, warn=warn, plain=options.plain)
    wait.step("Writing")
    compressed = not options.uncompressed
    with written_together(job.outputs) as aside:
        write_mask(found.mask, aside[job.segmentation], compressed)
        if job.overlay:
            volume = f"spleen {found.volume_ml:.0f} mL" if found.volume_ml else "no spleen found"
            write_overlay(aside[job.overlay], ct, found.mask, f"{job.title}: {volume}")
        if job.probability:
            write_image(found.probability, aside[job.probability], compressed)
        if job.disagreement:
            write_image(found.disagreement_map, aside[job.disagreement], compressed)
    wait.end()
    files = {
        "ct": job.ct,
        "segmentation": job.segmentation,
        "overlay": job.overlay,
        "probability": job.probability,
        "disagreement_map": job.disagreement,
    }
    return {name: str(path) if path else None for name, path in files.items()} | measures(found, label)


def measures(found, label) -> dict:
    """The numbers of a result, in mL and mm; points are LPS, `center_lps` is None where no spleen was found."""
    from SpleenSmoothSegLib.measurement import center_lps, compare, extent_mm, longest_mm

    center = center_lps(found.mask)
    result = {
        "volume_ml": round(found.volume_ml, 2),
        "fold_volumes_ml": rounded(found.fold_volumes_ml),
        "disagreement": round(found.disagreement, 4),
        "extent_mm": rounded(extent_mm(found.mask)),
        "longest_mm": round(longest_mm(found.mask), 2),
        "center_lps": center and rounded(center),
        "uncertain_places": [
            {"point_lps": rounded(place.point_lps), "score": round(place.score, 2)} for place in found.uncertain_places
        ],
        "device": found.device,
    }
    if label is not None:
        result["dice"] = round(compare(found.mask, label).dice, 4)
    return result


def rounded(numbers) -> list[float]:
    return [round(number, 2) for number in numbers]


def peak_memory_mb() -> int | None:
    """Most memory this process has held, in MB; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def expected_seconds(job, options: argparse.Namespace, is_loaded: bool, slices: int, voxels: float) -> dict[str, float]:
    """How long each step takes on two cores of a CPU; the pace of the longest one is measured as it goes."""
    maps = (job.probability is not None) + (job.disagreement is not None)
    a_map = (1e-8 if options.uncompressed else 1.2e-7) * voxels
    return {
        "Reading": 2e-8 * voxels,
        "Starting PyTorch": 0.0 if is_loaded else 2.0,
        "Loading the ensemble": 0.0 if is_loaded else 0.8,
        "Segmenting": 0.3 + 0.015 * slices,
        "Writing": 0.1 + maps * a_map + (0.6 if job.overlay else 0.0),
    }


def run(jobs: list, options: argparse.Namespace, console: Console) -> int:
    """Segment every CT that can be segmented; returns how many were."""
    ensemble, done = None, 0
    for job in jobs:
        ct = label = None  # the last CT leaves the memory before the next one comes
        started = time.perf_counter()
        warn = functools.partial(console.warning, ct=job.ct)
        try:
            expected = functools.partial(expected_seconds, job, options, ensemble is not None)
            wait = Wait(console.progress(job), expected(slices=120, voxels=3e7))
            wait.step("Reading")
            ct, label = read(job, warn)
            wait.seconds |= expected(ct.GetDepth(), ct.GetNumberOfPixels())
            ensemble = ensemble or load(options, wait, warn)
            result = segment(job, ct, label, *ensemble, options, wait, warn)
            ensemble = ensemble[0], result["device"]  # one that failed is not tried again
            result["seconds"] = round(time.perf_counter() - started, 2)
            console.result(result | {"peak_memory_mb": peak_memory_mb()})
            done += 1
        except BrokenPipeError:
            raise
        except Exception as error:
            console.error(error, job.ct)
            if ct is not None and ensemble is None:  # no model or no device: the other CTs would fail, too
                break
    return done


def list_devices(console: JsonConsole) -> int:
    from SpleenSmoothSegLib.devices import devices

    console.event("devices", devices=[dataclasses.asdict(device) for device in devices()])
    return 0


def main(arguments: list[str]) -> int:
    """Do what the command line says and return the exit code."""
    speaks_json = {"--json", "--child", "--devices"} & set(arguments)
    console = (JsonConsole if speaks_json else PersonConsole)("--debug" in arguments)

    def work() -> int:
        if "--child" in arguments:
            live_as_child()
            console.event("started", pid=os.getpid())
        options = parse_arguments(arguments)
        if options.devices:
            return list_devices(console)
        jobs = plan(options)
        return 0 if run(jobs, options, console) == len(jobs) else 1

    return exit_code(work, console)


if __name__ == "__main__":
    stop_on_signals()
    leave(main(sys.argv[1:]), at_once="--child" in sys.argv)
