"""The network: published decoder block, any encoder, any slice size, no downloads."""

import pytest
import torch
from torch import nn

from locations import SMALL_ENCODER
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.model.network import PUBLISHED_ENCODER, DecoderBlock, LinkNet

# From smp: residual, squeeze and excite, transformer; three from timm. The transformer and ConvNeXt lack half size.
ENCODERS = ("resnet18", PUBLISHED_ENCODER, "tu-regnetx_002", "mit_b0", SMALL_ENCODER, "tu-convnext_atto")

pytestmark = pytest.mark.usefixtures("offline")


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return LinkNet(SMALL_ENCODER).eval()


def test_decoder_block_is_the_published_one():
    published = [nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.Upsample, nn.BatchNorm2d, nn.ReLU]
    published += [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    assert [type(layer) for layer in DecoderBlock(64, 32)] == published


def test_decoder_consists_of_published_blocks_without_transposed_convolutions():
    network = LinkNet("resnet18")
    assert [type(block) for block in network.blocks] == [DecoderBlock] * 5
    assert not any(isinstance(module, nn.ConvTranspose2d) for module in network.modules())


@pytest.mark.parametrize(
    ("inside", "outside", "reduction", "middle"), [(64, 32, 4, 16), (60, 7, 6, 10), (16, 16, 4, 8)]
)
def test_decoder_block_reduces_channels_and_doubles_the_size(inside, outside, reduction, middle):
    block = DecoderBlock(inside, outside, reduction)
    assert block.reduce.out_channels == middle
    assert block(torch.rand(2, inside, 5, 3)).shape == (2, outside, 10, 6)


def test_default_encoder_is_the_published_one_with_33_million_parameters():
    parameters = sum(parameter.numel() for parameter in LinkNet().parameters())
    assert PUBLISHED_ENCODER == "se_resnext50_32x4d"
    assert parameters == pytest.approx(33.1e6, rel=5e-3)


@pytest.mark.parametrize("size", [(64, 96), (192, 192), (65, 64), (31, 97), (50, 33), (1, 1), (2, 200)])
def test_logits_have_the_size_of_the_slice(small, size):
    with torch.inference_mode():
        assert small(torch.rand(2, 1, *size)).shape == (2, 1, *size)


def test_slice_of_other_size_is_padded_with_its_edge(small):
    whole = torch.rand(1, 1, 64, 64)
    whole[..., 50:, :] = whole[..., 49:50, :]
    with torch.inference_mode():
        torch.testing.assert_close(small(whole[..., :50, :]), small(whole)[..., :50, :])


@pytest.mark.parametrize("encoder", ENCODERS)
def test_gradients_reach_every_parameter(encoder):
    torch.manual_seed(0)
    network = LinkNet(encoder).train()
    logits = network(torch.rand(2, 1, 64, 70))
    logits.square().mean().backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert logits.shape == (2, 1, 64, 70)
    assert [name for name, gradient in gradients.items() if gradient is None or not gradient.isfinite().all()] == []
    assert [name for name, gradient in gradients.items() if "encoder" not in name and not gradient.any()] == []
    assert next(gradient for name, gradient in gradients.items() if "encoder" in name).any()


def test_encoder_features_of_every_size_reach_the_logits(small):
    slices = torch.rand(1, 1, 64, 64)
    whole = small(slices)
    for lost in range(1, 6):
        hook = small.encoder.register_forward_hook(
            lambda encoder, given, features, lost=lost: [f * (size != lost) for size, f in enumerate(features)]
        )
        assert not torch.allclose(small(slices), whole), f"the feature at 1/{2**lost} of the size is not used"
        hook.remove()


def test_slices_of_several_channels_are_accepted():
    assert LinkNet(SMALL_ENCODER, in_channels=3).eval()(torch.rand(1, 3, 32, 32)).shape == (1, 1, 32, 32)


@pytest.mark.parametrize("encoder", ["no_such_encoder", "tu-no_such_encoder", "tu-vit_tiny_patch16_224", ""])
def test_unknown_encoder_raises_user_error(encoder):
    with pytest.raises(UserError, match=f'the encoder "{encoder}", which is unknown to .*; update') as raised:
        LinkNet(encoder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("encoder", ["tu-hf-hub:timm/resnet18.a1_in1k", "tu-hf_hub:a/b", "tu-local-dir:/tmp"])
def test_encoder_outside_smp_is_not_downloaded(encoder):
    with pytest.raises(UserError, match="is unknown to"):
        LinkNet(encoder)
