"""The description of a registered data set, and what its readers share."""

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

    Attributes:
        name: The name by which a study asks for it.
        title: What the data are, in one line.
        licence: The licence, or the terms, of the data.
        homepage: Where the data come from.
        files: Paths below the data set's folder, or patterns that one file has to match.
        counts: What the whole data set holds, by what is counted: ``annotations``, ``items``,
            ``annotators`` or anything that the reader counts.
        tasks: Every task form that the data set serves, and its default ordered labels; the first
            form is the default.
        groups: The default of a study's ``groups``.
        read: Takes the data set's folder and a task (and, if there are `columns`, the mapping),
            and returns a table for `Annotations.from_frame` with the raw labels in ``label``;
            columns that are not ours are attributes of the annotator. A reader that leaves rows
            out counts them, by reason, in the table's ``attrs["dropped"]``; what else it counted
            is in ``attrs["counts"]``.
        about: Counts that the source states in thousands only.
        attributes: Columns that describe the annotators.
        warning: The content warning.
        folder: The data set's folder in the data directory, if it is not named as the data set.
        choices: Which other ``groups`` the columns allow, as text.
        gated: The steps by which a person gets files that cannot be downloaded.
        columns: Names that a study's ``columns`` may map to those in a user's files.
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
    """Read a table of a source and check that it has the columns that are needed.

    Args:
        path: The file.
        columns: The columns that are needed.
        quotes: Whether ``"`` quotes cells, as in `read_table`.

    Returns:
        The table with all its columns.

    Raises:
        InputError: The file cannot be read or lacks a column.
    """
    table = read_table(path, quotes=quotes)
    need_names(columns, table.columns, str(path), hint="Is it the source's own file?")
    return table


def read_json(path: Path) -> dict[str, Any]:
    """Read a JSON object from a file, even if a comma stands before a closing bracket.

    Args:
        path: The file.

    Returns:
        The object.

    Raises:
        InputError: The file cannot be read or holds anything else.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
        try:
            content = json.loads(text)
        except json.JSONDecodeError:
            content = json.loads(_TRAILING_COMMA.sub(lambda match: match[1] or "", text))
    except json.JSONDecodeError as error:
        raise InputError(
            f"{path} is not JSON ({error.msg} in line {error.lineno}); is it whole?"
        ) from error
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} cannot be read: {brief(error, 100)}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is not as the source's: expected an object of entries by id")
    return content


def check_joined(lost: int, total: int, what: str) -> None:
    """Check that files belong together: nearly all ids of one are in the other.

    Args:
        lost: How many ids have no partner.
        total: How many ids there are.
        what: What is lost, for the message, after the two numbers.

    Raises:
        InputError: More than 5% are lost.
    """
    if lost > _MOST_UNJOINED * total:
        raise InputError(
            f"{lost:,} of {total:,} {what}; are the files whole and of the same version?"
        )


def banded(column: pd.Series, edges: Sequence[float], names: Sequence[str]) -> pd.Series:
    """Sort numbers into named bands.

    Args:
        column: Numbers, or their text, (n,).
        edges: Where each band but the first begins, ascending.
        names: The names of the bands, one more than edges.

    Returns:
        (n,) the name of each number's band, None for what is no number.

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
    """Make answers that are none missing.

    Args:
        column: Answers, (n,).
        missing: Texts that mean that there is no answer.

    Returns:
        (n,) the answers as text, None where there is none.
    """
    cells = mapped(column, cell_text)
    return pd.Series([None if c in missing else c for c in cells], column.index, dtype=object)
