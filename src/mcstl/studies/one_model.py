"""One model instead of a study: fit it on a table, measure it on another."""

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl import datasets, methods
from mcstl._support.arrays import BoolArray, FloatArray
from mcstl._support.errors import InputError, Notice, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.columns import Columns, has_columns
from mcstl.data.joining import joined
from mcstl.data.labels import Labels, Task
from mcstl.data.layouts import Layout, LayoutForm, list_cells
from mcstl.data.splits import Split, split
from mcstl.data.tables import named_by, read_table
from mcstl.encoding.encoders import PAPER_ENCODER, Encoder, load_encoder
from mcstl.encoding.parts import Reading
from mcstl.evaluation.predictions import Predictions
from mcstl.evaluation.uncertainty import measured_once
from mcstl.groups.base import count_people
from mcstl.groups.small_groups import is_of_few
from mcstl.methods.base import MethodConfig, RunSettings
from mcstl.methods.fitting import fit_method
from mcstl.models.calibration import recalibrate
from mcstl.models.model import Model
from mcstl.models.networks import Network
from mcstl.models.questions import QuestionsModel
from mcstl.models.stack import StackNetwork
from mcstl.models.training import Session, predict
from mcstl.studies.build_model import build_model
from mcstl.studies.preparation import encoded, grouped
from mcstl.studies.study_file import (
    LARGEST_SEED,
    default_groups,
    groups_config,
    reads_rationales,
    training_config,
)


def fit(
    data: Annotations | pd.DataFrame | str | Path,
    *,
    method: str = "best",
    groups: Mapping[str, Any] | str | None = None,
    encoder: str | Encoder = PAPER_ENCODER,
    training: Mapping[str, Any] | None = None,
    validation: float | Annotations = 0.1,
    seed: int = 0,
    progress: Progress = silent,
) -> Model:
    """Fit a model on all annotations but a validation share or table; it is recalibrated on that.

    Args:
        data: The annotations, or a table of them: a data frame or a file whose columns are named as
            ours (text, label, and whatever else is known). `Annotations.from_frame` reads tables
            of other names.
        method: The name of a method that leaves a model, such as mc-stl, none or best.
        groups: How groups are formed, as in a study file; without it they are made from the values,
            the rationales or the attributes, whichever `data` has.
        encoder: What encodes the texts, or its name. By a name, texts in parts are encoded joined,
            apart or the last alone, whichever is better on validation rows; an encoder is taken as
            it is.
        training: How the network is trained, as in a study file.
        validation: The share of the annotations by which training is stopped, or other annotations
            of the same classes for it.
        seed: What decides the validation share, the start and the order.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The model.

    Raises:
        InputError: If an argument or the data cannot be used.
    """
    if not methods.find(method).saves_model:
        leave = [name for name in methods.names() if methods.find(name).saves_model]
        raise InputError(f"the method {method} leaves no model; those that do: {listed(leave)}")
    data = Annotations.of(data)
    config = default_groups(data) if groups is None else groups_config(groups)
    trained = training_config(training or {})
    if not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed: give a whole number from 0 to {LARGEST_SEED}; got {seed}")
    reading: Reading | None = None if isinstance(encoder, str) else "joined"
    encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
    if isinstance(validation, Annotations):
        n = len(data)
        data = joined(data, validation)
        parts = Split(np.arange(n), np.arange(n, len(data)), np.arange(0))
    else:
        parts = split(data, "annotation", test=0, validation=validation, seed=seed)
    groups_of_data = grouped(config, data.take(parts.train), data, encoder, progress)
    prepared = encoded(data, parts, groups_of_data, [encoder], reading, seed, progress)
    settings = RunSettings(MethodConfig(name=method), trained, seed, Session(progress=progress))
    _, network, _ = fit_method(prepared, settings)
    assert network is not None  # noqa: S101 (the method saves a model)
    if isinstance(network, Network):
        seen = methods.find(method).examples(prepared, seed).take(parts.validation)
        stack = StackNetwork([network], len(data.classes) - 1).eval()
        recalibrate(stack, predict(network, seen), seen, seed)
        network = stack
    group_encoder = encoder if reads_rationales(config) else None
    return build_model(network, prepared, settings, group_encoder, {"seed": seed})


def evaluate(
    model: Model, data: Annotations | pd.DataFrame, progress: Progress = silent
) -> dict[str, Any]:
    """Measure a model on annotations, each predicted under its own groups.

    Args:
        model: The model.
        data: The annotations, or a data frame of them as the model's training table was.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        ``metrics`` and ``groups``, as a run of results.json has them, ``intervals``, which are over
        what ``interval`` says: items, annotators, or both, and ``groups_not_shown``: the names of
        groups of fewer than the model's `min_people`, in training or in `data`, which are in the
        means and not in ``groups``.

    Raises:
        InputError: If the task or the classes are not the model's.
    """
    if isinstance(data, pd.DataFrame):
        data = _of_question(model, _like_training(model, data, "a data frame"))
    return measured(model, data, *judged(model, data, progress))


def measured(model: Model, data: Annotations, p: FloatArray, inside: BoolArray) -> dict[str, Any]:
    """Measure predictions of annotations.

    Args:
        model: The model that made them.
        data: The n annotations.
        p: Their class probabilities, (n, L).
        inside: Which of them are in which group, (n, K).

    Returns:
        As `evaluate`.
    """
    numbers = measured_once(Predictions.of(data, p, inside), model.group_names)
    hidden = groups_not_shown(model, inside, data)
    groups = [each for each in numbers["groups"] if each["group"] not in hidden]
    return {**numbers, "groups": groups, "groups_not_shown": hidden}


def groups_not_shown(model: Model, inside: BoolArray, data: Annotations) -> list[str]:
    """List the groups whose figures could tell what somebody in particular answered.

    Args:
        model: The model.
        inside: Which of n annotations are in which group, (n, K).
        data: The n annotations.

    Returns:
        The names of groups of fewer people than the model's `min_people` allows, in training or in
        `data`.
    """
    askable = {group.name for group in model.askable_groups}
    people = count_people(csr_matrix(inside), data)
    return [
        name
        for name, n_people in zip(model.group_names, people, strict=True)
        if name not in askable or (n_people and model.min_people > 1 and is_of_few(n_people))
    ]


def judged(
    model: Model, data: Annotations, progress: Progress = silent
) -> tuple[FloatArray, BoolArray]:
    """Predict annotations, and say by a `Notice` where none is in a group of the model.

    Args:
        model: The model.
        data: The n annotations.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        The class probabilities, (n, L), and whether each annotation is in each group, (n, K).

    Raises:
        InputError: If the task or the classes are not the model's.
    """
    if (data.task, data.classes) != (model.task, model.classes):
        raise InputError(
            f"the model is {model.task} with the classes {listed(model.classes)}; "
            f"{data.source} is {data.task} with {listed(data.classes)}"
        )
    p, S = model.predict_annotations(data, progress)
    inside = S.toarray() > 0
    if model.group_names and not inside.any():
        warnings.warn(
            f"none of the {len(data):,} annotations of {data.source} is in a group of the model "
            f"({listed(model.group_names, 5)}), so nothing is measured of groups; do its columns "
            "hold the same answers?",
            Notice,
            stacklevel=3,
        )
    return p, inside


def absent_classes(data: Annotations) -> list[str]:
    """List the classes that no annotation has: what needs them cannot be measured.

    Args:
        data: The annotations.

    Returns:
        The names of the classes.
    """
    counts = np.bincount(data.labels, minlength=len(data.classes))
    return [name for name, n in zip(data.classes, counts, strict=True) if not n]


def load_for(
    model: Model,
    data: str | Path,
    data_dir: str | Path | None = None,
    *,
    columns: Columns | None = None,
    labels: Labels | None = None,
) -> Annotations:
    """Load annotations in the form of those that a model was trained on.

    The columns and the meaning of the raw labels are those of the study that made the model; where
    it had none, a file's raw labels are the names of the classes.

    Args:
        model: The model.
        data: A file, or the name of a registered data set.
        data_dir: The folder of the registered data sets, by default that of MCSTL_DATA.
        columns: The file's names by ours, where they are not those of the study.
        labels: The raw labels of each class of the model, where they are not those of the study.

    Returns:
        The checked annotations.

    Raises:
        InputError: If the data are not there or cannot be used, or the labels are of other classes.
    """
    loaded = _as_trained(model, data, data_dir, columns=columns, labels=labels)
    return _of_question(model, loaded)


def _of_question(model: Model, data: Annotations) -> Annotations:
    """The annotations of the question that a model answers, of several in its study."""
    question = model.facts.get("study", {}).get("question")
    return data if question is None else data.question(question)


def load_for_questions(
    model: QuestionsModel,
    data: str | Path,
    data_dir: str | Path | None = None,
    *,
    columns: Columns | None = None,
    labels: Labels | None = None,
) -> Annotations:
    """Load annotations with a label for each question of a model.

    Args:
        model: The model.
        data: As in `load_for`.
        data_dir: As in `load_for`.
        columns: As in `load_for`.
        labels: The raw labels that answer each question with yes, where they are not those of the
            study.

    Returns:
        The checked annotations, of task multilabel.

    Raises:
        InputError: As `load_for`.
    """
    first = next(iter(model.models.values()))
    return _as_trained(first, data, data_dir, columns=columns, labels=labels)


def _as_trained(
    model: Model,
    data: str | Path,
    data_dir: str | Path | None,
    *,
    columns: Columns | None,
    labels: Labels | None,
) -> Annotations:
    """Load annotations as those of the model's study, of all questions where it has several."""
    task, classes = _form_of(model)
    if labels is not None:
        names = tuple(map(str, labels))
        if {*names} != {*classes}:
            what = "questions" if task == "multilabel" else "classes"
            raise InputError(
                f"labels: the model's {what} are {listed(classes)}; got {listed(names)}"
            )
        labels = {name: labels[name] for name in classes}
    labels = labels or model.facts.get("study", {}).get("labels")
    if str(data) in datasets.sources():
        return datasets.load(str(data), data_dir=data_dir, task=task, labels=labels)
    if not Path(data).exists() and (near := did_you_mean(str(data), datasets.sources())):
        raise InputError(f"{data} is neither a file nor a registered data set.{near}")
    return _like_training(model, read_table(data), named_by(Path(data)), columns, labels)


def _form_of(model: Model) -> tuple[Task, tuple[str, ...]]:
    """The task and classes of the table that a model learnt from, of all questions if several."""
    made_by = model.facts.get("study", {})
    if made_by.get("question") is None:
        return model.task, model.classes
    return "multilabel", tuple(made_by["labels"])


def _like_training(
    model: Model,
    table: pd.DataFrame,
    source: str,
    columns: Columns | None = None,
    labels: Labels | None = None,
) -> Annotations:
    """Read a table with the columns, the labels and the layout of the model's study."""
    made_by, (task, classes) = model.facts.get("study", {}), _form_of(model)
    labels = labels or made_by.get("labels")
    in_study = made_by.get("data", {}).get("columns") or {}
    known = {
        ours: theirs
        for ours, theirs in in_study.items()
        if ours not in table.columns or has_columns(table.columns, theirs)
    }
    named = {**known, **(columns or {})}
    return Annotations.from_frame(
        table,
        columns=named,
        layout=_layout_of(table, named, made_by.get("data", {}).get("layout")),
        labels=labels or {name: [name] for name in classes},
        task=task,
        source=source,
    )


def _layout_of(table: pd.DataFrame, columns: Columns, form: LayoutForm | None) -> LayoutForm | None:
    """The layout of the study, unless the table is one with a row per annotation."""
    layout = Layout.parse(form)
    if layout.shape == "lists":
        label = columns.get("label", "label")
        cells = table[label] if isinstance(label, str) and label in table.columns else None
        return None if cells is not None and list_cells(cells) is None else form
    label_is_there = has_columns(table.columns, columns.get("label", "label"))
    return None if label_is_there and not has_columns(table.columns, layout.columns) else form
