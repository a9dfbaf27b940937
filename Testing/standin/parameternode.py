"""``slicer.parameterNodeWrapper``, the part that modules use most: typed attributes over a vtkMRMLScriptedModuleNode.

The types: bool, int, float, str, pathlib.Path, an Enum, a node class, and ``X | None`` of these. Values are written as
Slicer writes them, so that scenes saved with either load in the other. As in Slicer, a value that breaks its annotation
raises, and a widget is connected by its exact class. Not here: parameterPack, lists, dicts, ``Any``, colors, and making
a user interface of the class.
"""

import enum
import types
import typing

import qt
import slicer
import vtk

from .annotations import *  # noqa: F403  (what modules import from slicer.parameterNodeWrapper)
from .annotations import PATHS, Default, IsInstance, NotNone, Validator
from .parametergui import connectorOf

PROPERTY = "SlicerParameterName"


# --- One parameter of the node ----------------------------------------------------------------------------------------


class _Parameter:
    """Reads and writes one value under its name, in text."""

    def __init__(self, kind: type, validators: list):
        self.kind, self.validators = kind, validators
        numbers = (int, float) if kind is float else kind
        self.checks = [IsInstance(numbers), *([] if self.isNode else [NotNone()]), *validators]

    @property
    def isNode(self) -> bool:
        return issubclass(self.kind, slicer.vtkMRMLNode)

    def default(self):
        if self.isNode:
            return None
        if issubclass(self.kind, enum.Enum):
            return next(iter(self.kind))
        return 0 if self.kind is float else self.kind()

    def isIn(self, node, name: str) -> bool:
        return bool(node.HasParameter(name))

    def validate(self, value) -> None:
        for check in self.checks:
            check.validate(value)

    def write(self, node, name: str, value) -> None:
        self.validate(value)
        if self.isNode:
            node.SetParameter(name, "")
            node.SetNodeReferenceID(name, value.GetID() if value is not None else None)
        elif issubclass(self.kind, enum.Enum):
            node.SetParameter(name, value.name)
        elif self.kind is bool:
            node.SetParameter(name, "True" if value else "False")
        else:
            node.SetParameter(name, str(value))

    def read(self, node, name: str):
        if self.isNode:
            return node.GetNodeReference(name)
        text = node.GetParameter(name)
        if issubclass(self.kind, enum.Enum):
            return self.kind[text]
        return text == "True" if self.kind is bool else self.kind(text)

    def remove(self, node, name: str) -> None:
        node.UnsetParameter(name)
        if self.isNode:
            node.RemoveNodeReferenceIDs(name)


class _None(_Parameter):
    """The None of ``X | None``: the name's presence is its value."""

    def __init__(self):
        super().__init__(type(None), [])
        self.checks = []

    def write(self, node, name: str, value) -> None:
        node.SetParameter(name, "True")

    def read(self, node, name: str):
        return None


class _Union(_Parameter):
    """One of several types, each under a separate name: ``name.0``, ``name.1``."""

    def __init__(self, parameters: list[_Parameter], validators: list):
        self.parameters, self.validators = parameters, validators

    isNode = property(lambda self: all(isinstance(each, _None) or each.isNode for each in self.parameters))

    def default(self):
        return None if isinstance(self.parameters[-1], _None) else self.parameters[0].default()

    def isIn(self, node, name: str) -> bool:
        return any(each.isIn(node, f"{name}.{index}") for index, each in enumerate(self.parameters))

    def write(self, node, name: str, value) -> None:
        for validator in self.validators:
            validator.validate(value)
        for index, each in enumerate(self.parameters):
            if isinstance(value, each.kind):
                each.validate(value)
                self.remove(node, name)
                each.write(node, f"{name}.{index}", value)
                return
        raise TypeError(f"Unable to write value {value!r}")

    def read(self, node, name: str):
        for index, each in enumerate(self.parameters):
            if each.isIn(node, f"{name}.{index}"):
                return each.read(node, f"{name}.{index}")
        return None

    def remove(self, node, name: str) -> None:
        for index, each in enumerate(self.parameters):
            each.remove(node, f"{name}.{index}")


def _parameter(annotated) -> tuple[_Parameter, list]:
    """What reads and writes this annotation, and its other annotations."""
    kind, *annotations = typing.get_args(typing.Annotated[annotated, None])[:-1]
    validators = [each for each in annotations if isinstance(each, Validator)]
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        parts = [_None() if part is type(None) else _parameter(part)[0] for part in typing.get_args(kind)]
        return _Union(parts, validators), annotations
    known = (bool, int, float, str, *PATHS)
    if not isinstance(kind, type) or not (kind in known or issubclass(kind, (enum.Enum, slicer.vtkMRMLNode))):
        raise Exception(f"Unable to create serializer for type: {kind}")
    return _Parameter(kind, validators), annotations


# --- The wrapper ------------------------------------------------------------------------------------------------------


def parameterNodeWrapper(classtype=None):
    """Class decorator: each annotated name becomes an attribute that is kept in the parameter node."""
    return _wrap(classtype) if classtype is not None else _wrap


def _wrap(cls: type) -> type:
    cls.allParameters, cls._defaults, cls._annotations = {}, {}, {}
    for name, annotated in typing.get_type_hints(cls, include_extras=True).items():
        parameter, annotations = _parameter(annotated)
        given = next((each for each in annotations if isinstance(each, Default)), Default(parameter.default()))
        cls.allParameters[name], cls._annotations[name] = parameter, annotations
        cls._defaults[name] = Default(getattr(cls, name)) if hasattr(cls, name) else given
        setattr(cls, name, property(*_accessors(name)))
    reserved = [name for name in vars(_Wrapper) if not name.startswith("__") and hasattr(cls, name)]
    if reserved:
        raise ValueError(f"Cannot use reserved name '{reserved[0]}' in a parameterNodeWrapper")
    for name, member in vars(_Wrapper).items():
        if not name.startswith("__") or name == "__init__":
            setattr(cls, name, member)
    return cls


def _accessors(name: str):
    return (lambda self: self.getValue(name)), (lambda self, value: self.setValue(name, value))


class _Wrapper:
    """What the decorated class gets."""

    _is_parameter_node_wrapper = True

    def __init__(self, parameterNode, prefix: str | None = None):
        self.parameterNode = parameterNode
        self._prefix = prefix or ""
        self._guis = {}
        self._updatingGui = False
        for name, parameter in self.allParameters.items():
            if not parameter.isIn(parameterNode, self._prefix + name):
                self.setValue(name, self._defaults[name].value)

    def default(self, name: str) -> Default:
        return self._defaults[self._checked(name)]

    def getValue(self, name: str):
        return self.allParameters[self._checked(name)].read(self.parameterNode, self._prefix + name)

    def setValue(self, name: str, value) -> None:
        with slicer.util.NodeModify(self.parameterNode):
            self.allParameters[self._checked(name)].write(self.parameterNode, self._prefix + name, value)

    def _checked(self, name: str) -> str:
        if name not in self.allParameters:
            raise ValueError(f"Cannot find a param with the given name: {name}")
        return name

    def connectGui(self, gui) -> int:
        """Tie the widgets whose "SlicerParameterName" is a parameter's name; the tag for ``disconnectGui``."""
        widgets = gui.findChildren(qt.QWidget) if hasattr(gui, "isWidgetType") else vars(gui).values()
        named = {widget.property(PROPERTY): widget for widget in widgets if hasattr(widget, "property")}
        return self.connectParametersToGui({name: widget for name, widget in named.items() if name})

    def connectParametersToGui(self, mapping: dict) -> int:
        connectors = {name: connectorOf(widget, self, self._checked(name)) for name, widget in mapping.items()}
        for name, connector in connectors.items():
            connector.write(self.getValue(name))
            connector.connect()
        tag = max(self._guis, default=-1) + 1
        observer = self.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda caller, event: self._updateGui())
        self._guis[tag] = connectors, observer
        return tag

    def disconnectGui(self, tag: int) -> None:
        if tag in self._guis:
            connectors, observer = self._guis.pop(tag)
            for connector in connectors.values():
                connector.disconnect()
            self.RemoveObserver(observer)

    def _updateGui(self) -> None:
        if self._updatingGui:
            return
        self._updatingGui = True
        try:
            for connectors, _observer in self._guis.values():
                for name, connector in connectors.items():
                    connector.write(self.getValue(name))
        finally:
            self._updatingGui = False

    def StartModify(self):
        return self.parameterNode.StartModify()

    def EndModify(self, wasModified):
        return self.parameterNode.EndModify(wasModified)

    def AddObserver(self, event, callback, priority=0.0):
        return self.parameterNode.AddObserver(event, callback, priority)

    def RemoveObserver(self, tag) -> None:
        self.parameterNode.RemoveObserver(tag)

    def Modified(self) -> None:
        self.parameterNode.Modified()
