"""Single cells of a table: what is missing, what is equal, and how they read as text."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support.arrays import ObjectArray


def mapped(column: pd.Series, function: Callable[[Any], object]) -> ObjectArray:
    """Return the (n,) results of `function`, called once per distinct cell, or list."""
    cells = column.to_numpy(dtype=object)
    try:
        codes, distinct = pd.factorize(cells, use_na_sentinel=False)
    except TypeError:  # lists
        codes, distinct = np.arange(len(cells)), cells
    return np.fromiter(map(function, distinct), dtype=object, count=len(distinct))[codes]


def objects(cells: Iterable[object]) -> pd.Series:
    """Return a column of Python objects, whatever type pandas would infer for them."""
    return pd.Series(list(cells), dtype=object)


def comparable(value: object) -> float | str:
    """Return `value` as labels are compared: a number where it is one, else its stripped text.

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
    """Text of a cell, whole numbers without a decimal point."""
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value).strip()


def cell_text(value: object) -> str | None:
    """Return the text of a cell, whole numbers without a decimal point; None if it is missing.

    >>> cell_text(3.0), cell_text(" No "), cell_text(""), cell_text(float("nan"))
    ('3', 'No', None, None)
    """
    return None if is_missing(value) else shown(value)


def is_missing(value: object) -> bool:
    """Say whether a cell holds nothing: blank text, NaN, None, or pandas' NA and NaT."""
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, float | np.floating):
        return bool(np.isnan(value))
    return value is None or value is pd.NA or value is pd.NaT


def is_usable_text(value: object) -> bool:
    """Say whether a cell is text that is not blank."""
    return isinstance(value, str) and bool(value.strip())


def as_values(cell: object) -> list[str]:
    """Return the distinct names in a cell of ``values``: a list, or text split at ``|``."""
    if isinstance(cell, str):
        parts: Iterable[object] = cell.split("|")
    elif isinstance(cell, list | tuple | set | np.ndarray):
        parts = cell
    else:
        parts = (cell,)
    return list(dict.fromkeys(shown(part) for part in parts if not is_missing(part)))
