"""Summaries over seeds and the results table: t intervals, paired differences, tables."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from mcstl._support.errors import InputError
from mcstl.evaluation.summaries import (
    paired,
    split_overlap,
    summarise,
    summarise_groups,
    t_interval,
)
from mcstl.evaluation.tables import Column, results_table, spread_table


def run(method: str, seed: int, **values: float | None) -> dict[str, Any]:
    base = dict.fromkeys(
        ("nll", "group_auc_mean", "group_auc_sd", "slope_sd", "bias_sd", "one_minus_emd"), 0.5
    )
    base |= {"auc": 0.7, "slope_mean": 1.0, "bias_mean": 0.0}
    return {"method": method, "seed": seed, "metrics": base | values, "groups": []}


def test_summary_is_scipys_t_interval_over_seeds() -> None:
    aucs = [0.71, 0.74, 0.70, 0.77, 0.73]
    summary = summarise([run("mc-stl", i, auc=auc) for i, auc in enumerate(aucs)])
    found = summary["mc-stl"]["auc"]
    low, high = stats.t.interval(0.95, 4, loc=np.mean(aucs), scale=stats.sem(aucs))
    assert found == {
        "mean": pytest.approx(np.mean(aucs)),
        "sd": pytest.approx(np.std(aucs, ddof=1)),
        "low": pytest.approx(low),
        "high": pytest.approx(high),
        "interval": "seeds",
    }


def test_one_seed_has_no_interval_and_a_missing_value_is_left_out() -> None:
    summary = summarise([run("a", 0), run("b", 0, auc=None), run("b", 1, auc=0.6)])
    assert summary["a"]["auc"] == {
        "mean": 0.7,
        "sd": None,
        "low": None,
        "high": None,
        "interval": "seeds",
    }
    assert summary["b"]["auc"]["mean"] == 0.6
    nothing = summarise([run("a", 0, auc=None)])
    assert nothing["a"]["auc"]["mean"] is None


def test_paired_differences_are_over_common_seeds() -> None:
    runs = [run("a", s, auc=0.7 + s / 10) for s in range(3)]
    runs += [run("b", s, auc=0.6 + s / 10) for s in (2, 1)]
    difference = paired(runs, "a", "b")["auc"]
    assert difference["mean"] == pytest.approx(0.1)
    assert difference["sd"] == pytest.approx(0, abs=1e-12)
    assert paired(runs, "b", "a")["auc"]["mean"] == pytest.approx(-0.1)
    with pytest.raises(InputError, match="no run of method 'mcstl'; found: mc-stl"):
        paired([run("mc-stl", 0)], "mcstl", "mc-stl")


def test_intervals_over_splits_that_overlap_are_those_of_nadeau_and_bengio() -> None:
    values = [0.7, 0.74, 0.71, 0.79]
    found = t_interval(values, overlap=0.25)
    half = stats.t.ppf(0.975, 3) * np.std(values, ddof=1) * np.sqrt(1 / 4 + 0.25)
    assert found["high"] - found["mean"] == pytest.approx(half)
    assert found["mean"] - found["low"] == pytest.approx(half)


def test_only_random_splits_overlap() -> None:
    parts = {"train": 80, "validation": 0, "test": 20}
    assert split_overlap({"split": {"by": "item", **parts}}) == 0.25
    assert split_overlap({"split": {"by": "part", **parts}}) == 0


def test_table_has_the_columns_of_the_papers_table_1() -> None:
    summary = summarise([run("a", s, auc=0.7 + s / 100) for s in range(3)])
    summary["a"]["nll"] |= {"mark": "best"}
    table = results_table(summary)
    titles = ["AUC", "NLL", "Group AUC", "Slope", "Bias", "1-EMD"]
    assert [column.title for column in table.columns] == titles
    [(method, cells)] = table.rows
    assert method == "a"
    assert cells[0].text == "0.710 [0.685, 0.735]"
    assert [cell.mark for cell in cells] == ["", "best", "", "", "", ""]
    assert spread_table(summary).rows == []  # as an older version made it


def test_spreads_stand_beside_the_papers_sds() -> None:
    summary = summarise([run("a", s, group_auc_sd=s / 10) for s in range(3)])
    value = {"mean": 0.05, "sd": None, "low": 0.0, "high": 0.08, "interval": "items"}
    summary["a"] |= {f"{name}_spread": value for name in ("group_auc", "slope", "bias")}
    table = spread_table(summary)
    assert table.titles == ["Group AUC", "Slope", "Bias"]
    [(_, cells)] = table.rows
    assert cells[0][0] == pytest.approx(0.1)
    assert cells[0][1].text == "0.050 [0.000, 0.080]"


def test_a_column_knows_what_is_good() -> None:
    slope = Column("slope_mean", "Slope", "nearest 1")
    assert slope.ideal == 1
    assert slope.goodness(0.9) == pytest.approx(-0.1)
    assert Column("nll", "NLL", "lowest").goodness(2.0) == -2.0
    assert Column("auc", "AUC", "highest").ideal is None


def test_group_summary_averages_over_seeds_and_thresholds() -> None:
    def group(auc: float | None, *slopes: float | None) -> dict[str, Any]:
        lines = [{"threshold": t, "slope": s, "bias": 0.0} for t, s in enumerate(slopes)]
        return {"group": "g", "n": 10, "auc": auc, "thresholds": lines}

    runs = [
        run("a", 0) | {"groups": [group(0.6, 1.0, 2.0)]},
        run("a", 1) | {"groups": [group(None, None, 3.0)]},
    ]
    [row] = summarise_groups(runs, "a")
    assert row == {"group": "g", "n": 10, "auc": 0.6, "slope": 2.0, "bias": 0.0}
