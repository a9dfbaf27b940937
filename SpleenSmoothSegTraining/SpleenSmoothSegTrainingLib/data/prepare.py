"""One pass over the labeled CTs: each is read, checked and cut once; what was done before is taken from the cache."""

from collections.abc import Callable
from dataclasses import asdict, fields

import SimpleITK as sitk

from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.io.decathlon import Case

from ..recipe.recipe import Recipe
from .checks import CaseCheck, DatasetReport, check_case, report_on
from .dataset import Dataset
from .slicecache import SliceCache


def slice_format(recipe: Recipe) -> SliceFormat:
    """What a slice of this recipe looks like to the network."""
    return SliceFormat(recipe.image_size, recipe.spacing, recipe.window, recipe.channels, recipe.channel_spacing)


def prepare(
    dataset: Dataset,
    recipe: Recipe,
    cache: SliceCache,
    report: Callable[[float, str], None] = lambda fraction, step: None,
) -> DatasetReport:
    """Check every case and keep its slices in the cache; `report` is told the fraction done and what is next.

    Raises UserError where the cache cannot be written to; what is wrong with the data is in the report.
    """
    checks = []
    for number, case in enumerate(dataset.cases):
        report(number / len(dataset.cases), f"Reading {case.name}, CT {number + 1} of {len(dataset.cases)}")
        checks.append(_prepared(case, slice_format(recipe), cache))
    return report_on(dataset, checks)


def _prepared(case: Case, cut: SliceFormat, cache: SliceCache) -> CaseCheck:
    try:
        notes = cache.notes(case, cut)
    except UserError:  # a file is missing: the check says which
        notes = None
    if notes is not None:
        return _check_from(notes, case)
    images: list[tuple[sitk.Image, sitk.Image]] = []

    def read(case: Case, warn) -> tuple[sitk.Image, sitk.Image]:
        images.append(case.read(warn))
        return images[0]

    check = check_case(case, read)
    if not check.problems:
        cache.keep(case, cut, *images[0], _notes_of(check, case))
    return check


def _notes_of(check: CaseCheck, case: Case) -> dict:
    """The check without the paths of the case: the same files may be found under others later."""
    marks = {str(case.label): "{label}", str(case.image): "{image}"}
    return {name: _replaced(value, marks) for name, value in asdict(check).items()}


def _check_from(notes: dict, case: Case) -> CaseCheck:
    paths = {"{label}": str(case.label), "{image}": str(case.image)}
    known = {field.name for field in fields(CaseCheck)}
    found = {name: _replaced(value, paths) for name, value in notes.items() if name in known}
    return CaseCheck(**{**found, "name": case.name})


def _replaced(value, texts: dict[str, str]):
    """A text, or each of several, with each of `texts` replaced; the longest first, which may hold the others."""
    if not isinstance(value, str):
        return tuple(_replaced(each, texts) for each in value)
    for text in sorted(texts, key=len, reverse=True):
        value = value.replace(text, texts[text])
    return value
