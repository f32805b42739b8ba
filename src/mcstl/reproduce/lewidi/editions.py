"""The editions of Learning With Disagreements: `editions.yaml`, checked."""

from functools import cache
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from mcstl._support import files
from mcstl._support.errors import InputError, did_you_mean, listed


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Target(_Part):
    """A data set of an edition, and how it is entered.

    Attributes:
        dataset: Its name among the registered data sets.
        task: Its task form.
        soft: The measure of soft labels.
        entries: By what models read, the fields of the studies among which folds choose.
        published: What others reached on the test part: the system, where that is said, and the
            two measures, None where the source has none.
    """

    dataset: str
    task: Literal["binary", "ordinal", "multilabel"]
    soft: Literal["wasserstein", "manhattan", "cross_entropy"]
    entries: dict[str, tuple[dict[str, Any], ...]]
    published: tuple[tuple[str, str, float | None, float | None], ...] = ()


class Edition(_Part):
    """An edition of the shared task.

    Attributes:
        title: What it is called.
        measures: What its two measures are called; by the first lower is better.
        sources: What `published` of the data sets is from.
        datasets: The data sets by the names that the organisers give their files.
    """

    title: str
    measures: tuple[str, str]
    sources: tuple[str, ...]
    datasets: dict[str, Target]

    def chosen(self, name: str | None) -> list[str]:
        """List the data sets that a user names.

        Args:
            name: A data set, None for all.

        Returns:
            Their names.

        Raises:
            InputError: There is no such data set in the edition.
        """
        if name is None:
            return list(self.datasets)
        if name not in self.datasets:
            raise InputError(
                f"--dataset: there is no {name!r} in {self.title}; choose from "
                f"{listed(self.datasets)}.{did_you_mean(name, self.datasets)}"
            )
        return [name]


@cache
def editions() -> dict[str, Edition]:
    """Read which editions can be run.

    Returns:
        The editions by the names that a user gives.

    Example:
        >>> list(editions()["lewidi2025"].datasets)
        ['Paraphrase', 'VariErrNLI', 'CSC', 'MP']
    """
    content = files.read_yaml(Path(__file__).with_name("editions.yaml"))
    return {name: Edition(**fields) for name, fields in content.items()}
