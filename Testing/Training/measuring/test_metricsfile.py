"""Writing and reading of metrics, and the rows that several variants have in common."""

import dataclasses

import pytest

from results_data import slice_row, volume_row
from SpleenSmoothSegLib.errors import UserError
from SpleenSmoothSegTrainingLib.measuring.metricsfile import Metrics, in_common, read_metrics, write_metrics

ROW = volume_row("validation", "fold 0", "a", 2 / 3)
SLICE_ROWS = tuple(
    slice_row("validation", "fold 0", "a", height, 0.7, number) for number, height in enumerate((0.0, 0.5, 1.0))
)


def test_metrics_survive_writing_and_reading(tmp_path):
    row, rows = ROW, SLICE_ROWS
    write_metrics(tmp_path, Metrics((row,), tuple(rows)))
    found = read_metrics(tmp_path)
    assert [dataclasses.astuple(one)[:5] for one in found.slices] == [dataclasses.astuple(one)[:5] for one in rows]
    assert found.volumes[0].dice == pytest.approx(row.dice, abs=1e-6)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == (
        "set,predicted_by,case,dice,precision,recall,hd95_mm,assd_mm,surface_dice_1mm,surface_dice_2mm,predicted_ml,"
        "label_ml,false_negative_ml,false_positive_ml"
    )
    assert (tmp_path / "metrics_by_slice.csv").read_text().splitlines()[0] == (
        "set,predicted_by,case,slice,relative_height,dice,precision,recall,label_ml,predicted_ml,false_negative_ml,"
        "false_positive_ml"
    )


@pytest.mark.parametrize("text", ["nonsense\n1\n", "set,predicted_by,case,dice\ntest,fold 0,a,x\n"])
def test_damaged_metrics_raise_an_error(tmp_path, text):
    (tmp_path / "metrics.csv").write_text(text)
    with pytest.raises(UserError, match="damaged") as caught:
        read_metrics(tmp_path)
    assert "\n" not in str(caught.value)


def test_missing_metrics_are_empty(tmp_path):
    assert read_metrics(tmp_path) == Metrics()


def test_in_common_keeps_rows_of_all_variants():
    row, rows = ROW, SLICE_ROWS
    other = dataclasses.replace(row, case="b")
    found = in_common({"control": Metrics((row, other), tuple(rows)), "smoothed": Metrics((row,))})
    assert [one.case for one in found["control"].volumes] == ["a"]
    assert in_common({}) == {}
