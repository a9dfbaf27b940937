"""The profile by height and the Dice of slices, compared with values calculated by hand."""

import dataclasses

import numpy as np
import pytest

from results_data import slice_row
from SpleenSmoothSegTrainingLib.measuring.byheight import dice_of_slices, profile


def test_profile_counts_each_slice_at_its_height():
    # Five slices of label fill a fifth of the height each: two tenths.
    rows = [slice_row("test", "ensemble", "a", height, dice) for height, dice in zip(
        (0, 0.25, 0.5, 0.75, 1), (0.5, 0.9, 1.0, 0.9, 0.5), strict=True
    )]  # fmt: skip
    found = profile(rows)
    np.testing.assert_allclose(found.height, np.arange(0.05, 1, 0.1))
    np.testing.assert_allclose(found.dice, [0.5, 0.5, 0.9, 0.9, 1, 1, 0.9, 0.9, 0.5, 0.5])
    np.testing.assert_allclose(found.false_negative_ml, np.repeat([0.25, 0.05, 0, 0.05, 0.25], 2), atol=1e-12)
    np.testing.assert_allclose(found.false_positive_ml, np.repeat([0.5, 0.1, 0, 0.1, 0.5], 2), atol=1e-12)
    assert (found.below_ml, found.above_ml, found.patients) == (0, 0, 1)


def test_profile_separates_false_positives_beyond_the_label():
    rows = [slice_row("test", "ensemble", "a", height, 0.9) for height in (0.0, 0.5, 1.0)]
    nothing = {"label_ml": 0.0, "false_negative_ml": 0.0}
    for height, ml in ((-1.0, 3.0), (-0.5, 1.0), (1.5, 2.0)):
        beyond = slice_row("test", "ensemble", "a", height, 0.0)
        rows.append(dataclasses.replace(beyond, **nothing, false_positive_ml=ml))
    found = profile(rows)
    assert (found.below_ml, found.above_ml) == pytest.approx((4, 2))
    np.testing.assert_allclose(found.dice, 0.9)
    assert found.false_positive_ml.sum() == pytest.approx(3 * 0.2)
    assert dice_of_slices(rows) == pytest.approx({"a": 0.9})


def test_profile_weights_patients_equally():
    thick = [slice_row("test", "ensemble", "a", height, 0.4) for height in (0.0, 1.0)]
    thin = [slice_row("test", "ensemble", "b", height, 0.8) for height in np.linspace(0, 1, 101)]
    found = profile([*thick, *thin])
    np.testing.assert_allclose(found.dice, 0.6)
    assert found.patients == 2
    assert found.false_negative_ml.sum() == pytest.approx((2 * 0.6 + 101 * 0.2) / 2)


def test_profile_of_a_label_with_one_slice_is_constant():
    found = profile([slice_row("test", "ensemble", "a", 0.0, 0.7)])
    np.testing.assert_allclose(found.dice, 0.7)
    assert found.false_negative_ml.sum() == pytest.approx(0.3)


def test_profile_without_slices_is_none():
    assert profile([]) is None


def test_dice_of_slices_separates_tips_and_slices_between():
    rows = [slice_row("test", "ensemble", "a", height, height) for height in (0, 0.2, 0.3, 0.7, 0.8, 1)]
    assert dice_of_slices(rows, "tips") == pytest.approx({"a": 0.5})
    assert dice_of_slices(rows, "between") == pytest.approx({"a": 0.5})
    rows = [slice_row("test", "ensemble", "a", height, dice) for height, dice in ((0, 0.2), (0.5, 0.9))]
    assert dice_of_slices(rows, "tips") == {"a": 0.2} and dice_of_slices(rows, "between") == {"a": 0.9}
