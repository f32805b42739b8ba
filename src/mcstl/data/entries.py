"""Objects in the cells of a table, and lists of objects: their entries as columns of their own.

An entry is called by the names of the column and of what it stands under, as ``rater.age`` of
``{"age": 31, "gender": "woman"}``. Of a list of objects, as of all annotations of a text, it is the
list of what stands in each.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import pandas as pd

from mcstl._support.errors import need_names
from mcstl.data.cells import is_missing, literal, mapped, objects
from mcstl.data.conversations import whole_conversation

#: Objects are taken apart where nearly all rows have the same few keys.
_MOST_KEYS, _NEARLY_ALL = 12, 0.9


def entries_of(column: pd.Series) -> pd.Series | None:
    """Read the objects in the cells of a column.

    Args:
        column: Mappings, or lists of mappings, or either as JSON or Python writes it.

    Returns:
        Mappings or lists of them, missing as None; None where a cell is anything else, as a
        conversation, or all are missing.
    """
    first = next((cell for cell in column if not _is_empty(cell)), None)
    if _as_object(first) is None:
        return None
    cells = mapped(column, lambda cell: None if _is_empty(cell) else _as_object(cell) or False)
    return None if any(cell is False for cell in cells) else objects(cells)


def with_entries(
    frame: pd.DataFrame, whole: Collection[str] = (), apart: Collection[str] = ()
) -> pd.DataFrame:
    """Make columns of the entries of objects, instead of the columns that hold the objects.

    Objects whose keys differ from row to row, or are the numbers of people, stay as they are: they
    say something by person.

    Args:
        frame: The table.
        whole: Columns that stay, and with them others with a key in common.
        apart: Columns that are taken apart even where their keys are numbers.

    Returns:
        The table, in the order of its columns.
    """
    kept = {key for name in whole for key in _keys(entries_of(frame[name]))}
    columns: dict[str, pd.Series] = {}
    for name, column in frame.items():
        entries = entries_of(column)
        keys = _keys(entries)
        stays = name in whole or bool(kept & {*keys})
        if entries is None or stays or not _are_usual(entries, keys, numbered=name in apart):
            columns[str(name)] = column
            continue
        for key in keys:
            columns[f"{name}.{key}"] = follow(entries, [key], str(name)).set_axis(frame.index)
    return pd.DataFrame(columns, index=frame.index)


def follow(cells: pd.Series, keys: Sequence[str], source: str) -> pd.Series:
    """Follow keys into objects.

    Args:
        cells: Mappings or lists of mappings, as `entries_of` gives them.
        keys: One key under the other.
        source: What the objects are called in messages.

    Returns:
        What stands there, missing as None; of a list of objects, the list of what stands in each.

    Raises:
        InputError: No object has such a key.
    """
    for key in keys:
        need_names([key], _keys(cells), source, what="entry")
        cells = objects(_entry(cell, key) for cell in cells)
    return cells


def is_object(column: pd.Series) -> bool:
    """Say whether cells are objects, which are no answer of a person.

    Args:
        column: The column.

    Returns:
        True if a cell is a mapping, or a list of mappings.
    """
    return any(_objects_in(cell) for cell in column)


def _is_empty(cell: Any) -> bool:
    if isinstance(cell, str):
        return cell.strip() in ("", "{}", "[]")
    return len(cell) == 0 if hasattr(cell, "__len__") else is_missing(cell)


def _entry(cell: Any, key: str) -> Any:
    if isinstance(cell, Mapping):
        return cell.get(key)
    return [each.get(key) for each in cell] if _objects_in(cell) else None


def _objects_in(cell: Any) -> list[Mapping[str, Any]]:
    """The object that a cell is, or those that it lists."""
    if isinstance(cell, Mapping):
        return [cell]
    is_list = not isinstance(cell, str) and hasattr(cell, "__len__") and len(cell) > 0
    return [*cell] if is_list and all(isinstance(each, Mapping) for each in cell) else []


def _keys(entries: pd.Series | None) -> list[str]:
    """The keys of all objects, in the order of the first."""
    each = [one for cell in (() if entries is None else entries) for one in _objects_in(cell)]
    return list(dict.fromkeys(str(key) for one in each for key in one))


def _are_usual(entries: pd.Series, keys: Sequence[str], *, numbered: bool) -> bool:
    each = [one for cell in entries for one in _objects_in(cell)]
    usual = all(sum(key in one for one in each) >= _NEARLY_ALL * len(each) for key in keys)
    people = all(re.fullmatch(r"\D*\d+", key) for key in keys)
    return usual and len(keys) <= _MOST_KEYS and (numbered or not people)


def _as_object(cell: Any) -> Any:
    """The object or the list of objects that a cell is, or is written as; None if it is neither."""
    value = cell
    if isinstance(cell, str) and cell.strip()[:1] in ("{", "["):
        value = literal(cell.strip())
    is_conversation = isinstance(whole_conversation(value), str)
    return value if _objects_in(value) and not is_conversation else None
