"""What a data set says about itself, and what readers share."""

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support.errors import InputError, brief, need_names
from mcstl.data.cells import cell_text, mapped
from mcstl.data.labels import Labels, Task
from mcstl.data.tables import read_table

#: Above this share of ids without a partner, files do not belong together.
_MOST_UNJOINED = 0.05
_TRAILING_COMMA = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])')


@dataclass(frozen=True)
class Source:
    """A registered data set: where it comes from, and how its own files become a table.

    A new one is a file of this folder with its `SOURCES`, named in `mcstl.datasets`.

    Its files are in the `folder` of the data directory, which is named as the source unless it is
    given; `files` are paths below it, or patterns of which one file has to match. `counts` are what
    the whole data set holds, of ``annotations``, ``items``, ``annotators`` or whatever the reader
    counts; `about` are those that are stated in thousands only. `tasks` maps every task form that
    the data set serves to its default ordered labels; the first is the default. `groups` is the
    default of a study's ``groups``, `choices` says which others its columns allow. `gated`
    are the steps by which a person gets files that cannot be downloaded. `columns` are those that a
    study's ``columns`` may map to the names that a user's files have.

    `read` takes the data set's folder and a task (and, if there are `columns`, the mapping), and
    returns the columns of the annotations contract with the raw labels in ``label``; every other
    column is an attribute of the annotator. A reader that leaves rows out counts them, by reason,
    in the table's ``attrs["dropped"]``; what else it counted is in ``attrs["counts"]``.
    """

    name: str
    title: str
    licence: str
    homepage: str
    files: tuple[str, ...]
    counts: Mapping[str, int]
    tasks: Mapping[Task, Labels]
    groups: Mapping[str, object]
    read: Callable[..., pd.DataFrame]
    about: Mapping[str, int] = field(default_factory=dict)
    attributes: tuple[str, ...] = ()
    warning: str = ""
    folder: str = ""
    choices: str = ""
    gated: str = ""
    columns: tuple[str, ...] = ()


def read_columns(path: Path, columns: Sequence[str], *, quotes: bool = True) -> pd.DataFrame:
    """Read a table and check that it has `columns`; `quotes` as in `read_table`.

    Raises InputError if the file cannot be read or lacks a column.
    """
    table = read_table(path, quotes=quotes)
    need_names(columns, table.columns, str(path), hint="Is it the source's own file?")
    return table


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON file of keys, also where a comma stands before a closing bracket.

    Raises InputError for anything else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        try:
            found = json.loads(text)
        except json.JSONDecodeError:
            found = json.loads(_TRAILING_COMMA.sub(lambda match: match[1] or "", text))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not JSON ({error.msg} in line {error.lineno}); is it whole?"
        ) from error
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read: {brief(error, 100)}") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} is not as the source's: expected an object of entries by id")
    return found


def check_joined(lost: int, of: int, what: str) -> None:
    """Raise InputError if `lost` of `of` ids found no partner, which is too many to be chance."""
    if lost > _MOST_UNJOINED * of:
        raise InputError(f"{lost:,} of {of:,} {what}; are the files whole and of the same version?")


def banded(column: pd.Series, edges: Sequence[float], names: Sequence[str]) -> pd.Series:
    """Return the name of the band that each number is in, None for what is no number.

    The first band ends below the first of `edges`; there is one name more than edges.

    >>> banded(pd.Series(["19", "30.0", "DATA_EXPIRED"]), [30, 45], ["young", "middle", "old"])
    0     young
    1    middle
    2      None
    dtype: object
    """
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float)
    places = np.searchsorted(edges, numbers, side="right")
    bands = [None if np.isnan(x) else names[k] for x, k in zip(numbers, places, strict=True)]
    return pd.Series(bands, index=column.index, dtype=object)


def without(column: pd.Series, *missing: str) -> pd.Series:
    """Return a column in which answers that are none are missing."""
    cells = mapped(column, cell_text)
    return pd.Series([None if c in missing else c for c in cells], column.index, dtype=object)
