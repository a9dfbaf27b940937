"""What is to be said about the numbers of a comparison, in sentences."""

import math

from slicer.i18n import tr as _

TOLERANCE = 1e-3  # voxels
TIP = 0.25  # of the height, at the bottom and at the top: where the paper saw most errors


def notesOn(comparison, errors, values, isOnOneLattice: bool) -> str:
    """What is to be said about the numbers: a sentence in each line."""
    notes = []
    if missing := [measure.title for measure, value in values if measure.isOfSurface and value is None]:
        notes.append(
            _("Not computed, because a Python package is not installed: {names}.").format(names=", ".join(missing))
        )
    if not isOnOneLattice:
        notes.append(_("The two have different voxels; the segment was sampled in those of the reference."))
    if comparison.dice == 0:
        notes.append(_("The two do not overlap anywhere; check that both belong to the same CT."))
    else:
        notes += _inWords(errors)
    return "\n".join(notes)


def shareLattice(first, second) -> bool:
    """Whether the centers of the voxels of one image (``sitk.Image``) are those of the other, were it large enough."""
    if not math.isclose(math.prod(first.GetSpacing()), math.prod(second.GetSpacing()), rel_tol=TOLERANCE):
        return False
    for voxel in ((0, 0, 0), (1, 0, 0), (0, 1, 0), (0, 0, 1)):
        point = first.TransformContinuousIndexToPhysicalPoint([float(index) for index in voxel])
        place = second.TransformPhysicalPointToContinuousIndex(point)
        if any(abs(index - round(index)) > TOLERANCE for index in place):
            return False
    return True


def _inWords(errors) -> list[str]:
    """How much of the errors lies at the bottom and at the top of the reference, and beyond."""
    slices = list(zip(errors.relative_height, errors.false_negative_ml, errors.false_positive_ml, strict=True))
    beyond = errors.false_positive_below_ml + errors.false_positive_above_ml
    whole = beyond + sum(missing + extra for _height, missing, extra in slices)
    atTips = beyond + sum(missing + extra for height, missing, extra in slices if not TIP <= height <= 1 - TIP)
    words = []
    if whole > 0:
        words.append(
            _("{percent} % of the errors lie in or beyond the lowest and the highest quarter of the reference.").format(
                percent=f"{100 * atTips / whole:.0f}"
            )
        )
    if beyond > 0:
        words.append(
            _("{below} mL of the segment lie below and {above} mL above all slices of the plot.").format(
                below=f"{errors.false_positive_below_ml:.2f}", above=f"{errors.false_positive_above_ml:.2f}"
            )
        )
    return words
