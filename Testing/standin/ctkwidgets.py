"""The widgets of the Common Toolkit that panels use, as ``ctk.ctkSliderWidget``: real Qt widgets that look like theirs.

What PythonQt shows of a CTK widget is its properties, signals and slots, no more (``slider.minimum = 1`` and
``slider.setValue(1)`` work, ``slider.setMinimum(1)`` does not), so no other public name is here. Many properties are
only kept (``stored``): what they would change on the screen is not copied.
"""

import types

import qt

from . import ctknumbers
from .ctknumbers import fillWith
from .properties import stored
from .pythonqt import Signal, cppClass

# --- Buttons ----------------------------------------------------------------------------------------------------------


@cppClass
class ctkCollapsibleButton(qt.QAbstractButton):
    """A titled section that folds; its children are hidden while it is folded."""

    contentsCollapsed = Signal("bool")
    _hidden = ()

    def __init__(self, text="", parent=None):
        text, parent = (text, parent) if isinstance(text, str) else ("", text)
        super().__init__(parent)
        self.text = text
        self.setSizePolicy(qt.QSizePolicy.Preferred, qt.QSizePolicy.Preferred)
        self.checkable = self.checked = True
        self.setContentsMargins(0, self._headerHeight(), 0, 0)
        self.toggled.connect(self._fold)

    collapsed = qt.Property(bool, lambda self: not self.checked, lambda self, value: self.setChecked(not value))

    def _headerHeight(self) -> int:
        return self.fontMetrics().height() + 12

    def _fold(self, expanded: bool) -> None:
        if expanded:
            children = self._hidden
        else:
            widgets = [child for child in self.children() if child.isWidgetType()]
            children = self._hidden = [child for child in widgets if not child.isHidden()]
        for child in children:
            child.setVisible(expanded)
        self.maximumHeight = 16777215 if expanded else self._headerHeight()
        self.updateGeometry()
        self.contentsCollapsed.emit(not expanded)

    def sizeHint(self):
        layout = self.layout()
        header = qt.QSize(self.fontMetrics().width(self.text) + 40, self._headerHeight())
        if self.collapsed or layout is None:
            return header
        return layout.totalSizeHint().expandedTo(header)

    def minimumSizeHint(self):
        layout = self.layout()
        if self.collapsed or layout is None:
            return qt.QSize(0, self._headerHeight())
        return layout.totalMinimumSize()

    def paintEvent(self, event) -> None:
        painter, option = qt.QPainter(self), qt.QStyleOption()
        header = qt.QRect(0, 0, self.size.width(), self._headerHeight())
        painter.fillRect(header.adjusted(0, 1, 0, -1), self.palette.brush(qt.QPalette.Button))
        option.initFrom(self)
        option.rect = qt.QRect(6, (header.height() - 12) // 2, 12, 12)
        arrow = qt.QStyle.PE_IndicatorArrowDown if self.checked else qt.QStyle.PE_IndicatorArrowRight
        self.style().drawPrimitive(arrow, option, painter, self)
        group = qt.QPalette.Normal if self.enabled else qt.QPalette.Disabled
        painter.setPen(self.palette.color(group, qt.QPalette.ButtonText))
        painter.drawText(header.adjusted(24, 0, 0, 0), qt.Qt.AlignVCenter | qt.Qt.TextShowMnemonic, self.text)

    def hitButton(self, position) -> bool:
        return position.y() < self._headerHeight()


# --- Text, lists and paths --------------------------------------------------------------------------------------------


@cppClass
class ctkComboBox(qt.QComboBox):
    defaultText = stored(str, "", then="repaint")
    forceDefault = stored(bool, False)

    def paintEvent(self, event) -> None:
        if self.currentIndex != -1 and not self.forceDefault:
            super().paintEvent(event)
            return
        painter, option = qt.QStylePainter(self), qt.QStyleOptionComboBox()
        self.initStyleOption(option)
        option.currentText = self.defaultText
        painter.drawComplexControl(qt.QStyle.CC_ComboBox, option)
        painter.drawControl(qt.QStyle.CE_ComboBoxLabel, option)


@cppClass
class ctkPathLineEdit(qt.QWidget):
    """A path that can be typed or chosen from a dialog; without the history under ``settingKey``."""

    currentPathChanged = Signal("QString")
    validInputChanged = Signal("bool")
    Dirs, Files, Drives, NoSymLinks, AllEntries, TypeMask = 0x001, 0x002, 0x004, 0x008, 0x007, 0x00F
    Readable, Writable, Executable, Modified, Hidden, System = 0x010, 0x020, 0x040, 0x080, 0x100, 0x200
    AllDirs, CaseSensitive, NoDotAndDotDot, NoDot, NoDotDot, NoFilter = 0x400, 0x800, 0x1000, 0x2000, 0x4000, -1
    label = stored(str, "")
    filters = stored(int, AllEntries)
    options = stored(int, 0)
    nameFilters = stored(tuple, ())
    settingKey = stored(str, "")
    showBrowseButton = stored(bool, True, then="_update")
    sizeAdjustPolicy = stored(int, 1)
    minimumContentsLength = stored(int, 0)
    _comboBox = None
    _button = None

    def __init__(self, parent=None):
        super().__init__(parent)
        self._comboBox, self._button = qt.QComboBox(self), qt.QToolButton(self)
        self._comboBox.editable = True
        self._comboBox.setSizePolicy(qt.QSizePolicy.Expanding, qt.QSizePolicy.Fixed)
        self._comboBox.minimumContentsLength = 10
        self._button.text = "..."
        fillWith(self, self._comboBox, self._button)
        self.setFocusProxy(self._comboBox)
        self._comboBox.connect("editTextChanged(QString)", self.currentPathChanged.emit)
        self._button.connect("clicked()", self.browse)

    def setCurrentPath(self, path: str) -> None:
        self._comboBox.setEditText(path)

    currentPath = qt.Property(
        str, lambda self: self._comboBox.currentText, lambda self, path: self.setCurrentPath(str(path))
    )

    def comboBox(self):
        return self._comboBox

    def browse(self) -> None:
        start, names = self.currentPath, ";;".join(self.nameFilters)
        if not self.filters & self.Files:
            path = qt.QFileDialog.getExistingDirectory(self, self.label or "Select a folder...", start)
        elif self.filters & self.Writable:
            path = qt.QFileDialog.getSaveFileName(self, self.label or "Select a file to save ", start, names)
        else:
            path = qt.QFileDialog.getOpenFileName(self, self.label or "Open a file", start, names)
        if path:
            self.setCurrentPath(path)

    def _update(self) -> None:
        self._button.setVisible(self.showBrowseButton)


# --- The module -------------------------------------------------------------------------------------------------------


def makeModule() -> types.ModuleType:
    """The module that Slicer calls ``ctk``."""
    ctk = types.ModuleType("ctk", "A stand-in for Slicer's ctk.")
    for part in (globals(), vars(ctknumbers)):
        vars(ctk).update(
            {name: value for name, value in part.items() if name.startswith("ctk") and name != "ctknumbers"}
        )
    return ctk
