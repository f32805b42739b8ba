"""How often the label that a model would decide on is right, and for whom it is wrong."""

import numpy as np
import numpy.typing as npt

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.nans import nanmean, ratio
from mcstl.evaluation.predictions import Predictions

#: One half, but for what rounding takes from a sum of probabilities.
_HALF = 0.5 - 1e-9


def accuracies(predictions: Predictions) -> dict[str, float]:
    """Compute how often the most probable label is the one given, per row, person, text and group.

    The levels are those of PersEval (Lo et al. 2025). 1 - ``accuracy_texts`` is LeWiDi's error
    rate, and ``distance_texts`` its absolute distance for ordered labels: divided by the number of
    points of the scale, as its organisers do. The label that makes it small is not the most
    probable one but the median of the probabilities, which is taken there.

    Args:
        predictions: Predictions of one run.

    Returns:
        ``accuracy`` over rows, the means over annotators, items and groups of their own accuracy as
        ``accuracy_users``, ``accuracy_texts`` and ``accuracy_traits``, and ``distance_texts``, all
        from 0 to 1.
    """
    decided = np.argmax(predictions.p, axis=1)
    right = (decided == predictions.labels).astype(float)
    median = (np.cumsum(predictions.p, axis=1) < _HALF).sum(axis=1)
    distance = np.abs(median - predictions.labels) / predictions.p.shape[1]
    inside, n = predictions.membership.astype(float), predictions.membership.sum(axis=0)
    by_group = ratio(inside.T @ right, n.astype(float))
    return {
        "accuracy": float(right.mean()),
        "accuracy_users": _mean_of_means(right, predictions.annotators),
        "accuracy_texts": _mean_of_means(right, predictions.items),
        "accuracy_traits": float(nanmean(by_group, axis=0)),
        "distance_texts": _mean_of_means(distance, predictions.items),
    }


def error_rates(
    p: npt.ArrayLike, labels: npt.ArrayLike, membership: npt.ArrayLike
) -> dict[str, FloatArray]:
    """Compute each group's false positive and negative rates of deciding at one half.

    Positive is a label above class t. The paper's limitations name these as fairness measures: the
    gap is the largest rate of a group minus the smallest.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).
        membership: Which rows are in which group, (n, K).

    Returns:
        ``false_positive`` and ``false_negative`` per group and threshold, (K, L - 1); NaN for a
        group without such labels.

    Example:
        >>> error_rates([[0.2, 0.8], [0.6, 0.4]], [0, 1], [[1], [1]])["false_positive"]
        array([[1.]])
    """
    above = metrics.exceedance(p) >= 0.5  # (n, L - 1)
    truth = np.asarray(labels)[:, None] > np.arange(above.shape[1])
    inside = np.asarray(membership, dtype=float).T  # (K, n)
    return {
        "false_positive": ratio(inside @ (above & ~truth), inside @ ~truth),
        "false_negative": ratio(inside @ (~above & truth), inside @ truth),
    }


def _mean_of_means(values: FloatArray, codes: IntArray) -> float:
    """Mean over codes of the mean of their values."""
    units = np.unique(codes, return_inverse=True)[1]
    return float((np.bincount(units, weights=values) / np.bincount(units)).mean())
