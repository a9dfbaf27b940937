"""Figures as small PNGs."""

import numpy as np
import pytest
from PIL import Image

from results_data import slice_row
from SpleenSmoothSegTrainingLib.measuring.byheight import profile
from SpleenSmoothSegTrainingLib.reporting.figures import (
    Example,
    SweepPoint,
    draw_by_height,
    draw_curve,
    draw_curves,
    draw_examples,
    draw_sweep,
)


def history(adam: int, sgd: int = 0, text: bool = False) -> list[dict]:
    phases = [("adam", epoch) for epoch in range(adam)] + [("sgd", epoch) for epoch in range(sgd)]
    rows = [
        {"phase": phase, "epoch": epoch, "loss": 1 / (1 + place), "validation_dice": place / (adam + sgd)}
        for place, (phase, epoch) in enumerate(phases)
    ]
    return [{name: str(value) for name, value in row.items()} for row in rows] if text else rows


def colors(path) -> np.ndarray:
    """RGB (row, column, 3) of a PNG that is small enough for a report."""
    assert path.stat().st_size < 100_000
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def has_color(picture: np.ndarray, color: str, tolerance: int = 40) -> bool:
    wanted = [int(color[i : i + 2], 16) for i in (1, 3, 5)]
    return bool((np.abs(picture - wanted).sum(axis=-1) < tolerance).any())


@pytest.mark.parametrize("rows", [history(6, 2), history(1), history(0, 3), history(4, 1, text=True)])
def test_draw_curve_draws_short_histories(tmp_path, rows):
    draw_curve(rows, tmp_path / "fold_0" / "curve.png")
    assert has_color(colors(tmp_path / "fold_0" / "curve.png"), "#0072B2")


def test_draw_curves_uses_a_color_per_variant(tmp_path):
    draw_curves({"control": {0: history(6), 1: history(4)}, "smoothed": {3: history(6, 2)}}, tmp_path / "curves.png")
    picture = colors(tmp_path / "curves.png")
    assert has_color(picture, "#0072B2") and has_color(picture, "#D55E00")


def test_draw_curves_accepts_math_and_unknown_characters_in_names(tmp_path, recwarn):
    draw_curves({"$x_": {0: history(3)}, "_脾": {0: history(3)}}, tmp_path / "curves.png")
    assert colors(tmp_path / "curves.png").size and not recwarn.list


@pytest.mark.parametrize("names", [("control", "smoothed"), ("smoothed",)])
def test_draw_by_height_draws_one_or_two_variants(tmp_path, names):
    rows = [slice_row("test", "ensemble", "a", height, 0.9) for height in (0.0, 0.5, 1.0)]
    draw_by_height(dict.fromkeys(names, profile(rows)), tmp_path / "height.png")
    assert has_color(colors(tmp_path / "height.png"), "#D55E00")


@pytest.mark.parametrize("count", [1, 2, 5])
def test_draw_sweep_draws_any_number_of_points(tmp_path, count):
    points = [
        SweepPoint("none", 0.0, "mm", 0.8, None, None),
        *(
            SweepPoint(kernel, width, "mm", 0.8 + width / 100, 0.7, 0.9)
            for kernel in ("box", "svls")
            for width in (1, 2)
        ),
    ]
    draw_sweep(points[:count], tmp_path / "sweep.png")
    assert colors(tmp_path / "sweep.png").size


@pytest.mark.parametrize("count", [1, 3])
def test_draw_examples_draws_each_contour(tmp_path, count):
    ct = np.random.default_rng(0).normal(40, 60, (512, 512)).astype(np.float32)
    label, control, smoothed = np.zeros((3, 512, 512), bool)
    label[200:280, 300:380] = control[210:270, 310:370] = smoothed[190:290, 290:390] = True
    masks = {"label": label, "control": control, "smoothed": smoothed}
    draw_examples([Example("best: $a_b$, slice 3\nDice 0.9", ct, masks, (0.8, 0.8))] * count, tmp_path / "examples.png")
    picture = colors(tmp_path / "examples.png")
    for color in ("#F0E442", "#56B4E9", "#FF7F2A"):
        assert has_color(picture, color, 60)


def test_draw_examples_accepts_an_empty_mask_and_a_label_at_the_edge(tmp_path):
    label = np.zeros((40, 30), bool)
    label[:3, :3] = True
    masks = {"label": label, "control": np.zeros_like(label)}
    draw_examples([Example("worst", np.zeros((40, 30), np.float32), masks, (5.0, 5.0))], tmp_path / "examples.png")
    assert has_color(colors(tmp_path / "examples.png"), "#F0E442", 60)
