"""Networks made ready to predict: the same function by less work."""

import copy

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from torch import nn

from locations import SMALL_ENCODER
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.inference import devices
from SpleenSmoothSegLib.inference.devices import to_predict_on
from SpleenSmoothSegLib.inference.ensemble import Options, segment_image
from SpleenSmoothSegLib.model import fused as predicting
from SpleenSmoothSegLib.model.folder import Model, load_model
from SpleenSmoothSegLib.model.fused import fused
from SpleenSmoothSegLib.model.network import PUBLISHED_ENCODER, DecoderBlock, LinkNet

ENCODERS = ("resnet18", PUBLISHED_ENCODER, "mit_b0", "densenet121", SMALL_ENCODER, "tu-convnext_atto")
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("offline")


def learned(network: nn.Module, *shape: int) -> nn.Module:
    """With batch norms that hold numbers of their own."""
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
def test_it_computes_what_the_network_did(encoder):
    network = learned(LinkNet(encoder, in_channels=3), 4, 3, 64, 64)
    x = torch.rand(2, 3, 90, 71)
    with torch.no_grad():
        before, had = network(x), norms(network)
        ready = fused(network)
        torch.testing.assert_close(ready(x), before, atol=1e-4 * before.abs().max().item(), rtol=1e-3)
    assert norms(ready) < had / 2 or encoder == "mit_b0", "its encoder has layer norms"


@pytest.mark.parametrize(("inside", "outside", "height", "width"), [(64, 32, 8, 8), (16, 7, 1, 5), (60, 16, 9, 4)])
def test_a_decoder_block_computes_what_was_published(inside, outside, height, width):
    block = learned(DecoderBlock(inside, outside), 4, inside, height, width)
    x = torch.rand(2, inside, height, width)
    with torch.no_grad():
        torch.testing.assert_close(predicting._FusedBlock(block)(x), block(x), atol=1e-5, rtol=1e-4)


class SeesTwice(nn.Module):
    """What its convolution gives goes past the batch norm, too."""

    in_channels = 1

    def __init__(self):
        super().__init__()
        self.conv, self.norm, self.blocks = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ModuleList()

    def forward(self, x):
        x = self.conv(x)
        return self.norm(x) + x


def test_convolution_with_other_users_is_not_fused():
    network = learned(SeesTwice(), 4, 1, 16, 16)
    x = torch.rand(2, 1, 16, 16)
    with torch.no_grad():
        before = network(x)
        torch.testing.assert_close(fused(network)(x), before)
    assert norms(network) == 1


def test_bfloat16_hardly_changes_the_mask(small_networks, monkeypatch, sample_ct):
    """Whatever this CPU is faster in: it can do both."""
    ct, maps = sample_ct[:, :, 90:110], {}
    for mixed in (False, True):
        monkeypatch.setattr(devices, "computes_in_bfloat16", lambda device, mixed=mixed: mixed)
        networks = [to_predict_on(CPU)(copy.deepcopy(network)) for network in small_networks]
        found = segment_image(ct, Model({}, SliceFormat(64, 6.0), 0.5, networks), "cpu", Options(exhaustive=True))
        maps[mixed] = sitk.GetArrayFromImage(found.probability)
    assert 0 < np.abs(maps[True] - maps[False]).max() < 0.05


def test_no_memory_holds_a_network_twice(small_networks):
    network = copy.deepcopy(small_networks[0])
    assert to_predict_on(CPU)(network) is network


def test_each_network_is_made_ready_before_the_next_is_loaded(model_folder):
    done = []
    model = load_model(model_folder, prepare=lambda network: done.append(network) or network)
    assert done == model.networks and len(done) > 1
