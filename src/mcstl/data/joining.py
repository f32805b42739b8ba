"""Two tables of annotations as one."""

import pandas as pd

from mcstl._support.errors import InputError, listed
from mcstl.data.annotations import ANSWERED_TOGETHER, Annotations


def joined(first: Annotations, second: Annotations) -> Annotations:
    """Put annotations behind others, as if all had been read from one table.

    Args:
        first: n annotations.
        second: m annotations of the same task and classes.

    Returns:
        The n + m annotations in their order; what one table lacks is missing in its rows.

    Raises:
        InputError: Tasks or classes differ, or an item has two texts.
    """
    if (first.task, first.classes) != (second.task, second.classes):
        raise InputError(
            f"{first.source} is {first.task} with {listed(first.classes)}, and {second.source} "
            f"{second.task} with {listed(second.classes)}; they need the same task and classes, as "
            "given by `labels`"
        )
    tables = [
        each.frame.assign(label=[each.classes[label] for label in each.labels]).drop(
            columns=["row", "flipped", ANSWERED_TOGETHER], errors="ignore"
        )
        for each in (first, second)
    ]
    table = pd.concat(tables, ignore_index=True).astype(object)
    if "weight" in table:
        table["weight"] = table["weight"].fillna(1.0)
    return Annotations.from_frame(
        table.where(table.notna(), None),
        labels={name: [name] for name in first.classes},
        task=first.task,
        source=first.source,
    )
