"""Color maps whose steps look as large as they are, for overlays and surfaces; in every Slicer, on every screen."""

import slicer
import vtk

# Colors (RGB, 0 to 255) at equal distances, from the lowest value to the highest.
# Viridis by Stefan van der Walt and Nathaniel Smith (CC0), from dark blue to yellow.
VIRIDIS = ((68, 1, 84), (71, 44, 122), (59, 81, 139), (44, 113, 142), (33, 144, 141), (39, 173, 129), (92, 200, 99),
           (170, 220, 50), (253, 231, 37))  # fmt: skip
# Cool to warm by Kenneth Moreland (Diverging Color Maps for Scientific Visualization, 2009): blue, light gray, red.
COOL_TO_WARM = ((59, 76, 192), (98, 130, 234), (141, 176, 254), (184, 208, 249), (221, 221, 221), (245, 196, 173),
                (244, 154, 123), (222, 96, 77), (180, 4, 38))  # fmt: skip


def sequentialColors():
    """The color node for amounts (a soft label, a disagreement): dark is low, bright is high."""
    return _colorTable("Spleen viridis", VIRIDIS)


def divergingColors():
    """The color node for signed amounts, on a range symmetric about 0: blue is below, gray is 0, red is above."""
    return _colorTable("Spleen cool to warm", COOL_TO_WARM)


def _colorTable(name: str, colors, steps: int = 256):
    node = slicer.mrmlScene.GetFirstNode(name, "vtkMRMLColorTableNode")
    if node is not None:
        return node
    between = vtk.vtkColorTransferFunction()
    for index, color in enumerate(colors):
        between.AddRGBPoint(index / (len(colors) - 1), *(part / 255 for part in color))
    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLColorTableNode", name)
    node.SetTypeToUser()
    node.SetNumberOfColors(steps)
    for index in range(steps):
        value = index / (steps - 1)
        node.SetColor(index, f"{value:.3f}", *between.GetColor(value))
    node.SetAttribute("Category", "SpleenSmoothSeg")
    return node
