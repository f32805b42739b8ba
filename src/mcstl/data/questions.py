"""Several labels at once: each is a question about the same text, answered yes or no.

A label is then a set of answers: a list, or text such as ``joy|anger``. Who gave answers said no to
all others; a cell that is empty is no answer at all.
"""

import re
from collections.abc import Sequence

import pandas as pd

from mcstl._support.errors import InputError, brief, listed
from mcstl.data.cells import comparable, first_spellings, is_missing, objects, shown
from mcstl.data.labels import Labels
from mcstl.data.layouts import parts_of, separator_of

#: More different answers are rather texts than questions.
_MOST_QUESTIONS = 100


def answers_of(
    raw: pd.Series, labels: Labels | None, source: str
) -> tuple[tuple[str, ...], list[tuple[int, ...] | None]]:
    """Turn cells with several labels into the questions that are answered with yes.

    Args:
        raw: The column of labels, (n,).
        labels: The questions, and the raw answers that mean yes to each; None takes every answer
            that is there for a question, in the order of the alphabet.
        source: What the labels are from, for messages.

    Returns:
        The names of the questions, and the positions of those that each row says yes to, ascending;
        None where a row has no answer.

    Raises:
        InputError: There are fewer than two questions, or too many to be any.

    >>> answers_of(pd.Series(["joy|anger", ["joy"], "calm", None]), None, "a table")
    (('anger', 'calm', 'joy'), [(0, 2), (2,), (1,), None])
    """
    whole = {comparable(value) for values in (labels or {}).values() for value in values}
    separator = separator_of(raw)
    given = [_answers(cell, whole, separator) for cell in raw]
    if labels is None:
        spelt = first_spellings(objects(answer for each in given for answer in each or ()))
        labels = {name: [name] for name in sorted(spelt.values())}
    if not 2 <= len(labels) <= _MOST_QUESTIONS:
        raise InputError(
            f"task multilabel needs two or more questions, at most {_MOST_QUESTIONS}; the labels "
            f"in {source} have {len(labels)}: {listed(map(brief, labels), 5)}. Name the questions "
            "and the answers that mean yes, as in labels: {joy: [joy], anger: [anger, rage]}"
        )
    asked: dict[float | str, list[int]] = {}
    for place, values in enumerate(labels.values()):
        for value in values:
            asked.setdefault(comparable(value), []).append(place)
    if not any(comparable(answer) in asked for each in given for answer in each or ()):
        seen = first_spellings(objects(answer for each in given for answer in each or ()))
        raise InputError(
            f"no label in {source} is among the answers in `labels`; found: "
            f"{listed(sorted(seen.values()))}; `labels` has: {listed(map(shown, _flat(labels)))}"
        )
    yes = [
        None
        if each is None
        else tuple(sorted({k for answer in each for k in asked.get(comparable(answer), ())}))
        for each in given
    ]
    return tuple(map(str, labels)), yes


def folder_names(questions: Sequence[str]) -> list[str]:
    """Name a folder for each question.

    Args:
        questions: The questions.

    Returns:
        Names of letters, digits and hyphens, each once whatever the case.

    >>> folder_names(["Is it rude?", "is it rude", "a/b"])
    ['is-it-rude', 'is-it-rude-2', 'a-b']
    """
    names = list[str]()
    for question in questions:
        plain = re.sub(r"[\W_]+", "-", question.casefold()).strip("-") or "question"
        name, n = plain, 1
        while name in names:
            n += 1
            name = f"{plain}-{n}"
        names.append(name)
    return names


def _answers(cell: object, whole: set[float | str], separator: str) -> list[object] | None:
    """The answers in a cell; None where it is missing."""
    if not isinstance(cell, list | tuple | set) and is_missing(cell):
        return None
    if isinstance(cell, str) and comparable(cell) in whole:
        return [cell]
    parts = parts_of(cell, separator)
    if isinstance(parts, dict):  # {"joy": 1, "anger": 0}
        return [name for name, mark in parts.items() if comparable(mark) in (1.0, "yes")]
    return [part for part in parts if not is_missing(part)]


def _flat(labels: Labels) -> list[object]:
    return [value for values in labels.values() for value in values]
