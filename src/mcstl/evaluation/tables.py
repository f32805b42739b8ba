"""What the tables of a study show, computed once from results.json; `text_tables` writes them.

The columns are those of the paper's Table 1, with NLL added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from mcstl.evaluation.summaries import Run, Summary, metrics_by_seed, t_interval

#: A group is called off where chance would give an error as large as its own less often.
ALARM_LEVEL = 0.05


class Column(NamedTuple):
    """A column of the results table.

    Attributes:
        metric: The metric whose mean over seeds is shown.
        title: The heading.
        over: What the standard deviation runs over: "seeds", "groups" or "groups and thresholds".
        sd_metric: The metric whose mean over seeds is that sd; "" for the sd over seeds itself.
        best: Which values are the best.
    """

    metric: str
    title: str
    over: str
    sd_metric: str
    best: Literal["highest", "lowest", "nearest 1", "nearest 0"]

    def goodness(self, values: Any) -> Any:
        """Turn values of the metric into ones of which more is better.

        Args:
            values: A number or an array.

        Returns:
            The same form: the values, their opposites, or minus their distance from 1 or 0.
        """
        match self.best:
            case "highest":
                return values
            case "lowest":
                return -values
            case "nearest 1":
                return -abs(values - 1)
            case "nearest 0":
                return -abs(values)


class Cell(NamedTuple):
    """A cell of the results table.

    Attributes:
        mean: The mean over seeds.
        sd: The standard deviation that the column names.
        mark: "best" or "tied" as paired differences tell, or "".
        low: Lower end of the 95% interval, over what the summary's ``interval`` says.
        high: Upper end of the interval.
    """

    mean: float | None
    sd: float | None = None
    mark: str = ""
    low: float | None = None
    high: float | None = None

    @property
    def text(self) -> str:
        """The cell as ``0.895 ± 0.004``, without the sd where there is none, or ``-``."""
        return rounded(self.mean) + ("" if self.sd is None else f" ± {rounded(self.sd)}")


class ResultsTable(NamedTuple):
    """A table of methods by metrics.

    Attributes:
        columns: The columns.
        rows: Per method its name and a cell per column.
    """

    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]

    @property
    def header(self) -> list[str]:
        """The headings, that of the methods first."""
        return ["method", *(column.title for column in self.columns)]

    @property
    def texts(self) -> list[list[str]]:
        """The rows as texts, the method first."""
        return [[method, *(cell.text for cell in cells)] for method, cells in self.rows]


def results_table(summary: Summary, runs: Sequence[Run]) -> ResultsTable:
    """Compute the results table: the paper's Table 1, with NLL added.

    The sd of group columns runs over groups (mean over seeds), the others' over seeds; each column
    says which. A cell is "best" if its method's paired difference over seeds from every other
    method has a 95% t interval without 0, else the best and all that it does not beat are "tied";
    where the summary has marks, from resampled items, they are taken instead. Slope counts by its
    distance from 1, bias from 0. Nothing is marked with one seed (unless resampled) or one method.

    Args:
        summary: The summary of results.json.
        runs: The runs of results.json.

    Returns:
        A row per method of the summary.
    """
    score = "accuracy" if any("accuracy" in metrics for metrics in summary.values()) else "auc"
    columns = results_columns(score)
    resampled = any("mark" in value for metrics in summary.values() for value in metrics.values())
    marks = [{} if resampled else _marks(runs, column, list(summary)) for column in columns]
    rows = []
    for method, metrics in summary.items():
        cells = []
        for column, by_seeds in zip(columns, marks, strict=True):
            value = metrics[column.metric]
            sd = metrics[column.sd_metric]["mean"] if column.sd_metric else value["sd"]
            mark = value.get("mark", "") if resampled else by_seeds.get(method, "")
            cells.append(Cell(value["mean"], sd, mark, value["low"], value["high"]))
        rows.append((method, cells))
    return ResultsTable(columns, rows)


def results_columns(score: str) -> list[Column]:
    """List the columns of the results table.

    Args:
        score: The metric of the first column: "auc" or "accuracy".

    Returns:
        The score, NLL, the score's mean over groups, slope, bias and 1-EMD.
    """
    title = "AUC" if score == "auc" else "Accuracy"
    lines = "groups and thresholds"
    return [
        Column(score, title, "seeds", "", "highest"),
        Column("nll", "NLL", "seeds", "", "lowest"),
        Column(
            f"group_{score}_mean",
            f"Group {title if score == 'auc' else title.lower()}",
            "groups",
            f"group_{score}_sd",
            "highest",
        ),
        Column("slope_mean", "Slope", lines, "slope_sd", "nearest 1"),
        Column("bias_mean", "Bias", lines, "bias_sd", "nearest 0"),
        Column("one_minus_emd", "1-EMD", "seeds", "", "highest"),
    ]


def differences_table(
    differences: Mapping[str, Mapping[str, Mapping[str, float | None]]],
    columns: Sequence[Column],
) -> ResultsTable:
    """Compute a table of differences between methods with their intervals.

    Args:
        differences: Per method and metric ``mean``, ``low`` and ``high``, as the ``methods`` of
            ``differences`` in results.json.
        columns: The columns of the table.

    Returns:
        A row per method.
    """
    rows = []
    for method, by_metric in differences.items():
        gaps = [by_metric[column.metric] for column in columns]
        cells = [Cell(gap["mean"], low=gap["low"], high=gap["high"]) for gap in gaps]
        rows.append((method, cells))
    return ResultsTable(list(columns), rows)


def group_table(evaluation: Mapping[str, Any], n: int) -> tuple[list[str], list[list[str]]]:
    """Compute the table of one evaluation: all annotations, then each group.

    Args:
        evaluation: ``metrics`` and ``groups``, as `metrics.evaluate` returns them.
        n: The number of annotations.

    Returns:
        The headings, and the rows as texts.
    """
    overall = evaluation["metrics"]
    score = "accuracy" if "accuracy" in overall else "auc"
    shown = (score, "nll", "one_minus_emd")
    columns = [column for column in results_columns(score) if column.metric in shown]
    rows = [{"group": "all", "n": n, **overall}, *evaluation["groups"]]
    texts = [
        [row["group"], f"{row['n']:,}", *(rounded(row[column.metric]) for column in columns)]
        for row in rows
    ]
    return ["group", "n", *(column.title for column in columns)], texts


@dataclass(frozen=True)
class CalibrationTest:
    """The test of multicalibration of one method, as its table shows it.

    Attributes:
        method: The method.
        error: The multicalibration error in units of its noise.
        p_value: The chance of an error as large in a model without any.
        worst: Per group (None: everyone) its entry of results.json at the threshold where it is
            furthest off.
    """

    method: str
    error: float
    p_value: float
    worst: dict[str | None, dict[str, Any]]

    @property
    def off(self) -> list[str | None]:
        """The groups that are off at any threshold."""
        return [name for name, entry in self.worst.items() if entry["p_adjusted"] < ALARM_LEVEL]

    @property
    def worst_group(self) -> str | None:
        """The group that is furthest off in units of its noise; None: everyone."""
        return max(self.worst, key=lambda name: float(self.worst[name]["in_sigmas"]))


def calibration_tests(results: Mapping[str, Any]) -> list[CalibrationTest]:
    """Read the tests of multicalibration from the audit in results.json.

    Args:
        results: The content of results.json.

    Returns:
        A test per method that could be tested; none for outputs without an audit.
    """
    tests = []
    for method, audit in results.get("audit", {}).get("methods", {}).items():
        tested = audit["multicalibration"]
        worst: dict[str | None, dict[str, Any]] = {}
        for entry in tested["cells"]:
            group = entry["group"]
            if entry["in_sigmas"] is None:
                continue
            if group not in worst or entry["in_sigmas"] > worst[group]["in_sigmas"]:
                worst[group] = entry
        if worst:
            tests.append(CalibrationTest(method, tested["error"], tested["p_value"], worst))
    return tests


def rounded(value: float | None, digits: int = 3) -> str:
    """Write a number for a table.

    Args:
        value: The number.
        digits: How many digits follow the point.

    Returns:
        The number, never ``-0.000``; ``-`` for None.

    Example:
        >>> rounded(0.8951), rounded(-0.0001), rounded(None)
        ('0.895', '0.000', '-')
    """
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def _marks(runs: Sequence[Run], column: Column, methods: list[str]) -> dict[str, str]:
    """Per method "best" or "tied"; methods that are beaten, or cannot be told, are absent."""
    goodness: dict[str, dict[int, float]] = {}
    for method in methods:
        for seed, metrics in metrics_by_seed(runs, method).items():
            value = metrics[column.metric]
            if value is not None:
                goodness.setdefault(method, {})[seed] = column.goodness(value)
    if len(goodness) < 2:
        return {}
    best = max(goodness, key=lambda method: float(np.mean(list(goodness[method].values()))))
    tied = []
    for method, by_seed in goodness.items():
        if method != best:
            seeds = [seed for seed in goodness[best] if seed in by_seed]
            low = t_interval([goodness[best][seed] - by_seed[seed] for seed in seeds])["low"]
            if low is None:
                return {}
            if low <= 0:
                tied.append(method)
    return dict.fromkeys([best, *tied], "tied") if tied else {best: "best"}
