"""Writers of tables: a header and rows of texts as Markdown, as plain text or for a terminal."""

import textwrap
from collections.abc import Iterable, Sequence

#: A last column that is wider than this sticks out of a padded table.
_LAST_WIDTH = 12
#: What a column of a terminal's table takes beside its text, and how far the first is made narrow.
_BORDER, _FIRST_WIDTH = 3, 14


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
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    width: int | None = None,
    title: str = "",
    caption: str = "",
) -> str:
    """Lay out a table for a terminal, all columns but the first aligned right.

    Nothing is ever cut. Where the columns do not fit side by side, they come in several tables one
    below the other, each with the first column; where not even one fits beside the first, every
    row becomes a block of lines.

    Args:
        header: The headings.
        rows: A text per column, which may have several lines.
        width: How many characters a line may have; None for as many as it takes.
        title: What stands above the table.
        caption: What stands below it.

    Returns:
        The lines of the table, without spaces at their ends.
    """
    widths = [_width(column) for column in zip(header, *rows, strict=True)]
    parts = _side_by_side(widths, width)
    if parts is None:
        tables = [_block(header, row) for row in rows]
    else:
        first, columns = parts
        tables = [
            _rendered(
                [header[0], *(header[i] for i in part)],
                [[row[0], *(row[i] for i in part)] for row in rows],
                first,
            )
            for part in columns
        ]
    around = [wrapped(text, width) for text in (title, caption)]
    return "\n".join(text for text in (around[0], *tables, around[1]) if text)


def plain_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table as plain text without lines.

    Args:
        header: The headings.
        rows: A text per column.

    Returns:
        The lines of the table, without spaces at their ends.
    """
    return _rendered(header, rows, None, boxed=False)


def wrapped(text: str, width: int | None, indent: int = 0) -> str:
    r"""Break lines between words, so that a terminal does not break them within.

    A word that is longer than a line, such as a path, stays whole.

    Args:
        text: The text; its own line ends stay.
        width: How many characters a line may have; None to leave it as it is.
        indent: How many spaces the lines that follow the first begin with.

    Returns:
        The text.

    >>> wrapped("one two three", 8, indent=2)
    'one two\n  three'

    """
    if width is None:
        return text
    fill = textwrap.TextWrapper(
        max(width, indent + 8),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )
    return "\n".join(fill.fill(line) for line in text.split("\n"))


def _width(texts: Iterable[str]) -> int:
    """The most cells of a terminal that a line of some texts takes."""
    from rich.cells import cell_len

    return max(cell_len(line) for text in texts for line in text.split("\n"))


def _side_by_side(
    widths: Sequence[int], width: int | None
) -> tuple[int | None, list[list[int]]] | None:
    """Share the columns out over tables that fit.

    Returns the width of the first column (None: what it takes) and the others of each table; None
    where a column does not fit beside the first.
    """
    others = list(range(1, len(widths)))
    if width is None or sum(widths) + _BORDER * len(widths) + 1 <= width:
        return None, [others]
    first = min(widths[0], max(width // 3, _FIRST_WIDTH))
    room = width - first - _BORDER - 1
    if any(widths[i] + _BORDER > room for i in others):
        return None
    shares = _shared_out(widths, room)
    for narrower in range(room - 1, max(widths[1:]) + _BORDER - 1, -1):
        if len(closer := _shared_out(widths, narrower)) > len(shares):
            break
        shares = closer  # tables of about the same width
    return first, shares


def _shared_out(widths: Sequence[int], room: int) -> list[list[int]]:
    """Fill one table after the other with columns, but for the first."""
    shares: list[list[int]] = [[]]
    for i in range(1, len(widths)):
        if shares[-1] and sum(widths[j] + _BORDER for j in (*shares[-1], i)) > room:
            shares.append([])
        shares[-1].append(i)
    return shares


def _rendered(
    header: Sequence[str], rows: Iterable[Sequence[str]], first: int | None, *, boxed: bool = True
) -> str:
    from rich.console import Console
    from rich.table import Table

    table = Table() if boxed else Table(box=None, pad_edge=False)
    table.add_column(header[0], max_width=first, no_wrap=first is None, overflow="fold")
    for heading in header[1:]:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    # On standard output, whose encoding may have no lines to draw with, but nothing is printed.
    console = Console(width=10_000, color_system=None, markup=False, emoji=False, highlight=False)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())


def _block(header: Sequence[str], row: Sequence[str]) -> str:
    """A row as lines of its own, each a heading and a value."""
    widest = _width(header[1:])
    lines = [
        f"  {heading.ljust(widest)}  {' '.join(text.split())}"
        for heading, text in zip(header[1:], row[1:], strict=True)
    ]
    return "\n".join([" ".join(row[0].split()), *lines])
