"""Overall progress: the fraction is accurate enough to estimate the time left."""

import pytest

from SpleenSmoothSegLib.batch import progress
from SpleenSmoothSegLib.batch.progress import OverallProgress

EXPECTED = {"Reading": 1.0, "Starting": 3.0, "Segmenting": 10.0, "Writing": 2.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that advances only on request."""

    class Clock:
        now = 100.0

        def advance(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock.now)
    return clock


@pytest.fixture
def reported() -> list[tuple[float, str]]:
    return []


@pytest.fixture
def overall(clock, reported) -> OverallProgress:
    return OverallProgress(lambda fraction, step: reported.append((fraction, step)), dict(EXPECTED))


def seconds_left(over: float, fraction: float) -> float:
    return over * (1 - fraction) / fraction


def test_fraction_goes_from_0_to_1(overall, reported):
    overall.step("Reading")
    overall.end()
    assert reported == [(0.0, "Reading"), (1.0, "Done")]


def test_time_left_is_exact_when_steps_take_the_expected_time(overall, clock, reported):
    over, whole = 0.0, sum(EXPECTED.values())
    for step, seconds in EXPECTED.items():
        overall.step(step)
        assert reported[-1][0] == pytest.approx(over / whole)
        clock.advance(seconds)
        over += seconds


@pytest.mark.parametrize("seconds", [2.0, 10.0, 200.0], ids=lambda seconds: f"{seconds:.0f} s")
def test_step_with_its_own_fraction_is_extrapolated(overall, clock, reported, seconds):
    """10 s are expected; the actual duration is extrapolated from the fraction done."""
    overall.step("Reading")
    clock.advance(4.0)
    overall.step("Segmenting")
    for tenth in range(1, 10):
        clock.advance(seconds / 10)
        overall.step("Segmenting", tenth / 10)
        over = 4.0 + seconds * tenth / 10
        if tenth >= 5:
            left = seconds * (1 - tenth / 10) + EXPECTED["Writing"]
            assert seconds_left(over, reported[-1][0]) == pytest.approx(left, rel=0.05)


def test_expected_seconds_may_be_corrected(overall, clock, reported):
    overall.step("Reading")
    clock.advance(1.0)
    overall.seconds |= {"Segmenting": 94.0}
    overall.step("Starting")
    assert reported[-1][0] == pytest.approx(1 / 100)


def test_fraction_does_not_decrease_when_a_step_takes_longer_than_expected(overall, clock, reported):
    overall.step("Reading")
    clock.advance(8.0)
    overall.step("Segmenting")
    for part in (0.01, 0.02, 0.03):
        clock.advance(20.0)
        overall.step("Segmenting", part)
    fractions = [fraction for fraction, _ in reported]
    assert fractions == sorted(fractions)
    assert max(fractions) < 0.5


def test_fraction_decreases_when_a_step_restarts(overall, clock, reported):
    overall.step("Segmenting")
    clock.advance(5.0)
    overall.step("Segmenting", 0.9)
    assert reported[-1][0] > 0.6
    overall.step("Segmenting", 0.0)
    clock.advance(1.0)
    overall.step("Segmenting", 0.1)
    assert seconds_left(6.0, reported[-1][0]) == pytest.approx(9.0 + EXPECTED["Writing"])


def test_progress_reports_the_given_name_or_the_step(overall, reported):
    overall.step("Segmenting", 0.0, "Predicting")
    overall.step("Writing")
    assert [step for _, step in reported] == ["Predicting", "Writing"]
