"""How far predicted label shares are from those that an item's annotators gave (LeWiDi)."""

import numpy as np
import numpy.typing as npt

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.evaluation.agreement import label_counts
from mcstl.evaluation.metrics import EPSILON


def soft_label_scores(
    p: npt.ArrayLike, labels: npt.ArrayLike, items: npt.ArrayLike
) -> dict[str, float]:
    """Compare the predicted shares of an item's labels with those given, as means over items.

    An item's predicted shares are the mean over its rows. In preference, turn every row as its
    item is first.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).
        items: The rows' items, as codes or names, (n,).

    Returns:
        ``manhattan`` (0 to 2) and ``wasserstein`` (in classes; for ordered ones), the measures of
        the 2025 edition of Learning with Disagreements, and ``cross_entropy`` (nats), that of
        earlier ones.

    Example:
        >>> soft_label_scores([[0.75, 0.25], [0.75, 0.25]], [0, 1], [0, 0])["manhattan"]
        0.5
    """
    p = np.asarray(p, dtype=float)
    codes, counts = label_counts(labels, items, p.shape[1])
    predicted, shares = _means(p, codes), counts / counts.sum(axis=1, keepdims=True)
    gaps = predicted - shares
    logs = np.log(np.maximum(predicted, EPSILON))
    return {
        "manhattan": float(np.abs(gaps).sum(axis=1).mean()),
        "cross_entropy": float(-(shares * logs).sum(axis=1).mean()),
        "wasserstein": float(np.abs(np.cumsum(gaps, axis=1)[:, :-1]).sum(axis=1).mean()),
    }


def label_set_scores(
    p: npt.ArrayLike, labels: npt.ArrayLike, items: npt.ArrayLike, annotators: npt.ArrayLike
) -> dict[str, float] | None:
    """Compare sets of labels, where an annotator may give an item several, one label at a time.

    Each label is a question of its own, as in LeWiDi's VariErrNLI: how many of an item's annotators
    gave it, and who did.

    Args:
        p: Class probabilities, (n, L), of every label that was given.
        labels: Class indices, (n,).
        items: The rows' items, as codes, (n,).
        annotators: The rows' annotators, as codes, (n,).

    Returns:
        ``manhattan_sets``, the distance between the predicted and the given shares of yes and no
        (0 to 2), and ``error_sets``, the share of wrong answers by person (0 to 1), both means over
        labels and items: the 2025 edition's two measures. None if nobody gave an item two labels.

    Example:
        >>> p = [[0.75, 0.25], [0.75, 0.25], [0.75, 0.25]]
        >>> label_set_scores(p, [0, 1, 1], [0, 0, 0], [0, 0, 1])
        {'manhattan_sets': 1.0, 'error_sets': 0.75}
    """
    p = np.asarray(p, dtype=float)
    pairs = np.stack([np.asarray(items), np.asarray(annotators)])
    (item_of, _), codes = np.unique(pairs, axis=1, return_inverse=True)
    given = (label_counts(labels, codes.ravel(), p.shape[1])[1] > 0).astype(float)
    if given.sum(axis=1).max() < 2:
        return None
    predicted = _means(p, codes.ravel())
    places = np.unique(item_of, return_inverse=True)[1]
    gaps, wrong = (
        _means(each, places) for each in (predicted - given, np.abs((predicted > 0.5) - given))
    )
    return {"manhattan_sets": float(2 * np.abs(gaps).mean()), "error_sets": float(wrong.mean())}


def _means(values: FloatArray, codes: IntArray) -> FloatArray:
    """The mean of the rows (n, C) with each code."""
    counts = np.bincount(codes)
    sums = np.zeros((len(counts), values.shape[1]))
    np.add.at(sums, codes, values)
    return sums / counts[:, None]
