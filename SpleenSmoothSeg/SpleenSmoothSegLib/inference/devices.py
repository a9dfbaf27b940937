"""The devices that PyTorch can compute on: which work here, and why the others do not."""

import contextlib
import ctypes
import gc
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass

from ..callbacks import Warn
from ..errors import UserError

ACCELERATORS = ("cuda", "mps")  # in the order in which "auto" takes them
_NOT_BUILT = {"cuda": "this PyTorch is built without CUDA", "mps": "only Macs with Apple silicon have it"}

# Lower-case parts of PyTorch's error messages when a device fails, and the reason for the user; "" quotes PyTorch.
# Errors in our own code contain none of these. None marks an error that is not a device failure: main memory is full.
_FAILURES = {
    "defaultcpuallocator": None,
    "out of memory": "not enough memory",
    "alloc_failed": "not enough memory",
    "no kernel image": "this PyTorch does not support this GPU",
    "driver on your system is too old": "its driver is too old for this PyTorch",
    "driver version is insufficient": "its driver is too old for this PyTorch",
    "no nvidia driver": "no NVIDIA GPU with a working driver was found",
    "no cuda gpus": "no NVIDIA GPU with a working driver was found",
    "no cuda-capable device": "no NVIDIA GPU with a working driver was found",
    **dict.fromkeys(("cuda error", "cuda driver", "cuda unknown", "cudnn", "cublas", "unable to find an engine"), ""),
    **dict.fromkeys(("hip error", "no hip gpus", "miopen", "mps backend", "mps device"), ""),
}


@dataclass(frozen=True)
class Device:
    """A device by the name that `choose_device` takes.

    Attributes:
        usable: it was tried and works.
        reason: why it does not work, as part of a sentence; empty where it works.
    """

    name: str
    usable: bool
    reason: str = ""


def devices() -> list[Device]:
    """CUDA, MPS and the CPU; each that PyTorch is built for is tried with a small sum."""
    reasons = {name: _failure_of(name) for name in ACCELERATORS} | {"cpu": ""}
    return [Device(name, not reason, reason) for name, reason in reasons.items()]


def choose_device(name: str, warn: Warn = lambda message: None):
    """The torch device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    Warns where "auto" takes the CPU although PyTorch is built for an accelerator. Whether a device that PyTorch
    reports as available works shows only when it computes (see `device_failure`).

    Raises UserError if PyTorch reports that the device is not available.
    """
    import torch

    available = [device for device in ACCELERATORS if _is_available(device)] + ["cpu"]
    if name == "auto":
        name = available[0]
        if name == "cpu":
            for device in filter(_is_built, ACCELERATORS):
                warn(cpu_fallback_message(device, _failure_of(device)))
    if name not in available:
        reason = _failure_of(name) if name in ACCELERATORS else ""
        because = f" ({reason})" if reason else ""
        raise UserError(
            f'The device "{name}" is not available to PyTorch here{because}; '
            f"choose auto or one of: {', '.join(available)}."
        )
    return torch.device(name)


def cpu_fallback_message(device: str, reason: str) -> str:
    """The warning that the CPU takes over from a device."""
    return f'The device "{device}" cannot be used ({reason}); using the CPU instead, which is slower.'


def device_failure(error: RuntimeError) -> str | None:
    """Why a device failed, as part of a sentence; None if the error is not a device failure."""
    import torch

    text = str(error).lower()
    for part, reason in _FAILURES.items():
        if part in text:
            return _quoted(error) if reason == "" else reason
    return _quoted(error) if isinstance(error, getattr(torch, "AcceleratorError", ())) else None


def release_memory(device) -> None:
    """Free the memory that torch caches on a device, as far as a failed device allows it."""
    import torch

    gc.collect()
    if device.type in ACCELERATORS:
        with contextlib.suppress(RuntimeError):
            getattr(torch, device.type).empty_cache()


def _failure_of(name: str) -> str:
    """Why PyTorch cannot compute on an accelerator, as part of a sentence; empty where it can."""
    import torch

    if not _is_built(name):
        return _NOT_BUILT[name]
    try:
        with _no_warnings():
            torch.ones(2, device=name).sum().item()
    except RuntimeError as error:
        return device_failure(error) or _quoted(error)
    return ""


def _is_built(name: str) -> bool:
    import torch

    return getattr(torch.backends, name).is_built()


def _is_available(name: str) -> bool:
    import torch

    with _no_warnings():
        return {"cuda": torch.cuda, "mps": torch.backends.mps}[name].is_available()


@contextlib.contextmanager
def _no_warnings():
    """Suppress PyTorch's own warnings, for example of an old driver; the user gets ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _quoted(error: BaseException) -> str:
    return (
        f'PyTorch reports "{str(error).strip().splitlines()[0][:120]}"'
        if str(error).strip()
        else "for an unknown reason"
    )


def prefers_bfloat16(device) -> bool:
    """Whether a torch device computes faster in bfloat16 than in float32, rather than emulating it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capability: dict = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch >= 2.9
    return device.type == "cpu" and bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))


def trim_freed_memory() -> None:
    """Return freed memory that the C library keeps to the system: hundreds of MB after loading."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that PyTorch frees, for the next tensor of that size.

    By default glibc returns large blocks to the system and requests them again, page by page, several times per step,
    which makes a step on a CPU a seventh slower (Testing/Benchmarks/bench_training.py). No effect on other systems.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
                mallopt(parameter, 2**31 - 1)


def prepare_for(device) -> Callable:
    """Function for `load_model` that optimizes a network in place for prediction on a device; it stays on the CPU."""
    import torch

    from ..model.fused import fused

    dtype = torch.bfloat16 if prefers_bfloat16(device) else torch.float32
    return lambda network: fused(network).to(dtype)
