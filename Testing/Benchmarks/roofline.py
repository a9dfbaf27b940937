"""The roofline: the FLOPs of a measurement relative to those that a matrix product reaches on this machine."""

import os
import platform
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

MATRIX, SMALL = 2048, 256  # rows and columns


def machine() -> dict:
    """Names and limits of this machine: GFLOP/s of a matrix product in fp32 and bf16, and the GPU's name or None."""
    import torch

    gpu = torch.cuda.get_device_name(0) if torch.cuda.is_available() else None
    rates = {"cpu": {"fp32": reached("fp32", "cpu"), "bf16": reached("bf16", "cpu", SMALL)}}
    if rates["cpu"]["bf16"] > rates["cpu"]["fp32"] / 2:  # otherwise bf16 is emulated, a hundred times slower
        rates["cpu"]["bf16"] = reached("bf16", "cpu")
    if gpu:
        rates["cuda"] = {name: reached(name, "cuda") for name in ("fp32", "fp16")}
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gb": _memory_gb(),
        "torch": torch.__version__,
        "gpu": gpu,
        "gflop_per_second": rates,
    }


def dtype(precision: str):
    """The torch dtype of "fp32", "bf16" or "fp16"."""
    import torch

    return {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]


def reached(precision: str, device: str, size: int = MATRIX, times: int = 5) -> float:
    """GFLOP/s of the best of several products of two square matrices."""
    import torch

    def seconds() -> float:
        start = time.perf_counter()
        (a @ b)[0, 0].item()  # waits for the device
        return time.perf_counter() - start

    a, b = (torch.randn(size, size, device=device).to(dtype(precision)) for _ in range(2))
    seconds()
    return 2 * size**3 / min(seconds() for _ in range(times)) / 1e9


def watch(networks: list) -> Counter:
    """Count the shapes of the networks' inputs from now on."""
    shapes = Counter()
    for network in networks:
        network.register_forward_pre_hook(lambda network, inputs: shapes.update([tuple(inputs[0].shape)]))
    return shapes


def gflop(build: Callable, shapes: Counter) -> float:
    """GFLOP of the network that `build` makes on inputs of these shapes; nothing is computed (torch's meta device)."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.device("meta"), torch.inference_mode():
        network = build().eval()
        total = 0
        for shape, count in shapes.items():
            with FlopCounterMode(display=False) as counter:
                network(torch.empty(shape))
            total += count * counter.get_total_flops()
    return total / 1e9


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory_gb() -> float | None:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return None
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9
