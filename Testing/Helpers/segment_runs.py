"""Helpers of the Segment section's tests: a logic or a panel on a short program, and its scene."""

from pathlib import Path

import slicer

from locations import MODULE
from segment_children import Packages, processes, python_slicer, script

UI = MODULE / "Resources" / "UI" / "Segment.ui"


class Run:
    """A logic on a short program, and the calls of its callbacks."""

    def __init__(self, folder: Path, program: str):
        from SpleenSmoothSegPanels.segment.logic import SegmentLogic

        self.logic = SegmentLogic(script(folder, program), python=str(python_slicer(folder)), neededPackages=Packages())
        self.progress, self.warnings, self.ends = [], [], []

    def start(self, *nodes, **options):
        from SpleenSmoothSegPanels.segment.logic import Callbacks, SegmentRequest

        callbacks = Callbacks(
            onProgress=lambda *progress: self.progress.append(progress),
            onWarning=self.warnings.append,
            onEnd=lambda *end: self.ends.append(end),
        )
        self.logic.start(SegmentRequest(*nodes, **options), callbacks)

    def start_and_wait_for_progress(self, ct):
        """Start; from then on ``processes`` are those of the run."""
        import standin

        self.start(ct)
        standin.waitUntil(lambda: self.progress)
        self.processes = processes()
        assert len(self.processes) >= 2  # the launcher and its child
        return self

    def wait(self):
        import standin

        standin.waitUntil(lambda: self.ends)
        (end,) = self.ends
        return end


class Opened:
    """The panel on a logic, opened as the module widget does."""

    def __init__(self, logic):
        import standin
        from SpleenSmoothSegPanels.segment.panel import SegmentPanel

        self.widget = standin.loadUi(UI)
        self.widget.setMRMLScene(slicer.mrmlScene)
        self.widget.show()
        self.panel = SegmentPanel(self.widget, logic)
        self.ui, self.logic = self.panel.ui, logic
        self.panel.setModuleNode(module_node())
        self.panel.enter()

    @property
    def chosen(self):
        return self.panel.parameters

    @property
    def message(self):
        return self.ui.messageLabel.text if self.ui.messageLabel.visible else ""

    def segment(self, seconds=30):
        import standin

        self.ui.segmentButton.click()
        standin.waitUntil(lambda: not self.logic.isRunning(), seconds)

    def table(self):
        rows = range(self.ui.resultTable.rowCount)
        return {self.ui.resultTable.item(row, 0).text(): self.ui.resultTable.item(row, 1).text() for row in rows}


def module_node():
    node = slicer.mrmlScene.GetSingletonNode("SpleenSmoothSeg", "vtkMRMLScriptedModuleNode")
    if node is None:
        node = slicer.mrmlScene.CreateNodeByClass("vtkMRMLScriptedModuleNode")
        node.UnRegister(None)
        node.SetSingletonTag("SpleenSmoothSeg")
        node = slicer.mrmlScene.AddNode(node)
    return node


def node_ids() -> set[str]:
    return {node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode")}


def ijk_to_ras(node):
    """The VTK matrix of a volume node."""
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix
