"""How far predicted label shares are from those that an item's annotators gave (LeWiDi)."""

import numpy as np
import numpy.typing as npt

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
    totals = counts.sum(axis=1, keepdims=True)
    predicted = np.zeros_like(counts)
    np.add.at(predicted, codes, p)
    predicted /= totals
    shares = counts / totals
    gaps = predicted - shares
    logs = np.log(np.maximum(predicted, EPSILON))
    return {
        "manhattan": float(np.abs(gaps).sum(axis=1).mean()),
        "cross_entropy": float(-(shares * logs).sum(axis=1).mean()),
        "wasserstein": float(np.abs(np.cumsum(gaps, axis=1)[:, :-1]).sum(axis=1).mean()),
    }
