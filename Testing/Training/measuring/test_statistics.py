"""Statistics against values calculated by hand, and the sentences that summarize them."""

import itertools

import numpy as np
import pytest
from scipy import stats

from SpleenSmoothSegTrainingLib.measuring.statistics import (
    VERDICTS,
    by_patient,
    compare_paired,
    describe_change,
    estimate,
    format_p,
    signed_rank_p,
    verdict,
)

CONTROL = dict(zip("abcdefgh", (0.90, 0.85, 0.88, 0.93, 0.80, 0.86, 0.91, 0.89), strict=True))


def shifted(*changes: float) -> dict[str, float]:
    return {case: dice + change for (case, dice), change in zip(CONTROL.items(), changes, strict=False)}


BETTER = shifted(0.02, 0.03, 0.01, 0.02, 0.05, 0.04, 0.01, 0.03)
UNCLEAR = shifted(0.02, -0.03, 0.01, -0.02, 0.04, -0.04, 0.01, -0.01)


def test_estimate_of_one_patient_has_no_interval():
    assert (estimate([0.9]).mean, estimate([0.9]).low, estimate([0.9]).n) == (0.9, None, 1)


def test_estimate_ignores_none():
    assert estimate([None, 0.8, None, 0.6]).mean == pytest.approx(0.7)
    assert estimate([None, 0.8, None, 0.6]).n == 2
    assert estimate([None]) is None and estimate([]) is None


def test_estimate_has_the_bootstrap_interval():
    values = list(CONTROL.values())
    found = estimate(values)
    expected = stats.bootstrap((values,), np.mean, random_state=np.random.default_rng(1)).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert found.low < found.mean < found.high


def test_same_seed_gives_the_same_interval():
    assert estimate(CONTROL.values(), seed=3) == estimate(CONTROL.values(), seed=3)


def test_interval_of_equal_values_has_no_width():
    assert (estimate([0.8] * 3).low, estimate([0.8] * 3).high) == (0.8, 0.8)


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0, 0.1), (0.9, 0.8)])
def test_interval_exists_for_few_distinct_values(values):
    found = estimate(values)
    assert min(values) <= found.low <= found.mean <= found.high <= max(values)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((1, 2, 3, 4, 5), 2 / 32),
        ((1, 1, 1, 1, 1), 2 / 32),  # ties
        ((1, 2, -3, 4, 5), 10 / 32),
        ((0, 0, 1, 2, 3, 4, 5), 2 / 32),  # zero differences are dropped
        ((0, 0, 0), 1),
    ],
)
def test_signed_rank_p_is_exact(differences, p):
    assert signed_rank_p(differences) == pytest.approx(p)


def test_signed_rank_p_with_ties_equals_enumeration():
    differences = np.array([1, 1, -1, 2, 3, 3.0])
    ranks = stats.rankdata(np.abs(differences))
    sums = [np.dot(signs, ranks) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    observed = np.dot(np.sign(differences), ranks)
    expected = 2 * min(np.mean(np.array(sums) >= observed), np.mean(np.array(sums) <= observed))
    assert signed_rank_p(differences) == pytest.approx(expected)


def test_compare_paired_uses_common_patients():
    paired = compare_paired({"a": 0.5, "b": 0.6, "c": None, "d": 0.1}, {"a": 0.7, "b": 0.5, "c": 0.9})
    assert (paired.n, paired.rose, paired.fell) == (2, 1, 1)
    assert paired.difference.mean == pytest.approx(0.05)
    assert compare_paired({"a": 0.5}, {"b": 0.5}) is None


def test_by_patient_averages_slices_per_patient():
    slices = [("a", 1.0), ("a", 0.5), ("a", None), ("b", 0.25)]
    assert by_patient(slices) == {"a": 0.75, "b": 0.25}
    many = by_patient([*slices * 50])
    assert estimate(many.values()) == estimate(by_patient(slices).values()), "more slices are not more patients"


@pytest.mark.parametrize(
    ("after", "expected"),
    [
        ({}, "nothing"),
        (shifted(0.1), "one"),
        (CONTROL, "same"),
        (UNCLEAR, "unclear"),
        (BETTER, "better"),
        (shifted(*(before - BETTER[case] for case, before in CONTROL.items())), "worse"),
        (shifted(0.02, 0.03, 0.01, 0.02, 0.05), "perhaps better"),  # five patients cannot be significant
        (shifted(-0.02, -0.03), "perhaps worse"),
    ],
)
def test_verdict_is_what_the_cases_allow(after, expected):
    paired = compare_paired(CONTROL, after)
    assert verdict(paired) == expected
    sentence = describe_change("Dice", paired)
    assert sentence.startswith("Dice: ") and VERDICTS[expected] in sentence
    assert sentence.endswith(".") and "\n" not in sentence


def test_verdict_accepts_measures_where_less_is_better():
    paired = compare_paired(BETTER, CONTROL)
    assert verdict(paired) == "worse" and verdict(paired, higher_is_better=False) == "better"
    sentence = describe_change("Volume missed", paired, " mL", 2, higher_is_better=False)
    assert "Volume missed: -0.03 mL on average in 8 cases" in sentence and "better" in sentence


def test_describe_change_has_change_interval_p_and_cases():
    paired = compare_paired(CONTROL, BETTER)
    low, high = paired.difference.low, paired.difference.high
    expected = (
        f"+0.026 on average in 8 cases (95 % interval {low:+.3f} to {high:+.3f}, p 0.008; higher in 8, lower in 0)"
    )
    assert expected in describe_change("Dice", paired)


def test_describe_change_of_one_case_has_no_conclusion():
    sentence = describe_change("Dice", compare_paired({"a": 0.1}, {"a": 0.99}))
    assert (
        "+0.890 in the only case" in sentence
        and "does not allow a conclusion" in sentence
        and "interval" not in sentence
    )


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0004, "< 0.001"), (0.0312, "0.031"), (0.625, "0.62")])
def test_format_p_rounds(p, text):
    assert format_p(p) == text
