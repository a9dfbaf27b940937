"""The callbacks that report progress and warnings, in the one style that every part of the engine takes."""

from collections.abc import Callable
from dataclasses import dataclass

Progress = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and the name of the step."""

Warn = Callable[[str], None]
"""Called with one sentence for the user."""


@dataclass(frozen=True)
class Callbacks:
    """What a long computation calls while it runs; by default nothing.

    Attributes:
        progress: called with the fraction done and the name of the step.
        warn: called with one sentence for the user.
        canceled: polled between batches; True stops the work.
    """

    progress: Progress = lambda fraction, step: None
    warn: Warn = lambda message: None
    canceled: Callable[[], bool] = lambda: False


NO_CALLBACKS = Callbacks()
