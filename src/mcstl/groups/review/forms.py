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


def read_csv(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """Read a form that was filled in; empty cells are "". Raises InputError if it is none."""
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


def answered(row: Row, column: str, allowed: Sequence[str], where: str) -> str:
    """Return a cell that must be empty or one of `allowed`. Raises InputError if it is not."""
    answer = row[column].casefold()
    if answer and answer not in allowed:
        raise InputError(
            f"{where}: {column} is {brief(row[column])!r}; expected {listed(allowed)} or nothing"
        )
    return answer
