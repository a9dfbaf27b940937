"""Ties widgets and parameters: what ``connectGui`` of parameternode.py makes for each widget, by its exact class."""

import enum

import ctk
import qt
import slicer

from .annotations import PATHS, Choice, Decimals, Maximum, Minimum, SingleStep, WithinRange


class _Connector:
    """A widget and a parameter that follow each other."""

    def __init__(self, widget, wrapper, name: str, signal: str, value: str):
        self.widget, self.wrapper, self.name = widget, wrapper, name
        self.signal, self.value = getattr(widget, signal), value

    def connect(self) -> None:
        self.signal.connect(self._changed)

    def disconnect(self) -> None:
        self.signal.disconnect(self._changed)

    def read(self):
        return getattr(self.widget, self.value)

    def write(self, value) -> None:
        if self.read() != value:
            setattr(self.widget, self.value, value)

    def _changed(self) -> None:
        if not self.wrapper._updatingGui:
            self.wrapper.setValue(self.name, self.read())


class _NumberConnector(_Connector):
    def __init__(self, widget, wrapper, name: str):
        super().__init__(widget, wrapper, name, "valueChanged", "value")
        self.kind = wrapper.allParameters[name].kind
        annotations = {type(each): each for each in wrapper._annotations[name]}
        hasDecimals = not isinstance(widget, qt.QSpinBox | qt.QSlider | ctk.ctkDoubleSlider)
        if hasDecimals and self.kind is int:
            widget.decimals = 0
        elif hasDecimals and Decimals in annotations:
            widget.decimals = annotations[Decimals].value
        if SingleStep in annotations:
            widget.singleStep = annotations[SingleStep].value
        within, low, high = (annotations.get(each) for each in (WithinRange, Minimum, Maximum))
        if within is None and None in (low, high) and not isinstance(widget, qt.QAbstractSpinBox):
            raise RuntimeError(f"'{name}' needs WithinRange to be shown by a slider")
        lowest, highest = (-(2**31), 2**31 - 1) if isinstance(widget, qt.QSpinBox) else (float("-inf"), float("inf"))
        widget.minimum = (within or low).minimum if within or low else lowest
        widget.maximum = (within or high).maximum if within or high else highest

    def read(self):
        return self.kind(self.widget.value)


class _ChoiceConnector(_Connector):
    """A combo box over an Enum (by its ``label``), or over the values of a ``Choice``."""

    def __init__(self, widget, wrapper, name: str):
        super().__init__(widget, wrapper, name, "currentIndexChanged", "currentIndex")
        kind = wrapper.allParameters[name].kind
        if issubclass(kind, enum.Enum):
            self.values = list(kind)
            labels = [getattr(kind, "label", lambda each: each.name)(each) for each in self.values]
        else:
            choice = next((each for each in wrapper._annotations[name] if isinstance(each, Choice)), None)
            if choice is None:
                raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
            self.values = list(choice.choices)
            labels = [str(each) for each in self.values]
        widget.clear()
        widget.addItems(labels)

    def read(self):
        return self.values[self.widget.currentIndex]

    def write(self, value) -> None:
        self.widget.currentIndex = self.values.index(value)


class _PathConnector(_Connector):
    def read(self):
        return self.wrapper.allParameters[self.name].kind(getattr(self.widget, self.value))

    def write(self, value) -> None:
        setattr(self.widget, self.value, str(value))


class _TextConnector(_Connector):
    def read(self):
        return self.widget.toPlainText()

    def write(self, value) -> None:
        self.widget.setPlainText(value)


class _LabelConnector(_Connector):
    def __init__(self, widget, wrapper, name: str):
        super().__init__(widget, wrapper, name, "linkActivated", "text")

    def connect(self) -> None:
        """A label does not change by itself."""

    disconnect = connect


class _NodeConnector(_Connector):
    def __init__(self, widget, wrapper, name: str):
        super().__init__(widget, wrapper, name, "currentNodeChanged", "")
        parameter = wrapper.allParameters[name]
        kinds = [parameter] if not hasattr(parameter, "parameters") else parameter.parameters
        widget.nodeTypes = [each.kind().GetClassName() for each in kinds if each.kind is not type(None)]

    def read(self):
        return self.widget.currentNode()

    def write(self, value) -> None:
        self.widget.setCurrentNode(value)


def connectorOf(widget, wrapper, name: str) -> _Connector:
    """What ties this widget, by its exact class as in Slicer, to this parameter."""
    parameter, cls = wrapper.allParameters[name], type(widget)
    kind = getattr(parameter, "kind", None)
    isNumber = kind in (int, float)
    realNumbers = (qt.QDoubleSpinBox, ctk.ctkSliderWidget, ctk.ctkDoubleSlider, ctk.ctkDoubleSpinBox)
    if kind is bool and cls is qt.QCheckBox:
        return _Connector(widget, wrapper, name, "stateChanged", "checked")
    if kind is bool and cls is qt.QPushButton:
        widget.checkable = True
        return _Connector(widget, wrapper, name, "toggled", "checked")
    if (isNumber and cls in realNumbers) or (kind is int and cls in (qt.QSlider, qt.QSpinBox)):
        return _NumberConnector(widget, wrapper, name)
    if cls in (qt.QComboBox, ctk.ctkComboBox) and (kind in (int, float, str, bool) or _isEnum(kind)):
        return _ChoiceConnector(widget, wrapper, name)
    if kind is str and cls is qt.QLineEdit:
        return _Connector(widget, wrapper, name, "textChanged", "text")
    if kind is str and cls is qt.QLabel:
        return _LabelConnector(widget, wrapper, name)
    if kind is str and cls is qt.QTextEdit:
        return _TextConnector(widget, wrapper, name, "textChanged", "")
    if kind in PATHS and cls is ctk.ctkPathLineEdit:
        return _PathConnector(widget, wrapper, name, "currentPathChanged", "currentPath")
    if parameter.isNode and cls is slicer.qMRMLNodeComboBox:
        return _NodeConnector(widget, wrapper, name)
    raise RuntimeError(f"Unable to create GUI connector from parameter '{name}' to widget type '{cls.__name__}'.")


def _isEnum(kind) -> bool:
    return isinstance(kind, type) and issubclass(kind, enum.Enum)
