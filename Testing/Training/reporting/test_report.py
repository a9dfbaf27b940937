"""The report, from small results folders with known numbers."""

import json
import re

import pytest
import SimpleITK as sitk

from html_page import Page
from results_data import CONTROL, FOLDS, SMOOTHED, metrics_of, steady, write_out, write_training
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegLib.io.decathlon import list_cases
from SpleenSmoothSegTrainingLib.measuring.predictions import prediction_path
from SpleenSmoothSegTrainingLib.reporting.report import write_report
from training_data import write_dataset


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
