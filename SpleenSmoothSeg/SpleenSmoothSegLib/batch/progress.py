"""Progress over several steps as one fraction, accurate enough to estimate the time left."""

import time

from ..callbacks import Progress


class OverallProgress:
    """Reports the fraction done: seconds so far / (seconds so far + seconds still expected).

    So the seconds left are the seconds so far times (1 - fraction) / fraction. A step that reports its own fraction
    is extrapolated from it; any other step is taken at its expected duration. The fraction goes back only if a step's
    does.

    Args:
        progress: called with the fraction, 0 to 1, and the name of the step.
        seconds: expected duration of each step, in order; may be corrected once more is known.
    """

    def __init__(self, progress: Progress, seconds: dict[str, float]):
        self.seconds = seconds
        self._progress = progress
        self._start = self._step_start = time.perf_counter()
        self._step, self._part, self._fraction = "", 0.0, 0.0

    def step(self, step: str, part: float = 0.0, name: str = "") -> None:
        """`part` of `step`, 0 to 1, is done; it is reported under `name`, or else the name of the step."""
        now = time.perf_counter()
        if step != self._step or part < self._part:
            if step == self._step:
                self._fraction = 0.0
            self._step, self._step_start = step, now
        self._part = part
        names = list(self.seconds)
        later = sum(self.seconds[name] for name in names[names.index(step) + 1 :])
        left = (now - self._step_start) * (1 - part) / part if part > 0 else self.seconds[step]
        elapsed = now - self._start
        self._fraction = max(self._fraction, elapsed / max(elapsed + left + later, 1e-9))
        self._progress(self._fraction, name or step)

    def end(self) -> None:
        self._progress(1.0, "Done")
