"""Cells of a table: which are missing, which are the same answer, and how they read as text.

One rule says when two cells are the same answer, for labels, attributes and values, in training
and in a model's input alike: `comparable`. What names something, an item or an annotator, stays as
it is written: `identifier`.
"""

import ast
import json
import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support.arrays import IntArray, ObjectArray
from mcstl._support.errors import InputError, brief
from mcstl.data.row_numbers import Source

_TRUTH = {"true": 1.0, "false": 0.0}
_HALF_OF_A_PAIR = re.compile(r"[\ud800-\udfff]")
_LONGEST_EXACT = 2**53
_DECIMAL_OF_ZEROS = re.compile(r"(-?\d+)\.0+")
_WHOLE_AS_DECIMAL = re.compile(r"(0|-?[1-9]\d*)\.0")

#: What people and programs write where they give no answer, in small letters.
_NO_ANSWER = frozenset(
    (
        *("-", "--", "?", "n/a", "na", "#n/a", "nan", "null", "{}", "[]"),
        *("data expired", "consent revoked", "no answer"),
    )
)
_REFUSALS = ("prefer not to", "prefer to not", "rather not ", "decline to ", "declined to ")


def mapped(column: pd.Series, function: Callable[[Any], object]) -> ObjectArray:
    """Apply a function to every cell of a column, calling it once per distinct cell.

    Args:
        column: The column, (n,).
        function: Makes something of one cell. A column of lists is mapped list by list.

    Returns:
        The results, (n,).
    """
    cells = column.to_numpy(dtype=object)
    try:
        codes, distinct = pd.factorize(cells, use_na_sentinel=False)
    except TypeError:  # lists
        codes, distinct = np.arange(len(cells)), cells
    return np.fromiter(map(function, distinct), dtype=object, count=len(distinct))[codes]


def objects(cells: Iterable[object]) -> pd.Series:
    """Make a column of Python objects, whatever type pandas would infer for them.

    Args:
        cells: The cells, in order.

    Returns:
        A column with the index 0 ... n-1.
    """
    return pd.Series(list(cells), dtype=object)


def comparable(value: object) -> float | str:
    """Make two spellings of the same answer equal.

    Args:
        value: A cell that is not missing.

    Returns:
        A number where it is one, where true is 1 and false is 0; else its text without outer
        blanks and without regard to case.

    >>> comparable("1.0"), comparable(" No "), comparable(True), comparable("TRUE")
    (1.0, 'no', 1.0, 1.0)
    """
    text = str(value).strip().casefold()
    if text in _TRUTH:
        return _TRUTH[text]
    if "_" in text:  # Python also reads "1_0" as a number, which people write as a word
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):  # "nan" and "infinity" are words, too
        return text
    # Long codes that differ in their last digits only would be the same number.
    return text if text.isdecimal() and number >= _LONGEST_EXACT else number


def first_spellings(column: pd.Series) -> dict[float | str, str]:
    """Collect the distinct answers in a column.

    Args:
        column: The column, (n,).

    Returns:
        By answer, as `comparable` makes it, its first spelling, as `shown` writes it.

    >>> first_spellings(pd.Series(["Yes", "YES ", 1.0, "1", None, "no"]))
    {'yes': 'Yes', 1.0: '1', 'no': 'no'}
    """
    spellings: dict[float | str, str] = {}

    def note(cell: object) -> None:
        if not is_missing(cell):
            spellings.setdefault(comparable(cell), shown(cell))

    mapped(column, note)
    return spellings


def as_first_written(column: pd.Series) -> ObjectArray:
    """Write every answer in a column as its first spelling.

    Args:
        column: The column, (n,).

    Returns:
        The answers as text, None where one is missing, (n,).
    """
    spellings = first_spellings(column)
    return mapped(column, lambda cell: None if is_missing(cell) else spellings[comparable(cell)])


def shown(value: object) -> str:
    """Write a cell as text.

    Args:
        value: A cell that is not missing.

    Returns:
        Its text without outer blanks; whole numbers have no decimal point.

    >>> shown(2.0), shown("2.00"), shown("2.10"), shown(" No ")
    ('2', '2', '2.10', 'No')
    """
    text = identifier(value).strip()
    decimal = _DECIMAL_OF_ZEROS.fullmatch(text)
    return decimal[1] if decimal else text


def identifier(value: object) -> str:
    """Write the name of an item or an annotator as text.

    A missing cell turns the whole numbers of its column into decimals, in pandas and in what pandas
    writes; 7.0 is 7, then. Otherwise a name is as it is written: 007 is somebody else.

    Args:
        value: A cell that is not missing.

    Returns:
        Its text.

    >>> identifier(7.0), identifier("7.0"), identifier("007"), identifier("v1.10")
    ('7', '7', '007', 'v1.10')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    text = str(value)
    decimal = _WHOLE_AS_DECIMAL.fullmatch(text.strip())
    return decimal[1] if decimal else text


def cell_text(value: object) -> str | None:
    """Write a cell as text, or say that it is missing.

    Args:
        value: Any cell.

    Returns:
        Its text as `shown` writes it, or None if it is missing.

    >>> cell_text(3.0), cell_text(" No "), cell_text(""), cell_text(float("nan"))
    ('3', 'No', None, None)
    """
    return None if is_missing(value) else shown(value)


def is_missing(value: object) -> bool:
    """Say whether a cell holds nothing.

    Args:
        value: Any cell.

    Returns:
        True for blank text, NaN, None, and pandas' NA and NaT.
    """
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or value is pd.NA or value is pd.NaT


def need_whole_letters(table: pd.DataFrame, source: Source, positions: IntArray) -> None:
    """Check that no text holds half of a surrogate pair, which no file can hold.

    Args:
        table: Any table of n rows.
        source: What errors call it.
        positions: (n,) where errors say that its rows are.

    Raises:
        InputError: A text does; the message names its row and column.
    """
    for name, column in table.items():
        halves = mapped(column, lambda c: isinstance(c, str) and bool(_HALF_OF_A_PAIR.search(c)))
        if (rows := np.flatnonzero(halves)).size:
            raise InputError(
                f"{len(rows)} rows of {source} hold half of a surrogate pair (a cut emoji), which "
                f"is no text, in the column {brief(name)!r}: {source.rows(positions[rows])}; "
                "drop it, as text.encode(errors='ignore').decode() does"
            )


def is_usable_text(value: object) -> bool:
    """Say whether a cell is text that is not blank.

    Args:
        value: Any cell.

    Returns:
        True if it can be encoded as a text.
    """
    return isinstance(value, str) and bool(value.strip())


def literal(text: str) -> Any:
    """Read a list or an object that JSON or Python wrote.

    Args:
        text: The text of a cell.

    Returns:
        What it holds, None where it is neither.

    >>> literal('[{"a": null}]'), literal("{'a': None}"), literal("[sic]")
    ([{'a': None}], {'a': None}, None)
    """
    for read in (json.loads, ast.literal_eval):
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def as_values(cell: object) -> list[str]:
    """Read the names in a cell of the column ``values``.

    Args:
        cell: A list, or text with ``|`` between names.

    Returns:
        The distinct names in order, without blanks and missing ones.
    """
    if isinstance(cell, str):
        parts: Iterable[object] = cell.split("|")
    elif isinstance(cell, list | tuple | set | np.ndarray):
        parts = cell
    else:
        parts = (cell,)
    return list(dict.fromkeys(shown(part) for part in parts if not is_missing(part)))


def without_markers(answers: ObjectArray) -> ObjectArray:
    """Make answers that say there is none missing: ``Prefer not to say``, ``DATA_EXPIRED``, ``-``.

    Args:
        answers: The answers of people about themselves, as text or None, (n,).

    Returns:
        The same with None for them, (n,). ``NA`` stays: it may be Namibia.
    """
    missing = {each for each in {*answers.tolist()} - {None, "NA"} if says_nothing(each)}
    return np.array([None if answer in missing else answer for answer in answers], dtype=object)


def says_nothing(answer: str) -> bool:
    """Say whether an answer says that there is none.

    Args:
        answer: The answer as it is written.

    Returns:
        True for ``n/a``, ``-``, ``DATA_EXPIRED``, ``Prefer not to say`` and the like.
    """
    plain = " ".join(re.split(r"[\s_]+", answer.casefold())).strip(" .")
    return plain in _NO_ANSWER or plain.startswith(_REFUSALS)
