"""From raw labels to ordered classes: the task forms, and what a column of labels tells."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np
import pandas as pd

from mcstl._support.arrays import IntArray
from mcstl._support.errors import InputError, brief, listed
from mcstl.data.cells import comparable, first_spellings, is_missing, mapped
from mcstl.data.scales import usual_order

Task = Literal["binary", "ordinal", "preference", "multilabel"]
Labels = Mapping[str, Sequence[object]]
TASK_FORMS = (
    "The task forms are binary (two classes), ordinal (ordered classes), preference "
    "(text_a against text_b) and multilabel (several yes-or-no questions)"
)
_MOST_INFERRED_CLASSES = 20
_LABELS_EXAMPLE = "labels: {low: [1, 2], high: [3]}"


def guess_task(table: pd.DataFrame, labels: Labels | None) -> Task:
    """Guess the task form from the columns, the classes and the labels of a table.

    Args:
        table: A table of annotations under our names.
        labels: The ordered classes and their raw values, where the user gave them.

    Returns:
        Preference where there are two texts, else binary for at most two classes, else ordinal.
    """
    sides = {"text_a", "text_b"} & set(table.columns)
    if len(sides) == 2 or (sides and "text" not in table.columns):  # the other side is misspelt
        return "preference"
    if labels is not None:
        return "binary" if len(labels) == 2 else "ordinal"
    if "label" not in table.columns:
        return "ordinal"
    answers = first_spellings(table["label"])
    return "binary" if len(answers) <= 2 else "ordinal"


def classes_of(
    raw: pd.Series, labels: Labels | None, task: Task, source: str
) -> tuple[tuple[str, ...], IntArray]:
    """Turn raw labels into class indices.

    Args:
        raw: The column of labels, (n,).
        labels: Ordered classes, lowest first, and the raw values that each merges; None reads
            them off the column.
        task: The task form, which decides how many classes there may be.
        source: What the labels are from, for messages.

    Returns:
        The names of the classes, and the class index of each row (n,), -1 where a label is
        missing or in no class.

    Raises:
        InputError: The labels have no classes that can be read off them, or too many or too few.
    """
    if any(isinstance(cell, list | tuple | set | dict | np.ndarray) for cell in raw):
        raise InputError(
            f"labels in {source} are lists (multi-label); {TASK_FORMS}. Write task: multilabel, or "
            "put the lists into `values` as groups"
        )
    classes = _inferred_labels(raw, task, source) if labels is None else labels
    if len(classes) < 2 or (task != "ordinal" and len(classes) != 2):
        expected = "two or more" if task == "ordinal" else "exactly two"
        whose = f"the labels in {source} are" if labels is None else "`labels` has"
        raise InputError(
            f"task {task} needs {expected} classes; {whose}: {listed(classes)}. Say which raw "
            f"values make a class, lowest first, as in {_LABELS_EXAMPLE}"
        )
    index: dict[float | str, int] = {}
    for position, (name, values) in enumerate(classes.items()):
        if isinstance(values, str) or not isinstance(values, Iterable):
            raise InputError(
                f"labels: {brief(name)} needs a list of raw values, as in {_LABELS_EXAMPLE}"
            )
        for value in values:
            if index.setdefault(comparable(value), position) != position:
                raise InputError(f"labels: the raw value {brief(value)!r} is in two classes")
    codes = mapped(raw, lambda v: -1 if is_missing(v) else index.get(comparable(v), -1))
    return tuple(str(name) for name in classes), codes.astype(np.int64)


def _inferred_labels(raw: pd.Series, task: Task, source: str) -> dict[str, list[object]]:
    """Read the ordered classes off the labels, or say why they have to be written down."""
    spelt = first_spellings(raw)
    if not spelt:
        raise InputError(f"every label in {source} is missing")
    names = sorted(spelt.values())
    texts = [key for key in spelt if isinstance(key, str)]
    numbers = sorted(key for key in spelt if not isinstance(key, str))
    if task == "preference" and set(spelt) <= {0.0, 1.0}:
        return {spelt.get(number, str(number)): [number] for number in (0, 1)}
    if not texts and task != "preference":
        if len(numbers) > _MOST_INFERRED_CLASSES:
            raise InputError(
                f"labels in {source} have {len(numbers)} distinct numbers from {numbers[0]:g} to "
                f"{numbers[-1]:g} and look continuous; {TASK_FORMS}. Cut them into a few ordered "
                f"classes first, or merge them, as in {_LABELS_EXAMPLE}"
            )
        return {spelt[number]: [number] for number in numbers}
    for low, high in [("no", "yes")] + [("b", "a")] * (task == "preference"):
        if spelt.keys() <= {low, high}:
            return {spelt.get(end, end): [end] for end in (low, high)}
    if task != "preference" and (levels := usual_order([str(key) for key in spelt])):
        return {spelt[level[0]]: [*level] for level in levels}
    if len(names) > _MOST_INFERRED_CLASSES:
        raise InputError(
            f"labels in {source} have {len(names)} distinct texts, as {brief(names[0])!r}; "
            f"{TASK_FORMS}. Map another column with columns: {{label: ...}}, or merge them, as in "
            f"{_LABELS_EXAMPLE}"
        )
    if task == "preference":
        raise InputError(
            f"labels in {source} do not say which text is preferred: {listed(names)}. Name first "
            "the class in which text_b is preferred, then the one in which text_a is, as in "
            f"labels: {{b: [{brief(names[-1])}], a: [{brief(names[0])}]}}; ties are left out"
        )
    if several := [text for text in texts if _holds_several(text, spelt)]:
        raise InputError(
            f"labels in {source} hold several values each (multi-label), as "
            f"{brief(spelt[min(several)])!r}; {TASK_FORMS}. Write task: multilabel, or put "
            "them into `values` as groups"
        )
    first, *others = map(brief, names[:5])
    raise InputError(
        f"labels in {source} are words without a known order (nominal?): {listed(names)}; "
        f"{TASK_FORMS}. If they have an order, write all of them, lowest first, as in labels: "
        f"{{{', '.join(f'{name}: [{name}]' for name in (first, *others))}}}; if not, learn one "
        f"against the others, as in labels: {{other: [{listed(others)}], {first}: [{first}]}}, or "
        "each against the others: task: multilabel"
    )


def _holds_several(label: str, labels: Iterable[object]) -> bool:
    """Say whether a label is a list as text: ``a|b``, ``['a']``, or other labels by commas."""
    parts = {part.strip() for part in re.split("[,;]", label)}
    return "|" in label or label.startswith("[") or (len(parts) > 1 and parts <= set(labels))
