"""The columns of a table under our names: mapped, joined from parts, or taken out of objects."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence

import pandas as pd

from mcstl._support.errors import InputError, brief, did_you_mean, listed, need_names
from mcstl.data.cells import comparable, mapped, objects
from mcstl.data.conversations import whole_conversation
from mcstl.data.entries import entries_of, follow, with_entries
from mcstl.data.parts import join_parts

#: The table's names by ours; a text in parts has several.
Columns = Mapping[str, str | Sequence[str]]
#: Columns with a meaning of their own; every other column is an attribute of the annotator.
KNOWN_COLUMNS = (
    "annotation_id",
    "item",
    "text",
    "text_a",
    "text_b",
    "chosen",
    "rejected",
    "label",
    "annotator",
    "rationale",
    "explanation",
    "inferred",
    "values",
    "weight",
    "split",
)
#: Columns that may be put together from several.
_TEXTS = ("text", "text_a", "text_b")
_IN_PARTS = (*_TEXTS, "chosen", "rejected")
#: A longer "name" of a column is rather a text of a file without a header.
_LONGEST_NAME = 60
#: The names that a saved index gets.
_NAMELESS = re.compile(r"$|Unnamed: \d+$|__index_level_\d+__$")


def renamed(frame: pd.DataFrame, columns: Columns, source: str) -> pd.DataFrame:
    """Copy a table under our names, without the columns that have none.

    Args:
        frame: The table.
        columns: The table's names by ours.
        source: What the table was read from, for messages.

    Returns:
        The columns that are mapped, and those that are not, whose names stay.

    Raises:
        InputError: A column is missing, there twice, or one that mcstl does not know.
    """
    frame = with_index(frame)
    named = [name for name in map(str, frame.columns) if not _NAMELESS.match(name)]
    repeated = sorted({name for name in named if named.count(name) > 1})
    if repeated:
        raise InputError(
            f"{source} has more than one column named {listed(repeated)}; rename all but one"
        )
    theirs_by_name = {str(name): frame[name] for name in frame.columns if str(name) in named}
    taken, used = dict[str, pd.Series](), set[str]()
    for ours, theirs in columns.items():
        if ours not in KNOWN_COLUMNS:
            raise InputError(
                f"columns: {brief(ours)!r} is not a column that mcstl knows; "
                f"known: {listed(KNOWN_COLUMNS)}.{did_you_mean(str(ours), KNOWN_COLUMNS)}"
            )
        parts = [theirs] if isinstance(theirs, str) or not isinstance(theirs, Sequence) else theirs
        if len(parts) != 1 and ours not in _IN_PARTS:
            raise InputError(
                f"columns: {ours} is one column, got {listed(parts) or 'none'}; only a text is put "
                "together from several"
            )
        series = [_column(theirs_by_name, str(part), used, source) for part in parts]
        if ours in _IN_PARTS:
            series = [*map(_texts, series)]
        taken[ours] = series[0] if len(series) == 1 else _joined(series)
    # One of the table's columns may serve twice, so copy, not rename; a text that is mapped to be
    # its own item stays the text, too.
    whole = [
        name
        for name in theirs_by_name
        if (name in used or name in KNOWN_COLUMNS) and not _is_entered(name, used)
    ]
    rest = with_entries(pd.DataFrame(theirs_by_name), whole)
    unmapped = {
        name: _texts(rest[name]) if name in _IN_PARTS else rest[name]
        for name in map(str, rest.columns)
        if name not in taken
        and name not in ("row", "flipped")
        and (name not in used or name in _TEXTS)
    }
    return pd.DataFrame({**taken, **unmapped}).reset_index(drop=True)


def has_columns(columns: Iterable[object], theirs: str | Sequence[str]) -> bool:
    """Say whether a table has a column, or all parts of one.

    Args:
        columns: The columns of the table.
        theirs: The name of the column, or those of its parts; entries of objects, as
            ``text.reply``, are known by the name before the dot.

    Returns:
        True if they are there.
    """
    names = [theirs] if isinstance(theirs, str) else theirs
    present = {*map(str, columns)}
    return all(name in present or name.partition(".")[0] in present for name in names)


def with_index(frame: pd.DataFrame) -> pd.DataFrame:
    """Make columns of the levels of the index that have names.

    Args:
        frame: A table.

    Returns:
        The table; a level whose name is also a column's stays out.
    """
    levels = [name for name in frame.index.names if name is not None and name not in frame.columns]
    return frame.reset_index(level=levels) if levels else frame


def header_hint(columns: Sequence[str]) -> str:
    """Say what the names of the columns give away about a file that was saved in another way.

    Args:
        columns: The names.

    Returns:
        A sentence, or nothing.
    """
    if len(columns) == 1 and (by := re.search("[;\t|,]", columns[0])):
        return f"The cells seem to be separated by {by.group()!r}: save it as CSV with commas."
    if any(len(name) > _LONGEST_NAME or isinstance(comparable(name), float) for name in columns):
        return "Is the row with the names of the columns missing?"
    return ""


def _column(columns: Mapping[str, pd.Series], name: str, used: set[str], source: str) -> pd.Series:
    """Look up a column, or an entry of the objects in one: ``text.reply``."""
    base = next((each for each in columns if name.startswith(f"{each}.")), None)
    if name not in columns and base is not None:
        entries = entries_of(columns[base])
        if entries is not None:
            used |= {base, name}
            keys = name.removeprefix(f"{base}.").split(".")
            cells = follow(entries, keys, f"{brief(base)!r} of {source}")
            return cells.set_axis(columns[base].index)
    need_names([name], columns, source, hint=header_hint([*columns]))
    used.add(name)
    return columns[name]


def _is_entered(name: str, used: Collection[str]) -> bool:
    """Whether an entry of a column of objects is mapped, and not the column."""
    return any(each.startswith(f"{name}.") for each in used)


def _texts(column: pd.Series) -> pd.Series:
    """Write conversations as texts."""
    return objects(mapped(column, whole_conversation)).set_axis(column.index)


def _joined(parts: Sequence[pd.Series]) -> pd.Series:
    """Make texts of their parts."""
    rows = zip(*(part.to_numpy(dtype=object) for part in parts), strict=True)
    return objects(map(join_parts, rows)).set_axis(parts[0].index)
