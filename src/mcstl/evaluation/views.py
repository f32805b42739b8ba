"""Whether a group's view is right: what a model says of a group's texts beside what it answered."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation.influence import Influence
from mcstl.evaluation.intervals import Estimates, Sample
from mcstl.evaluation.nans import nan_to_none, ratio


def check_views(
    expected: FloatArray,
    labels: IntArray,
    top: int,
    membership: BoolArray,
    codes: tuple[IntArray, IntArray],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """Compare the mean of each group's view with the mean of the group's answers.

    A user who asks for a group gets its view, post-stratified. Over the texts that members of the
    group answered, it should be as high on the mean as what they answered.

    Args:
        expected: The expected class of the n rows' texts from the view of each group, from 0, the
            first class, to 1, the last, (n, K).
        labels: The class that each row was given, (n,).
        top: The last class, L - 1.
        membership: Which rows are in which group, (n, K).
        codes: Codes of the rows' items and of their annotators, (n,) each.
        names: The names of the K groups.

    Returns:
        Per group its name as ``group``, its rows as ``n``, the mean class as ``predicted`` and as
        ``observed``, from 0, the first, to 1, the last, and predicted minus observed as
        ``difference`` with its 95% interval ``low`` to ``high``; None where there is none.
    """
    answers = labels[:, None] / top
    differences = mean_in_groups(expected - answers, membership, codes)
    difference, (low, high) = differences.value, differences.interval()
    counts = membership.sum(axis=0)
    observed = ratio((membership * answers).sum(axis=0), counts)
    rows: list[dict[str, Any]] = [
        {
            "group": name,
            "n": int(counts[k]),
            "predicted": float(observed[k] + difference[k]),
            "observed": float(observed[k]),
            "difference": float(difference[k]),
            "low": float(low[k]),
            "high": float(high[k]),
        }
        for k, name in enumerate(names)
    ]
    with_nothing: list[dict[str, Any]] = nan_to_none(rows)
    return with_nothing


def mean_in_groups(
    values: FloatArray, membership: BoolArray, codes: tuple[IntArray, IntArray]
) -> Estimates:
    """Average values over the rows of each group.

    Args:
        values: The values for each group, (n, K), or the same for all, (n, 1).
        membership: Which rows are in which group, (n, K).
        codes: Codes of the rows' items and of their annotators, (n,) each.

    Returns:
        The means of the K groups, NaN for one without rows.
    """
    counts = membership.sum(axis=0)
    shares = membership / np.maximum(counts, 1)
    means = np.where(counts > 0, (shares * values).sum(axis=0), np.nan)
    influence = Influence(means, shares * (values - np.nan_to_num(means)))
    return Sample({"": [codes]}).estimates("", [influence])
