"""The one writer of CSV: every cell survives the way out and back, whatever is in it.

`mcstl.data.tables.read_table` is the one reader. Files that people open in a spreadsheet are
written with a guard against cells that a spreadsheet would run as a formula.
"""

import csv
import math
from collections.abc import Iterable
from pathlib import Path
from typing import TextIO

from mcstl._support import files

#: What a spreadsheet takes for the start of a formula, full-width forms included, or skips before
#: one (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def write_csv(
    path: Path, names: Iterable[str], rows: Iterable[Iterable[object]], *, guard: bool = False
) -> None:
    """Write a table as CSV, whole or not at all.

    Args:
        path: The file to write; its folder is made where it is missing.
        names: The columns.
        rows: The cells of each row, in the order of the columns; None is the empty cell.
        guard: Whether to guard every text against spreadsheets, as `guarded` does.

    """
    with (
        files.replacing(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as stream,
    ):
        write_rows(stream, [names], guard=guard)
        write_rows(stream, rows, guard=guard)


def write_rows(
    stream: TextIO,
    rows: Iterable[Iterable[object]],
    *,
    separator: str = ",",
    guard: bool = False,
) -> None:
    """Write rows of cells, without a header, to a file that is open.

    Args:
        stream: A text file that was opened with ``newline=""``.
        rows: The cells of each row; None is the empty cell.
        separator: What stands between cells: a comma, or a tab in TSV.
        guard: Whether to guard every text against spreadsheets, as `guarded` does.

    """
    # The line end of RFC 4180: with another one Python leaves a lone "\r" in a cell unquoted,
    # and readers take it for the end of the row.
    writer = csv.writer(stream, delimiter=separator, lineterminator="\r\n")
    if guard:
        rows = ([guarded(c) if isinstance(c, str) else c for c in row] for row in rows)
    writer.writerows(rows)


def guarded(text: str) -> str:
    """Put ``'`` before a text that a spreadsheet would run as a formula.

    A number stays one, whatever its sign. A text that starts with ``'`` before a formula gets
    another one, so that `unguarded` can tell the two apart.

    Args:
        text: A cell.

    Returns:
        The cell to write.

    >>> guarded("=1+1"), guarded("-5"), guarded("- a point"), guarded("plain")
    ("'=1+1", '-5', "'- a point", 'plain')

    """
    return f"'{text}" if _starts_formula(text.lstrip("'")) else text


def unguarded(text: str) -> str:
    """Undo `guarded`.

    Args:
        text: A cell of a file that was written with the guard.

    Returns:
        The cell as it was before.

    >>> unguarded("'=1+1"), unguarded("'tis plain")
    ('=1+1', "'tis plain")

    """
    is_guarded = text.startswith("'") and _starts_formula(text.lstrip("'"))
    return text[1:] if is_guarded else text


def _starts_formula(text: str) -> bool:
    return text.startswith(_FORMULA) and not _is_number(text)


def _is_number(text: str) -> bool:
    # Python also reads "infinity" and "1_0" as numbers, which people write as words.
    try:
        return math.isfinite(float(text)) and "_" not in text
    except ValueError:
        return False
