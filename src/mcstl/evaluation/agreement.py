"""How far the annotators of an item agree: Krippendorff's alpha and the entropy of labels."""

from typing import Literal

import krippendorff
import numpy as np
import numpy.typing as npt
import pandas as pd

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.data.annotations import Annotations
from mcstl.evaluation.nans import nan_to_none


def annotation_agreement(data: Annotations) -> dict[str, float | None]:
    """Measure how far the annotations of an item agree.

    Args:
        data: Annotations; in preference, pairs are turned as their item is first.

    Returns:
        ``alpha``, Krippendorff's (ordinal for ordered labels), and ``entropy``, the mean entropy of
        an item's labels; None where a value does not exist.
    """
    labels = data.labels
    if data.task == "preference":
        labels = np.where(data.frame["flipped"], 1 - labels, labels)
    items = pd.factorize(data.frame["item"])[0]
    level: Literal["ordinal", "nominal"] = "ordinal" if data.task == "ordinal" else "nominal"
    values: dict[str, float | None] = nan_to_none(
        {
            "alpha": krippendorff_alpha(labels, items, level),
            "entropy": label_entropy(labels, items, len(data.classes)),
        }
    )
    return values


def krippendorff_alpha(
    labels: npt.ArrayLike,
    items: npt.ArrayLike,
    level: Literal["nominal", "ordinal", "interval"] = "nominal",
) -> float:
    """Compute Krippendorff's alpha of labels by the package `krippendorff`.

    Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability". Items with one label do not
    count.

    Args:
        labels: Class indices, (n,).
        items: The labels' items, as codes or names, (n,).
        level: The level of measurement, which says how far classes are apart.

    Returns:
        Alpha: 1 is agreement, 0 what chance would give; NaN if no item has two labels or all
        labels are the same.

    Example:
        >>> krippendorff_alpha([0, 0, 1, 1], [0, 0, 1, 1])
        1.0
    """
    counts = label_counts(labels, items)[1]
    counts = counts[counts.sum(axis=1) > 1]
    if (counts.sum(axis=0) > 0).sum() < 2:
        return float("nan")
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement=level))


def label_entropy(labels: npt.ArrayLike, items: npt.ArrayLike, n_classes: int) -> float:
    """Compute the entropy of an item's labels, as mean over items.

    Args:
        labels: Class indices, (n,).
        items: The labels' items, as codes or names, (n,).
        n_classes: The number of classes, which makes the largest entropy 1.

    Returns:
        The mean entropy, from 0 (all labels of an item alike) to 1 (all classes as often).

    Example:
        >>> label_entropy([0, 1, 1, 1], [0, 0, 1, 1], 2)
        0.5
    """
    counts = label_counts(labels, items)[1]
    shares = counts / counts.sum(axis=1, keepdims=True)
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return float(np.abs((shares * logs).sum(axis=1)).mean() / np.log(n_classes))


def label_counts(
    labels: npt.ArrayLike, items: npt.ArrayLike, n_classes: int = 0
) -> tuple[IntArray, FloatArray]:
    """Count how often each item was given each label.

    Args:
        labels: Class indices, (n,).
        items: The labels' items, as codes or names, (n,).
        n_classes: The least number of columns; more if a label asks for it.

    Returns:
        The codes 0 ... I - 1 of the labels' items, (n,), and the counts, (I, L).
    """
    labels = np.asarray(labels, dtype=np.int64)
    codes = np.unique(np.asarray(items), return_inverse=True)[1]
    n_items, n_classes = int(codes.max()) + 1, max(n_classes, int(labels.max()) + 1)
    counts = np.bincount(codes * n_classes + labels, minlength=n_items * n_classes)
    return codes, counts.reshape(n_items, n_classes).astype(float)
