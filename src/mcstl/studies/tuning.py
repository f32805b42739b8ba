"""Hyperparameters: a grid over `training` for every method, judged on validation rows alone.

Test rows are taken out before anything is fitted, so no choice can rest on them.
"""

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcstl._support import files
from mcstl._support.errors import InputError, need_extra
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.exports import write_table
from mcstl.data.splits import Split, split
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.evaluation import metrics
from mcstl.studies.methods import Prepared, fit_method, has_recipe
from mcstl.studies.results import resolved
from mcstl.studies.run import prepare
from mcstl.studies.study_file import AnyMethod, MethodConfig, Study

Grid = Mapping[str, Sequence[Any]]
#: What is tried where nothing else is asked for: the paper's two lambdas and the recipe.
GRID: Grid = {
    "lambda_1": [0, "paper", 10],
    "lambda_2": [0.0001, 1, 100],
    "dropout": [0.5, 0.8],
    "learning_rate": [0.001, 0.003],
}
_KEPT = ("nll", "slope_mean", "bias_mean", "one_minus_emd")


class Tuned(NamedTuple):
    """The trials, one a row with its method, values and metrics on validation, and the best."""

    trials: pd.DataFrame
    best: dict[str, dict[str, Any]]  # per method the values of the lowest NLL

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
    """Try the whole grid for each method that has a recipe, with the study's first `seeds` seeds.

    A trial is judged by the mean over seeds of the NLL of the validation rows, under their own
    groups; every method gets the same grid. Trials are kept in ``trials.journal`` in `out`, as
    Optuna keeps them, so a stopped search goes on where it was.

    Raises InputError for a value that `training` does not take, for a study without such methods,
    if `out` holds the trials of another search, or if Optuna is not installed.
    """
    with need_extra("tune"):
        import optuna
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    methods = [method for method in study.methods if has_recipe(method)]
    if not methods:
        raise InputError("none of the study's methods is trained by a recipe, as mc-stl is")
    for method, values in itertools.product(methods, _points(grid)):
        study.training_of(_with(method, values))
    annotations = study.load(data_dir)
    encoder = load_encoder(study.encoder_name)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    journal = str(folder / "trials.journal")
    storage = optuna.storages.JournalStorage(
        JournalFileBackend(journal, lock_obj=JournalFileOpenLock(journal))
    )
    what = _identity(study, annotations, encoder, grid, seeds)
    prepared = [
        (seed, without_test(study, annotations, encoder, seed, progress))
        for seed in study.seeds[:seeds]
    ]
    total = len(methods) * len(_points(grid))
    rows: list[dict[str, Any]] = []
    best: dict[str, dict[str, Any]] = {}
    for method in methods:
        search = optuna.create_study(
            storage=storage,
            study_name=method.title,
            sampler=optuna.samplers.GridSampler(grid, seed=0),
            load_if_exists=True,
        )
        if search.user_attrs.setdefault("of", what) != what:
            raise InputError(f"{folder} holds the trials of another search; choose another --out")
        search.set_user_attr("of", what)

        def judged(trial: Any, method: AnyMethod = method) -> float:
            values = {key: trial.suggest_categorical(key, list(grid[key])) for key in grid}
            found = [_metrics(_with(method, values), study, *each) for each in prepared]
            for key in _KEPT:
                trial.set_user_attr(key, float(np.mean([each[key] for each in found])))
            return float(trial.user_attrs["nll"])

        before = len(rows)

        def told(search: Any, _: Any, before: int = before) -> None:
            progress("trials", min(before + len(search.trials), total), total)

        finished = len([trial for trial in search.trials if trial.state.is_finished()])
        if finished < len(_points(grid)):
            # A recipe that diverges is a trial that failed, and no reason to stop.
            search.optimize(judged, catch=(InputError,), callbacks=[told])
        rows += [
            {"method": method.title, **trial.params, **trial.user_attrs}
            for trial in search.trials
            if trial.state == optuna.trial.TrialState.COMPLETE
        ]
        if len(rows) == before:
            raise InputError(
                f"no trial of {method.title} could be trained; try lower learning rates"
            )
        best[method.title] = dict(search.best_trial.params)
        progress("trials", len(best) * len(_points(grid)), total)
    trials = pd.DataFrame(rows)
    write_table(trials, folder / "trials.csv")
    return Tuned(trials, best)


def without_test(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    seed: int,
    progress: Progress = silent,
) -> Prepared:
    """Prepare one seed from its training and validation rows alone.

    The rows that `run` would test on are not in what this returns; the validation rows stand in
    their place.
    """
    shares = study.split
    parts = split(annotations, shares.by, test=shares.test, validation=shares.validation, seed=seed)
    known = np.sort(np.concatenate([parts.train, parts.validation]))
    train, validation = (np.searchsorted(known, rows) for rows in (parts.train, parts.validation))
    own = Split(train, validation, validation)
    return prepare(study, annotations.take(known), encoder, seed, progress=progress, parts=own)


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
    """Write the study file `path` with the best values of each method as its `training`.

    `to` is beside `path`, so that a data file in it is found. Raises InputError if it is not, or
    if it is there already.
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


def _with(method: AnyMethod, values: Mapping[str, Any]) -> AnyMethod:
    if not isinstance(method, MethodConfig):
        return method
    return method.model_copy(update={"training": {**method.training, **values}})


def _metrics(method: AnyMethod, study: Study, seed: int, prepared: Prepared) -> dict[str, Any]:
    """The metrics of one method and seed on the validation rows."""
    p, _ = fit_method(method, study, prepared, seed)
    data, rows = prepared.annotations, prepared.parts.validation
    inside = prepared.rows.S[rows].toarray() > 0
    found = metrics.evaluate(
        p, data.labels[rows], inside, prepared.minority[rows], data.task, prepared.scheme.names
    )
    numbers = found["metrics"]
    return {key: np.nan if numbers[key] is None else numbers[key] for key in _KEPT}


def _identity(
    study: Study, annotations: Annotations, encoder: Encoder, grid: Grid, seeds: int
) -> str:
    fields = resolved(study, annotations, encoder, Path())
    made_with = fields.pop("made_with")
    what = [made_with["data"], made_with["encoder"], dict(grid), seeds]
    told = json.dumps([fields | {"name": ""}, *what], sort_keys=True, default=str)
    return hashlib.sha256(told.encode()).hexdigest()[:16]
