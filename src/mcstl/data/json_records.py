"""JSON as tables: what of a document is a row."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mcstl._support.errors import InputError, brief

_HALF_OF_A_PAIR = re.compile(r"[\ud800-\udfff]")
_FORMS = (
    'expected a list of objects, as [{"text": "...", "label": 1}, ...], or objects by id, as '
    '{"7": {"text": "..."}, ...}'
)


def parsed(text: str, place: str) -> Any:
    """Parse JSON, and say what is wrong with it.

    Args:
        text: The JSON.
        place: Where it stands, for messages.

    Returns:
        What it holds.

    Raises:
        InputError: It is no JSON, or holds half of a surrogate pair.
    """
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"{place} is not JSON ({error.msg} at character {error.pos}); is the file whole?"
        ) from error
    except RecursionError:
        raise InputError(f"{place} is not JSON that can be read: it is nested too deep") from None
    # Only an escape can bring one in: UTF-8 has none.
    escaped = "\\ud" in text.lower()
    if escaped and _HALF_OF_A_PAIR.search(json.dumps(value, ensure_ascii=False)):
        raise InputError(
            f"{place} holds half of a surrogate pair (a cut emoji), which "
            "is no text; drop it or write the file anew as UTF-8"
        )
    return value


def records_of(document: Any, path: Path) -> list[dict[str, Any]]:
    """Find the rows of a JSON document.

    It may be a list of objects; an object of objects by id, which becomes the column ``id``; an
    object of columns, each a list or, as pandas writes it, an object by row; the names of columns
    beside lists of cells; or an object with one of these inside, beside what is said about it.

    Args:
        document: What the file holds.
        path: The file, for messages.

    Returns:
        A record per row.

    Raises:
        InputError: It is none of these.
    """
    if isinstance(document, list):
        return _checked(document, path)
    if not isinstance(document, dict) or not document:
        raise InputError(f"{path} is no table; {_FORMS}")
    parts = list(document.values())
    if all(isinstance(part, dict) for part in parts):
        rows = list(parts[0])
        by_row = rows == [str(i) for i in range(len(rows))]
        if by_row and rows and all(list(part) == rows for part in parts):
            return [{name: document[name][row] for name in document} for row in rows]
        records = ({"id": key} | part for key, part in document.items())
        return _checked(list(records), path)
    columns, data = document.get("columns"), document.get("data")
    if isinstance(columns, list) and isinstance(data, list) and data:
        cells = [row for row in data if isinstance(row, list) and len(row) == len(columns)]
        if len(cells) == len(data):
            return [dict(zip(map(str, columns), row, strict=True)) for row in cells]
    if all(isinstance(part, list) for part in parts):
        lengths = {len(part) for part in parts}
        is_records = all(part and isinstance(part[0], dict) for part in parts)
        if len(lengths) == 1 and not is_records:
            return [dict(zip(document, row, strict=True)) for row in zip(*parts, strict=True)]
    inside = [part for part in parts if isinstance(part, list) and _are_objects(part)]
    if len(inside) == 1:
        return _checked(inside[0], path)
    names = ", ".join(brief(key, 20) for key in list(document)[:5])
    raise InputError(f"{path} is an object with {names}, and none of it is a table; {_FORMS}")


def _are_objects(rows: Sequence[object]) -> bool:
    return bool(rows) and all(isinstance(row, Mapping) for row in rows)


def _checked(rows: list[Any], path: Path) -> list[dict[str, Any]]:
    for number, row in enumerate(rows, 1):
        if not isinstance(row, dict):
            raise InputError(f"entry {number} of {path} is {brief(row)!r}, not an object; {_FORMS}")
    return rows
