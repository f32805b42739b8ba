"""Cells of a table: which are missing, which are equal, and how they read as text."""

import math
import re
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support.arrays import ObjectArray

#: What people and programs write where they give no answer, in small letters.
_NO_ANSWER = frozenset(
    ("-", "--", "n/a", "na", "#n/a", "nan", "null", "data expired", "consent revoked", "no answer")
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
        A number where it is one, else its text without outer blanks.

    >>> comparable("1.0"), comparable(" No "), comparable(True)
    (1.0, 'No', 'true')
    """
    text = str(value).strip()
    if text.casefold() in ("true", "false"):
        return text.casefold()
    try:
        number = float(text)
    except ValueError:
        return text
    # Python also reads "nan", "infinity" and "1_0" as numbers, which people write as words.
    return number if math.isfinite(number) and "_" not in text else text


def shown(value: object) -> str:
    """Write a cell as text.

    Args:
        value: A cell that is not missing.

    Returns:
        Its text without outer blanks; whole numbers have no decimal point.
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


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


def is_usable_text(value: object) -> bool:
    """Say whether a cell is text that is not blank.

    Args:
        value: Any cell.

    Returns:
        True if it can be encoded as a text.
    """
    return isinstance(value, str) and bool(value.strip())


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
        The same with None for them, (n,). ``NA`` stays among codes of two letters, as Namibia.
    """
    known = {answer for answer in set(answers.tolist()) - {None} if not _is_marker(str(answer))}
    is_code = bool(known) and all(len(str(answer)) == 2 for answer in known)
    return np.array(
        [
            None if a is not None and _is_marker(str(a)) and not (is_code and a == "NA") else a
            for a in answers
        ],
        dtype=object,
    )


def _is_marker(answer: str) -> bool:
    plain = " ".join(re.split(r"[\s_]+", answer.casefold())).strip(" .")
    return plain in _NO_ANSWER or plain.startswith(_REFUSALS)
