"""What has been guessed of a table so far."""

from dataclasses import dataclass, field
from functools import cached_property

import pandas as pd

from mcstl._support.errors import InputError, listed
from mcstl.studies.first_study.columns import Column, Guess
from mcstl.studies.first_study.words import OFTEN


@dataclass
class GuessedTable:
    """The columns of a table, and what has been guessed of them so far.

    Attributes:
        source: The name of the table.
        n_rows: Its annotations.
        columns: Its columns, laid out with a row per annotation.
        file_columns: The names of those that are in the file itself.
        made: The names of those that the layout makes.
        guesses: By our name of a column, which of the table's it is.
        parts: The columns that are parts of the text, in their order, where it has several.
        prompts: The columns that both texts of a pair answer, in their order.
        leaks: The columns that give the label away.
        notes: What a reader must know of columns that have no use.
    """

    source: str
    n_rows: int
    columns: list[Column]
    file_columns: frozenset[str]
    made: frozenset[str] = frozenset()
    guesses: dict[str, Guess] = field(default_factory=dict)
    parts: list[Column] = field(default_factory=list)
    prompts: list[Column] = field(default_factory=list)
    leaks: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[Column]:
        """The columns that have no use yet."""
        used = {guess.column.name for guess in self.guesses.values()}
        used |= {column.name for column in (*self.parts, *self.prompts)}
        return [column for column in self.columns if column.name not in used]

    @property
    def pair(self) -> tuple[Column, Column] | None:
        """The two texts, the preferred one first where that is known."""
        for first, second in (("chosen", "rejected"), ("text_a", "text_b")):
            if first in self.guesses:
                return self.guesses[first].column, self.guesses[second].column
        return None

    @cached_property
    def shown(self) -> pd.Series:
        """What is judged, once it is guessed: the text, or the unordered pair."""
        several = self.pair or self.parts
        if not several:
            return self.guesses["text"].column.cells
        cells = [column.cells.fillna("") for column in several]
        order = sorted if self.pair else list
        asked = [column.cells.fillna("") for column in self.prompts]
        rows = zip(*asked, *cells, strict=True)
        n = len(asked)
        keys = ["\0".join([*texts[:n], *order(texts[n:])]) for texts in rows]
        return pd.Series(keys, dtype=object)

    @property
    def annotators(self) -> pd.Series | None:
        """Who gave each row, once it is guessed."""
        guess = self.guesses.get("annotator")
        return guess.column.cells if guess else None

    @property
    def comments_on_texts(self) -> list[Column]:
        """Columns of prose that differ between the annotations of a text, so may say why."""
        return [
            column
            for column in self.left
            if column.is_prose
            and column.varies_within(self.shown) != 0
            and column.cells.notna().mean() >= OFTEN
            and column.counts.iloc[0] <= self.n_rows / 2
        ]

    def nothing_for(self, what: str, name: str) -> InputError:
        """Make the error that no column looks like what is needed.

        Args:
            what: What is needed, in words.
            name: Our name of that column.

        Returns:
            The error.
        """
        return InputError(
            f"no column of {self.source} looks like {what}; found: "
            f"{listed(column.name for column in self.columns)}. Write the study by hand, as "
            f"data: {{file: {self.source}, columns: {{{name}: THE_COLUMN, ...}}}}"
        )
