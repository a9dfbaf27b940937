"""The fraction of a wait that is over: honest enough that the time left can be told from it."""

import pytest

from SpleenSmoothSegLib.batch import progress
from SpleenSmoothSegLib.batch.progress import Wait

EXPECTED = {"Reading": 1.0, "Starting": 3.0, "Segmenting": 10.0, "Writing": 2.0}


@pytest.fixture
def clock(monkeypatch):
    """A clock that only goes when told to."""

    class Clock:
        now = 100.0

        def goes_on(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    monkeypatch.setattr(progress.time, "perf_counter", lambda: clock.now)
    return clock


@pytest.fixture
def told() -> list[tuple[float, str]]:
    return []


@pytest.fixture
def wait(clock, told) -> Wait:
    return Wait(lambda fraction, doing: told.append((fraction, doing)), dict(EXPECTED))


def seconds_left(over: float, fraction: float) -> float:
    return over * (1 - fraction) / fraction


def test_fraction_goes_from_0_to_1(wait, told):
    wait.step("Reading")
    wait.end()
    assert told == [(0.0, "Reading"), (1.0, "Done")]


def test_time_left_is_exact_when_steps_take_the_expected_time(wait, clock, told):
    over, whole = 0.0, sum(EXPECTED.values())
    for step, seconds in EXPECTED.items():
        wait.step(step)
        assert told[-1][0] == pytest.approx(over / whole)
        clock.goes_on(seconds)
        over += seconds


@pytest.mark.parametrize("seconds", [2.0, 10.0, 200.0], ids=lambda seconds: f"{seconds:.0f} s")
def test_step_with_its_own_fraction_is_extrapolated(wait, clock, told, seconds):
    """10 s are expected of it; after a tenth it is known how long it really takes, on this computer."""
    wait.step("Reading")
    clock.goes_on(4.0)
    wait.step("Segmenting")
    for tenth in range(1, 10):
        clock.goes_on(seconds / 10)
        wait.step("Segmenting", tenth / 10)
        over = 4.0 + seconds * tenth / 10
        if tenth >= 5:
            left = seconds * (1 - tenth / 10) + EXPECTED["Writing"]
            assert seconds_left(over, told[-1][0]) == pytest.approx(left, rel=0.05)


def test_expected_seconds_may_be_corrected(wait, clock, told):
    wait.step("Reading")
    clock.goes_on(1.0)
    wait.seconds |= {"Segmenting": 94.0}
    wait.step("Starting")
    assert told[-1][0] == pytest.approx(1 / 100)


def test_the_fraction_stands_rather_than_going_back_where_a_step_takes_longer(wait, clock, told):
    wait.step("Reading")
    clock.goes_on(8.0)
    wait.step("Segmenting")
    for part in (0.01, 0.02, 0.03):
        clock.goes_on(20.0)
        wait.step("Segmenting", part)
    fractions = [fraction for fraction, _ in told]
    assert fractions == sorted(fractions)
    assert max(fractions) < 0.5


def test_the_fraction_goes_back_with_a_step_that_begins_anew(wait, clock, told):
    wait.step("Segmenting")
    clock.goes_on(5.0)
    wait.step("Segmenting", 0.9)
    assert told[-1][0] > 0.6
    wait.step("Segmenting", 0.0)
    clock.goes_on(1.0)
    wait.step("Segmenting", 0.1)
    assert seconds_left(6.0, told[-1][0]) == pytest.approx(9.0 + EXPECTED["Writing"])


def test_progress_reports_the_given_name_or_the_step(wait, told):
    wait.step("Segmenting", 0.0, "Predicting")
    wait.step("Writing")
    assert [doing for _, doing in told] == ["Predicting", "Writing"]
