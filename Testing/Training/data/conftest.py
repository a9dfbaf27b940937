"""Fixtures for tests of data: a small dataset and a slice cache."""

import shutil
from pathlib import Path

import pytest

from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from SpleenSmoothSegTrainingLib.data.slicecache import SliceCache
from training_data import write_dataset


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    return write_dataset(tmp_path_factory.mktemp("data") / "Task")


@pytest.fixture
def folder(pristine, tmp_path) -> Path:
    """A dataset that the test may change."""
    return Path(shutil.copytree(pristine, tmp_path / "Task"))


@pytest.fixture
def case(folder) -> Case:
    return open_dataset(folder).cases[1]


@pytest.fixture
def cache(tmp_path) -> SliceCache:
    """A cache whose warnings fail the test."""
    return SliceCache(tmp_path / "cache", pytest.fail)


@pytest.fixture
def no_reading(monkeypatch):
    """Returns a function that makes reading a CT or label fail from then on."""

    def forbid():
        def read(*arguments):
            raise AssertionError("a case was read again")

        for name in ("read", "read_ct", "read_label"):
            monkeypatch.setattr(Case, name, read)

    return forbid
