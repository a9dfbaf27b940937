"""Progress and remaining time of a run, from the epochs of its folds."""

import time


class EpochProgress:
    """Counts the epochs of several fold trainings, some of which may be from an earlier run.

    Args:
        tasks: number of fold trainings.
        epochs: of each.
        done: of all, before this run.
    """

    def __init__(self, tasks: int, epochs: int, done: int = 0, now=time.monotonic):
        self._total, self._done, self._before, self._now = tasks * epochs, done, done, now
        self._start = now()

    def after_epoch(self, title: str) -> dict:
        """The progress event after one more epoch of the task with this title."""
        self._done += 1
        seconds_per_epoch = (self._now() - self._start) / (self._done - self._before)
        return {
            "event": "progress",
            "fraction": round(min(1.0, self._done / self._total), 4),
            "step": f"{title[:1].upper()}{title[1:]}, epoch {self._done} of {self._total}",
            "remaining_s": round(seconds_per_epoch * max(0, self._total - self._done), 1),
        }
