"""The remaining time that the panels show."""

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")

pytestmark = pytest.mark.slicer


def test_remaining_time_changes_smoothly(slicer_app):
    from SpleenSmoothSegPanels.shared.widgets import RemainingTime

    remaining = RemainingTime(0)
    shown = []
    steps = {3: 0.06, 4: 0.3, 5: 0.31, 9: 0.4, 11: 0.7, 14: 0.72, 16: 0.9, 19: 0.98}  # second: fraction
    for second in range(21):
        if second in steps:
            remaining.update(steps[second], second)
        shown.append(remaining.seconds(second))

    assert shown[:3] == [None] * 3
    assert all(seconds >= 1 for seconds in shown[3:])
    changes = np.diff(shown[3:])
    assert changes.max() <= 1  # hardly ever up
    assert all(abs(change) <= max(2, 0.3 * before) for change, before in zip(changes, shown[3:], strict=False))
    assert shown[-1] <= 3


def test_remaining_time_counts_down_without_updates(slicer_app):
    from SpleenSmoothSegPanels.shared.widgets import RemainingTime

    remaining = RemainingTime(0)
    remaining.update(0.5, 10)

    assert [remaining.seconds(10 + tick) for tick in range(4)] == [10, 9, 8, 7]
    assert remaining.seconds(100) == 1
