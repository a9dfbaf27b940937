"""Curves and color maps as nodes of a real scene (tier 2)."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")


from slicer_scene import curves, new_scene
from SpleenSmoothSegPanels.shared.display import divergingColors, sequentialColors, updateChart

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]


@pytest.fixture
def scene():
    scene = new_scene()
    yield scene
    scene.Clear(True)


def test_a_chart_shows_every_curve_over_the_same_axis(scene):
    chart = updateChart(
        "Errors", "By height", "Height (mm)", "mL", [0, 1, 2], {"missed": [3, 4, 5], "extra": [6, 7, 8]}
    )

    assert curves(chart) == {"missed": [[0, 1, 2], [3, 4, 5]], "extra": [[0, 1, 2], [6, 7, 8]]}
    assert chart.GetTitle() == "By height"
    assert (chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Height (mm)", "mL")


def test_new_numbers_go_into_the_same_chart(scene):
    first = updateChart("Errors", "T", "x", "y", [0, 1], {"a": [1, 2]})
    nodes = scene.GetNumberOfNodes()

    second = updateChart("Errors", "T", "x", "y", [0, 1, 2], {"a": [5, 6, 7]})

    assert second is first
    assert scene.GetNumberOfNodes() == nodes
    assert curves(second) == {"a": [[0, 1, 2], [5, 6, 7]]}


def test_a_curve_that_is_gone_is_gone_from_the_chart(scene):
    updateChart("Errors", "T", "x", "y", [0, 1], {"a": [1, 2], "b": [3, 4]})
    assert list(curves(updateChart("Errors", "T", "x", "y", [0, 1], {"b": [5, 6]}))) == ["b"]


def test_a_chart_of_the_user_is_left_alone(scene):
    own = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Errors")
    own.SetTitle("Mine")
    chart = updateChart("Errors", "T", "x", "y", [0], {"a": [1]})
    assert chart is not own
    assert own.GetTitle() == "Mine"


def lightness(node):
    """CIE L* of each color: what makes a step look as large as it is."""
    rgb = np.array([node.GetLookupTable().GetTableValue(index)[:3] for index in range(node.GetNumberOfColors())])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16


def test_the_colors_of_amounts_grow_lighter_in_even_steps(scene):
    steps = np.diff(lightness(sequentialColors())[::15])  # a table holds 8-bit colors
    assert steps.min() > 0
    assert steps.max() < 2 * steps.mean()


def test_the_colors_of_signed_amounts_are_lightest_at_zero_and_alike_on_both_sides(scene):
    light = lightness(divergingColors())
    assert abs(int(light.argmax()) - 127.5) < 2
    assert np.abs(light - light[::-1]).max() < 5


@pytest.mark.parametrize("colors", [sequentialColors, divergingColors])
def test_a_color_node_is_made_once(scene, colors):
    first, nodes = colors(), scene.GetNumberOfNodes()
    assert colors() is first
    assert scene.GetNumberOfNodes() == nodes
