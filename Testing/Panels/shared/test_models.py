"""Model cards in words."""

import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")

pytestmark = pytest.mark.slicer


@pytest.mark.parametrize(
    "card", [{}, {"training": 3, "metrics": {"dice": "high"}, "folds": None}, {"metrics": [None, {"dice": "x"}]}]
)
def test_model_card_with_wrong_types_is_described(slicer_app, card):
    from SpleenSmoothSegPanels.shared.models import describe

    assert "Trained on: not stated" in describe(card)
