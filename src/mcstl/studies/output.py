"""Everything that a report is made of, read from a study's folder and checked."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcstl import evaluation
from mcstl._support.arrays import BoolArray
from mcstl._support.errors import listed, need_names
from mcstl.data.annotations import TEXT_COLUMNS
from mcstl.studies.results import (
    PREDICTION_COLUMNS,
    by_question,
    existing,
    read_results,
    read_table,
    read_trace,
)

#: Probabilities as stored may be out by this.
_ROUNDING = 1e-4


class Output(NamedTuple):
    """What `run` wrote, read and checked.

    Attributes:
        results: The content of results.json.
        predictions: predictions.parquet without the runs whose predictions cannot be right, and
            without groups of too few people to be shown.
        items: items.parquet: item and text, or item, text_a and text_b.
        trace: trace.parquet: the metrics of every epoch.
        study: The text of study.yaml.
        problems: A sentence for everything that is wrong with predictions.parquet.
    """

    results: dict[str, Any]
    predictions: pd.DataFrame
    items: pd.DataFrame
    trace: pd.DataFrame
    study: str
    problems: list[str]


def read_output(folder: Path) -> Output:
    """Read what `run` wrote, and keep the predictions that can be right.

    Args:
        folder: The folder of a finished study.

    Returns:
        Its files, and what is wrong with the predictions that are left out.

    Raises:
        InputError: If a file is missing or damaged, or lacks a column.
    """
    results = read_results(folder)
    predictions = by_question(read_table(folder, "predictions", PREDICTION_COLUMNS))
    columns = ["item", *TEXT_COLUMNS[results["data"]["task"]]]
    items = read_table(folder, "items", columns)[columns]
    trace = read_trace(folder)
    study = existing(folder, "study.yaml").read_text(encoding="utf-8")
    predictions, problems = _usable(predictions, results, items)
    predictions = in_shown_groups(predictions, results)
    return Output(results, predictions, items, trace, study, problems)


def in_shown_groups(predictions: pd.DataFrame, results: Mapping[str, Any]) -> pd.DataFrame:
    """Take the groups of too few people to be shown out of predictions.

    Args:
        predictions: The content of predictions.parquet.
        results: That of results.json.

    Returns:
        The predictions, whose rows are in no such group.
    """
    hidden = set(results["data"]["groups_not_shown"])
    shown = [
        names if names is None else [name for name in names if name not in hidden]
        for names in predictions["groups"]
    ]
    return predictions.assign(groups=pd.Series(shown, predictions.index, dtype=object))


def _usable(
    predictions: pd.DataFrame, results: Mapping[str, Any], items: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Return the predictions of runs that are whole and can be right, and what the others lack."""
    name = "predictions.parquet"
    runs = list(zip(predictions["method"], predictions["seed"], strict=True))
    problems, left_out = [], set[tuple[str, int]]()
    for problem, bad in _wrong_rows(predictions, results, items).items():
        if bad.any():
            first = predictions[bad].iloc[0]
            problems.append(
                f"{int(bad.sum()):,} of {len(bad):,} rows of {name} {problem}, the first for "
                f"method {first['method']}, seed {first['seed']}, row {first['row']}."
            )
            left_out |= {run for run, is_bad in zip(runs, bad, strict=True) if is_bad}
    # Methods of one seed predict the same rows.
    counts = predictions.groupby(["method", "seed"])["row"].nunique().to_dict()
    expected_counts = predictions.groupby("seed")["row"].nunique().to_dict()
    for run in [(run["method"], run["seed"]) for run in results["runs"]]:
        n, expected = counts.get(run, 0), expected_counts.get(run[1], 0)
        if n < max(expected, 1):
            problems.append(
                f"{name} has {n:,} of {expected:,} rows of method {run[0]}, seed {run[1]}."
            )
            left_out.add(run)
    if left_out:
        titles = listed(f"{method}, seed {seed}" for method, seed in sorted(left_out))
        problems.append(
            f"Left out of the figures made of predictions: {titles}. Run the study again."
        )
    kept = np.array([run not in left_out for run in runs], dtype=bool)
    return predictions[kept], problems


def _wrong_rows(
    predictions: pd.DataFrame, results: Mapping[str, Any], items: pd.DataFrame
) -> dict[str, BoolArray]:
    """Return which rows have which problem. Raises InputError if a class has no column."""
    classes = results["data"]["classes"]
    p_columns = [f"p_{c}" for c in range(len(classes))]
    hint = f"The classes are {listed(classes)}"
    need_names(p_columns, predictions.columns, "predictions.parquet", hint=hint)
    p = predictions[p_columns].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    is_number = np.isfinite(p).all(axis=1)
    outside = is_number & ((p < -_ROUNDING) | (p > 1 + _ROUNDING)).any(axis=1)
    off = is_number & ~outside & (np.abs(p.sum(axis=1) - 1) > _ROUNDING)
    wrong = {
        "have no probability that is a number": ~is_number,
        "have a probability below 0 or above 1": outside,
        "have probabilities that do not sum to 1": off,
    }
    for column in PREDICTION_COLUMNS:
        if column != "annotator":
            wrong[f"have no {column}"] = predictions[column].isna().to_numpy()
    is_class = predictions["label"].isna() | predictions["label"].isin(range(len(classes)))
    wrong[f"have a label that is none of {listed(range(len(classes)))}"] = ~is_class.to_numpy()
    is_item = predictions["item"].isna() | predictions["item"].isin(items["item"])
    wrong["have an item that is not in items.parquet"] = ~is_item.to_numpy()
    groups = {*evaluation.group_names(results), *results["data"]["groups_not_shown"]}
    wrong["have a group that results.json does not have"] = np.array(
        [row is not None and not groups.issuperset(row) for row in predictions["groups"]],
        dtype=bool,
    )
    return wrong
