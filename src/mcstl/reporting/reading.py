"""What `mcstl run` wrote, read and checked before anything of it is shown."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcstl import evaluation as audit
from mcstl._support.errors import InputError, listed, need_names
from mcstl.data.annotations import TEXT_COLUMNS

SCHEMA = 1
_PREDICTION_COLUMNS = (
    "method",
    "seed",
    "split",
    "row",
    "item",
    "annotator",
    "label",
    "groups",
    "minority",
    "flipped",
)
_TRACE_COLUMNS = ("method", "seed", "epoch", "part", "slope_mean", "bias_mean", "one_minus_emd")
#: Probabilities as stored may be out by this.
_ROUNDING = 1e-4


class Output(NamedTuple):
    """What `mcstl run` wrote, read and checked."""

    results: dict[str, Any]
    predictions: pd.DataFrame
    items: pd.DataFrame
    trace: pd.DataFrame
    study: str  # the text of study.yaml
    problems: list[str]  # runs whose predictions cannot be used, and why


def read_output(folder: Path) -> Output:
    """Read what `mcstl run` wrote into `folder`, and keep the predictions that can be right.

    Raises InputError saying which file lacks what.
    """
    results = _read_results(folder)
    predictions = _read_parquet(folder, "predictions.parquet", _PREDICTION_COLUMNS)
    texts = TEXT_COLUMNS[results["data"]["task"]]
    items = _read_parquet(folder, "items.parquet", ("item", *texts))
    trace = _read_parquet(folder, "trace.parquet", _TRACE_COLUMNS)
    study = _existing(folder, "study.yaml").read_text(encoding="utf-8")
    predictions, problems = _usable(predictions, results, items)
    return Output(results, predictions, items[["item", *texts]], trace, study, problems)


def _existing(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.is_file():
        raise InputError(
            f"there is no {name} in {folder}; give the folder that "
            f"`mcstl run STUDY --out {folder}` wrote"
        )
    return path


def _read_results(folder: Path) -> dict[str, Any]:
    path = _existing(folder, "results.json")
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path} is not JSON ({error}); is it whole?") from error
    schema = results.get("schema") if isinstance(results, dict) else None
    if schema != SCHEMA:
        raise InputError(
            f"{path} has schema {schema!r}, and this version reads {SCHEMA}; run the study again"
        )
    missing = [
        key for key in ("study", "data", "groups", "runs", "summary") if not results.get(key)
    ]
    if missing:
        raise InputError(f"{path} has no {listed(missing)}; run the study again")
    return results


def _read_parquet(folder: Path, name: str, columns: Sequence[str]) -> pd.DataFrame:
    path = _existing(folder, name)
    try:
        frame = pd.read_parquet(path)
    except Exception as error:  # whatever pyarrow or the disk says is the user's news
        why = str(error).strip().splitlines()
        raise InputError(
            f"{path} cannot be read as Parquet: {why[0] if why else type(error).__name__}; "
            "is it whole?"
        ) from error
    need_names(columns, frame.columns, str(path))
    return frame


def _usable(
    predictions: pd.DataFrame, results: Mapping[str, Any], items: pd.DataFrame
) -> tuple[pd.DataFrame, list[str]]:
    """Return the predictions of runs that are whole and can be right, and what the others lack.

    Raises InputError if a class has no column.
    """
    name, classes = "predictions.parquet", results["data"]["classes"]
    wanted = [f"p_{c}" for c in range(len(classes))]
    need_names(wanted, predictions.columns, name, hint=f"The classes are {listed(classes)}")
    p = predictions[wanted].apply(pd.to_numeric, errors="coerce").to_numpy(dtype=float)
    known = set(audit.group_names(results))
    is_number = np.isfinite(p).all(axis=1)
    checks = {"have no probability that is a number": ~is_number}
    # (Nothing that is no number is out of range too.)
    outside = ((p < -_ROUNDING) | (p > 1 + _ROUNDING)).any(axis=1)
    checks["have a probability below 0 or above 1"] = outside & is_number
    off = np.abs(p.sum(axis=1) - 1) > _ROUNDING
    checks["have probabilities that do not sum to 1"] = off & is_number & ~outside
    for column in _PREDICTION_COLUMNS:
        if column != "annotator":
            checks[f"have no {column}"] = predictions[column].isna().to_numpy()
    is_class = predictions["label"].isna() | predictions["label"].isin(range(len(classes)))
    checks[f"have a label that is none of {listed(range(len(classes)))}"] = ~is_class.to_numpy()
    checks["have an item that is not in items.parquet"] = ~(
        predictions["item"].isna() | predictions["item"].isin(items["item"])
    ).to_numpy()
    checks["have a group that results.json does not have"] = np.array(
        [row is not None and not known.issuperset(row) for row in predictions["groups"]], dtype=bool
    )
    problems, left_out = [], set[tuple[str, int]]()
    runs = list(zip(predictions["method"], predictions["seed"], strict=True))
    for what, bad in checks.items():
        if bad.any():
            first = predictions[bad].iloc[0]
            problems.append(
                f"{int(bad.sum()):,} of {len(bad):,} rows of {name} {what}, the first for method "
                f"{first['method']}, seed {first['seed']}, row {first['row']}."
            )
            left_out |= {run for run, is_bad in zip(runs, bad, strict=True) if is_bad}
    # Methods of one seed predict the same rows.
    found = predictions.groupby(["method", "seed"])["row"].nunique().to_dict()
    whole = predictions.groupby("seed")["row"].nunique().to_dict()
    for run in [(run["method"], run["seed"]) for run in results["runs"]]:
        n, expected = found.get(run, 0), whole.get(run[1], 0)
        if n < max(expected, 1):
            problems.append(
                f"{name} has {n:,} of {expected:,} rows of method {run[0]}, seed {run[1]}."
            )
            left_out.add(run)
    if left_out:
        told = listed(f"{method}, seed {seed}" for method, seed in sorted(left_out))
        problems.append(
            f"Left out of the figures made of predictions: {told}. Run the study again."
        )
    kept = np.array([run not in left_out for run in runs], dtype=bool)
    return predictions[kept], problems
