"""How much of a wait is over: one fraction for all of its steps, good enough to tell the time that is left."""

import time

from ..callbacks import Progress


class Wait:
    """Tells which fraction of a wait is over: the seconds so far, of those and what is still expected.

    So the seconds left are the seconds so far times (1 - fraction) / fraction. A step that says which part of it is
    done goes at its own pace; any other takes what is expected of it. The fraction goes back only if a step does.

    Args:
        tell: called with the fraction, 0 to 1, and what is being done.
        seconds: how long each step is expected to take, in their order; may be corrected once more is known.
    """

    def __init__(self, tell: Progress, seconds: dict[str, float]):
        self.seconds = seconds
        self._tell = tell
        self._began = self._step_began = time.perf_counter()
        self._step, self._part, self._fraction = "", 0.0, 0.0

    def step(self, step: str, part: float = 0.0, doing: str = "") -> None:
        """`part` of `step` is done, 0 to 1; a person is told what it is `doing`, or else the step's name."""
        now = time.perf_counter()
        if step != self._step or part < self._part:
            if step == self._step:
                self._fraction = 0.0
            self._step, self._step_began = step, now
        self._part = part
        names = list(self.seconds)
        later = sum(self.seconds[name] for name in names[names.index(step) + 1 :])
        left = (now - self._step_began) * (1 - part) / part if part > 0 else self.seconds[step]
        over = now - self._began
        self._fraction = max(self._fraction, over / max(over + left + later, 1e-9))
        self._tell(self._fraction, doing or step)

    def end(self) -> None:
        self._tell(1.0, "Done")
