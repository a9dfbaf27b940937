"""Who learns and who is asked: nobody is on both sides, nobody is left out, and all parts are alike."""

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
    """Whether there is at least one to hold out for each fold."""
    count = len(spleen) if split_by == "volume" else sum(map(sum, spleen.values()))
    return count - round(test_part * count) >= fold_count


@settings(max_examples=80, deadline=None)
@given(spleen=datasets, split_by=st.sampled_from(["volume", "slice"]), fold_count=folds_of, seed=seeds)
def test_every_slice_is_in_one_part_and_in_no_other(spleen, split_by, fold_count, seed):
    if not enough(spleen, split_by, fold_count, 0.1):
        assert "fewer folds" in refusal(split, spleen, split_by, fold_count, 0.1, seed)
        return
    splits = split(spleen, split_by, fold_count, 0.1, seed)
    parts = [places(part, spleen) for part in (*splits.folds, splits.test)]
    assert len(splits.folds) == fold_count and all(parts[:-1])
    assert set().union(*parts) == all_slices(spleen)
    assert sum(map(len, parts)) == len(all_slices(spleen)), "none twice"
    assert set(splits.cases) == set(spleen)


@settings(max_examples=50, deadline=None)
@given(spleen=datasets, fold_count=folds_of, seed=seeds)
def test_by_volume_no_patient_is_on_both_sides(spleen, fold_count, seed):
    if not enough(spleen, "volume", fold_count, 0.1):
        return
    splits = split(spleen, "volume", fold_count, 0.1, seed)
    for one, other in combinations((*splits.folds, splits.test), 2):
        assert not set(one) & set(other)
    assert all(slices is None for part in (*splits.folds, splits.test) for slices in part.values())


@settings(max_examples=50, deadline=None)
@given(spleen=datasets, split_by=st.sampled_from(["volume", "slice"]), fold_count=folds_of, seed=seeds)
def test_a_fold_learns_from_all_that_the_other_folds_hold_out(spleen, split_by, fold_count, seed):
    if not enough(spleen, split_by, fold_count, 0.1):
        return
    splits = split(spleen, split_by, fold_count, 0.1, seed)
    everything = all_slices(spleen) - places(splits.test, spleen)
    for number, part in enumerate(splits.folds):
        learned = splits.learned_by(number)
        assert places(learned, spleen) == everything - places(part, spleen)
        assert all(slices is None or list(slices) == sorted(set(slices)) for slices in learned.values())


@settings(max_examples=50, deadline=None)
@given(spleen=datasets, split_by=st.sampled_from(["volume", "slice"]), fold_count=folds_of, seed=seeds)
def test_written_splits_are_the_same_when_they_are_read_again(tmp_path_factory, spleen, split_by, fold_count, seed):
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
def test_the_order_of_the_cases_does_not_matter(spleen, split_by, seed):
    if not enough(spleen, split_by, 2, 0.1):
        return
    turned_round = dict(reversed(spleen.items()))
    assert split(spleen, split_by, 2, 0.1, seed) == split(turned_round, split_by, 2, 0.1, seed)


@settings(max_examples=50, deadline=None)
@given(counts=st.dictionaries(st.text(max_size=4), st.integers(0, 100), max_size=40), folds=folds_of, seed=seeds)
def test_folds_hold_as_many_cases_and_about_as_many_slices_with_spleen(counts, folds, seed):
    held_out = split_by_volume(counts, folds, seed)
    assert sorted(sum(held_out, [])) == sorted(counts)
    sizes = [len(fold) for fold in held_out]
    assert max(sizes) - min(sizes) <= 1
    if len(counts) % folds == 0:  # else a fold has a case more
        sums = [sum(counts[name] for name in fold) for fold in held_out]
        assert max(sums) - min(sums) <= max(counts.values(), default=0)


# As published: a tenth for the test, the rest in five folds.


def test_of_the_41_ct_of_the_decathlon_4_are_for_the_test_and_7_or_8_in_each_fold():
    splits = split(DECATHLON, "volume", 5, 0.1, seed=0)
    assert len(splits.test) == 4
    assert sorted(len(fold) for fold in splits.folds) == [7, 7, 7, 8, 8]


def test_by_slice_a_tenth_is_for_the_test_of_those_with_spleen_and_of_those_without():
    splits = split(DECATHLON, "slice", 5, 0.1, seed=0)
    everything = all_slices(DECATHLON)
    spleen = sum(map(sum, DECATHLON.values()))
    assert len(places(splits.test, DECATHLON)) == pytest.approx(len(everything) / 10, abs=1)
    assert with_spleen(splits.test, DECATHLON) == round(spleen / 10)


def test_by_slice_the_slices_of_a_patient_are_on_both_sides():
    splits = split(DECATHLON, "slice", 5, 0.1, seed=0)
    assert all(set(part) == set(DECATHLON) for part in splits.folds)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_parts_hold_about_as_many_slices_with_spleen(split_by, seed):
    splits = split(DECATHLON, split_by, 5, 0.1, seed)
    folds = [with_spleen(part, DECATHLON) / len(part if split_by == "volume" else [0]) for part in splits.folds]
    assert max(folds) - min(folds) <= (0.15 * max(folds) if split_by == "volume" else 1)
    mean = sum(map(sum, DECATHLON.values())) / 41
    if split_by == "volume":
        assert with_spleen(splits.test, DECATHLON) / 4 == pytest.approx(mean, rel=0.25), "the test is like the rest"


def test_the_splits_tell_how_many_slices_of_each_case_hold_spleen():
    splits = split(DECATHLON, "volume", 5, 0.1, seed=0)
    assert splits.spleen_slices == {name: sum(held) for name, held in DECATHLON.items()}


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_the_seed_decides_the_split(split_by):
    first, again, other = (split(DECATHLON, split_by, 5, 0.1, seed) for seed in (1, 1, 2))
    assert first == again
    assert first.folds != other.folds and first.test != other.test


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_the_seed_decides_between_cases_that_are_alike(split_by):
    alike = {name: [True, False] * 4 for name in "abcdefghij"}
    first, again, other = (split(alike, split_by, 5, 0.1, seed, test=[]).folds for seed in (1, 1, 2))
    assert first == again != other


@pytest.mark.parametrize("split_by", ["volume", "slice"])
@pytest.mark.parametrize("part", [0.0, 0.5])
def test_the_test_is_as_large_as_the_recipe_says(split_by, part):
    splits = split(DECATHLON, split_by, 5, part, seed=0)
    count = len(splits.test) / 41 if split_by == "volume" else len(places(splits.test, DECATHLON)) / 3650
    assert count == pytest.approx(part, abs=0.15)
    assert bool(splits.test) == bool(part)


# Test cases by name.


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_named_cases_are_the_test_and_no_other(split_by):
    splits = split(DECATHLON, split_by, 5, 0.1, seed=0, test=["spleen_9", "spleen_7", "spleen_9"])
    assert splits.test == {"spleen_7": None, "spleen_9": None}
    assert not {"spleen_7", "spleen_9"} & {name for part in splits.folds for name in part}
    assert set(splits.cases) == set(DECATHLON)
    assert Splits.from_json(json.loads(json.dumps(splits.to_json()))) == splits


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_no_named_cases_are_no_test(split_by):
    assert split(DECATHLON, split_by, 5, 0.1, seed=0, test=[]).test == {}


def test_a_named_case_that_is_not_there_is_told():
    assert 'no case "spleen_99"' in refusal(split, DECATHLON, "volume", 5, 0.1, 0, test=["spleen_9", "spleen_99"])


@pytest.mark.parametrize("split_by", ["volume", "slice"])
def test_too_few_for_the_folds_are_told(split_by):
    few = {"a": [True], "b": [True, False], "c": [False, True]}
    assert "4 folds" in refusal(split, few, split_by, 4, 0.0, 0)
    assert "there are 1 beside the test" in refusal(split, few, split_by, 2, 0.0, 0, test=["a", "b"])
    assert "there are 0 beside the test" in refusal(split, few, split_by, 2, 0.0, 0, test=["a", "b", "c"])


# The file.


def test_the_file_is_as_it_is_documented():
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
    """Writes splits of SPLEEN, with changes; gives the path."""

    def write(**changes):
        splits = {"split_by": "volume", "seed": 0, "test": ["d"], "folds": [["a"], ["b", "c"]], **changes}
        (tmp_path / "splits.json").write_text(json.dumps(splits))
        return tmp_path / "splits.json"

    return write


def test_splits_are_used_again_and_count_the_slices_anew(file):
    splits = read_splits(file(spleen_slices={"a": 99}), SPLEEN, 2)
    assert splits.folds == ({"a": None}, {"b": None, "c": None}) and splits.test == {"d": None}
    assert splits.spleen_slices == dict.fromkeys("abcd", 4)


def test_splits_may_leave_cases_out(file):
    splits = read_splits(file(folds=[["a"], ["b"]]), SPLEEN, 2)
    assert splits.cases == ["a", "b", "d"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folds": [["a"], ["b", "z"]]}, 'name the case "z", which the dataset lacks'),
        ({"test": ["z"]}, 'name the case "z"'),
        ({"folds": [["a"], ["b"], ["c"]]}, "have 3 folds, not 2; give --fold-count"),
        ({"folds": [["a", "b", "c"], []]}, "have a fold that holds nothing out"),
        ({"folds": [["a"], ["a", "b"]]}, "a case or slice is in two parts"),
        ({"folds": [["a"], ["b", "d"]]}, "a case or slice is in two parts"),
        ({"folds": [{"a": [0, 1]}, {"a": [1, 2]}]}, "a case or slice is in two parts"),
        ({"folds": [{"a": [0, 0]}, {"b": [1, 2]}]}, "a case or slice is in two parts"),
        ({"folds": [{"d": [0, 1]}, {"a": [1]}]}, "a case or slice is in two parts"),
        ({"folds": [{"a": [0, 4]}, {"b": [1]}]}, 'name slices that "a" does not have'),
        ({"folds": [{"a": [-1]}, {"b": [1]}]}, 'name slices that "a" does not have'),
        ({"folds": [{"a": []}, {"b": [1]}]}, "holds no splits"),
        ({"folds": [{"a": "01"}, {"b": [1]}]}, "holds no splits"),
        ({"folds": [{"a": [0.5]}, {"b": [1]}]}, "holds no splits"),
        ({"folds": ["a", "b"]}, "holds no splits"),
        ({"folds": 2}, "holds no splits"),
        ({"seed": "first"}, "holds no splits"),
        ({"seed": float("inf")}, "holds no splits"),
        ({"spleen_slices": [1, 2]}, "holds no splits"),
        ({"test": None}, "holds no splits"),
    ],
    ids=str,
)
def test_splits_that_do_not_fit_are_refused_in_one_sentence(file, changes, words):
    path = file(**changes)
    sentence = refusal(read_splits, path, SPLEEN, 2)
    assert words in sentence and str(path) in sentence


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b"3", b'"abc"', b"{}", b'{"folds": []}', b"\xff\xfe", b"[" * 100_000, None]
)
def test_files_that_are_no_splits_are_refused_in_one_sentence(tmp_path, text):
    path = tmp_path / "splits.json"
    if text is not None:
        path.write_bytes(text)
    assert str(path) in refusal(read_splits, path, SPLEEN, 2)
