"""What all command lines share: options, exit codes, and output for a user or as JSON lines."""

import argparse
import contextlib
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ..errors import UserError, explain
from ..inference.result import SegmentationResult
from .process import NextLine, escape_unencodable, exit_with_parent, interrupted


class Parser(argparse.ArgumentParser):
    """Raises UserError instead of exiting."""

    def __init__(self, program: str, description: str):
        super().__init__(
            prog=program,
            description=description,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str):
        raise UserError(f"{self.prog}: {message}; --help lists all options.")


def add_console_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that `run_program` reads: --json, --child and --debug."""
    parser.add_argument("--json", action="store_true", help="JSON lines on stdout instead of a progress bar")
    parser.add_argument("--child", action="store_true", help="--json for a parent process; exit when stdin closes")
    parser.add_argument("--debug", action="store_true", help="show the traceback of errors")


class Console:
    """Where progress, results and errors go.

    Attributes:
        next_line: lines on stdin, for a child process.
    """

    def __init__(self, debug: bool):
        self._debug = debug
        self.next_line: NextLine = lambda seconds: None

    def error(self, error: BaseException, ct: Path | None = None) -> None:
        if self._debug:
            traceback.print_exception(error)
        self.message("error", explain(error), ct)

    def warning(self, message: str, ct: Path) -> None:
        self.message("warning", message, ct)

    def message(self, event: str, message: str, ct: Path | None) -> None:
        """Report an error or a warning."""
        raise NotImplementedError

    def warner(self, ct: Path) -> Callable[[str], None]:
        return lambda message: self.warning(message, ct)


class TerminalConsole(Console):
    """A progress bar and messages on stderr, results on stdout."""

    _bar = None

    def progress(self, title: str, ct: Path | None) -> Callable[[float, str], None]:
        if not getattr(sys.stderr, "isatty", bool)():  # a file, or Slicer's console
            return lambda fraction, step: None
        from tqdm import tqdm

        def show(fraction: float, step: str) -> None:
            if self._bar is None:  # at first, and after a result
                self._bar = tqdm(total=100, leave=False, bar_format="{percentage:3.0f}% |{bar:30}| {desc}")
            self._bar.n = round(100 * fraction)
            self._bar.set_description_str(f"{title}: {step}")

        return show

    def result(self, values: dict[str, Any]) -> None:
        """Print the values of a "result" event of segment.py."""
        self._close()
        print(f"{values['ct']}: {summary(SegmentationResult.from_dict(values['result']))}")
        for name, path in values["files"].items():
            if path:
                print(f"  {name.replace('_', ' ')}: {path}")
        sys.stdout.flush()

    def study(self, counts, table: Path) -> None:
        self._close()
        earlier = f" ({counts.already_done} of them in an earlier run)" if counts.already_done else ""
        failed = f", {counts.failed} failed" if counts.failed else ""
        print(f"Segmented: {counts.done} of {counts.done + counts.failed} CTs{earlier}{failed}; {table}", flush=True)

    def message(self, event: str, message: str, ct: Path | None) -> None:
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
    """One JSON object per line on stdout; messages on stderr, too."""

    def progress(self, title: str, ct: Path | None) -> Callable[[float, str], None]:
        name = str(ct) if ct else None
        return lambda fraction, step: self.event("progress", ct=name, fraction=round(fraction, 3), step=step)

    def result(self, values: dict[str, Any]) -> None:
        self.event("result", **values)

    def study(self, counts, table: Path) -> None:
        self.event("study", done=counts.done, already_done=counts.already_done, failed=counts.failed, table=str(table))

    def message(self, event: str, message: str, ct: Path | None) -> None:
        self.event(event, ct=str(ct) if ct else None, message=message)
        print(message, file=sys.stderr)

    def event(self, event: str, **values) -> None:
        print(json.dumps({"event": event, **values}), flush=True)


def summary(result: SegmentationResult) -> str:
    """One line for a console: volume, fold agreement, Dice, time and memory, as far as known."""
    measures = [f"spleen {result.volume_ml:.0f} mL" if result.volume_ml else "no spleen found"]
    if result.fold_agreement is not None:
        measures.append(f"fold agreement {100 * result.fold_agreement:.1f} %")
    if result.dice is not None:
        measures.append(f"Dice {result.dice:.3f} against the label")
    costs = [f"{result.seconds:.1f} s"] if result.seconds is not None else []
    if result.peak_memory_mb is not None:
        costs.append(f"{result.peak_memory_mb} MB")
    return "; ".join(", ".join(part) for part in (measures, costs) if part)


def run_program(
    work: Callable[[Any], int],
    arguments: Sequence[str],
    consoles: tuple[type, type] = (TerminalConsole, JsonConsole),
    json_options: Sequence[str] = ("--json",),
) -> int:
    """Call `work` with the console that the arguments ask for, and return the exit code.

    Only the options of the console are parsed here, so that even an error in the other arguments is reported in the
    requested form, and a child process watches its parent before anything heavy is imported.

    Args:
        work: gets the console; returns the exit code.
        arguments: of the command line.
        consoles: for a user, and for JSON lines.
        json_options: options that ask for JSON lines, besides --child.
    """
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    for option in ("--child", "--debug"):
        parser.add_argument(option, action="store_true")
    parser.add_argument(*json_options, dest="json", action="store_true")
    try:
        options, _ = parser.parse_known_args(list(arguments))
    except argparse.ArgumentError:  # raised again by the program's own parser
        options = argparse.Namespace(child=False, debug=False, json=False)
    console = consoles[options.json or options.child](options.debug)

    def start() -> int:
        if options.child:
            console.next_line = exit_with_parent()
            console.event("started", pid=os.getpid())
        return work(console)

    return exit_code(start, console)


def exit_code(work: Callable[[], int], console: Console) -> int:
    """The return value of `work`, or the exit code for its exception, which `console` reports in one sentence."""
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
            if interrupted.is_set():  # a library being imported may turn KeyboardInterrupt into another error
                console.error(KeyboardInterrupt())
                return 130
            console.error(error)
            return 1
    except BrokenPipeError:  # the reader has closed the pipe
        with contextlib.suppress(Exception):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
