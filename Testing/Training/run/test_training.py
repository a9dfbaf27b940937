"""Complete trainings on a small dataset: both phases, interruption and resume, model folder and report."""

import csv
import json
import os
import signal
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import pytest
import SimpleITK as sitk
import torch

from inputs import everything_in
from locations import TRAINING_MODULE
from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.inference.ensemble import segment_image
from SpleenSmoothSegLib.model.folder import load_model, read_card
from SpleenSmoothSegTrainingLib.recipe.file import read_recipe
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from SpleenSmoothSegTrainingLib.run.options import Run
from SpleenSmoothSegTrainingLib.run.training import train
from training_data import SAMPLE, write_dataset

TRAIN = TRAINING_MODULE / "CommandLine" / "train.py"
SMALL = Recipe(
    encoder="tu-mobilenetv3_small_050",
    image_size=64,
    spacing=6.0,
    fold_count=2,
    epochs=(2, 1),
    adam_rate=1e-3,
    batch_size=4,
)
OPTIONS = (
    *("--encoder", SMALL.encoder, "--image-size", "64", "--spacing", "6", "--batch-size", "4", "--adam-rate", "1e-3"),
    *("--fold-count", "2", "--epochs", "2,1", "--device", "cpu"),
)
RESULTS = ("recipe.toml", "splits.json", "model/model.json", "metrics.csv", "metrics_by_slice.csv")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "Task")


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """One cache folder for all trainings of this file, instead of the user's."""
    os.environ["SPLEENSMOOTHSEG_CACHE"] = str(tmp_path_factory.mktemp("cache"))
    # Sums depend on the number of threads, and with them the last digits of the weights that tests compare.
    os.environ["OMP_NUM_THREADS"], threads = "1", torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
    del os.environ["SPLEENSMOOTHSEG_CACHE"], os.environ["OMP_NUM_THREADS"]


@pytest.fixture(scope="module")
def compared(dataset, tmp_path_factory):
    """Folder, events and results of a training with a control and the test case d."""
    out, events = tmp_path_factory.mktemp("out") / "training", []
    results = train(Run(dataset, out, SMALL, test=("d",), device="cpu", compare=True), events.append)
    return out, events, results


def states(out):
    return [torch.load(out / f"fold_{number}" / "last.pt", weights_only=True) for number in (0, 1)]


def same_weights(first, second):
    return all(
        torch.equal(value, other["network"][key])
        for one, other in zip(states(first), states(second), strict=True)
        for key, value in one["network"].items()
    )


def run_train(*arguments, **options):
    return subprocess.run(
        [sys.executable, str(TRAIN), *map(str, arguments)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        **options,
    )


def test_train_writes_a_model_that_segments(compared):
    out, _, results = compared
    assert results.model == out / "model"
    card = read_card(out / "model")
    assert card["border_smoothing"] == str(SMALL.border)
    assert Recipe.from_dict(card["training"]["recipe"]) == SMALL
    model = load_model(out / "model")
    assert len(model.networks) == 2
    ct = sitk.ReadImage(str(SAMPLE / "ct.nii.gz"))
    assert segment_image(ct, model, "cpu").mask.GetSize() == ct.GetSize()


def test_model_card_has_recipe_splits_metrics_license_and_versions(compared):
    card = read_card(compared[0] / "model")
    training = card["training"]
    assert training["splits"]["test"] == ["d"] and training["folds"] == [0, 1]
    assert {row["case"] for row in card["metrics"]} == set("abcd")
    assert training["data"]["license"] == "not stated"
    assert {"torch", "python", "albumentations"} <= set(training["versions"])


def test_train_writes_the_documented_files(compared):
    out = compared[0]
    names = [*RESULTS, "report.md", "report.html", "fold_0/history.csv", "fold_0/curve.png"]
    assert [name for name in names if not (out / name).is_file()] == []
    assert [name for name in RESULTS if not (out / "control" / name).is_file()] == []


def test_control_differs_in_the_border_only(compared):
    out = compared[0]
    smoothed, control = (read_recipe(folder / "recipe.toml")[0] for folder in (out, out / "control"))
    assert smoothed.border == Border("gaussian", 1.5) and control == smoothed.with_changes(border=Border("none"))
    assert (out / "splits.json").read_text("utf-8") == (out / "control" / "splits.json").read_text("utf-8")
    assert not same_weights(out, out / "control")


def test_metrics_of_each_case_are_by_the_fold_that_held_it_out(compared):
    out = compared[0]
    splits = json.loads((out / "splits.json").read_text("utf-8"))
    rows = list(csv.DictReader((out / "metrics.csv").read_text("utf-8").splitlines()))
    held_out = {row["case"]: row["predicted_by"] for row in rows if row["set"] == "validation"}
    assert held_out == {name: f"fold {number}" for number, names in enumerate(splits["folds"]) for name in names}
    assert {row["predicted_by"] for row in rows if row["case"] == "d"} == {"fold 0", "fold 1", "ensemble"}


def test_progress_increases_to_1_with_remaining_time(compared):
    progress = [event for event in compared[1] if event["event"] == "progress"]
    fractions = [event["fraction"] for event in progress]
    assert fractions == sorted(fractions) and fractions[-1] == 1.0
    assert sum(event["remaining_s"] is not None for event in progress) == 12, "2 variants, 2 folds, 3 epochs"
    epochs = [event for event in compared[1] if event["event"] == "epoch"]
    assert [event["variant"] for event in epochs] == ["smoothed"] * 6 + ["control"] * 6


def test_train_existing_training_without_resume_raises_user_error(dataset, compared):
    before = (compared[0] / "model" / "model.json").read_bytes()
    with pytest.raises(UserError, match="--resume"):
        train(Run(dataset, compared[0], SMALL, test=("d",), device="cpu"))
    assert (compared[0] / "model" / "model.json").read_bytes() == before


def test_resume_finished_training_trains_no_epochs(dataset, compared):
    events = []
    before = states(compared[0])
    train(Run(dataset, compared[0], SMALL, test=("d",), device="cpu", compare=True, resume=True), events.append)
    assert not [event for event in events if event["event"] == "epoch"]
    assert torch.equal(before[0]["network"]["head.weight"], states(compared[0])[0]["network"]["head.weight"])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": (7,)}, "no fold 7"),
        ({"test": ("z",)}, 'no test case "z"'),
        ({"recipe": SMALL.with_changes(fold_count=5)}, "at least as many"),
        ({"recipe": SMALL.with_changes(encoder="nonsense")}, "nonsense"),
        ({"recipe": SMALL.with_changes(encoder_weights="nowhere.pth")}, "nowhere.pth"),
        ({"recipe": SMALL.with_changes(augmentation="mixup")}, "mixup"),
        ({"recipe": SMALL.with_changes(border=Border("none")), "compare": True}, "border smoothing"),
        ({"sweep": "gaussian"}, "not a sweep"),
        ({"scheduler": "somewhere"}, "somewhere"),
        ({"dataset": Path("nowhere")}, "nowhere"),
        ({"splits": Path("nowhere.json")}, "nowhere.json"),
    ],
)
def test_train_invalid_run_raises_user_error_and_writes_no_recipe(dataset, tmp_path, changes, words):
    run = {"dataset": dataset, "out": tmp_path / "out", "recipe": SMALL, "device": "cpu", **changes}
    with pytest.raises(UserError, match=words) as caught:
        train(Run(**run))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out" / "recipe.toml").exists()


def test_train_reports_all_dataset_problems_before_training(tmp_path):
    dataset, out = write_dataset(tmp_path / "Task"), tmp_path / "out"
    label = sitk.ReadImage(str(dataset / "labelsTr" / "a.nii.gz"))
    sitk.WriteImage(label * 0, str(dataset / "labelsTr" / "a.nii.gz"))
    (dataset / "imagesTr" / "c.nii.gz").write_bytes(b"")
    with pytest.raises(UserError, match="2 problems"):
        train(Run(dataset, out, SMALL, device="cpu"))
    report = (out / "dataset_check.txt").read_text("utf-8")
    assert "a.nii.gz" in report and "c.nii.gz" in report
    assert not list(out.glob("fold_*")) and not (out / "recipe.toml").exists()


def test_train_reports_extra_labels_and_damaged_files_together(tmp_path):
    dataset, out = write_dataset(tmp_path / "Task"), tmp_path / "out"
    (dataset / "dataset.json").unlink()
    (dataset / "labelsTr" / "z.nii.gz").write_bytes(b"")
    (dataset / "imagesTr" / "c.nii.gz").write_bytes(b"")
    with pytest.raises(UserError, match="2 problems"):
        train(Run(dataset, out, SMALL, device="cpu"))
    report = (out / "dataset_check.txt").read_text("utf-8")
    assert "no CT for z.nii.gz" in report and "c.nii.gz" in report


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"test": ("z",)}, 'no test case "z"'),
        ({"recipe": SMALL.with_changes(fold_count=5)}, "at least as many"),
        ({"splits": SAMPLE / "ct.nii.gz"}, "does not contain splits"),
        ({"out": TRAIN}, "is a file"),
    ],
    ids=str,
)
def test_train_checks_options_before_reading_cts(dataset, tmp_path, changes, words, monkeypatch):
    monkeypatch.setattr("SpleenSmoothSegTrainingLib.run.training.prepare", None)
    with pytest.raises(UserError, match=words):
        train(Run(**{"dataset": dataset, "out": tmp_path / "out", "recipe": SMALL, "device": "cpu", **changes}))
    assert everything_in(tmp_path) == []


@pytest.mark.slow
def test_train_failed_before_the_first_epoch_can_start_again_without_resume(dataset, tmp_path):
    run = Run(dataset, tmp_path, SMALL.with_changes(epochs=(1, 0)), device="cpu", folds=(0,), compare=True)
    with pytest.raises(UserError, match="No dask scheduler answers"):
        train(replace(run, scheduler="tcp://127.0.0.1:9"))
    assert everything_in(tmp_path) == ["dataset_check.txt"]
    train(replace(run, compare=False, recipe=replace(run.recipe, seed=3)))


def test_resume_without_a_training_warns(dataset, tmp_path):
    events = []
    train(
        Run(dataset, tmp_path, SMALL.with_changes(epochs=(1, 0)), device="cpu", folds=(0,), resume=True), events.append
    )
    assert f'"{tmp_path}" contains no training to resume; starting a new one.' in [
        event.get("message") for event in events
    ]


def test_model_card_has_the_first_command_and_the_device(dataset, tmp_path):
    run = Run(dataset, tmp_path, SMALL.with_changes(epochs=(1, 0)), device="cpu", folds=(0,), command="train.py first")
    assert train(run).missing_folds == (1,)
    results = train(replace(run, folds=(), resume=True, command="train.py again"))
    training = read_card(results.model)["training"]
    assert (training["command"], training["device"]) == ("train.py first", "cpu")
    assert results.missing_folds == () and "train.py first" in (tmp_path / "report.md").read_text("utf-8")
    rows = list(csv.DictReader((tmp_path / "fold_0" / "history.csv").read_text("utf-8").splitlines()))
    assert [row["device"] for row in rows] == ["cpu"]


def test_resume_with_another_recipe_raises_user_error(dataset, compared):
    with pytest.raises(UserError, match="another recipe .seed is 0"):
        train(Run(dataset, compared[0], SMALL.with_changes(seed=5), test=("d",), device="cpu", resume=True))


def test_resume_with_a_changed_dataset_raises_user_error(tmp_path):
    dataset, out = write_dataset(tmp_path / "Task"), tmp_path / "out"
    recipe = SMALL.with_changes(epochs=(1, 0))
    train(Run(dataset, out, recipe, folds=(0,), device="cpu"))
    before = (out / "splits.json").read_text("utf-8")
    label = sitk.ReadImage(str(dataset / "labelsTr" / "b.nii.gz"))
    label[:, :, 0:4] = 0
    sitk.WriteImage(label, str(dataset / "labelsTr" / "b.nii.gz"))
    with pytest.raises(UserError, match="not those of"):
        train(Run(dataset, out, recipe, device="cpu", resume=True))
    assert (out / "splits.json").read_text("utf-8") == before


@pytest.mark.parametrize("resume", [False, True])
def test_train_folds_without_recipe_raise_user_error_and_are_kept(dataset, tmp_path, resume):
    (tmp_path / "fold_0").mkdir()
    (tmp_path / "fold_0" / "last.pt").write_bytes(b"somebody's")
    with pytest.raises(UserError, match="no recipe.toml"):
        train(Run(dataset, tmp_path, SMALL, device="cpu", resume=resume))
    assert (tmp_path / "fold_0" / "last.pt").read_bytes() == b"somebody's"


@pytest.mark.slow
def test_folds_trained_in_separate_runs_give_the_same_model(dataset, tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    train(Run(dataset, whole, SMALL, test=("d",), device="cpu"))
    first = train(Run(dataset, parts, SMALL, test=("d",), device="cpu", folds=(1,)))
    assert read_card(first.model)["training"]["folds"] == [1], "what is there can be looked at"
    train(Run(dataset, parts, SMALL, test=("d",), device="cpu", folds=(0,), resume=True))
    assert same_weights(whole, parts)
    assert read_card(whole / "model")["folds"] == read_card(parts / "model")["folds"]


def test_split_by_slice_measures_only_held_out_slices(dataset, tmp_path):
    recipe = SMALL.with_changes(split_by="slice", epochs=(1, 0))
    train(Run(dataset, tmp_path, recipe, device="cpu"))
    splits = json.loads((tmp_path / "splits.json").read_text("utf-8"))
    rows = list(csv.DictReader((tmp_path / "metrics_by_slice.csv").read_text("utf-8").splitlines()))
    for row in (row for row in rows if row["set"] == "validation"):
        assert int(row["slice"]) in splits["folds"][int(row["predicted_by"][-1])][row["case"]]
    assert (tmp_path / "report.html").is_file()


@pytest.mark.slow
def test_sweep_trains_each_border_on_the_requested_folds(dataset, tmp_path):
    recipe = SMALL.with_changes(epochs=(1, 0))
    train(Run(dataset, tmp_path, recipe, device="cpu", folds=(0,), sweep="gaussian,box:1.5mm,6mm"))
    names = sorted(folder.name for folder in (tmp_path / "sweep").iterdir())
    assert names == ["box_1.5mm", "box_6mm", "gaussian_6mm", "none"], "gaussian:1.5mm is the training itself"
    assert all((tmp_path / "sweep" / name / "metrics.csv").is_file() for name in names)
    report = (tmp_path / "report.md").read_text("utf-8")
    assert "box" in report and "does border smoothing help?" in report, "none is the control of gaussian:1.5mm"


@pytest.mark.slow
def test_parallel_training_gives_the_same_weights(dataset, compared, tmp_path):
    pytest.importorskip("distributed")
    events = []
    run = Run(dataset, tmp_path, SMALL, test=("d",), device="cpu", scheduler="local:2")
    train(run, events.append)
    assert len([event for event in events if event["event"] == "epoch"]) == 6
    assert same_weights(compared[0], tmp_path)


def test_tensorboard_writes_events_or_raises_user_error(dataset, tmp_path):
    run = Run(dataset, tmp_path, SMALL.with_changes(epochs=(1, 0)), device="cpu", folds=(0,), tensorboard=True)
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match="tensorboard"):
            train(run)
    else:
        train(run)
        assert list((tmp_path / "fold_0" / "tensorboard").glob("events*"))


@pytest.mark.slow
def test_resume_after_kill_gives_the_same_weights(dataset, tmp_path):
    long = (*OPTIONS, "--epochs", "3,1", "--test", "d")
    assert run_train(dataset, tmp_path / "whole", *long).returncode == 0
    killed = subprocess.Popen(
        [sys.executable, str(TRAIN), str(dataset), str(tmp_path / "halves"), *long],
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    for line in killed.stdout:
        if "fold 1  adam   2" in line:
            killed.send_signal(signal.SIGKILL)
            break
    killed.communicate()
    resumed = run_train(dataset, tmp_path / "halves", "--resume", "--device", "cpu")
    assert resumed.returncode == 0, resumed.stderr
    assert "fold 0" not in resumed.stdout.partition("measured")[0] or "fold 0  adam" not in resumed.stdout
    assert "fold 1  adam   1" not in resumed.stdout and "Model folder" in resumed.stdout
    assert same_weights(tmp_path / "whole", tmp_path / "halves")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_training_prints_how_to_resume(dataset, tmp_path, number):
    command = [sys.executable, str(TRAIN), str(dataset), str(tmp_path), *OPTIONS, "--epochs", "500,1"]
    stopped = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    for line in stopped.stdout:
        if "adam" in line:
            stopped.send_signal(number)
            break
    _, stderr = stopped.communicate(timeout=60)
    assert stopped.returncode == 130
    assert (
        stderr.splitlines()[-1] == "Stopped; continue from the last epoch with --resume." and "Traceback" not in stderr
    )
    assert not [path for path in tmp_path.rglob(".*")], "nothing half-written is left"


@pytest.mark.slow
def test_child_prints_json_lines(dataset, tmp_path):
    child = subprocess.Popen(
        [sys.executable, str(TRAIN), str(dataset), str(tmp_path), *OPTIONS, "--folds", "0", "--child"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        encoding="utf-8",
    )
    events = [json.loads(line) for line in child.stdout]
    assert child.wait(timeout=60) == 0
    assert events[0] == {"event": "started", "pid": child.pid}
    assert {"progress", "epoch", "measured", "warning"} <= {event["event"] for event in events}
    assert events[-1]["event"] == "result" and Path(events[-1]["report"]).name == "report.html"


def test_slicer_exits_with_the_exit_code(dataset, tmp_path, monkeypatch):
    left = []
    slicer = types.ModuleType("slicer")
    slicer.util = types.SimpleNamespace(exit=left.append)
    monkeypatch.setitem(sys.modules, "slicer", slicer)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        for arguments in ([str(dataset), str(tmp_path / "out"), *OPTIONS, "--folds", "0"], ["nowhere", str(tmp_path)]):
            monkeypatch.setattr(sys, "argv", [str(TRAIN), *arguments])
            exec(compile(TRAIN.read_bytes(), str(TRAIN), "exec"), {"__name__": "__main__", "__file__": str(TRAIN)})
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert left == [0, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["nowhere", "out"],
        ["{dataset}", "/proc/out"],
        ["{dataset}", "out", "--border", "x"],
        ["{dataset}", "out", "--epochs", "5"],
        ["{dataset}", "out", "--window", "a,b"],
        ["{dataset}", "out", "--recipe", "nowhere.toml"],
        ["{dataset}", "out", "--nonsense"],
        ["{dataset}"],
    ],
)
def test_train_py_prints_errors_without_a_traceback(dataset, tmp_path, arguments):
    arguments = [argument.replace("{dataset}", str(dataset)) for argument in arguments]
    done = run_train(*arguments, cwd=tmp_path)
    sentences = [
        line for line in done.stderr.splitlines() if not line.startswith(("Training on the CPU", "The device"))
    ]
    assert done.returncode == 1
    assert "Traceback" not in done.stderr and len(sentences) == 1


def test_help_documents_layouts_and_results():
    text = run_train("--help").stdout
    names = ("--folds", "--epochs", "--encoder", "--image-size", "--border", "--border-probability", "--split-by")
    more = ("--batch-size", "--device", "--seed", "--resume", "--compare", "--sweep", "--scheduler", "--segment")
    assert [name for name in (*names, *more) if name not in text] == []
    assert "not a medical device" in text.replace("\n", " ").lower() and "{layouts}" not in text
    assert "Decathlon" in text and ".seg.nrrd" in text and "published" in text


def test_evaluate_py_prints_the_table_of_a_trained_model(dataset, compared):
    command = [sys.executable, str(TRAIN.with_name("evaluate.py")), str(compared[0] / "model"), str(dataset)]
    done = subprocess.run([*command, "--device", "cpu"], check=True, capture_output=True, encoding="utf-8")
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ") and "case" not in line]
    assert [row.split(" | ")[1] for row in rows][-1] == "ensemble" and len(rows) == 4
