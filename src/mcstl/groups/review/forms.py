"""Tables that people fill in, as HTML pages and as CSV, and how they are read back."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mcstl._support import files, pages
from mcstl._support.errors import InputError, brief, listed
from mcstl.data.tables import read_table

Row = Mapping[str, str]


def page(template: str, **gaps: Any) -> str:
    """Return an HTML page of ``templates/``; every text in it is escaped."""
    environment = pages.environment(
        "mcstl.groups.review",
        percent=lambda share: f"{share:.0%}",
        figure=lambda x: "–" if x != x else f"{x:.2f}",
        # Inside a script element nothing may look like the end of one.
        script=lambda value: Markup(json.dumps(value).replace("<", "\\u003c")),  # noqa: S704
    )
    return environment.get_template(template).render(gaps)


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write rows with `columns`, whole or not at all.

    A cell that a spreadsheet would run as a formula is written with a quote before it.
    """
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as f:
        writer = csv.writer(f)
        writer.writerow(columns)
        writer.writerows([_harmless(row.get(name, "")) for name in columns] for row in rows)


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a form that was filled in; empty cells are "". Raises InputError if it is none."""
    table = read_table(path)
    missing = [name for name in columns if name not in table.columns]
    if missing:
        raise InputError(
            f"{path} lacks the column {listed(missing)}; found: {listed(table.columns)}. Fill in "
            "the CSV as it was written, or save it from the page"
        )
    rows = table[list(columns)].fillna("").astype(str)
    return [
        {str(name): cell.strip() for name, cell in row.items()} for row in rows.to_dict("records")
    ]


def answered(row: Row, column: str, allowed: Sequence[str], where: str) -> str:
    """Return a cell that must be empty or one of `allowed`. Raises InputError if it is not."""
    answer = row[column].casefold()
    if answer and answer not in allowed:
        raise InputError(
            f"{where}: {column} is {brief(row[column])!r}; expected {listed(allowed)} or nothing"
        )
    return answer


def _harmless(cell: str) -> str:
    return f"'{cell}" if cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell
