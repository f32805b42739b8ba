"""The studies behind tables and figures, each run once and kept in a folder of its own."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.reproduce.paper import Paper
from mcstl.studies.results import Results, read_trace
from mcstl.studies.run import run


@dataclass
class StudyRuns:
    """Runs studies by their key in `paper`, or reads their results where they were run before.

    Attributes:
        paper: What the paper prints, and the studies behind it.
        out: The folder below which results are kept.
        data_dir: The folder with the data sets.
        seeds: How many seeds each study has.
        jobs: How many seeds run at once.
        progress: Called with what is being done, how many steps are finished and how many there
            are.
    """

    paper: Paper
    out: Path
    data_dir: str | Path | None
    seeds: int
    jobs: int = 1
    progress: Progress = silent
    _outcomes: dict[str, Results | InputError] = field(default_factory=dict)

    def results(self, key: str) -> Results:
        """Return a study's results, and run it first where it was not run.

        Args:
            key: The study's key in `paper`.

        Returns:
            The results.

        Raises:
            InputError: If it cannot be run: above all, for lack of data.
        """
        if key not in self._outcomes:
            try:
                self._outcomes[key] = run(
                    self.paper.study(key, self.seeds),
                    out=self.folder(key),
                    data_dir=self.data_dir,
                    jobs=self.jobs,
                    progress=lambda what, done, total: self.progress(f"{key}: {what}", done, total),
                )
            except InputError as error:
                self._outcomes[key] = error
        outcome = self._outcomes[key]
        if isinstance(outcome, InputError):
            raise outcome
        return outcome

    @property
    def any_succeeded(self) -> bool:
        """Whether any of the studies so far has results."""
        return any(isinstance(outcome, Results) for outcome in self._outcomes.values())

    def trace(self, key: str) -> pd.DataFrame:
        """Return the metrics per epoch of a study, and run it first where it was not run.

        Args:
            key: The study's key in `paper`.

        Returns:
            The content of trace.parquet.

        Raises:
            InputError: If the study cannot be run.
        """
        self.results(key)
        return read_trace(self.folder(key))

    def folder(self, key: str) -> Path:
        """Locate a study's results.

        Args:
            key: The study's key in `paper`.

        Returns:
            The folder, whether or not it exists.
        """
        return self.out / "studies" / key
