"""The answer of the report, and the paper's claims."""

import pytest

from results_data import CONTROL, MANY_FOLDS, SMOOTHED, metrics_of, steady
from SpleenSmoothSegTrainingLib.measuring.metricsfile import Metrics
from SpleenSmoothSegTrainingLib.reporting.claims import answer, claims_table
from SpleenSmoothSegTrainingLib.reporting.document import Answer


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (0.04, "Yes, on these cases"),
        (-0.04, "No, results on these cases are worse"),
        (0.0, "No: the Dice of every case is unchanged"),
    ],
)
def test_answer_depends_on_the_change_in_dice(change, words):
    control = metrics_of(steady(0.8), MANY_FOLDS)
    smoothed = metrics_of(lambda predictor, case: steady(0.8)(predictor, case) + change, MANY_FOLDS)
    assert words in answer(control, smoothed).short


def test_answer_for_mixed_changes_is_no_significant_difference():
    control = metrics_of(steady(0.8), MANY_FOLDS)
    smoothed = metrics_of(
        lambda predictor, case: steady(0.8)(predictor, case) + (0.03 if case in "aceg" else -0.03), MANY_FOLDS
    )
    result = answer(control, smoothed)
    assert "No significant difference" in result.short and "remain possible" in result.sentences[0]


def test_answer_for_one_case_is_no_conclusion():
    metrics = [metrics_of(steady(dice), (("a",), ()), ()) for dice in (0.8, 0.9)]
    assert answer(*metrics).short.endswith("One case does not allow a conclusion.")
    assert answer(Metrics(), Metrics()) == Answer("Did border smoothing help? Nothing is measured yet.", [])


def test_claims_table_has_a_result_for_each_claim():
    rows = dict(claims_table(CONTROL, SMOOTHED, 2).rows)
    folds = rows["Every single fold rises almost to the ensemble."]
    assert folds.startswith(
        "2 of 2 folds have a higher mean test Dice. A single fold is 0.100 (control) and 0.070 (smoothed) below"
    )
    assert "does not allow a conclusion" in folds
    assert "Volume missed: -5.0 mL on average in 4 cases" in rows["There are fewer false negatives."]
    assert "a tendency to better" in rows["There are fewer false negatives."]
    tips = rows["It is better at the top and bottom of the organ."]
    assert "lowest and highest fifth: +0.050" in tips and "slices in between: +0.050" in tips
    assert "Average surface distance: -0.50 mm" in rows["It matters for the study of the organ's surface."]
