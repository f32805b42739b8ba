"""Tables that people fill in, as HTML pages and as CSV, and how they are read back."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mcstl._support import pages
from mcstl._support.csv_files import unguarded
from mcstl._support.errors import InputError, brief, listed, need_names
from mcstl.data.tables import read_table

Row = Mapping[str, str]


def render_page(template: str, **gaps: Any) -> str:
    """Fill a template of ``templates/``; every text in it is escaped.

    Args:
        template: Name of the template.
        **gaps: What it shows, by name.

    Returns:
        The HTML page.
    """
    environment = pages.environment(
        "mcstl.groups.review",
        percent=lambda share: f"{share:.0%}",
        figure=lambda x: "–" if x != x else f"{x:.2f}",
        # Inside a script element nothing may look like the end of one.
        script=lambda value: Markup(json.dumps(value).replace("<", "\\u003c")),  # noqa: S704
    )
    return environment.get_template(template).render(gaps)


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a form that was filled in.

    Args:
        path: The file.
        columns: Names of the columns that it must have.

    Returns:
        The rows, with "" in empty cells.

    Raises:
        InputError: The file cannot be read, or lacks a column.
    """
    table = read_table(path)
    need_names(
        columns,
        table.columns,
        str(path),
        hint="Fill in the CSV as it was written, or save it from the page",
    )
    rows = table[list(columns)].fillna("").astype(str)
    return [
        {str(name): unguarded(cell).strip() for name, cell in row.items()}
        for row in rows.to_dict("records")
    ]


def read_answer(row: Row, column: str, allowed: Sequence[str], where: str) -> str:
    """Read a cell that must be empty or one of some answers.

    Args:
        row: The row.
        column: Name of the column.
        allowed: The answers, in lower case.
        where: What the error calls the row.

    Returns:
        The answer, "" for none.

    Raises:
        InputError: It is another one.
    """
    answer = row[column].casefold()
    if answer and answer not in allowed:
        raise InputError(
            f"{where}: {column} is {brief(row[column])!r}; expected {listed(allowed)} or nothing"
        )
    return answer
