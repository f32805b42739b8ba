"""Decisions: a threshold per group for a wanted error, texts to leave to people, whom to ask next.

Thresholds are set on rows that the model was not trained on and judged on others, so that the error
that is shown is the one to expect.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mcstl._support.arrays import BoolArray, FloatArray
from mcstl._support.errors import InputError
from mcstl.evaluation import metrics
from mcstl.evaluation.influence import Influence
from mcstl.evaluation.intervals import Sample
from mcstl.evaluation.predictions import Predictions
from mcstl.evaluation.views import mean_in_groups

#: Which mistake is to be rare: to flag what is not above the class, or to miss what is.
Mistake = Literal["false alarms", "misses"]
#: The error that thresholds are set for where none is given.
WANTED_ERROR = 0.1
#: The shares of the texts that are left to people.
LEFT_TO_PEOPLE = (0.0, 0.1, 0.2, 0.3, 0.5)
#: A threshold is set where at least so many rows may be mistaken: fewer are no share to rely on.
_LEAST_MISTAKES = 3
#: How many more annotations a group is imagined to have.
MORE = 100


def thresholds(
    chosen_on: Predictions,
    judged_on: Predictions,
    names: Sequence[str],
    *,
    wanted: float = WANTED_ERROR,
    mistake: Mistake = "false alarms",
) -> list[dict[str, Any]]:
    """Set for everyone and each group the threshold at which a mistake is as rare as wanted.

    A row is flagged as above class t where P(y > t) is the threshold or more. The threshold is the
    lowest (for false alarms) or the highest (for misses) whose error is at most `wanted` on the
    rows that it is chosen on.

    Args:
        chosen_on: Rows that the model was not trained on, such as validation rows.
        judged_on: Other rows, on which the error is shown.
        names: The names of the K groups.
        wanted: The error that is allowed, between 0 and 1.
        mistake: Which error: the share of flagged rows among those that are not above class t, or
            of missed ones among those that are.

    Returns:
        Per group (None for everyone) and class t its ``threshold``, None where fewer than
        `least_to_choose` rows could be mistaken among those it is chosen on, how many these are as
        ``chosen_on``, and on the rows under
        judgement the ``error`` with its interval ``low`` to ``high``, the share of the other
        mistake as ``other_error``, and ``n``, the rows that could be mistaken; None where a part
        has none of them.

    Raises:
        InputError: If `wanted` is no share.
    """
    if not 0 < wanted < 1:
        raise InputError(f"the wanted error is a share between 0 and 1, as 0.1; got {wanted}")
    above, above_judged = (metrics.exceedance(rows.p) for rows in (chosen_on, judged_on))
    sample = Sample({"": [(judged_on.items, judged_on.annotators)]})
    of_alarms = mistake == "false alarms"
    result = []
    parts = zip([None, *names], chosen_on.everyone.T, judged_on.everyone.T, strict=True)
    for name, inside, inside_judged in parts:
        for t in range(above.shape[1]):
            at_risk = inside & ((chosen_on.labels > t) != of_alarms)
            n = int(at_risk.sum())
            is_enough = n >= least_to_choose(wanted)
            threshold = _threshold(above[at_risk, t], wanted, of_alarms) if is_enough else None
            row: dict[str, Any] = {"group": name, "above": t, "threshold": threshold}
            row["chosen_on"] = n
            if threshold is None:
                flagged = np.zeros(len(above_judged), dtype=bool)
            else:
                flagged = above_judged[:, t] >= threshold
            wrong = flagged if of_alarms else ~flagged
            judged = inside_judged & ((judged_on.labels > t) != of_alarms)
            others = inside_judged & ((judged_on.labels > t) == of_alarms)
            has_error = threshold is not None and judged.any()
            error = _rate(wrong, judged, sample) if has_error else (None, None, None)
            row |= dict(zip(("error", "low", "high"), error, strict=True))
            has_other = threshold is not None and others.any()
            row["other_error"] = float((~wrong)[others].mean()) if has_other else None
            row["n"] = int(judged.sum())
            result.append(row)
    return result


def least_to_choose(wanted: float = WANTED_ERROR) -> int:
    """Say how many rows that could be mistaken a threshold has to be set on.

    Args:
        wanted: The error that is allowed, between 0 and 1.

    Returns:
        The number of rows.

    >>> least_to_choose(0.1), least_to_choose(0.02)
    (30, 150)
    """
    return math.ceil(_LEAST_MISTAKES / wanted - 1e-9)


def left_to_people(
    rows: Predictions, shares: Sequence[float] = LEFT_TO_PEOPLE, *, most_cases: int = 10
) -> dict[str, Any]:
    """Say how often the likeliest class is wrong when the least sure texts are left to people.

    A text is unsure where the mean over its annotations of the probability of any class but the
    likeliest is high: where the model cannot tell what people of these groups will say, be it that
    they disagree, be it that it does not know.

    Args:
        rows: Annotations with predictions.
        shares: The shares of the texts that are left to people.
        most_cases: How many texts are listed.

    Returns:
        ``curve``: per share the ``error`` on what is left to the model, with its 95% interval
        ``low`` to ``high``, and ``texts``, how many these are. ``items``: the codes of the texts
        to leave first.
    """
    unsure = 1 - rows.p.max(axis=1)
    items, place = np.unique(rows.items, return_inverse=True)
    mean = np.bincount(place, weights=unsure) / np.bincount(place)
    order = np.argsort(mean, kind="stable")
    rank = np.empty(len(items), dtype=np.int64)
    rank[order] = np.arange(len(items))
    wrong = rows.p.argmax(axis=1) != rows.labels
    sample = Sample({"": [(rows.items, rows.annotators)]})
    curve = []
    for share in shares:
        n_kept = max(1, round((1 - share) * len(items)))
        error, low, high = _rate(wrong, rank[place] < n_kept, sample)
        curve.append({"share": share, "error": error, "low": low, "high": high, "texts": n_kept})
    return {"curve": curve, "items": items[order[::-1][:most_cases]].tolist()}


def ask_next(rows: Predictions, names: Sequence[str], *, more: int = MORE) -> list[dict[str, Any]]:
    """Say which group's further annotations would tell most about how right the model is for it.

    What is not known of a group is how far its predictions are off on the mean; the interval of
    that shrinks with the root of its annotations. The group is first whose interval would shrink
    most.

    Args:
        rows: Annotations with predictions, in K groups.
        names: The names of the groups.
        more: How many more annotations of the same kind each is imagined to have.

    Returns:
        Per group, the first to ask first: ``group``, ``n``, ``uncertainty`` (half the 95% interval
        of predicted minus observed, on a scale from the first class, 0, to the last, 1) and
        ``after``, the same with `more` annotations.
    """
    top = rows.p.shape[1] - 1
    gaps = (rows.p @ np.arange(top + 1) - rows.labels) / top
    counts = rows.membership.sum(axis=0)
    codes = rows.items, rows.annotators
    low, high = mean_in_groups(gaps[:, None], rows.membership, codes).interval()
    half = (high - low) / 2
    known = np.flatnonzero(np.isfinite(half))
    after = half * np.sqrt(counts / (counts + more))
    first = known[np.argsort(-(half - after)[known], kind="stable")]
    return [
        {
            "group": names[k],
            "n": int(counts[k]),
            "uncertainty": float(half[k]),
            "after": float(after[k]),
        }
        for k in first
    ]


def _threshold(p: FloatArray, wanted: float, of_alarms: bool) -> float:
    """The threshold at which at most the wanted share of rows that can be mistaken is.

    It lies half-way between two predictions, so that rounding does not decide.
    """
    allowed = int(np.floor(wanted * len(p)))
    distinct = np.unique(p)
    cuts = np.concatenate([[0.0], (distinct[:-1] + distinct[1:]) / 2, [1.0]])
    below = np.searchsorted(np.sort(p), cuts)
    fits = cuts[(len(p) - below if of_alarms else below) <= allowed]
    return float(fits.min() if of_alarms else fits.max())


def _rate(
    wrong: BoolArray, judged: BoolArray, sample: Sample
) -> tuple[float | None, float | None, float | None]:
    """The share of the judged rows that are wrong, with its 95% interval."""
    share = judged / judged.sum()
    rate = float(share @ wrong)
    influence = Influence(np.array([rate]), (share * (wrong - rate))[:, None])
    low, high = sample.estimates("", [influence]).interval()
    ends = [float(np.clip(end[0], 0, 1)) if np.isfinite(end[0]) else None for end in (low, high)]
    return rate, ends[0], ends[1]
