"""The names that people, or a language model, give clusters instead of their automatic ones."""

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from mcstl._support.csv_files import unguarded
from mcstl._support.errors import InputError, Notice, brief, listed, need_names
from mcstl.data.cells import cell_text, comparable
from mcstl.data.tables import read_table

#: The columns of a table of names; ``about`` is for those who fill it in.
COLUMNS = ("group", "name", "about")
_LONGEST = 60


def read_names(path: str | Path) -> dict[str, str]:
    """Read a table of names.

    Args:
        path: The table, with the columns ``group`` (the automatic name) and ``name``.

    Returns:
        The names that are given, by automatic name; an empty cell gives none.

    Raises:
        InputError: The table cannot be read, lacks a column, or has a name that cannot be used.
    """
    table = read_table(Path(path))
    hint = "mcstl groups name STUDY --out names.csv writes such a table"
    need_names(COLUMNS[:2], table.columns, str(path), hint=hint)
    groups, names = (map(cell_text, table[column]) for column in COLUMNS[:2])
    pairs = zip(groups, names, strict=True)
    given = {unguarded(group): unguarded(name) for group, name in pairs if group and name}
    return check_names(given)


def check_names(given: Mapping[str, str]) -> dict[str, str]:
    """Check that names can stand for groups.

    Args:
        given: The names by automatic name.

    Returns:
        The same, each name on one line.

    Raises:
        InputError: A name is empty or too long, or two groups have the same.
    """
    names = {group: " ".join(name.split()) for group, name in given.items()}
    for group, name in names.items():
        if not name or len(name) > _LONGEST:
            raise InputError(
                f"the name of the group {brief(group)!r} is {brief(name)!r}, of {len(name)} "
                f"characters; expected 1 to {_LONGEST}"
            )
    distinct = {comparable(name) for name in names.values()}
    if len(distinct) < len(names):
        raise InputError(f"two groups have the same name: {listed(names.values(), 20)}")
    return names


def renamed(automatic: Sequence[str], given: Mapping[str, str]) -> list[str]:
    """Give groups the names that are given to them.

    An automatic name has the words that set a group apart, so that a name given to a cluster of
    other rows is not given to one with other words: a `Notice` says so.

    Args:
        automatic: (K,) the automatic names.
        given: Names by automatic name.

    Returns:
        (K,) names.
    """
    if lost := [name for group, name in given.items() if group not in automatic]:
        warnings.warn(
            f"names: no group is called as {listed(lost)} was given to; the groups are "
            f"{listed(automatic, 20)}. Clusters of other rows have other words: name them anew "
            "with mcstl groups name",
            Notice,
            stacklevel=2,
        )
    return [given.get(name, name) for name in automatic]
