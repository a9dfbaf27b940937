"""The callbacks that report progress and warnings, in the one style that every part of the engine takes."""

from collections.abc import Callable

Progress = Callable[[float, str], None]
"""Called with the fraction done, 0 to 1, and the name of the step."""

Warn = Callable[[str], None]
"""Called with one sentence for the user."""
