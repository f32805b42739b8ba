"""What a data set says about itself, and what readers share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mcstl.annotations import Labels, Task, read_table
from mcstl.errors import InputError, did_you_mean, listed


@dataclass(frozen=True)
class Source:
    """A registered data set: where it comes from, and how its own files become a table.

    A new one is a file of this folder with a `SOURCE`, named in `mcstl.datasets`.

    `files` are paths below the data set's folder. `counts` are what the whole data set holds, of
    ``annotations``, ``items`` and ``annotators``. `tasks` maps every task form that the data set
    serves to its default ordered labels; the first is the default. `groups` is the default of a
    study's ``groups``. `read` takes the data set's folder and a task, and returns the columns of
    the annotations contract with the raw labels in ``label``; every other column is an attribute
    of the annotator. A reader that leaves rows out counts them, by reason, in the table's
    ``attrs["dropped"]``.
    """

    name: str
    title: str
    licence: str
    homepage: str
    files: tuple[str, ...]
    counts: Mapping[str, int]
    tasks: Mapping[Task, Labels]
    groups: Mapping[str, object]
    read: Callable[[Path, Task], pd.DataFrame]
    attributes: tuple[str, ...] = ()
    warning: str = ""


def read_columns(path: Path, columns: tuple[str, ...], *, quotes: bool = True) -> pd.DataFrame:
    """Read a table and check that it has `columns`; `quotes` as in `read_table`.

    Raises InputError if the file cannot be read or lacks a column.
    """
    table = read_table(path, quotes=quotes)
    found = [str(name) for name in table.columns]
    for name in columns:
        if name not in found:
            raise InputError(
                f"column {name!r} is not in {path}; found: {listed(found)}."
                f"{did_you_mean(name, found)} Is it the source's own file?"
            )
    return table
