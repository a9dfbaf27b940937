"""Fuses layers of networks for prediction: the same function with fewer operations.

Batch norm after a convolution is merged into its weights, and nearest neighbor upsampling by 2 followed by a 3 x 3
convolution becomes one transposed convolution with 4 x 4 weights: 4 products per output value instead of 9.
"""

from collections import Counter

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .network import DecoderBlock, LinkNet

PROBE = 64  # rows and columns of the slice that traces which batch norm follows which convolution


def fused(network: LinkNet) -> LinkNet:
    """The network itself, changed in place: the same output up to rounding, but no longer trainable."""
    network.eval()
    with torch.no_grad():
        _merge_batch_norm(network)
        for number, block in enumerate(network.blocks):
            network.blocks[number] = _FusedBlock(block)
    return network


class _FusedBlock(nn.Sequential):
    """A decoder block with the pointwise layers before the upsampling, which is merged into the last convolution."""

    def __init__(self, block: DecoderBlock):
        super().__init__(block.reduce, block.reduce_norm, block.reduce_relu, block.upsample_norm, block.upsample_relu)
        inside, outside = block.expand.in_channels, block.expand.out_channels
        expand = nn.ConvTranspose2d(inside, outside, kernel_size=4, stride=2, padding=1)
        expand.weight = nn.Parameter(_of_repeated(block.expand.weight), requires_grad=False)
        expand.bias = block.expand.bias
        self.extend([expand, block.expand_norm, block.expand_relu])


def _of_repeated(weight: torch.Tensor) -> torch.Tensor:
    """Weights (in, out, 4, 4) of the transposed convolution (stride 2, padding 1) that equals upsampling by 2, then a
    convolution (padding 1) with weights (out, in, 3, 3)."""
    for axis in (2, 3):
        first, middle, last = weight.unbind(axis)
        weight = torch.stack([last, middle + last, first + middle, first], axis)
    return weight.transpose(0, 1).contiguous()


def _merge_batch_norm(network: LinkNet) -> None:
    """Merge every batch norm into the convolution before it, if nothing else uses the output of that convolution."""
    after = {}  # what remains of each batch norm: the activation, where it is timm's
    for convolution, norm in _pairs(network):
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        convolution.weight, convolution.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
        after[norm] = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if child in after:
                setattr(parent, name, after[child])


def _pairs(network: LinkNet) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the batch norm that is the only user of its output, traced with a slice of zeros."""
    outputs, pairs = {}, []

    def trace(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            outputs[id(output)] = module, output  # held, so that no other tensor gets its id
        elif id(inputs[0]) in outputs:
            pairs.append((id(inputs[0]), outputs[id(inputs[0])][0], module))

    traced = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(trace) for module in traced]
    with _Uses() as uses:
        network(torch.zeros(1, network.in_channels, PROBE, PROBE))
    for hook in hooks:
        hook.remove()
    return [(convolution, norm) for number, convolution, norm in pairs if uses.counts[number] == 1]


class _Uses(TorchFunctionMode):
    """Counts for each tensor, by id, the functions that compute tensors from it; others only read its shape."""

    def __init__(self):
        super().__init__()
        self.counts: Counter[int] = Counter()
        self._held = []  # so that no other tensor gets the id of one that was freed

    def __torch_function__(self, function, _types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        if any(map(torch.is_tensor, tree_leaves(result))):
            taken = [value for value in tree_leaves((arguments, keywords)) if torch.is_tensor(value)]
            self.counts.update(map(id, taken))
            self._held += taken
        return result
