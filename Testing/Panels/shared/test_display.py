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


def test_chart_has_all_curves_over_one_axis(scene):
    chart = updateChart(
        "Errors", "By height", "Height (mm)", "mL", [0, 1, 2], {"missed": [3, 4, 5], "extra": [6, 7, 8]}
    )

    assert curves(chart) == {"missed": [[0, 1, 2], [3, 4, 5]], "extra": [[0, 1, 2], [6, 7, 8]]}
    assert chart.GetTitle() == "By height"
    assert (chart.GetXAxisTitle(), chart.GetYAxisTitle()) == ("Height (mm)", "mL")


def test_update_reuses_the_chart(scene):
    first = updateChart("Errors", "T", "x", "y", [0, 1], {"a": [1, 2]})
    nodes = scene.GetNumberOfNodes()

    second = updateChart("Errors", "T", "x", "y", [0, 1, 2], {"a": [5, 6, 7]})

    assert second is first
    assert scene.GetNumberOfNodes() == nodes
    assert curves(second) == {"a": [[0, 1, 2], [5, 6, 7]]}


def test_update_removes_curves_that_are_not_given(scene):
    updateChart("Errors", "T", "x", "y", [0, 1], {"a": [1, 2], "b": [3, 4]})
    assert list(curves(updateChart("Errors", "T", "x", "y", [0, 1], {"b": [5, 6]}))) == ["b"]


def test_chart_of_the_user_with_the_same_name_is_not_changed(scene):
    own = scene.AddNewNodeByClass("vtkMRMLPlotChartNode", "Errors")
    own.SetTitle("Mine")
    chart = updateChart("Errors", "T", "x", "y", [0], {"a": [1]})
    assert chart is not own
    assert own.GetTitle() == "Mine"


def lightness(node):
    """CIE L* of each color, the perceived lightness."""
    rgb = np.array([node.GetLookupTable().GetTableValue(index)[:3] for index in range(node.GetNumberOfColors())])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return 116 * np.cbrt(linear @ [0.2126, 0.7152, 0.0722]) - 16


def test_sequential_colors_grow_lighter_in_even_steps(scene):
    steps = np.diff(lightness(sequentialColors())[::15])  # a table holds 8-bit colors
    assert steps.min() > 0
    assert steps.max() < 2 * steps.mean()


def test_diverging_colors_are_lightest_at_zero_and_symmetric(scene):
    light = lightness(divergingColors())
    assert abs(int(light.argmax()) - 127.5) < 2
    assert np.abs(light - light[::-1]).max() < 5


@pytest.mark.parametrize("colors", [sequentialColors, divergingColors])
def test_color_node_is_created_once(scene, colors):
    first, nodes = colors(), scene.GetNumberOfNodes()
    assert colors() is first
    assert scene.GetNumberOfNodes() == nodes
