"""A Python program in a process of its own, which says what it does in JSON lines and can be ended at any moment."""

import collections
import contextlib
import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import qt
from slicer.i18n import tr as _

from SpleenSmoothSegLib.errors import UserError

PYTHON = "PythonSlicer"
COMMAND_LINE = Path(__file__).resolve().parents[2] / "CommandLine"
LONGEST_LINE = 10_000_000  # bytes; more without a line break is no event
LONGEST_LOG = 1000  # pieces of what else was said
ENDING_MS = 1000


class ChildProcess:
    """Runs a script in Slicer's own Python, beside Slicer, and hears what it prints while Qt's event loop runs.

    Args:
        onEvent: called with each JSON object that has an "event", in order.
        onEnd: called once when it has ended by itself, crashed, was killed by somebody else or could not be started
            (``wasStarted``); never after ``stop``.
    """

    def __init__(self, onEvent, onEnd):
        self._onEvent, self._onEnd = onEvent, onEnd
        self._process = None
        self._forget()

    def _forget(self) -> None:
        self._toldPid = 0
        self._line = bytearray()
        self._log = collections.deque(maxlen=LONGEST_LOG)
        self.wasStarted = False

    @property
    def log(self) -> str:
        """What it said that is no event: all of stderr, and lines on stdout that are no JSON."""
        return b"".join(self._log).decode("utf-8", "replace")

    def isRunning(self) -> bool:
        return self._process is not None

    def start(self, script, arguments: list[str], python: str = PYTHON) -> None:
        """Start ``script``; raises UserError where Slicer's Python is missing."""
        program = shutil.which(python)
        if program is None:
            raise UserError(
                _("Slicer's own Python ({python}) is not there; install Slicer again.").format(python=python)
            )
        self.stop()
        self._forget()
        self._process = process = qt.QProcess()
        process.connect("started()", self._onStarted)
        process.connect("readyReadStandardOutput()", self._onOutput)
        process.connect("readyReadStandardError()", self._onComplaint)
        process.connect("errorOccurred(QProcess::ProcessError)", self._onTrouble)
        process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        process.start(program, [str(script), *arguments])

    def tell(self, line: str) -> None:
        """Say a line to its stdin, after which the log begins anew."""
        self._log.clear()
        self._process.write(qt.QByteArray(line.encode() + b"\n"))

    def stop(self, graceMs: int = 0) -> None:
        """End it and all that it started, now; nothing more is heard of it.

        A script that ends by itself when its stdin closes may take ``graceMs`` to tidy up, while this waits for it.
        """
        process = self._letGo()
        if process is None:
            return
        if graceMs:
            process.closeWriteChannel()
            process.waitForFinished(graceMs)
        self._endTree(process)
        process.kill()  # with it goes the pipe to stdin: a script that has not told its number yet ends at this
        process.waitForFinished(ENDING_MS)

    def _letGo(self):
        """The process, of which nothing is heard from now on; None without one."""
        process, self._process = self._process, None
        qt.QTimer.singleShot(0, lambda: process)  # holds it: this may come out of a signal that Qt has not left yet
        return process

    def _endTree(self, process) -> None:
        """PythonSlicer is a launcher: to kill it would leave alone the Python that it started."""
        if os.name == "nt":
            if number := process.processId():  # 0, which is Windows itself, once it has ended
                command = ["taskkill", "/F", "/T", "/PID", str(number)]
                subprocess.run(command, capture_output=True, check=False, creationflags=subprocess.CREATE_NO_WINDOW)
        elif self._toldPid > 1 and self._toldPid != os.getpgrp():
            with contextlib.suppress(OSError):  # it has gone already
                if os.getpgid(self._toldPid) == self._toldPid:
                    os.killpg(self._toldPid, signal.SIGKILL)

    def _onStarted(self) -> None:
        self.wasStarted = True

    def _onOutput(self) -> None:
        process = self._process
        if not process:  # or Qt has deleted it, as at the end of Slicer
            return
        self._line += _bytes(process.readAllStandardOutput())
        *lines, self._line = self._line.split(b"\n")
        if len(self._line) > LONGEST_LINE:
            lines.append(self._line[:LONGEST_LINE])
            self._line = bytearray()
        for line in lines:
            self._hear(bytes(line))
            if self._process is not process:  # who heard it has stopped it
                return

    def _hear(self, line: bytes) -> None:
        event = _event(line)
        if event is None:
            self._log.append(line[:1000] + b"\n")
        elif event["event"] == "started":
            with contextlib.suppress(TypeError, ValueError):
                self._toldPid = int(event.get("pid"))
        else:
            self._onEvent(event)

    def _onComplaint(self) -> None:
        if self._process:
            self._log.append(_bytes(self._process.readAllStandardError()))

    def _onTrouble(self, trouble) -> None:
        if trouble == qt.QProcess.FailedToStart and self._process is not None:
            self._log.append(self._process.errorString().encode())
            self._letGo()
            self._onEnd()

    def _onFinished(self, _code, status) -> None:
        process = self._process
        if not process:
            return
        self._onComplaint()
        self._onOutput()
        if self._line and self._process is process:
            self._hear(bytes(self._line))
        if self._process is not process:
            return
        if status != qt.QProcess.NormalExit:  # the launcher was killed; what it started may live on
            self._endTree(process)
        self._letGo()
        self._onEnd()


def _event(line: bytes) -> dict | None:
    try:
        event = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _bytes(byteArray) -> bytes:
    return bytes(byteArray.data() or b"")
