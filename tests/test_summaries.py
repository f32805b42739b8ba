"""Summaries over seeds and the results table: t intervals, paired differences, marks."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from mcstl._support.errors import InputError
from mcstl.evaluation.summaries import Summary, paired, summarise, summarise_groups
from mcstl.evaluation.tables import results_table


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


def test_table_has_the_columns_of_the_papers_table_1() -> None:
    runs = [run("a", s, auc=0.7 + s / 100, group_auc_sd=s / 10) for s in range(3)]
    table = results_table(summarise(runs), runs)
    titles = ["AUC", "NLL", "Group AUC", "Slope", "Bias", "1-EMD"]
    assert [column.title for column in table.columns] == titles
    [(method, cells)] = table.rows
    assert method == "a"
    assert cells[0].text == "0.710 ± 0.010"  # sd over seeds
    assert cells[2].text == "0.500 ± 0.100"  # the mean over seeds of the sd over groups
    assert {cell.mark for cell in cells} == {""}  # there is nothing to compare with


def marks(
    runs: list[dict[str, Any]], title: str = "AUC", summary: Summary | None = None
) -> dict[str, str]:
    table = results_table(summary or summarise(runs), runs)
    at = [column.title for column in table.columns].index(title)
    return {method: cells[at].mark for method, cells in table.rows}


def test_best_is_marked_only_where_the_paired_difference_excludes_zero() -> None:
    noise: npt.NDArray[np.float64] = np.random.default_rng(0).normal(0, 0.05, 5)
    # Seeds differ far more than methods, yet b is better on every one of them.
    runs = [run("a", s, auc=0.7 + noise[s]) for s in range(5)]
    runs += [run("b", s, auc=0.71 + noise[s] + s / 1000) for s in range(5)]
    assert marks(runs) == {"a": "", "b": "best"}
    runs += [run("c", s, auc=0.712 + noise[s] + (-1) ** s / 100) for s in range(5)]
    assert marks(runs) == {"a": "", "b": "tied", "c": "tied"}


def test_best_slope_is_nearest_one_and_best_nll_lowest() -> None:
    values = {"over": (1.3, 0.6), "near": (0.95, 0.4), "under": (0.5, 0.7)}
    runs = [
        run(method, s, slope_mean=slope + s / 1000, nll=nll + s / 1000)
        for method, (slope, nll) in values.items()
        for s in range(3)
    ]
    assert marks(runs, "Slope")["near"] == "best"
    assert marks(runs, "NLL")["near"] == "best"


def test_one_seed_marks_nothing() -> None:
    assert set(marks([run("a", 0, auc=0.6), run("b", 0, auc=0.9)]).values()) == {""}


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
