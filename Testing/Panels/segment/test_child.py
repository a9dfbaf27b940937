"""The child process of SegmentLogic: cancellation, kills, reuse, and output."""

import os
import signal
import time

import pytest

pytest.importorskip("slicer", reason="needs slicer-core, Slicer's own MRML libraries")
pytest.importorskip("PyQt5", reason="needs PyQt5, under the stand-in for Slicer's Qt side")
pytest.importorskip("psutil", reason="needs psutil, to see which processes run")

import slicer

from segment_children import BLOCKED, EMITS, STAYS, SUCCEEDS, WRITES, gone, processes
from SpleenSmoothSegLib.errors import UserError

pytestmark = [
    pytest.mark.slicer,
    pytest.mark.filterwarnings("ignore:Setting the shape:DeprecationWarning"),  # VTK 9.6 on NumPy 2.5
]


@pytest.fixture
def blocked(run, ct):
    """A run whose child does not notice a closed stdin."""
    return run(BLOCKED).start_and_wait_for_progress(ct)


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
    assert message.endswith(".") and "ended unexpectedly" in message
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


# Output of the child


def test_output_that_is_not_an_event_goes_to_the_log(run, ct):
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

    assert added is None and "ended unexpectedly" in message
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
