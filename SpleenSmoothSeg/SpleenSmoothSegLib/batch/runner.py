"""One CT after another from file to files: read, segment, write, and tell the numbers.

PyTorch and the networks are loaded once, for the first CT that can be read. Nothing heavy is imported before.
"""

import functools
import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..callbacks import Progress, Warn
from ..errors import UserError, explain
from .progress import Wait


class SetupError(UserError):
    """The model or the device cannot be used, so that no other CT could be segmented either."""


@dataclass(frozen=True)
class Settings:
    """How CTs are segmented.

    Attributes:
        model: folder.
        device: "auto", "cpu", "cuda" or "mps".
        largest_component: keep only the largest connected part.
        plain: every fold on every slice, in float32.
        compressed: write small files rather than quickly.
        cropped: of the disagreement, write only the part of the CT that the folds have looked at.
    """

    model: Path
    device: str = "auto"
    largest_component: bool = True
    plain: bool = False
    compressed: bool = True
    cropped: bool = False


class Segmenter:
    """Segments the CTs of jobs (`jobs.Job`), all with the same settings."""

    def __init__(self, settings: Settings):
        self.settings = settings
        self._model: Any = None  # a Model once loaded; its module imports torch
        self._device = ""
        self.is_as_asked = True  # no device has failed, so that the CPU does the work
        self.warnings: list[str] = []  # on the device, when it was chosen

    def __call__(self, job, tell: Progress, warn: Warn) -> dict:
        """Segment one CT, write its files together or not at all, and return the paths and the numbers.

        Args:
            job: the CT, and which files are to come of it.
            tell: called with the fraction of the whole wait that is over, and what is being done.
            warn: called with a sentence on what had to be chosen, or on a device that fails.

        Raises:
            UserError: this CT cannot be segmented.
            SetupError: no CT can.
        """
        started = time.perf_counter()
        expected = functools.partial(_expected_seconds, job, self.settings, self._model is not None)
        wait = Wait(tell, expected(slices=120, voxels=3e7))
        wait.step("Reading")
        ct, label = _read(job, warn)
        wait.seconds |= expected(ct.GetDepth(), ct.GetNumberOfPixels())
        if self._model is None:
            self._load(wait, warn)
        result = self._segment(job, ct, label, wait, warn)
        self.is_as_asked &= result["device"] == self._device
        self._device = result["device"]  # one that failed is not tried again
        seconds = round(time.perf_counter() - started, 2)
        return result | {"seconds": seconds, "peak_memory_mb": peak_memory_mb()}

    def rest(self) -> None:
        """Hold nothing but the networks, for it may be long until the next CT comes."""
        import torch

        from ..inference.devices import give_back_freed_memory, release_memory

        give_back_freed_memory()
        if self._device != "cpu":
            release_memory(torch.device(self._device))

    def _load(self, wait: Wait, warn: Warn) -> None:
        def warn_and_keep(sentence: str) -> None:
            self.warnings.append(sentence)
            warn(sentence)

        try:
            self._model, self._device = load(self.settings, wait, warn_and_keep)
        except (UserError, ImportError) as error:  # not for want of memory, which may pass
            raise SetupError(explain(error)) from error

    def _segment(self, job, ct, label, wait: Wait, warn: Warn) -> dict:
        from ..inference.ensemble import segment_image

        def progress(part: float, doing: str) -> None:
            if part < 1:
                wait.step("Segmenting", part, doing)

        settings = self.settings
        found = segment_image(
            ct, self._model, self._device, settings.largest_component, progress, warn=warn, plain=settings.plain
        )
        wait.step("Writing")
        _write(job, ct, found, settings)
        wait.end()
        files = {
            "ct": job.ct,
            "segmentation": job.segmentation,
            "overlay": job.overlay,
            "probability": job.probability,
            "disagreement_map": job.disagreement,
        }
        return {name: str(path) if path else None for name, path in files.items()} | _measures(found, label)


def load(settings: Settings, wait: Wait, warn: Warn):
    """The ensemble and the name of the device; raises UserError."""
    wait.step("Starting PyTorch")
    importlib.import_module("torch")
    wait.step("Starting PyTorch", 0.5)
    importlib.import_module("..model.network", __package__)
    from ..inference.devices import choose_device, give_back_freed_memory, keep_freed_memory, to_predict_on
    from ..model.folder import load_model

    wait.step("Loading the ensemble")
    keep_freed_memory()
    device = choose_device(settings.device, warn)
    model = load_model(settings.model) if settings.plain else load_model(settings.model, prepare=to_predict_on(device))
    give_back_freed_memory()
    return model, device.type


def _read(job, warn: Warn):
    """The CT of a job and its label or None, fit to be segmented."""
    from ..geometry.grid import same_grid
    from ..io.images import check_ct, read_image

    ct = read_image(job.ct, warn)
    check_ct(ct, job.ct)
    if job.label is None:
        return ct, None
    label = read_image(job.label, warn)
    if label.GetNumberOfComponentsPerPixel() != 1 or not same_grid(ct, label):
        raise UserError(f'The label "{job.label}" lies on another grid than the CT; resample it onto the CT.')
    return ct, label != 0


def _write(job, ct, found, settings: Settings) -> None:
    from ..io.writing import atomic_writes, write_image, write_mask
    from .overlay import write_overlay

    with atomic_writes(job.outputs) as aside:
        write_mask(found.mask, aside[job.segmentation], settings.compressed)
        if job.overlay:
            volume = f"spleen {found.volume_ml:.0f} mL" if found.volume_ml else "no spleen found"
            write_overlay(aside[job.overlay], ct, found.mask, f"{job.title}: {volume}")
        if job.probability:
            write_image(found.probability, aside[job.probability], settings.compressed)
        if job.disagreement:
            disagreement = found.cropped_disagreement_map if settings.cropped else found.disagreement_map
            write_image(disagreement, aside[job.disagreement], settings.compressed)


def _measures(found, label) -> dict:
    """The numbers of a result, in mL and mm; points are LPS, `center_lps` is None where no spleen was found."""
    from ..metrics.overlap import measure_overlap
    from ..metrics.shape import center_lps, extent_mm, longest_mm

    center = center_lps(found.mask)
    result = {
        "volume_ml": round(found.volume_ml, 2),
        "fold_volumes_ml": _rounded(found.fold_volumes_ml),
        "disagreement": round(found.disagreement, 4),
        "extent_mm": _rounded(extent_mm(found.mask)),
        "longest_mm": round(longest_mm(found.mask), 2),
        "center_lps": center and _rounded(center),
        "uncertain_places": [
            {"point_lps": _rounded(place.point_lps), "score": round(place.score, 2)} for place in found.uncertain_places
        ],
        "device": found.device,
    }
    if label is not None:
        result["dice"] = round(measure_overlap(found.mask, label).dice, 4)
    return result


def _rounded(numbers) -> list[float]:
    return [round(number, 2) for number in numbers]


def peak_memory_mb() -> int | None:
    """Most memory this process has held, in MB; None where the system does not tell (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6)


def _expected_seconds(job, settings: Settings, is_loaded: bool, slices: int, voxels: float) -> dict[str, float]:
    """How long each step takes on two cores of a CPU; the pace of the longest one is measured as it goes."""
    maps = (job.probability is not None) + (job.disagreement is not None)
    a_map = (1.2e-7 if settings.compressed else 1e-8) * voxels
    return {
        "Reading": 2e-8 * voxels,
        "Starting PyTorch": 0.0 if is_loaded else 2.0,
        "Loading the ensemble": 0.0 if is_loaded else 0.8,
        "Segmenting": 0.3 + 0.015 * slices,
        "Writing": 0.1 + maps * a_map + (0.6 if job.overlay else 0.0),
    }
