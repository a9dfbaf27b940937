"""Progress and remaining time from completed epochs."""

import pytest

from SpleenSmoothSegTrainingLib.run.epochprogress import EpochProgress


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_remaining_time_is_that_of_the_remaining_epochs():
    clock = Clock()
    progress = EpochProgress(tasks=2, epochs=10, now=clock)
    events = []
    for _ in range(20):
        clock.seconds += 3
        events.append(progress.after_epoch("fold 0 of smoothed"))
    assert [event["remaining_s"] for event in events] == [3 * left for left in reversed(range(20))]
    assert [event["fraction"] for event in events] == pytest.approx([done / 20 for done in range(1, 21)])
    assert {event["event"] for event in events} == {"progress"}
    assert events[4]["step"] == "Fold 0 of smoothed, epoch 5 of 20"


def test_epochs_of_an_earlier_run_count_as_done_but_not_for_the_speed():
    clock = Clock()
    progress = EpochProgress(tasks=2, epochs=10, done=15, now=clock)
    clock.seconds += 7
    event = progress.after_epoch("fold 1 of control")
    assert event["fraction"] == 0.8 and event["remaining_s"] == 28


def test_repeated_epochs_do_not_exceed_fraction_1():
    """As when a worker died and its task was resumed."""
    clock = Clock()
    progress = EpochProgress(tasks=1, epochs=2, now=clock)
    for _ in range(3):
        clock.seconds += 1
        event = progress.after_epoch("fold 0 of smoothed")
    assert event["fraction"] == 1 and event["remaining_s"] == 0
