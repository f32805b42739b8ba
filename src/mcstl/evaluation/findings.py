"""What of the audit goes into results.json, computed from the predictions of a study alone."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from mcstl._support.arrays import FloatArray
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.evaluation import metrics
from mcstl.evaluation.bootstrap import Values, bootstrap, interval
from mcstl.evaluation.calibration import Multicalibration, ece, multicalibration, smooth_ece
from mcstl.evaluation.other_measures import (
    error_rates,
    krippendorff_alpha,
    label_entropy,
    personal_scores,
    soft_label_scores,
)
from mcstl.evaluation.rows import RESAMPLES, Rows, membership, nanmean

#: What each cell of `audit` has of the test.
_TESTED = (*Multicalibration._fields, "in_sigmas")


def findings(
    results: Mapping[str, Any],
    predictions: pd.DataFrame,
    *,
    resamples: int = RESAMPLES,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Return `summary`, `differences` and `audit` of results.json (docs/uncertainty.md).

    In `summary`, low and high become those of the item bootstrap, ``interval`` says "items" (but
    for counts, and for standard deviations over groups where there are several seeds), and
    ``mark`` says which methods are best, or not told apart from it, in the columns of the table.
    `differences` are those of every method from the baseline over the same resamples. `audit` holds
    per method the test of multicalibration, intervals per group, and other people's metrics.
    """
    task: Task = results["data"]["task"]
    names = group_names(results)
    rows = rows_of(predictions, names, len(results["data"]["classes"]), task)
    progress("intervals over items", 0, 1 + len(rows))
    drawn = bootstrap(rows, resamples=resamples)
    summary = {
        method: {name: dict(value) for name, value in found.items()}
        for method, found in results["summary"].items()
    }
    for method, values in drawn.items():
        for name in set(values) & set(summary[method]):
            if name.endswith("_sd") and len(rows[method]) > 1:
                continue  # averaged over seeds, its interval holds too seldom (uncertainty.md)
            low, high = interval(values[name], name)
            summary[method][name] |= {"low": float(low), "high": float(high), "interval": "items"}
    for column in metrics.columns("accuracy" if task == "preference" else "auc"):
        for method, mark in _marks(drawn, column).items():
            summary[method][column.metric]["mark"] = mark
    found = {}
    for i, (method, seeds) in enumerate(rows.items()):
        progress("intervals over items", 1 + i, 1 + len(rows))
        found[method] = {
            "multicalibration": _multicalibration(seeds, names, resamples),
            "groups": _group_intervals(drawn[method], names),
            **_others(predictions[predictions["method"] == method], seeds, names),
        }
    progress("intervals over items", 1 + len(rows), 1 + len(rows))
    baseline = _baseline(results, list(rows))
    differences = {
        method: paired_differences(values, drawn[baseline])
        for method, values in drawn.items()
        if method != baseline
    }
    parts: dict[str, Any] = {
        "summary": summary,
        "differences": {"baseline": baseline, "interval": "items", "methods": differences},
        "audit": {"unit": "items", "resamples": resamples, "methods": found},
    }
    jsonable: dict[str, Any] = metrics.jsonable(parts)
    return jsonable


def group_names(results: Mapping[str, Any]) -> list[str]:
    """Return every group of any seed: one near the minimum size is left out of some."""
    names = [group["name"] for group in results["groups"]]
    names += [group["group"] for run in results["runs"] for group in run["groups"]]
    return list(dict.fromkeys(names))


def rows_of(
    predictions: pd.DataFrame, names: Sequence[str], n_classes: int, task: Task
) -> dict[str, list[Rows]]:
    """Return per method the rows of each of its seeds, from predictions.parquet.

    Raises InputError for a group that is not in `names` and for what are no probabilities.
    """
    items = pd.factorize(predictions["item"])[0]
    people, known = pd.factorize(predictions["annotator"])
    people = np.where(people < 0, len(known) + predictions["row"].to_numpy(), people)
    found: dict[str, list[Rows]] = {}
    positions = pd.Series(np.arange(len(predictions)))
    keys = [predictions["method"].to_numpy(), predictions["seed"].to_numpy()]
    for (method, _), which in positions.groupby(keys, sort=False):
        part = predictions.iloc[which.to_numpy()]
        found.setdefault(str(method), []).append(
            Rows(
                p=part[[f"p_{c}" for c in range(n_classes)]].to_numpy(dtype=float),
                labels=part["label"].to_numpy(dtype=np.int64),
                members=membership(part["groups"], names),
                minority=part["minority"].to_numpy(dtype=bool),
                items=items[which],
                annotators=people[which],
                task=task,
            )
        )
    return found


def agreement(data: Annotations) -> dict[str, float | None]:
    """Return how far the annotations of an item agree: Krippendorff's alpha and mean entropy."""
    labels = data.labels
    if data.task == "preference":
        labels = np.where(data.frame["flipped"], 1 - labels, labels)
    items = pd.factorize(data.frame["item"])[0]
    level: Literal["ordinal", "nominal"] = "ordinal" if data.task == "ordinal" else "nominal"
    found: dict[str, float | None] = metrics.jsonable(
        {
            "alpha": krippendorff_alpha(labels, items, level),
            "entropy": label_entropy(labels, items, len(data.classes)),
        }
    )
    return found


def _baseline(results: Mapping[str, Any], methods: Sequence[str]) -> str:
    """The first method that knows no groups; else the last one."""
    named = {
        each.get("label") or each["name"]: each["name"] for each in results["study"]["methods"]
    }
    for plain in ("none", "majority"):
        for method in methods:
            if named.get(method) == plain:
                return method
    return methods[-1]


def paired_differences(a: Values, b: Values) -> dict[str, dict[str, float]]:
    """Return per metric the mean, low and high of A minus B over the same resamples."""
    found = {}
    for name in a:
        if a[name].ndim == 1:
            gaps = a[name] - b[name]
            low, high = interval(gaps, "")
            found[name] = {"mean": float(gaps[0]), "low": float(low), "high": float(high)}
    return found


def _marks(drawn: Mapping[str, Values], column: metrics.Column) -> dict[str, str]:
    """Per method "best", "tied" or "": told by paired differences over the same resamples."""
    goodness = {
        method: metrics.goodness(values[column.metric], column.best)
        for method, values in drawn.items()
        if not np.isnan(values[column.metric][0])
    }
    if len(goodness) < 2:
        return {}
    first = max(goodness, key=lambda method: float(goodness[method][0]))
    tied = [
        method
        for method in goodness
        if method != first and not interval(goodness[first] - goodness[method], "")[0] > 0
    ]
    marks = dict.fromkeys(drawn, "") | dict.fromkeys(tied, "tied")
    return marks | {first: "tied" if tied else "best"}


def _multicalibration(seeds: Sequence[Rows], names: Sequence[str], draws: int) -> dict[str, Any]:
    """The test, and per group (None for all rows) and threshold its numbers, means over seeds."""
    found = multicalibration(seeds, draws=draws)
    cells = []
    for g, group in enumerate([None, *names]):
        inside = [run.members[:, g - 1] if g else np.ones(len(run.p), bool) for run in seeds]
        parts = [(run, rows) for run, rows in zip(seeds, inside, strict=True) if rows.any()]
        sizes = {
            "n": _mean([int(rows.sum()) for _, rows in parts]),
            "items": _mean([len(np.unique(run.items[rows])) for run, rows in parts]),
        }
        for t in range(found.ecce.shape[1]):
            levels = [
                (metrics.exceedance(run.p)[rows, t], run.labels[rows] > t) for run, rows in parts
            ]
            errors = {
                "ece": _mean([ece(*level) for level in levels]),
                "smooth_ece": _mean([smooth_ece(*level) for level in levels]),
            }
            tested = {name: float(getattr(found, name)[g, t]) for name in _TESTED}
            cells.append({"group": group, "threshold": t, **sizes, **tested, **errors})
    return {"error": found.error, "p_value": found.p_value, "cells": cells}


def _group_intervals(values: Values, names: Sequence[str]) -> list[dict[str, Any]]:
    """Per group the 95% interval of each metric; slope and bias are means over thresholds."""
    of_group: dict[str, FloatArray] = {
        name.removeprefix("group "): each
        for name, each in values.items()
        if name.startswith("group ")
    }
    for name in ("slope", "bias"):
        of_group[name] = nanmean(values[f"line {name}"], axis=2)
    ends = {name: interval(each, name) for name, each in of_group.items()}
    return [
        {"group": group}
        | {name: [float(low[k]), float(high[k])] for name, (low, high) in ends.items()}
        for k, group in enumerate(names)
    ]


def _others(
    predictions: pd.DataFrame, seeds: Sequence[Rows], names: Sequence[str]
) -> dict[str, Any]:
    """Other people's metrics, means over seeds."""
    task, has_people = seeds[0].task, predictions["annotator"].notna().any()
    soft, personal = [], []
    for (_, part), run in zip(predictions.groupby("seed", sort=False), seeds, strict=True):
        p, labels = run.p, run.labels
        if task == "preference":  # a pair is one item whichever way round it was shown
            flipped = part["flipped"].to_numpy(dtype=bool)
            p = np.where(flipped[:, None], p[:, ::-1], p)
            labels = np.where(flipped, 1 - labels, labels)
        soft.append(soft_label_scores(p, labels, run.items))
        personal.append(personal_scores(run))
    found: dict[str, Any] = {
        "soft_labels": {name: _mean([each[name] for each in soft]) for name in soft[0]},
        "people": {name: _mean([each[name] for each in personal]) for name in personal[0]},
    }
    if task != "ordinal":
        del found["soft_labels"]["wasserstein"]  # half of manhattan
        del found["people"]["distance_texts"]  # 1 - accuracy_texts
    if not has_people:
        del found["people"]["accuracy_users"]
    if task != "preference":  # there either side may be shown first
        found["error_rates"] = _error_rates(seeds, names)
    return found


def _error_rates(seeds: Sequence[Rows], names: Sequence[str]) -> dict[str, Any]:
    """False positive and negative rates per threshold: of each group, and their largest gap."""
    of_seed = [error_rates(run.p, run.labels, run.members) for run in seeds]
    found: dict[str, Any] = {}
    for name in of_seed[0]:
        rates = nanmean(np.stack([each[name] for each in of_seed]), axis=0)  # (K, T)
        gaps = [float(np.ptp(each[~np.isnan(each)])) if len(each) else np.nan for each in rates.T]
        by_group = dict(zip(names, rates.tolist(), strict=True))
        found[name] = {"gap": gaps, "groups": by_group}
    return found


def _mean(values: Sequence[float]) -> float:
    return float(nanmean(np.array(values, dtype=float), axis=0))
