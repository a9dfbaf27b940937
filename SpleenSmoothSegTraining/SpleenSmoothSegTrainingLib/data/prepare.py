"""One pass over the labeled CTs that reads, checks and slices each; a CT that is in the cache is not read again."""

from dataclasses import asdict, fields

import SimpleITK as sitk

from SpleenSmoothSegLib.callbacks import Progress
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.slices import SliceFormat
from SpleenSmoothSegLib.io.decathlon import Case

from ..recipe.recipe import Recipe
from .checks import CaseCheck, DatasetReport, check_case, report_on
from .dataset import Dataset
from .slicecache import SliceCache


def slice_format(recipe: Recipe) -> SliceFormat:
    """The slices that the network of this recipe takes."""
    return SliceFormat(recipe.image_size, recipe.spacing, recipe.window, recipe.channels, recipe.channel_spacing)


def prepare(
    dataset: Dataset,
    recipe: Recipe,
    cache: SliceCache,
    progress: Progress = lambda fraction, step: None,
) -> DatasetReport:
    """Check every case and write its slices to the cache.

    Raises UserError if the cache cannot be written; problems of the data are in the report.
    """
    checks = []
    for number, case in enumerate(dataset.cases):
        progress(number / len(dataset.cases), f"Reading {case.name}, CT {number + 1} of {len(dataset.cases)}")
        checks.append(_prepare_case(case, slice_format(recipe), cache))
    return report_on(dataset, checks)


def _prepare_case(case: Case, wanted: SliceFormat, cache: SliceCache) -> CaseCheck:
    try:
        notes = cache.notes(case, wanted)
    except UserError:  # a file is missing: the check reports which
        notes = None
    if notes is not None:
        return _check_from(notes, case)
    images: list[tuple[sitk.Image, sitk.Image]] = []

    def read(case: Case, warn) -> tuple[sitk.Image, sitk.Image]:
        images.append(case.read(warn))
        return images[0]

    check = check_case(case, read)
    if not check.problems:
        cache.add(case, wanted, images[0], _notes_of(check, case))
    return check


def _notes_of(check: CaseCheck, case: Case) -> dict:
    """The check with placeholders for the paths of the case: the same files may be moved later."""
    placeholders = {str(case.label): "{label}", str(case.image): "{image}"}
    return {name: _replaced(value, placeholders) for name, value in asdict(check).items()}


def _check_from(notes: dict, case: Case) -> CaseCheck:
    paths = {"{label}": str(case.label), "{image}": str(case.image)}
    known = {field.name for field in fields(CaseCheck)}
    found = {name: _replaced(value, paths) for name, value in notes.items() if name in known}
    return CaseCheck(**{**found, "name": case.name})


def _replaced(value, texts: dict[str, str]):
    """A text, or each of several, with the keys of `texts` replaced; longest first, as one key may contain another."""
    if not isinstance(value, str):
        return tuple(_replaced(each, texts) for each in value)
    for text in sorted(texts, key=len, reverse=True):
        value = value.replace(text, texts[text])
    return value
