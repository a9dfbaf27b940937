"""Makes PyQt5 behave as PythonQt does inside Slicer: ``import qt`` gives the module that is made here.

Slicer wraps Qt with PythonQt, which differs from PyQt5 in ways that decide whether a module runs. ``install`` changes
the classes of PyQt5 in place, so that objects that Qt makes by itself (the scroll bar of a text edit) behave as well,
and so that ``type(widget) is qt.QPushButton`` holds. Copied from PythonQt, by its source and by what was measured:

- a Qt property is an attribute: ``b.text``, ``b.text = "x"``, not ``b.text()``; ``b.setText("x")`` is there too;
- setting or reading an unknown attribute of a C++ object raises; children and dynamic properties are read by name;
- ``w.connect("clicked()", f)`` and ``w.clicked.connect(f)``; connections keep what they call alive; a function gets
  as many arguments as it takes; an exception in it is printed, kept in ``errorsInSlots``, and goes no further;
- a float for an int argument is rounded down, and any value for a text property becomes text;
- objects are true, be they empty or not, until they are deleted;
- lists come back as tuples, and a file dialog gives a path without its filter.

Harsher than PythonQt: connecting to a signal that is not there raises, where Slicer silently ignores it.
What it cannot show: PythonQt's rules of who deletes what, and its choice among overloaded C++ methods.
"""

import functools
import inspect
import math
import re
import sys
import traceback
import types

from PyQt5 import QtCore, QtGui, QtNetwork, QtPrintSupport, QtSvg, QtWidgets, sip

MODULES = QtCore, QtGui, QtWidgets, QtSvg, QtNetwork, QtPrintSupport
# Properties by Qt's tables, yet methods in PythonQt: they are virtual, or a static method has the same name.
NOT_PROPERTIES = {"sizeHint", "minimumSizeHint", "duration", "singleShot"}
RETURN_MORE_THAN_PYTHONQT = {
    QtWidgets.QFileDialog: ("getOpenFileName", "getOpenFileNames", "getSaveFileName"),
    QtWidgets.QInputDialog: ("getText", "getItem", "getInt", "getDouble", "getMultiLineText"),
}
# Methods that Qt's own C++ calls on a Python subclass: PyQt5 would take a change for an override.
VIRTUAL = {
    "match",
    "mimeTypes",
    "selectedIndexes",
    "setData",
    "setEditorData",
    "setGeometry",
    "setHeaderData",
    "setItemData",
    "setModel",
    "setModelData",
    "setReadBufferSize",
    "setRootIndex",
    "setSelection",
    "setSelectionModel",
    "setSocketDescriptor",
    "setSocketOption",
    "setVisible",
    "splitPath",
}
CONVERT = {"int": math.floor, "bool": bool, "str": str, "float": float}
CONVERTIBLE = re.compile(r"\(self, .*: (Optional\[)?(int|bool|str|float)\b")
PYTHON_TYPES = {"bool": bool, "int": int, "double": float, "QString": str}

_MISSING = object()
_errorsInSlots: list[BaseException] = []
_cppClasses: set[type] = set()
_signatures: dict[int, list[str]] = {}  # of the signals that Signal() made, by their id
_connections: dict[int, list] = {}  # of each sender, by its address: (name, overload, function, PyQt's signal, slot)


def install(errorsInSlots: list[BaseException]) -> types.ModuleType:
    """Change PyQt5's classes, and return the module that Slicer calls ``qt``; errors in slots go to the list."""
    global _errorsInSlots
    _errorsInSlots = errorsInSlots
    qt = types.ModuleType("qt", "A stand-in for Slicer's qt, on PyQt5.")
    for module in MODULES:
        public = {name: value for name, value in vars(module).items() if not name.lower().startswith(("_", "pyqt"))}
        vars(qt).update(public)
    classes = {value for value in vars(qt).values() if inspect.isclass(value) and issubclass(value, QtCore.QObject)}
    for cls in sorted(classes, key=lambda cls: len(cls.__mro__)):
        _changeClass(cls)
    _changeEveryObject(QtCore.QObject)
    _changeProgressBar(QtWidgets.QProgressBar)
    _changeStaticMethods()
    qt.Signal, qt.Slot, qt.Property = QtCore.pyqtSignal, QtCore.pyqtSlot, QtCore.pyqtProperty
    sys.modules["qt"] = qt
    sys.excepthook = _keepUncaught
    return qt


def cppClass(cls: type) -> type:
    """Give a Python class of the stand-in (a ctk or qMRML widget) the strictness of a class of C++.

    Its private state is what it declares with an underscore: of what is no property, those names alone may be set.
    """
    _cppClasses.add(cls)
    for name, member in list(vars(cls).items()):
        if isinstance(member, QtCore.pyqtSignal):
            setattr(cls, name, _Signal(name, member))
    return cls


def Signal(*overloads: str) -> QtCore.pyqtSignal:
    """A signal of a ``cppClass`` with these C++ parameters, one string for each overload: ``Signal("int", "")``."""
    parameters = [[part for part in overload.split(",") if part] for overload in overloads or ("",)]
    signal = QtCore.pyqtSignal(*[[PYTHON_TYPES.get(kind, object) for kind in kinds] for kinds in parameters])
    _signatures[id(signal)] = list(overloads) or [""]
    return signal


# --- Properties and methods -------------------------------------------------------------------------------------------


def _changeClass(cls: type) -> None:
    _cppClasses.add(cls)
    own = dict(vars(cls))
    for name, member in own.items():
        if isinstance(member, QtCore.pyqtSignal):
            setattr(cls, name, _Signal(name, member))
        elif name not in VIRTUAL and re.search(r"\(self.*-> List\[", _doc(cls, name)):
            setattr(cls, name, _wrapped(member, _listAsTuple))
        elif name not in VIRTUAL and name.startswith("set") and CONVERTIBLE.search(_doc(cls, name)):
            setattr(cls, name, _wrapped(member, _converted))
        elif name == "__len__":
            delattr(cls, name)
    meta = cls.staticMetaObject
    for index in range(meta.propertyOffset(), meta.propertyCount()):
        name = meta.property(index).name()
        if name not in NOT_PROPERTIES and (cls, name) != (QtWidgets.QProgressBar, "text"):
            setattr(cls, name, _CppProperty(cls, meta.property(index)))


class _CppProperty(property):
    """A property of C++ as an attribute, read and written by PyQt's methods where it has them."""

    def __init__(self, cls: type, metaProperty):
        name = metaProperty.name()
        capital = name[0].upper() + name[1:]
        names = (name, "is" + capital, "has" + capital, "set" + capital)
        read, isTrue, has, write = (_method(cls, name) for name in names)
        self.read = read or isTrue or has or (lambda widget: widget.property(name))
        self.write = write or (lambda widget, value: widget.setProperty(name, value))
        self.name, self.kind, self.writable = name, metaProperty.typeName(), metaProperty.isWritable()
        super().__init__(self.read, self.set)

    def set(self, widget, value) -> None:
        if not self.writable:
            raise AttributeError(f"Property '{self.name}' of {type(widget).__name__} object is not writable")
        convert = CONVERT.get({"QString": "str", "double": "float"}.get(self.kind, self.kind), _asIs)
        try:
            self.write(widget, convert(value))
        except TypeError as error:
            message = f"Property '{self.name}' of type '{self.kind}' does not accept {value!r}"
            raise AttributeError(message) from error


def _doc(cls: type, name: str) -> str:
    """PyQt's signatures of a method, a line each."""
    return getattr(cls, name, None).__doc__ or ""


def _method(cls: type, name: str):
    """PyQt's method of this name as a function of the object and its arguments; None if PyQt has no such method."""
    method = getattr(cls, name, None)
    if isinstance(method, types.BuiltinFunctionType) and "(self" not in (method.__doc__ or ""):  # a static one
        return lambda _widget, *arguments: method(*arguments)
    return None if isinstance(method, property) else method


def _wrapped(member, call):
    @functools.wraps(member, updated=())
    def method(self, *arguments, **named):
        return call(member.__get__(self, type(self)), arguments, named)

    return method


def _listAsTuple(method, arguments, named):
    result = method(*arguments, **named)
    return tuple(result) if isinstance(result, list) else result


def _converted(method, arguments, named):
    """Call it with what is given; where PyQt does not take that, with what PythonQt makes of it."""
    try:
        return method(*arguments, **named)
    except TypeError:
        for signature in (method.__doc__ or "").splitlines():
            kinds = re.findall(r"\w+: (?:Optional\[)?(\w+)", signature)
            if len(kinds) == len(arguments):
                values = [CONVERT.get(kind, _asIs)(value) for kind, value in zip(kinds, arguments, strict=True)]
                return method(*values, **named)
        raise


def _asIs(value):
    return value


# --- What every object does -------------------------------------------------------------------------------------------


def _changeEveryObject(QObject: type) -> None:
    originalGet, originalSet = QObject.__getattr__, QObject.__setattr__

    def get(self, name: str):
        """Called for names that the class does not have: a dynamic property, a signal not listed by PyQt, a child."""
        if name.startswith("__") or sip.isdeleted(self):
            raise AttributeError(name)
        value = self.property(name)
        if value is not None:
            return value
        try:
            return originalGet(self, name)
        except AttributeError:
            children = [child for child in self.children() if child.objectName == name]
        if not children:
            raise AttributeError(f"{type(self).__name__} has no attribute named '{name}'")
        return children[0]

    def set_(self, name: str, value) -> None:
        member = inspect.getattr_static(type(self), name, _MISSING)
        isCpp = type(self) in _cppClasses
        if isinstance(member, QtCore.pyqtProperty | property):
            originalSet(self, name, value)
        elif isinstance(member, _Signal | QtCore.pyqtSignal):
            raise AttributeError(f"Signal '{name}' can not be overwritten on {type(self).__name__} object")
        elif _isMethodOfQt(member) or (isCpp and callable(member)):
            raise AttributeError(f"Slot '{name}' can not be overwritten on {type(self).__name__} object")
        elif isCpp and not (name.startswith("_") and member is not _MISSING):
            raise AttributeError(
                f"'{name}' does not exist on {type(self).__name__}, "
                "and creating new attributes on C++ objects is not allowed"
            )
        else:
            originalSet(self, name, value)

    QObject.__getattr__, QObject.__setattr__ = get, set_
    QObject.__bool__ = lambda self: not sip.isdeleted(self)
    QObject.name = QObject.objectName
    QObject.className = lambda self: type(self).__name__
    QObject.delete = lambda self: sip.delete(self)
    QObject.connect, QObject.disconnect = _connectBySignature, _disconnectBySignature


def _changeProgressBar(QProgressBar: type) -> None:
    """Its text is a property, and virtual: Qt would call a property in the class as if it were an override."""
    text, original = QProgressBar.text, QProgressBar.__getattribute__
    QProgressBar.__getattribute__ = lambda self, name: text(self) if name == "text" else original(self, name)


def _isMethodOfQt(member) -> bool:
    return type(member).__module__ == "sip" or getattr(member, "__wrapped__", None) is not None


def _changeStaticMethods() -> None:
    for cls, names in RETURN_MORE_THAN_PYTHONQT.items():
        for name in names:
            setattr(cls, name, _firstResult(getattr(cls, name)))
    singleShot = QtCore.QTimer.singleShot
    QtCore.QTimer.singleShot = staticmethod(lambda msec, function: singleShot(int(msec), _Slot(function, 0).call))


def _firstResult(function):
    @staticmethod
    @functools.wraps(function)
    def call(*arguments, **named):
        first = function(*arguments, **named)[0]
        return tuple(first) if isinstance(first, list) else first

    return call


# --- Signals and slots ------------------------------------------------------------------------------------------------


class _Signal:
    """A signal as a class holds it; through an object it is a ``_BoundSignal``."""

    def __init__(self, name: str, signal):
        self.name, self.signal = name, signal
        self.overloads = _signatures.get(id(signal))

    def __get__(self, sender, owner=None):
        return self if sender is None else _BoundSignal(sender, self.name, self.signal.__get__(sender), self.overloads)


class _BoundSignal:
    """What ``widget.clicked`` is: connects, disconnects and emits; without a signature its first overload is meant."""

    def __init__(self, sender, name: str, signal, overloads: list[str] | None = None):
        self._sender, self._name, self._signal = sender, name, signal
        self._overloads = overloads or _overloadsOf(sender, name)

    def connect(self, function) -> bool:
        return self._connect(function, self._overloads[0])

    def disconnect(self, function=None) -> bool:
        return self._disconnect(function, self._overloads[0])

    def emit(self, *arguments) -> None:
        fitting = [overload for overload in self._overloads if len(_kinds(overload)) == len(arguments)]
        self._signalOf(fitting[0] if fitting else self._overloads[0]).emit(*arguments)

    __call__ = emit

    def _connect(self, function, overload: str) -> bool:
        if not callable(function):
            raise ValueError(f"{function!r} cannot be called when {self._name} comes")
        slot = _Slot(function, len(_kinds(overload))).call
        signal = self._signalOf(overload)
        signal.connect(slot)
        address = sip.unwrapinstance(self._sender)
        if address not in _connections:
            _connections[address] = []
            QtCore.pyqtBoundSignal.connect(_raw(self._sender, "destroyed"), lambda: _connections.pop(address, None))
        _connections[address].append((self._name, overload, function, signal, slot))
        return True

    def _disconnect(self, function, overload: str) -> bool:
        connections = _connections.get(sip.unwrapinstance(self._sender), [])
        found = [c for c in connections if c[:2] == (self._name, overload) and (function is None or c[2] == function)]
        for connection in found if function is None else found[:1]:
            connection[3].disconnect(connection[4])
            connections.remove(connection)
        return bool(found)

    def _signalOf(self, overload: str):
        """PyQt's signal of these C++ parameters; "clicked()" is the "clicked(bool)" of PyQt."""
        kinds = [PYTHON_TYPES.get(kind, object) if _isOurs(self) else kind for kind in _kinds(overload)]
        try:
            return self._signal[tuple(kinds) if len(kinds) != 1 else kinds[0]]
        except KeyError:
            return self._signal


class _Slot:
    """Calls a Python function as PythonQt does: with the arguments it takes, and never raising."""

    def __init__(self, function, count: int):
        self.function = function
        code = getattr(getattr(function, "__func__", function), "__code__", None)
        if code is not None and not code.co_flags & inspect.CO_VARARGS:
            count = min(count, code.co_argcount - inspect.ismethod(function))
        self.count = count
        # A plain function: PyQt holds these strongly, and methods weakly.
        self.call = lambda *arguments: self._call(arguments)

    def _call(self, arguments) -> None:
        try:
            self.function(*arguments[: self.count])
        except Exception as error:
            keepError(error)


def keepError(error: BaseException) -> None:
    """Print an error in a slot, as Slicer does, and keep it for the tests."""
    traceback.print_exception(error)
    _errorsInSlots.append(error)


def _keepUncaught(kind, error, trace) -> None:
    keepError(error)


def _connectBySignature(sender, signature: str, receiver, slot: str | None = None) -> bool:
    """``w.connect("clicked()", f)``, or ``w.connect("clicked()", receiver, "close()")``."""
    function = receiver if slot is None else getattr(receiver, slot.split("(")[0])
    signal, overload = _signalBySignature(sender, signature)
    return signal._connect(function, overload)


def _disconnectBySignature(sender, signature: str, receiver=None, slot: str | None = None) -> bool:
    function = receiver if slot is None else getattr(receiver, slot.split("(")[0])
    signal, overload = _signalBySignature(sender, signature)
    return signal._disconnect(function, overload)


def _signalBySignature(sender, signature: str) -> tuple[_BoundSignal, str]:
    name, _, parameters = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode().partition("(")
    signal = getattr(sender, name, None)
    if isinstance(signal, QtCore.pyqtBoundSignal):
        signal = _BoundSignal(sender, name, signal)
    overload = parameters.rstrip(")")
    if not isinstance(signal, _BoundSignal) or overload not in signal._overloads:
        raise AttributeError(f"{type(sender).__name__} has no signal '{signature}'")
    return signal, overload


def _overloadsOf(sender, name: str) -> list[str]:
    """The parameters of each overload of a signal, in C++'s order: ``["bool", ""]`` for clicked."""
    meta = sender.metaObject()
    methods = [meta.method(index) for index in range(meta.methodCount())]
    signals = [m for m in methods if m.methodType() == QtCore.QMetaMethod.Signal and bytes(m.name()).decode() == name]
    return [",".join(bytes(kind).decode() for kind in signal.parameterTypes()) for signal in signals]


def _kinds(overload: str) -> list[str]:
    return [kind for kind in overload.split(",") if kind]


def _isOurs(signal: _BoundSignal) -> bool:
    return "PyQt_PyObject" in signal._signal.signal


def _raw(sender, name: str):
    return inspect.getattr_static(type(sender), name).signal.__get__(sender)
