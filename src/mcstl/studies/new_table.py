"""What a model makes of a new table, in the files of a study, so that the report reads them."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcstl import evaluation
from mcstl._support import files
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations, minority_weights
from mcstl.data.questions import folder_names
from mcstl.data.splits import Split
from mcstl.evaluation.predictions import Predictions
from mcstl.evaluation.verdict import verdict
from mcstl.groups.small_groups import without_few
from mcstl.models.model import Model
from mcstl.models.questions import QuestionsModel
from mcstl.studies import results, use
from mcstl.studies.one_model import judged, measured
from mcstl.studies.questions import together
from mcstl.studies.resolved import describe_data, fingerprint
from mcstl.studies.results import NEW_TABLE, Results


def evaluate_into(
    model: Model, data: Annotations, out: str | Path, progress: Progress = silent
) -> Results:
    """Measure a model on annotations, and write what a study writes of its test rows.

    That is results.json with intervals over items and tests of every group, predictions.parquet,
    items.parquet, an empty trace.parquet and study.yaml, from which the report is made.

    Args:
        model: The model.
        data: The annotations.
        out: The folder to write to.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The results, with one run.

    Raises:
        InputError: If the task or the classes are not the model's.
    """
    started = time.perf_counter()
    p, inside = judged(model, data, progress)
    minority, names = minority_weights(data), model.group_names
    method = str(model.facts.get("method", "the model"))
    head = {"method": method, "seed": int(model.facts.get("seed", 0)), "split": NEW_TABLE}
    rows = np.arange(len(data))
    predictions = results.prediction_rows(head, data, rows, inside, names, minority, p)
    run = {
        **head,
        **measured(model, data, p, inside),
        "seconds": round(time.perf_counter() - started, 3),
    }
    judged_rows = Predictions.of(data, p, inside)
    first, second = use.halves(judged_rows.items)
    parts = judged_rows.take(first), judged_rows.take(second)
    used = use.of_model(model, data, judged_rows, *parts) if len(first) and len(second) else None
    content = _content(model, data, run, used, predictions, progress)
    folder, found = Path(out), Results(content, predictions, None)
    files.write_yaml(folder / "study.yaml", content["study"])
    results.write(folder, found, data.items(), [])
    return found


def evaluate_questions_into(
    model: QuestionsModel, data: Annotations, out: str | Path, progress: Progress = silent
) -> Results:
    """Measure a model of several questions as `evaluate_into` does: each, and together.

    Args:
        model: The model.
        data: The annotations, of task multilabel.
        out: The folder to write to; each question has one in its ``questions/``.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The results of all questions, with one run.

    Raises:
        InputError: If the task or the questions are not the model's.
    """
    folder, names = Path(out), folder_names(model.questions)
    each = {
        question: evaluate_into(
            model[question], data.question(question), folder / results.QUESTIONS / name, progress
        )
        for question, name in zip(model.questions, names, strict=True)
    }
    made_by = dict(model[model.questions[0]].facts.get("study", {}))
    made_by = {key: value for key, value in made_by.items() if key != "question"}
    study = {
        **made_by,
        "name": f"several questions on {data.source}",
        "methods": next(iter(each.values())).results["study"]["methods"],
        "made_with": {**made_by.get("made_with", {}), "data": fingerprint(data)},
    }
    found = together(study, data, each, progress)
    files.write_yaml(folder / "study.yaml", study)
    results.write(folder, found, data.items(), [])
    return found


def _content(
    model: Model,
    data: Annotations,
    run: dict[str, Any],
    used: dict[str, Any] | None,
    predictions: pd.DataFrame,
    progress: Progress,
) -> dict[str, Any]:
    """Make results.json of the one run."""
    made_by = dict(model.facts.get("study", {}))
    name = made_by.get("name") or "a model"
    study: dict[str, Any] = {
        **made_by,
        "name": f"{name} on {data.source}",
        "methods": [{"name": run["method"]}],
        "made_with": {**made_by.get("made_with", {}), "data": fingerprint(data)},
    }
    none = np.array([], dtype=np.int64)
    parts = Split(none, none, np.arange(len(data)))
    described = describe_data(data, study, model.encoder, parts, NEW_TABLE, ())
    described["split"]["train"] = int(model.population[1].sum())
    groups = model.scheme.groups if model.scheme else ()
    content: dict[str, Any] = {
        "schema": results.SCHEMA,
        "study": study,
        "data": described,
        "groups": [asdict(group) for group in groups],
        "runs": [run],
        "summary": evaluation.summarise([run]),
    }
    content |= evaluation.audit_study(content, predictions, progress=progress)
    content = without_few(content | {"use": used})
    content["verdict"] = verdict(content, run["method"])._asdict()
    return content
