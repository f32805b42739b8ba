"""How messages name a table and its rows: rows as the user's own file counts them."""

from collections.abc import Iterable
from typing import Self

from mcstl._support.errors import listed

#: How rows are counted, by the number of the first one.
_COUNTING = {
    0: "counted from 0",
    1: "counted from 1",
    2: "row 1 has the names of the columns",
}


class Source(str):
    """The name of a table for messages, which knows how its rows are counted.

    Attributes:
        first_row: The number of its first row: 2 where the names of the columns are row 1, as a
            spreadsheet shows CSV, 1 in files without such a row, 0 for tables in memory.
    """

    first_row: int

    def __new__(cls, name: str, first_row: int = 0) -> Self:
        """Make a name of a table.

        Args:
            name: The name; one that knows how its rows are counted stays as it is.
            first_row: The number of its first row: 0, 1 or 2.

        Returns:
            The name.
        """
        source = super().__new__(cls, name)
        source.first_row = name.first_row if isinstance(name, Source) else first_row
        return source

    def rows(self, positions: Iterable[int]) -> str:
        """Name rows for a message.

        Args:
            positions: Where they are in the table as it was read; what several annotations were
                read from may be named more than once.

        Returns:
            Their distinct numbers, and how they are counted.

        >>> Source("reviews.csv", 2).rows([5, 5, 7])
        'row 7, 9 (row 1 has the names of the columns)'
        """
        numbers = dict.fromkeys(int(position) + self.first_row for position in positions)
        return f"row {listed(numbers, 5)} ({_COUNTING[self.first_row]})"
