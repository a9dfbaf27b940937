"""Mixed precision: bfloat16 where the device is faster with it, else float32."""

import contextlib

import torch
from torch import nn

from SpleenSmoothSegLib.inference.devices import prefers_bfloat16


def computes_mixed(precision: str, device: torch.device) -> bool:
    """Whether a recipe's precision ("auto", "mixed" or "full") means bfloat16 on this device."""
    if precision != "auto":
        return precision == "mixed"
    return prefers_bfloat16(device)


def autocast(mixed: bool, device: torch.device):
    """The context for calls of the network. Needs no gradient scaling: bfloat16 has the range of float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if mixed else contextlib.nullcontext()


def keep_depthwise_float32(network: nn.Module, device: torch.device) -> None:
    """Keep depthwise convolutions in float32 on a CPU.

    Their gradient in bfloat16 takes up to three times as long on a CPU (Testing/Benchmarks/bench_training.py).
    """
    if device.type != "cpu":
        return
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            kind = type(module)
            module.__class__ = type(f"Float32{kind.__name__}", (_Float32, kind), {})


class _Float32(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.autocast("cpu", enabled=False):
            return super().forward(x.float())
