"""Checks of labeled CTs before a training, in one report.

A problem prevents the training; a warning asks the user to check something that may be correct.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import numpy as np
import SimpleITK as sitk

from SpleenSmoothSegLib.callbacks import Warn
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.geometry.box import bounding_box
from SpleenSmoothSegLib.io.decathlon import Case
from SpleenSmoothSegLib.io.digest import sha256_of
from SpleenSmoothSegLib.metrics.shape import reaches_edge, volume_ml

from .dataset import Dataset

# Median over the label. A spleen has about 40 HU without and up to 200 HU with contrast, unlike air, lung, fat, bone.
SPLEEN_HU = (-50.0, 300.0)
SPLEEN_ML = (30.0, 2000.0)  # from atrophy to massive splenomegaly

Images = tuple[sitk.Image, sitk.Image]  # CT and label


@dataclass(frozen=True)
class CaseCheck:
    """Problems and warnings of one case, a sentence each.

    Equal digests mean equal voxels; "" where there is nothing to compare.
    """

    name: str
    problems: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    ct_digest: str = ""
    label_digest: str = ""


@dataclass(frozen=True)
class DatasetReport:
    """Problems and warnings of a dataset: those of each case, then those between cases."""

    dataset: Dataset
    problems: tuple[str, ...]
    warnings: tuple[str, ...]

    def as_text(self) -> str:
        """The report as text, one sentence per line."""
        lines = [f"{self.dataset.name}: {len(self.dataset.cases)} labeled CTs in {self.dataset.folder}"]
        for title, sentences in (("Problems", self.problems), ("Warnings", self.warnings)):
            lines += ["", f"{title}: {len(sentences) or 'none'}", *(f"- {sentence}" for sentence in sentences)]
        return "\n".join(lines) + "\n"

    def raise_if_bad(self, saved_at: Path) -> None:
        """Raise UserError if there are problems; `saved_at` is the file with the whole report."""
        if self.problems:
            count = "a problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
            dataset = f'The dataset "{self.dataset.folder}"'
            raise UserError(f'{dataset} has {count}, listed in "{saved_at}"; the first one: {self.problems[0]}')


def report_on(dataset: Dataset, checks: Iterable[CaseCheck]) -> DatasetReport:
    """The report of a dataset from the checks of its cases."""
    checks = list(checks)
    problems = [*dataset.problems, *(sentence for check in checks for sentence in check.problems)]
    warnings = [sentence for check in checks for sentence in check.warnings]
    if not dataset.license:
        warnings.append(
            f'The license of the data in "{dataset.folder}" is not stated; add data_license to the [card] of a recipe.'
        )
    return DatasetReport(dataset, (*problems, *_same_names(checks), *_same_voxels(checks)), tuple(warnings))


def check_case(case: Case, read: Callable[[Case, Warn], Images] = Case.read) -> CaseCheck:
    """Read and check one case; never raises UserError.

    Args:
        case: its files may be missing or damaged.
        read: returns CT and label as `Case.read` does; a caller can pass its own function to keep the images.
    """
    warnings: list[str] = []
    try:
        ct, label = read(case, warnings.append)
    except UserError as error:
        return CaseCheck(case.name, tuple(_unreadable(case) or [str(error)]), tuple(warnings))
    check = check_images(case, ct, label)
    return replace(check, warnings=(*warnings, *check.warnings))


def check_images(case: Case, ct: sitk.Image, label: sitk.Image) -> CaseCheck:
    """Check a CT and a label on its grid that is `case.spleen` in the spleen, as `Case.read` returns them."""
    mask = label == case.spleen
    hu, inside = sitk.GetArrayViewFromImage(ct), sitk.GetArrayViewFromImage(mask) > 0
    if not inside.any():
        problem = f'The label "{case.label}" has no spleen (value {case.spleen}); correct it or remove the case.'
        return CaseCheck(case.name, problems=(problem,), ct_digest=_digest(hu))
    return CaseCheck(
        case.name,
        problems=tuple(_problems(case, hu[inside])),
        warnings=tuple(_warnings(case, mask)),
        ct_digest=_digest(hu),
        label_digest=_digest(inside),
    )


def _problems(case: Case, hu_inside: np.ndarray) -> Iterator[str]:
    median = float(np.median(hu_inside))
    if not SPLEEN_HU[0] <= median <= SPLEEN_HU[1]:
        yield (
            f'The label "{case.label}" covers a median of {median:.0f} HU in "{case.image}", which is not a spleen; '
            "check that the two belong together."
        )


def _warnings(case: Case, mask: sitk.Image) -> Iterator[str]:
    label = f'The label "{case.label}"'
    volume = volume_ml(mask)
    if not SPLEEN_ML[0] <= volume <= SPLEEN_ML[1]:
        yield f"{label} has a volume of {volume:.3g} mL, which is unusual for a spleen; check it."
    parts = _component_sizes(mask)
    if len(parts) > 1:
        rest = 100 * (1 - max(parts) / sum(parts))
        yield f"{label} has {len(parts)} separate parts, {rest:.2g} % of it outside the largest; check them."
    if reaches_edge(mask):
        yield f'{label} reaches the edge of "{case.image}": the spleen may be truncated.'


def _unreadable(case: Case) -> list[str]:
    """The errors of reading CT and label separately; reading both together stops at the first error."""
    problems = []
    for read in (case.read_ct, case.read_label):
        try:
            read()
        except UserError as error:
            problems.append(str(error))
    return problems


def _component_sizes(mask: sitk.Image) -> list[int]:
    """Voxels of each connected component (face connectivity)."""
    voxels = sitk.GetArrayViewFromImage(mask)
    parts = sitk.ConnectedComponent(sitk.GetImageFromArray(voxels[bounding_box(voxels)]))
    return np.bincount(sitk.GetArrayViewFromImage(parts).ravel())[1:].tolist()


def _digest(voxels: np.ndarray) -> str:
    """A digest of the values, whatever their pixel type."""
    slices = (np.packbits(each) if each.dtype == bool else np.rint(each).astype(np.int32) for each in voxels)
    return sha256_of(chain([str(voxels.shape).encode()], (each.tobytes() for each in slices)))


def _same_names(checks: list[CaseCheck]) -> list[str]:
    """Ignores case: results are files of these names, also on file systems that ignore case."""
    groups = _groups(checks, lambda check: check.name.casefold())
    return [f"Cases {_quoted(names)} have the same name; rename one of them." for names in groups]


def _same_voxels(checks: list[CaseCheck]) -> list[str]:
    same_ct = _groups(checks, lambda check: check.ct_digest)
    same_label = [names for names in _groups(checks, lambda check: check.label_digest) if names not in same_ct]
    return [
        *(f"Cases {_quoted(names)} have the same CT; remove all but one." for names in same_ct),
        *(
            f"Cases {_quoted(names)} have the same label on different CTs; check which CT it belongs to."
            for names in same_label
        ),
    ]


def _groups(checks: list[CaseCheck], key: Callable[[CaseCheck], str]) -> list[list[str]]:
    """Names of the checks that share a key other than ""."""
    groups = defaultdict(list)
    for check in checks:
        groups[key(check)].append(check.name)
    return [names for shared, names in groups.items() if shared and len(names) > 1]


def _quoted(names: list[str]) -> str:
    return " and ".join(f'"{name}"' for name in names)
