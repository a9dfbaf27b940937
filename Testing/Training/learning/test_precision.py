"""Mixed precision, with depthwise convolutions in float32 on a CPU."""

import copy

import pytest
import torch
from torch import nn

from locations import SMALL_ENCODER
from SpleenSmoothSegLib.model.network import LinkNet
from SpleenSmoothSegTrainingLib.learning.precision import autocast, computes_mixed, keep_depthwise_float32

CPU = torch.device("cpu")


@pytest.fixture
def network() -> LinkNet:
    """A network with depthwise convolutions."""
    torch.manual_seed(0)
    return LinkNet(SMALL_ENCODER).eval()


@pytest.fixture(scope="module")
def slices() -> torch.Tensor:
    return torch.rand(2, 1, 64, 64, generator=torch.Generator().manual_seed(0))


def depthwise(network: nn.Module) -> list[nn.Conv2d]:
    return [each for each in network.modules() if isinstance(each, nn.Conv2d) and each.groups == each.in_channels > 1]


def test_computes_mixed_follows_recipe_or_device():
    assert computes_mixed("mixed", CPU) and not computes_mixed("full", CPU)
    assert isinstance(computes_mixed("auto", CPU), bool)
    assert not computes_mixed("auto", torch.device("mps"))


@pytest.mark.parametrize(("capability", "mixed"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_auto_is_mixed_on_gpus_with_bfloat16(monkeypatch, capability, mixed):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert computes_mixed("auto", torch.device("cuda")) == mixed


def test_autocast_sets_the_output_type(network, slices):
    with torch.inference_mode():
        with autocast(False, CPU):
            assert network(slices).dtype == torch.float32
        with autocast(True, CPU):
            assert network(slices).dtype == torch.bfloat16


def test_only_depthwise_convolutions_compute_in_float32(network, slices):
    keep_depthwise_float32(network, CPU)
    seen = {}
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(lambda _, __, out, name=name: seen.update({name: out.dtype}))
    with torch.inference_mode(), autocast(True, CPU):
        network(slices)
    of_depthwise = {name for name, module in network.named_modules() if module in depthwise(network)}
    assert len(of_depthwise) > 5
    assert {name for name, dtype in seen.items() if dtype == torch.float32} == of_depthwise
    assert {dtype for name, dtype in seen.items() if name not in of_depthwise} == {torch.bfloat16}


def test_keep_depthwise_float32_does_not_change_full_precision(network, slices):
    before, keys = network(slices), list(network.state_dict())
    keep_depthwise_float32(network, CPU)
    assert list(network.state_dict()) == keys
    torch.testing.assert_close(network(slices), before, rtol=0, atol=0)


def test_state_dict_loads_into_a_changed_network(network, slices):
    other = LinkNet(SMALL_ENCODER).eval()
    keep_depthwise_float32(other, CPU)
    other.load_state_dict(network.state_dict())
    torch.testing.assert_close(other(slices), network(slices), rtol=0, atol=0)


def test_deep_copy_of_a_changed_network_is_independent(network, slices):
    keep_depthwise_float32(network, CPU)
    double = copy.deepcopy(network)
    with torch.inference_mode(), autocast(True, CPU):
        torch.testing.assert_close(double(slices), network(slices), rtol=0, atol=0)
    first, second = depthwise(network)[0], depthwise(double)[0]
    with torch.no_grad():
        second.weight += 1
    assert not torch.equal(first.weight, second.weight), "separate weights"
    assert type(second).__mro__ == type(first).__mro__


def test_gradient_of_depthwise_convolution_equals_full_precision():
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8))
    x = torch.rand(2, 8, 16, 16)
    convolution(x).square().mean().backward()
    expected = convolution[0].weight.grad.clone()
    convolution.zero_grad()
    keep_depthwise_float32(convolution, CPU)
    with autocast(True, CPU):
        out = convolution(x)
    out.square().mean().backward()
    torch.testing.assert_close(convolution[0].weight.grad, expected, rtol=0, atol=0)


def test_keep_depthwise_float32_changes_nothing_on_a_gpu(network):
    before = [type(module) for module in network.modules()]
    keep_depthwise_float32(network, torch.device("cuda"))
    assert [type(module) for module in network.modules()] == before
