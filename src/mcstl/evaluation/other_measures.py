"""Other people's metrics: soft labels, single users, error rates, agreement of the data."""

from typing import Literal

import numpy as np
import numpy.typing as npt

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.rows import Rows, nanmean, ratio


def soft_label_scores(
    p: npt.ArrayLike, labels: npt.ArrayLike, items: npt.ArrayLike
) -> dict[str, float]:
    """Return how far predicted label shares are from those given, as means over items (LeWiDi).

    ``manhattan`` (0 to 2) and ``wasserstein`` (in classes; for ordered ones) of the 2025 edition
    of Learning with Disagreements, ``cross_entropy`` (nats) of the earlier ones. An item's
    predicted shares are the mean over its rows. In preference, turn every row as its item is first.

    >>> soft_label_scores([[0.75, 0.25], [0.75, 0.25]], [0, 1], [0, 0])["manhattan"]
    0.5
    """
    p, given, counts = _by_item(p, labels, items)
    predicted = p / counts[:, None]
    shares = given / counts[:, None]
    gaps = predicted - shares
    logs = np.log(np.maximum(predicted, metrics.EPSILON))
    return {
        "manhattan": float(np.abs(gaps).sum(axis=1).mean()),
        "cross_entropy": float(-(shares * logs).sum(axis=1).mean()),
        "wasserstein": float(np.abs(np.cumsum(gaps, axis=1)[:, :-1]).sum(axis=1).mean()),
    }


def personal_scores(rows: Rows) -> dict[str, float]:
    """Return how often the most probable label is the one given, as means over rows, users, ....

    ``accuracy`` over rows; ``accuracy_users``, ``_texts`` and ``_traits`` are means over
    annotators, items and groups of their own accuracy (the levels of PersEval; Lo et al. 2025);
    1 - ``accuracy_texts`` is LeWiDi's error rate, and ``distance_texts`` its normalised absolute
    distance for ordered labels (0 to 1).
    """
    guess = np.argmax(rows.p, axis=1)
    right = (guess == rows.labels).astype(float)
    far = np.abs(guess - rows.labels) / (rows.p.shape[1] - 1)
    inside, n = rows.members.astype(float), rows.members.sum(axis=0)
    traits = ratio(inside.T @ right, n.astype(float))
    return {
        "accuracy": float(right.mean()),
        "accuracy_users": _macro(right, rows.annotators),
        "accuracy_texts": _macro(right, rows.items),
        "accuracy_traits": float(nanmean(traits, axis=0)),
        "distance_texts": _macro(far, rows.items),
    }


def error_rates(
    p: npt.ArrayLike, labels: npt.ArrayLike, members: npt.ArrayLike
) -> dict[str, FloatArray]:
    """Return (K, T) false positive and negative rates of deciding at one half, per threshold.

    Positive is a label above class t. What the paper's limitations name as fairness measures: the
    gap is the largest rate of a group minus the smallest. NaN for a group without such labels.

    >>> error_rates([[0.2, 0.8], [0.6, 0.4]], [0, 1], [[1], [1]])["false_positive"]
    array([[1.]])
    """
    above = metrics.exceedance(p) >= 0.5  # (n, T)
    truth = np.asarray(labels)[:, None] > np.arange(above.shape[1])
    inside = np.asarray(members, dtype=float).T  # (K, n)
    return {
        "false_positive": ratio(inside @ (above & ~truth), inside @ ~truth),
        "false_negative": ratio(inside @ (~above & truth), inside @ truth),
    }


def krippendorff_alpha(
    labels: npt.ArrayLike,
    items: npt.ArrayLike,
    level: Literal["nominal", "ordinal", "interval"] = "nominal",
) -> float:
    """Return Krippendorff's alpha of (n,) labels: 1 is agreement, 0 what chance would give.

    `level` says how far classes are apart. Items with one label do not count; NaN if none is left
    or all labels are the same (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    >>> krippendorff_alpha([0, 0, 1, 1], [0, 0, 1, 1])
    1.0
    """
    labels = np.asarray(labels, dtype=np.int64)
    _, counts, sizes = _by_item(np.zeros((len(labels), 0)), labels, items)
    counts, sizes = counts[sizes > 1], sizes[sizes > 1]
    # How often two labels meet in one item, each item counted as often as it has labels.
    met = counts.T @ (counts / (sizes - 1)[:, None]) - np.diag(
        (counts / (sizes - 1)[:, None]).sum(0)
    )
    n = counts.sum(axis=0)
    places = np.arange(len(n), dtype=float)
    if level == "nominal":
        apart = (places[:, None] != places).astype(float)
    else:
        middle = np.cumsum(n) - n / 2 if level == "ordinal" else places
        apart = (middle[:, None] - middle) ** 2
    by_chance = (np.outer(n, n) * apart).sum()
    if by_chance == 0:
        return float("nan")
    return float(1 - (n.sum() - 1) * (met * apart).sum() / by_chance)


def label_entropy(labels: npt.ArrayLike, items: npt.ArrayLike, n_classes: int) -> float:
    """Return the mean over items of their labels' entropy, from 0 (all alike) to 1 (even).

    >>> label_entropy([0, 1, 1, 1], [0, 0, 1, 1], 2)
    0.5
    """
    labels = np.asarray(labels, dtype=np.int64)
    _, counts, sizes = _by_item(np.zeros((len(labels), 0)), labels, items)
    shares = counts / sizes[:, None]
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return float(np.abs((shares * logs).sum(axis=1)).mean() / np.log(n_classes))


def _by_item(
    p: npt.ArrayLike, labels: npt.ArrayLike, items: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(I, L) sums of `p`, (I, L) counts of labels and (I,) counts of rows, per item."""
    p, labels = np.asarray(p, dtype=float), np.asarray(labels, dtype=np.int64)
    codes = np.unique(np.asarray(items), return_inverse=True)[1]
    n_items, n_classes = int(codes.max()) + 1, max(p.shape[1], int(labels.max()) + 1)
    sums = np.zeros((n_items, p.shape[1]))
    np.add.at(sums, codes, p)
    counts = np.bincount(codes * n_classes + labels, minlength=n_items * n_classes)
    given = counts.reshape(n_items, n_classes).astype(float)
    return sums, given, given.sum(axis=1)


def _macro(values: FloatArray, codes: IntArray) -> float:
    """Mean over codes of the mean of their values."""
    of_row = np.unique(codes, return_inverse=True)[1]
    return float((np.bincount(of_row, weights=values) / np.bincount(of_row)).mean())
