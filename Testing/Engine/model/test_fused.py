"""Fused networks: equal output with fewer operations."""

import copy

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from locations import SMALL_ENCODER
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.inference import devices
from SpleenSmoothSegLib.inference.devices import prepare_for
from SpleenSmoothSegLib.inference.ensemble import Options, segment_image
from SpleenSmoothSegLib.model import fused as predicting
from SpleenSmoothSegLib.model.folder import Model, load_model
from SpleenSmoothSegLib.model.fused import fused
from SpleenSmoothSegLib.model.network import PUBLISHED_ENCODER, DecoderBlock, LinkNet

ENCODERS = ("resnet18", PUBLISHED_ENCODER, "mit_b0", "densenet121", SMALL_ENCODER, "tu-convnext_atto")
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("offline")


def with_statistics(network: nn.Module, *shape: int) -> nn.Module:
    """The network with nontrivial batch norm statistics."""
    torch.manual_seed(0)
    with torch.no_grad():
        for _ in range(2):
            network.train()(torch.rand(*shape))
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    return network.eval()


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())


@pytest.mark.parametrize("encoder", ENCODERS)
def test_fused_network_has_equal_output(encoder):
    network = with_statistics(LinkNet(encoder, in_channels=3), 4, 3, 64, 64)
    x = torch.rand(2, 3, 90, 71)
    with torch.no_grad():
        before, had = network(x), norms(network)
        ready = fused(network)
        torch.testing.assert_close(ready(x), before, atol=1e-4 * before.abs().max().item(), rtol=1e-3)
    assert norms(ready) < had / 2 or encoder == "mit_b0", "its encoder has layer norms"


@pytest.mark.parametrize(("inside", "outside", "height", "width"), [(64, 32, 8, 8), (16, 7, 1, 5), (60, 16, 9, 4)])
def test_fused_decoder_block_equals_the_published_block(inside, outside, height, width):
    block = with_statistics(DecoderBlock(inside, outside), 4, inside, height, width)
    x = torch.rand(2, inside, height, width)
    with torch.no_grad():
        torch.testing.assert_close(predicting._FusedBlock(block)(x), block(x), atol=1e-5, rtol=1e-4)


class UsesOutputTwice(nn.Module):
    """The output of its convolution also bypasses the batch norm."""

    in_channels = 1

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.blocks = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ModuleList()

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


def test_convolution_with_other_users_is_not_fused():
    network = with_statistics(UsesOutputTwice(), 4, 1, 16, 16)
    x = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        before = network(x)
        torch.testing.assert_close(fused(network)(x), before)
    assert norms(network) == 1


def test_bfloat16_hardly_changes_the_mask(small_networks, monkeypatch, sample_ct):
    """On any CPU, because each can compute in both types."""
    ct, maps = sample_ct[:, :, 90:110], {}
    for mixed in (False, True):
        monkeypatch.setattr(devices, "prefers_bfloat16", lambda device, mixed=mixed: mixed)
        networks = [prepare_for(CPU)(copy.deepcopy(network)) for network in small_networks]
        found = segment_image(ct, Model({}, SliceFormat(64, 6.0), 0.5, networks), "cpu", Options(exhaustive=True))
        maps[mixed] = sitk.GetArrayFromImage(found.probability)
    assert 0 < np.abs(maps[True] - maps[False]).max() < 0.05


def test_fusing_needs_no_second_copy_of_a_network(small_networks):
    network = copy.deepcopy(small_networks[0])
    assert prepare_for(CPU)(network) is network


def test_each_network_is_prepared_before_the_next_is_loaded(model_folder):
    done = []
    model = load_model(model_folder, prepare=lambda network: done.append(network) or network)
    assert done == model.networks and len(done) > 1
