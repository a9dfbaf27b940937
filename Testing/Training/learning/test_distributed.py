"""Distributed training of a fold by two processes over gloo on the CPU, compared with one process."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from locations import TRAINING_MODULE
from training_data import write_dataset

pytestmark = pytest.mark.slow

TRAIN = TRAINING_MODULE / "CommandLine" / "train.py"
# Full precision, and an encoder with batch norms of both kinds, with an activation and without.
OPTIONS = (
    *("--encoder", "tu-mobilenetv3_small_050", "--image-size", "64", "--spacing", "6", "--batch-size", "4"),
    *("--adam-rate", "1e-3", "--fold-count", "2", "--folds", "0", "--test", "d", "--device", "cpu"),
    *("--precision", "full", "--averaging", "0.5"),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "Task")


def run(command, tmp_path):
    environment = {**os.environ, "SPLEENSMOOTHSEG_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, encoding="utf-8", check=False, env=environment
    )


def torchrun(dataset, out, tmp_path, *options):
    start = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
    return run([*start, TRAIN, dataset, out, *OPTIONS, *options], tmp_path)


def history(out: Path) -> list[dict]:
    return list(csv.DictReader((out / "fold_0" / "history.csv").read_text().splitlines()))


def test_two_processes_have_the_learning_curve_of_one(dataset, tmp_path):
    epochs = ("--epochs", "3,2")
    alone = run([TRAIN, dataset, tmp_path / "one", *OPTIONS, *epochs], tmp_path)
    together = torchrun(dataset, tmp_path / "two", tmp_path, *epochs)
    assert alone.returncode == 0, alone.stderr
    assert together.returncode == 0, together.stderr
    assert "Warning" not in together.stderr and together.stderr.count("Training on the CPU") == 1
    one, two = (history(tmp_path / name) for name in ("one", "two"))
    assert len(one) == len(two) == 5
    for row, other in zip(one, two, strict=True):
        assert float(other["loss"]) == pytest.approx(float(row["loss"]), rel=1e-4)
        assert float(other["rate"]) == pytest.approx(float(row["rate"]))
        assert float(other["validation_dice"]) == pytest.approx(float(row["validation_dice"]), abs=0.02)
    assert together.stdout.count("fold 0  adam   1") == 1, "only the first process prints"
    assert (tmp_path / "two" / "model" / "model.json").is_file() and (tmp_path / "two" / "report.html").is_file()


def test_missing_dataset_is_reported_once(tmp_path):
    done = torchrun(tmp_path / "nowhere", tmp_path / "out", tmp_path)
    assert done.returncode != 0
    errors = [line for line in done.stderr.splitlines() if "nowhere" in line]
    assert len(errors) == 1 and errors[0].startswith('"') and errors[0].endswith("check the path."), done.stderr
    assert "Unexpected error" not in done.stderr and "FutureWarning" not in done.stderr


def test_indivisible_batch_size_raises_an_error(dataset, tmp_path):
    done = torchrun(dataset, tmp_path / "out", tmp_path, "--batch-size", "5")
    assert done.returncode != 0
    assert "A batch of 5 cannot be divided among 2 processes" in done.stderr
    assert not (tmp_path / "out" / "recipe.toml").exists()
