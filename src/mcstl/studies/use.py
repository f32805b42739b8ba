"""What a user of a model is told beside its metrics: whether its views are right, and decisions."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support.arrays import IntArray
from mcstl.data.annotations import Annotations
from mcstl.evaluation import decisions
from mcstl.evaluation.predictions import Predictions
from mcstl.evaluation.views import check_views
from mcstl.models.model import Model
from mcstl.models.perspectives import mean_level


def of_model(
    model: Model,
    annotations: Annotations,
    rows: Predictions,
    chosen_on: Predictions,
    judged_on: Predictions,
) -> dict[str, Any]:
    """Check a model's views, and make the decisions that it is used for.

    Args:
        model: The model.
        annotations: n annotations that it was not trained on.
        rows: Their predictions.
        chosen_on: Predictions of annotations on which thresholds are set.
        judged_on: Predictions of others, on which their error is shown.

    Returns:
        The ``method`` and ``seed`` of the model, and ``sources``, what makes answers differ and by
        how much (`BaseNetwork.sources`); ``views``, ``thresholds``, ``left_to_people`` and
        ``ask_next`` as `mcstl.evaluation.views` and `mcstl.evaluation.decisions` have them, texts
        by their items.
    """
    names = model.group_names
    left = decisions.left_to_people(rows)
    items = pd.factorize(annotations.frame["item"])[1]
    return {
        "method": model.facts.get("method", ""),
        "seed": model.facts.get("seed"),
        "sources": model.network.sources(),
        "views": _checked_views(model, annotations, rows) if model.askable_groups else [],
        "thresholds": decisions.thresholds(chosen_on, judged_on, names),
        "left_to_people": {**left, "items": [str(items[code]) for code in left["items"]]},
        "ask_next": decisions.ask_next(rows, names),
    }


def halves(items: IntArray) -> tuple[IntArray, IntArray]:
    """Deal rows out to two halves, the rows of an item to the same one.

    Args:
        items: Codes of the items, (n,).

    Returns:
        The positions of the rows of each half.
    """
    order = np.random.default_rng(0).permutation(int(items.max(initial=-1)) + 1)
    first = order[items] % 2 == 0
    return np.flatnonzero(first), np.flatnonzero(~first)


def _checked_views(
    model: Model, annotations: Annotations, rows: Predictions
) -> list[dict[str, Any]]:
    columns = annotations.frame[list(annotations.text_columns)]
    distinct = columns.drop_duplicates()
    place = columns.merge(distinct.assign(place=np.arange(len(distinct))), how="left")["place"]
    pairs = distinct.itertuples(index=False, name=None)
    texts: Sequence[Any] = [row if len(row) > 1 else row[0] for row in pairs]
    views = model.views(texts)  # of the groups that may be asked
    expected = mean_level(views.p)[place.to_numpy()]
    top = len(model.classes) - 1
    codes = rows.items, rows.annotators
    membership = rows.membership[:, [model.group_names.index(name) for name in views.names]]
    return check_views(expected, rows.labels, top, membership, codes, views.names)
