"""The paper's printed tables and figures, and the study behind each row: `paper.yaml`, checked."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from mcstl._support import files
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.reproduce.lewidi.editions import editions
from mcstl.studies.study_file import Study

#: The methods of a study that names none: the paper's, and its two baselines.
PAPER_METHODS = ("mc-stl", "none", "majority")


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Block(_Part):
    """A data set's rows of a table.

    Attributes:
        title: The data set.
        studies: Keys of the studies behind the rows; none for rows of open data alone.
        like: Keys of studies of open data with the same structure.
        printed: What the paper prints by method: overall, group mean and sd, slope mean and sd,
            bias mean and sd, 1-EMD.
    """

    title: str
    studies: tuple[str, ...] = ()
    like: tuple[str, ...]
    printed: dict[str, tuple[float, float, float, float, float, float, float, float]]


class PrintedTable(_Part):
    """A table of metrics.

    Attributes:
        title: What the table is about.
        blocks: Its data sets.
    """

    title: str
    blocks: tuple[Block, ...]


class PrintedSummaries(_Part):
    """A table of summaries of value groups.

    Attributes:
        title: What the table is about.
        study: Key of the study behind it.
        like: Key of a study of open data with the same structure.
        printed: The paper's summaries.
    """

    title: str
    study: str
    like: str
    printed: tuple[str, ...]


class FigureRow(_Part):
    """A data set's panels in a figure.

    Attributes:
        title: The data set.
        study: Key of the study behind them.
        like: Key of a study of open data with the same structure.
        groups: How many groups are shown, the first ones; None for all.
    """

    title: str
    study: str
    like: str
    groups: int | None = None


class PrintedFigure(_Part):
    """A figure: one method's calibration in every group, or after every epoch.

    Attributes:
        title: What the figure is about.
        method: The method.
        rows: Its data sets.
        over_epochs: Whether it shows the calibration after every epoch.
    """

    title: str
    method: str
    rows: tuple[FigureRow, ...]
    over_epochs: bool = False


class Paper(_Part):
    """Everything of the paper that a study can find again.

    Attributes:
        studies: The fields of study files by key.
        tables: The tables of metrics by name.
        summaries: The tables of summaries of value groups by name.
        figures: The figures by name.
    """

    studies: dict[str, dict[str, Any]]
    tables: dict[str, PrintedTable]
    summaries: dict[str, PrintedSummaries]
    figures: dict[str, PrintedFigure]

    @property
    def names(self) -> list[str]:
        """The names of tables and figures, as ``table1`` and ``figure3``."""
        return [*sorted([*self.tables, *self.summaries]), *self.figures]

    def chosen(self, name: str, diagrams: Iterable[str] = ()) -> list[str]:
        """List the tables and figures that a user names.

        Args:
            name: A table or figure, as ``table1``, or ``all``.
            diagrams: The names of further figures, which need no study.

        Returns:
            Their names.

        Raises:
            InputError: If there is no such table or figure.

        Example:
            >>> paper().chosen("table4")
            ['table4']
        """
        known = [*self.names, *diagrams]
        if name == "all":
            return known
        if name not in known:
            names = [*known, "all", *editions()]
            raise InputError(
                f"there is no {name!r} in the paper or of LeWiDi; choose from {listed(names, 20)}."
                f"{did_you_mean(name, names)}"
            )
        return [name]

    def study(self, key: str, seeds: int) -> Study:
        """Make one of the studies.

        Args:
            key: The study's key.
            seeds: How many seeds it has.

        Returns:
            The study.

        Raises:
            InputError: If this version of mcstl cannot run it.
        """
        fields = {"name": key, "methods": PAPER_METHODS, **self.studies[key], "seeds": seeds}
        return Study(**fields)


@cache
def paper() -> Paper:
    """Read what the paper prints.

    Returns:
        The content of paper.yaml, checked.

    Example:
        >>> paper().tables["table1"].blocks[0].printed["mc-stl"]
        (0.76, 0.74, 0.02, 0.99, 0.04, 0.0, 0.03, 0.58)
    """
    return Paper(**files.read_yaml(Path(__file__).with_name("paper.yaml")))
