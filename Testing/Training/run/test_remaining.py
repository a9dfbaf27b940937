"""How far a training is and how long it will take, from the epochs that are done."""

import pytest

from SpleenSmoothSegTrainingLib.run.remaining import Work


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds


def test_the_time_that_remains_is_that_of_the_epochs_that_remain():
    clock = Clock()
    work = Work(jobs=2, epochs=10, now=clock)
    events = []
    for _ in range(20):
        clock.seconds += 3
        events.append(work.after_epoch("fold 0 of smoothed"))
    assert [event["remaining_s"] for event in events] == [3 * left for left in reversed(range(20))]
    assert [event["fraction"] for event in events] == pytest.approx([done / 20 for done in range(1, 21)])
    assert {event["event"] for event in events} == {"progress"}
    assert events[4]["step"] == "Fold 0 of smoothed, epoch 5 of 20 in all"


def test_epochs_of_an_earlier_run_count_as_done_but_say_nothing_of_the_time():
    clock = Clock()
    work = Work(jobs=2, epochs=10, done=15, now=clock)
    clock.seconds += 7
    event = work.after_epoch("fold 1 of plain")
    assert event["fraction"] == 0.8 and event["remaining_s"] == 28


def test_epochs_that_are_done_twice_do_not_count_beyond_the_end():
    """As when a worker died and its job was taken up again."""
    clock = Clock()
    work = Work(jobs=1, epochs=2, now=clock)
    for _ in range(3):
        clock.seconds += 1
        event = work.after_epoch("fold 0 of smoothed")
    assert event["fraction"] == 1 and event["remaining_s"] == 0
