"""Several processes that train one fold together, as `torchrun --nproc-per-node N train.py` starts them.

The same global batch gives the same curve: each process takes its share of every batch, and loss, batch norm and
gradients are those of the whole batch.
"""

import os
from dataclasses import dataclass

import torch
from torch import nn

from SpleenSmoothSegLib.errors import UserError


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
        from torch.distributed.nn.functional import all_reduce

        return all_reduce(sums)

    def wait(self) -> None:
        """Return when all processes are here."""
        if self.count > 1:
            torch.distributed.barrier()


ALONE = Processes()


def join_processes(device: torch.device) -> Processes:
    """Find the other processes that torchrun has started; alone without torchrun."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        return ALONE
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())


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
    return nn.parallel.DistributedDataParallel(network, broadcast_buffers=False)


class _SharedBatchNorm:
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
