"""Three finished tiny studies, one per task form, each split and grouped in another way."""

from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

import mcstl
from mcstl._support.files import write_yaml
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.datasets import simulated
from mcstl.studies.results import Results
from mcstl.studies.study_file import Study

METHODS = ["mc-stl", "none", "majority", "gbm", "logistic"]
#: Names of ours to those that a stranger's table has.
COLUMNS = {
    "item": "proposal",
    "text": "comment",
    "label": "verdict",
    "annotator": "rater_id",
    "values": "appeals_to",
    "rationale": "reason",
}
STUDIES: dict[Task, dict[str, Any]] = {
    "ordinal": {
        "data": {"dataset": "simulated", "annotations": 400},
        "groups": {"by": "taxonomy", "min_size": 20},
        "seeds": 2,
    },
    "binary": {
        "data": {"file": "town.csv", "columns": COLUMNS},
        "labels": {"against": ["oppose", "strongly oppose"], "in favour": ["support"]},
        "groups": {
            "combine": [
                {"by": "attributes", "attributes": ["gender", "age"], "min_size": 40},
                {"by": "taxonomy", "min_size": 20},
            ]
        },
        "split": {"by": "item"},
        "seeds": [3],
    },
    "preference": {
        "data": {"dataset": "simulated", "annotations": 400},
        "task": "preference",
        "groups": {"by": "rationale", "k": 2},
        "split": {"by": "annotator"},
        "seeds": [0],
    },
}


def weighted_table(weights: list[Any]) -> pd.DataFrame:
    """Five texts with alternating labels, values, and the given `weight` per row."""
    n = len(weights)
    return pd.DataFrame(
        {
            "text": [f"{'word ' * (i % 5)}end" for i in range(n)],
            "label": [i % 2 for i in range(n)],
            "values": [["Order"] if i % 3 else ["Wonder"] for i in range(n)],
            "weight": weights,
        }
    )


class Finished(NamedTuple):
    """A study, the data it was run on, what it returned and where it wrote."""

    study: Study
    table: pd.DataFrame  # as read: raw labels, nothing dropped
    data: Annotations
    results: Results
    folder: Path
    file: Path  # the study file


def town() -> pd.DataFrame:
    """Return a stranger's table: other names, labels that no class has, people not known."""
    table = simulated.table("binary", 400).rename(columns=COLUMNS)
    table["appeals_to"] = table["appeals_to"].map("|".join)
    table.loc[::7, "verdict"] = table.loc[::7, "verdict"].replace("oppose", "strongly oppose")
    table.loc[::25, "verdict"] = "not understood"
    table.loc[::9, "rater_id"] = None
    table.loc[::11, "age"] = None
    return table


def write_study(folder: Path, task: Task, **changes: Any) -> Path:
    """Write the tiny study of a task form, and its table, and return the file."""
    folder.mkdir(parents=True, exist_ok=True)
    if task == "binary":
        town().to_csv(folder / "town.csv", index=False)
    fields = {**STUDIES[task], "training": {"epochs": 3}, "methods": METHODS, **changes}
    write_yaml(folder / f"{task}.yaml", fields)
    return folder / f"{task}.yaml"


def finish(folder: Path, task: Task) -> Finished:
    """Run the tiny study of a task form."""
    file = write_study(folder, task)
    study = Study.read(file)
    results = mcstl.run(study, out=folder / "out")
    table = town() if task == "binary" else simulated.table(task, 400)
    return Finished(study, table, study.load(), results, folder / "out", file)
