"""Splits: no patient on both sides, no case left out, balanced parts."""

import json
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.data.splits import Splits, read_splits, split, split_by_volume

DECATHLON = {f"spleen_{n}": [False] * (40 + n) + [True] * (10 + 7 * n % 50) + [False] * 5 for n in range(41)}

datasets = st.dictionaries(
    st.text("abcäß_ 0123", min_size=1, max_size=6),
    st.lists(st.booleans(), min_size=1, max_size=30),
    min_size=4,
    max_size=30,
)
folds_of = st.integers(2, 5)
seeds = st.integers(0, 2**31)


def places(part, spleen) -> set[tuple[str, int]]:
    """Every slice of a part."""
    return {
        (name, i) for name, slices in part.items() for i in (range(len(spleen[name])) if slices is None else slices)
    }


def with_spleen(part, spleen) -> int:
    return sum(spleen[name][i] for name, i in places(part, spleen))


def all_slices(spleen) -> set[tuple[str, int]]:
    return {(name, i) for name in spleen for i in range(len(spleen[name]))}


def refusal(make, *arguments, **options) -> str:
    with pytest.raises(UserError) as caught:
        make(*arguments, **options)
    assert "\n" not in str(caught.value) and str(caught.value).endswith(".")
    return str(caught.value)


def enough(spleen, split_by: str, fold_count: int, test_part: float) -> bool:
    """Whether each fold gets at least one volume, or slice with spleen, for validation."""
    count = len(spleen) if split_by == "volume" else sum(map(sum, spleen.values()))
    return count - round(test_part * count) >= fold_count


@settings(max_examples=80, deadline=None)
@given(spleen=datasets, split_by=st.sampled_from(["volume", "slice"]), fold_count=folds_of, seed=seeds)
def test_split_puts_every_slice_in_exactly_one_part(spleen, split_by, fold_count, seed):
    if not enough(spleen, split_by, fold_count, 0.1):
        assert "reduce --fold-count" in refusal(split, spleen, split_by, fold_count, 0.1, seed)
        return
    splits = split(spleen, split_by, fold_count, 0.1, seed)
    parts = [places(part, spleen) for part in (*splits.folds, splits.test)]
    assert len(splits.folds) == fold_count and all(parts[:-1])
    assert set().union(*parts) == all_slices(spleen)
    assert sum(map(len, parts)) == len(all_slices(spleen)), "none twice"
    assert set(splits.cases) == set(spleen)


@settings(max_examples=50, deadline=None)
@given(spleen=datasets, fold_count=folds_of, seed=seeds)
def test_split_by_volume_keeps_each_patient_on_one_side(spleen, fold_count, seed):
    if not enough(spleen, "volume", fold_count, 0.1):
        return
    splits = split(spleen, "volume", fold_count, 0.1, seed)
    for one, other in combinations((*splits.folds, splits.test), 2):
        assert not set(one) & set(other)
    assert all(slices is None for part in (*splits.folds, splits.test) for slices in part.values())


@settings(max_examples=50, deadline=None)
@given(spleen=datasets, split_by=st.sampled_from(["volume", "slice"]), fold_count=folds_of, seed=seeds)
def test_training_part_is_the_validation_parts_of_the_other_folds(spleen, split_by, fold_count, seed):
    if not enough(spleen, split_by, fold_count, 0.1):
        return
    splits = split(spleen, split_by, fold_count, 0.1, seed)
    everything = all_slices(spleen) - places(splits.test, spleen)
    for number, part in enumerate(splits.folds):
        training = splits.training_part(number)
        assert places(training, spleen) == everything - places(part, spleen)
        assert all(slices is None or list(slices) == sorted(set(slices)) for slices in training.values())


@settings(max_examples=50, deadline=None)
@given(spleen=datasets, split_by=st.sampled_from(["volume", "slice"]), fold_count=folds_of, seed=seeds)
def test_splits_survive_writing_and_reading(tmp_path_factory, spleen, split_by, fold_count, seed):
    if not enough(spleen, split_by, fold_count, 0.1):
        return
    splits = split(spleen, split_by, fold_count, 0.1, seed)
    text = json.dumps(splits.to_json())
    assert Splits.from_json(json.loads(text)) == splits
    path = tmp_path_factory.mktemp("splits") / "splits.json"
    path.write_text(text)
    assert read_splits(path, spleen, fold_count) == splits


@settings(max_examples=50, deadline=None)
@given(spleen=datasets, split_by=st.sampled_from(["volume", "slice"]), seed=seeds)
def test_split_does_not_depend_on_the_order_of_cases(spleen, split_by, seed):
    if not enough(spleen, split_by, 2, 0.1):
        return
    reverse = dict(reversed(spleen.items()))
    assert split(spleen, split_by, 2, 0.1, seed) == split(reverse, split_by, 2, 0.1, seed)


@settings(max_examples=50, deadline=None)
@given(counts=st.dictionaries(st.text(max_size=4), st.integers(0, 100), max_size=40), folds=folds_of, seed=seeds)
def test_split_by_volume_balances_cases_and_slices_with_spleen(counts, folds, seed):
    held_out = split_by_volume(counts, folds, seed)
    assert sorted(sum(held_out, [])) == sorted(counts)
    sizes = [len(fold) for fold in held_out]
    assert max(sizes) - min(sizes) <= 1
    if len(counts) % folds == 0:  # else a fold has a case more
        sums = [sum(counts[name] for name in fold) for fold in held_out]
        assert max(sums) - min(sums) <= max(counts.values(), default=0)


# As published: a tenth for the test, the rest in five folds.


def test_split_of_41_decathlon_cts_has_4_test_cases_and_folds_of_7_or_8():
    splits = split(DECATHLON, "volume", 5, 0.1, seed=0)
    assert len(splits.test) == 4
    assert sorted(len(fold) for fold in splits.folds) == [7, 7, 7, 8, 8]


def test_split_by_slice_tests_a_tenth_of_slices_with_and_without_spleen():
    splits = split(DECATHLON, "slice", 5, 0.1, seed=0)
    everything = all_slices(DECATHLON)
    spleen = sum(map(sum, DECATHLON.values()))
    assert len(places(splits.test, DECATHLON)) == pytest.approx(len(everything) / 10, abs=1)
    assert with_spleen(splits.test, DECATHLON) == round(spleen / 10)


def test_split_by_slice_puts_a_patient_on_both_sides():
    splits = split(DECATHLON, "slice", 5, 0.1, seed=0)
    assert all(set(part) == set(DECATHLON) for part in splits.folds)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_split_balances_slices_with_spleen_between_parts(split_by, seed):
    splits = split(DECATHLON, split_by, 5, 0.1, seed)
    folds = [with_spleen(part, DECATHLON) / len(part if split_by == "volume" else [0]) for part in splits.folds]
    assert max(folds) - min(folds) <= (0.15 * max(folds) if split_by == "volume" else 1)
    mean = sum(map(sum, DECATHLON.values())) / 41
    if split_by == "volume":
        assert with_spleen(splits.test, DECATHLON) / 4 == pytest.approx(mean, rel=0.25), (
            "the test part resembles the rest"
        )


def test_splits_record_the_slices_with_spleen_of_each_case():
    splits = split(DECATHLON, "volume", 5, 0.1, seed=0)
    assert splits.spleen_slices == {name: sum(held) for name, held in DECATHLON.items()}


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_split_depends_only_on_the_seed(split_by):
    first, again, other = (split(DECATHLON, split_by, 5, 0.1, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.folds != other.folds and first.test != other.test


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_split_of_equal_cases_depends_on_the_seed(split_by):
    alike = {name: [True, False] * 4 for name in "abcdefghij"}
    first, again, other = (split(alike, split_by, 5, 0.1, seed, test=[]).folds for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("split_by", ["volume", "slice"])
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_test_part_has_the_requested_size(split_by, part):
    splits = split(DECATHLON, split_by, 5, part, seed=0)
    count = len(splits.test) / 41 if split_by == "volume" else len(places(splits.test, DECATHLON)) / 3650
    assert count == pytest.approx(part, abs=0.15)
    assert bool(splits.test) == bool(part)


# Test cases by name.


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_split_with_named_test_cases_tests_only_these(split_by):
    splits = split(DECATHLON, split_by, 5, 0.1, seed=0, test=["spleen_9", "spleen_7", "spleen_9"])
    assert splits.test == {"spleen_7": None, "spleen_9": None}
    assert not {"spleen_7", "spleen_9"} & {name for part in splits.folds for name in part}
    assert set(splits.cases) == set(DECATHLON)
    assert Splits.from_json(json.loads(json.dumps(splits.to_json()))) == splits


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_split_with_an_empty_list_of_test_cases_has_no_test_part(split_by):
    assert split(DECATHLON, split_by, 5, 0.1, seed=0, test=[]).test == {}


def test_unknown_test_case_raises_an_error():
    assert 'no test case "spleen_99"' in refusal(split, DECATHLON, "volume", 5, 0.1, 0, test=["spleen_9", "spleen_99"])


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_too_few_cases_for_the_folds_raise_an_error(split_by):
    few = {"a": [True], "b": [True, False], "c": [False, True]}
    assert "4 folds" in refusal(split, few, split_by, 4, 0.0, 0)
    assert "only 1 are left besides the test" in refusal(split, few, split_by, 2, 0.0, 0, test=["a", "b"])
    assert "only 0 are left besides the test" in refusal(split, few, split_by, 2, 0.0, 0, test=["a", "b", "c"])


# The file.


def test_splits_json_has_the_documented_format():
    spleen = {"a": [True, False], "b": [True], "c": [True]}
    assert split(spleen, "volume", 2, 0.0, 0, test=["c"]).to_json() in [
        {"split_by": "volume", "seed": 0, "test": ["c"], "folds": folds, "spleen_slices": {"a": 1, "b": 1, "c": 1}}
        for folds in ([["a"], ["b"]], [["b"], ["a"]])
    ]
    by_slice = split({"a": [True] * 4, "b": [False] * 2}, "slice", 2, 0.0, 0).to_json()
    assert by_slice["test"] == [] and [set(fold) for fold in by_slice["folds"]] == [{"a", "b"}, {"a", "b"}]
    assert sorted(sum((fold["a"] for fold in by_slice["folds"]), [])) == [0, 1, 2, 3]


SPLEEN = {name: [True] * 4 for name in "abcd"}


@pytest.fixture
def file(tmp_path):
    """Writes splits of SPLEEN with changes; returns the path."""

    def write(**changes):
        splits = {"split_by": "volume", "seed": 0, "test": ["d"], "folds": [["a"], ["b", "c"]], **changes}
        (tmp_path / "splits.json").write_text(json.dumps(splits))
        return tmp_path / "splits.json"

    return write


def test_read_splits_keeps_parts_and_counts_slices_again(file):
    splits = read_splits(file(spleen_slices={"a": 99}), SPLEEN, 2)
    assert splits.folds == ({"a": None}, {"b": None, "c": None}) and splits.test == {"d": None}
    assert splits.spleen_slices == dict.fromkeys("abcd", 4)


def test_read_splits_accepts_splits_without_some_cases(file):
    splits = read_splits(file(folds=[["a"], ["b"]]), SPLEEN, 2)
    assert splits.cases == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": [["a"], ["b", "z"]]}, 'name the case "z", which this dataset lacks'),
        ({"test": ["z"]}, 'name the case "z"'),
        ({"folds": [["a"], ["b"], ["c"]]}, "have 3 folds, not 2; adjust --fold-count"),
        ({"folds": [["a", "b", "c"], []]}, "have a fold without validation cases"),
        ({"folds": [["a"], ["a", "b"]]}, "a case or slice is in two parts"),
        ({"folds": [["a"], ["b", "d"]]}, "a case or slice is in two parts"),
        ({"folds": [{"a": [0, 1]}, {"a": [1, 2]}]}, "a case or slice is in two parts"),
        ({"folds": [{"a": [0, 0]}, {"b": [1, 2]}]}, "a case or slice is in two parts"),
        ({"folds": [{"d": [0, 1]}, {"a": [1]}]}, "a case or slice is in two parts"),
        ({"folds": [{"a": [0, 4]}, {"b": [1]}]}, 'name slices that "a" does not have'),
        ({"folds": [{"a": [-1]}, {"b": [1]}]}, 'name slices that "a" does not have'),
        ({"folds": [{"a": []}, {"b": [1]}]}, "does not contain splits"),
        ({"folds": [{"a": "01"}, {"b": [1]}]}, "does not contain splits"),
        ({"folds": [{"a": [0.5]}, {"b": [1]}]}, "does not contain splits"),
        ({"folds": ["a", "b"]}, "does not contain splits"),
        ({"folds": 2}, "does not contain splits"),
        ({"seed": "first"}, "does not contain splits"),
        ({"seed": float("inf")}, "does not contain splits"),
        ({"spleen_slices": [1, 2]}, "does not contain splits"),
        ({"test": None}, "does not contain splits"),
    ],
    ids=str,
)
def test_splits_that_do_not_fit_the_dataset_raise_an_error(file, changes, words):
    path = file(**changes)
    sentence = refusal(read_splits, path, SPLEEN, 2)
    assert words in sentence and str(path) in sentence


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"3", b'"abc"', b"{}", b'{"folds": []}', b"\xff\xfe", b"[" * 100_000, None]
)
def test_file_without_splits_raises_an_error(tmp_path, text):
    path = tmp_path / "splits.json"
    if text is not None:
        path.write_bytes(text)
    assert str(path) in refusal(read_splits, path, SPLEEN, 2)
