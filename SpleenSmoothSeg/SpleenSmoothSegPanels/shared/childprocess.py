"""Runs a Python script in a child process, which prints events as JSON lines and can be killed at any time."""

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
MAX_LINE = 10_000_000  # bytes; a longer line is not an event
MAX_LOG = 1000  # chunks of other output
KILL_MS = 1000


class ChildProcess:
    """Runs a script in Slicer's Python, and reads what it prints while Qt's event loop runs.

    Args:
        onEvent: called with each JSON object that has an "event", in order.
        onEnd: called once when the script has ended, crashed, was killed by another program or could not be started
            (see ``wasStarted``); never after ``stop``.
    """

    def __init__(self, onEvent, onEnd):
        self._onEvent, self._onEnd = onEvent, onEnd
        self._process = None
        self._reset()

    def _reset(self) -> None:
        self._pid = 0  # as the script reports it: that of the launcher is another
        self._line = bytearray()
        self._log = collections.deque(maxlen=MAX_LOG)
        self.wasStarted = False

    @property
    def log(self) -> str:
        """All other output: stderr, and lines on stdout that are not events."""
        return b"".join(self._log).decode("utf-8", "replace")

    def isRunning(self) -> bool:
        return self._process is not None

    def start(self, script, arguments: list[str], python: str = PYTHON) -> None:
        """Start ``script``; raises UserError if Slicer's Python is missing."""
        program = shutil.which(python)
        if program is None:
            raise UserError(_("Slicer's Python ({python}) was not found; reinstall Slicer.").format(python=python))
        self.stop()
        self._reset()
        self._process = process = qt.QProcess()
        process.connect("started()", self._onStarted)
        process.connect("readyReadStandardOutput()", self._onStdout)
        process.connect("readyReadStandardError()", self._onStderr)
        process.connect("errorOccurred(QProcess::ProcessError)", self._onError)
        process.connect("finished(int,QProcess::ExitStatus)", self._onFinished)
        process.start(program, [str(script), *arguments])

    def send(self, line: str) -> None:
        """Write a line to its stdin, and clear the log."""
        self._log.clear()
        self._process.write(qt.QByteArray(line.encode() + b"\n"))

    def stop(self, graceMs: int = 0) -> None:
        """Kill it and all processes that it started; no callback is called any more.

        A script that ends when its stdin is closed gets ``graceMs`` to clean up, while this call blocks.
        """
        process = self._release()
        if process is None:
            return
        if graceMs:
            process.closeWriteChannel()
            process.waitForFinished(graceMs)
        self._killTree(process)
        process.kill()  # also closes stdin, which ends a script that has not reported its process id yet
        process.waitForFinished(KILL_MS)

    def _release(self):
        """The process, whose signals are ignored from now on; None without one."""
        process, self._process = self._process, None
        qt.QTimer.singleShot(0, lambda: process)  # keeps it alive: Qt may still be in one of its signals
        return process

    def _killTree(self, process) -> None:
        """PythonSlicer is a launcher: killing only that would leave the Python that it started."""
        if os.name == "nt":
            if pid := process.processId():  # 0 (Windows itself) once it has ended
                command = ["taskkill", "/F", "/T", "/PID", str(pid)]
                subprocess.run(command, capture_output=True, check=False, creationflags=subprocess.CREATE_NO_WINDOW)
        elif self._pid > 1 and self._pid != os.getpgrp():
            with contextlib.suppress(OSError):  # it has ended already
                if os.getpgid(self._pid) == self._pid:
                    os.killpg(self._pid, signal.SIGKILL)

    def _onStarted(self) -> None:
        self.wasStarted = True

    def _onStdout(self) -> None:
        process = self._process
        if not process:  # or Qt has deleted it, as when Slicer quits
            return
        self._line += _bytes(process.readAllStandardOutput())
        *lines, self._line = self._line.split(b"\n")
        if len(self._line) > MAX_LINE:
            lines.append(self._line[:MAX_LINE])
            self._line = bytearray()
        for line in lines:
            self._handleLine(bytes(line))
            if self._process is not process:  # the callback has stopped it
                return

    def _handleLine(self, line: bytes) -> None:
        event = _event(line)
        if event is None:
            self._log.append(line[:1000] + b"\n")
        elif event["event"] == "started":
            with contextlib.suppress(TypeError, ValueError):
                self._pid = int(event.get("pid"))
        else:
            self._onEvent(event)

    def _onStderr(self) -> None:
        if self._process:
            self._log.append(_bytes(self._process.readAllStandardError()))

    def _onError(self, error) -> None:
        if error == qt.QProcess.FailedToStart and self._process is not None:
            self._log.append(self._process.errorString().encode())
            self._release()
            self._onEnd()

    def _onFinished(self, _code, status) -> None:
        process = self._process
        if not process:
            return
        self._onStderr()
        self._onStdout()
        if self._line and self._process is process:
            self._handleLine(bytes(self._line))
        if self._process is not process:
            return
        if status != qt.QProcess.NormalExit:  # the launcher was killed; the Python that it started may still run
            self._killTree(process)
        self._release()
        self._onEnd()


def _event(line: bytes) -> dict | None:
    try:
        event = json.loads(line.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    return event if isinstance(event, dict) and isinstance(event.get("event"), str) else None


def _bytes(byteArray) -> bytes:
    return bytes(byteArray.data() or b"")
