"""What the tables of a study show, computed once from results.json; `text_tables` writes them.

The columns are those of the paper's Table 1, with NLL added.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from mcstl.evaluation.summaries import Run, Summary, summarise_groups

#: A group is called off where chance would give an error as large as its own less often.
ALARM_LEVEL = 0.05


class Column(NamedTuple):
    """A column of the results table.

    Attributes:
        metric: The metric whose mean over seeds is shown.
        title: The heading.
        best: Which values are the best.
    """

    metric: str
    title: str
    best: Literal["highest", "lowest", "nearest 1", "nearest 0"]

    @property
    def ideal(self) -> float | None:
        """The value to be near to; None where more, or less, is always better."""
        return {"nearest 1": 1.0, "nearest 0": 0.0}.get(self.best)

    def goodness(self, value: float) -> float:
        """Turn a value of the metric into one of which more is better.

        Args:
            value: The value.

        Returns:
            The value, its opposite, or minus its distance from the ideal.
        """
        if self.ideal is not None:
            return -abs(value - self.ideal)
        return value if self.best == "highest" else -value


class Cell(NamedTuple):
    """A cell of the results table.

    Attributes:
        mean: The mean over seeds.
        low: Lower end of the 95% interval, over what the summary's ``interval`` says.
        high: Upper end of the interval.
        mark: "best" or "tied" as differences tell, or "".
    """

    mean: float | None
    low: float | None = None
    high: float | None = None
    mark: str = ""

    @property
    def text(self) -> str:
        """The cell as ``0.895 [0.880, 0.910]``, without the interval where there is none."""
        if self.low is None:
            return rounded(self.mean)
        return f"{rounded(self.mean)} [{rounded(self.low)}, {rounded(self.high)}]"


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


def results_table(summary: Summary, columns: Sequence[Column] | None = None) -> ResultsTable:
    """Compute the results table: the paper's Table 1, with NLL added.

    Columns that no method has are left out, as those of groups where there are none.

    Marks are those of the summary: a method is "best" if its difference from every other one has a
    95% interval without 0, else the best and all that it does not beat are "tied". Slope counts by
    its distance from 1, bias from 0. Summaries that an older version made may have none.

    Args:
        summary: The summary of results.json.
        columns: The columns, by default those that any method has.

    Returns:
        A row per method of the summary.
    """
    columns = measured_columns([summary]) if columns is None else columns
    rows = [
        (method, [_cell(metrics[column.metric]) for column in columns])
        for method, metrics in summary.items()
    ]
    return ResultsTable(list(columns), rows)


def measured_columns(summaries: Sequence[Summary]) -> list[Column]:
    """List the columns of the results table that any method of some studies has.

    Args:
        summaries: The summary of each study's results.json; all have the same score.

    Returns:
        The columns; the score is always among them.
    """
    score = _score(summaries[0])
    return [
        column
        for column in results_columns(score)
        if column.metric == score
        or any(m[column.metric]["mean"] is not None for each in summaries for m in each.values())
    ]


def results_columns(score: str) -> list[Column]:
    """List the columns of the results table.

    Args:
        score: The metric of the first column: "auc" or "accuracy".

    Returns:
        The score, NLL, the score's mean over groups, slope, bias and 1-EMD.
    """
    title = "AUC" if score == "auc" else "Accuracy"
    return [
        Column(score, title, "highest"),
        Column("nll", "NLL", "lowest"),
        Column(f"group_{score}_mean", _group_title(score), "highest"),
        Column("slope_mean", "Slope", "nearest 1"),
        Column("bias_mean", "Bias", "nearest 0"),
        Column("one_minus_emd", "1-EMD", "highest"),
    ]


class SpreadTable(NamedTuple):
    """How far apart groups are, per method, in score, slope and bias.

    Attributes:
        titles: What is measured.
        rows: Per method its name, and per title the sd over groups as measured (the paper's) and
            a cell without the noise.
    """

    titles: list[str]
    rows: list[tuple[str, list[tuple[float | None, Cell]]]]


def spread_table(summary: Summary) -> SpreadTable:
    """Compute the table of spreads over groups (and thresholds).

    Args:
        summary: The summary of results.json.

    Returns:
        A row per method; none if an older version made the summary.
    """
    score = _score(summary)
    shown = {f"group_{score}": _group_title(score), "slope": "Slope", "bias": "Bias"}
    rows = [
        (method, [(m[f"{name}_sd"]["mean"], _cell(m[f"{name}_spread"])) for name in shown])
        for method, m in summary.items()
        if "slope_spread" in m
    ]
    return SpreadTable(list(shown.values()), rows)


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
        rows.append((method, [_cell(gap) for gap in gaps]))
    return ResultsTable(list(columns), rows)


def group_table(evaluation: Mapping[str, Any], n: int) -> tuple[list[str], list[list[str]]]:
    """Compute the table of one evaluation: all annotations, then each group.

    Args:
        evaluation: ``metrics``, ``groups`` and ``intervals``, as `measured_once` returns them.
        n: The number of annotations.

    Returns:
        The headings, and the rows as texts.
    """
    overall = evaluation["metrics"]
    score = "accuracy" if "accuracy" in overall else "auc"
    shown = (score, "nll", "one_minus_emd")
    columns = [column for column in results_columns(score) if column.metric in shown]
    everyone = {"group": "all", "n": n, **overall, "intervals": evaluation["intervals"]}
    texts = [
        [
            row["group"],
            f"{row['n']:,}",
            *(Cell(row[c.metric], *row["intervals"][c.metric]).text for c in columns),
        ]
        for row in (everyone, *evaluation["groups"])
    ]
    return ["group", "n", *(column.title for column in columns)], texts


def question_table(runs: Sequence[Run]) -> tuple[list[str], list[list[str]]]:
    """Compute the table of the questions of a multilabel study.

    Args:
        runs: The runs of results.json, whose groups are the questions.

    Returns:
        The headings, and per question and method AUC (and bias), means over seeds.
    """
    methods = list(dict.fromkeys(run["method"] for run in runs))
    means = {
        method: {row["group"]: row for row in summarise_groups(runs, method)} for method in methods
    }
    rows = [
        [
            question,
            *(
                f"{rounded(means[method][question]['auc'])} "
                f"({rounded(means[method][question]['bias'])})"
                for method in methods
            ),
        ]
        for question in means[methods[0]]
    ]
    return ["question", *methods], rows


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


def sampled_words(interval: str, unit: str) -> str:
    """Say what an interval is over.

    Args:
        interval: The ``interval`` of a summary.
        unit: The word for items.

    Returns:
        The words; none where the interval is over seeds alone, as older versions made it.

    Example:
        >>> sampled_words("items and annotators", "texts")
        'texts and people'
    """
    words = {"items": unit, "annotators": "people", "items and annotators": f"{unit} and people"}
    return words.get(interval, "")


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


def _score(summary: Summary) -> str:
    return "accuracy" if any("accuracy" in metrics for metrics in summary.values()) else "auc"


def _group_title(score: str) -> str:
    return "Group AUC" if score == "auc" else "Group accuracy"


def _cell(value: Mapping[str, Any]) -> Cell:
    return Cell(value["mean"], value["low"], value["high"], value.get("mark", ""))
