"""The report of a training: one page, as Markdown with figures and as self-contained HTML.

Its input is the results folder OUT, and the CTs for the example slices.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.io.atomic import atomic_write
from SpleenSmoothSegLib.io.decathlon import Case

from ..measuring.byheight import profile
from ..measuring.metricsfile import Metrics, in_common
from ..measuring.statistics import RESAMPLES, estimate
from ..outfolder import OutFolder
from .claims import answer, claims_table
from .document import Answer, Block, Code, Heading, Paragraph, Picture, Table, to_html, to_markdown
from .examples import find_examples
from .figures import SweepPoint, draw_by_height, draw_curves, draw_examples, draw_sweep
from .results import Results, Training, read_results
from .summary import limits, short_answer, training_facts
from .tables import (
    HELD_OUT,
    TESTED,
    case_table,
    measure_table,
    paper_table,
    select,
    select_slices,
    sweep_table,
    table_1,
    values,
)


def write_report(out: Path, dataset_cases: Mapping[str, Case] | None = None) -> tuple[Path, Path]:
    """Write report.md, report.html and the figures of the results so far to `out`.

    Args:
        out: the results folder.
        dataset_cases: by name, for the example slices; None leaves them out.

    Returns:
        Paths of the Markdown and of the HTML.

    Raises:
        UserError: `out` has no training or a damaged file, or cannot be written.
    """
    folder = OutFolder(out)
    results = read_results(out)
    title = _title(results)
    blocks = [block for block in _blocks(results, dataset_cases or {}, folder.report_figures) if block]
    pages = folder.report_markdown, folder.report
    for path, text in zip(pages, (to_markdown(title, blocks, folder.path), to_html(title, blocks)), strict=True):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return pages


def _title(results: Results) -> str:
    name = results.main.card_text.get("name") or results.main.card.get("name") or results.main.folder.resolve().name
    return f"{name}: does border smoothing help?" if results.is_comparison else f"{name}: training report"


def _blocks(results: Results, dataset_cases: Mapping[str, Case], figures: Path) -> Iterator[Block | None]:
    metrics = in_common(
        {name: training.metrics for name, training in results.variants.items() if training.metrics.volumes}
    )
    is_comparison = len(metrics) == 2
    yield answer(*metrics.values()) if is_comparison else Answer(*short_answer(results))
    yield Heading("What was trained")
    yield Table("", ["", ""], training_facts(results), is_text=True)
    if metrics:
        yield from _numbers(metrics, results.fold_count)
    yield from _curves(results, figures)
    yield from _heights(metrics, figures)
    if is_comparison:
        yield Heading("The paper's claims")
        before, after = metrics.values()
        yield claims_table(before, after, results.fold_count)
    yield from _examples({name: results.variants[name] for name in metrics}, dataset_cases, figures)
    yield from _sweep(results, figures)
    yield Heading("Limits")
    yield Paragraph(limits(results))
    yield Heading("Recipe")
    yield Code(OutFolder(results.main.folder).recipe.read_text(encoding="utf-8"))


def _numbers(metrics: Mapping[str, Metrics], fold_count: int) -> Iterator[Block | None]:
    yield Heading("Dice, precision, recall")
    yield table_1(metrics, fold_count)
    yield paper_table()
    yield case_table(metrics)
    yield Heading("All measures with confidence intervals")
    yield measure_table(metrics, *HELD_OUT, "Held-out cases by fold")
    yield measure_table(metrics, *TESTED, "Test cases by the ensemble")
    compared = "; p is from Wilcoxon's signed rank test over patients, without correction for multiple tests"
    yield Paragraph(
        "Surface Dice: fraction of both surfaces within 1 or 2 mm of the other. ASSD: average symmetric surface "
        "distance. "
        "HD95: 95th percentile of the Hausdorff distance. Each patient counts once: slices with label are "
        "averaged per patient. Intervals are bootstrap intervals of the mean over patients "
        f"(BCa, {RESAMPLES} resamples){compared * (len(metrics) == 2)}."
    )


def _curves(results: Results, figures: Path) -> Iterator[Block]:
    histories = {name: training.histories for name, training in results.variants.items() if training.histories}
    if not histories:
        return
    draw_curves(histories, path := figures / "curves.png")
    soft = " The loss of the smoothed variant is computed with soft labels, so the two losses are not comparable."
    yield Heading("Learning curves")
    yield Picture(
        path,
        "Loss and validation Dice by epoch",
        "Loss on the training slices, and Dice on the held-out slices of each fold on the network's grid."
        + soft * (len(histories) > 1),
    )


def _heights(metrics: Mapping[str, Metrics], figures: Path) -> Iterator[Block]:
    which = HELD_OUT if any(select_slices(each, *HELD_OUT) for each in metrics.values()) else TESTED
    found = {name: profile(select_slices(each, *which)) for name, each in metrics.items()}
    profiles = {name: each for name, each in found.items() if each}
    if not profiles:
        return
    draw_by_height(profiles, path := figures / "height.png")
    patients = max(each.patients for each in profiles.values())
    predicted_by = "held-out cases by fold" if which == HELD_OUT else "test cases by the ensemble"
    yield Heading("Errors by height in the spleen")
    yield Picture(
        path,
        "False negatives, false positives and Dice by relative height in the spleen",
        f"Mean over {'one patient' if patients == 1 else f'{patients} patients'} ({predicted_by}) in tenths of the "
        "height of the label. Hollow markers on gray: false positives below its lowest and above its highest slice.",
    )


def _examples(variants: Mapping[str, Training], dataset_cases: Mapping[str, Case], figures: Path) -> Iterator[Block]:
    examples = find_examples(variants, dataset_cases) if variants else []
    if not examples:
        return
    draw_examples(examples, path := figures / "examples.png")
    yield Heading("Examples")
    yield Picture(
        path,
        "Axial CT slices with the contours of label and predictions",
        f"The best, the median and the worst slice with label by Dice ({list(variants)[-1]} variant). "
        "The patient's right is on the left.",
    )


def _sweep(results: Results, figures: Path) -> Iterator[Block]:
    """All trained borders, including the training itself and its control, on the cases common to all."""
    trainings = dict(sorted((*results.variants.items(), *results.sweep.items()), key=lambda item: _sort_key(item[1])))
    measured = {name: training.metrics for name, training in trainings.items() if select(training.metrics, *HELD_OUT)}
    if not results.sweep.keys() & measured.keys():
        return
    sweep = in_common({trainings[name].border: metrics for name, metrics in measured.items()})
    yield Heading("Border sweep")
    yield sweep_table(sweep)
    if points := [point for border, metrics in sweep.items() if (point := _sweep_point(border, metrics))]:
        draw_sweep(points, path := figures / "sweep.png")
        yield Picture(
            path,
            "Mean Dice by border width, for each kernel",
            "Mean Dice of the cases measured for every border, with 95 % intervals over patients. They include the "
            "variation between patients; the differences in the table are paired.",
        )


def _sweep_point(border: Border, metrics: Metrics) -> SweepPoint | None:
    dice = estimate(values(select(metrics, *HELD_OUT), "dice").values())
    if dice is None:
        return None
    return SweepPoint(border.kernel, border.width, border.unit, dice.mean, dice.low, dice.high)


def _sort_key(training: Training) -> tuple:
    border = training.border
    return border.kernel != "none", border.kernel, border.unit, border.plane, border.width
