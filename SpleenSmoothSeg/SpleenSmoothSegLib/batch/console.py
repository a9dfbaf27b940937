"""What every command line shares: how it is read, how it is stopped, and what it says, to a person or as JSON lines."""

import argparse
import contextlib
import json
import os
import queue
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import UserError, explain
from ..io.atomic import remove_unfinished

GRACE_SECONDS = 0.4  # to tidy up once nobody is there any more


class Parser(argparse.ArgumentParser):
    """Says in one sentence what it does not understand: raises UserError instead of ending the program."""

    def __init__(self, program: str, description: str):
        super().__init__(
            prog=program,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str):
        raise UserError(f"{self.prog}: {message}; --help lists what it takes.")


_was_stopped = threading.Event()


class Console:
    """Where progress, results and errors go."""

    def __init__(self, debug: bool):
        self._debug = debug

    def error(self, error: BaseException, ct: Path | None = None) -> None:
        if self._debug:
            traceback.print_exception(error)
        self.sentence("error", explain(error), ct)

    def warning(self, message: str, ct: Path) -> None:
        self.sentence("warning", message, ct)

    def sentence(self, event: str, message: str, ct: Path | None) -> None:
        """Report an error or a warning."""
        raise NotImplementedError

    def warner(self, ct: Path) -> Callable[[str], None]:
        return lambda message: self.warning(message, ct)


class PersonConsole(Console):
    """A progress bar and sentences on stderr, results on stdout."""

    _bar = None

    def progress(self, title: str, ct: Path | None) -> Callable[[float, str], None]:
        if not getattr(sys.stderr, "isatty", bool)():  # a file, or Slicer's console
            return lambda fraction, step: None
        from tqdm import tqdm

        def show(fraction: float, step: str) -> None:
            if self._bar is None:  # the first time, and after a result
                self._bar = tqdm(total=100, leave=False, bar_format="{percentage:3.0f}% |{bar:30}| {desc}")
            self._bar.n = round(100 * fraction)
            self._bar.set_description_str(f"{title}: {step}")

        return show

    def result(self, result: dict) -> None:
        self._close()
        volume = f"spleen {result['volume_ml']:.0f} mL" if result["volume_ml"] else "no spleen found"
        dice = f", Dice {result['dice']:.3f} against its label" if "dice" in result else ""
        memory = f", {result['peak_memory_mb']} MB" if result["peak_memory_mb"] else ""
        lines = [
            f"{result['ct']}: {volume}{dice}; two folds differ by {100 * result['disagreement']:.1f} %; "
            f"{result['seconds']:.1f} s{memory}"
        ]
        for what in ("segmentation", "overlay", "probability", "disagreement_map"):
            if result[what]:
                lines.append(f"  {what.replace('_', ' ')}: {result[what]}")
        print("\n".join(lines), flush=True)

    def study(self, counts, table: Path) -> None:
        self._close()
        earlier = f" ({counts.before} of them by an earlier start)" if counts.before else ""
        failed = f", {counts.failed} failed" if counts.failed else ""
        print(f"Segmented: {counts.done} of {counts.done + counts.failed} CTs{earlier}{failed}; {table}", flush=True)

    def sentence(self, event: str, message: str, ct: Path | None) -> None:
        if event == "warning" and self._bar is not None:
            self._bar.write(message, file=sys.stderr)  # above the bar, which goes on
        else:
            self._close()
            print(message, file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class JsonConsole(Console):
    """One JSON object a line on stdout; the sentences on stderr, too."""

    def progress(self, title: str, ct: Path | None) -> Callable[[float, str], None]:
        name = str(ct) if ct else None
        return lambda fraction, step: self.event("progress", ct=name, fraction=round(fraction, 3), step=step)

    def result(self, result: dict) -> None:
        self.event("result", **result)

    def study(self, counts, table: Path) -> None:
        self.event("study", done=counts.done, before=counts.before, failed=counts.failed, table=str(table))

    def sentence(self, event: str, message: str, ct: Path | None) -> None:
        self.event(event, ct=str(ct) if ct else None, message=message)
        print(message, file=sys.stderr)

    def event(self, event: str, **values) -> None:
        print(json.dumps({"event": event, **values}), flush=True)


def exit_code(work: Callable[[], int], console: Console) -> int:
    """What `work` returns, or the exit code for what ends it early, which `console` says in one sentence."""
    escape_unencodable()
    try:
        try:
            return work()
        except SystemExit as end:  # after --help
            return int(end.code or 0)
        except BrokenPipeError:
            raise
        except KeyboardInterrupt as interrupt:
            console.error(interrupt)
            return 130
        except Exception as error:
            if _was_stopped.is_set():  # a library that was being loaded has made an error of its own of it
                console.error(KeyboardInterrupt())
                return 130
            console.error(error)
            return 1
    except BrokenPipeError:  # nobody reads what we say any more
        with contextlib.suppress(Exception):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def stop_on_signals() -> None:
    """Ctrl-C, SIGTERM and SIGHUP raise KeyboardInterrupt, once: a second one must not disturb the tidying up."""
    # Windows has no SIGHUP; what is ignored (nohup, a job in the background) stays so.
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [number for number in numbers if signal.getsignal(number) != signal.SIG_IGN]

    def stop(number, frame):
        for each in numbers:
            signal.signal(each, signal.SIG_IGN)
        _was_stopped.set()
        raise KeyboardInterrupt

    for number in numbers:
        signal.signal(number, stop)


def exit_with_parent() -> Callable[[float], str | None]:
    """Be easily ended by the program that started this one, and end with it.

    On POSIX systems this process gets a process group of its own. As soon as the pipe to its stdin is closed, by hand
    or because the other end died, it is interrupted as by a signal, and ends by force if that takes too long.

    Returns:
        what waits so many seconds for the next line on stdin, and gives it, or None where none has come.
    """
    if hasattr(os, "setpgid"):
        with contextlib.suppress(OSError):  # it leads a session, and so a group
            os.setpgid(0, 0)
    lines: queue.SimpleQueue = queue.SimpleQueue()
    threading.Thread(target=_end_with_stdin, args=[lines], daemon=True).start()

    def next_line(seconds: float) -> str | None:
        with contextlib.suppress(queue.Empty):
            return lines.get(timeout=seconds)
        return None

    return next_line


def _end_with_stdin(lines: queue.SimpleQueue) -> None:
    rest = b""
    for said in _stdin():
        *whole, rest = (rest + said).split(b"\n")
        for line in whole:
            lines.put(line.decode("utf-8", "replace"))
    signal.raise_signal(signal.SIGTERM)  # the main thread begins nothing new and tidies up
    time.sleep(GRACE_SECONDS)
    remove_unfinished()
    os._exit(130)


def _stdin() -> Iterator[bytes]:
    """What comes, until its end."""
    if sys.platform != "win32":
        with contextlib.suppress(OSError):  # there is none
            while said := os.read(0, 4096):
                yield said
    else:
        # Polled, because while a thread reads from a pipe, Windows blocks every other access to it, and libraries that
        # check it when they are loaded (numpy's) would wait: https://github.com/numpy/numpy/issues/24290
        import ctypes
        import msvcrt

        kernel, broken_pipe = ctypes.WinDLL("kernel32", use_last_error=True), 109
        handle, there = ctypes.c_void_p(msvcrt.get_osfhandle(0)), ctypes.c_ulong()
        while (
            kernel.PeekNamedPipe(handle, None, 0, None, ctypes.byref(there), None)
            or ctypes.get_last_error() != broken_pipe
        ):
            if there.value:
                yield os.read(0, there.value)
                there.value = 0
            else:
                time.sleep(0.1)


def escape_unencodable() -> None:
    """Print names of any letters on a console that lacks some of them."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")


def exit_process(code: int, immediately: bool = False) -> None:
    """End the program; Slicer stays open after a script unless told to leave.

    `immediately` skips Python's own clean-up of PyTorch, which takes a second.
    """
    if "slicer" in sys.modules:
        sys.modules["slicer"].util.exit(code)
    elif immediately:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
        os._exit(code)
    else:
        sys.exit(code)
