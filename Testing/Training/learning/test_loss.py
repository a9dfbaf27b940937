"""The loss: minimum at the soft label, and equality for a batch shared by several processes."""

import numpy as np
import pytest
import torch
from segmentation_models_pytorch.losses import DiceLoss
from torch.nn.functional import binary_cross_entropy_with_logits

from SpleenSmoothSegTrainingLib.learning.loss import SMOOTH, dice_and_cross_entropy


def batch(seed: int = 0, number: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and soft labels."""
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(number, 1, 16, 16, generator=generator)
    return logits, torch.rand(number, 1, 16, 16, generator=generator) ** 3


@pytest.mark.parametrize("soft", [0.1, 0.5, 0.8])
def test_loss_has_its_minimum_at_the_soft_label(soft):
    label = torch.full((1, 1, 8, 8), soft)
    answers = torch.linspace(0.05, 0.95, 181)
    losses = [dice_and_cross_entropy(torch.logit(answer).expand_as(label), label).item() for answer in answers]
    assert answers[int(np.argmin(losses))].item() == pytest.approx(soft, abs=0.01)


def test_optimization_converges_to_the_soft_label():
    label = torch.linspace(0.05, 0.95, 64).reshape(1, 1, 8, 8)
    logits = torch.zeros_like(label, requires_grad=True)
    optimizer = torch.optim.Adam([logits], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        dice_and_cross_entropy(logits, label).backward()
        optimizer.step()
    torch.testing.assert_close(torch.sigmoid(logits.detach()), label, atol=0.02, rtol=0)


@pytest.mark.parametrize("hard", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_loss_equals_reference_dice_plus_cross_entropy(seed, hard):
    logits, label = batch(seed)
    label = label.round() if hard else label
    theirs = DiceLoss("binary", from_logits=True, smooth=SMOOTH / 2)(logits, label)  # added to half of our fraction
    theirs = theirs + binary_cross_entropy_with_logits(logits, label)
    torch.testing.assert_close(dice_and_cross_entropy(logits, label), theirs)


def test_loss_of_a_confident_correct_prediction_is_near_zero():
    label = batch()[1].round()
    assert dice_and_cross_entropy((label - 0.5) * 40, label).item() < 1e-3


def test_batch_without_spleen_has_only_cross_entropy():
    logits, label = batch()
    loss = dice_and_cross_entropy(logits, label * 0)
    torch.testing.assert_close(loss, binary_cross_entropy_with_logits(logits, label * 0))


def test_loss_of_a_confident_wrong_prediction_is_large_and_finite():
    label = batch()[1].round()
    logits = ((0.5 - label) * 2000).requires_grad_()
    loss = dice_and_cross_entropy(logits, label)
    loss.backward()
    assert 100 < loss.item() < 10_000 and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("empty_half", [False, True])
def test_summed_halves_give_loss_and_gradient_of_the_whole_batch(empty_half):
    logits, label = batch(number=8)
    if empty_half:
        label[4:] = 0
    whole = logits.clone().requires_grad_()
    dice_and_cross_entropy(whole, label).backward()

    halves = [half.clone().requires_grad_() for half in logits.split(4)]
    sums = []
    for half, part in zip(halves, label.split(4), strict=True):  # first collect the sums of each process
        dice_and_cross_entropy(half, part, lambda own: sums.append(own) or own)
    losses = [
        dice_and_cross_entropy(half, part, lambda own: sums[0] + sums[1])
        for half, part in zip(halves, label.split(4), strict=True)
    ]
    for loss in losses:
        torch.testing.assert_close(loss, dice_and_cross_entropy(logits, label))
    losses[0].backward()
    torch.testing.assert_close(torch.cat([half.grad for half in halves]), whole.grad)


def test_mean_loss_of_separate_halves_differs_from_the_whole_batch():
    """Shows that the previous test can fail."""
    logits, label = batch(number=8)
    alone = [dice_and_cross_entropy(half, part) for half, part in zip(logits.split(4), label.split(4), strict=True)]
    assert abs(sum(alone) / 2 - dice_and_cross_entropy(logits, label)) > 1e-5
