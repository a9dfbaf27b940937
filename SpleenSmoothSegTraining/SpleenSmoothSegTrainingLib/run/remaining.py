"""How far the training of all folds is, and how long it will still take."""

import time


class Work:
    """Epochs of several jobs, some of which were done in an earlier run.

    Args:
        jobs: how many.
        epochs: of each.
        done: of all, before this run.
    """

    def __init__(self, jobs: int, epochs: int, done: int = 0, now=time.monotonic):
        self._total, self._done, self._before, self._now = jobs * epochs, done, done, now
        self._start = now()

    def after_epoch(self, title: str) -> dict:
        """The event that tells of progress, after one more epoch of the job of that title."""
        self._done += 1
        each = (self._now() - self._start) / (self._done - self._before)
        return {
            "event": "progress",
            "fraction": round(min(1.0, self._done / self._total), 4),
            "step": f"{title[:1].upper()}{title[1:]}, epoch {self._done} of {self._total} in all",
            "remaining_s": round(each * max(0, self._total - self._done), 1),
        }
