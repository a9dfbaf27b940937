"""Networks that only predict: the same function by less work, in the precision in which their device is fastest.

Batch norm that follows a convolution is a part of its weights, and a 3 x 3 convolution of values that are repeated
twice is a transposed one of the values, with 4 x 4 weights: 4 products in place of 9 for each result.
"""

from collections import Counter

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves

from .network import DecoderBlock, LinkNet

PROBE = 64  # rows and columns of a slice that shows which batch norm follows which convolution


def fused(network: LinkNet) -> LinkNet:
    """The network itself, which computes what it did up to rounding, and cannot learn any more."""
    network.eval()
    with torch.no_grad():
        _merge_batch_norm(network)
        for number, block in enumerate(network.blocks):
            network.blocks[number] = _PredictingBlock(block)
    return network


class _PredictingBlock(nn.Sequential):
    """A decoder block that does what is the same for each value before values are repeated."""

    def __init__(self, block: DecoderBlock):
        super().__init__(block.reduce, block.reduce_norm, block.reduce_relu, block.upsample_norm, block.upsample_relu)
        inside, outside = block.expand.in_channels, block.expand.out_channels
        expand = nn.ConvTranspose2d(inside, outside, kernel_size=4, stride=2, padding=1)
        expand.weight = nn.Parameter(_of_repeated(block.expand.weight), requires_grad=False)
        expand.bias = block.expand.bias
        self.extend([expand, block.expand_norm, block.expand_relu])


def _of_repeated(weight: torch.Tensor) -> torch.Tensor:
    """The (in, out, 4, 4) weights of a transposed convolution (stride 2, padding 1) that do what the (out, in, 3, 3) of
    a convolution (padding 1) do to values repeated twice in both directions."""
    for axis in (2, 3):
        first, middle, last = weight.unbind(axis)
        weight = torch.stack([last, middle + last, first + middle, first], axis)
    return weight.transpose(0, 1).contiguous()


def _merge_batch_norm(network: LinkNet) -> None:
    """Take every batch norm into the weights of the convolution before it, where nothing else sees what that gives."""
    after = {}
    for convolution, norm in _pairs(network):
        statistics = norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        convolution.weight, convolution.bias = fuse_conv_bn_weights(convolution.weight, convolution.bias, *statistics)
        after[norm] = nn.Sequential(norm.drop, norm.act) if hasattr(norm, "act") else nn.Identity()  # timm's have one
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if child in after:
                setattr(parent, name, after[child])


def _pairs(network: LinkNet) -> list[tuple[nn.Conv2d, nn.BatchNorm2d]]:
    """Each convolution with the batch norm that alone takes what it gives, as a slice of nothing shows."""
    given, pairs = {}, []

    def look(module: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
        if isinstance(module, nn.Conv2d):
            given[id(output)] = module, output  # held, so that no other tensor gets its id
        elif id(inputs[0]) in given:
            pairs.append((id(inputs[0]), given[id(inputs[0])][0], module))

    looked_at = [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.BatchNorm2d)]
    hooks = [module.register_forward_hook(look) for module in looked_at]
    with _Uses() as uses:
        network(torch.zeros(1, network.in_channels, PROBE, PROBE))
    for hook in hooks:
        hook.remove()
    return [(convolution, norm) for number, convolution, norm in pairs if uses.counts[number] == 1]


class _Uses(TorchFunctionMode):
    """Counts for each tensor, by its id, how many functions make tensors of it; others only ask for its shape."""

    def __init__(self):
        super().__init__()
        self.counts: Counter[int] = Counter()
        self._held = []  # so that no other tensor gets the id of one that is gone

    def __torch_function__(self, function, _types, arguments=(), keywords=None):
        result = function(*arguments, **(keywords or {}))
        if any(map(torch.is_tensor, tree_leaves(result))):
            taken = [value for value in tree_leaves((arguments, keywords)) if torch.is_tensor(value)]
            self.counts.update(map(id, taken))
            self._held += taken
        return result
