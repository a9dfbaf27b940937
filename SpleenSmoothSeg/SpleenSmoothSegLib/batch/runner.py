"""Segments one CT after another, from file to files: read, segment, measure, write.

PyTorch and the networks are loaded once, for the first CT that can be read. Nothing heavy is imported before.
"""

import functools
import importlib
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..callbacks import NO_CALLBACKS, Callbacks, Warn
from ..errors import UserError, explain
from ..inference.result import SegmentationResult
from .jobs import Job
from .progress import OverallProgress


class SetupError(UserError):
    """The model or the device cannot be used, so no other CT could be segmented either."""


@dataclass(frozen=True)
class Settings:
    """How CTs are segmented.

    Attributes:
        model: folder.
        device: "auto", "cpu", "cuda" or "mps".
        largest_component: keep only the largest connected part.
        exhaustive: every fold predicts every slice, in float32.
        compressed: write small files rather than quickly.
        cropped: crop the uncertainty map to the slices that the folds have predicted.
    """

    model: Path
    device: str = "auto"
    largest_component: bool = True
    exhaustive: bool = False
    compressed: bool = True
    cropped: bool = False


class Segmenter:
    """Segments the CTs of jobs, all with the same settings.

    Attributes:
        fell_back_to_cpu: a device has failed, and the CPU has taken over.
        warnings: about the device, from loading.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self.fell_back_to_cpu = False
        self.warnings: list[str] = []
        self._model: Any = None  # a Model once loaded; its module imports torch
        self._device = ""

    def __call__(self, job: Job, callbacks: Callbacks = NO_CALLBACKS) -> SegmentationResult:
        """Segment one CT and write its files, all or none.

        `callbacks.progress` gets the fraction of the whole run, including loading.

        Raises:
            UserError: this CT cannot be segmented.
            SetupError: no CT can be segmented.
        """
        start = time.perf_counter()
        expected = functools.partial(_expected_seconds, job, self.settings, self._model is not None)
        overall = OverallProgress(callbacks.progress, expected(slices=120, voxels=3e7))
        overall.step("Reading")
        ct, label = _read(job, callbacks.warn)
        overall.seconds |= expected(ct.GetDepth(), ct.GetNumberOfPixels())
        if self._model is None:
            self._load(overall, callbacks.warn)
        result = self._segment(job, ct, label, overall, callbacks)
        self.fell_back_to_cpu |= result.device != self._device
        self._device = result.device  # a device that failed is not tried again
        return replace(result, seconds=time.perf_counter() - start, peak_memory_mb=peak_memory_mb())

    def release_memory(self) -> None:
        """Free all memory but the networks, because the next CT may come much later."""
        import torch

        from ..inference.devices import release_memory, trim_freed_memory

        trim_freed_memory()
        if self._device != "cpu":
            release_memory(torch.device(self._device))

    def _load(self, overall: OverallProgress, warn: Warn) -> None:
        def warn_and_keep(message: str) -> None:
            self.warnings.append(message)
            warn(message)

        try:
            self._model, self._device = load(self.settings, overall, warn_and_keep)
        except (UserError, ImportError) as error:  # not MemoryError, which may pass
            raise SetupError(explain(error)) from error

    def _segment(self, job: Job, ct, label, overall: OverallProgress, callbacks: Callbacks) -> SegmentationResult:
        from ..inference.ensemble import Options, segment_image
        from ..metrics.overlap import measure_overlap

        def progress(part: float, step: str) -> None:
            if part < 1:
                overall.step("Segmenting", part, step)

        options = Options(self.settings.largest_component, self.settings.exhaustive)
        segmentation = segment_image(ct, self._model, self._device, options, replace(callbacks, progress=progress))
        overall.step("Writing")
        _write(job, ct, segmentation, self.settings)
        overall.end()
        if label is None:
            return segmentation.result
        return replace(segmentation.result, dice=measure_overlap(segmentation.mask, label).dice)


def load(settings: Settings, overall: OverallProgress, warn: Warn):
    """The ensemble and the name of the device; raises UserError."""
    overall.step("Starting PyTorch")
    importlib.import_module("torch")
    overall.step("Starting PyTorch", 0.5)
    importlib.import_module("..model.network", __package__)
    from ..inference.devices import choose_device, keep_freed_memory, prepare_for, trim_freed_memory
    from ..model.folder import load_model

    overall.step("Loading the ensemble")
    keep_freed_memory()
    device = choose_device(settings.device, warn)
    if settings.exhaustive:
        model = load_model(settings.model)
    else:
        model = load_model(settings.model, prepare=prepare_for(device))
    trim_freed_memory()
    return model, device.type


def _read(job: Job, warn: Warn):
    """The checked CT of a job, and its label or None."""
    from ..geometry.grid import same_grid
    from ..io.images import check_ct, read_image

    ct = read_image(job.ct, warn)
    check_ct(ct, job.ct)
    if job.label is None:
        return ct, None
    label = read_image(job.label, warn)
    if label.GetNumberOfComponentsPerPixel() != 1 or not same_grid(ct, label):
        raise UserError(f'The label "{job.label}" is on another grid than the CT; resample it to the CT\'s grid.')
    return ct, label != 0


def _write(job: Job, ct, segmentation, settings: Settings) -> None:
    from ..io.writing import atomic_writes, write_image, write_mask
    from .overlay import write_overlay

    with atomic_writes(job.outputs) as temporary:
        write_mask(segmentation.mask, temporary[job.segmentation], settings.compressed)
        if job.overlay:
            volume_ml = segmentation.result.volume_ml
            volume = f"spleen {volume_ml:.0f} mL" if volume_ml else "no spleen found"
            write_overlay(temporary[job.overlay], ct, segmentation.mask, f"{job.title}: {volume}")
        if job.probability:
            write_image(segmentation.probability, temporary[job.probability], settings.compressed)
        if job.uncertainty_map:
            map_ = segmentation.cropped_uncertainty_map if settings.cropped else segmentation.uncertainty_map
            write_image(map_, temporary[job.uncertainty_map], settings.compressed)


def peak_memory_mb() -> int | None:
    """Peak memory of this process in MB; None where the system does not report it (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def _expected_seconds(job: Job, settings: Settings, is_loaded: bool, slices: int, voxels: float) -> dict[str, float]:
    """Duration of each step on two CPU cores; the longest one is extrapolated while it runs."""
    maps = (job.probability is not None) + (job.uncertainty_map is not None)
    seconds_per_map = (1.2e-7 if settings.compressed else 1e-8) * voxels
    return {
        "Reading": 2e-8 * voxels,
        "Starting PyTorch": 0.0 if is_loaded else 2.0,
        "Loading the ensemble": 0.0 if is_loaded else 0.8,
        "Segmenting": 0.3 + 0.015 * slices,
        "Writing": 0.1 + maps * seconds_per_map + (0.6 if job.overlay else 0.0),
    }
