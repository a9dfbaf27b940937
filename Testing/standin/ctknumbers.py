"""CTK's sliders and spin boxes, which ctkwidgets puts into ``ctk``."""

import qt

from .properties import delegated, stored
from .pythonqt import Signal, cppClass


@cppClass
class ctkDoubleSpinBox(qt.QDoubleSpinBox):
    """Qt's double spin box under CTK's name."""


@cppClass
class ctkDoubleSlider(qt.QWidget):
    """A slider over real numbers, in steps of ``singleStep``."""

    valueChanged = Signal("double")
    tracking = stored(bool, True)
    minimum = stored(float, 0.0, then="_update")
    maximum = stored(float, 99.0, then="_update")
    singleStep = stored(float, 1.0, then="_update")
    _slider = None
    _value = 0.0

    def __init__(self, orientation=qt.Qt.Horizontal, parent=None):
        orientation, parent = (orientation, parent) if isinstance(orientation, int) else (qt.Qt.Horizontal, orientation)
        super().__init__(parent)
        self._slider = qt.QSlider(orientation, self)
        fillWith(self, self._slider)
        self._slider.connect("valueChanged(int)", self._moved)
        self._update()

    orientation = delegated(int, "_slider", "orientation")

    def setValue(self, value: float) -> None:
        value = min(max(float(value), self.minimum), self.maximum)
        if value != self._value:
            self._value = value
            self._showValue()
            self.valueChanged.emit(value)

    value = qt.Property(float, lambda self: self._value, setValue)

    def _update(self) -> None:
        self._slider.blockSignals(True)
        steps = (self.maximum - self.minimum) / self.singleStep
        self._slider.setRange(0, round(min(max(steps, 0), 1e6)))
        self._slider.blockSignals(False)
        self.setValue(self._value)
        self._showValue()

    def _showValue(self) -> None:
        self._slider.blockSignals(True)
        self._slider.value = round(min((self._value - self.minimum) / self.singleStep, 1e6))
        self._slider.blockSignals(False)

    def _moved(self, step: int) -> None:
        self.setValue(self.minimum + step * self.singleStep)


@cppClass
class ctkSliderWidget(qt.QWidget):
    """A slider and a spin box over the same real number."""

    valueChanged = Signal("double")
    pageStep = stored(float, 10.0)
    tracking = stored(bool, True)
    spinBoxVisible = stored(bool, True, then="_update")
    minimum = stored(float, 0.0, then="_update")
    maximum = stored(float, 99.0, then="_update")
    singleStep = stored(float, 1.0, then="_update")
    _slider = None
    _spinBox = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider, self._spinBox = ctkDoubleSlider(qt.Qt.Horizontal, self), ctkDoubleSpinBox(self)
        self._slider.objectName, self._spinBox.objectName = "Slider", "SpinBox"
        fillWith(self, self._slider, self._spinBox)
        self.layout().setStretch(0, 1)
        self.setFocusProxy(self._spinBox)
        self._update()
        self._slider.connect("valueChanged(double)", self._spinBox.setValue)
        self._spinBox.connect("valueChanged(double)", self._changed)

    value = qt.Property(float, lambda self: self._spinBox.value, lambda self, value: self.setValue(value))
    decimals = delegated(int, "_spinBox", "decimals")
    prefix = delegated(str, "_spinBox", "prefix")
    suffix = delegated(str, "_spinBox", "suffix")

    def setValue(self, value: float) -> None:
        self._spinBox.setValue(float(value))

    def reset(self) -> None:
        self.setValue(0)

    def slider(self):
        return self._slider

    def _changed(self, value: float) -> None:
        self._slider.setValue(value)
        self.valueChanged.emit(value)

    def _update(self) -> None:
        for part in (self._spinBox, self._slider):
            part.minimum, part.maximum, part.singleStep = self.minimum, self.maximum, self.singleStep
        self._spinBox.setVisible(self.spinBoxVisible)


def fillWith(widget, *parts) -> None:
    layout = qt.QHBoxLayout(widget)
    layout.setContentsMargins(0, 0, 0, 0)
    for part in parts:
        layout.addWidget(part)
