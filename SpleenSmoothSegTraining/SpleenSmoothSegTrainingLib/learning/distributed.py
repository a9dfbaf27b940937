"""Several processes that train one fold together, as `torchrun --nproc-per-node N train.py` starts them.

The same global batch gives the same curve: each process takes its share of every batch, and loss, batch norm and
gradients are those of the whole batch.
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

LONGEST_WAIT = timedelta(days=1)  # for the first process, which cuts and measures CTs


@dataclass(frozen=True)
class Processes:
    """How many processes train together, and which of them this is; the first one speaks and writes."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    def add(self, sums: torch.Tensor) -> torch.Tensor:
        """The sum over all processes; gradients flow back to each."""
        if self.count == 1:
            return sums
        return _Sum.apply(sums)

    def first_does(self, work: Callable[[], Any]) -> Any:
        """What `work` returns in the first process, None in the others, which wait for it.

        Where it fails there, the others end without a word of their own (SystemExit).
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
    """Whether this process speaks for all that torchrun has started; also before they have joined."""
    return int(os.environ.get("RANK", "0")) == 0


@contextlib.contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun has started, until they part; alone without torchrun.

    Raises UserError in those that are left when another one ends.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield ALONE
        return
    if device.type == "cuda":
        torch.cuda.set_device(local_device(device))
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=LONGEST_WAIT)
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
    except RuntimeError as error:
        if "peer" not in str(error).lower():  # so gloo and NCCL tell of a connection that is gone
            raise
        raise UserError("Another process of this training has ended; read what it says, then --resume.") from error
    finally:
        torch.distributed.destroy_process_group()


def local_device(device: torch.device) -> torch.device:
    """Under torchrun each process of a computer takes a GPU of its own."""
    if device.type == "cuda" and "LOCAL_RANK" in os.environ:
        return torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    return device


def check_batch(batch_size: int, processes: Processes) -> None:
    """Raise UserError where a batch cannot be shared evenly."""
    if batch_size % processes.count:
        raise UserError(
            f"A batch of {batch_size} cannot be shared by {processes.count} processes; give a --batch-size that can."
        )


def share_network(network: nn.Module, processes: Processes) -> nn.Module:
    """The network whose gradients and batch norm are those of all processes; itself where there is one."""
    if processes.count == 1:
        return network
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            kind = type(module)
            module.__class__ = type(f"Shared{kind.__name__}", (_SharedBatchNorm, kind), {})
            module.processes = processes
    with warnings.catch_warnings():
        # The newest PyTorch calls it by another name, the older ones know this one only.
        warnings.simplefilter("ignore", FutureWarning)
        return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)


class _Sum(torch.autograd.Function):
    """The sum over all processes; each one's share counts in every other one's loss, so gradients are summed, too."""

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
    """Batch norm over the batches of all processes. PyTorch's own (SyncBatchNorm) refuses CPUs, and encoders of timm
    have batch norms with an activation, which it would drop."""

    processes: Processes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(x)
        values = x.float()
        count = x.numel() / x.shape[1]
        sums = torch.stack(
            [values.sum((0, 2, 3)), values.square().sum((0, 2, 3)), values.new_full((x.shape[1],), count)]
        )
        total, squares, counts = self.processes.add(sums)
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
