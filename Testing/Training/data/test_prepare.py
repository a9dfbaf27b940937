"""prepare: one pass over a dataset that checks each case and fills the slice cache."""

from dataclasses import replace

import SimpleITK as sitk

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegTrainingLib.data.dataset import open_dataset
from SpleenSmoothSegTrainingLib.data.prepare import prepare
from SpleenSmoothSegTrainingLib.recipe.recipe import Recipe
from training_data import CASES

CUT = SliceFormat(size=64, spacing=6.0)
RECIPE = Recipe(image_size=64, spacing=6.0)


def test_prepare_reads_each_case_once(folder, cache, monkeypatch, no_reading):
    read, original = [], Case.read
    monkeypatch.setattr(Case, "read", lambda case, warn=str: (read.append(case.name), original(case, warn))[1])
    report = prepare(open_dataset(folder), RECIPE, cache)
    assert tuple(read) == CASES and report.problems == () and report.warnings
    no_reading()
    assert prepare(open_dataset(folder), RECIPE, cache) == report
    for case in open_dataset(folder).cases:
        cache.slices(case, CUT, Border("none"))


def test_prepare_reports_progress_per_case(folder, cache):
    steps = []
    prepare(open_dataset(folder), RECIPE, cache, lambda *step: steps.append(step))
    assert [fraction for fraction, _ in steps] == [0, 0.25, 0.5, 0.75]
    assert steps[1][1] == "Reading b, CT 2 of 4"


def test_cached_warnings_name_the_current_paths(folder, tmp_path, cache, no_reading):
    before = prepare(open_dataset(folder), RECIPE, cache).warnings
    moved = folder.rename(tmp_path / "moved")
    no_reading()
    after = prepare(open_dataset(moved), RECIPE, cache).warnings
    assert str(folder) in "".join(before)
    assert after == tuple(sentence.replace(str(folder), str(moved)) for sentence in before)


def test_case_with_a_problem_is_reported_each_time_and_not_cached(folder, cache):
    case = open_dataset(folder).cases[0]
    label = sitk.ReadImage(str(case.label))
    label.SetSpacing((3.0, 3.0, 2.0))
    sitk.WriteImage(label, str(case.label))
    open_dataset(folder).cases[1].label.unlink()
    for _ in range(2):
        report = prepare(open_dataset(folder), RECIPE, cache)
        assert "different grids" in report.problems[0] and "does not exist" in report.problems[1]
        assert len(report.problems) == 2
    assert len(list(cache.folder.glob("*.json"))) == 2


def test_notes_with_unknown_fields_are_read(case, cache):
    cache.add(case, CUT, case.read(), {"name": "x", "warnings": ["It is small."], "mood": "good"})
    report = prepare(replace(open_dataset(case.image.parents[1]), cases=(case,)), RECIPE, cache)
    assert "It is small." in report.warnings
