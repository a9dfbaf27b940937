"""The report, from small results folders with known numbers."""

import base64
import dataclasses
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
import SimpleITK as sitk

from results_data import FOLDS, metrics_of, write_out, write_training
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.decathlon import list_cases
from SpleenSmoothSegTrainingLib.measuring.metricsfile import Metrics
from SpleenSmoothSegTrainingLib.measuring.predictions import prediction_path
from SpleenSmoothSegTrainingLib.reporting.claims import answer, claims_table
from SpleenSmoothSegTrainingLib.reporting.document import (
    Answer,
    Code,
    Heading,
    Paragraph,
    Picture,
    Table,
    to_html,
    to_markdown,
)
from SpleenSmoothSegTrainingLib.reporting.examples import choose_slices
from SpleenSmoothSegTrainingLib.reporting.report import write_report
from SpleenSmoothSegTrainingLib.reporting.tables import PAPER_TABLE_1, case_table, measure_table, table_1
from training_data import write_dataset

MANY_FOLDS = (("a", "b", "c", "d"), ("e", "f", "g", "h"))
VOID = {"meta", "img", "br", "hr", "link", "input"}


def steady(dice: float, ensemble: float = 0.0):
    """Dice that differs slightly between cases and is higher for the ensemble."""
    return lambda predictor, case: dice - 0.01 * (ord(case[0]) % 5) + (ensemble if predictor == "ensemble" else 0)


CONTROL, SMOOTHED = metrics_of(steady(0.8, 0.1)), metrics_of(steady(0.85, 0.07))


class Page(HTMLParser):
    """Text, pictures and tags of a page; checks that all elements are closed."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.tags, self.images, self.words = [], [], [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        values = dict(attributes)
        assert not {"src", "href"} & values.keys() or values["src"].startswith("data:image/png;base64,")
        if tag == "img":
            assert values["alt"]
            self.images.append(base64.b64decode(values["src"].partition(",")[2]))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def written(out, dataset_cases=None) -> tuple[str, Page]:
    """The Markdown and the HTML of a results folder."""
    markdown, page = write_report(out, dataset_cases)
    assert (markdown, page) == (out / "report.md", out / "report.html")
    return markdown.read_text(encoding="utf-8"), Page(page.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def compared(tmp_path_factory):
    return written(write_out(tmp_path_factory.mktemp("out"), CONTROL, SMOOTHED))


# --- the page ---------------------------------------------------------------------------------------------


def test_report_starts_with_the_answer_and_its_uncertainty(compared):
    markdown, page = compared
    first = markdown.split("## ")[0]
    assert "> **Did border smoothing help? Perhaps: better on average, but not significantly.**" in first
    assert "Dice of the held-out cases by fold: +0.050 on average in 4 cases" in first
    assert (
        "Dice of the test cases by the ensemble: +0.020 in the only case; one case does not allow a conclusion" in first
    )
    assert page.text.index("Did border smoothing help?") < page.text.index("What was trained")


def test_table_1_has_the_layout_of_the_paper_and_is_followed_by_its_numbers(compared):
    markdown, _ = compared
    own, paper = (
        markdown.index(title) for title in ("**Table 1 of this training: control (smoothed)**", "**The paper's")
    )
    assert own < paper
    assert "|  | fold 0 | fold 1 | ensemble |" in markdown
    dice = 0.8 - 0.01 * (ord("t") % 5)
    assert f"| Dice | {dice:.4f} ({dice + 0.05:.4f}) | {dice:.4f} ({dice + 0.05:.4f}) | {dice + 0.1:.4f} (" in markdown
    assert "| Dice | 0.9034 (0.9280) |" in markdown and "| 0.9432 (0.9486) |" in markdown
    assert "| recall | 0.9018 (0.9370) |" in markdown and "| 0.9370 (0.9481) | 0.9445 (0.9535) |" in markdown
    assert "On other data" in markdown[paper:]


def test_markdown_and_html_have_all_sections(compared):
    markdown, page = compared
    headings = re.findall("^## (.*)$", markdown, re.MULTILINE)
    assert headings == [
        "What was trained",
        "Dice, precision, recall",
        "All measures with confidence intervals",
        "Learning curves",
        "Errors by height in the spleen",
        "The paper's claims",
        "Limits",
        "Recipe",
    ]
    for words in (
        *headings,
        "Phantoms. Five ellipsoids",
        "CC0 <1.0>",
        "not a medical device",
        'border = "gaussian:1.5mm"',
    ):
        assert words in page.text
    assert "48 s for 24 epochs" in page.text
    assert len(page.images) == 2 and all(image.startswith(b"\x89PNG") for image in page.images)
    assert page.tags.count("h1") == 1


def test_markdown_links_existing_small_pictures(tmp_path):
    markdown, _ = written(write_out(tmp_path, CONTROL, SMOOTHED))
    for link in re.findall(r"\]\((.*?)\)", markdown):
        assert (tmp_path / link).is_file() and (tmp_path / link).stat().st_size < 100_000


def test_names_are_escaped(tmp_path):
    name = "<script>alert(1)</script> & *b* | [c](d)"
    folds = (("<i>a", "b_c"), ("d|e", "f"))
    dice = steady(0.8)
    out = write_out(tmp_path, metrics_of(dice, folds), metrics_of(dice, folds), folds, name=name)
    markdown, page = written(out)
    assert name in page.text and "<i>a" in page.text and "script" not in page.tags and "i" not in page.tags
    assert "<script>" not in markdown.split("## Recipe")[0]
    assert r"| d\|e | fold 1 |" in markdown and "| b_c | fold 0 |" in markdown


# --- incomplete results ----------------------------------------------------------------------------


def test_report_of_a_single_training_has_no_comparison(tmp_path):
    markdown, page = written(write_out(tmp_path, None, SMOOTHED))
    assert "How good is the model?" in page.text and "this training has no control" in page.text
    assert "Test cases by the ensemble: mean Dice 0.910 of one case, without an interval." in page.text
    table = markdown.split("**Table 1 of this training**")[1].split("**The paper's")[0]
    assert "(" not in table and "| Dice | 0.8400 | 0.8400 | 0.9100 |" in table
    assert "claims" not in page.text and "Wilcoxon" not in page.text


def test_report_without_test_cases_uses_held_out_cases(tmp_path):
    without = [metrics_of(steady(dice), test=()) for dice in (0.8, 0.85)]
    markdown, page = written(write_out(tmp_path, *without, test=()))
    table = markdown.split("**Table 1 of this training: control (smoothed)**")[1].split("**The paper's")[0]
    assert "| – |" in table and "Without test cases" in table
    assert "Not measured: needs test cases" in page.text


def test_report_lists_folds_without_training(tmp_path):
    out = write_out(tmp_path, None, None)
    (out / "fold_1" / "history.csv").unlink()
    _, page = written(out)
    assert "Nothing is measured yet. Folds started so far: 0." in page.text
    assert "Not trained yet: fold 1." in page.text
    assert len(page.images) == 1


def test_report_before_the_first_epoch_is_written(tmp_path):
    write_training(tmp_path, None, folds=())
    _, page = written(tmp_path)
    assert "Folds started so far: none." in page.text and not page.images


def test_report_names_the_variant_that_is_not_measured(tmp_path):
    out = write_out(tmp_path, CONTROL, SMOOTHED)
    for name in ("metrics.csv", "metrics_by_slice.csv"):
        (out / "control" / name).unlink()
    _, page = written(out)
    assert "is unknown: control is not measured yet" in page.text


def test_missing_or_damaged_results_raise_an_error(tmp_path):
    with pytest.raises(UserError, match="contains no training"):
        write_report(tmp_path)
    out = write_out(tmp_path / "out", CONTROL, SMOOTHED)
    (out / "splits.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        write_report(out)
    assert not (out / "report.html").exists()


def test_report_warns_about_a_split_by_slice(tmp_path):
    out = write_out(tmp_path, CONTROL, SMOOTHED)
    splits = json.loads((out / "splits.json").read_text("utf-8"))
    (out / "splits.json").write_text(json.dumps({**splits, "split_by": "slice"}))
    _, page = written(out)
    assert "The split is by slice: slices of one patient are on both sides" in page.text


# --- sweep and examples -----------------------------------------------------------------------------------


def test_sweep_compares_borders_on_common_cases(tmp_path):
    out = write_out(tmp_path, CONTROL, SMOOTHED)
    for width, dice in ((10, 0.7), (2, 0.9)):
        metrics = metrics_of(steady(dice), FOLDS[:1], ())
        write_training(out / "sweep" / f"box_{width}px", metrics, f"box:{width}px", [0])
    markdown, page = written(out)
    table = markdown.split("**Borders:")[1]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line.startswith("| ")
    ]
    assert [row[0] for row in rows[2:]] == ["none", "box:2px", "box:10px", "gaussian:1.5mm"]
    assert {row[-1] for row in rows[2:]} == {"2"}
    assert rows[3][2].startswith("+0.100") and rows[4][2].startswith("-0.100") and rows[2][2] == "–"
    assert len(page.images) == 3


def test_choose_slices_returns_best_median_and_worst_with_label():
    rows = [row for row in SMOOTHED.slices if row.set == "validation"]
    beyond = dataclasses.replace(rows[0], label_ml=0.0, dice=0.0)
    missed = [dataclasses.replace(rows[0], label_ml=label_ml, dice=0.0) for label_ml in (1.0, 3.0, 2.0)]
    rows += missed
    chosen = choose_slices([beyond, *rows])
    dice = sorted(row.dice for row in rows)
    assert chosen["worst"].label_ml == 3
    assert list(chosen) == ["best", "median", "worst"]
    assert (chosen["best"].dice, chosen["worst"].dice) == (dice[-1], dice[0])
    assert list(choose_slices(rows[:1])) == ["best"] and choose_slices([]) == {}


def test_examples_need_ct_and_saved_mask(tmp_path):
    cases = {case.name: case for case in list_cases(write_dataset(tmp_path / "Task"))}
    out = write_out(tmp_path / "out", CONTROL, SMOOTHED)
    assert len(written(out, cases)[1].images) == 2
    _, label = cases["a"].read()
    for folder in (out, out / "control"):
        path = prediction_path(folder / "predictions", "a", "fold 0")
        path.parent.mkdir()
        sitk.WriteImage(label, str(path))
    markdown, page = written(out, cases)
    assert "figures/examples.png" in markdown and len(page.images) == 3


# --- tables and claims ------------------------------------------------------------------------------------


def test_table_cells_are_means_over_patients():
    metrics = metrics_of(lambda predictor, case: {"a": 0.5, "b": 0.7, "c": 0.9, "d": 0.8, "t": 0.6}[case])
    assert table_1({"control": metrics}, 2).rows[0] == ["Dice", "0.6000", "0.6000", "0.6000"]
    cases = case_table({"control": metrics})
    assert cases.rows[0] == ["a", "fold 0", "0.500", "0.500", "0.500", "200", "200"]
    assert cases.rows[-1][2] == f"{np.mean([0.5, 0.7, 0.9, 0.8]):.3f}"


def test_case_missing_in_one_variant_has_a_dash():
    fewer = Metrics(tuple(row for row in SMOOTHED.volumes if row.case != "a"))
    rows = case_table({"control": CONTROL, "smoothed": fewer}).rows
    assert rows[0][2].endswith(" (–)")


def test_measures_without_values_have_no_rows():
    metrics = Metrics(tuple(dataclasses.replace(row, hd95_mm=None, assd_mm=None) for row in SMOOTHED.volumes))
    names = [row[0] for row in measure_table({"smoothed": metrics}, "validation", None, "").rows]
    assert "surface Dice at 1 mm" in names and not {"ASSD, mm", "HD95, mm"} & set(names)
    assert measure_table({"smoothed": Metrics()}, "validation", None, "") is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (0.04, "Yes, on these cases"),
        (-0.04, "No, results on these cases are worse"),
        (0.0, "No: the Dice of every case is unchanged"),
    ],
)
def test_answer_depends_on_the_change_in_dice(change, words):
    control = metrics_of(steady(0.8), MANY_FOLDS)
    smoothed = metrics_of(lambda predictor, case: steady(0.8)(predictor, case) + change, MANY_FOLDS)
    assert words in answer(control, smoothed).short


def test_answer_for_mixed_changes_is_no_significant_difference():
    control = metrics_of(steady(0.8), MANY_FOLDS)
    smoothed = metrics_of(
        lambda predictor, case: steady(0.8)(predictor, case) + (0.03 if case in "aceg" else -0.03), MANY_FOLDS
    )
    result = answer(control, smoothed)
    assert "No significant difference" in result.short and "remain possible" in result.sentences[0]


def test_answer_for_one_case_is_no_conclusion():
    metrics = [metrics_of(steady(dice), (("a",), ()), ()) for dice in (0.8, 0.9)]
    assert answer(*metrics).short.endswith("One case does not allow a conclusion.")
    assert answer(Metrics(), Metrics()) == Answer("Did border smoothing help? Nothing is measured yet.", [])


def test_claims_table_has_a_result_for_each_claim():
    rows = dict(claims_table(CONTROL, SMOOTHED, 2).rows)
    folds = rows["Every single fold rises almost to the ensemble."]
    assert folds.startswith(
        "2 of 2 folds have a higher mean test Dice. A single fold is 0.100 (control) and 0.070 (smoothed) below"
    )
    assert "does not allow a conclusion" in folds
    assert "Volume missed: -5.0 mL on average in 4 cases" in rows["There are fewer false negatives."]
    assert "a tendency to better" in rows["There are fewer false negatives."]
    tips = rows["It is better at the top and bottom of the organ."]
    assert "lowest and highest fifth: +0.050" in tips and "slices in between: +0.050" in tips
    assert "Average surface distance: -0.50 mm" in rows["It matters for the study of the organ's surface."]


def test_paper_table_has_the_published_numbers():
    assert all(len(pairs) == 6 for pairs in PAPER_TABLE_1.values())
    assert [smoothed > control for control, smoothed in PAPER_TABLE_1["dice"]] == [True] * 6


# --- the document -----------------------------------------------------------------------------------------


def test_document_is_equal_in_markdown_and_html(tmp_path):
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_bytes(b"\x89PNG picture")
    blocks = [
        Answer("Yes.", ["Rather *sure*."]),
        Heading("Part"),
        Paragraph("a < b\nand `c`"),
        Table("Numbers", ["", "one"], [["x|y", "1"]], "A note."),
        Picture(tmp_path / "figures" / "a.png", "alt", "Caption"),
        Code("```\n<x>"),
    ]
    assert to_markdown("Title", blocks, tmp_path) == (
        "# Title\n\n> **Yes.**\n>\n> Rather \\*sure\\*.\n\n## Part\n\na \\< b and \\`c\\`\n\n**Numbers**\n\n"
        "|  | one |\n| --- | ---: |\n| x\\|y | 1 |\n\nA note.\n\n![alt](figures/a.png)\n\nCaption\n\n"
        "````text\n```\n<x>\n````\n"
    )
    page = Page(to_html("Title", blocks))
    assert page.images == [b"\x89PNG picture"]
    for words in ("Yes.", "Rather *sure*.", "a < b and `c`", "x|y", "A note.", "Caption", "<x>"):
        assert words in page.text
