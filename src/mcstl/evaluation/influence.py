"""How far each annotation moves each metric: what variances and intervals are made of.

The influence of an annotation on a metric is the metric's derivative by the annotation's weight
(Hampel 1974). Whatever the metric, it then moves like a sum over annotations, and the sums over
items and over annotators say how far it would move with others of them. Edges of deciles are held
where they are: moving one moves what is predicted and what is observed alike, hence not the line.

A mean is nearer to the item or annotator that has a share h of it than it should be. Influences are
divided by √(1 - h), h being the larger of the two shares (as CR2 does for regressions; Bell and
McCaffrey 2002), which for G equal clusters is the usual G / (G - 1) of a variance. A line is pulled
by what it has to fit twice: h is the share of its rows plus that of their spread along the line.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.nans import nanmean
from mcstl.evaluation.predictions import Predictions


class Influence(NamedTuple):
    """Values of C metrics and what n annotations contribute to them.

    Attributes:
        value: The values, (C,); NaN where there is none.
        rows: The influence of each annotation, (n, C); 0 where there is no value.
    """

    value: FloatArray
    rows: FloatArray

    def mean(self, size: int) -> "Influence":
        """Average the values that there are among each `size` metrics in a row.

        Args:
            size: How many are averaged.

        Returns:
            C / `size` metrics.
        """
        values = self.value.reshape(-1, size)
        has_value = ~np.isnan(values)
        shares = has_value / np.maximum(has_value.sum(axis=1, keepdims=True), 1)
        rows = self.rows.reshape(len(self.rows), *shares.shape)
        return Influence(nanmean(values, axis=1), (rows * shares).sum(axis=2))


def names_of(run: Predictions) -> list[str]:
    """List the metrics that have an influence, all but means and sds over groups.

    Args:
        run: Predictions of one run.

    Returns:
        The names as in `metrics.evaluate`, the task's score first.
    """
    return [metrics.score_of(run.task), *metrics.PER_ROW, "one_minus_emd"]


def of_parts(run: Predictions, name: str) -> Influence:
    """Compute a metric of all rows and of each group.

    Args:
        run: Predictions of one run.
        name: The metric, one of `names_of`.

    Returns:
        The metric of all rows, then of each of the K groups: C = 1 + K.
    """
    if name == "auc":
        classes = metrics.auc_classes(run.p)
        codes = [metrics.ranked(run.p[:, c])[1] for c in classes]
        positive = [run.labels == c for c in classes]
        return _per_part(
            run,
            lambda rows: _averaged(
                [auc(k[rows], y[rows]) for k, y in zip(codes, positive, strict=True)]
            ),
        )
    if name == "accuracy":
        each = metrics.pairwise_accuracy_per_row(run.p[:, 1], run.labels)
    elif name == "one_minus_emd":
        each = 1 - metrics.emd(run.p, run.labels) / (run.p.shape[1] - 1)
        return _per_part(run, lambda rows: _weighted(each[rows], run.minority[rows]))
    else:
        each = metrics.PER_ROW[name](run.p, run.labels)
    return _per_part(run, lambda rows: _weighted(each[rows], np.ones(len(rows))))


def of_lines(run: Predictions) -> tuple[Influence, Influence]:
    """Compute slope and bias of each group and threshold.

    Args:
        run: Predictions of one run.

    Returns:
        The slopes and the biases, C = K (L - 1) each, thresholds of a group together.
    """
    ranks = [(level, *metrics.ranked(level)) for level in metrics.exceedance(run.p).T]
    n, shape = len(run.labels), (run.membership.shape[1], len(ranks))
    values, rows = np.full((2, *shape), np.nan), np.zeros((2, n, *shape))
    for k, inside in enumerate(run.membership.T):
        group = np.flatnonzero(inside)
        if not len(group):
            continue
        for t, (level, distinct, codes) in enumerate(ranks):
            counts = np.bincount(codes[group], minlength=len(distinct))
            bins = metrics.decile_codes(counts)[codes[group]]
            p = level[group]
            corrections = _corrections(run, group, np.ones(len(p)), (p - p.mean()) ** 2)
            for m, (value, each) in enumerate(_line(p, run.labels[group] > t, bins)):
                values[m, k, t], rows[m, group, k, t] = value, each * corrections
    slopes, biases = (Influence(values[m].reshape(-1), rows[m].reshape(n, -1)) for m in range(2))
    return slopes, biases


def auc(codes: IntArray, positive: BoolArray) -> tuple[float, FloatArray]:
    """Compute an AUC and its influences: how many of the other class a row is on the right side of.

    A class's only row does not tell how far another would be from it: it counts as any place of
    equal chance, which has the standard deviation 1 / √12.

    Args:
        codes: Places of the predictions among all that occur, (n,).
        positive: Which rows have the class, (n,).

    Returns:
        The AUC, and the influences, (n,).
    """
    size = int(codes.max(initial=0)) + 1
    positives = np.bincount(codes[positive], minlength=size).astype(float)
    negatives = np.bincount(codes[~positive], minlength=size).astype(float)
    n_positive, n_negative = positives.sum(), negatives.sum()
    if not n_positive or not n_negative:
        return float("nan"), np.zeros(len(codes))
    below = ((np.cumsum(negatives) - negatives / 2) / n_negative)[codes]
    above = 1 - ((np.cumsum(positives) - positives / 2) / n_positive)[codes]
    value = float(below[positive].mean())
    of_positive = below - value if n_positive > 1 else np.full(len(codes), 12**-0.5)
    of_negative = above - value if n_negative > 1 else np.full(len(codes), 12**-0.5)
    return value, np.where(positive, of_positive / n_positive, of_negative / n_negative)


def _per_part(
    run: Predictions, measure: Callable[[IntArray], tuple[float, FloatArray]]
) -> Influence:
    """Apply a measure to all rows and to those of each group."""
    n, n_groups = run.membership.shape
    values, rows = np.full(1 + n_groups, np.nan), np.zeros((n, 1 + n_groups))
    parts = [np.arange(n), *(np.flatnonzero(inside) for inside in run.membership.T)]
    for k, part in enumerate(parts):
        values[k], moved = measure(part)
        rows[part, k] = moved * _corrections(run, part, np.ones(len(part)))
    return Influence(values, rows)


def _corrections(run: Predictions, rows: IntArray, *weights: FloatArray) -> FloatArray:
    """1 / √(1 - h) of some rows, h being what the row's item or annotator has of the weights."""
    largest = np.zeros(len(rows))
    for codes in (run.items[rows], run.annotators[rows]):
        places = np.unique(codes, return_inverse=True)[1]
        shares = [np.bincount(places, each) / max(each.sum(), 1e-12) for each in weights]
        largest = np.maximum(largest, np.sum(shares, axis=0)[places])
    return 1 / np.sqrt(np.maximum(1 - largest, 1e-3))


def _averaged(each: list[tuple[float, FloatArray]]) -> tuple[float, FloatArray]:
    """The mean of the measures that have a value."""
    values, rows = (np.stack(column) for column in zip(*each, strict=True))
    averaged = Influence(values, rows.T).mean(len(values))
    return float(averaged.value[0]), averaged.rows[:, 0]


def _weighted(values: FloatArray, weights: FloatArray) -> tuple[float, FloatArray]:
    """The weighted mean of rows."""
    total = float(weights.sum())
    if not total:
        return float("nan"), np.zeros(len(values))
    mean = float(values @ weights) / total
    return mean, weights * (values - mean) / total


def _line(p: FloatArray, y: BoolArray, bins: IntArray) -> list[tuple[float, FloatArray]]:
    """Slope and bias of `metrics.calibration_line`, whose deciles are given."""
    n = np.bincount(bins, minlength=metrics.BINS).astype(float)
    filled = n > 0
    n[~filled] = 1
    x = np.bincount(bins, weights=p, minlength=metrics.BINS) / n
    of_y = np.bincount(bins, weights=y, minlength=metrics.BINS) / n
    is_drawn = filled.sum() > 1 and np.ptp(x[filled]) >= metrics.LEAST_SPREAD
    if not (is_drawn and 0 < of_y[filled].mean() < 1):
        return [(float("nan"), np.zeros(len(p)))] * 2
    mean_x, mean_y = x[filled].mean(), of_y[filled].mean()
    centred = np.where(filled, x - mean_x, 0.0)
    squares = float(centred @ centred)
    slope = float(centred @ of_y) / squares
    by_x, by_y = (p - x[bins]) / n[bins], (y - of_y[bins]) / n[bins]
    turned = centred[bins] * by_y + (of_y[bins] - mean_y - 2 * slope * centred[bins]) * by_x
    moved_slope = turned / squares
    moved_bias = (by_y - slope * by_x) / filled.sum() - mean_x * moved_slope
    return [(slope, moved_slope), (float(mean_y - slope * mean_x), moved_bias)]
