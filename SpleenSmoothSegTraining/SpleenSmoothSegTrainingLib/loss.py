"""Soft Dice + binary cross-entropy; the paper does not state its loss. Both accept soft labels."""

import segmentation_models_pytorch as smp
import torch
from torch.nn import functional


def dice_and_cross_entropy(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Sum of soft Dice loss over the batch and mean binary cross-entropy.

    Args:
        logits: (batch, 1, rows, columns).
        label: the same shape, soft or hard, in [0, 1].

    smp's Dice takes the intersection as (|x| + |y| - |x - y|) / 2, whose minimum lies at x = y for soft labels too; the
    older product form would drive a label of 0.5 to 1.
    """
    dice = smp.losses.DiceLoss(mode="binary", from_logits=True, smooth=1.0)
    return dice(logits, label) + functional.binary_cross_entropy_with_logits(logits, label)
