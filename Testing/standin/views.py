"""What Slicer's slice views, 3D view and plot view show, as pixels: drawn without a screen, without Qt.

Slice logic and displayable managers are Slicer's own (slicer-core), so a picture is what a user would see; only the
chart is put together here, as Slicer's ``qMRMLPlotView`` does, for that class is a Qt widget.
"""

import contextlib
import ctypes
import functools

import numpy as np
import slicer
import vtk
import vtkmodules.vtkRenderingContextOpenGL2  # noqa: F401  (registers what draws charts)
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401  (registers what draws everything else)
from vtk.util.numpy_support import vtk_to_numpy

from .scene import vtkErrorsHidden

SLICE_MANAGERS = (
    "vtkMRMLVolumeGlyphSliceDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
)
THREED_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLColorLegendDisplayableManager",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
)
SIZE = (400, 400)  # of a view that no window has given another size, in pixels
PLOT_BACKGROUND = (255, 253, 246)


def renderSlice(name: str = "Red", size: tuple[int, int] | None = None) -> np.ndarray:
    """What the slice view "Red", "Green" or "Yellow" shows: (row, column, RGB) uint8; ``size`` is (width, height)."""
    return _rendered(sliceView(name), size)


def render3D(size: tuple[int, int] | None = None) -> np.ndarray:
    """What the first 3D view shows."""
    return _rendered(slicer.app.layoutManager().threeDWidget(0).threeDView()._view, size)


def renderPlot(chartNode, size: tuple[int, int] = (600, 400)) -> np.ndarray:
    """The chart as Slicer's plot view shows it, be it in the layout or not."""
    view = PlotView(None)
    view.resize(*size)
    return view.pixels(chartNode)


def sliceView(name: str = "Red") -> "SliceView":
    """The slice view of that name; its ``where`` gives the pixel that shows a point."""
    return slicer.app.layoutManager().sliceWidget(name).sliceView()._view


def _rendered(view, size) -> np.ndarray:
    if size:
        view.resize(*size)
    return view.pixels()


@functools.cache
def _windowClass() -> type:
    """The render window that works here; VTK takes its time to find it out."""
    with vtkErrorsHidden():  # it tries to open a display first and reports that none exists
        return type(vtk.vtkRenderWindow())


@functools.cache
def whyNotDrawn() -> str:
    """Why nothing can be drawn on this machine, in a sentence; "" where it can. VTK would crash."""
    if _windowClass().__name__ != "vtkOSOpenGLRenderWindow":
        return ""
    for name in ("libOSMesa.so.8", "libOSMesa.so.6", "libOSMesa.so"):
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)
            return ""
    return "Views are drawn with EGL or OSMesa; install libegl1 and libgl1-mesa-dri, or libosmesa6."


class View:
    """A view node's render window, which nobody sees."""

    def __init__(self, node):
        self.node = node
        self.window = _windowClass()()
        self.window.SetOffScreenRendering(True)
        self.window.SetMultiSamples(0)
        self.window.SetSize(SIZE)

    def resize(self, width: int, height: int) -> None:
        if (width, height) != self.size:
            self.window.SetSize(width, height)

    @property
    def size(self) -> tuple[int, int]:
        return tuple(self.window.GetSize())

    def pixels(self) -> np.ndarray:
        """What is seen, (row, column, RGB) uint8, the top row first; RuntimeError where nothing can be drawn."""
        if whyNotDrawn():
            raise RuntimeError(whyNotDrawn())
        self.window.Render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        columns, rows, _ = image.GetDimensions()
        colors = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)[::-1, :, :3]
        return np.ascontiguousarray(colors)

    def close(self) -> None:
        self.window.Finalize()


class _ManagedView(View):
    """A view that Slicer's displayable managers fill, over what is there already."""

    def __init__(self, node, factory, managers, below=()):
        super().__init__(node)
        self.renderer = vtk.vtkRenderer()
        self.window.AddRenderer(self.renderer)
        for prop in below:
            self.renderer.AddViewProp(prop)
        # Some managers (the crosshair, the markups) ask for an interactor; nobody interacts.
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        for manager in managers:
            if not factory.IsDisplayableManagerRegistered(manager):
                factory.RegisterDisplayableManager(manager)
        self.managers = factory.InstantiateDisplayableManagers(self.renderer)
        self.managers.UnRegister(None)  # the factory adds a reference that Python does not release

    def close(self) -> None:
        self.managers.SetMRMLDisplayableNode(None)
        super().close()


class SliceView(_ManagedView):
    """A slice view: the volumes as the slice logic blends them, and over them what the managers draw."""

    def __init__(self, node, applicationLogic):
        self.mapper, self.image = vtk.vtkImageMapper(), vtk.vtkActor2D()
        self.mapper.SetColorWindow(255)
        self.mapper.SetColorLevel(127.5)
        self.image.SetMapper(self.mapper)
        self.image.GetProperty().SetDisplayLocationToBackground()
        factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory.GetInstance()
        super().__init__(node, factory, SLICE_MANAGERS, below=[self.image])
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(applicationLogic)
        self.logic.SetDisplayableManagerGroup(self.managers)
        applicationLogic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetSliceNode(node)
        self.logic.SetMRMLScene(node.GetScene())
        self.managers.SetMRMLDisplayableNode(node)
        self.logic.ResizeSliceNode(*SIZE)

    def resize(self, width: int, height: int) -> None:
        if (width, height) != self.size:
            super().resize(width, height)
            self.logic.ResizeSliceNode(width, height)

    def pixels(self) -> np.ndarray:
        connection = self.logic.GetImageDataConnection()
        self.image.SetVisibility(connection is not None)
        self.mapper.SetInputConnection(connection)
        return super().pixels()

    def where(self, ras) -> tuple[int, int, float]:
        """(row, column) of the pixel that shows a point (RAS, mm), and how far (mm) it lies before the slice."""
        xyToRas, rasToXy = self.node.GetXYToRAS(), vtk.vtkMatrix4x4()
        vtk.vtkMatrix4x4.Invert(xyToRas, rasToXy)
        x, y, z, _ = rasToXy.MultiplyPoint([*ras, 1])
        thickness = np.linalg.norm([xyToRas.GetElement(row, 2) for row in range(3)])
        return self.size[1] - 1 - round(y), round(x), z * thickness


class ThreeDView(_ManagedView):
    """A 3D view; its camera node is made with it, as in Slicer."""

    def __init__(self, node, applicationLogic):
        super().__init__(node, slicer.vtkMRMLThreeDViewDisplayableManagerFactory.GetInstance(), THREED_MANAGERS)
        self.renderer.SetGradientBackground(True)
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(applicationLogic)
        self.logic.SetDisplayableManagerGroup(self.managers)
        applicationLogic.GetViewLogics().AddItem(self.logic)
        self.logic.SetName(node.GetLayoutName())
        self.logic.SetMRMLScene(node.GetScene())
        self.logic.AddViewNode(node.GetLayoutName())  # finds the one that is there
        self.managers.SetMRMLDisplayableNode(node)

    @property
    def camera(self):
        return self.managers.GetDisplayableManagerByClassName("vtkMRMLCameraDisplayableManager").GetCameraNode()

    def pixels(self) -> np.ndarray:
        self.renderer.SetUseDepthPeeling(bool(self.node.GetUseDepthPeeling()))
        self.renderer.ResetCameraClippingRange()
        return super().pixels()

    def resetFocalPoint(self) -> None:
        """Center on what is shown, without the box around it."""
        box, labels = self.node.GetBoxVisible(), self.node.GetAxisLabelsVisible()
        self._showBox(False, False)
        bounds = self.renderer.ComputeVisiblePropBounds()
        if vtk.vtkMath.AreBoundsInitialized(bounds):
            self.camera.SetFocalPoint([(bounds[i] + bounds[i + 1]) / 2 for i in (0, 2, 4)])
        self._showBox(box, labels)
        self.node.InvokeEvent(self.node.ResetFocalPointRequestedEvent)

    def resetCamera(self, resetRotation=True, resetTranslation=True, resetDistance=True) -> None:
        self.camera.Reset(resetRotation, resetTranslation, resetDistance, self.renderer)

    def _showBox(self, box: bool, labels: bool) -> None:
        modifying = self.node.StartModify()
        self.node.SetBoxVisible(box)
        self.node.SetAxisLabelsVisible(labels)
        self.node.EndModify(modifying)


class PlotView(View):
    """The chart of a plot view node, or any other chart."""

    def __init__(self, node):
        super().__init__(node)
        self.context = vtk.vtkContextView()
        self.context.SetRenderWindow(self.window)
        self.renderer = self.context.GetRenderer()

    def pixels(self, chartNode=None) -> np.ndarray:
        chartNode = chartNode or self.node.GetPlotChartNode()
        self.context.GetScene().ClearItems()
        if chartNode is not None:
            self.context.GetScene().AddItem(_chart(chartNode))
        self.renderer.SetBackground([part / 255 for part in PLOT_BACKGROUND])
        return super().pixels()


def _chart(node):
    chart = vtk.vtkChartXY()
    chart.GetBackgroundBrush().SetColor(*PLOT_BACKGROUND, 255)
    for series in [node.GetNthPlotSeriesNode(index) for index in range(node.GetNumberOfPlotSeriesNodes())]:
        plot = _plot(series) if series else None
        if plot:
            chart.AddPlot(plot)
    family = chart.GetTitleProperties().GetFontFamilyFromString(node.GetFontType() or "Arial")
    chart.SetTitle((node.GetTitle() or "") if node.GetTitleVisibility() else "")
    _setFont(chart.GetTitleProperties(), family, node.GetTitleFontSize())
    chart.SetShowLegend(bool(node.GetLegendVisibility()))
    _setFont(chart.GetLegend().GetLabelProperties(), family, node.GetLegendFontSize())
    for axis, letter in ((vtk.vtkAxis.BOTTOM, "X"), (vtk.vtkAxis.LEFT, "Y")):
        _setAxis(chart.GetAxis(axis), node, letter, family)
    return chart


def _plot(series):
    """A curve or bars, as a plot series node describes; None if its table does not have the columns."""
    table = series.GetTableNode().GetTable() if series.GetTableNode() else None
    columns = [series.GetXColumnName(), series.GetYColumnName()] if series.IsXColumnRequired() else None
    columns = columns or [series.GetYColumnName()] * 2
    if table is None or not all(name and table.GetColumnByName(name) for name in columns):
        return None
    isLine = series.GetPlotType() in (series.PlotTypeLine, series.PlotTypeScatter)
    plot = vtk.vtkPlotLine() if isLine else vtk.vtkPlotBar()
    plot.SetWidth(series.GetLineWidth())
    plot.SetColorF(*series.GetColor())
    plot.SetOpacity(series.GetOpacity())
    plot.GetPen().SetOpacityF(series.GetOpacity())
    # Styles of lines and markers are numbered as in VTK.
    plot.GetPen().SetLineType(series.GetLineStyle() if isLine else vtk.vtkPen.SOLID_LINE)
    if isLine:
        plot.SetMarkerSize(series.GetMarkerSize())
        plot.SetMarkerStyle(series.GetMarkerStyle())
    plot.SetUseIndexForXSeries(not series.IsXColumnRequired())
    plot.SetInputData(table, *columns)
    plot.SetLabel(series.GetName() or columns[1])
    return plot


def _setAxis(axis, node, letter: str, family: int) -> None:
    def setting(name):
        return getattr(node, f"Get{letter}Axis{name}")()

    axis.SetTitle((setting("Title") or "") if setting("TitleVisibility") else "")
    axis.SetLogScale(bool(setting("LogScale")))
    if not setting("RangeAuto"):
        axis.SetBehavior(vtk.vtkAxis.FIXED)
        axis.SetUnscaledRange(*setting("Range"))
    axis.SetGridVisible(bool(node.GetGridVisibility()))
    _setFont(axis.GetTitleProperties(), family, node.GetAxisTitleFontSize())
    axis.GetTitleProperties().SetBold(False)
    _setFont(axis.GetLabelProperties(), family, node.GetAxisLabelFontSize())


def _setFont(properties, family: int, size: int) -> None:
    properties.SetFontFamily(family)
    properties.SetFontSize(size)
