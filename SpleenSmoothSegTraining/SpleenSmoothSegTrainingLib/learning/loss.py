"""Soft Dice plus binary cross-entropy, both for soft labels. The paper does not state its loss."""

from collections.abc import Callable

import torch
from torch.nn import functional

SMOOTH = 1.0


def dice_and_cross_entropy(
    logits: torch.Tensor,
    label: torch.Tensor,
    sum_over_processes: Callable[[torch.Tensor], torch.Tensor] = lambda sums: sums,
) -> torch.Tensor:
    """Sum of soft Dice loss over the batch and mean binary cross-entropy.

    Args:
        logits: (batch, 1, rows, columns).
        label: the same shape, soft or hard, in [0, 1].
        sum_over_processes: adds the sums of all processes, so that each returns the loss of the whole batch.

    The intersection of soft Dice is (|x| + |y| - |x - y|) / 2, which has its minimum at x = y for soft labels, too (as
    in segmentation-models-pytorch >= 0.4); the product form would push the prediction for a label of 0.5 to 1. A batch
    without spleen has no Dice term.
    """
    probability = torch.sigmoid(logits)
    sums = sum_over_processes(
        torch.stack(
            [
                probability.sum(),
                label.sum(),
                (probability - label).abs().sum(),
                functional.binary_cross_entropy_with_logits(logits, label, reduction="sum"),
                label.new_tensor(float(label.numel())),
            ]
        )
    )
    predicted, labeled, difference, cross_entropy, count = sums
    dice = 1 - (predicted + labeled - difference + SMOOTH) / (predicted + labeled + SMOOTH)
    return dice * (labeled > 0) + cross_entropy / count
