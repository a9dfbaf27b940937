"""How sure a difference is: numbers that can be checked by hand, and sentences that say no more than they do."""

import itertools

import numpy as np
import pytest
from scipy import stats

from SpleenSmoothSegTrainingLib.measuring.statistics import (
    VERDICTS,
    by_patient,
    compare_paired,
    estimate,
    format_p,
    how_sure,
    signed_rank_p,
    verdict,
)

PLAIN = dict(zip("abcdefgh", (0.90, 0.85, 0.88, 0.93, 0.80, 0.86, 0.91, 0.89), strict=True))


def shifted(*changes: float) -> dict[str, float]:
    return {case: dice + change for (case, dice), change in zip(PLAIN.items(), changes, strict=False)}


BETTER = shifted(0.02, 0.03, 0.01, 0.02, 0.05, 0.04, 0.01, 0.03)
UNCLEAR = shifted(0.02, -0.03, 0.01, -0.02, 0.04, -0.04, 0.01, -0.01)


def test_a_mean_of_one_patient_has_no_interval():
    assert (estimate([0.9]).mean, estimate([0.9]).low, estimate([0.9]).n) == (0.9, None, 1)


def test_what_is_not_known_does_not_count():
    assert estimate([None, 0.8, None, 0.6]).mean == pytest.approx(0.7)
    assert estimate([None, 0.8, None, 0.6]).n == 2
    assert estimate([None]) is None and estimate([]) is None


def test_the_interval_is_that_of_the_bootstrap():
    values = list(PLAIN.values())
    found = estimate(values)
    expected = stats.bootstrap((values,), np.mean, random_state=np.random.default_rng(1)).confidence_interval
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.002)
    assert found.low < found.mean < found.high


def test_a_seed_fixes_the_interval():
    assert estimate(PLAIN.values(), seed=3) == estimate(PLAIN.values(), seed=3)


def test_patients_that_are_all_alike_have_an_interval_without_width():
    assert (estimate([0.8] * 3).low, estimate([0.8] * 3).high) == (0.8, 0.8)


@pytest.mark.parametrize("values", [(0.0, 0.0, 0.0, 0.1), (0.9, 0.8)])
def test_where_resamples_are_few_there_still_is_an_interval(values):
    found = estimate(values)
    assert min(values) <= found.low <= found.mean <= found.high <= max(values)


@pytest.mark.parametrize(
    ("differences", "p"),
    [
        ((1, 2, 3, 4, 5), 2 / 32),
        ((1, 1, 1, 1, 1), 2 / 32),  # ranks that are shared
        ((1, 2, -3, 4, 5), 10 / 32),
        ((0, 0, 1, 2, 3, 4, 5), 2 / 32),  # patients that do not change say nothing
        ((0, 0, 0), 1),
    ],
)
def test_the_signed_rank_test_is_exact(differences, p):
    assert signed_rank_p(differences) == pytest.approx(p)


def test_shared_ranks_are_counted_through_all_signs():
    differences = np.array([1, 1, -1, 2, 3, 3.0])
    ranks = stats.rankdata(np.abs(differences))
    sums = [np.dot(signs, ranks) for signs in itertools.product((-1, 1), repeat=len(ranks))]
    observed = np.dot(np.sign(differences), ranks)
    expected = 2 * min(np.mean(np.array(sums) >= observed), np.mean(np.array(sums) <= observed))
    assert signed_rank_p(differences) == pytest.approx(expected)


def test_a_comparison_is_of_the_patients_that_both_know():
    paired = compare_paired({"a": 0.5, "b": 0.6, "c": None, "d": 0.1}, {"a": 0.7, "b": 0.5, "c": 0.9})
    assert (paired.n, paired.rose, paired.fell) == (2, 1, 1)
    assert paired.difference.mean == pytest.approx(0.05)
    assert compare_paired({"a": 0.5}, {"b": 0.5}) is None


def test_slices_are_averaged_within_a_patient_first():
    slices = [("a", 1.0), ("a", 0.5), ("a", None), ("b", 0.25)]
    assert by_patient(slices) == {"a": 0.75, "b": 0.25}
    many = by_patient([*slices * 50])
    assert estimate(many.values()) == estimate(by_patient(slices).values()), "more slices are not more patients"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ({}, "nothing"),
        (shifted(0.1), "one"),
        (PLAIN, "same"),
        (UNCLEAR, "unclear"),
        (BETTER, "better"),
        (shifted(*(before - BETTER[case] for case, before in PLAIN.items())), "worse"),
        (shifted(0.02, 0.03, 0.01, 0.02, 0.05), "perhaps better"),  # five cannot be sure, however alike they are
        (shifted(-0.02, -0.03), "perhaps worse"),
    ],
)
def test_nothing_more_is_said_than_the_cases_allow(after, said):
    paired = compare_paired(PLAIN, after)
    assert verdict(paired) == said
    sentence = how_sure("Dice", paired)
    assert sentence.startswith("Dice: ") and VERDICTS[said] in sentence
    assert sentence.endswith(".") and "\n" not in sentence


def test_less_may_be_better():
    paired = compare_paired(BETTER, PLAIN)
    assert verdict(paired) == "worse" and verdict(paired, more_is_better=False) == "better"
    sentence = how_sure("Volume missed", paired, " mL", 2, more_is_better=False)
    assert "Volume missed: -0.03 mL on average in 8 cases" in sentence and "better" in sentence


def test_the_sentence_tells_change_interval_p_and_cases():
    paired = compare_paired(PLAIN, BETTER)
    low, high = paired.difference.low, paired.difference.high
    expected = (
        f"+0.026 on average in 8 cases (95 % interval {low:+.3f} to {high:+.3f}, p 0.008; it rose in 8 and fell in 0)"
    )
    assert expected in how_sure("Dice", paired)


def test_one_case_never_tells():
    sentence = how_sure("Dice", compare_paired({"a": 0.1}, {"a": 0.99}))
    assert "+0.890 in the only case" in sentence and "cannot tell" in sentence and "interval" not in sentence


@pytest.mark.parametrize(("p", "text"), [(None, "–"), (0.0004, "< 0.001"), (0.0312, "0.031"), (0.625, "0.62")])
def test_p_is_told_in_few_digits(p, text):
    assert format_p(p) == text
