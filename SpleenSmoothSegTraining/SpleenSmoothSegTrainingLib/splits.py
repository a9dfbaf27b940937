"""Five folds by volume: no patient is on both sides, and every fold holds about as many slices with spleen."""

import random


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
