"""Whether a group's view is right: what a model says of a group's texts beside what it answered."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation.influence import Influence
from mcstl.evaluation.intervals import Sample


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
    gaps = expected - labels[:, None] / top
    counts = membership.sum(axis=0)
    shares = membership / np.maximum(counts, 1)
    difference = np.where(counts > 0, (shares * gaps).sum(axis=0), np.nan)
    influence = Influence(difference, shares * (gaps - np.nan_to_num(difference)))
    low, high = Sample({"": [codes]}).estimates("", [influence]).interval()
    observed = (shares * (labels[:, None] / top)).sum(axis=0)
    return [
        {
            "group": name,
            "n": int(counts[k]),
            "predicted": _number(observed[k] + difference[k]),
            "observed": _number(observed[k] if counts[k] else np.nan),
            "difference": _number(difference[k]),
            "low": _number(low[k]),
            "high": _number(high[k]),
        }
        for k, name in enumerate(names)
    ]


def _number(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
