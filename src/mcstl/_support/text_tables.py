"""Writers of tables: a header and rows of texts as Markdown, as plain text or for a terminal."""

import io
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

#: A last column that is wider than this sticks out of a padded table.
_LAST_WIDTH = 12


def markdown_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, padded: bool = False
) -> str:
    """Write a table in Markdown.

    Args:
        header: The headings.
        rows: A text per column; what Markdown would read as its own must be escaped.
        padded: Pad the columns and align them left, so that the text reads in a terminal too;
            otherwise all columns but the first are aligned right.

    Returns:
        The lines of the table.
    """
    lines = [list(header), *(list(row) for row in rows)]
    if not padded:
        rule = ["---", *["---:"] * (len(header) - 1)]
        return "\n".join(f"| {' | '.join(line)} |" for line in [lines[0], rule, *lines[1:]])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    widths[-1] = min(widths[-1], _LAST_WIDTH)
    written = [
        f"| {' | '.join(text.ljust(w) for text, w in zip(line, widths, strict=True))} |"
        for line in lines
    ]
    written.insert(1, f"|{'|'.join('-' * (w + 2) for w in widths)}|")
    return "\n".join(written)


def terminal_table(
    header: Sequence[str], rows: Iterable[Sequence[str]], *, title: str = "", caption: str = ""
) -> "Table":
    """Lay out a table for a terminal, all columns but the first aligned right.

    Args:
        header: The headings.
        rows: A text per column.
        title: What stands above the table.
        caption: What stands below it.

    Returns:
        The table, to be printed by a console of rich.
    """
    from rich.table import Table

    table = Table(
        title=title or None, caption=caption or None, title_justify="left", caption_justify="left"
    )
    for i, heading in enumerate(header):
        table.add_column(heading, justify="right" if i else "left", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    return table


def plain_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table as plain text without lines.

    Args:
        header: The headings.
        rows: A text per column.

    Returns:
        The lines of the table, without spaces at their ends.
    """
    from rich.console import Console

    table = terminal_table(header, rows)
    table.box, table.pad_edge = None, False
    console = Console(file=io.StringIO(), width=10_000, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
