"""Measurements of SpleenSmoothSeg: `segment_image`, segment.py, the border preview, the module file."""

import copy
import importlib.util
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from itertools import count
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from Benchmarks.cts import REPOSITORY, with_slices
from Benchmarks.measure import Clock, peak_gb
from Benchmarks.roofline import gflop, watch

MODULE = REPOSITORY / "SpleenSmoothSeg"
SEGMENT = MODULE / "CommandLine" / "segment.py"
STARTER = MODULE / "Resources" / "Models" / "Starter"
FIELD_MM = 384.0  # across a slice of the published recipe: 256 pixels of 1.5 mm
SPLEEN_SHARE = 0.02  # of a slice
# As the panel runs it, see SpleenSmoothSegPanels/segment/logic.py.
PANEL_OPTIONS = (
    "--child",
    "--stay",
    "--device",
    "auto",
    "--uncertainty",
    "--cropped",
    "--uncompressed",
    "--no-overlay",
)


@dataclass(frozen=True)
class EnsembleConfig:
    """Size of the work of `ensemble`.

    Attributes:
        size: rows and columns of a network's input.
        slices: the CT is cropped or extended to this number of slices (default: unchanged).
        calls: number of calls after which the networks return a constant; memory is the same (default: no limit).
    """

    folds: int = 5
    size: int = 256
    slices: int | None = None
    calls: int | None = None


def ensemble(ct: str, label: str | None = None, mode: str = "default", device: str = "cpu", **config) -> dict:
    """The paper's ensemble with random weights.

    Args:
        label: of the spleen, for mode "spleen_slices".
        mode: "default"; "exhaustive", every fold on every slice in fp32; "spleen_slices", only slices with spleen.
        config: the attributes of `EnsembleConfig`.
    """
    from SpleenSmoothSegLib.inference.devices import trim_freed_memory

    config = EnsembleConfig(**config)
    image = sitk.ReadImage(ct)
    spleen = sitk.ReadImage(label) if label is not None else None
    if config.slices is not None:
        image = with_slices(image, config.slices)
        spleen = with_slices(spleen, config.slices, mirror=False) if spleen is not None else None
    model = random_model(config.folds, config.size, _prepare(mode, device))
    trim_freed_memory()
    if config.calls is None:
        return _segment(image, spleen, model, mode, device)
    for network in model.networks:
        _stop_computing_after(network, config.calls)
    return _segment(image, spleen, model, mode, device) | {"gflop": None}


def starter(ct: str, mode: str = "default", device: str = "cpu") -> dict:
    """The shipped ensemble; for `mode` see `ensemble`."""
    from SpleenSmoothSegLib.model.folder import load_model
    from SpleenSmoothSegLib.model.network import LinkNet

    model = load_model(STARTER, prepare=_prepare(mode, device))
    architecture, channels = model.card["architecture"], model.slice_format.channels

    def build():
        return LinkNet(architecture["encoder"], channels, architecture["decoder_reduction"])

    return _segment(sitk.ReadImage(ct), None, model, mode, device, build)


def dice(ct: str) -> dict:
    """Dice between the masks of the default and the exhaustive mode, with the shipped ensemble."""
    from SpleenSmoothSegLib.inference.ensemble import Options, segment_image
    from SpleenSmoothSegLib.io.images import read_image
    from SpleenSmoothSegLib.metrics.overlap import measure_overlap
    from SpleenSmoothSegLib.model.folder import load_model

    image, ready = read_image(ct), load_model(STARTER, prepare=_prepare("default", "cpu"))
    default = segment_image(image, ready, "cpu")
    exhaustive = segment_image(image, load_model(STARTER), "cpu", Options(exhaustive=True))
    overlap = measure_overlap(default.mask, exhaustive.mask)
    return {
        "dice": overlap.dice,
        "volume_ml": default.result.volume_ml,
        "exhaustive_volume_ml": exhaustive.result.volume_ml,
    }


def build_published():
    from SpleenSmoothSegLib.model.network import LinkNet

    return LinkNet()


def random_model(folds: int, size: int, prepare=lambda network: network):
    """The paper's network, `folds` of it with random weights, on slices of `size` x `size` pixels.

    Every fold segments about as many voxels as a spleen has, so that later steps have their usual work.
    """
    import torch

    from SpleenSmoothSegLib.geometry.slices import SliceFormat
    from SpleenSmoothSegLib.model.folder import Model

    torch.manual_seed(0)
    first, networks = build_published().train(), []
    with torch.no_grad():
        first(torch.rand(4, 1, 64, 64))  # for nontrivial batch norm statistics
        for _ in range(folds):
            network = copy.deepcopy(first.eval())
            network.head.weight.normal_()
            network.head.bias -= torch.quantile(network(torch.rand(1, 1, 64, 64)), 1 - SPLEEN_SHARE)
            networks.append(prepare(network))
    return Model({}, SliceFormat(size=size, spacing=FIELD_MM / size), 0.5, networks)


def process_time(ct: str, folder: str, again: bool = False) -> dict:
    """Time from the start of segment.py, run as by the panel, until its files are written.

    `again`: time of the next CT in the same process.
    """
    arguments = [*PANEL_OPTIONS, ct, "-o", str(Path(folder) / "wait.nrrd"), "--overwrite"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "encoding": "utf-8"}
    clock = Clock()
    clock.stage("Starting Python")
    with subprocess.Popen([sys.executable, str(SEGMENT), *arguments], **pipes) as child:
        result = _wait(child, clock)
        if again:
            if json.loads(child.stdout.readline() or "{}") != {"event": "ready"}:
                raise RuntimeError("segment.py did not stay")
            clock = Clock()
            print(json.dumps(arguments), file=child.stdin, flush=True)
            result = _wait(child, clock)
    return clock.stop() | {"peak_gb": result["peak_memory_mb"] / 1000}


def _wait(child: subprocess.Popen, clock: Clock) -> dict:
    """The result of the child; its steps are stages of the clock, which stops at the result."""
    for event in map(json.loads, child.stdout):
        if event["event"] == "progress":
            clock.stage(event.get("step", "Segmenting"))
        elif event["event"] == "result":
            clock.stage(None)
            return event["result"]
        elif event["event"] == "error":
            raise RuntimeError(event["message"])
    raise RuntimeError(f"segment.py ended with {child.wait()} and no result")


def study(cts: list[str], workers: int) -> dict:
    """``segment.py --scheduler`` on these CTs, with this number of worker processes on this computer."""
    clock, ended = Clock(), []
    clock.stage("Until the first CT is done")
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            str(SEGMENT),
            *cts,
            "-o",
            folder,
            "--json",
            "--no-overlay",
        ]
        with subprocess.Popen(
            [*command, "--scheduler", f"local:{workers}"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            encoding="utf-8",
        ) as process:
            for event in map(json.loads, process.stdout):
                if event["event"] == "result":
                    ended.append(event["result"]["peak_memory_mb"])
                    clock.stage("The other CTs")
    if len(ended) != len(cts):
        raise RuntimeError(f"{len(ended)} of {len(cts)} CTs were segmented")
    return clock.stop() | {"peak_gb": max(ended) / 1000, "units": f"{len(cts)} CTs; the memory is that of a worker"}


def importing(package: str) -> dict:
    """A process that only imports a package."""
    clock = Clock()
    clock.stage("Importing")
    subprocess.run([sys.executable, "-c", f"import {package}"], check=True)
    return clock.stop() | {"peak_gb": None}


def module_import() -> dict:
    """Slicer's import of the module file, in the stand-in for Slicer."""
    import standin

    standin.start()
    clock = Clock()
    clock.stage("Importing")
    spec = importlib.util.spec_from_file_location("SpleenSmoothSeg", MODULE / "SpleenSmoothSeg.py")
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    return clock.stop() | {"peak_gb": None}


def preview(border: str, updates: int = 5) -> dict:
    """An update of the border preview of a 512 x 512 x 100 label, the median of several."""
    from Benchmarks.bench_borders import SPACING, spleen_like
    from SpleenSmoothSegLib.border.effect import BorderPreview
    from SpleenSmoothSegLib.border.kernels import Border

    label = sitk.GetImageFromArray(spleen_like().astype(np.uint8))
    label.SetSpacing(SPACING[::-1])
    shown, wanted = BorderPreview(label), Border.parse(border)
    seconds = []
    for _ in range(updates):
        start = time.perf_counter()
        shown.soften(wanted)
        seconds.append(time.perf_counter() - start)
    return {"seconds": float(np.median(seconds)), "stages": {"Softening": float(np.median(seconds))}}


def _segment(ct, label, model, mode: str, device: str, build=build_published) -> dict:
    from SpleenSmoothSegLib.callbacks import Callbacks
    from SpleenSmoothSegLib.inference.ensemble import Options, segment_image

    shapes, clock = watch(model.networks), Clock()

    def segment(image, exhaustive: bool = False):
        callbacks = Callbacks(progress=lambda fraction, step: clock.stage(step))
        return segment_image(image, model, device, Options(exhaustive=exhaustive), callbacks).mask

    mask = (
        _segment_spleen_slices(segment, ct, label, clock)
        if mode == "spleen_slices"
        else segment(ct, exhaustive=mode == "exhaustive")
    )
    assert mask.GetSize() == ct.GetSize()
    found = clock.stop() | {"peak_gb": peak_gb(), "units": _describe_inputs(shapes)}
    return found | {"gflop": gflop(build, shapes)}  # after measuring memory, because counting needs some


def _prepare(mode: str, device: str):
    """The function that prepares a network, as in segment.py; does nothing in the exhaustive mode."""
    from SpleenSmoothSegLib.inference.devices import choose_device, keep_freed_memory, prepare_for

    keep_freed_memory()
    return (lambda network: network) if mode == "exhaustive" else prepare_for(choose_device(device))


def _describe_inputs(shapes) -> str:
    """The number and size of the slices that the networks computed, as text."""
    counts = Counter()
    for (batch, _, rows, columns), times in shapes.items():
        counts[rows, columns] += batch * times
    return ", ".join(f"{number} slices of {rows} x {columns}" for (rows, columns), number in counts.items())


def _stop_computing_after(network, calls: int) -> None:
    """Make the network return "no spleen" without computing after this number of calls."""
    import torch

    work, left = network.forward, count(calls, -1)
    network.forward = lambda slices: work(slices) if next(left) > 0 else torch.full_like(slices, -10.0)


def _segment_spleen_slices(segment, ct, label, clock):
    """The mask of the whole CT by a localizer that knows the spleen's slices."""
    held = np.flatnonzero(sitk.GetArrayViewFromImage(label).any(axis=(1, 2)))
    first, last = int(held[0]), int(held[-1])
    found = segment(ct[:, :, first : last + 1])
    clock.stage("Resampling to the CT's grid")
    mask = sitk.Image(ct.GetSize(), sitk.sitkUInt8)
    mask.CopyInformation(ct)
    return sitk.Paste(mask, found, found.GetSize(), destinationIndex=(0, 0, first))
