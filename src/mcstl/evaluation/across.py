"""Two studies against each other, where they were tested on the same rows."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mcstl.evaluation import metrics
from mcstl.evaluation.bootstrap import bootstrap
from mcstl.evaluation.findings import group_names, paired_differences, rows_of
from mcstl.evaluation.rows import RESAMPLES

#: A study's results.json and predictions.parquet.
Outcome = tuple[Mapping[str, Any], pd.DataFrame]


def same_rows(a: Outcome, b: Outcome) -> bool:
    """Say whether two studies of the same data were tested on the same rows with every seed."""
    if any(a[0]["data"][key] != b[0]["data"][key] for key in ("fingerprint", "task", "classes")):
        return False
    tested = [
        set(predictions[["seed", "row"]].drop_duplicates().itertuples(index=False, name=None))
        for _, predictions in (a, b)
    ]
    return tested[0] == tested[1]


def across(a: Outcome, b: Outcome, *, resamples: int = RESAMPLES) -> dict[str, dict[str, Any]]:
    """Return, per method that both studies have, the differences `b` minus `a` of every metric.

    Each is ``mean``, ``low`` and ``high`` over the same resampled items, as `differences` of
    results.json. The studies must have been tested on the same rows (`same_rows`).
    """
    names = list(dict.fromkeys([*group_names(a[0]), *group_names(b[0])]))
    shared = [method for method in a[0]["summary"] if method in b[0]["summary"]]
    sides = []
    for side, (_, predictions) in zip("ab", (a, b), strict=True):
        part = predictions[predictions["method"].isin(shared)]
        sides.append(part.assign(method=side + part["method"]))
    data = a[0]["data"]
    if not shared:
        return {}
    rows = rows_of(pd.concat(sides, ignore_index=True), names, len(data["classes"]), data["task"])
    drawn = bootstrap(rows, resamples=resamples)
    found: dict[str, dict[str, Any]] = metrics.jsonable(
        {
            method: paired_differences(drawn[f"b{method}"], drawn[f"a{method}"])
            for method in shared
            if f"a{method}" in drawn and f"b{method}" in drawn
        }
    )
    return found
