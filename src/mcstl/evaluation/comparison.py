"""Two studies compared where they were tested on the same annotations."""

from collections.abc import Mapping
from typing import Any

import pandas as pd

from mcstl.evaluation.intervals import Sample
from mcstl.evaluation.nans import nan_to_none
from mcstl.evaluation.predictions import predictions_by_method
from mcstl.evaluation.summaries import group_names, split_overlap
from mcstl.evaluation.uncertainty import differences_of, uncertainty

#: The content of a study's results.json and predictions.parquet.
StudyOutput = tuple[Mapping[str, Any], pd.DataFrame]


def same_test_rows(a: StudyOutput, b: StudyOutput) -> bool:
    """Check whether two studies of the same data were tested on the same rows with every seed.

    Args:
        a: A study's output.
        b: Another study's output.

    Returns:
        Whether they were, and have the same task and classes.
    """
    if any(a[0]["data"][key] != b[0]["data"][key] for key in ("fingerprint", "task", "classes")):
        return False
    rows_a, rows_b = (
        set(predictions[["seed", "row"]].drop_duplicates().itertuples(index=False, name=None))
        for _, predictions in (a, b)
    )
    return rows_a == rows_b


def compare_studies(a: StudyOutput, b: StudyOutput) -> dict[str, dict[str, Any]]:
    """Compute the differences of two studies, `b` minus `a`, on the same rows.

    Args:
        a: The output of the study that is subtracted.
        b: The output of a study that was tested on the same rows (`same_test_rows`).

    Returns:
        Per method that both have and per metric ``mean``, ``low`` and ``high``, as in
        ``differences`` of results.json.
    """
    shared = [method for method in a[0]["summary"] if method in b[0]["summary"]]
    if not shared:
        return {}
    names = list(dict.fromkeys([*group_names(a[0]), *group_names(b[0])]))
    sides = []
    for side, (_, predictions) in zip("ab", (a, b), strict=True):
        part = predictions[predictions["method"].isin(shared)]
        sides.append(part.assign(method=side + part["method"]))
    table = pd.concat(sides, ignore_index=True).sort_values("seed", kind="stable")
    data = a[0]["data"]
    seeds_of = predictions_by_method(table, names, len(data["classes"]), data["task"])
    measured = uncertainty(seeds_of, Sample.of(seeds_of, split_overlap(data)))
    differences: dict[str, dict[str, Any]] = nan_to_none(
        {
            method: differences_of(measured[f"b{method}"], measured[f"a{method}"])
            for method in shared
            if f"a{method}" in measured and f"b{method}" in measured
        }
    )
    return differences
