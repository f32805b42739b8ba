"""The studies behind tables and figures, each run once and kept in a folder of its own."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.reproduce.paper import Paper
from mcstl.studies.results import Results
from mcstl.studies.run import run


@dataclass
class Studies:
    """Runs studies by their key in `paper`, with results below `out`, or finds them there."""

    paper: Paper
    out: Path
    data_dir: str | Path | None
    seeds: int
    jobs: int = 1
    progress: Progress = silent
    _known: dict[str, Results | InputError] = field(default_factory=dict)

    def results(self, key: str) -> Results:
        """Return a study's results.

        Raises InputError where it cannot be run, as `study.run` does: above all, for lack of data.
        """
        if key not in self._known:
            try:
                study = self.paper.study(key, self.seeds)
                self._known[key] = run(
                    study,
                    out=self.folder(key),
                    data_dir=self.data_dir,
                    jobs=self.jobs,
                    progress=lambda what, done, total: self.progress(f"{key}: {what}", done, total),
                )
            except InputError as error:
                self._known[key] = error
        known = self._known[key]
        if isinstance(known, InputError):
            raise known
        return known

    @property
    def any_ran(self) -> bool:
        """Say whether any study that was asked for has results."""
        return any(isinstance(known, Results) for known in self._known.values())

    def trace(self, key: str) -> pd.DataFrame:
        """Return the metrics per epoch of a study. Raises InputError as `results` does."""
        self.results(key)
        return pd.read_parquet(self.folder(key) / "trace.parquet")

    def folder(self, key: str) -> Path:
        """Return where a study's results are."""
        return self.out / "studies" / key
