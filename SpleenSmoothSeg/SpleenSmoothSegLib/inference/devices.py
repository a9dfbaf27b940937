"""The devices that PyTorch can compute on: which of them work here, and why the others do not."""

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
_NOT_BUILT = {"cuda": "this PyTorch is built without CUDA", "mps": "only Macs with Apple chips have it"}

# What PyTorch says, in small letters, of a device that fails, and that in plain words; "" where its own words have to
# do. A mistake in our own code says none of it, and the computer's own memory is no failure of the device.
_FAILURES = {
    "defaultcpuallocator": None,
    "out of memory": "its memory is not enough",
    "alloc_failed": "its memory is not enough",
    "no kernel image": "this PyTorch has no programs for such a GPU",
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
    """Where to compute, by the name that `choose_device` takes.

    Attributes:
        usable: it was tried and works.
        reason: why it does not, in words that fit into a sentence; empty where it works.
    """

    name: str
    usable: bool
    reason: str = ""


def devices() -> list[Device]:
    """CUDA, MPS and the CPU; each that PyTorch is built for has been tried with a small sum."""
    reasons = {name: _trouble(name) for name in ACCELERATORS} | {"cpu": ""}
    return [Device(name, not reason, reason) for name, reason in reasons.items()]


def choose_device(name: str, warn: Warn = lambda sentence: None):
    """The torch device called `name`; "auto" takes CUDA, then MPS, then the CPU.

    `warn` is told in a sentence where "auto" takes the CPU although PyTorch is built for an accelerator. Whether a
    device that PyTorch says is there also works shows only when it computes (see `device_failure`).

    Raises UserError where PyTorch says that it is not there.
    """
    import torch

    there = [device for device in ACCELERATORS if _is_there(device)] + ["cpu"]
    if name == "auto":
        name = there[0]
        if name == "cpu":
            for device in filter(_is_built, ACCELERATORS):
                warn(cpu_instead_of(device, _trouble(device)))
    if name not in there:
        reason = _trouble(name) if name in ACCELERATORS else ""
        because = f" ({reason})" if reason else ""
        raise UserError(
            f'The device "{name}" is not available to PyTorch here{because}; choose auto or one of: {", ".join(there)}.'
        )
    return torch.device(name)


def cpu_instead_of(device: str, reason: str) -> str:
    """The sentence for the person who gets the CPU in place of a device."""
    return f'The device "{device}" cannot be used ({reason}); the CPU does the work instead, which takes longer.'


def device_failure(error: RuntimeError) -> str | None:
    """Why a device failed, in words that fit into a sentence; None where the error is none of a device."""
    import torch

    words = str(error).lower()
    for sign, reason in _FAILURES.items():
        if sign in words:
            return _quoted(error) if reason == "" else reason
    return _quoted(error) if isinstance(error, getattr(torch, "AcceleratorError", ())) else None


def release_memory(device) -> None:
    """Give back the memory that torch keeps on a device, as far as one that has failed still lets it."""
    import torch

    gc.collect()
    if device.type in ACCELERATORS:
        with contextlib.suppress(RuntimeError):
            getattr(torch, device.type).empty_cache()


def _trouble(name: str) -> str:
    """Why PyTorch cannot compute on an accelerator, in words that fit into a sentence; empty where it can."""
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


def _is_there(name: str) -> bool:
    import torch

    with _no_warnings():
        return {"cuda": torch.cuda, "mps": torch.backends.mps}[name].is_available()


@contextlib.contextmanager
def _no_warnings():
    """PyTorch warns of an old driver, for example, in its own words; a person gets ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _quoted(error: BaseException) -> str:
    return f'it says "{str(error).strip().splitlines()[0][:120]}"' if str(error).strip() else "it says nothing of why"


def computes_in_bfloat16(device) -> bool:
    """Whether a torch device computes faster in bfloat16 than in float32, and does not only emulate it."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capability: dict = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch >= 2.9
    return device.type == "cpu" and bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))


def give_back_freed_memory() -> None:
    """Give what the C library keeps of freed memory back to the system: after loading, hundreds of MB lie scattered."""
    if sys.platform == "linux" and (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)):
        trim(0)


def keep_freed_memory() -> None:
    """Let the C library keep the memory that PyTorch frees, for the next tensor of that size.

    glibc gives large blocks back to the system and gets them anew, page by page, several times a step: a step on a CPU
    takes a seventh longer (Testing/Benchmarks/bench_training.py). Elsewhere nothing happens.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # musl has none
        if mallopt is not None:
            for parameter in (-3, -1):  # M_MMAP_THRESHOLD, M_TRIM_THRESHOLD
                mallopt(parameter, 2**31 - 1)


def to_predict_on(device) -> Callable:
    """What makes a network ready to predict on a torch device, for `load_model`: itself, changed, still on the CPU."""
    import torch

    from ..model.fused import fused

    dtype = torch.bfloat16 if computes_in_bfloat16(device) else torch.float32
    return lambda network: fused(network).to(dtype)
