"""How Slicer's windows look: its light and its dark colors, and a font that every machine has."""

from pathlib import Path

import qt

# The colors of Slicer's styles "Light Slicer" and "Dark Slicer" (qSlicerStyle); "~" is for disabled widgets.
PALETTES = {
    "light": """Window white, WindowText black, ~WindowText #bebebe, Base white, ~Base white, AlternateBase #e4e4fe,
        ToolTipBase #ffffdc, ToolTipText black, Text black, ~Text #bebebe, PlaceholderText #808080, Button #fcfcfc,
        ButtonText black, ~ButtonText #bebebe, BrightText red, Light #c8c8c8, Midlight #e6e6e6, Dark #aaaaaa,
        Mid #c8c8c8, Shadow #5a5a5a, Highlight #308cc6, ~Highlight #919191, HighlightedText white,
        ~HighlightedText white, Link #0000ff""",
    "dark": """Window #323232, WindowText white, ~WindowText #6d6d6d, Base #1e1e1e, ~Base #1e1e1e,
        AlternateBase #323232, ToolTipBase white, ToolTipText #323232, Text white, ~Text #6d6d6d,
        PlaceholderText #c0c0c0, Button #323232, ButtonText white, ~ButtonText #b4b4b4, BrightText #ff4444,
        Light #828284, Midlight #5a5a5b, Dark #232323, Mid #2b2b2b, Shadow #141414, Highlight #3ca4ff,
        ~Highlight #505050, HighlightedText white, ~HighlightedText #6d6d6d, Link #3ca4ff""",
}
FONT = "DejaVu Sans"


def palette(name: str) -> qt.QPalette:
    """Slicer's palette, "light" or "dark"."""
    colors = qt.QApplication.style().standardPalette()
    for entry in PALETTES[name].split(","):
        role, color = entry.split()
        role, group = role.lstrip("~"), qt.QPalette.Disabled if role.startswith("~") else qt.QPalette.All
        colors.setColor(group, getattr(qt.QPalette, role), qt.QColor(color))
    return colors


def setTheme(name: str) -> None:
    """Let every widget look as in Slicer's "light" or "dark" style."""
    qt.QApplication.setPalette(palette(name))


def install(points: int = 9) -> None:
    """Let pictures be alike on every machine, be there fonts or not: text in matplotlib's copy of DejaVu Sans."""
    import matplotlib

    qt.QApplication.setStyle("Fusion")
    setTheme("light")
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for file in ("DejaVuSans.ttf", "DejaVuSans-Bold.ttf", "DejaVuSans-Oblique.ttf", "DejaVuSansMono.ttf"):
        qt.QFontDatabase.addApplicationFont(str(folder / file))
    qt.QApplication.setFont(qt.QFont(FONT, points))
