"""On which items the predicted views of two groups lie furthest apart."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.evaluation.predictions import membership_matrix, predictions_of, probabilities

#: Predictions for two groups closer than this are the same but for rounding.
_LEAST_GAP = 1e-6


class GroupView(NamedTuple):
    """What a group makes of an item.

    Attributes:
        group: The group.
        predicted: Its predicted expected class index, mean over its annotations and seeds.
        given: The mean class index that its annotations gave.
        n: How many annotations those are.
    """

    group: str
    predicted: float
    given: float
    n: int


class DisagreeingGroups(NamedTuple):
    """Two groups and the items on which their views lie furthest apart.

    Attributes:
        a: A group.
        b: Another group.
        gap: The mean absolute gap between their predicted expected class indices.
        n_items: How many items both have annotations of.
        items: The items with the largest gaps, each with the views of both groups.
    """

    a: str
    b: str
    gap: float
    n_items: int
    items: list[tuple[str, list[GroupView]]]


def disagreeing_groups(
    table: pd.DataFrame,
    method: str,
    group_names: Sequence[str],
    n_classes: int,
    *,
    n_pairs: int = 3,
    n_items: int = 3,
) -> list[DisagreeingGroups]:
    """Find the pairs of groups that a method sets furthest apart, and on which items.

    Compared are groups that answer the same question, as the answers to one attribute: a woman
    under 44 stands on both sides of "women" against "below 44". The widest pair of each question
    comes before a second one of any. A group's view of an item is the mean over its test
    annotations, as an expected class index of the item as it was first shown; an item counts where
    one test part has both groups' views.

    Args:
        table: Predictions, as in predictions.parquet.
        method: The method.
        group_names: Names of the groups.
        n_classes: The number of classes.
        n_pairs: How many pairs to find at most.
        n_items: How many items to find at most per pair.

    Returns:
        The pairs, those of the widest gaps first; none if the method does not tell groups apart.

    Raises:
        InputError: If the method has no predictions.
    """
    rows, top_class = predictions_of(table, method), n_classes - 1
    membership = membership_matrix(rows["groups"], group_names)
    codes, items = pd.factorize(rows["item"])
    flipped = rows["flipped"].to_numpy(dtype=bool)
    expected = probabilities(rows, n_classes) @ np.arange(n_classes)
    expected = np.where(flipped, top_class - expected, expected)
    means = np.stack(
        [
            group_means(expected[part], codes[part], membership[part], len(items))[0]
            for part in (rows["seed"].to_numpy() == seed for seed in rows["seed"].unique())
        ]
    )
    gaps = [gap for gap in group_gaps(means) if gap.mean > _LEAST_GAP]
    gaps = _of_every_subject(gaps, [subject(name) for name in group_names])[:n_pairs]
    labels = rows["label"].to_numpy(dtype=float)
    labels = np.where(flipped, top_class - labels, labels)
    # An annotation is in the test part of several seeds, but was given once.
    once = ~rows["row"].duplicated().to_numpy()
    given, counts = group_means(labels[once], codes[once], membership[once], len(items))
    pairs = []
    for gap in gaps:
        furthest = []
        for i in np.argsort(-np.nan_to_num(gap.by_item, nan=-1.0), kind="stable")[:n_items]:
            both = ~np.isnan(means[:, i, gap.a] + means[:, i, gap.b])
            views = [
                GroupView(
                    group_names[k], float(means[both, i, k].mean()), given[i, k], int(counts[i, k])
                )
                for k in (gap.a, gap.b)
            ]
            furthest.append((items[i], views))
        n_shared = int((~np.isnan(gap.by_item)).sum())
        pairs.append(
            DisagreeingGroups(group_names[gap.a], group_names[gap.b], gap.mean, n_shared, furthest)
        )
    return pairs


def subject(group: str) -> str:
    """Say which question a group is an answer to.

    Args:
        group: The group's name.

    Returns:
        The attribute, those of an intersection, or "" for values and reasons.

    >>> [subject(name) for name in ("age=60+", "age=60+ & gender=Man", "Security")]
    ['age', 'age & gender', '']
    """
    answers = [part.partition("=") for part in group.split(" & ")]
    return " & ".join(attribute for attribute, equals, _ in answers if equals)


def _of_every_subject(gaps: Sequence["Gap"], subjects: Sequence[str]) -> list["Gap"]:
    """Keep the pairs of one subject; the widest of each comes before the second of any."""
    by_subject: dict[str, list[Gap]] = {}
    for gap in gaps:
        if subjects[gap.a] == subjects[gap.b]:
            by_subject.setdefault(subjects[gap.a], []).append(gap)
    ranked = [(place, gap) for of_one in by_subject.values() for place, gap in enumerate(of_one)]
    return [gap for _, gap in sorted(ranked, key=lambda each: (each[0] > 0, -each[1].mean))]


def group_means(
    values: npt.ArrayLike, items: npt.ArrayLike, membership: npt.ArrayLike, n_items: int
) -> tuple[FloatArray, IntArray]:
    """Average values per item and group.

    Args:
        values: A value per row, (n,).
        items: Codes of the rows' items, 0 ... I - 1, (n,).
        membership: Which rows are in which group, (n, K).
        n_items: The number of items, I.

    Returns:
        The means, NaN where a group has no row of an item, and the counts of rows, (I, K) each.
    """
    values, items = np.asarray(values, dtype=float), np.asarray(items, dtype=np.int64)
    inside = np.asarray(membership, dtype=bool)
    shape = (n_items, inside.shape[1])
    sums, counts = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for k in range(shape[1]):
        rows = inside[:, k]
        sums[:, k] = np.bincount(items[rows], weights=values[rows], minlength=n_items)
        counts[:, k] = np.bincount(items[rows], minlength=n_items)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), counts


class Gap(NamedTuple):
    """How far apart two groups are on the items that both have.

    Attributes:
        a: The place of a group.
        b: The place of another one.
        mean: The mean absolute gap over their items.
        by_item: The absolute gap of each item, (I,), NaN where a group has none.
    """

    a: int
    b: int
    mean: float
    by_item: FloatArray


def group_gaps(means: npt.ArrayLike, least_items: int = 10) -> list[Gap]:
    """Sort the pairs of groups by how far apart their means are.

    A gap is taken within a seed and then averaged over seeds, since two seeds' models differ
    without any group's doing.

    Args:
        means: Those of `group_means` for each of S seeds, (S, I, K).
        least_items: Pairs that share fewer items are left out: their gap would be chance.

    Returns:
        The pairs by falling mean absolute gap.
    """
    means = np.asarray(means, dtype=float)
    pairs = []
    for a in range(means.shape[2]):
        for b in range(a + 1, means.shape[2]):
            gaps = np.abs(means[:, :, a] - means[:, :, b])
            n_seeds = (~np.isnan(gaps)).sum(axis=0)
            shared = n_seeds > 0
            if shared.sum() >= max(least_items, 1):
                by_item = np.where(shared, np.nansum(gaps, axis=0) / np.maximum(n_seeds, 1), np.nan)
                pairs.append(Gap(a, b, float(by_item[shared].mean()), by_item))
    return sorted(pairs, key=lambda pair: -pair.mean)
