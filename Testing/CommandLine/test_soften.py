"""soften.py: soft labels of a Decathlon folder from the command line."""

import json
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK as sitk
from soften import main

from inputs import everything_in
from locations import REPOSITORY
from SpleenSmoothSegLib.border.kernels import Border, smooth_border
from SpleenSmoothSegLib.io.decathlon import list_cases
from training_data import CASES, write_dataset

SCRIPT = REPOSITORY / "SpleenSmoothSeg" / "CommandLine" / "soften.py"
FILES = [f"{name}.nii.gz" for name in CASES]


@pytest.fixture
def dataset(tmp_path):
    return write_dataset(tmp_path / "Task é 1")


@pytest.fixture
def out(tmp_path):
    return tmp_path / "soft"


def soften(dataset, out, *options: str) -> int:
    return main([str(dataset), str(out), "--border", "gaussian:2mm", *options])


def events(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_every_label_gets_a_soft_label_on_its_own_grid(dataset, out):
    assert soften(dataset, out) == 0
    assert everything_in(out) == FILES
    for name in FILES:
        label, soft = sitk.ReadImage(str(dataset / "labelsTr" / name)), sitk.ReadImage(str(out / name))
        expected = smooth_border(label, Border.parse("gaussian:2mm"))
        assert soft.GetPixelID() == sitk.sitkFloat32
        assert soft.GetOrigin() == label.GetOrigin() and soft.GetDirection() == label.GetDirection()
        assert np.allclose(sitk.GetArrayViewFromImage(soft), sitk.GetArrayViewFromImage(expected), atol=1e-6)


def test_the_spleen_is_found_among_other_organs(tmp_path, out):
    dataset = write_dataset(tmp_path / "Task", labels={"0": "background", "1": "liver", "2": "spleen"})
    assert soften(dataset, out) == 0
    assert not sitk.GetArrayFromImage(sitk.ReadImage(str(out / FILES[0]))).any()  # its labels hold no 2


def test_invalid_label_does_not_stop_the_others(dataset, out, capsys):
    (dataset / "labelsTr" / "b.nii.gz").write_bytes(b"no image")
    (dataset / "labelsTr" / "c.nii.gz").unlink()
    assert soften(dataset, out, "--json") == 1
    assert everything_in(out) == ["a.nii.gz", "d.nii.gz"]
    emitted = events(capsys.readouterr().out)
    kinds = [event["event"] for event in emitted if event["event"] != "progress"]
    assert kinds == ["result", "error", "error", "result"]
    errors = [event["message"] for event in emitted if event["event"] == "error"]
    assert "b.nii.gz" in errors[0] and "c.nii.gz" in errors[1]
    assert not any("\n" in message for message in errors)
    fractions = [event["fraction"] for event in emitted if event["event"] == "progress"]
    assert fractions == [0, 0.25, 0.5, 0.75]


def test_console_prints_the_path_of_each_soft_label(dataset, out, capsys):
    soften(dataset, out)
    assert capsys.readouterr().out.splitlines()[0] == f"{dataset / 'labelsTr' / FILES[0]}: {out / FILES[0]}"


def test_existing_soft_labels_are_replaced_only_with_overwrite(dataset, out, capsys):
    out.mkdir()
    (out / "c.nii.gz").write_text("precious")
    assert soften(dataset, out) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert everything_in(out) == ["c.nii.gz"]
    assert soften(dataset, out, "--overwrite") == 0
    assert everything_in(out) == FILES


@pytest.mark.parametrize("folder", ["labelsTr", "imagesTr"])
def test_the_dataset_itself_is_never_written_to(dataset, folder, capsys):
    before = {path.name: path.read_bytes() for path in (dataset / folder).iterdir()}
    assert soften(dataset, dataset / folder, "--overwrite") == 1
    assert "choose another" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in (dataset / folder).iterdir()} == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nowhere", "out", "--border", "gaussian:1mm"], "dataset.json"),
        (["nowhere", "out"], "--border"),
        (["nowhere", "out", "--border", "gauss:1mm"], "Unknown border kernel"),
        (["nowhere", "out", "--border", "gaussian:1000mm"], "1000"),
    ],
)
def test_invalid_arguments_are_reported_in_one_sentence(arguments, sentence, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert sentence in error and error.count("\n") == 1
    assert not everything_in(tmp_path)


def test_child_exits_when_stdin_is_closed_and_leaves_only_complete_files(dataset, out):
    command = [sys.executable, str(SCRIPT), str(dataset), str(out), "--border", "gaussian:2mm:3d", "--child"]
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert json.loads(child.stdout.readline())["event"] == "started"
    for line in child.stdout:
        if json.loads(line)["event"] == "result":
            break
    child.stdin.close()
    child.stdout.read()
    assert child.wait(timeout=20) in (0, 130)  # it may have finished before stdin was closed
    assert set(everything_in(out)) <= set(FILES)
    for name in everything_in(out):
        sitk.ReadImage(str(out / name))


def test_list_cases_includes_cases_with_missing_files(dataset):
    (dataset / "labelsTr" / "a.nii.gz").unlink()
    assert [case.name for case in list_cases(dataset)] == list(CASES)
