"""A column of a user's table, and what tells it from the others."""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from mcstl._support.errors import listed
from mcstl.data.cells import cell_text, comparable, mapped, objects, without_markers
from mcstl.data.conversations import whole_conversation
from mcstl.studies.first_study.words import (
    ANNOTATOR,
    ITEM,
    LABEL,
    MOST_CLASSES,
    MOST_WORDS,
    SELDOM,
    TEXT,
)

#: Words that at least so many rows share, and that are no longer, are rather an answer than a text.
_LEAST_REPEATS, _LONGEST_ANSWER = 5, 40
_DATE = re.compile(r"\d{1,4}([-./])\d{1,2}\1\d{1,4}\b")
#: Of the cells that differ in the whole column, the share that may differ within a unit.
_SHARE_OF_STRAYS = 0.1


@dataclass(frozen=True, eq=False)
class Column:
    """A column of the table as text, with what tells columns apart.

    Attributes:
        name: The name of the column.
        cells: The cells as text, None where one is missing.
        lists: Whether the cells are lists; their parts are joined by "|".
        objects: Whether the cells are objects, or written as such.
    """

    name: str
    cells: pd.Series
    lists: bool
    objects: bool = False

    @cached_property
    def tokens(self) -> tuple[str, ...]:
        """The words of the name in the singular: rater, id of raterID, RATER_ID and raterid.

        Of an entry of annotations, as ``annotations.gender``, those of the entry.
        """
        base, _, entry = self.name.rpartition(".")
        return tokens_of(entry if base and {*tokens_of(base)} <= LABEL else self.name)

    @cached_property
    def words(self) -> frozenset[str]:
        """The distinct words of the name."""
        return frozenset(self.tokens)

    @cached_property
    def counts(self) -> pd.Series:
        """How often each distinct cell occurs, the most frequent first."""
        return self.cells.value_counts()

    @cached_property
    def length(self) -> float:
        """The mean length of the distinct cells in characters."""
        return float(np.mean([len(cell) for cell in self.counts.index] or [0]))

    @cached_property
    def is_number(self) -> bool:
        """Whether all cells are numbers."""
        return all(isinstance(comparable(cell), float) for cell in self.counts.index)

    @cached_property
    def is_prose(self) -> bool:
        """Whether cells hold some words each, rather than a number, a name or a class."""
        # In Thai, Chinese and Japanese two characters stand for a word: no blanks part them.
        breaks = [len(re.findall(r" |[\u0e00-\uffff]{2}", cell)) for cell in self.counts.index]
        worded = bool(np.mean(breaks or [0]) >= 1)
        is_text = not self.is_number and not self.lists and not self.objects
        n, n_rows = len(self.counts), len(self.cells)
        # "1 - not at all" is an answer that many rows give.
        is_answer = (
            n <= MOST_WORDS and n_rows >= _LEAST_REPEATS * n and self.length < _LONGEST_ANSWER
        )
        return is_text and worded and n > 2 and (not is_answer or bool(self.words & TEXT))

    @cached_property
    def is_date(self) -> bool:
        """Whether all cells are dates, as 03.02.2024 or 2024-02-03 10:15."""
        return all(_DATE.match(cell) for cell in self.counts.index)

    @property
    def has_few(self) -> bool:
        """Whether the distinct cells can be classes."""
        return 2 <= len(self.counts) <= (MOST_CLASSES if self.is_number else MOST_WORDS)

    def share_named(self, words: Collection[str]) -> float:
        """Compare the name with the words that such columns go by.

        Args:
            words: The words, in the singular.

        Returns:
            The share of the name's words that are among them.
        """
        return sum(token in words for token in self.tokens) / max(len(self.tokens), 1)

    def varies_within(self, units: pd.Series | None) -> float:
        """Measure in how many units the cells differ.

        Args:
            units: What each row belongs to, as its text or its annotator; None if not known.

        Returns:
            The share of the units of two or more rows in which rows differ, NaN if there are none.
        """
        if units is None:
            return math.nan
        by_unit = self.cells.groupby(units.to_numpy(dtype=object))
        several = by_unit.count() > 1
        return float((by_unit.nunique()[several] > 1).mean()) if several.any() else math.nan

    def is_of(self, units: pd.Series | None) -> bool:
        """Say whether the cells are a property of what the rows belong to, typing errors granted.

        Args:
            units: As in `varies_within`.

        Returns:
            True if cells of a unit are nearly always the same, and more so than all cells are.
        """
        if units is None or not len(self.counts):
            return False
        if self.varies_within(units) <= SELDOM:
            return True
        table = pd.crosstab(units.to_numpy(dtype=object), self.cells.to_numpy(dtype=object))
        table = table[table.sum(axis=1) > 1]
        total = table.to_numpy().sum()
        strays = 1 - table.max(axis=1).sum() / total if total else math.nan
        return bool(strays <= _SHARE_OF_STRAYS * (1 - self.counts.iloc[0] / self.counts.sum()))


class Guess(NamedTuple):
    """A column that is guessed to be the text, the label or another part of an annotation.

    Attributes:
        column: The column.
        why: The reason.
        alternatives: The names of the next best columns.
    """

    column: Column
    why: str
    alternatives: tuple[str, ...] = ()

    @property
    def comment(self) -> str:
        """Why, and what else it may be."""
        return self.why + (f"; or: {listed(self.alternatives, 5)}" if self.alternatives else "")


def columns_of(table: pd.DataFrame) -> list[Column]:
    """Take the columns of a table, without a saved index.

    Args:
        table: The table as it was read.

    Returns:
        Its columns in their order.
    """
    names = [str(name) for name in table.columns]
    # Without those of a saved index.
    return [column_of(table, name) for name in names if name and not name.startswith("Unnamed: ")]


def column_of(table: pd.DataFrame, name: str) -> Column:
    """Take one column of a table.

    Args:
        table: The table.
        name: The name of the column.

    Returns:
        The column.
    """
    cells = objects(mapped(table[name], whole_conversation))
    lists = any(isinstance(cell, list | tuple | np.ndarray | Mapping) for cell in cells)
    text = objects(without_markers(mapped(cells, lambda cell: cell_text(_joined(cell)))))
    written = [cell for cell in pd.unique(text) if cell is not None]
    are_objects = bool(written) and all(cell[0] in "{[" and cell[-1] in "}]" for cell in written)
    return Column(name, text, lists, are_objects)


def _joined(cell: object) -> object:
    return "|".join(map(str, cell)) if isinstance(cell, list | tuple | np.ndarray) else cell


def tokens_of(name: str) -> tuple[str, ...]:
    """Split a name into its words, in the singular.

    Args:
        name: The name of a column, or a label.

    Returns:
        The words in lower case.

    Example:
        >>> tokens_of("raterid"), tokens_of("text_a")
        (('rater', 'id'), ('text', 'a'))
    """
    parts = re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[^\W\d])(?=\d)|[\W_]+", " ", name)
    tokens = []
    for word in parts.casefold().split():
        stem = word.removesuffix("id")
        tokens += [stem, "id"] if stem != word and stem in ANNOTATOR | ITEM else [word]
    return tuple(
        token[:-1] if len(token) > 3 and re.search("[^siu]s$", token) else token for token in tokens
    )


def names_of(columns: Iterable[Column]) -> tuple[str, ...]:
    """Take the names of columns.

    Args:
        columns: The columns.

    Returns:
        Their names in their order.
    """
    return tuple(column.name for column in columns)
