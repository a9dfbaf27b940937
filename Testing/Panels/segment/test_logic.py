"""One press of Segment in the real scene, with short programs in place of the engine: what may go wrong on the way."""

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
from segment_children import DEAF, FINDS, SAYS, STAYS, WAITS, WRITES, gone, processes, python_slicer, script
from slicer_scene import add_linear_transform, rigid, segment_center
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]
PLACE = [slice(40, 60), slice(20, 50), slice(30, 60)]  # slice, row, column of what the short programs find


class Run:
    """A logic on a short program, and what it tells."""

    def __init__(self, folder: Path, program: str):
        from SpleenSmoothSegPanels.segment.logic import SegmentLogic

        self.logic = SegmentLogic(script(folder, program), python=str(python_slicer(folder)), neededPackages=Complete())
        self.progress, self.warnings, self.ends = [], [], []

    def start(self, *nodes, **options):
        self.logic.start(
            *nodes,
            onProgress=lambda fraction, step: self.progress.append((fraction, step)),
            onWarning=self.warnings.append,
            onEnd=lambda *end: self.ends.append(end),
            **options,
        )

    def wait(self):
        import standin

        standin.waitUntil(lambda: self.ends)
        (end,) = self.ends
        return end


class Complete:
    def ensure(self):
        pass

    def missing(self):
        return []


@pytest.fixture
def temporary(slicer_app, tmp_path, monkeypatch):
    """Slicer's temporary folder, which must be empty in the end."""
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
    """Makes a run of a program; in the end nothing that it has started may be left."""
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
    """Asserts that the scene is as it was when the test began."""
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
    assert len(begun.processes) >= 2  # the launcher, and what it has started
    return begun


@pytest.fixture
def waiting(run, ct):
    """A run that goes on until somebody ends it, and the processes that do."""
    return begin(run, ct, WAITS)


@pytest.fixture
def deaf(run, ct):
    """A run whose child has ears for nobody."""
    return begin(run, ct, DEAF)


def expected_center(ct):
    middle = [np.mean([side.start, side.stop - 1]) for side in reversed(PLACE)]
    matrix = slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct))
    return (matrix @ [*middle, 1])[:3]


def ijk_to_ras(node):
    import vtk

    matrix = vtk.vtkMatrix4x4()
    node.GetIJKToRASMatrix(matrix)
    return matrix


# What is found


def test_what_is_found_comes_into_the_scene(run, ct):
    segmenting = run(FINDS)
    segmenting.start(ct)

    found, sentence = segmenting.wait()

    assert sentence == ""
    assert not segmenting.logic.isRunning()
    assert found.volumeNode is ct
    assert np.allclose(segment_center(found.segmentationNode, found.segmentId), expected_center(ct), atol=1e-2)
    assert np.allclose(found.result.center, expected_center(ct), atol=1e-2)
    assert (found.result.ct, found.result.volume_ml, found.result.device) == ("Patient", 18.0, "cpu")
    assert found.result.model == "Starter"
    assert found.result.agreement == pytest.approx(0.9)
    assert segmenting.progress == [(0.5, "Folds look at the slices")]


def test_a_ct_under_a_transform_is_segmented_where_it_lies(run, ct):
    transform = add_linear_transform(slicer.mrmlScene, rigid((10, 20, -70), (5, 60, 7)))
    ct.SetAndObserveTransformNodeID(transform.GetID())
    segmenting = run(FINDS)
    segmenting.start(ct)

    found, _sentence = segmenting.wait()

    from SpleenSmoothSegPanels.segment.logic import toWorld

    center = segment_center(found.segmentationNode, found.segmentId)
    assert np.allclose(toWorld(ct, found.result.center), center, atol=1e-2)
    transform.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(rigid(shift_mm=(0, 0, 50))))
    center = segment_center(found.segmentationNode, found.segmentId)
    assert np.allclose(toWorld(ct, found.result.center), center, atol=1e-2)  # the result moves along


def test_the_result_comes_back_from_a_saved_scene_as_it_was(run, ct):
    from SpleenSmoothSegPanels.segment.segmentresult import SegmentResult

    segmenting = run(FINDS)
    segmenting.start(ct)
    found, _sentence = segmenting.wait()

    again = SegmentResult.fromText(found.result.toText())

    assert again.rows() == found.result.rows()
    assert np.allclose(again.uncertainPlaces, found.result.uncertainPlaces)
    assert SegmentResult.fromText("") is None
    assert SegmentResult.fromText('{"volume": 3}') is None


def test_a_warning_reaches_the_user(run, ct):
    segmenting = run(SAYS + WRITES + 'say("warning", message="The CPU does the work.")\nresult()')
    segmenting.start(ct)

    found, _sentence = segmenting.wait()

    assert found
    assert segmenting.warnings == ["The CPU does the work."]


@pytest.mark.parametrize("may_replace", [False, True], ids=["kept", "replaced"])
def test_a_spleen_that_is_there_is_replaced_only_if_the_user_agreed(run, ct, may_replace):
    first = run(FINDS)
    first.start(ct)
    segmentation = first.wait()[0].segmentationNode
    segmentation.GetSegmentation().AddEmptySegment("Liver", "Liver")
    drawn = segmentation.GetSegmentation().GetSegmentIDs()
    assert first.logic.hasSpleen(segmentation)
    second = run(FINDS)
    second.start(ct, segmentation, replaceSpleen=may_replace)

    found, _sentence = second.wait()

    segments = segmentation.GetSegmentation()
    names = [segments.GetSegment(each).GetName() for each in segments.GetSegmentIDs()]
    assert found.segmentationNode is segmentation
    assert sorted(names) == (["Liver", "Spleen"] if may_replace else ["Liver", "Spleen", "Spleen_1"])
    assert found.segmentId not in drawn
    assert (drawn[0] in segments.GetSegmentIDs()) != may_replace


def test_where_no_spleen_was_found_the_user_is_told_so(run, ct, unchanged):
    nothing = "result(volume_ml=0.0, center_lps=None, uncertain_places=[], extent_mm=[0, 0, 0], longest_mm=0)"
    segmenting = run(SAYS + WRITES + nothing)
    segmenting.start(ct)

    found, sentence = segmenting.wait()

    assert found is None
    assert "No spleen" in sentence and '"Patient"' in sentence
    unchanged()


# Where the folds disagree


def test_the_disagreement_map_lies_on_the_voxels_of_the_ct_and_moves_with_it(run, ct):
    ct.SetAndObserveTransformNodeID(add_linear_transform(slicer.mrmlScene, rigid((0, 30, 0), (9, 8, 7))).GetID())
    segmenting = run(FINDS)
    segmenting.start(ct)
    segmenting.wait()
    before = nodes()

    node = segmenting.logic.disagreementMap()

    array = slicer.util.arrayFromVolume(node)
    assert array.shape == (20, 10, 30)  # cut to what there is to see
    assert np.allclose(array, 0.3)
    assert node.GetTransformNodeID() == ct.GetTransformNodeID()
    first = slicer.util.arrayFromVTKMatrix(ijk_to_ras(ct)) @ [30, 20, 40, 1]
    assert np.allclose(slicer.util.arrayFromVTKMatrix(ijk_to_ras(node)) @ [0, 0, 0, 1], first)
    assert node.GetSpacing() == ct.GetSpacing()
    display = node.GetDisplayNode()
    assert display.GetApplyThreshold() and 0 < display.GetLowerThreshold() < 0.3
    assert "viridis" in display.GetColorNode().GetName()
    assert segmenting.logic.disagreementMap() is node
    assert len(nodes()) - len(before) <= 3  # the map, its display and perhaps its colors


def test_a_map_of_a_part_of_the_ct_lies_in_its_place(ct):
    from SpleenSmoothSegLib.mrml import imageFromVolumeNode
    from SpleenSmoothSegPanels.segment.uncertaintymap import DisagreementMap

    whole = sitk.Cast(imageFromVolumeNode(ct) * 0, sitk.sitkFloat32)
    whole[30:50, 20:40, 41:44] = 0.3
    corners = []
    for image, first in ((whole, (0, 0, 0)), (whole[10:60, 15:50, 38:50], (10, 15, 38))):
        node = DisagreementMap(image, ct, first).node()
        corners.append(slicer.util.arrayFromVTKMatrix(ijk_to_ras(node)) @ [0, 0, 0, 1])
        assert slicer.util.arrayFromVolume(node).shape == (3, 20, 20)
    assert np.allclose(*corners)


def test_there_is_no_disagreement_map_without_a_run_or_without_its_ct(run, ct):
    segmenting = run(FINDS)
    assert not segmenting.logic.hasDisagreementMap()
    segmenting.start(ct)
    segmenting.wait()
    assert segmenting.logic.hasDisagreementMap()

    slicer.mrmlScene.RemoveNode(ct)

    assert segmenting.logic.disagreementMap() is None


# The user, Slicer or somebody else ends it


def test_cancel_ends_the_whole_process_tree_within_a_second(waiting, unchanged):
    started = time.monotonic()

    waiting.logic.cancel()

    assert time.monotonic() - started < 1
    assert gone(waiting.processes)
    assert waiting.ends == [(None, "")]
    assert not waiting.logic.isRunning()
    unchanged()


def test_cancel_ends_a_child_that_does_not_listen(deaf):
    deaf.logic.cancel()

    assert gone(deaf.processes)


def test_cancel_before_the_child_has_said_a_word_ends_it(run, ct, unchanged):
    silent = run("import sys, time\nsys.stdin.read()\n")
    silent.start(ct)
    time.sleep(0.3)
    started = processes()

    silent.logic.cancel()

    assert started and gone(started)
    unchanged()


def test_quitting_slicer_ends_it(waiting):
    slicer.app.aboutToQuit.emit()

    assert gone(waiting.processes)
    assert waiting.ends == [(None, "")]


def test_a_killed_child_leaves_the_scene_as_it_was(waiting, unchanged):
    for process in waiting.processes[1:]:
        process.send_signal(signal.SIGKILL)

    found, sentence = waiting.wait()

    assert found is None
    assert sentence.endswith(".") and "before it was done" in sentence
    unchanged()


def test_a_killed_launcher_leaves_no_child_behind(deaf, unchanged):
    deaf.processes[0].send_signal(signal.SIGKILL)

    found, _sentence = deaf.wait()

    assert found is None
    assert gone(deaf.processes)
    unchanged()


def test_the_next_run_works_after_one_was_cancelled(run, ct, waiting):
    waiting.logic.cancel()
    segmenting = run(FINDS)
    segmenting.start(ct)

    assert segmenting.wait()[0]


# The next run by the same child.


def once_more(run, ct, **options):
    """Segments again, and gives which process said that it does."""
    run.ends.clear()
    run.progress.clear()
    run.start(ct, **options)
    found, sentence = run.wait()
    assert sentence == ""
    return found, run.progress[-1][1]


def test_the_next_run_is_done_by_the_child_that_waits(run, ct):
    stays = run(STAYS)
    first, process = once_more(stays, ct)
    assert not stays.logic.isRunning()
    second, same = once_more(stays, ct)
    assert process == same
    assert first.segmentationNode is not second.segmentationNode
    assert stays.logic.log == "words of this run\n", "and the log is that of its run"


def test_a_child_that_waited_too_long_or_in_another_way_is_not_asked(run, ct, monkeypatch):
    from SpleenSmoothSegPanels.segment import logic as segmentlogic

    stays = run(STAYS)
    _, process = once_more(stays, ct)
    _, another = once_more(stays, ct, device="cpu")
    assert another != process
    monkeypatch.setattr(segmentlogic, "REUSED_SECONDS", -1.0)
    _, third = once_more(stays, ct, device="cpu")
    assert third == another, "it was promised before"
    _, fourth = once_more(stays, ct, device="cpu")
    assert fourth != third


def test_a_child_that_has_gone_meanwhile_is_replaced(run, ct):
    import standin

    stays = run(STAYS)
    _, process = once_more(stays, ct)
    os.kill(int(process.split()[-1]), signal.SIGKILL)
    standin.waitUntil(lambda: not stays.logic._child.isRunning())
    assert len(stays.ends) == 1, "nobody is told of it"
    assert once_more(stays, ct)[1] != process


def test_closing_ends_the_child_that_waits(run, ct):
    stays = run(STAYS)
    once_more(stays, ct)
    waiting = processes()
    stays.logic.close()
    assert gone(waiting)


def test_two_runs_at_once_are_refused(waiting, ct):
    with pytest.raises(UserError, match="runs already"):
        waiting.logic.start(ct)

    assert waiting.logic.isRunning()


# The scene changes meanwhile


def test_removing_the_ct_ends_it_with_a_sentence(waiting, ct):
    slicer.mrmlScene.RemoveNode(ct)

    found, sentence = waiting.wait()

    assert found is None and "CT was removed" in sentence
    assert gone(waiting.processes)
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_removing_the_segmentation_that_was_to_take_it_ends_it_with_a_sentence(run, ct):
    import standin

    segmentation = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode")
    segmenting = run(WAITS)
    segmenting.start(ct, segmentation)
    standin.waitUntil(lambda: segmenting.progress)

    slicer.mrmlScene.RemoveNode(segmentation)

    found, sentence = segmenting.wait()
    assert found is None and "was removed" in sentence
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_nodes_of_the_next_scene_are_not_taken_for_those_of_the_last(waiting, ct):
    old = ct.GetID()
    slicer.mrmlScene.Clear()
    new = slicer.util.loadVolume(str(SAMPLE_DATA / "ct.nii.gz"))
    assert new.GetID() == old

    found, sentence = waiting.wait()

    assert found is None and "removed" in sentence
    assert not slicer.util.getNodesByClass("vtkMRMLSegmentationNode")


def test_a_ct_that_was_moved_meanwhile_is_told(run, ct, unchanged):
    segmenting = run(SAYS + WRITES + "time.sleep(0.5)\nresult()")
    segmenting.start(ct)
    ct.SetSpacing(2, 2, 2)

    found, sentence = segmenting.wait()

    assert found is None
    assert "has changed its geometry" in sentence and "again" in sentence
    unchanged()


# What a child may say


def test_garbage_between_its_words_is_kept_for_the_log_and_does_no_harm(run, ct):
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
print("a complaint", file=sys.stderr)
result()
out.write(b"no end of line")
"""
    segmenting = run(SAYS + WRITES + garbage)
    segmenting.start(ct)

    found, _sentence = segmenting.wait()

    assert found
    assert segmenting.warnings[0].startswith("Übrigens: 脾臟 ") and len(segmenting.warnings[0]) > 200_000
    for words in ("no text", "[1, 2]", "a complaint", "no end of line"):
        assert words in segmenting.logic.log


def test_an_error_is_told_with_the_name_of_the_ct_and_without_any_path(run, ct, unchanged, temporary):
    message = 'f\'"{ct}" is too thin, and "{mask}" cannot be written; give another.\''
    segmenting = run(SAYS + f'say("error", message={message})\nsys.exit(1)')
    segmenting.start(ct)

    found, sentence = segmenting.wait()

    assert found is None
    assert sentence == '"Patient" is too thin, and "Slicer\'s temporary folder" cannot be written; give another.'
    unchanged()


def test_a_child_that_ends_without_a_word_is_told_with_its_log(run, ct, unchanged):
    segmenting = run("import sys\nsys.exit('Segmentation fault')")
    segmenting.start(ct)

    found, sentence = segmenting.wait()

    assert found is None and "before it was done" in sentence
    assert "Segmentation fault" in segmenting.logic.log
    unchanged()


@pytest.mark.parametrize(
    "promise",
    [
        'say("result")',
        'say("result", volume_ml=3.0, disagreement_map="/no/such/map.nrrd")',
        "result(disagreement_map=mask + '.gone')",
        "result(extent_mm=None)",
        "result()\nos.truncate(mask, 200)",
    ],
)
def test_a_result_that_is_none_leaves_the_scene_as_it_was(run, ct, unchanged, temporary, promise):
    segmenting = run(SAYS + WRITES + promise)
    segmenting.start(ct)

    found, sentence = segmenting.wait()

    assert found is None
    assert sentence.endswith(".") and "\n" not in sentence and str(temporary) not in sentence
    unchanged()


# It cannot even begin


def test_without_slicers_python_the_user_is_told(ct, unchanged):
    from SpleenSmoothSegPanels.segment.logic import SegmentLogic

    with pytest.raises(UserError, match="NoSuchPython"):
        SegmentLogic(python="NoSuchPython", neededPackages=Complete()).start(ct)

    unchanged()


def test_a_python_that_does_not_start_is_told(run, ct, unchanged, tmp_path):
    segmenting = run(FINDS)
    (tmp_path / "PythonSlicer").write_text("#!/no/such/shell\n")
    segmenting.start(ct)

    found, sentence = segmenting.wait()

    assert found is None and "could not be started" in sentence
    unchanged()


def test_what_is_no_ct_is_told_by_its_name(run, temporary):
    node = slicer.util.addVolumeFromArray(np.zeros((30, 30, 30), np.int16), name="Empty room")

    with pytest.raises(UserError, match='"Empty room"'):
        run(FINDS).start(node)
    with pytest.raises(UserError, match="There is no CT"):
        run(FINDS).start(None)


def test_a_broken_model_folder_is_told_before_anything_starts(run, ct, tmp_path, unchanged):
    segmenting = run(FINDS)

    with pytest.raises(UserError, match="not a model folder"):
        segmenting.start(ct, modelFolder=tmp_path)

    assert not segmenting.logic.isRunning()
    unchanged()


def test_missing_packages_are_told_before_anything_starts(run, ct, unchanged):
    from SpleenSmoothSegPanels.shared.packages import NotInstalled

    class Incomplete(Complete):
        def ensure(self):
            raise NotInstalled("Segmenting needs torch.", "the log")

    segmenting = run(FINDS)
    segmenting.logic.packages = Incomplete()

    with pytest.raises(NotInstalled):
        segmenting.start(ct)

    assert not segmenting.logic.isRunning()
    unchanged()


@pytest.mark.parametrize("trouble", ["full", "full without a word", "read-only"])
def test_a_temporary_folder_without_room_is_told(run, ct, unchanged, monkeypatch, trouble):
    segmenting = run(FINDS)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    if trouble == "full":
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    elif trouble == "full without a word":
        monkeypatch.setattr(sitk, "WriteImage", lambda image, path, **options: Path(path).write_bytes(b"NRRD0004"))
    else:
        monkeypatch.setattr(type(slicer.app), "temporaryPath", "/proc")
    try:
        with pytest.raises(UserError, match="temporary folder is full or cannot be written to"):
            segmenting.start(ct)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    unchanged()


def test_what_a_crashed_slicer_has_left_is_removed_after_a_day(run, ct, temporary):
    old, young = temporary / "SpleenSmoothSeg-old", temporary / "SpleenSmoothSeg-young"
    for folder in (old, young):
        folder.mkdir()
        (folder / "ct.nrrd").write_bytes(b"CT")
    yesterday = time.time() - 90_000
    os.utime(old, (yesterday, yesterday))
    segmenting = run(FINDS)
    segmenting.start(ct)
    segmenting.wait()

    assert not old.exists()
    assert young.exists()
    (young / "ct.nrrd").unlink()
    young.rmdir()


def test_nobody_else_can_read_the_ct_that_is_handed_over(waiting, temporary):
    (folder,) = temporary.iterdir()

    assert folder.stat().st_mode & 0o077 == 0
    assert sitk.ReadImage(str(folder / "ct.nrrd")).GetSize() == sitk.ReadImage(str(SAMPLE_DATA / "ct.nii.gz")).GetSize()


# Devices


def test_the_devices_are_asked_without_waiting(run):
    import standin

    asked = run('print(\'{"event": "devices", "devices": [{"name": "cpu", "usable": true, "reason": ""}]}\')')
    heard = []

    asked.logic.askDevices(heard.append)
    assert not heard
    standin.waitUntil(lambda: heard)

    assert heard == [[{"name": "cpu", "usable": True, "reason": ""}]]


def test_the_devices_are_not_asked_while_torch_is_missing(run):
    class Incomplete(Complete):
        def missing(self):
            return ["torch"]

    asked = run("raise SystemExit")
    asked.logic.packages = Incomplete()
    before = processes()

    asked.logic.askDevices(pytest.fail)

    assert processes() == before
