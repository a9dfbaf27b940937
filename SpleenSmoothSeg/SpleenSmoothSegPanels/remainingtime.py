"""How long it will still take: a number of seconds that a person can believe."""

from slicer.i18n import tr as _

SHARE = 0.25  # of the way to the newest estimate that the shown one goes each second
LEAST_FRACTION = 0.05  # before it nobody can say


class RemainingTime:
    """Seconds left, from the fraction done. It ticks down by the clock and moves to new estimates bit by bit.

    Times are those of any clock, in seconds, and are given, so that the class has none of its own.
    """

    def __init__(self, now: float):
        self._started = self._ticked = now
        self._estimatedEnd = self._shownEnd = None

    def update(self, fraction: float, now: float) -> None:
        """``fraction`` of the whole, 0 to 1, is done; the rest will go as fast as what was done."""
        if fraction >= LEAST_FRACTION:
            self._estimatedEnd = now + (now - self._started) * (1 - fraction) / fraction

    def seconds(self, now: float) -> int | None:
        """Whole seconds left, at least 1; None while nobody can say."""
        if self._estimatedEnd is None:
            return None
        if self._shownEnd is None:
            self._shownEnd = self._estimatedEnd
        share = 1 - (1 - SHARE) ** (now - self._ticked)
        self._shownEnd += share * (self._estimatedEnd - self._shownEnd)
        self._ticked = now
        return max(1, round(self._shownEnd - now))


def inWords(seconds: float) -> str:
    """Such as "about 12 min left"."""
    seconds = max(1, round(seconds))
    if seconds < 100:
        return _("about {seconds} s left").format(seconds=seconds)
    minutes = round(seconds / 60)
    if minutes < 100:
        return _("about {minutes} min left").format(minutes=minutes)
    return _("about {hours} h {minutes} min left").format(hours=minutes // 60, minutes=minutes % 60)
