"""SegmentLogic in a real scene, with short programs in place of segment.py: results and errors."""

import os
import resource
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
from segment_children import EMITS, SUCCEEDS, WAITS, WRITES, Packages, gone, processes
from segment_runs import ijk_to_ras
from slicer_scene import add_linear_transform, rigid, segment_center
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]
PLACE = [slice(40, 60), slice(20, 50), slice(30, 60)]  # slice, row, column of the mask that the short programs write


def expected_center(ct):
    middle = [np.mean([side.start, side.stop - 1]) for side in reversed(PLACE)]
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct))
    return (matrix @ [*middle, 1])[:3]


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


def test_volume_that_is_not_a_ct_is_named_in_the_error(run, temporary):
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
