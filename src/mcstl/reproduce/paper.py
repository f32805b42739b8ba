"""The paper's printed tables and figures, and the study behind each row: `paper.yaml`, checked."""

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mcstl._support import files
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.studies.study_file import Study


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Block(_Part):
    """A data set's rows of a table: what was printed, by method, and the studies that find it."""

    title: str
    studies: tuple[str, ...]
    like: tuple[str, ...]
    printed: dict[str, tuple[float, float, float, float, float, float, float, float]]


class PrintedTable(_Part):
    """A table of figures."""

    title: str
    blocks: tuple[Block, ...]


class PrintedSummaries(_Part):
    """A table of summaries of value groups."""

    title: str
    study: str
    like: str
    printed: tuple[str, ...]


class FigureRow(_Part):
    """A data set's panels in a figure; `groups` is how many of them, the first ones, if not all."""

    title: str
    study: str
    like: str
    groups: int | None = None


class PrintedFigure(_Part):
    """A figure: one method's calibration, or its course over epochs."""

    title: str
    method: str
    rows: tuple[FigureRow, ...]
    over_epochs: bool = False


class Paper(_Part):
    """Everything of the paper that a study can find again."""

    studies: dict[str, dict[str, Any]]
    tables: dict[str, PrintedTable]
    summaries: dict[str, PrintedSummaries]
    figures: dict[str, PrintedFigure]

    @property
    def names(self) -> list[str]:
        """The names of tables and figures, as ``table1`` and ``figure3``."""
        return [*sorted([*self.tables, *self.summaries]), *self.figures]

    def chosen(self, name: str) -> list[str]:
        """Return the names that a user's word means. Raises InputError if it means none.

        >>> paper().chosen("table4")
        ['table4']
        """
        if name == "all":
            return self.names
        if name not in self.names:
            known = [*self.names, "all"]
            raise InputError(
                f"there is no {name!r} in the paper; choose from {listed(known, 20)}."
                f"{did_you_mean(name, known)}"
            )
        return [name]

    def study(self, key: str, seeds: int) -> Study:
        """Return a study with as many seeds. Raises InputError where this mcstl cannot run it."""
        return Study(**{"name": key, **self.studies[key], "seeds": seeds})


@cache
def paper() -> Paper:
    """Return what the paper prints, by the names of its tables and figures.

    >>> paper().tables["table1"].blocks[0].printed["mc-stl"]
    (0.76, 0.74, 0.02, 0.99, 0.04, 0.0, 0.03, 0.58)
    """
    return Paper(**files.read_yaml(Path(__file__).with_name("paper.yaml")))
