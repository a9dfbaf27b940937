"""The process of a command line: signals, the parent process, the encoding of the console, and the exit."""

import contextlib
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator

from ..io.atomic import remove_unfinished

GRACE_SECONDS = 0.4  # for cleaning up after the parent process has ended
NextLine = Callable[[float], str | None]
"""Waits up to that many seconds for the next line on stdin; None if none arrives."""

interrupted = threading.Event()
"""Set once a signal has raised KeyboardInterrupt."""


def stop_on_signals() -> None:
    """Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt, once: a second one must not disturb the cleanup."""
    # Windows has no SIGHUP; ignored signals (nohup, background jobs) stay ignored.
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]

    def stop(number, frame):
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        interrupted.set()
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)
    _hide_exceptions_of_finalizers()


def _hide_exceptions_of_finalizers() -> None:
    """Do not print exceptions in finalizers after an interrupt: of half-built connections, or the interrupt itself.

    Python ignores an exception there; `raise_if_interrupted` raises the interrupt again.
    """
    default = sys.unraisablehook

    def hook(unraisable) -> None:
        if not interrupted.is_set():
            default(unraisable)

    sys.unraisablehook = hook


def raise_if_interrupted() -> None:
    """Raise KeyboardInterrupt if a signal has arrived: again, where Python ignored the first one."""
    if interrupted.is_set():
        raise KeyboardInterrupt


def exit_with_parent() -> NextLine:
    """Exit when the parent process closes its pipe to stdin or ends.

    On POSIX systems this process gets its own process group. When the pipe closes, it is interrupted as by a signal,
    and exits by force if that takes too long.

    Returns:
        a function for the lines that arrive on stdin.
    """
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):  # it is a session leader and so already leads a group
            os.setpgid(0, 0)
    lines: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_exit_with_stdin, args=[lines], daemon=True).start()

    def next_line(seconds: float) -> str | None:
        with contextlib.suppress(queue.Empty):
            return lines.get(timeout=seconds)
        return None

    return next_line


def _exit_with_stdin(lines: queue.SimpleQueue) -> None:
    rest = b""
    for chunk in _stdin():
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            lines.put(line.decode("utf-8", "replace"))
    signal.raise_signal(signal.SIGTERM)  # the main thread cleans up
    time.sleep(GRACE_SECONDS)
    remove_unfinished()
    os._exit(130)


def _stdin() -> Iterator[bytes]:
    """Chunks from stdin, until it is closed."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # no stdin
            while chunk := os.read(0, 4096):
                yield chunk
    else:
        # Polled, because while a thread reads from a pipe, Windows blocks every other access to it, and libraries that
        # check it at import (numpy) would wait: https://github.com/numpy/numpy/issues/24290
        import ctypes
        import msvcrt

        kernel, broken_pipe = ctypes.WinDLL("kernel32", use_last_error=True), 109
        handle, available = ctypes.c_void_p(msvcrt.get_osfhandle(0)), ctypes.c_ulong()
        while (
            kernel.PeekNamedPipe(handle, None, 0, None, ctypes.byref(available), None)
            or ctypes.get_last_error() != broken_pipe
        ):
            if available.value:
                yield os.read(0, available.value)
                available.value = 0
            else:
                time.sleep(0.1)


def escape_unencodable() -> None:
    """Escape characters that the encoding of the console lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_process(code: int, immediately: bool = False) -> None:
    """Exit, also from Slicer, which stays open after a script otherwise.

    `immediately` skips the cleanup of PyTorch at exit, which takes a second.
    """
    if "slicer" in sys.modules:
        sys.modules["slicer"].util.exit(code)
    elif immediately:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    else:
        sys.exit(code)
