"""Loads Designer's .ui files: the ``qt.QUiLoader`` that Slicer's own ``slicer.util.loadUI`` asks for.

It reads what Designer writes (widgets, layouts, spacers, actions, tabs, items, properties, connections, tab stops) and
makes the classes of ``qt``, ``ctk`` and ``slicer`` by their names. Harsher than Qt, which warns and goes on: a class, a
property or a signal that is missing raises, naming the file.
"""

import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import ctk
import qt
import slicer

NUMBERS = {"number": int, "double": float, "float": float, "longlong": int, "uint": int}
STRETCHES = {
    "stretch": "setStretch",
    "rowstretch": "setRowStretch",
    "columnstretch": "setColumnStretch",
    "rowminimumheight": "setRowMinimumHeight",
    "columnminimumwidth": "setColumnMinimumWidth",
}


class UiError(RuntimeError):
    """A .ui file that Slicer would not load as it was meant."""


class QUiLoader:
    """``QUiLoader().load(file)``: the top-level widget of a .ui file, its children named as in Designer."""

    def __init__(self, parent=None):
        pass

    def load(self, device, parent=None):
        name = device.fileName() if isinstance(device, qt.QFile) else "?"
        try:
            return _Form(bytes(device.readAll()).decode(), Path(name).parent).build(parent)
        except (UiError, AttributeError, ElementTree.ParseError) as error:
            raise UiError(f"{name}: {error}") from error


class _Form:
    def __init__(self, text: str, folder: Path):
        self.root = ElementTree.fromstring(text)
        self.folder = folder
        self.named = {}
        self.buddies = []

    def build(self, parent):
        top = self.widget(self.root.find("widget"), parent)
        for label, buddy in self.buddies:
            label.setBuddy(self.named[buddy])
        for connection in self.root.iterfind("connections/connection"):
            self.connect(*[connection.findtext(part) for part in ("sender", "signal", "receiver", "slot")])
        stops = [self.find(stop.text) for stop in self.root.iterfind("tabstops/tabstop")]
        for first, second in zip(stops, stops[1:], strict=False):
            qt.QWidget.setTabOrder(first, second)
        return top

    def find(self, name: str):
        if name not in self.named:
            raise UiError(f"there is no '{name}'")
        return self.named[name]

    def connect(self, sender: str, signal: str, receiver: str, slot: str) -> None:
        """The connection lives in C++ and holds neither end."""
        receiver, name = self.find(receiver), slot.partition("(")[0]
        if not callable(getattr(receiver, name, None)):
            raise UiError(f"{type(receiver).__name__} has no slot '{slot}'")
        self.find(sender).connect(signal, receiver, slot)

    # Widgets.

    def widget(self, element, parent):
        widget = _class(element.get("class"))(parent)
        self.name(widget, element)
        self.properties(widget, element)
        for child in element:
            if child.tag == "widget":
                self.placeChild(widget, self.widget(child, widget), child)
            elif child.tag == "layout":
                self.layout(child, widget, _class(child.get("class"))(widget))
            elif child.tag in ("action", "actiongroup"):
                self.action(child, widget)
            elif child.tag == "addaction":
                self.addAction(widget, child.get("name"))
            elif child.tag in ("item", "column", "row"):
                self.item(widget, child)
        self.afterChildren(widget, element)
        return widget

    def name(self, thing, element) -> None:
        thing.setObjectName(element.get("name") or "")
        self.named[element.get("name")] = thing

    def placeChild(self, widget, child, element) -> None:
        attributes = {each.get("name"): self.value(each[0]) for each in element.iterfind("attribute")}
        if isinstance(widget, qt.QTabWidget):
            widget.addTab(child, attributes.get("title", ""))
            widget.setTabToolTip(widget.indexOf(child), attributes.get("toolTip", ""))
        elif isinstance(widget, qt.QStackedWidget | qt.QSplitter):
            widget.addWidget(child)
        elif isinstance(widget, qt.QToolBox):
            widget.addItem(child, attributes.get("label", ""))
        elif isinstance(widget, qt.QScrollArea | qt.QDockWidget):
            widget.setWidget(child)
        elif isinstance(widget, qt.QMainWindow) and isinstance(child, qt.QWidget):
            widget.setCentralWidget(child)

    def afterChildren(self, widget, element) -> None:
        """What is only possible once pages and items are there, and what Designer keeps as attributes."""
        index = element.find("property[@name='currentIndex']/number")
        if index is not None:
            widget.setCurrentIndex(int(index.text))
        for attribute in element.iterfind("attribute"):
            name, value = attribute.get("name"), self.value(attribute[0])
            header = re.match("(horizontalHeader|verticalHeader|header)([A-Z].*)", name)
            if header:
                setattr(getattr(widget, header[1])(), header[2][0].lower() + header[2][1:], value)
            elif name == "buttonGroup":
                self.buttonGroup(widget, value)

    def buttonGroup(self, button, name: str) -> None:
        if name not in self.named:
            element = self.root.find(f"buttongroups/buttongroup[@name='{name}']")
            group = qt.QButtonGroup(button.parent())
            self.name(group, element)
            self.properties(group, element)
        self.named[name].addButton(button)

    def action(self, element, parent) -> None:
        action = qt.QAction(parent) if element.tag == "action" else qt.QActionGroup(parent)
        self.name(action, element)
        self.properties(action, element)

    def addAction(self, widget, name: str) -> None:
        if name == "separator":
            widget.addSeparator()
        elif isinstance(self.find(name), qt.QMenu):
            widget.addMenu(self.find(name))
        else:
            widget.addAction(self.find(name))

    def item(self, widget, element) -> None:
        values = {each.get("name"): self.value(each[0]) for each in element.iterfind("property")}
        text = values.get("text", "")
        if isinstance(widget, qt.QComboBox):
            widget.addItem(values.get("icon", qt.QIcon()), text)
        elif isinstance(widget, qt.QListWidget):
            widget.addItem(text)
        elif isinstance(widget, qt.QTableWidget):
            self.tableItem(widget, element, qt.QTableWidgetItem(text))
        elif isinstance(widget, qt.QTreeWidget) and element.tag == "column":
            column = widget.header().count() if widget.property("_columns") else 0
            widget.setProperty("_columns", True)
            widget.columnCount = column + 1
            widget.headerItem().setText(column, text)
        else:
            raise UiError(f"<{element.tag}> in a {type(widget).__name__}")

    def tableItem(self, table, element, item) -> None:
        if element.tag == "column":
            table.insertColumn(table.columnCount)
            table.setHorizontalHeaderItem(table.columnCount - 1, item)
        elif element.tag == "row":
            table.insertRow(table.rowCount)
            table.setVerticalHeaderItem(table.rowCount - 1, item)
        else:
            table.setItem(int(element.get("row")), int(element.get("column")), item)

    # Layouts.

    def layout(self, element, owner, layout):
        """Fill a layout; its widgets belong to the widget ``owner``."""
        self.name(layout, element)
        margins = {}
        for each in element.iterfind("property"):
            if each.get("name").endswith("Margin"):
                margins[each.get("name")] = self.value(each[0])
            else:
                self.setProperty(layout, each)
        if margins:
            old = layout.contentsMargins()
            sides = ("left", "top", "right", "bottom")
            layout.setContentsMargins(*[margins.get(f"{side}Margin", getattr(old, side)()) for side in sides])
        for item in element.iterfind("item"):
            self.layoutItem(layout, item, owner)
        for attribute, setter in STRETCHES.items():
            for index, value in enumerate((element.get(attribute) or "").split(",")):
                if value:
                    getattr(layout, setter)(index, int(value))
        return layout

    def layoutItem(self, layout, item, owner) -> None:
        child = item[0]
        if child.tag == "widget":
            thing, add = self.widget(child, owner), layout.addWidget
        elif child.tag == "layout":
            thing, add = self.layout(child, owner, _class(child.get("class"))()), getattr(layout, "addLayout", None)
        else:
            thing, add = self.spacer(child), layout.addItem
        row, column = int(item.get("row") or 0), int(item.get("column") or 0)
        rows, columns = int(item.get("rowspan") or 1), int(item.get("colspan") or 1)
        if isinstance(layout, qt.QFormLayout):
            role = qt.QFormLayout.SpanningRole if columns > 1 else qt.QFormLayout.ItemRole(column)
            put = {"widget": layout.setWidget, "layout": layout.setLayout}.get(child.tag, layout.setItem)
            put(row, role, thing)
        elif isinstance(layout, qt.QGridLayout):
            add(thing, row, column, rows, columns)
        else:
            add(thing)
        if item.get("alignment") and child.tag == "widget":
            layout.setAlignment(thing, _enum(item.get("alignment")))

    def spacer(self, element):
        values = {each.get("name"): self.value(each[0]) for each in element.iterfind("property")}
        size, policy = values.get("sizeHint", qt.QSize()), values.get("sizeType", qt.QSizePolicy.Expanding)
        vertical = values.get("orientation") == qt.Qt.Vertical
        policies = (qt.QSizePolicy.Minimum, policy) if vertical else (policy, qt.QSizePolicy.Minimum)
        return qt.QSpacerItem(size.width(), size.height(), *policies)

    # Properties.

    def properties(self, thing, element) -> None:
        for each in element.iterfind("property"):
            self.setProperty(thing, each)

    def setProperty(self, thing, element) -> None:
        name, value = element.get("name"), self.value(element[0])
        if name == "buddy":
            self.buddies.append((thing, value))
        elif name == "currentIndex":
            pass  # once the pages and items are there
        elif name == "geometry" and thing.parent() is None:
            thing.resize(value.size())
        elif name == "orientation" and isinstance(thing, qt.QFrame) and type(thing) is qt.QFrame:
            thing.frameShape = qt.QFrame.HLine if value == qt.Qt.Horizontal else qt.QFrame.VLine
        elif element.get("stdset") == "0":
            thing.setProperty(name, value)
        elif thing.metaObject().indexOfProperty(name) < 0:
            raise UiError(f"{type(thing).__name__} '{thing.objectName}' has no property '{name}'")
        else:
            setattr(thing, name, value)

    def value(self, element):
        """The value of a property, read from its XML."""
        tag, text = element.tag, element.text or ""
        if tag in NUMBERS:
            return NUMBERS[tag](text)
        if tag in ("string", "cstring"):
            return text
        if tag == "bool":
            return text == "true"
        if tag == "stringlist":
            return [each.text or "" for each in element.iterfind("string")]
        if tag in ("enum", "set"):
            return _enum(text)
        parts = {each.tag: each.text for each in element}
        if tag in ("size", "point", "rect"):
            make = {"size": qt.QSize, "point": qt.QPoint, "rect": qt.QRect}[tag]
            return make(*[int(part) for part in parts.values()])
        if tag == "sizepolicy":
            return _sizePolicy(element)
        if tag == "font":
            return _font(parts)
        if tag == "iconset":
            return self.icon(element)
        if tag == "pixmap":
            return qt.QPixmap(self.path(text))
        if tag == "cursorShape":
            return qt.QCursor(getattr(qt.Qt, text))
        if tag == "color":
            return qt.QColor(*[int(parts[color]) for color in ("red", "green", "blue")])
        raise UiError(f"a property value <{tag}>")

    def icon(self, element):
        state = element.find("normaloff")
        return qt.QIcon(self.path((element.text if state is None else state.text) or ""))

    def path(self, text: str) -> str:
        return text if text.startswith(":") else str(self.folder / text)


def _class(name: str) -> type:
    for module in (qt, ctk, slicer):
        if isinstance(getattr(module, name, None), type):
            return getattr(module, name)
    if name == "Line":
        return qt.QFrame
    raise UiError(f"the stand-in has no widget '{name}'")


def _enum(text: str):
    """ "Qt::AlignLeft|Qt::AlignTop", with or without the names of scoped enums that Qt 6 writes."""
    value = 0
    for part in text.split("|"):
        owner, *_scope, name = part.split("::")
        value = value | getattr(_class(owner) if owner != "Qt" else qt.Qt, name)
    return value


def _sizePolicy(element):
    policies = [getattr(qt.QSizePolicy, element.get(name)) for name in ("hsizetype", "vsizetype")]
    policy = qt.QSizePolicy(*policies)
    policy.setHorizontalStretch(int(element.findtext("horstretch") or 0))
    policy.setVerticalStretch(int(element.findtext("verstretch") or 0))
    return policy


def _font(parts: dict):
    font = qt.QFont()
    if "family" in parts:
        font.setFamily(parts["family"])
    if "pointsize" in parts:
        font.setPointSize(int(parts["pointsize"]))
    for name, set_ in (("bold", font.setBold), ("italic", font.setItalic), ("underline", font.setUnderline)):
        if name in parts:
            set_(parts[name] == "true")
    return font
