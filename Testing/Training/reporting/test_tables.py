"""Tables of the report."""

import dataclasses

import numpy as np

from results_data import CONTROL, SMOOTHED, metrics_of
from SpleenSmoothSegTrainingLib.measuring.metricsfile import Metrics
from SpleenSmoothSegTrainingLib.reporting.tables import PAPER_TABLE_1, case_table, measure_table, table_1


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


def test_paper_table_has_the_published_numbers():
    assert all(len(pairs) == 6 for pairs in PAPER_TABLE_1.values())
    assert [smoothed > control for control, smoothed in PAPER_TABLE_1["dice"]] == [True] * 6
