"""Pixels of Slicer's own slice views, 3D view and charts, for nodes as the module makes them (tier 3)."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML, logic and rendering libraries")

import SimpleITK as sitk
import slicer
import vtk
from vtk.util.numpy_support import numpy_to_vtk, vtk_to_numpy

from locations import SAMPLE_DATA
from slicer_scene import ijk_to_ras, label_center
from SpleenSmoothSegLib.mrml import addSpleenSegment, imageFromVolumeNode, surfaceOf
from SpleenSmoothSegPanels.shared.display import centerOn, divergingColors, showOverlay, showSurface, updateChart

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]

SAMPLE = SAMPLE_DATA
SLICE_VIEWS = ["Red", "Yellow", "Green"]
BLUE, RED = (59, 76, 192), (180, 4, 38)  # the ends of the diverging colors


@pytest.fixture
def views(slicer_app):
    """The module that renders; imported here because the stand-in must be started first."""
    from standin import views

    if views.whyNotDrawn():
        pytest.skip(views.whyNotDrawn())
    return views


@pytest.fixture
def ct(views):
    return slicer.util.loadVolume(str(SAMPLE / "ct.nii.gz"))


@pytest.fixture(scope="module")
def label():
    return sitk.ReadImage(str(SAMPLE / "spleen.nii.gz")) != 0


def add_segment(mask, ct):
    """The mask as a visible spleen segment over the CT, with the slice views centered on it."""
    mask = sitk.Image(mask)
    mask.CopyInformation(imageFromVolumeNode(ct))
    node, _ = addSpleenSegment(mask, ct)
    node.CreateDefaultDisplayNodes()
    centerOn(label_center(mask))
    return node


def sampled(image, view) -> np.ndarray:
    """The image's value at each pixel of a slice view, 0 outside."""
    width, height = view.size
    columns, rows = np.meshgrid(np.arange(width), np.arange(height))
    xy = np.stack([columns, height - 1 - rows, np.zeros_like(rows), np.ones_like(rows)], -1)
    to_ijk = np.linalg.inv(ijk_to_ras(image)) @ slicer.util.arrayFromVTKMatrix(view.node.GetXYToRAS())
    indices = np.rint(xy @ to_ijk.T).astype(int)[..., :3]
    inside = np.all((indices >= 0) & (indices < image.GetSize()), axis=-1)
    i, j, k = np.moveaxis(np.where(inside[..., None], indices, 0), -1, 0)
    return np.where(inside, sitk.GetArrayViewFromImage(image)[k, j, i], 0)


def changed(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    return np.abs(before.astype(int) - after).max(axis=-1) > 3


def dice(first: np.ndarray, second: np.ndarray) -> float:
    return 2 * (first & second).sum() / max(first.sum() + second.sum(), 1)


def like(pixels: np.ndarray, color, tolerance: float = 0.05) -> np.ndarray:
    """Where the hue and saturation are those of a color (0 to 255), however bright: a lit surface has shadows."""

    def chroma(values):
        values = np.asarray(values, float)
        return values / np.maximum(values.sum(axis=-1, keepdims=True), 1)

    return np.abs(chroma(pixels) - chroma(color)).max(axis=-1) < tolerance


# Slice views


def test_volume_is_shown_in_every_slice_view(views, ct):
    image, display = imageFromVolumeNode(ct) + 2000, ct.GetDisplayNode()  # 0 is left for what lies outside
    low, high = (2000 + limit for limit in (display.GetWindowLevelMin(), display.GetWindowLevelMax()))
    for name in SLICE_VIEWS:
        pixels = views.renderSlice(name)[..., 0]
        expected = np.clip(sampled(image, views.sliceView(name)), low, high)
        assert np.corrcoef(pixels.ravel(), expected.ravel())[0, 1] > 0.97


def test_slice_views_are_black_without_a_volume(views, ct):
    slicer.util.setSliceViewerLayers(background=None)
    assert all(views.renderSlice(name).max() == 0 for name in SLICE_VIEWS)


@pytest.mark.parametrize("name", SLICE_VIEWS)
def test_segment_is_drawn_on_the_spleen(views, ct, label, name):
    segmentation = add_segment(label, ct)
    shown = views.renderSlice(name)
    segmentation.GetDisplayNode().SetVisibility(False)

    marked = changed(views.renderSlice(name), shown)
    spleen = sampled(label, views.sliceView(name)) != 0

    assert spleen.sum() > 500
    assert dice(marked, spleen) > 0.95


def test_segment_is_blended_with_the_ct_by_its_opacity(views, ct, label):
    segmentation = add_segment(label, ct)
    shown = views.renderSlice("Red")
    segmentation.GetDisplayNode().SetVisibility(False)
    row, column, _ = views.sliceView("Red").where(label_center(label))

    color = np.multiply(segmentation.GetSegmentation().GetNthSegment(0).GetColor(), 255)
    opacity = segmentation.GetDisplayNode().GetOpacity2DFill()
    bare = views.renderSlice("Red")[row, column]

    assert 0 < opacity < 1
    assert shown[row, column] == pytest.approx((1 - opacity) * bare + opacity * color, abs=2)


@pytest.mark.parametrize("name", SLICE_VIEWS)
def test_shifted_segment_is_not_drawn_on_the_spleen(views, ct, label, name):
    shifted = sitk.Resample(label, sitk.TranslationTransform(3, (40.0, 40.0, 40.0)), sitk.sitkNearestNeighbor)
    segmentation = add_segment(shifted, ct)
    centerOn(label_center(label))
    shown = views.renderSlice(name)
    segmentation.GetDisplayNode().SetVisibility(False)

    marked = changed(views.renderSlice(name), shown)

    assert dice(marked, sampled(label, views.sliceView(name)) != 0) < 0.5


def test_slice_views_are_centered_on_the_spleen(views, ct, label):
    add_segment(label, ct)
    for name in SLICE_VIEWS:
        view = views.sliceView(name)
        row, column, before = view.where(label_center(label))
        assert (row, column) == pytest.approx((view.size[1] / 2, view.size[0] / 2), abs=2)
        assert before == pytest.approx(0, abs=0.1)


@pytest.mark.parametrize("opacity", [0.3, 0.8])
def test_overlay_is_blended_by_its_opacity_above_its_threshold(views, ct, label, opacity):
    overlay = slicer.util.addVolumeFromArray(
        sitk.GetArrayFromImage(label).astype(np.float32), slicer.util.vtkMatrixFromArray(ijk_to_ras(label)), "Soft"
    )
    display = overlay.GetDisplayNode()
    display.SetAndObserveColorNodeID(divergingColors().GetID())
    display.AutoWindowLevelOff()
    display.SetWindowLevelMinMax(0, 1)
    display.SetThreshold(0.5, 1)
    display.ApplyThresholdOn()
    display.InterpolateOff()
    centerOn(label_center(label))
    bare = views.renderSlice("Red").astype(float)

    showOverlay(overlay, opacity)

    inside = sampled(label, views.sliceView("Red")) != 0
    covered = views.renderSlice("Red")
    assert np.array_equal(covered[~inside], bare[~inside])
    expected = (1 - opacity) * bare[inside] + opacity * np.array(RED)
    assert np.abs(covered[inside] - expected).max() <= 2


def test_overlay_without_a_threshold_covers_everything(views, ct, label):
    overlay = slicer.util.addVolumeFromArray(
        sitk.GetArrayFromImage(label).astype(np.float32), slicer.util.vtkMatrixFromArray(ijk_to_ras(label)), "Soft"
    )
    overlay.GetDisplayNode().SetAndObserveColorNodeID(divergingColors().GetID())
    bare = views.renderSlice("Red")
    showOverlay(overlay, 0.5)
    assert changed(bare, views.renderSlice("Red")).mean() > 0.8


def test_surface_is_drawn_as_a_contour_in_the_slice_view(views, ct, label):
    model = slicer.modules.models.logic().AddModel(surfaceOf(label))
    model.GetDisplayNode().SetColor(1, 1, 0)
    centerOn(label_center(label))
    bare = views.renderSlice("Red")

    model.GetDisplayNode().SetVisibility2D(True)

    line = changed(bare, views.renderSlice("Red"))
    inside = sitk.GetImageFromArray((sampled(label, views.sliceView("Red")) != 0).astype(np.uint8))
    distance = np.abs(sitk.GetArrayFromImage(sitk.SignedMaurerDistanceMap(inside, False, False, False)))
    assert line.sum() > 100
    assert np.percentile(distance[line], 99) < 6  # pixels: a voxel is 7 wide


# 3D view


def test_closed_surface_is_drawn_at_the_spleen_in_the_color_of_the_segment(views, ct, label):
    segmentation = add_segment(label, ct)
    showSurface(segmentation)
    slicer.app.layoutManager().resetThreeDViews()
    color = np.multiply(segmentation.GetSegmentation().GetNthSegment(0).GetColor(), 255)

    surface = like(views.render3D(), color)

    assert surface.sum() > 1000
    rows, columns = np.nonzero(surface)
    assert (rows.mean(), columns.mean()) == pytest.approx(projected(label_center(label)), abs=15)
    segmentation.GetDisplayNode().SetVisibility(False)
    assert like(views.render3D(), color).sum() < 100


def projected(ras) -> tuple[float, float]:
    """(row, column) of a point in the 3D view."""
    view = slicer.app.layoutManager().threeDWidget(0).threeDView()
    renderer = view.renderer()
    renderer.SetWorldPoint(*ras, 1)
    renderer.WorldToDisplay()
    column, row, _ = renderer.GetDisplayPoint()
    return view.renderWindow().GetSize()[1] - row, column


def test_surface_is_colored_by_its_scalars(views, ct, label):
    surface, middle = surfaceOf(label), label_center(label)[2]
    heights = vtk_to_numpy(surface.GetPoints().GetData())[:, 2]
    values = numpy_to_vtk(np.where(heights > middle, 1.0, -1.0), deep=True)
    values.SetName("Distance")
    surface.GetPointData().SetScalars(values)
    model = slicer.modules.models.logic().AddModel(surface)
    display = model.GetDisplayNode()
    display.SetActiveScalar("Distance", vtk.vtkAssignAttribute.POINT_DATA)
    display.SetScalarRangeFlag(slicer.vtkMRMLDisplayNode.UseManualScalarRange)
    display.SetScalarRange(-1, 1)
    display.SetAndObserveColorNodeID(divergingColors().GetID())
    display.SetScalarVisibility(True)
    slicer.app.layoutManager().resetThreeDViews()

    pixels = views.render3D()

    upper, lower = np.nonzero(like(pixels, RED, 0.15))[0], np.nonzero(like(pixels, BLUE))[0]
    assert len(upper) > 500 and len(lower) > 500
    assert upper.mean() < lower.mean()
    display.SetScalarVisibility(False)
    assert like(views.render3D(), RED, 0.15).sum() == 0


# Charts


def test_chart_draws_each_curve_in_its_color(views):
    x = np.linspace(0, 10, 50)
    chart = updateChart("Test", "Profile", "mm", "value", x, {"rising": x, "falling": 10 - x})
    series = [chart.GetNthPlotSeriesNode(index) for index in range(2)]
    for node, color in zip(series, [(1, 0, 0), (0, 0, 1)], strict=True):
        node.SetColor(color)

    pixels = views.renderPlot(chart)

    red, blue = is_color(pixels, (255, 0, 0)), is_color(pixels, (0, 0, 255))
    left = slice(150, 250)
    assert np.nonzero(red[:, left])[0].mean() > np.nonzero(blue[:, left])[0].mean()  # rows count from the top
    chart.RemovePlotSeriesNodeID(series[0].GetID())
    assert not is_color(views.renderPlot(chart), (255, 0, 0)).any()


def is_color(pixels: np.ndarray, color) -> np.ndarray:
    return np.abs(pixels.astype(int) - color).max(axis=-1) < 40


def test_chart_without_curves_is_empty(views):
    chart = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLPlotChartNode")
    pixels = views.renderPlot(chart)
    assert (pixels.max(axis=-1) - pixels.min(axis=-1)).max() < 20


def test_plot_view_of_the_layout_shows_the_chart(views):
    x = np.linspace(0, 1, 20)
    chart = updateChart("Test", "Title", "x", "y", x, {"curve": x**2})
    chart.GetNthPlotSeriesNode(0).SetColor(1, 0, 0)

    slicer.modules.plots.logic().ShowChartInLayout(chart)

    view = slicer.app.layoutManager().plotWidget(0).plotView()
    assert view.mrmlPlotViewNode().GetPlotChartNode() is chart
    assert is_color(views.renderPlot(chart), (255, 0, 0)).sum() > 50


# Determinism


def test_view_is_drawn_the_same_each_time(views, ct, label):
    showSurface(add_segment(label, ct))
    slicer.app.layoutManager().resetThreeDViews()
    for render in (views.renderSlice, views.render3D):
        assert np.array_equal(render(), render())
