"""Mixed precision: bfloat16 where a device computes faster in it, full precision where that is not safe or slower."""

import contextlib

import torch
from torch import nn

from SpleenSmoothSegLib.inference.devices import computes_in_bfloat16


def computes_mixed(precision: str, device: torch.device) -> bool:
    """Whether a recipe's precision, "auto", "mixed" or "full", means bfloat16 on this device."""
    if precision != "auto":
        return precision == "mixed"
    return computes_in_bfloat16(device)


def autocast(mixed: bool, device: torch.device):
    """The context in which the network is called; gradients need no scaling, bfloat16 has the range of float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if mixed else contextlib.nullcontext()


def keep_depthwise_full(network: nn.Module, device: torch.device) -> None:
    """Let depthwise convolutions compute in float32 on a CPU.

    Their gradient in bfloat16 takes up to three times as long there (Testing/Benchmarks/bench_training.py).
    """
    if device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            kind = type(module)
            module.__class__ = type(f"Full{kind.__name__}", (_InFullPrecision, kind), {})


class _InFullPrecision(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())
