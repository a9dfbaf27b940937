"""Short programs in place of segment.py, and a PythonSlicer that runs them, to test child processes."""

import sys
import textwrap
import time
from pathlib import Path

import psutil

EMITS = """
import json, os, sys, threading, time
ct, mask = sys.argv[2], sys.argv[4]

def emit(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)

def end_with_stdin():
    sys.stdin.read()
    os._exit(1)

os.setpgid(0, 0)
emit("started", pid=os.getpid())
threading.Thread(target=end_with_stdin, daemon=True).start()
"""

WRITES = """
import numpy as np
import SimpleITK as sitk

image = sitk.ReadImage(ct)

def write(path, box, value):
    array = np.zeros(image.GetSize()[::-1], np.float32)
    array[box] = value
    written = sitk.GetImageFromArray(array)
    written.CopyInformation(image)
    sitk.WriteImage(written, path)

def point(*index):
    return list(image.TransformContinuousIndexToPhysicalPoint(index))

def emit_result(box=np.s_[40:60, 20:50, 30:60], uncertainty=0.3, uncertainty_map="map.nrrd", **values):
    map_ = os.path.join(os.path.dirname(mask), uncertainty_map)
    write(mask, box, 1)
    write(os.path.join(os.path.dirname(mask), "map.nrrd"), np.s_[40:60, 20:30, 30:60], uncertainty)
    places = [{"point_lps": point(44.5, 24.5, k), "area_mm2": 20.0} for k in (45, 55)]
    result = dict(volume_ml=18.0, fold_volumes_ml=[17.0, 19.0], fold_agreement=0.9, extent_rl_mm=30.0,
                  extent_ap_mm=30.0, extent_si_mm=20.0, longest_mm=47.0, center_lps=point(44.5, 34.5, 49.5),
                  uncertain_places=places, device="cpu", dice=None, seconds=12.3, peak_memory_mb=900)
    files = dict(segmentation=mask, overlay=None, probability=None, uncertainty_map=map_)
    emit("result", ct=ct, result=result | values, files=files)
"""

SUCCEEDS = EMITS + WRITES + 'emit("progress", fraction=0.5, step="Predicting")\nemit_result()\n'
# Emits "ready" after each result, and executes the next line of stdin.
STAYS = (
    EMITS.replace("threading.Thread(", "0 and threading.Thread(")
    + WRITES
    + """
while True:
    emit("progress", fraction=0.5, step=f"In process {os.getpid()}")
    print("log of this run", file=sys.stderr, flush=True)
    time.sleep(0.3)  # stderr and stdout are two pipes: let the first be read before "ready" ends the run
    emit_result()
    emit("ready")
    line = sys.stdin.readline()
    if not line:
        break
    ct, mask = json.loads(line)[1], json.loads(line)[3]
    image = sitk.ReadImage(ct)
"""
)
WAITS = EMITS + 'while True:\n    emit("progress", fraction=0.2, step="Waiting")\n    time.sleep(0.05)\n'
# Blocked: it notices neither a closed stdin nor a closed stdout.
BLOCKED = EMITS.rpartition("threading.Thread")[0] + 'emit("progress", fraction=0.2, step="Busy")\ntime.sleep(1000)\n'


class Packages:
    """All installed, unless ``error`` is set."""

    error = None

    def ensure(self):
        if self.error:
            raise self.error

    def missing(self):
        return ["torch"] if self.error else []


def python_slicer(folder: Path) -> Path:
    """A launcher called PythonSlicer that starts Python and waits for it, as Slicer's does."""
    launcher = folder / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\nexec 3<&0\n"{sys.executable}" "$@" <&3 &\nexec <&- 3<&-\nwait $!\n')
    launcher.chmod(0o755)
    return launcher


def script(folder: Path, text: str) -> Path:
    path = folder / "child.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def processes() -> list[psutil.Process]:
    """The descendants of this process, except the resource tracker of multiprocessing."""
    return [process for process in psutil.Process().children(recursive=True) if _runs(process)]


def gone(started: list[psutil.Process], seconds: float = 1.0) -> bool:
    """Whether all of them have ended, after at most that many seconds."""
    end = time.monotonic() + seconds
    while any(_runs(process) for process in started):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # also raised for a zombie's command line
        return False
