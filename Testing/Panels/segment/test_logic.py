"""SegmentLogic in a real scene, with short programs in place of segment.py: results, errors, cancellation."""

import os
import resource
import signal
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")
pytest.importorskip("psutil", reason="needs psutil, to see which processes run")

import SimpleITK as sitk
import slicer

from locations import SAMPLE_DATA
from segment_children import (
    BLOCKED,
    EMITS,
    STAYS,
    SUCCEEDS,
    WAITS,
    WRITES,
    Packages,
    gone,
    processes,
    python_slicer,
    script,
)
from slicer_scene import add_linear_transform, rigid, segment_center
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]
PLACE = [slice(40, 60), slice(20, 50), slice(30, 60)]  # slice, row, column of the mask that the short programs write


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

    def wait(self):
        import standin

        standin.waitUntil(lambda: self.ends)
        (end,) = self.ends
        return end


@pytest.fixture
def temporary(slicer_app, tmp_path, monkeypatch):
    """Slicer's temporary folder; it must be empty after the test."""
    folder = tmp_path / "temporary files"
    folder.mkdir()
    monkeypatch.setattr(type(slicer.app), "temporaryPath", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


@pytest.fixture
def ct(temporary):
    return slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"), {"name": "Patient"})


@pytest.fixture
def run(temporary, tmp_path):
    """Makes a run of a program; after the test none of its processes may be left."""
    before, runs = processes(), []

    def make(program: str) -> Run:
        runs.append(Run(tmp_path, program))
        return runs[-1]

    yield make
    for each in runs:
        each.logic.close()
    assert gone([process for process in processes() if process not in before])


def nodes():
    return sorted(node.GetID() for node in slicer.util.getNodesByClass("vtkMRMLNode"))


@pytest.fixture
def unchanged(ct):
    """Asserts that the scene has the nodes that it had at the start of the test."""
    before = nodes()

    def check():
        assert nodes() == before

    return check


def begin(run, ct, program):
    import standin

    begun = run(program)
    begun.start(ct)
    standin.waitUntil(lambda: begun.progress)
    begun.processes = processes()
    assert len(begun.processes) >= 2  # the launcher and its child
    return begun


@pytest.fixture
def waiting(run, ct):
    """A run that never ends, with its processes."""
    return begin(run, ct, WAITS)


@pytest.fixture
def blocked(run, ct):
    """A run whose child does not notice a closed stdin."""
    return begin(run, ct, BLOCKED)


def expected_center(ct):
    middle = [np.mean([side.start, side.stop - 1]) for side in reversed(PLACE)]
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct))
    return (matrix @ [*middle, 1])[:3]


def ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


# Results


def test_segment_of_the_child_is_added_to_the_scene(run, ct):
    segmenting = run(SUCCEEDS)
    segmenting.start(ct)

    added, message = segmenting.wait()

    assert message == ""
    assert not segmenting.logic.isRunning()
    assert added.volumeNode is ct
    assert np.allclose(segment_center(added.segmentationNode, added.segmentId), expected_center(ct), atol=1e-2)
    placed, result = added.placed, added.placed.result
    assert np.allclose(placed.worldPoint(ct, result.center_lps), expected_center(ct), atol=1e-2)
    assert (placed.ct, result.volume_ml, result.device) == ("Patient", 18.0, "cpu")
    assert placed.model == "Starter"
    assert result.fold_agreement == pytest.approx(0.9)
    assert segmenting.progress == [(0.5, "Predicting")]


def test_points_of_the_result_follow_a_ct_that_is_moved_later(run, ct):
    transform = add_linear_transform(slicer.mrmlScene, rigid((10, 20, -70), (5, 60, 7)))
    ct.SetAndObserveTransformNodeID(transform.GetID())
    segmenting = run(SUCCEEDS)
    segmenting.start(ct)

    added, _message = segmenting.wait()

    center = segment_center(added.segmentationNode, added.segmentId)
    assert np.allclose(added.placed.worldPoint(ct, added.placed.result.center_lps), center, atol=1e-2)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(0, 0, 50))))
    center = segment_center(added.segmentationNode, added.segmentId)
    assert np.allclose(added.placed.worldPoint(ct, added.placed.result.center_lps), center, atol=1e-2)
    ct.HardenTransform()
    assert np.allclose(added.placed.worldPoint(ct, added.placed.result.center_lps), center, atol=1e-2)


def test_placed_result_survives_its_text(run, ct):
    from SpleenSmoothSegPanels.segment.placedresult import PlacedResult

    segmenting = run(SUCCEEDS)
    segmenting.start(ct)
    added, _message = segmenting.wait()

    again = PlacedResult.fromText(added.placed.toText())

    assert again.rows() == added.placed.rows()
    places, expected = again.result.uncertain_places, added.placed.result.uncertain_places
    assert np.allclose([place.point_lps for place in places], [place.point_lps for place in expected], atol=1e-3)
    assert np.allclose(again.lpsToIjk, added.placed.lpsToIjk)
    assert PlacedResult.fromText("") is None
    assert PlacedResult.fromText('{"volume": 3}') is None


def test_fold_agreement_of_one_fold_is_a_dash(run, ct):
    segmenting = run(EMITS + WRITES + "emit_result(fold_volumes_ml=[18.0], fold_agreement=None)")
    segmenting.start(ct)

    added, _message = segmenting.wait()

    assert dict(added.placed.rows())["Fold agreement (%)"] == "–"


def test_segment_returns_the_added_segment_when_done(run, ct):
    from SpleenSmoothSegPanels.segment.logic import SegmentRequest

    progress = []
    added = run(SUCCEEDS).logic.segment(SegmentRequest(ct), lambda *step: progress.append(step))

    assert np.allclose(segment_center(added.segmentationNode, added.segmentId), expected_center(ct), atol=1e-2)
    assert added.placed.result.volume_ml == 18.0
    assert progress == [(0.5, "Predicting")]


def test_segment_raises_the_error_of_the_child(run, ct, unchanged):
    from SpleenSmoothSegPanels.segment.logic import SegmentRequest

    with pytest.raises(UserError, match=r"^The memory is not enough\.$"):
        run(EMITS + 'emit("error", message="The memory is not enough.")').logic.segment(SegmentRequest(ct))

    unchanged()


def test_segment_raises_when_slicer_quits(run, ct, unchanged):
    import qt

    from SpleenSmoothSegPanels.segment.logic import SegmentRequest

    qt.QTimer.singleShot(500, slicer.app.aboutToQuit.emit)
    with pytest.raises(UserError, match="canceled"):
        run(WAITS).logic.segment(SegmentRequest(ct))

    unchanged()


def test_warning_is_passed_on(run, ct):
    segmenting = run(EMITS + WRITES + 'emit("warning", message="The CPU is used.")\nemit_result()')
    segmenting.start(ct)

    added, _message = segmenting.wait()

    assert added
    assert segmenting.warnings == ["The CPU is used."]


@pytest.mark.parametrize("replace", [False, True], ids=["kept", "replaced"])
def test_existing_spleen_is_replaced_only_on_request(run, ct, replace):
    first = run(SUCCEEDS)
    first.start(ct)
    segmentation = first.wait()[0].segmentationNode
    segmentation.GetSegmentation().AddEmptySegment("Liver", "Liver")
    drawn = segmentation.GetSegmentation().GetSegmentIDs()
    assert first.logic.hasSpleen(segmentation)
    second = run(SUCCEEDS)
    second.start(ct, segmentation, replaceSpleen=replace)

    added, _message = second.wait()

    segments = segmentation.GetSegmentation()
    names = [segments.GetSegment(each).GetName() for each in segments.GetSegmentIDs()]
    assert added.segmentationNode is segmentation
    assert sorted(names) == (["Liver", "Spleen"] if replace else ["Liver", "Spleen", "Spleen_1"])
    assert added.segmentId not in drawn
    assert (drawn[0] in segments.GetSegmentIDs()) != replace


def test_empty_result_gives_an_error_and_no_segment(run, ct, unchanged):
    nothing = (
        "emit_result(volume_ml=0.0, center_lps=None, uncertain_places=[], extent_rl_mm=0, extent_ap_mm=0,"
        " extent_si_mm=0, longest_mm=0)"
    )
    segmenting = run(EMITS + WRITES + nothing)
    segmenting.start(ct)

    added, message = segmenting.wait()

    assert added is None
    assert "No spleen" in message and '"Patient"' in message
    unchanged()


# Uncertainty map


def test_uncertainty_map_lies_on_the_voxels_of_the_ct_under_its_transform(run, ct):
    ct.SetAndObserveTransformNodeID(add_linear_transform(slicer.mrmlScene, rigid((0, 30, 0), (9, 8, 7))).GetID())
    segmenting = run(SUCCEEDS)
    segmenting.start(ct)
    segmenting.wait()
    before = nodes()

    node = segmenting.logic.uncertaintyMap()

    array = slicer.util.arrayFromVolume(node)
    assert array.shape == (20, 10, 30)  # cropped to the visible part
    assert np.allclose(array, 0.3)
    assert node.GetTransformNodeID() == ct.GetTransformNodeID()
    first = slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct)) @ [30, 20, 40, 1]
    assert np.allclose(slicer.util.arrayFromVTKMatrix(ijk_to_ras(node)) @ [0, 0, 0, 1], first)
    assert node.GetSpacing() == ct.GetSpacing()
    display = node.GetDisplayNode()
    assert display.GetApplyThreshold() and 0 < display.GetLowerThreshold() < 0.3
    assert "viridis" in display.GetColorNode().GetName()
    assert segmenting.logic.uncertaintyMap() is node
    assert len(nodes()) - len(before) <= 3  # the map, its display and perhaps its colors


def test_uncertainty_map_of_a_part_of_the_ct_lies_at_the_same_place(ct):
    from SpleenSmoothSegLib.mrml import imageFromVolumeNode
    from SpleenSmoothSegPanels.segment.uncertaintymap import UncertaintyMap

    whole = sitk.Cast(imageFromVolumeNode(ct) * 0, sitk.sitkFloat32)
    whole[30:50, 20:40, 41:44] = 0.3
    corners = []
    for image, first in ((whole, (0, 0, 0)), (whole[10:60, 15:50, 38:50], (10, 15, 38))):
        node = UncertaintyMap(image, ct, first).node()
        corners.append(slicer.util.arrayFromVTKMatrix(ijk_to_ras(node)) @ [0, 0, 0, 1])
        assert slicer.util.arrayFromVolume(node).shape == (3, 20, 20)
    assert np.allclose(*corners)


def test_no_uncertainty_map_without_a_run_or_without_its_ct(run, ct):
    segmenting = run(SUCCEEDS)
    assert not segmenting.logic.hasUncertaintyMap()
    segmenting.start(ct)
    segmenting.wait()
    assert segmenting.logic.hasUncertaintyMap()

    slicer.mrmlScene.RemoveNode(ct)

    assert segmenting.logic.uncertaintyMap() is None


# Ended by the user, Slicer or another program


def test_cancel_ends_the_process_tree_within_a_second(waiting, unchanged):
    started = time.monotonic()

    waiting.logic.cancel()

    assert time.monotonic() - started < 1
    assert gone(waiting.processes)
    assert waiting.ends == [(None, "")]
    assert not waiting.logic.isRunning()
    unchanged()


def test_cancel_ends_a_blocked_child(blocked):
    blocked.logic.cancel()

    assert gone(blocked.processes)


def test_cancel_ends_a_child_that_has_not_printed_anything(run, ct, unchanged):
    silent = run("import sys, time\nsys.stdin.read()\n")
    silent.start(ct)
    time.sleep(0.3)
    started = processes()

    silent.logic.cancel()

    assert started and gone(started)
    unchanged()


def test_quitting_slicer_cancels(waiting):
    slicer.app.aboutToQuit.emit()

    assert gone(waiting.processes)
    assert waiting.ends == [(None, "")]


def test_killed_child_gives_an_error_and_an_unchanged_scene(waiting, unchanged):
    for process in waiting.processes[1:]:
        process.send_signal(signal.SIGKILL)

    added, message = waiting.wait()

    assert added is None
    assert message.endswith(".") and "ended early" in message
    unchanged()


def test_killed_launcher_leaves_no_child(blocked, unchanged):
    blocked.processes[0].send_signal(signal.SIGKILL)

    added, _message = blocked.wait()

    assert added is None
    assert gone(blocked.processes)
    unchanged()


def test_run_succeeds_after_a_canceled_one(run, ct, waiting):
    waiting.logic.cancel()
    segmenting = run(SUCCEEDS)
    segmenting.start(ct)

    assert segmenting.wait()[0]


# Reuse of the child


def once_more(run, ct, **options):
    """Segments again; returns the segment and the last step, which has the process ID."""
    run.ends.clear()
    run.progress.clear()
    run.start(ct, **options)
    added, message = run.wait()
    assert message == ""
    return added, run.progress[-1][1]


def test_next_run_reuses_the_idle_child(run, ct):
    stays = run(STAYS)
    first, process = once_more(stays, ct)
    assert not stays.logic.isRunning()
    second, same = once_more(stays, ct)
    assert process == same
    assert first.segmentationNode is not second.segmentationNode
    assert stays.logic.log == "log of this run\n"


def test_idle_child_is_not_reused_after_its_time_or_for_another_device(run, ct, monkeypatch):
    from SpleenSmoothSegPanels.segment import logic as segmentlogic

    stays = run(STAYS)
    _, process = once_more(stays, ct)
    _, another = once_more(stays, ct, device="cpu")
    assert another != process
    monkeypatch.setattr(segmentlogic, "REUSE_SECONDS", -1.0)
    _, third = once_more(stays, ct, device="cpu")
    assert third == another, "its time was set before"
    _, fourth = once_more(stays, ct, device="cpu")
    assert fourth != third


def test_idle_child_that_was_killed_is_replaced(run, ct):
    import standin

    stays = run(STAYS)
    _, process = once_more(stays, ct)
    os.kill(int(process.split()[-1]), signal.SIGKILL)
    standin.waitUntil(lambda: not stays.logic._child.isRunning())
    assert len(stays.ends) == 1, "onEnd was called again"
    assert once_more(stays, ct)[1] != process


def test_close_ends_the_idle_child(run, ct):
    stays = run(STAYS)
    once_more(stays, ct)
    waiting = processes()
    stays.logic.close()
    assert gone(waiting)


def test_second_run_at_the_same_time_is_refused(waiting, ct):
    with pytest.raises(UserError, match="already running"):
        waiting.start(ct)

    assert waiting.logic.isRunning()


# Scene changes during the run


def test_removing_the_ct_ends_the_run_with_an_error(waiting, ct):
    slicer.mrmlScene.RemoveNode(ct)

    added, message = waiting.wait()

    assert added is None and "CT was removed" in message
    assert gone(waiting.processes)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_removing_the_output_segmentation_ends_the_run_with_an_error(run, ct):
    import standin

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmenting = run(WAITS)
    segmenting.start(ct, segmentation)
    standin.waitUntil(lambda: segmenting.progress)

    slicer.mrmlScene.RemoveNode(segmentation)

    added, message = segmenting.wait()
    assert added is None and "was removed" in message
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_node_of_the_next_scene_with_the_same_id_is_not_used(waiting, ct):
    old = ct.GetID()
    slicer.mrmlScene.Clear()
    new = slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"))
    assert new.GetID() == old

    added, message = waiting.wait()

    assert added is None and "removed" in message
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_moving_the_ct_during_the_run_gives_an_error(run, ct, unchanged):
    segmenting = run(EMITS + WRITES + "time.sleep(0.5)\nemit_result()")
    segmenting.start(ct)
    ct.SetSpacing(2, 2, 2)

    added, message = segmenting.wait()

    assert added is None
    assert "has changed its geometry" in message and "again" in message
    unchanged()


# Output of the child


def test_output_that_is_no_event_goes_to_the_log(run, ct):
    garbage = r"""
out = sys.stdout.buffer
out.write(b"\xff\xfe no text\n{\"event\": 3}\n[1, 2]\nnull\n{\"event\": \"progress\"}\n{\"event\": \"dances\"}\n")
out.write(b"{" * 3_000_000 + b"\n")
out.write(b"[" * 100_000 + b"\n")
out.flush()
line = json.dumps({"event": "warning", "message": "Übrigens: 脾臟 " + "x" * 200_000}, ensure_ascii=False).encode()
for start in range(0, len(line), 50_001):
    out.write(line[start : start + 50_001])
    out.flush()
    time.sleep(0.01)
out.write(b"\n")
out.flush()
print("an error", file=sys.stderr)
emit_result()
out.write(b"no end of line")
"""
    segmenting = run(EMITS + WRITES + garbage)
    segmenting.start(ct)

    added, _message = segmenting.wait()

    assert added
    assert segmenting.warnings[0].startswith("Übrigens: 脾臟 ") and len(segmenting.warnings[0]) > 200_000
    for words in ("no text", "[1, 2]", "an error", "no end of line"):
        assert words in segmenting.logic.log


def test_error_names_the_ct_and_no_temporary_path(run, ct, unchanged, temporary):
    message = 'f\'"{ct}" is too thin, and "{mask}" cannot be written; give another.\''
    segmenting = run(EMITS + f'emit("error", message={message})\nsys.exit(1)')
    segmenting.start(ct)

    added, message = segmenting.wait()

    assert added is None
    assert message == '"Patient" is too thin, and "Slicer\'s temporary folder" cannot be written; give another.'
    unchanged()


def test_child_that_exits_early_gives_an_error_and_its_log(run, ct, unchanged):
    segmenting = run("import sys\nsys.exit('Segmentation fault')")
    segmenting.start(ct)

    added, message = segmenting.wait()

    assert added is None and "ended early" in message
    assert "Segmentation fault" in segmenting.logic.log
    unchanged()


@pytest.mark.parametrize(
    "damage",
    [
        'emit("result")',
        'emit("result", result={"volume_ml": 3.0}, files={"uncertainty_map": "/no/such/map.nrrd"})',
        "emit_result(uncertainty_map='missing.nrrd')",
        "emit_result(extent_rl_mm=None)",
        "emit_result()\nos.truncate(mask, 200)",
    ],
)
def test_damaged_result_gives_an_error_and_an_unchanged_scene(run, ct, unchanged, temporary, damage):
    segmenting = run(EMITS + WRITES + damage)
    segmenting.start(ct)

    added, message = segmenting.wait()

    assert added is None
    assert message.endswith(".") and "\n" not in message and str(temporary) not in message
    unchanged()


# Errors at the start


def test_missing_python_slicer_is_an_error(ct, unchanged):
    from SpleenSmoothSegPanels.segment.logic import Callbacks, SegmentLogic, SegmentRequest

    with pytest.raises(UserError, match="NoSuchPython"):
        SegmentLogic(python="NoSuchPython", neededPackages=Packages()).start(SegmentRequest(ct), Callbacks())

    unchanged()


def test_python_slicer_that_does_not_start_is_an_error(run, ct, unchanged, tmp_path):
    segmenting = run(SUCCEEDS)
    (tmp_path / "PythonSlicer").write_text("#!/no/such/shell\n")
    segmenting.start(ct)

    added, message = segmenting.wait()

    assert added is None and "could not be started" in message
    unchanged()


def test_volume_that_is_no_ct_is_named_in_the_error(run, temporary):
    node = slicer.util.addVolumeFromArray(np.zeros((30, 30, 30), np.int16), name="Empty room")

    with pytest.raises(UserError, match='"Empty room"'):
        run(SUCCEEDS).start(node)
    with pytest.raises(UserError, match="No CT is selected"):
        run(SUCCEEDS).start(None)


def test_damaged_model_folder_is_an_error_before_the_child_starts(run, ct, tmp_path, unchanged):
    segmenting = run(SUCCEEDS)

    with pytest.raises(UserError, match="not a model folder"):
        segmenting.start(ct, modelFolder=tmp_path)

    assert not segmenting.logic.isRunning()
    unchanged()


def test_missing_packages_are_an_error_before_the_child_starts(run, ct, unchanged):
    from SpleenSmoothSegPanels.shared.packages import NotInstalled

    segmenting = run(SUCCEEDS)
    segmenting.logic.packages.error = NotInstalled("Segmenting needs torch.", "the log")

    with pytest.raises(NotInstalled):
        segmenting.start(ct)

    assert not segmenting.logic.isRunning()
    unchanged()


@pytest.mark.parametrize("state", ["full", "full without an error", "read-only"])
def test_full_or_read_only_temporary_folder_is_an_error(run, ct, unchanged, monkeypatch, state):
    segmenting = run(SUCCEEDS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if state == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    elif state == "full without an error":
        monkeypatch.setattr(sitk, "WriteImage", lambda image, path, **options: Path(path).write_bytes(b"NRRD0004"))
    else:
        monkeypatch.setattr(type(slicer.app), "temporaryPath", "/proc")
    try:
        with pytest.raises(UserError, match="temporary folder, which is full or read-only"):
            segmenting.start(ct)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    unchanged()


def test_files_left_by_a_crashed_slicer_are_removed_after_a_day(run, ct, temporary):
    old, young = temporary / "SpleenSmoothSeg-old", temporary / "SpleenSmoothSeg-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "ct.nrrd").write_bytes(b"CT")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    segmenting = run(SUCCEEDS)
    segmenting.start(ct)
    segmenting.wait()

    assert not old.exists()
    assert young.exists()
    (young / "ct.nrrd").unlink()
    young.rmdir()


def test_only_this_user_can_read_the_temporary_ct(waiting, temporary):
    (folder,) = temporary.iterdir()

    assert folder.stat().st_mode & 0o077 == 0
    assert sitk.ReadImage(str(folder / "ct.nrrd")).GetSize() == sitk.ReadImage(str(SAMPLE_DATA / "ct.nii.gz")).GetSize()


# Devices


def test_device_query_does_not_block(run):
    import standin

    querying = run('print(\'{"event": "devices", "devices": [{"name": "cpu", "usable": true, "reason": ""}]}\')')
    received = []

    querying.logic.queryDevices(received.append)
    assert not received
    standin.waitUntil(lambda: received)

    assert received == [[{"name": "cpu", "usable": True, "reason": ""}]]


def test_devices_are_not_queried_while_torch_is_missing(run):
    querying = run("raise SystemExit")
    querying.logic.packages.error = UserError("Segmenting needs torch.")
    before = processes()

    querying.logic.queryDevices(pytest.fail)

    assert processes() == before
