"""Splits of a dataset: train : test = 9 : 1, the train part in five folds, by volume or by slice.

By volume (the default) no patient is on both sides of a split. By slice, which the paper may have used, slices of one
patient are on both sides, and measures are higher than for a new patient.
"""

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from SpleenSmoothSegLib.errors import UserError

Part = Mapping[str, tuple[int, ...] | None]


@dataclass(frozen=True)
class Splits:
    """The test part and the validation part of each fold; together they are the whole dataset.

    A Part maps the name of a case to slice indices (from inferior to superior), or to None for the whole volume.
    """

    split_by: str
    seed: int
    test: Part
    folds: tuple[Part, ...]
    spleen_slices: dict[str, int]

    def training_part(self, fold: int) -> Part:
        """What a fold trains on: the validation parts of the other folds."""
        training: dict[str, tuple[int, ...] | None] = {}
        for number, part in enumerate(self.folds):
            for name, slices in part.items() if number != fold else ():
                training[name] = None if slices is None else tuple(sorted((*(training.get(name) or ()), *slices)))
        return training

    @property
    def cases(self) -> list[str]:
        """Names of all cases, test cases last."""
        return list(dict.fromkeys(name for part in (*self.folds, self.test) for name in part))

    def to_json(self) -> dict:
        return {
            "split_by": self.split_by,
            "seed": self.seed,
            "test": _part_to_json(self.test),
            "folds": [_part_to_json(part) for part in self.folds],
            "spleen_slices": self.spleen_slices,
        }

    @classmethod
    def from_json(cls, values: dict) -> "Splits":
        """Raises ValueError, KeyError or TypeError if `values` are not splits."""
        splits = cls(
            str(values["split_by"]),
            _integer(values["seed"]),
            _part_from_json(values["test"]),
            tuple(_part_from_json(part) for part in values["folds"]),
            {str(name): _integer(count) for name, count in dict(values.get("spleen_slices", {})).items()},
        )
        places = [place for part in (*splits.folds, splits.test) for place in _places(part)]
        whole = {name for name, i in places if i is None}
        if len(set(places)) < len(places) or any(i is not None and name in whole for name, i in places):
            raise ValueError("a case or slice is in two parts")
        return splits


def split(
    spleen: Mapping[str, Sequence[bool]],
    split_by: str,
    fold_count: int,
    test_part: float,
    seed: int,
    test: Sequence[str] | None = None,
) -> Splits:
    """Split a dataset, balanced by the number of slices with spleen.

    Args:
        spleen: for each case, whether its slices contain spleen.
        split_by: "volume" or "slice".
        fold_count: number of folds.
        test_part: fraction of the volumes or slices to keep for the test, unless `test` is given.
        seed: of the random choices.
        test: names of the test cases, each as a whole volume.

    Raises:
        UserError: `test` has an unknown case, or too few cases are left for the folds.
    """
    check_possible(list(spleen), split_by, fold_count, test_part, test)
    counts = _counts(spleen)
    chosen: Part = dict.fromkeys(sorted(test)) if test is not None else {}
    rest = {name: spleen[name] for name in spleen if name not in chosen}
    if split_by == "volume":
        if test is None:
            chosen = dict.fromkeys(_draw({name: counts[name] for name in rest}, test_part, seed))
        rest_counts = {name: counts[name] for name in rest if name not in chosen}
        folds: tuple[Part, ...] = tuple(
            dict.fromkeys(names) for names in split_by_volume(rest_counts, fold_count, seed)
        )
    else:
        parts = _split_slices(rest, fold_count, test_part if test is None else 0.0, seed)
        chosen, folds = {**chosen, **parts[0]}, parts[1:]
        tested = sum(spleen[name][i] for name, slices in parts[0].items() for i in slices)
        _check_enough("slices with spleen", sum(counts[name] for name in rest) - tested, fold_count)
    return Splits(split_by, seed, chosen, folds, counts)


def check_possible(
    names: Sequence[str], split_by: str, fold_count: int, test_part: float, test: Sequence[str] | None = None
) -> None:
    """Raise UserError where `split` would, as far as the names of the cases alone allow."""
    if unknown := [name for name in test or () if name not in names]:
        raise UserError(f'The dataset has no test case "{unknown[0]}"; choose from: {", ".join(names)}.')
    if split_by == "volume":
        tested = round(test_part * len(names)) if test is None else len(set(test))
        _check_enough("labeled CTs", len(names) - tested, fold_count)


def load_splits(path: Path) -> Splits:
    """The splits in a file, of any dataset; raises UserError if it has none."""
    try:
        return Splits.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f'The splits "{path}" cannot be read; check the path.') from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f'"{path}" does not contain splits ({error}); give the splits.json of a training.') from error


def read_splits(path: Path, spleen: Mapping[str, Sequence[bool]], fold_count: int) -> Splits:
    """The splits of an earlier training; raises UserError if they do not fit this dataset."""
    splits = load_splits(path)
    if missing := [name for name in splits.cases if name not in spleen]:
        raise UserError(
            f'The splits "{path}" name the case "{missing[0]}", which this dataset lacks; give splits of this dataset.'
        )
    if len(splits.folds) != fold_count:
        raise UserError(f'The splits "{path}" have {len(splits.folds)} folds, not {fold_count}; adjust --fold-count.')
    if not all(splits.folds):
        raise UserError(f'The splits "{path}" have a fold without validation cases; correct the file.')
    for name, slices in _slices(splits):
        if not 0 <= min(slices) <= max(slices) < len(spleen[name]):
            raise UserError(
                f'The splits "{path}" name slices that "{name}" does not have; give splits of this dataset.'
            )
    return replace(splits, spleen_slices=_counts(spleen))


def fit_dataset(splits: Splits, spleen: Mapping[str, Sequence[bool]]) -> bool:
    """Whether the dataset still has the cases that were split, with as many slices with spleen."""
    return splits.spleen_slices == _counts(spleen) and all(
        max(slices) < len(spleen[name]) for name, slices in _slices(splits)
    )


def split_by_volume(spleen_slices: dict[str, int], folds: int, seed: int) -> list[list[str]]:
    """The names of the validation cases of each fold.

    Args:
        spleen_slices: number of slices with spleen of each case.
        folds: number of folds; with fewer cases, some folds are empty.
        seed: of the choice between cases with equal numbers.

    Returns:
        `folds` disjoint lists of all cases, balanced by number of cases, then by slices with spleen.
    """
    shuffled = sorted(spleen_slices)
    random.Random(seed).shuffle(shuffled)
    held_out: list[list[str]] = [[] for _ in range(folds)]
    for name in sorted(shuffled, key=lambda name: -spleen_slices[name]):
        smallest = min(held_out, key=lambda fold: (len(fold), sum(spleen_slices[other] for other in fold)))
        smallest.append(name)
    return [sorted(fold) for fold in held_out]


def _draw(spleen_slices: dict[str, int], part: float, seed: int) -> list[str]:
    """The fraction `part` of the cases, rounded, one from each size class, so that the test part resembles the rest."""
    number = round(part * len(spleen_slices))
    if not number:
        return []
    shuffled = sorted(spleen_slices)
    generator = random.Random(seed)
    generator.shuffle(shuffled)
    by_size = sorted(shuffled, key=lambda name: spleen_slices[name])
    edges = [round(step * len(by_size) / number) for step in range(number + 1)]
    return sorted(generator.choice(by_size[start:end]) for start, end in zip(edges[:-1], edges[1:], strict=True))


def _split_slices(spleen, fold_count: int, test_part: float, seed: int) -> tuple[dict[str, tuple[int, ...]], ...]:
    """The test part and the folds; slices with and without spleen are distributed separately."""
    generator = random.Random(seed)
    parts: tuple[dict[str, tuple[int, ...]], ...] = tuple({} for _ in range(fold_count + 1))
    for holds_spleen in (True, False):
        places = [(name, i) for name in sorted(spleen) for i, held in enumerate(spleen[name]) if held == holds_spleen]
        generator.shuffle(places)
        tested = round(test_part * len(places))
        for number, (name, i) in enumerate(places):
            part = parts[0] if number < tested else parts[1 + number % fold_count]
            part[name] = (*part.get(name, ()), i)
    return tuple({name: tuple(sorted(part[name])) for name in sorted(part)} for part in parts)


def _check_enough(what: str, number: int, fold_count: int) -> None:
    if number < fold_count:
        raise UserError(
            f"{fold_count} folds need at least as many {what}, but only {number} are left besides the test; "
            "add some, or reduce --fold-count."
        )


def _counts(spleen: Mapping[str, Sequence[bool]]) -> dict[str, int]:
    return {name: int(sum(held)) for name, held in spleen.items()}


def _slices(splits: Splits) -> list[tuple[str, tuple[int, ...]]]:
    """The slices of cases that are not in a part as a whole volume."""
    return [(name, slices) for part in (*splits.folds, splits.test) for name, slices in part.items() if slices]


def _part_to_json(part: Part) -> list[str] | dict[str, list[int] | None]:
    if all(slices is None for slices in part.values()):
        return list(part)
    return {name: None if slices is None else list(slices) for name, slices in part.items()}


def _part_from_json(part: list | dict) -> Part:
    if isinstance(part, list):
        return dict.fromkeys(map(str, part))
    if not isinstance(part, dict):
        raise ValueError(f"{part!r} is not a list of cases")
    return {str(name): None if slices is None else _read_slices(slices) for name, slices in part.items()}


def _read_slices(slices: list) -> tuple[int, ...]:
    if not isinstance(slices, list) or not slices:
        raise ValueError(f"{slices!r} is not a list of slices")
    return tuple(map(_integer, slices))


def _integer(value) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is not an integer")
    return value


def _places(part: Part) -> list[tuple[str, int | None]]:
    return [(name, i) for name, slices in part.items() for i in ((None,) if slices is None else slices)]
