"""Properties of the widgets that stand in: Qt properties that convert what they are given as PythonQt does."""

import itertools
import math

import qt

CONVERT = {int: math.floor, tuple: lambda values: tuple(map(str, values)), object: lambda value: value}
_counter = itertools.count()


def stored(kind: type, default, then: str = ""):
    """A property of this type that keeps what it is given, and calls the method of the name ``then`` after a change."""
    key = f"_stored{next(_counter)}"

    def read(self):
        return self.__dict__.get(key, default)

    def write(self, value):
        self.__dict__[key], old = as_(kind, value), read(self)
        if then and read(self) != old:
            getattr(self, then)()

    return qt.Property("QStringList" if kind is tuple else kind, read, write)


def delegated(kind: type, child: str, name: str):
    """A property that is the property ``name`` of the widget that the attribute ``child`` holds."""
    return qt.Property(
        kind,
        lambda self: getattr(getattr(self, child), name),
        lambda self, value: setattr(getattr(self, child), name, as_(kind, value)),
    )


def as_(kind: type, value):
    """The value as PythonQt makes it into one of this type; AttributeError where it cannot."""
    if kind is tuple and isinstance(value, str):
        raise AttributeError(f"A list of strings is wanted, not {value!r}, which PythonQt would take apart")
    try:
        return CONVERT.get(kind, kind)(value)
    except (TypeError, ValueError) as error:
        raise AttributeError(f"A property of type {kind.__name__} does not accept {value!r}") from error
