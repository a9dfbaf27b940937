"""Code shared by the command lines: the summary of a result, and the choice of the console."""

import json
from dataclasses import replace

import pytest

from SpleenSmoothSegLib.batch import console
from SpleenSmoothSegLib.batch.console import (
    JsonConsole,
    Parser,
    TerminalConsole,
    add_console_options,
    run_program,
    summary,
)
from SpleenSmoothSegLib.inference.result import SegmentationResult

RESULT = SegmentationResult(
    volume_ml=234.4,
    fold_volumes_ml=(230.0, 238.0),
    fold_agreement=0.95,
    extent_rl_mm=80.0,
    extent_ap_mm=60.0,
    extent_si_mm=110.0,
    longest_mm=120.0,
    center_lps=(1.0, 2.0, 3.0),
    uncertain_places=(),
    device="cpu",
    dice=0.9141,
    seconds=4.12,
    peak_memory_mb=900,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "spleen 234 mL, fold agreement 95.0 %, Dice 0.914 against the label; 4.1 s, 900 MB"),
        ({"fold_agreement": None, "dice": None}, "spleen 234 mL; 4.1 s, 900 MB"),
        ({"volume_ml": 0.0, "dice": None, "peak_memory_mb": None}, "no spleen found, fold agreement 95.0 %; 4.1 s"),
    ],
)
def test_summary_contains_known_measures_only(changes, expected):
    assert summary(replace(RESULT, **changes)) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), TerminalConsole),
        (("--json",), JsonConsole),
        (("--child",), JsonConsole),
        (("-o", "x", "--json"), JsonConsole),
    ],
)
def test_run_program_selects_the_console_by_options(monkeypatch, capsys, arguments, expected):
    monkeypatch.setattr(console, "exit_with_parent", lambda: None)
    chosen = []
    assert run_program(lambda console: chosen.append(type(console)) or 0, arguments) == 0
    assert chosen == [expected]


def test_invalid_argument_of_a_child_is_a_json_error_after_started(monkeypatch, capsys):
    monkeypatch.setattr(console, "exit_with_parent", lambda: None)

    def work(_) -> int:
        parser = Parser("program.py", "")
        add_console_options(parser)
        parser.parse_args(["--child", "--wrong"])
        return 0

    assert run_program(work, ["--child", "--wrong"]) == 1
    started, error = map(json.loads, capsys.readouterr().out.splitlines())
    assert started["event"] == "started"
    message = "program.py: unrecognized arguments: --wrong; --help lists all options."
    assert error == {"event": "error", "ct": None, "message": message}


def test_value_of_a_flag_is_reported_by_the_parser_of_the_program(capsys):
    def work(_) -> int:
        parser = Parser("program.py", "")
        add_console_options(parser)
        parser.parse_args(["--json=yes"])
        return 0

    assert run_program(work, ["--json=yes"]) == 1
    assert "ignored explicit argument 'yes'" in capsys.readouterr().err
