"""Fixtures of the Segment section; imports are inside functions, for systems without Slicer's libraries."""

import pytest

from locations import SAMPLE_DATA


@pytest.fixture
def ct(slicer_app):
    import slicer

    return slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"), {"name": "Patient"})


@pytest.fixture
def unchanged(ct):
    """Asserts that the scene has the nodes that it had at the start of the test."""
    from segment_runs import node_ids

    before = node_ids()

    def check():
        assert node_ids() == before

    return check


@pytest.fixture
def no_child_left():
    """Asserts that all processes that the test has started have ended."""
    from segment_children import gone, processes

    before = processes()
    yield
    assert gone([process for process in processes() if process not in before])


@pytest.fixture
def temporary(slicer_app, tmp_path, monkeypatch):
    """Slicer's temporary folder; it must be empty after the test."""
    import slicer

    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setattr(type(slicer.app), "temporaryPath", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def run(temporary, no_child_left, tmp_path):
    """Makes a run of a program."""
    from segment_runs import Run

    runs = []

    def make(program: str) -> Run:
        runs.append(Run(tmp_path, program))
        return runs[-1]

    yield make
    for each in runs:
        each.logic.close()


@pytest.fixture
def waiting(run, ct):
    """A run that never ends."""
    from segment_children import WAITS

    return run(WAITS).start_and_wait_for_progress(ct)


@pytest.fixture
def open_panel(settings, no_child_left, tmp_path):
    """Opens the panel on a short program, or on the real segment.py."""
    from segment_children import Packages, python_slicer, script
    from segment_runs import Opened
    from SpleenSmoothSegPanels.segment.logic import SegmentLogic

    opened = []

    def make(program: str = "") -> Opened:
        python = str(python_slicer(tmp_path))
        logic = SegmentLogic(script(tmp_path, program) if program else None, python, Packages())
        opened.append(Opened(logic))
        return opened[-1]

    yield make
    for each in opened:
        each.panel.cleanup()
        each.widget.deleteLater()


@pytest.fixture
def segmented(open_panel, ct):
    """The panel after a successful run."""
    from segment_children import SUCCEEDS

    opened = open_panel(SUCCEEDS)
    opened.segment()
    assert opened.message == 'The spleen was added to "Patient segmentation".'
    return opened
