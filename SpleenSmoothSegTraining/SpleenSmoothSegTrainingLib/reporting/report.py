"""The report of a training: one page, as Markdown with figures beside it and as HTML that needs no other file.

It reads the results folder OUT and nothing else, but for the CTs of the example slices.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from SpleenSmoothSegLib.border.kernels import Border
from SpleenSmoothSegLib.io.atomic import atomic_write
from SpleenSmoothSegLib.io.decathlon import Case

from ..measuring.byheight import profile
from ..measuring.metricsfile import Metrics, in_common
from ..measuring.statistics import RESAMPLES, estimate
from ..outfolder import RECIPE_NAME
from .claims import answer, claims_table
from .document import Answer, Block, Code, Heading, Paragraph, Picture, Table, to_html, to_markdown
from .examples import find_examples
from .figures import SweepPoint, draw_by_height, draw_curves, draw_examples, draw_sweep
from .reportwords import limits, short_answer, training_facts
from .results import Results, Training, read_results
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

MARKDOWN_NAME, HTML_NAME, FIGURES_NAME = "report.md", "report.html", "figures"


def write_report(out: Path, dataset_cases: Mapping[str, Case] | None = None) -> tuple[Path, Path]:
    """Write report.md, report.html and the figures into `out`, from what the training has left there so far.

    Args:
        out: the results folder.
        dataset_cases: by their names, for pictures of example slices; without them there are none.

    Returns:
        Paths of the Markdown and of the HTML.

    Raises:
        UserError: `out` holds no training or a damaged file, or cannot be written to.
    """
    out = Path(out)
    results = read_results(out)
    title = _title(results)
    blocks = [block for block in _blocks(results, dataset_cases or {}, out / FIGURES_NAME) if block]
    pages = out / MARKDOWN_NAME, out / HTML_NAME
    for path, text in zip(pages, (to_markdown(title, blocks, out), to_html(title, blocks)), strict=True):
        with atomic_write(path) as aside:
            aside.write_text(text, encoding="utf-8")
    return pages


def _title(results: Results) -> str:
    name = results.main.words.get("name") or results.main.card.get("name") or results.main.folder.resolve().name
    return f"{name}: does border smoothing help?" if results.is_comparison else f"{name}: report of the training"


def _blocks(results: Results, dataset_cases: Mapping[str, Case], figures: Path) -> Iterator[Block | None]:
    metrics = in_common({name: training.metrics for name, training in results.arms.items() if training.metrics.volumes})
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
    yield from _examples({name: results.arms[name] for name in metrics}, dataset_cases, figures)
    yield from _sweep(results, figures)
    yield Heading("Limits")
    yield Paragraph(limits(results))
    yield Heading("Recipe")
    yield Code((results.main.folder / RECIPE_NAME).read_text(encoding="utf-8"))


def _numbers(metrics: Mapping[str, Metrics], fold_count: int) -> Iterator[Block | None]:
    yield Heading("Dice, precision, recall")
    yield table_1(metrics, fold_count)
    yield paper_table()
    yield case_table(metrics)
    yield Heading("All measures, and how sure they are")
    yield measure_table(metrics, *HELD_OUT, "Cases that a fold held out, each by that fold")
    yield measure_table(metrics, *TESTED, "Test cases by the ensemble")
    compared = "; p is that of Wilcoxon's signed rank test over patients, uncorrected for the number of rows"
    yield Paragraph(
        "Surface Dice: part of both surfaces within 1 or 2 mm of the other. ASSD: average symmetric surface distance. "
        "HD95: 95th percentile of the Hausdorff distance. Each patient counts once: slices that hold label are "
        "averaged within a patient. Intervals are bootstrap intervals of the mean over patients "
        f"(BCa, {RESAMPLES} resamples){compared * (len(metrics) == 2)}."
    )


def _curves(results: Results, figures: Path) -> Iterator[Block]:
    histories = {name: training.histories for name, training in results.arms.items() if training.histories}
    if not histories:
        return
    draw_curves(histories, path := figures / "curves.png")
    soft = " The smoothed variant's loss is against soft labels, so the two losses are not to be compared."
    yield Heading("Learning curves")
    yield Picture(
        path,
        "Loss and validation Dice over the epochs of training",
        "Loss on the slices to learn from, and Dice on those that each fold held out, as the network sees them."
        + soft * (len(histories) > 1),
    )


def _heights(metrics: Mapping[str, Metrics], figures: Path) -> Iterator[Block]:
    which = HELD_OUT if any(select_slices(of_arm, *HELD_OUT) for of_arm in metrics.values()) else TESTED
    found = {name: profile(select_slices(of_arm, *which)) for name, of_arm in metrics.items()}
    profiles = {name: of_arm for name, of_arm in found.items() if of_arm}
    if not profiles:
        return
    draw_by_height(profiles, path := figures / "height.png")
    patients = max(of_arm.patients for of_arm in profiles.values())
    who = "each by the fold that had not learned from it" if which == HELD_OUT else "test cases by the ensemble"
    yield Heading("Errors from the bottom tip to the top tip")
    yield Picture(
        path,
        "False negatives, false positives and Dice over relative height in the spleen",
        f"Mean over {'one patient' if patients == 1 else f'{patients} patients'} ({who}) in tenths of the height of "
        "the labeled spleen. Hollow marks on gray: false positives below the label's lowest slice, above its highest.",
    )


def _examples(arms: Mapping[str, Training], dataset_cases: Mapping[str, Case], figures: Path) -> Iterator[Block]:
    examples = find_examples(arms, dataset_cases) if arms else []
    if not examples:
        return
    draw_examples(examples, path := figures / "examples.png")
    yield Heading("Examples")
    yield Picture(
        path,
        "Axial CT slices with the contours of label and predictions",
        f"The best, the median and the worst of the slices that hold label, by the Dice of the {list(arms)[-1]} "
        "variant. The patient's right is at the left.",
    )


def _sweep(results: Results, figures: Path) -> Iterator[Block]:
    """All borders, also that of the training itself and none where they are trained, on the cases common to all."""
    trainings = dict(sorted((*results.arms.items(), *results.sweep.items()), key=lambda item: _sort_key(item[1])))
    measured = {name: training.metrics for name, training in trainings.items() if select(training.metrics, *HELD_OUT)}
    if not results.sweep.keys() & measured.keys():
        return
    sweep = in_common({trainings[name].border: metrics for name, metrics in measured.items()})
    yield Heading("Sweep of borders")
    yield sweep_table(sweep)
    if points := [point for border, metrics in sweep.items() if (point := _sweep_point(border, metrics))]:
        draw_sweep(points, path := figures / "sweep.png")
        yield Picture(
            path,
            "Mean Dice over the width of the border, for each kernel",
            "Mean Dice of the cases that were measured for every border, with 95 % intervals over patients. How unlike "
            "the patients are makes them wide; the table's differences are between the same patients.",
        )


def _sweep_point(border: str, metrics: Metrics) -> SweepPoint | None:
    dice = estimate(values(select(metrics, *HELD_OUT), "dice").values())
    if dice is None:
        return None
    parsed = Border.parse(border)
    return SweepPoint(parsed.kernel, parsed.width, parsed.unit, dice.mean, dice.low, dice.high)


def _sort_key(training: Training) -> tuple:
    border = Border.parse(training.border)
    return border.kernel != "none", border.kernel, border.unit, border.plane, border.width
