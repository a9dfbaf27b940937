"""Short programs in place of segment.py, and a PythonSlicer that runs them, to try what a child process may do."""

import sys
import textwrap
import time
from pathlib import Path

import psutil

SAYS = """
import json, os, sys, threading, time
ct, mask = sys.argv[2], sys.argv[4]

def say(event, **values):
    print(json.dumps({"event": event, **values}), flush=True)

def end_with_stdin():
    sys.stdin.read()
    os._exit(1)

os.setpgid(0, 0)
say("started", pid=os.getpid())
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

def result(**values):
    map_ = os.path.join(os.path.dirname(mask), "map.nrrd")
    write(mask, np.s_[40:60, 20:50, 30:60], 1)
    write(map_, np.s_[40:60, 20:30, 30:60], 0.3)
    center = image.TransformContinuousIndexToPhysicalPoint([44.5, 34.5, 49.5])
    places = [{"point_lps": list(image.TransformContinuousIndexToPhysicalPoint([44.5, 24.5, k])), "score": 1.0}
              for k in (45, 55)]
    found = dict(ct=ct, segmentation=mask, disagreement_map=map_, volume_ml=18.0, disagreement=0.1, device="cpu",
                 extent_mm=[30.0, 30.0, 20.0], longest_mm=47.0, center_lps=list(center), uncertain_places=places)
    say("result", **(found | values))
"""

FINDS = SAYS + WRITES + 'say("progress", fraction=0.5, step="Folds look at the slices")\nresult()\n'
# Says "ready" after each result, and does what the next line says.
STAYS = (
    SAYS.replace("threading.Thread(", "0 and threading.Thread(")
    + WRITES
    + """
while True:
    say("progress", fraction=0.5, step=f"In process {os.getpid()}")
    print("words of this run", file=sys.stderr, flush=True)
    result()
    say("ready")
    line = sys.stdin.readline()
    if not line:
        break
    ct, mask = json.loads(line)[1], json.loads(line)[3]
    image = sitk.ReadImage(ct)
"""
)
WAITS = SAYS + 'while True:\n    say("progress", fraction=0.2, step="Waiting")\n    time.sleep(0.05)\n'
# Busy with something else: it hears neither that stdin has ended nor that nobody reads what it says.
DEAF = SAYS.rpartition("threading.Thread")[0] + 'say("progress", fraction=0.2, step="Busy")\ntime.sleep(1000)\n'


class Packages:
    """All is there, or what ``trouble`` says."""

    trouble = None

    def ensure(self):
        if self.trouble:
            raise self.trouble

    def missing(self):
        return ["torch"] if self.trouble else []


def python_slicer(folder: Path) -> Path:
    """A launcher called PythonSlicer, which as Slicer's starts another program and waits for it."""
    launcher = folder / "PythonSlicer"
    launcher.write_text(f'#!/bin/sh\nexec 3<&0\n"{sys.executable}" "$@" <&3 &\nexec <&- 3<&-\nwait $!\n')
    launcher.chmod(0o755)
    return launcher


def script(folder: Path, text: str) -> Path:
    path = folder / "child.py"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def processes() -> list[psutil.Process]:
    """What this process has started, and what that has; not the helper that multiprocessing keeps until the end."""
    return [process for process in psutil.Process().children(recursive=True) if _runs(process)]


def gone(started: list[psutil.Process], seconds: float = 1.0) -> bool:
    """Whether none of them runs any more, within so many seconds."""
    end = time.monotonic() + seconds
    while any(_runs(process) for process in started):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def _runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE and "resource_tracker" not in " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # a zombie's command line is none, either
        return False
