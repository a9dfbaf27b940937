"""Distributed training of one fold, started with `torchrun --nproc-per-node N train.py`.

Each process takes its share of every batch; loss, batch norm and gradients are those of the whole batch, so the
learning curve does not depend on the number of processes.
"""

import contextlib
import os
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import nn

from SpleenSmoothSegLib.errors import UserError

TIMEOUT = timedelta(days=1)  # the other processes wait while the first one prepares the data and measures


@dataclass(frozen=True)
class Processes:
    """The rank of this process and the number of processes; only the first one prints and writes files."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def all_reduce(self, sums: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, with gradients."""
        if self.count == 1:
            return sums
        return _Sum.apply(sums)

    def run_on_first(self, work: Callable[[], Any]) -> Any:
        """Call `work` in the first process only and return its result; the others wait and return None.

        If it fails, the others exit silently (SystemExit).
        """
        result, done = None, [False]
        try:
            if self.is_first:
                result = work()
                done = [True]
        finally:
            if self.count > 1:
                torch.distributed.broadcast_object_list(done)
        if not self.is_first and not done[0]:
            raise SystemExit(1)
        return result


ALONE = Processes()


def is_first_process() -> bool:
    """Whether this is the first process of torchrun; works before `joined_processes`."""
    return int(os.environ.get("RANK", "0")) == 0


@contextlib.contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """The process group of torchrun; `ALONE` without torchrun.

    Raises UserError if another process has ended.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(local_device(device))
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
    except RuntimeError as error:
        if "peer" not in str(error).lower():  # gloo and NCCL report a closed connection like this
            raise
        raise UserError("Another process of this training has ended; see its output, then --resume.") from error
    finally:
        torch.distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """The GPU of this process under torchrun; else `device`."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def check_batch(batch_size: int, processes: Processes) -> None:
    """Raise UserError if a batch cannot be divided evenly."""
    if batch_size % processes.count:
        raise UserError(
            f"A batch of {batch_size} cannot be divided among {processes.count} processes; "
            f"choose a --batch-size that is a multiple of {processes.count}."
        )


def share_network(network: nn.Module, processes: Processes) -> nn.Module:
    """The network with gradients and batch norm over all processes; unchanged if there is only one."""
    if processes.count == 1:
        return network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            kind = type(module)
            module.__class__ = type(f"Shared{kind.__name__}", (_SharedBatchNorm, kind), {})
            module.processes = processes
    with warnings.catch_warnings():
        # Deprecated in the newest PyTorch, but the only name in older versions.
        warnings.simplefilter("ignore", FutureWarning)
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)


class _Sum(torch.autograd.Function):
    """Sum over all processes. Each process contributes to the loss of all others, so gradients are summed, too."""

    @staticmethod
    def forward(ctx, sums: torch.Tensor) -> torch.Tensor:
        return _summed(sums)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> torch.Tensor:
        return _summed(gradient)


def _summed(tensor: torch.Tensor) -> torch.Tensor:
    total = tensor.clone(memory_format=torch.contiguous_format)
    torch.distributed.all_reduce(total)
    return total


class _SharedBatchNorm(nn.Module):
    """Batch norm over the batches of all processes.

    PyTorch's SyncBatchNorm does not support CPUs and would drop the activation of timm's BatchNormAct2d.
    """

    processes: Processes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = x.numel() / x.shape[1]
        sums = torch.stack(
            [values.sum((0, 2, 3)), values.square().sum((0, 2, 3)), values.new_full((x.shape[1],), count)]
        )
        total, squares, counts = self.processes.all_reduce(sums)
        mean = total / counts
        variance = (squares / counts - mean.square()).clamp_min(0)
        with torch.no_grad():
            unbiased = variance * counts / (counts - 1).clamp_min(1)
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(unbiased, self.momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        out = values * scale[:, None, None] + (self.bias - mean * scale)[:, None, None]
        out = out.to(x.dtype)
        if hasattr(self, "act"):  # timm's BatchNormAct2d
            out = self.act(self.drop(out))
        return out
