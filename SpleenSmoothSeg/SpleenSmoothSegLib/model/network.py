"""The network of the paper: LinkNet with the published decoder block on an encoder of segmentation_models_pytorch.

Source: Groza, Huet, Boujemaa, "Mask uncertainty regularization to improve machine learning-based medical image
segmentation"; LinkNet itself: Chaurasia and Culurciello, 2017.
"""

import warnings
from collections import OrderedDict

import torch
from torch import nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from ..errors import UserError
from .fastimport import without_compiler

try:
    with without_compiler(), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # raised between these libraries
        import segmentation_models_pytorch as smp
except (AttributeError, ImportError):  # a version that needs more of the compiler
    import segmentation_models_pytorch as smp

PUBLISHED_ENCODER = "se_resnext50_32x4d"


class DecoderBlock(nn.Sequential):
    """2D convolution, upsampling, 2D convolution, each followed by batch norm and ReLU, as published.

    The paper gives no kernel sizes, reduction or interpolation. Ours: 1 x 1 to 1 / `reduction` of the channels (a
    quarter in LinkNet), nearest neighbor upsampling (its gradient is deterministic on every device, bilinear's is not),
    then 3 x 3. smp's LinkNet has a transposed convolution in the middle, unlike the paper.

    Maps (batch, in_channels, height, width) to (batch, out_channels, 2 height, 2 width).
    """

    def __init__(self, in_channels: int, out_channels: int, reduction: int = 4):
        middle = max(in_channels // reduction, 8)
        super().__init__(
            OrderedDict(
                reduce=nn.Conv2d(in_channels, middle, kernel_size=1, bias=False),
                reduce_norm=nn.BatchNorm2d(middle),
                reduce_relu=nn.ReLU(),
                upsample=nn.Upsample(scale_factor=2, mode="nearest"),
                upsample_norm=nn.BatchNorm2d(middle),
                upsample_relu=nn.ReLU(),
                expand=nn.Conv2d(middle, out_channels, kernel_size=3, padding=1, bias=False),
                expand_norm=nn.BatchNorm2d(out_channels),
                expand_relu=nn.ReLU(),
            )
        )


class LinkNet(nn.Module):
    """LinkNet: encoder features are added to the decoder block of the same size.

    Args:
        encoder: name of any smp encoder, also "tu-..." for those of timm.
        in_channels: channels of a slice; 1 for a CT slice.
        decoder_reduction: factor by which each decoder block reduces its channels.
        encoder_weights: None downloads nothing, as always for inference; "imagenet" downloads smp's pretrained
            weights.

    Raises:
        UserError: smp has no encoder of that name.
    """

    def __init__(
        self,
        encoder: str = PUBLISHED_ENCODER,
        in_channels: int = 1,
        decoder_reduction: int = 4,
        encoder_weights: str | None = None,
    ):
        super().__init__()
        self.in_channels = in_channels
        self.encoder = _build_encoder(encoder, in_channels, encoder_weights)
        skip_channels = list(self.encoder.out_channels[1:-1])[::-1]
        # Transformer encoders have no features at half size (0 channels): no skip connection there.
        block_channels = [self.encoder.out_channels[-1], *(c or 32 for c in skip_channels), 32]
        self.blocks = nn.ModuleList(
            DecoderBlock(before, after, decoder_reduction)
            for before, after in zip(block_channels[:-1], block_channels[1:], strict=True)
        )
        self.head = nn.Conv2d(block_channels[-1], 1, kernel_size=1)
        self._initialize_decoder()

    def forward(self, slices: torch.Tensor) -> torch.Tensor:
        """Logits (batch, 1, height, width) of CT slices (batch, in_channels, height, width) of any height and width."""
        height, width = slices.shape[-2:]
        stride = 2 ** len(self.blocks)
        padded = functional.pad(slices, (0, -width % stride, 0, -height % stride), mode="replicate")
        x, *skips = self.encoder(padded)[:0:-1]
        for block, skip in zip(self.blocks, [*skips, None], strict=True):
            x = block(x)
            if skip is not None and skip.shape[1]:
                x = x + skip
        return self.head(x)[..., :height, :width]

    def _initialize_decoder(self) -> None:
        for module in self.blocks.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")


INIT_FUNCTIONS = (
    *(torch.Tensor.normal_, torch.Tensor.uniform_, nn.init.normal_, nn.init.uniform_),
    *(nn.init.kaiming_normal_, nn.init.kaiming_uniform_, nn.init.trunc_normal_),
)


class skip_weight_init(TorchFunctionMode):
    """Context in which new networks get uninitialized weights, because they are loaded from a file next.

    Random initialization takes longer than reading the weights.
    """

    def __torch_function__(self, function, _types, arguments=(), keywords=None):
        keywords = keywords or {}
        if function in INIT_FUNCTIONS:
            return arguments[0] if arguments else keywords["tensor"]
        return function(*arguments, **keywords)


def _build_encoder(name: str, in_channels: int, weights: str | None) -> nn.Module:
    try:
        if ":" in name:  # timm downloads "hf-hub:..." and opens "local-dir:...", and the model may be untrusted
            raise ValueError(name)
        with without_compiler():
            return smp.encoders.get_encoder(name, in_channels=in_channels, depth=5, weights=weights)
    except (KeyError, RuntimeError, ValueError) as error:
        if weights is None:
            raise UserError(
                f'The network needs the encoder "{name}", which is unknown to the installed '
                f"segmentation-models-pytorch {smp.__version__}; update that package or use another model."
            ) from error
        raise
