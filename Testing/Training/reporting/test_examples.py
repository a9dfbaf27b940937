"""The choice of example slices."""

import dataclasses

from results_data import SMOOTHED
from SpleenSmoothSegTrainingLib.reporting.examples import choose_slices


def test_choose_slices_returns_best_median_and_worst_with_label():
    rows = [row for row in SMOOTHED.slices if row.set == "validation"]
    beyond = dataclasses.replace(rows[0], label_ml=0.0, dice=0.0)
    missed = [dataclasses.replace(rows[0], label_ml=label_ml, dice=0.0) for label_ml in (1.0, 3.0, 2.0)]
    rows += missed
    chosen = choose_slices([beyond, *rows])
    dice = sorted(row.dice for row in rows)
    assert chosen["worst"].label_ml == 3
    assert list(chosen) == ["best", "median", "worst"]
    assert (chosen["best"].dice, chosen["worst"].dice) == (dice[-1], dice[0])
    assert list(choose_slices(rows[:1])) == ["best"] and choose_slices([]) == {}
