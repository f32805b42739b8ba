"""Every metric of results.json with what its interval is made of, per method."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from mcstl._support.arrays import FloatArray
from mcstl.evaluation import influence, metrics
from mcstl.evaluation.influence import Influence
from mcstl.evaluation.intervals import Estimates, Sample, Spread, spread
from mcstl.evaluation.nans import nan_to_none
from mcstl.evaluation.predictions import Predictions

#: Metrics that cannot be below 0 or above 1; an interval ends there. Others end at 0 only.
_SHARES = ("auc", "accuracy", "one_minus_emd")
_POSITIVE = ("nll", "brier")


class Uncertainty(NamedTuple):
    """The metrics of one method.

    Attributes:
        metrics: Per metric of all rows, and per mean over groups, its estimate, C = 1.
        spreads: How far apart groups are in score, slope and bias, as ``slope_spread``.
        groups: Per metric the ends of each group's 95% interval, (K,) each.
    """

    metrics: dict[str, Estimates]
    spreads: dict[str, Spread]
    groups: dict[str, tuple[FloatArray, FloatArray]]


def uncertainty(
    methods: Mapping[str, Sequence[Predictions]], sample: Sample
) -> dict[str, Uncertainty]:
    """Measure methods and what their metrics would be with other items, people and training.

    Args:
        methods: Per method the predictions of each seed, in the same order of seeds.
        sample: Which of their rows share an item or an annotator.

    Returns:
        The metrics by method.

    Example:
        >>> one = Predictions(
        ...     p=np.array([[0.8, 0.2], [0.4, 0.6], [0.3, 0.7], [0.6, 0.4]]),
        ...     labels=np.array([0, 1, 1, 0]),
        ...     membership=np.ones((4, 1), dtype=bool),
        ...     minority=np.zeros(4, dtype=bool),
        ...     items=np.arange(4),
        ...     annotators=np.arange(4),
        ...     task="binary",
        ... )
        >>> methods = {"m": [one]}
        >>> nll = uncertainty(methods, Sample.of(methods))["m"].metrics["nll"]
        >>> nll.value.round(2), np.round(nll.interval(), 2).ravel()
        (array([0.4]), array([0.18, 0.62]))
    """
    return {method: _of_method(sample, method, seeds) for method, seeds in methods.items()}


def measured_once(run: Predictions, group_names: Sequence[str]) -> dict[str, Any]:
    """Compute all metrics of one run with their intervals.

    Args:
        run: Its predictions.
        group_names: Names of the K groups.

    Returns:
        What `metrics.evaluate` returns; in addition ``interval``, what intervals are over, and
        ``intervals``, the ends per metric, of all rows, spreads over groups (with their value) and
        of each group.
    """
    found = metrics.evaluate(run.p, run.labels, run.membership, run.minority, run.task, group_names)
    sample = Sample.of({"m": [run]})
    measured = uncertainty({"m": [run]}, sample)["m"]
    ends = {name: bounded(name, each.interval()) for name, each in measured.metrics.items()}
    found["interval"] = sample.by
    found["intervals"] = {
        name: [float(low[0]), float(high[0])] for name, (low, high) in ends.items()
    }
    for name, each in measured.spreads.items():
        found["metrics"][name] = each.value
        found["intervals"][name] = [each.low, each.high]
    for k, group in enumerate(found["groups"]):
        group["intervals"] = {
            name: [float(low[k]), float(high[k])] for name, (low, high) in measured.groups.items()
        }
    with_nothing: dict[str, Any] = nan_to_none(found)
    return with_nothing


def differences_of(a: Uncertainty, b: Uncertainty) -> dict[str, dict[str, float]]:
    """Compute the differences A - B of two methods on the same rows.

    Args:
        a: The metrics of a method.
        b: Those of another method on the same sample.

    Returns:
        Per metric and spread ``mean``, and ``low`` and ``high`` of the 95% interval.
    """
    gaps = {}
    for name, estimates in a.metrics.items():
        gap = estimates - b.metrics[name]
        low, high = gap.interval()
        gaps[name] = Spread(float(gap.value[0]), float(low[0]), float(high[0]))
    gaps |= {name: each.minus(b.spreads[name]) for name, each in a.spreads.items()}
    return {
        name: {"mean": gap.value, "low": gap.low, "high": gap.high} for name, gap in gaps.items()
    }


def bounded(name: str, ends: tuple[FloatArray, FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Cut an interval of a metric where its values end.

    Args:
        name: The metric, of all rows or as a mean over groups.
        ends: The ends of its intervals.

    Returns:
        The ends.
    """
    measure = name.removeprefix("group_").removesuffix("_mean")
    lowest = 0.0 if measure in (*_SHARES, *_POSITIVE) else -np.inf
    highest = 1.0 if measure in _SHARES else np.inf
    low, high = ends
    return np.clip(low, lowest, highest), np.clip(high, lowest, highest)


def _of_method(sample: Sample, method: str, seeds: Sequence[Predictions]) -> Uncertainty:
    score, n_groups = metrics.score_of(seeds[0].task), seeds[0].membership.shape[1]
    found = Uncertainty({}, {}, {})
    for name in influence.names_of(seeds[0]):
        parts = [influence.of_parts(run, name) for run in seeds]
        of_all = [Influence(each.value[:1], each.rows[:, :1]) for each in parts]
        of_groups = [Influence(each.value[1:], each.rows[:, 1:]) for each in parts]
        found.metrics[name] = sample.estimates(method, of_all)
        if n_groups:
            estimates = sample.estimates(method, of_groups)
            found.groups[name] = bounded(name, estimates.interval())
        if name == score:
            _add_over_groups(found, f"group_{score}", sample, method, of_groups)
    n_levels = seeds[0].p.shape[1] - 1
    lines = [influence.of_lines(run) for run in seeds]
    for name, each in zip(("slope", "bias"), zip(*lines, strict=True), strict=True):
        _add_over_groups(found, name, sample, method, each)
        if n_groups:
            of_groups = [line.mean(n_levels) for line in each]
            found.groups[name] = sample.estimates(method, of_groups).interval()
    return found


def _add_over_groups(
    found: Uncertainty, name: str, sample: Sample, method: str, each: Sequence[Influence]
) -> None:
    """Add the mean over groups (and thresholds) of a metric, and its spread."""
    size = len(each[0].value)
    # Seeds may have different numbers of test rows.
    means = [influence.mean(size) if size else _nothing(influence) for influence in each]
    found.metrics[f"{name}_mean"] = sample.estimates(method, means)
    spread_of = Spread(np.nan, np.nan, np.nan)
    found.spreads[f"{name}_spread"] = spread(sample.estimates(method, each)) if size else spread_of


def _nothing(of: Influence) -> Influence:
    return Influence(np.array([np.nan]), np.zeros((len(of.rows), 1)))
