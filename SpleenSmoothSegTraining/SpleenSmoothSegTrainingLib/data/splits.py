"""Who learns and who is asked: train : test = 9 : 1, the train part in five folds, by volume or by slice.

By volume (the default) no patient is on both sides. By slice, as the paper may have done, neighboring slices of one
patient are, and the measures come out higher than for a new patient.
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
    """A test part and the part that each fold holds out for validation; together they are the whole dataset.

    A Part maps the name of a case to its slices (from the foot end), or to None for the whole volume.
    """

    split_by: str
    seed: int
    test: Part
    folds: tuple[Part, ...]
    spleen_slices: dict[str, int]

    def learned_by(self, fold: int) -> Part:
        """What a fold learns from: all that the other folds hold out."""
        learned: dict[str, tuple[int, ...] | None] = {}
        for number, part in enumerate(self.folds):
            for name, slices in part.items() if number != fold else ():
                learned[name] = None if slices is None else tuple(sorted((*(learned.get(name) or ()), *slices)))
        return learned

    @property
    def cases(self) -> list[str]:
        """Names of all cases, those of the test last."""
        return list(dict.fromkeys(name for part in (*self.folds, self.test) for name in part))

    def to_json(self) -> dict:
        return {
            "split_by": self.split_by,
            "seed": self.seed,
            "test": _written(self.test),
            "folds": [_written(part) for part in self.folds],
            "spleen_slices": self.spleen_slices,
        }

    @classmethod
    def from_json(cls, values: dict) -> "Splits":
        """Raises ValueError, KeyError or TypeError where `values` are no splits."""
        splits = cls(
            str(values["split_by"]),
            _whole_number(values["seed"]),
            _read(values["test"]),
            tuple(_read(part) for part in values["folds"]),
            {str(name): _whole_number(count) for name, count in dict(values.get("spleen_slices", {})).items()},
        )
        taken = [place for part in (*splits.folds, splits.test) for place in _places(part)]
        whole = {name for name, i in taken if i is None}
        if len(set(taken)) < len(taken) or any(i is not None and name in whole for name, i in taken):
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
    """Split a dataset, balanced for slices that hold spleen.

    Args:
        spleen: for each case whether its slices hold spleen.
        split_by: "volume" or "slice".
        fold_count: number of folds.
        test_part: part of all volumes or slices that is kept for the test, unless `test` names cases.
        seed: decides between what is alike.
        test: names of the cases for the test, whole.

    Raises:
        UserError: `test` names a case that is not there, or too few are left for the folds.
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
    """Raise UserError where `split` would, as far as the names of the cases alone tell."""
    if wrong := [name for name in test or () if name not in names]:
        raise UserError(f'The dataset has no case "{wrong[0]}" to test on; it has {", ".join(names)}.')
    if split_by == "volume":
        tested = round(test_part * len(names)) if test is None else len(set(test))
        _check_enough("labeled CTs", len(names) - tested, fold_count)


def load_splits(path: Path) -> Splits:
    """The splits in a file, of whatever dataset; raises UserError where it holds none."""
    try:
        return Splits.from_json(json.loads(Path(path).read_text(encoding="utf-8")))
    except OSError as error:
        raise UserError(f'The splits "{path}" cannot be read; check the path.') from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f'"{path}" holds no splits ({error}); give the splits.json of a training.') from error


def read_splits(path: Path, spleen: Mapping[str, Sequence[bool]], fold_count: int) -> Splits:
    """The splits in a file that an earlier training wrote; raises UserError where they do not fit this dataset."""
    splits = load_splits(path)
    if missing := [name for name in splits.cases if name not in spleen]:
        raise UserError(f'The splits "{path}" name the case "{missing[0]}", which the dataset lacks; give its own.')
    if len(splits.folds) != fold_count:
        raise UserError(f'The splits "{path}" have {len(splits.folds)} folds, not {fold_count}; give --fold-count.')
    if not all(splits.folds):
        raise UserError(f'The splits "{path}" have a fold that holds nothing out; correct the file.')
    for name, slices in _slices(splits):
        if not 0 <= min(slices) <= max(slices) < len(spleen[name]):
            raise UserError(f'The splits "{path}" name slices that "{name}" does not have; give those of this dataset.')
    return replace(splits, spleen_slices=_counts(spleen))


def are_of(splits: Splits, spleen: Mapping[str, Sequence[bool]]) -> bool:
    """Whether the dataset is still the one that was split: the same cases, with spleen in as many slices."""
    return splits.spleen_slices == _counts(spleen) and all(
        max(slices) < len(spleen[name]) for name, slices in _slices(splits)
    )


def split_by_volume(spleen_slices: dict[str, int], folds: int, seed: int) -> list[list[str]]:
    """The names of the cases that each fold holds out for validation.

    Args:
        spleen_slices: number of slices with spleen of each case.
        folds: number of folds; a fold stays empty if there are fewer cases.
        seed: decides between cases and folds that are alike.

    Returns:
        `folds` disjoint lists that together name every case, balanced in cases first and in slices with spleen second.
    """
    shuffled = sorted(spleen_slices)
    random.Random(seed).shuffle(shuffled)
    held_out: list[list[str]] = [[] for _ in range(folds)]
    for name in sorted(shuffled, key=lambda name: -spleen_slices[name]):
        smallest = min(held_out, key=lambda fold: (len(fold), sum(spleen_slices[other] for other in fold)))
        smallest.append(name)
    return [sorted(fold) for fold in held_out]


def _draw(spleen_slices: dict[str, int], part: float, seed: int) -> list[str]:
    """As many cases as come nearest to `part` of all, one of each size class, so that the test is like the rest."""
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
    """The test part and the folds; slices with spleen and those without are dealt out each for themselves."""
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
            f"{fold_count} folds need at least as many {what}, but there are {number} beside the test; "
            "give more, or fewer folds with --fold-count."
        )


def _counts(spleen: Mapping[str, Sequence[bool]]) -> dict[str, int]:
    return {name: int(sum(held)) for name, held in spleen.items()}


def _slices(splits: Splits) -> list[tuple[str, tuple[int, ...]]]:
    """The cases of which only some slices are in a part, with those."""
    return [(name, slices) for part in (*splits.folds, splits.test) for name, slices in part.items() if slices]


def _written(part: Part) -> list[str] | dict[str, list[int] | None]:
    if all(slices is None for slices in part.values()):
        return list(part)
    return {name: None if slices is None else list(slices) for name, slices in part.items()}


def _read(part: list | dict) -> Part:
    if isinstance(part, list):
        return dict.fromkeys(map(str, part))
    if not isinstance(part, dict):
        raise ValueError(f"{part!r} names no cases")
    return {str(name): None if slices is None else _read_slices(slices) for name, slices in part.items()}


def _read_slices(slices: list) -> tuple[int, ...]:
    if not isinstance(slices, list) or not slices:
        raise ValueError(f"{slices!r} names no slices")
    return tuple(map(_whole_number, slices))


def _whole_number(value) -> int:
    if type(value) is not int:
        raise ValueError(f"{value!r} is no whole number")
    return value


def _places(part: Part) -> list[tuple[str, int | None]]:
    return [(name, i) for name, slices in part.items() for i in ((None,) if slices is None else slices)]
