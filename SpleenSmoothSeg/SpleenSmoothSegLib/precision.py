"""Where bfloat16 is faster than float32, and how to compute in it. Sums that need more keep float32 (autocast)."""

import contextlib

import torch


def computes_in_bfloat16(device: torch.device) -> bool:
    """Whether a device computes faster in bfloat16 than in float32, and does not only emulate it."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    capability = getattr(torch.cpu, "get_capabilities", dict)()  # PyTorch >= 2.9
    return device.type == "cpu" and bool(capability.get("avx512_bf16") or capability.get("amx_bf16"))


def autocast(mixed: bool, device: torch.device):
    """The context in which a network is called; gradients need no scaling, bfloat16 has the range of float32."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if mixed else contextlib.nullcontext()
