"""Intervals, tests and further measures of a study for results.json, from its predictions alone."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support.progress import Progress, silent
from mcstl.data.labels import Task
from mcstl.evaluation import metrics
from mcstl.evaluation.calibration import ece, smooth_ece
from mcstl.evaluation.hard_labels import accuracies, error_rates
from mcstl.evaluation.intervals import DrawnBy, Estimates, Sample
from mcstl.evaluation.multicalibration import DRAWS, Multicalibration, multicalibration
from mcstl.evaluation.nans import mean_of_numbers, nan_to_none, nanmean
from mcstl.evaluation.predictions import Predictions, predictions_by_method
from mcstl.evaluation.soft_labels import label_set_scores, soft_label_scores
from mcstl.evaluation.summaries import group_names, split_overlap
from mcstl.evaluation.tables import Column, results_columns
from mcstl.evaluation.uncertainty import Uncertainty, bounded, differences_of, uncertainty

#: What the audit shows of the test, per group and threshold.
_TESTED = (*Multicalibration._fields[:-1], "in_sigmas")


def audit_study(
    results: Mapping[str, Any],
    predictions: pd.DataFrame,
    *,
    draws: int = DRAWS,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Compute `summary`, `differences` and `audit` of results.json (docs/uncertainty.md).

    In `summary`, low and high become those of `intervals` over items, annotators or both, whatever
    the data hold several of, and training (but for counts and sds over groups, whose interval stays
    over seeds); the spreads over groups are added; ``mark`` says which methods are best, or not
    told apart from it, in the columns of the table. `differences` are those of every method from
    the baseline. `audit` holds per method the test of multicalibration, intervals per group, and
    the measures of others.

    Args:
        results: The content of results.json so far, which is not changed.
        predictions: The content of predictions.parquet.
        draws: How many draws the test is made of.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The three entries by their keys.
    """
    task: Task = results["data"]["task"]
    names = group_names(results)
    seeds_of = predictions_by_method(predictions, names, len(results["data"]["classes"]), task)
    step = "intervals and tests"
    progress(step, 0, 1 + len(seeds_of))
    sample = Sample.of(seeds_of, split_overlap(results["data"]))
    measured = uncertainty(seeds_of, sample)
    methods = {}
    for i, (method, seeds) in enumerate(seeds_of.items()):
        progress(step, 1 + i, 1 + len(seeds_of))
        methods[method] = {
            "multicalibration": _multicalibration(seeds, names, draws),
            "groups": _group_intervals(measured[method], names),
            **_measures_of_others(predictions[predictions["method"] == method], seeds, names),
        }
    progress(step, 1 + len(seeds_of), 1 + len(seeds_of))
    baseline = _baseline(results, list(seeds_of))
    differences = {
        method: differences_of(each, measured[baseline])
        for method, each in measured.items()
        if method != baseline
    }
    by = sample.by
    entries: dict[str, Any] = nan_to_none(
        {
            "summary": _summary(results, measured, by),
            "differences": {"baseline": baseline, "interval": by, "methods": differences},
            "audit": {"unit": by, "resamples": draws, "methods": methods},
        }
    )
    return entries


def _summary(
    results: Mapping[str, Any], measured: Mapping[str, Uncertainty], by: DrawnBy
) -> dict[str, dict[str, dict[str, Any]]]:
    """The summary with intervals, spreads and marks."""
    summary = {
        method: {name: dict(value) for name, value in by_metric.items()}
        for method, by_metric in results["summary"].items()
    }
    for method, each in measured.items():
        for name, estimates in each.metrics.items():
            low, high = (float(end[0]) for end in bounded(name, estimates.interval()))
            summary[method][name] |= {"low": low, "high": high, "interval": by}
        for name, spread in each.spreads.items():
            value = {"mean": spread.value, "sd": None, "low": spread.low, "high": spread.high}
            summary[method][name] = value | {"interval": by}
    for column in results_columns(metrics.score_of(results["data"]["task"])):
        for method, mark in _marks(measured, column).items():
            summary[method][column.metric]["mark"] = mark
    return summary


def _baseline(results: Mapping[str, Any], methods: Sequence[str]) -> str:
    """The first method that knows no groups; else the last one."""
    names = {
        method.get("label") or method["name"]: method["name"]
        for method in results["study"]["methods"]
    }
    for without_groups in ("none", "majority"):
        for method in methods:
            if names.get(method) == without_groups:
                return method
    return methods[-1]


def _marks(measured: Mapping[str, Uncertainty], column: Column) -> dict[str, str]:
    """Per method "best", "tied" or "", by the intervals of differences."""
    estimates = {
        method: each.metrics[column.metric]
        for method, each in measured.items()
        if not np.isnan(each.metrics[column.metric].value[0])
    }
    if len(estimates) < 2:
        return {}
    best = max(estimates, key=lambda method: float(column.goodness(estimates[method].value[0])))
    tied = [
        method
        for method in estimates
        if method != best and not _is_told_apart(estimates[best], estimates[method], column.ideal)
    ]
    marks = dict.fromkeys(measured, "") | dict.fromkeys(tied, "tied")
    return marks | {best: "tied" if tied else "best"}


def _is_told_apart(a: Estimates, b: Estimates, ideal: float | None) -> bool:
    """Whether two values differ, or their distances from the ideal.

    Those are equal where the values are, or where they lie as far on either side: both must be
    ruled out (an intersection-union test; Berger 1982, Technometrics 24).
    """
    compared = [a - b] if ideal is None else [a - b, (a + b).shifted(-2 * ideal)]
    ends = [each.interval() for each in compared]
    return all(bool(low[0] > 0 or high[0] < 0) for low, high in ends)


def _multicalibration(
    seeds: Sequence[Predictions], names: Sequence[str], draws: int
) -> dict[str, Any]:
    """The test, and per group (None for all rows) and threshold its numbers, means over seeds."""
    tested = multicalibration(seeds, draws=draws)
    entries = []
    for g, group in enumerate([None, *names]):
        inside = [run.membership[:, g - 1] if g else np.ones(len(run.p), bool) for run in seeds]
        parts = [(run, rows) for run, rows in zip(seeds, inside, strict=True) if rows.any()]
        sizes = {
            "n": mean_of_numbers([int(rows.sum()) for _, rows in parts]),
            "items": mean_of_numbers([len(np.unique(run.items[rows])) for run, rows in parts]),
        }
        for t in range(tested.ecce.shape[1]):
            levels = [
                (metrics.exceedance(run.p)[rows, t], run.labels[rows] > t) for run, rows in parts
            ]
            numbers = {name: float(getattr(tested, name)[g, t]) for name in _TESTED}
            errors = {
                "ece": mean_of_numbers([ece(*level) for level in levels]),
                "smooth_ece": mean_of_numbers([smooth_ece(*level) for level in levels]),
            }
            entries.append({"group": group, "threshold": t, **sizes, **numbers, **errors})
    return {
        "error": tested.error,
        "p_value": tested.p_value,
        "correlations": dict(
            zip(("items", "annotators"), tested.correlations.tolist(), strict=True)
        ),
        "cells": entries,
    }


def _group_intervals(measured: Uncertainty, names: Sequence[str]) -> list[dict[str, Any]]:
    """Per group the 95% interval of each metric; slope and bias are means over thresholds."""
    return [
        {"group": group}
        | {name: [float(low[k]), float(high[k])] for name, (low, high) in measured.groups.items()}
        for k, group in enumerate(names)
    ]


def _measures_of_others(
    predictions: pd.DataFrame, seeds: Sequence[Predictions], names: Sequence[str]
) -> dict[str, Any]:
    """Soft-label scores, accuracies and error rates, means over seeds."""
    task, has_annotators = seeds[0].task, predictions["annotator"].notna().any()
    soft_labels, people = [], []
    for (_, part), run in zip(predictions.groupby("seed", sort=False), seeds, strict=True):
        p, labels, items = run.p, run.labels, run.items
        if task == "multilabel":  # its groups are the questions; each has its own share of yes
            items = items * len(names) + run.membership.argmax(axis=1)
        if task == "preference":  # a pair is one item whichever way round it was shown
            flipped = part["flipped"].to_numpy(dtype=bool)
            p = np.where(flipped[:, None], p[:, ::-1], p)
            labels = np.where(flipped, 1 - labels, labels)
        soft_labels.append(soft_label_scores(p, labels, items))
        people.append(accuracies(run))
    measures = {"soft_labels": _means(soft_labels), "people": _means(people)}
    if task != "ordinal":
        del measures["soft_labels"]["wasserstein"]  # half of manhattan
        del measures["people"]["distance_texts"]  # 1 - accuracy_texts
    if not has_annotators:
        del measures["people"]["accuracy_users"]
    sets = [label_set_scores(run.p, run.labels, run.items, run.annotators) for run in seeds]
    if task in ("binary", "ordinal") and all(sets):
        measures["soft_labels"] |= _means([each for each in sets if each])
    if task != "preference":  # there either side may be shown first
        measures["error_rates"] = _error_rates(seeds, names)
    return measures


def _means(scores: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """The mean over seeds of each score."""
    return {name: mean_of_numbers([each[name] for each in scores]) for name in scores[0]}


def _error_rates(seeds: Sequence[Predictions], names: Sequence[str]) -> dict[str, Any]:
    """False positive and negative rates per threshold: of each group, and their largest gap."""
    per_seed = [error_rates(run.p, run.labels, run.membership) for run in seeds]
    result: dict[str, Any] = {}
    for name in per_seed[0]:
        rates = nanmean(np.stack([each[name] for each in per_seed]), axis=0)  # (K, L - 1)
        defined = [each[~np.isnan(each)] for each in rates.T]  # per threshold, of some groups
        gaps = [float(np.ptp(each)) if len(each) else np.nan for each in defined]
        by_group = dict(zip(names, rates.tolist(), strict=True))
        result[name] = {"gap": gaps, "groups": by_group}
    return result
