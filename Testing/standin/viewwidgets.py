"""The widgets of Slicer's views: a bar in the view's color, and below it what ``views`` draws.

A view is drawn only when it is painted: nothing is rendered while tests click buttons.
"""

import qt

from .pythonqt import cppClass
from .views import PlotView, SliceView, ThreeDView, whyNotDrawn


@cppClass
class _ViewWidget(qt.QWidget):
    """The place in a window where a view is painted, at the widget's size."""

    _view = None

    def __init__(self, view):
        super().__init__()
        self._view = view
        self.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Expanding)

    def paintEvent(self, _event) -> None:
        painter = qt.QPainter(self)
        if whyNotDrawn():
            painter.drawText(self.rect, qt.Qt.AlignCenter | qt.Qt.TextWordWrap, whyNotDrawn())
        else:
            self._view.resize(self.width, self.height)
            pixels = self._view.pixels()
            rows, columns, _ = pixels.shape
            painter.drawImage(self.rect, qt.QImage(pixels.data, columns, rows, 3 * columns, qt.QImage.Format_RGB888))
        painter.end()

    def renderWindow(self):
        return self._view.window

    def renderer(self):
        return self._view.renderer


class _ManagedViewWidget(_ViewWidget):
    def interactor(self):
        return self._view.interactor


@cppClass
class qMRMLSliceView(_ManagedViewWidget):
    def mrmlSliceNode(self):
        return self._view.node


@cppClass
class qMRMLThreeDView(_ManagedViewWidget):
    def mrmlViewNode(self):
        return self._view.node

    def cameraNode(self):
        return self._view.camera

    def resetFocalPoint(self) -> None:
        self._view.resetFocalPoint()

    def resetCamera(self, resetRotation=True, resetTranslation=True, resetDistance=True) -> None:
        self._view.resetCamera(resetRotation, resetTranslation, resetDistance)


@cppClass
class qMRMLPlotView(_ViewWidget):
    def mrmlPlotViewNode(self):
        return self._view.node


@cppClass
class _Controller(qt.QWidget):
    """The bar above a view, in the view's color, with its label."""

    _view, _label = None, None

    def __init__(self, view, color: tuple[float, float, float]):
        super().__init__()
        self._view = view
        color = "#" + "".join(f"{round(255 * part):02x}" for part in color)
        self.objectName = "Controller"
        self.setAttribute(qt.Qt.WA_StyledBackground)
        self.setStyleSheet(f"#Controller {{background: {color}}} QLabel {{color: black; font-weight: bold}}")
        row = qt.QHBoxLayout(self)
        row.setContentsMargins(6, 1, 6, 1)
        self._label = qt.QLabel(view.node.GetLayoutLabel() or "")
        row.addWidget(self._label)
        row.addStretch(1)


@cppClass
class qMRMLSliceControllerWidget(_Controller):
    """Label, slider and offset of a slice view."""

    _slider, _offset = None, None

    def __init__(self, view):
        super().__init__(view, view.node.GetLayoutColor())
        self._slider, self._offset = qt.QSlider(qt.Qt.Horizontal), qt.QLabel()
        self._offset.setMinimumWidth(90)
        self._offset.setAlignment(qt.Qt.AlignRight | qt.Qt.AlignVCenter)
        self.layout().insertWidget(1, self._slider, 8)
        self.layout().addWidget(self._offset)
        self._slider.valueChanged.connect(lambda tenths: self.setSliceOffsetValue(tenths / 10))

    def sliceLogic(self):
        return self._view.logic

    def mrmlSliceNode(self):
        return self._view.node

    def mrmlSliceCompositeNode(self):
        return self._view.logic.GetSliceCompositeNode()

    def fitSliceToBackground(self) -> None:
        self._view.logic.FitSliceToBackground()
        self._view.node.UpdateMatrices()

    def setSliceOffsetValue(self, offset: float) -> None:
        self._view.logic.SetSliceOffset(offset)

    def paintEvent(self, event) -> None:
        self._showOffset()
        super().paintEvent(event)

    def _showOffset(self) -> None:
        node, offset = self._view.node, self._view.logic.GetSliceOffset()
        normal = [node.GetSliceToRAS().GetElement(row, 2) for row in range(3)]
        self._offset.text = f"{node.GetDirectionLabel(normal, True)}: {offset:.1f}mm"
        bounds = [0.0] * 6
        self._view.logic.GetLowestVolumeSliceBounds(bounds)
        blocked = self._slider.blockSignals(True)
        self._slider.setRange(round(10 * bounds[4]), round(10 * bounds[5]))
        self._slider.value = round(10 * offset)
        self._slider.blockSignals(blocked)


@cppClass
class _ViewFrame(qt.QFrame):
    """A view with its bar: what a layout arranges."""

    _controller, _viewWidget = None, None

    def __init__(self, controller, viewWidget):
        super().__init__()
        self._controller, self._viewWidget = controller, viewWidget
        column = qt.QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(controller)
        column.addWidget(viewWidget, 1)

    def viewWidget(self):
        return self._viewWidget


@cppClass
class qMRMLSliceWidget(_ViewFrame):
    def __init__(self, node, applicationLogic):
        view = SliceView(node, applicationLogic)
        super().__init__(qMRMLSliceControllerWidget(view), qMRMLSliceView(view))

    def sliceView(self):
        return self._viewWidget

    def sliceController(self):
        return self._controller

    def sliceLogic(self):
        return self._controller.sliceLogic()

    def mrmlSliceNode(self):
        return self._controller.mrmlSliceNode()

    def mrmlSliceCompositeNode(self):
        return self._controller.mrmlSliceCompositeNode()


@cppClass
class qMRMLThreeDWidget(_ViewFrame):
    def __init__(self, node, applicationLogic):
        view = ThreeDView(node, applicationLogic)
        super().__init__(_Controller(view, view.node.GetThreeDViewBlueColor()), qMRMLThreeDView(view))

    def threeDView(self):
        return self._viewWidget

    def mrmlViewNode(self):
        return self._viewWidget.mrmlViewNode()


@cppClass
class qMRMLPlotWidget(_ViewFrame):
    def __init__(self, node, _applicationLogic):
        view = PlotView(node)
        super().__init__(_Controller(view, (0.88, 0.88, 0.88)), qMRMLPlotView(view))

    def plotView(self):
        return self._viewWidget

    def mrmlPlotViewNode(self):
        return self._viewWidget.mrmlPlotViewNode()
