"""Hyperparameters: a grid over `training` for every method, judged on validation rows alone.

Test rows are taken out before anything is fitted, so no choice can rest on them.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from mcstl import methods as registry
from mcstl._support import files
from mcstl._support.errors import InputError, need_extra
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.exports import write_table
from mcstl.data.splits import Split
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.evaluation import metrics
from mcstl.methods.base import BaseMethodConfig, MethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.studies.preparation import prepare, split_rows
from mcstl.studies.resolved import resolve
from mcstl.studies.study_file import Study

if TYPE_CHECKING:
    from optuna import Study as Search
    from optuna.storages import BaseStorage

Grid = Mapping[str, Sequence[Any]]
#: What is tried where nothing else is given: the paper's two lambdas and how the network learns.
GRID: Grid = {
    "lambda_1": [0, "paper", 10],
    "lambda_2": [0.0001, 1, 100],
    "dropout": [0.5, 0.8],
    "learning_rate": [0.001, 0.003],
}
_METRICS = ("nll", "slope_mean", "bias_mean", "one_minus_emd")


class Tuned(NamedTuple):
    """What a search found.

    Attributes:
        trials: A row per trial: its method, its values and its metrics on validation rows.
        best: For each method the values of the lowest NLL.
    """

    trials: pd.DataFrame
    best: dict[str, dict[str, Any]]

    def lowest_nll(self, method: str) -> float:
        """Find the lowest mean validation NLL of a method.

        Args:
            method: The method's name or label.

        Returns:
            The NLL of its best trial.
        """
        return float(self.trials.loc[self.trials["method"] == method, "nll"].min())


def tune(
    study: Study,
    *,
    out: str | Path,
    grid: Grid = GRID,
    seeds: int = 3,
    data_dir: str | Path | None = None,
    progress: Progress = silent,
) -> Tuned:
    """Try the whole grid for each method that the study's `training` trains.

    A trial is judged by the mean over seeds of the NLL of the validation rows, under their own
    groups; every method gets the same grid. Trials are kept in ``trials.journal``, as Optuna keeps
    them, so a stopped search goes on where it was.

    Args:
        study: The study.
        out: The folder of the trials.
        grid: The values that are tried, by the keys of `training`.
        seeds: How many of the study's seeds a trial is judged with, the first ones.
        data_dir: The folder of the registered data sets, by default that of MCSTL_DATA.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        All trials, and the best of each method.

    Raises:
        InputError: If `training` does not take a value, if no method is trained by it, if `out`
            holds the trials of another search, or if Optuna is not installed.
    """
    with need_extra("tune"):
        import optuna
    methods = trained_methods(study)
    points = _points(grid)
    for method, values in itertools.product(methods, points):
        study.training_of(_with(method, values))
    annotations = study.load(data_dir)
    encoder = load_encoder(study.encoder_name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(out)
    storage = _journal(folder)
    identity = _identity(study, annotations, encoder, grid, seeds)
    prepared = [
        (seed, without_test(study, annotations, encoder, seed, progress))
        for seed in study.seeds[:seeds]
    ]
    total = len(methods) * len(points)
    rows: list[dict[str, Any]] = []
    best: dict[str, dict[str, Any]] = {}
    for method in methods:
        search = optuna.create_study(
            storage=storage,
            study_name=method.title,
            sampler=optuna.samplers.GridSampler(grid, seed=0),
            load_if_exists=True,
        )
        if search.user_attrs.setdefault("of", identity) != identity:
            raise InputError(f"{folder} holds the trials of another search; choose another --out")
        search.set_user_attr("of", identity)

        def judge(trial: Any, method: BaseMethodConfig = method) -> float:
            values = {key: trial.suggest_categorical(key, list(grid[key])) for key in grid}
            measured = [judged(_with(method, values), study, *each) for each in prepared]
            for key in _METRICS:
                trial.set_user_attr(key, float(np.mean([each[key] for each in measured])))
            return float(trial.user_attrs["nll"])

        before = len(best) * len(points)

        def report(search: Any, _: Any, before: int = before) -> None:
            progress("trials", min(before + len(search.trials), total), total)

        finished = len([trial for trial in search.trials if trial.state.is_finished()])
        if finished < len(points):
            # A recipe that diverges is a trial that failed, and no reason to stop.
            search.optimize(judge, catch=(InputError,), callbacks=[report])
        complete = _complete_trials(search, method.title)
        if not complete:
            raise InputError(
                f"no trial of {method.title} could be trained; try lower learning rates"
            )
        rows += complete
        best[method.title] = dict(search.best_trial.params)
        progress("trials", len(best) * len(points), total)
    trials = pd.DataFrame(rows)
    write_table(trials, folder / "trials.csv")
    return Tuned(trials, best)


def trained_methods(study: Study) -> list[BaseMethodConfig]:
    """List the methods that the study's `training` trains.

    Args:
        study: The study.

    Returns:
        The methods, in their order.

    Raises:
        InputError: If there is none.
    """
    methods = [
        method
        for method in study.methods
        if method.recalibrate is None and registry.find(method.name).is_trained
    ]
    if not methods:
        raise InputError("none of the study's methods is trained by a recipe, as mc-stl is")
    return methods


def _journal(folder: Path) -> "BaseStorage":
    """Open the file in which Optuna keeps the trials."""
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock

    folder.mkdir(parents=True, exist_ok=True)
    path = str(folder / "trials.journal")
    return JournalStorage(JournalFileBackend(path, lock_obj=JournalFileOpenLock(path)))


def _complete_trials(search: "Search", title: str) -> list[dict[str, Any]]:
    """The rows of the trials of one method that could be trained."""
    return [
        {"method": title, **trial.params, **trial.user_attrs}
        for trial in search.trials
        if trial.state.name == "COMPLETE"
    ]


def without_test(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    seed: int,
    progress: Progress = silent,
) -> Prepared:
    """Prepare one seed from its training and validation rows alone.

    Args:
        study: The study.
        annotations: Its annotations.
        encoder: Its encoder, as it comes.
        seed: The seed.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The seed's data without the rows that `run` would test on; the validation rows stand in
        their place.

    Raises:
        InputError: If the annotations cannot be split or grouped so.
    """
    parts = split_rows(study, annotations, seed)
    kept = np.sort(np.concatenate([parts.train, parts.validation]))
    train, validation = (np.searchsorted(kept, rows) for rows in (parts.train, parts.validation))
    kept_parts = Split(train, validation, validation)
    return prepare(
        study, annotations.take(kept), encoder, seed, progress=progress, parts=kept_parts
    )


def check_destination(study: Path, to: Path) -> None:
    """Check where the tuned study is to be written, before hours of work.

    Args:
        study: The study file that is tuned.
        to: The study file to write.

    Raises:
        InputError: If `to` exists or is not beside `study`.
    """
    if to.resolve().parent != study.resolve().parent:
        raise InputError(f"--to {to} is not beside {study}, where its data file would be found")
    if to.exists():
        raise InputError(f"{to} is there already; remove it, or name another with --to")


def write_best(path: Path, best: Mapping[str, Mapping[str, Any]], to: Path) -> None:
    """Write a study file with the best values of each method as its `training`.

    Args:
        path: The study file that was searched.
        best: For each method, by its title, the best values.
        to: The new file, beside `path`, so that a data file in it is found.

    Raises:
        InputError: If the new file is there already, or is not beside the other.
    """
    check_destination(path, to)
    study, fields = Study.read(path), files.read_yaml(path)
    fields["methods"] = [
        _with(method, best.get(method.title, {})).model_dump(mode="json", exclude_defaults=True)
        | {"name": method.name}
        for method in study.methods
    ]
    files.write_yaml(to, fields)


def _points(grid: Grid) -> list[dict[str, Any]]:
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*grid.values())]


def _with(method: BaseMethodConfig, values: Mapping[str, Any]) -> BaseMethodConfig:
    if not isinstance(method, MethodConfig):
        return method
    return method.model_copy(update={"training": {**method.training, **values}})


def judged(
    method: BaseMethodConfig, study: Study, seed: int, prepared: Prepared
) -> dict[str, float]:
    """Fit one method with one seed, and measure it on the validation rows.

    Args:
        method: The method.
        study: The study, for how the method is trained.
        seed: The seed.
        prepared: The seed's data (`without_test`).

    Returns:
        The metrics by name, NaN for one that does not exist.

    Raises:
        InputError: If the method cannot be fitted.
    """
    p, *_ = fit_method(prepared, study.settings_of(method, seed))
    data, rows = prepared.annotations, prepared.parts.validation
    inside, minority = prepared.groups("validation"), prepared.minority[rows]
    names = prepared.scheme.names
    values = metrics.evaluate(p, data.labels[rows], inside, minority, data.task, names)["metrics"]
    return {
        key: np.nan if value is None else value
        for key, value in values.items()
        if isinstance(value, float | None)
    }


def _identity(
    study: Study, annotations: Annotations, encoder: Encoder, grid: Grid, seeds: int
) -> str:
    fields = resolve(study, annotations, encoder, Path())
    made_with = fields.pop("made_with")
    what = [made_with["data"], made_with["encoder"], dict(grid), seeds]
    content = json.dumps([fields | {"name": ""}, *what], sort_keys=True, default=str)
    return hashlib.sha256(content.encode()).hexdigest()[:16]
