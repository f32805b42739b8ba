"""The organisers' measures, item by item, and their baselines."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.data.annotations import Annotations
from mcstl.evaluation.soft_labels import soft_label_scores
from mcstl.reproduce.lewidi.editions import Target

#: One half, but for what rounding takes from a sum of probabilities.
_HALF = 0.5 - 1e-9
_Z = 1.96


class Scores(NamedTuple):
    """What a system reaches, measured for each item.

    Attributes:
        first: The measure of soft labels of each item, lower is better, (m,).
        second: The other: in 2025 the distance or error of annotators' labels, lower is better; in
            2023 whether the majority's label is predicted, higher is better, (m,).
    """

    first: FloatArray
    second: FloatArray


def truth(data: Annotations) -> FloatArray:
    """Write each annotation's answer as probabilities.

    Args:
        data: n annotations of L classes, or of L questions.

    Returns:
        (n, L) 1 for the class that was given, or for each question answered with yes.
    """
    if data.task != "multilabel":
        return np.eye(len(data.classes))[data.labels]
    yes = [[k in answer for k in range(len(data.classes))] for answer in data.frame["label"]]
    return np.array(yes, dtype=float)


def decided(p: FloatArray, target: Target) -> IntArray:
    """Decide on each annotator's label.

    Args:
        p: Probabilities as `truth` has them, (n, L).
        target: The data set.

    Returns:
        (n,) the class: the median where classes are a scale, else the most probable; of questions
        (n, L) whether yes.
    """
    if target.task == "multilabel":
        return np.asarray(p > 1 - _HALF, dtype=np.int64)
    if target.soft == "wasserstein":
        return np.asarray((np.cumsum(p, axis=1) < _HALF).sum(axis=1), dtype=np.int64)
    return np.asarray(np.argmax(p, axis=1), dtype=np.int64)


def scores(p: FloatArray, data: Annotations, target: Target) -> Scores:
    """Measure predictions as the organisers do.

    The soft label that is predicted for an item is the mean of what is predicted for its
    annotators. 2025: the Manhattan distance of soft labels (the mean over questions where there are
    several) and the share of wrong labels; of scales the Wasserstein distance in classes, and the
    distance of labels in shares of the scale. 2023: the cross-entropy of soft labels, and whether
    the majority's label is predicted, which over items is the micro-F1; a majority that ties counts
    one half.

    Args:
        p: Probabilities as `truth` has them, (n, L).
        data: The n annotations.
        target: The data set.

    Returns:
        The measures of each of the m items, in order of first occurrence.
    """
    given, labels = truth(data), decided(p, target)
    items = pd.factorize(data.frame["item"])[0]
    first, second = [], []
    for rows in np.split(np.argsort(items, kind="stable"), np.cumsum(np.bincount(items))[:-1]):
        shares, predicted = given[rows].mean(axis=0), p[rows].mean(axis=0)
        if target.task == "multilabel":
            first.append(2 * np.abs(predicted - shares).mean())
            second.append(np.abs(labels[rows] - given[rows]).mean())
            continue
        answers = data.labels[rows]
        first.append(soft_label_scores(p[rows], answers, np.zeros(len(rows)))[target.soft])
        if target.soft == "cross_entropy":
            top = np.flatnonzero(shares == shares.max())
            second.append(float(predicted.argmax() in top) / len(top))
        elif target.soft == "wasserstein":
            second.append(np.abs(labels[rows] - answers).mean() / p.shape[1])
        else:
            second.append((labels[rows] != answers).mean())
    return Scores(np.array(first), np.array(second))


def baselines(train: Annotations, data: Annotations, target: Target) -> dict[str, Scores]:
    """Measure what needs no text.

    Args:
        train: The annotations that frequencies are of.
        data: The annotations to predict.
        target: The data set.

    Returns:
        The scores of the most frequent label, of a label drawn at random, in expectation, and of
        the training part's shares of labels.
    """
    shares = truth(train).mean(axis=0)
    n, L = len(data), len(shares)
    if target.task == "multilabel":
        frequent, options = np.round(shares), [np.zeros(L), np.ones(L)]
        uniform = np.full(L, 0.5)
    else:
        frequent, options, uniform = np.eye(L)[shares.argmax()], list(np.eye(L)), np.full(L, 1 / L)

    def of(p: FloatArray) -> Scores:
        return scores(np.tile(p, (n, 1)), data, target)

    drawn = np.mean([of(option).second for option in options], axis=0)
    return {
        "most frequent label": of(frequent),
        "random label": Scores(of(uniform).first, drawn),
        "the training part's shares": of(shares),
    }


def interval(values: FloatArray) -> tuple[float, float, float]:
    """Compute a mean over items with its 95% interval.

    Args:
        values: A value per item, (m,).

    Returns:
        The mean, and the ends of the interval.
    """
    mean, error = float(values.mean()), float(values.std(ddof=1)) / np.sqrt(len(values))
    return mean, mean - _Z * error, mean + _Z * error
