"""Studies of several questions at once: one binary study for each, and what they come to together.

All questions have the study's data, split, groups, encoder and seeds; each has its own network,
calibration and report, in ``questions/NAME`` of the outputs. Together, the questions take the place
of groups: figures of a "group" are those of a question, and their means those over questions.
"""

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl import evaluation
from mcstl._support import files
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress
from mcstl.data.annotations import Annotations
from mcstl.data.questions import folder_names
from mcstl.data.splits import MissingClassError
from mcstl.encoding.encoders import Encoder
from mcstl.encoding.finetuning import EncoderConfig
from mcstl.evaluation import metrics
from mcstl.evaluation.predictions import membership_matrix, minority_of, probabilities
from mcstl.evaluation.verdict import verdict
from mcstl.groups.base import Group
from mcstl.groups.small_groups import without_few
from mcstl.models.model import Model
from mcstl.models.questions import QuestionsModel
from mcstl.studies.preparation import with_usable_seeds
from mcstl.studies.resolved import resolve
from mcstl.studies.results import QUESTIONS, SCHEMA, Results, by_question, read, write
from mcstl.studies.study_file import Study
from mcstl.studies.work import check_folder, working

#: From one question's study, its annotations and where its outputs are in those of all questions
#: to its results.
RunOne = Callable[[Study, Annotations, str], Results]


def run_questions(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    out: Path | None,
    run_one: RunOne,
    progress: Progress,
) -> Results:
    """Run a multilabel study: each question by itself, and what they come to together.

    Args:
        study: The study.
        annotations: Its annotations, of task multilabel.
        encoder: Its encoder, as it comes.
        out: The folder of its results, None to write nothing.
        run_one: Runs the study of one question.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The results: a run per method and seed over the test rows of all questions, whose groups
        are the questions.

    Raises:
        InputError: If anything in study or data cannot be used, or if `out` holds another study.
    """
    if isinstance(study.encoder, tuple) or (
        isinstance(study.encoder, EncoderConfig) and study.encoder.fine_tune
    ):
        raise InputError(
            "task multilabel has one encoder for all questions, and one that is trained further or "
            "chosen among several would be another for each: give its name alone, or learn one "
            "`question`"
        )
    # Written out, so that a new table has the same questions.
    labels = study.labels or {name: [name] for name in annotations.classes}
    study = study.model_copy(update={"labels": labels})
    resolved = resolve(study, annotations, encoder, out or Path())
    study, questions, left_out = _usable(study, annotations)
    if out is None:
        each = _each(study, annotations, questions, run_one)
        return _noted(together(resolved, annotations, each, progress), left_out)
    check_folder(out, resolved)
    if (out / "results.json").exists():
        return read(out)
    with working(out, resolved):
        try:
            each = _each(study, annotations, questions, run_one)
        except InputError:
            if not any((out / QUESTIONS).glob("*/results.json")):
                shutil.rmtree(out / QUESTIONS, ignore_errors=True)
            raise
        results = _noted(together(resolved, annotations, each, progress), left_out)
        if isinstance(results.model, QuestionsModel):
            results.model.save(out / "model")
        files.write_yaml(out / "study.yaml", resolved)
        write(out, results, annotations.items(), [])
    return results


def _usable(study: Study, annotations: Annotations) -> tuple[Study, list[str], dict[str, str]]:
    """The questions that can be learnt, with the seeds that all of them can use."""
    usable, left_out = dict[str, set[int]](), dict[str, str]()
    for question in annotations.classes:
        try:
            of_question, _ = with_usable_seeds(study, annotations.question(question))
        except MissingClassError as error:
            left_out[question] = str(error)
        else:
            usable[question] = {*of_question.seeds}
    if not usable:
        raise InputError(f"no question can be learnt; {left_out[annotations.classes[0]]}")
    common = set.intersection(*usable.values())
    seeds = tuple(seed for seed in study.seeds if seed in common)
    if not seeds:
        rarest = min(usable, key=lambda name: annotations.question(name).labels.sum())
        raise InputError(
            f"no seed has training rows with both answers to every question; {rarest!r} has the "
            "fewest yes: leave it out of `labels`, or take more seeds"
        )
    return study.model_copy(update={"seeds": seeds}), list(usable), left_out


def _noted(results: Results, left_out: Mapping[str, str]) -> Results:
    results.results["data"]["questions_left_out"] = dict(left_out)
    return results


def _each(
    study: Study,
    annotations: Annotations,
    questions: Sequence[str],
    run_one: RunOne,
) -> dict[str, Results]:
    """Run the study of each question."""
    results = dict[str, Results]()
    names = folder_names(questions)
    for question, name in zip(questions, names, strict=True):
        title = f"{study.name or annotations.source}: {question}"
        one = study.model_copy(update={"question": question, "name": title})
        try:
            results[question] = run_one(one, annotations.question(question), f"{QUESTIONS}/{name}")
        except InputError as error:
            raise InputError(f"the question {question!r}: {error}") from error
    return results


def together(
    resolved: dict[str, Any],
    annotations: Annotations,
    each: Mapping[str, Results],
    progress: Progress,
) -> Results:
    """Make the results of all questions, whose groups are the questions.

    Args:
        resolved: The resolved study.
        annotations: All annotations, of task multilabel.
        each: The results of each question.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The results, with a model of all questions where each left one.
    """
    questions = list(each)
    tables = [found.predictions.assign(question=name) for name, found in each.items()]
    predictions = pd.concat(tables, ignore_index=True)
    first = each[questions[0]].results
    data = {
        **first["data"],
        "task": "multilabel",
        "classes": ["no", "yes"],
        "questions": questions,
        "groups_left_out": {},
        "groups_not_shown": [],
        "fingerprint": resolved["made_with"]["data"],
    }
    del data["agreement"]  # each question has its own
    judged = by_question(predictions)
    runs = [
        _run_of(judged, head, [_same_run(found.results["runs"], head) for found in each.values()])
        for head in first["runs"]
    ]
    results: dict[str, Any] = {
        "schema": SCHEMA,
        "study": resolved,
        "data": data,
        "groups": [
            asdict(Group(name, data["split"]["train"], None, _asked(annotations, name)))
            for name in questions
        ],
        "runs": runs,
        "summary": evaluation.summarise(runs, evaluation.split_overlap(data)),
    }
    results |= evaluation.audit_study(results, judged, progress=progress)
    results = without_few(results | {"controls": [], "use": None})
    results["verdict"] = verdict(results, runs[0]["method"])._asdict()
    models = {name: found.model for name, found in each.items() if isinstance(found.model, Model)}
    model = QuestionsModel(models) if len(models) == len(questions) else None
    return Results(results, predictions, model)


def _run_of(
    judged: pd.DataFrame, head: Mapping[str, Any], runs: Sequence[Mapping[str, Any]]
) -> dict[str, Any]:
    """Measure one method with one seed on the test rows of all questions."""
    mask = (judged["method"] == head["method"]) & (judged["seed"] == head["seed"])
    rows = judged[mask]
    names = list(dict.fromkeys(rows["question"]))
    measured = metrics.evaluate(
        probabilities(rows, 2),
        rows["label"].to_numpy(dtype=int),
        membership_matrix(rows["groups"], names),
        minority_of(rows),
        "multilabel",
        names,
    )
    return {
        **{key: head[key] for key in ("method", "seed", "split")},
        **measured,
        "recipe": {},
        "seconds": round(sum(run["seconds"] for run in runs), 3),
    }


def _same_run(runs: Sequence[Mapping[str, Any]], head: Mapping[str, Any]) -> Mapping[str, Any]:
    return next(
        run for run in runs if (run["method"], run["seed"]) == (head["method"], head["seed"])
    )


def _asked(annotations: Annotations, question: str) -> str:
    share = annotations.question(question).labels.mean()
    return f"a question asked of every annotation; {share:.1%} say yes"
