"""The studies behind tables and figures, each run once and kept in a folder of its own."""

from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.groups.review import summaries
from mcstl.reproduce.paper import Paper
from mcstl.studies.results import Results, read_trace
from mcstl.studies.run import run
from mcstl.studies.study_file import Study
from mcstl.studies.study_groups import form_groups

_IRPM_LEFT_OUT = (
    "It trains a transformer, which takes about 25 processor minutes a seed, and is left out of "
    "all; run mcstl reproduce table7, or name a transformer with --irpm"
)


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
        irpm: The transformer of IRPM, by its name or folder, ``none`` to leave IRPM out; None for
            that of the study.
        summariser: A language model that summarises groups; None for summaries without one.
    """

    paper: Paper
    out: Path
    data_dir: str | Path | None
    seeds: int
    jobs: int = 1
    progress: Progress = silent
    irpm: str | None = None
    summariser: summaries.Summariser | None = None
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
                    self.study(key),
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

    def study(self, key: str) -> Study:
        """Make one of the studies.

        Args:
            key: The study's key in `paper`.

        Returns:
            The study, its IRPM with the chosen transformer.

        Raises:
            InputError: If this version of mcstl cannot run it, or if it is IRPM's and IRPM is left
                out.
        """
        study = self.paper.study(key, self.seeds)
        if self.irpm is None or study.methods[0].name != "irpm":
            return study
        if self.irpm == "none":
            raise InputError(_IRPM_LEFT_OUT)
        return Study(**{**study.model_dump(), "methods": [{"name": "irpm", "model": self.irpm}]})

    def llm_summaries(self, key: str) -> dict[str, str]:
        """Ask the language model what the groups of a study are about (A.3).

        Args:
            key: The study's key in `paper`.

        Returns:
            By name of a group its summary; nothing without a language model.

        Raises:
            InputError: If the groups cannot be formed, or the language model cannot be used.
        """
        if self.summariser is None:
            return {}
        data_dir = None if self.data_dir is None else Path(self.data_dir)
        formed = form_groups(self.study(key), data_dir, self.progress)
        scheme, S, data, encoder = formed
        prompts = summaries.summary_prompts(scheme.groups, S, data, encoder, self.summariser)
        summarised = summaries.add_llm_summaries(
            formed.summaries(),
            prompts,
            self.summariser.client,
            self.progress,
        )
        return {each.name: each.llm_summary for each in summarised}

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
