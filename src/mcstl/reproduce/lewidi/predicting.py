"""Fitting what is entered: official parts, folds within the training part, folds of a lone dev."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcstl import datasets
from mcstl._support.arrays import FloatArray, IntArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress
from mcstl.data.annotations import Annotations
from mcstl.data.cells import objects
from mcstl.data.splits import Split, split
from mcstl.datasets import lewidi
from mcstl.encoding.encoders import load_encoder
from mcstl.methods.fitting import fit_method
from mcstl.reproduce.lewidi.editions import Target
from mcstl.reproduce.lewidi.scores import scores
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

#: How many folds there are, and how many of them are measured to choose.
_FOLDS, _FOLDS_TO_CHOOSE = 5, 2
_VALIDATION = 0.1

#: The rows that are learnt from, and those that are predicted.
Rows = tuple[IntArray, IntArray]


def load_target(target: Target, data_dir: str | Path | None) -> tuple[Annotations, bool]:
    """Load a data set with the entries whose labels are kept back.

    Args:
        target: The data set.
        data_dir: The folder of the registered data sets.

    Returns:
        All annotations, those without a label with the lowest one, which is never learnt from; and
        whether all have one.

    Raises:
        InputError: The data are not there or cannot be used.
    """
    source = datasets.sources()[target.dataset]
    folder = datasets.data_folder(source, data_dir)
    if missing := datasets.missing_files(source, folder):
        raise InputError(
            f"{folder} lacks {', '.join(missing)}. Type: mcstl data get {source.name}."
        )
    frame = lewidi.with_unlabelled(source, folder, target.task)
    labels = source.tasks[target.task]
    is_open = frame["label"].isna()
    lowest = next(iter(labels.values()))[0]
    pairs = zip(frame["label"], is_open, strict=True)
    frame["label"] = objects(lowest if is_missing else label for label, is_missing in pairs)
    data = Annotations.from_frame(frame, labels=labels, task=target.task, source=source.name)
    return data, not is_open.any()


def predicted(
    target: Target, fields: Mapping[str, Any], data: Annotations, rows: Rows, progress: Progress
) -> FloatArray:
    """Fit a study to some rows and predict others, each for its annotator.

    Args:
        target: The data set.
        fields: The study's fields.
        data: The annotations.
        rows: The rows to learn from, and those to predict.
        progress: Called with what is being done, how many steps are finished and how many there
            are.

    Returns:
        (n, L) probabilities of the classes; of several questions that of yes.
    """
    if target.task == "multilabel":
        of_each = [
            _fit(target, fields, data.question(name), rows, progress)[:, 1] for name in data.classes
        ]
        return np.stack(of_each, axis=1)
    return _fit(target, fields, data, rows, progress)


def _fit(
    target: Target, fields: Mapping[str, Any], data: Annotations, rows: Rows, progress: Progress
) -> FloatArray:
    study = _study(target, fields)
    if study.read_rationales:
        data = data.with_rationales_read()
    learnt, asked = rows
    inner = split(data.take(learnt), "item", test=0, validation=_VALIDATION)
    parts = Split(learnt[inner.train], learnt[inner.validation], asked)
    encoder = load_encoder(study.encoder_name)
    prepared = prepare(study, data, encoder, 0, progress=progress, parts=parts)
    return fit_method(prepared, study.settings_of(study.methods[0], 0)).p


def _study(target: Target, fields: Mapping[str, Any]) -> Study:
    usual = {"groups": "none", "methods": ["multilevel"], "seeds": [0]}
    return Study(data={"dataset": target.dataset}, task=target.task, **{**usual, **fields})


def cross_predicted(
    target: Target,
    fields: Mapping[str, Any],
    data: Annotations,
    rows: IntArray,
    progress: Progress,
    folds: int = _FOLDS,
) -> FloatArray:
    """Predict rows by folds of their items, each by a fit to the others.

    Args:
        target: The data set.
        fields: The study's fields.
        data: The annotations.
        rows: The rows.
        progress: As in `predicted`.
        folds: How many of the five folds are predicted.

    Returns:
        (n, L) as `predicted`; NaN in folds that are not.
    """
    fold = fold_of_rows(data, rows)
    p = np.full((len(rows), len(data.classes)), np.nan)
    for k in range(folds):
        progress("folds", k, folds)
        out = fold == k
        p[out] = predicted(target, fields, data, (rows[~out], rows[out]), progress)
    progress("folds", folds, folds)
    return p


def fold_of_rows(data: Annotations, rows: IntArray) -> IntArray:
    """Deal the items of rows to five folds.

    Args:
        data: The annotations.
        rows: The rows.

    Returns:
        (n,) the fold of each row, the same for all rows of an item.
    """
    items, names = pd.factorize(data.frame["item"].to_numpy()[rows])
    dealt = np.random.default_rng(0).permutation(len(names)) % _FOLDS
    return np.asarray(dealt[items], dtype=np.int64)


def choose(
    target: Target,
    candidates: Sequence[Mapping[str, Any]],
    data: Annotations,
    rows: IntArray,
    progress: Progress,
) -> tuple[Mapping[str, Any], str]:
    """Choose the candidate with the best soft labels, by folds within the rows to learn from.

    Args:
        target: The data set.
        candidates: The fields of studies.
        data: The annotations.
        rows: The rows to learn from.
        progress: As in `predicted`.

    Returns:
        The fields of the best, and a sentence about the choice.
    """
    names = [json.dumps(each).replace('"', "") for each in candidates]
    if len(candidates) == 1:
        return candidates[0], f"entered as {names[0]}."
    means = []
    for fields in candidates:
        p = cross_predicted(target, fields, data, rows, progress, _FOLDS_TO_CHOOSE)
        done = ~np.isnan(p[:, 0])
        means.append(float(scores(p[done], data.take(rows[done]), target).first.mean()))
    best = int(np.argmin(means))
    figures = ", ".join(f"{name} {mean:.3f}" for name, mean in zip(names, means, strict=True))
    folds = f"{_FOLDS_TO_CHOOSE} of {_FOLDS} folds"
    return candidates[best], f"chosen by {folds} within what is learnt from: {figures}."
