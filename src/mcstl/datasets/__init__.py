"""Registered data sets: one file per source, which reads the source's own files.

>>> from mcstl import datasets
>>> data = datasets.load("simulated", annotations=200)
>>> data.task, data.classes, len(data)
('ordinal', ('oppose', 'unsure', 'support'), 200)
"""

import functools
import importlib
import logging
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd

from mcstl._support import plugins
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Labels, Task
from mcstl.datasets import simulated
from mcstl.datasets.source import Source

__all__ = ["Source", "data_folder", "load", "missing_files", "sources"]

_FILES = (
    "valueprism",
    "valueeval23",
    "hh_rlhf",
    "ukpconvarg1",
    "dices",
    "d3code",
    "popquorn",
    "lewidi",
    "awa",
    "cade",
    "livenli",
    "simulated",
)
_log = logging.getLogger("mcstl")


@functools.cache
def sources() -> dict[str, Source]:
    """List the registered data sets.

    Returns:
        The data sets by name, those of other packages first.

    >>> [name for name in sources() if name.startswith("vp-")]
    ['vp-duties', 'vp-rights', 'vp-values', 'vp-schwartz']
    """
    modules = (importlib.import_module(f"mcstl.datasets.{name}") for name in _FILES)
    ours = {source.name: source for module in modules for source in module.SOURCES}
    loaded = [plugins.load("datasets", name) for name in plugins.names("datasets")]
    lists = [each if isinstance(each, list | tuple) else [each] for each in loaded]
    return {source.name: source for group in lists for source in group} | ours


def load(
    name: str,
    *,
    data_dir: Path | str | None = None,
    task: Task | None = None,
    labels: Labels | None = None,
    annotations: int | None = None,
    columns: Mapping[str, str] | None = None,
) -> Annotations:
    """Load a registered data set from the source's own files.

    A data set whose counts differ from the stated ones is used with a logged warning.

    Args:
        name: One of `sources`.
        data_dir: The folder that holds a folder per data set; by default the environment variable
            MCSTL_DATA.
        task: The task form; by default the data set's own, or, where `labels` are given for
            a data set of single texts, binary or ordinal by their number.
        labels: Ordered classes and their raw values, as in `Annotations.from_frame`; by default
            the data set's own.
        annotations: How many annotations to simulate, for the simulated data only.
        columns: The names of the source's columns in the user's files, where the source allows it.

    Returns:
        The annotations.

    Raises:
        InputError: The name or task is unknown, there is no data directory, or a file is missing,
            truncated or another than expected.
    """
    source = sources().get(name)
    if source is None:
        raise InputError(
            f"there is no data set {name!r}; choose from {listed(sources())}."
            f"{did_you_mean(name, sources())}"
        )
    task = task or _default_task(source, labels)
    if task not in source.tasks:
        raise InputError(f"{name} has no task {task!r}; choose from {listed(source.tasks)}")
    if columns and not source.columns:
        raise InputError(f"data: columns belongs to a file; {name} brings its own")
    for column in columns or {}:
        if column not in source.columns:
            raise InputError(
                f"data: columns: {name} has no {column!r}; its columns: {listed(source.columns)}."
                f"{did_you_mean(column, source.columns)}"
            )
    if annotations is not None and name != "simulated":
        raise InputError(
            f"annotations={annotations} sets the size of simulated data; {name} has its own"
        )
    if annotations is not None:
        frame = simulated.table(task, annotations)
    else:
        try:
            folder = _folder(source, data_dir)
            frame = source.read(folder, task, *([columns or {}] if source.columns else []))
        except InputError as error:
            raise InputError(f"{error} The files of {name} come from {source.homepage}") from error
        _check_counts(source, frame)
    loaded = Annotations.from_frame(
        frame, labels=source.tasks[task] if labels is None else labels, task=task, source=name
    )
    return replace(loaded, dropped={**frame.attrs.get("dropped", {}), **loaded.dropped})


def _default_task(source: Source, labels: Labels | None) -> Task:
    default = next(iter(source.tasks))
    fitting: Task = "binary" if labels is not None and len(labels) == 2 else "ordinal"
    if labels is None or default == "preference" or fitting not in source.tasks:
        return default
    return fitting


def data_folder(source: Source, data_dir: Path | str | None) -> Path:
    """Find the folder that a data set's files are in, or have to be put into.

    Args:
        source: The data set.
        data_dir: As in `load`.

    Returns:
        The folder, which need not exist.

    Raises:
        InputError: Neither `data_dir` nor the environment variable MCSTL_DATA is given.
    """
    root, name = data_dir or os.environ.get("MCSTL_DATA"), source.folder or source.name
    if not root:
        raise InputError(
            f"{source.name} needs a data directory that holds {name}/{source.files[0]}: "
            "give --data-dir (from Python data_dir=...) or set MCSTL_DATA."
        )
    return Path(root).expanduser() / name


def missing_files(source: Source, folder: Path) -> list[str]:
    """List the files of a data set that are missing.

    Args:
        source: The data set.
        folder: Its folder.

    Returns:
        Those of `source.files` that nothing in the folder matches.
    """
    return [file for file in source.files if not any(folder.glob(file))]


def _folder(source: Source, data_dir: Path | str | None) -> Path:
    """Return the data set's folder, checked to hold its files."""
    if not source.files:
        return Path()
    folder = data_folder(source, data_dir)
    if missing := missing_files(source, folder):
        raise InputError(f"{folder} lacks {listed(missing)}. Type: mcstl data get {source.name}.")
    return folder


def _check_counts(source: Source, frame: pd.DataFrame) -> None:
    counted = {"annotations": len(frame)}
    for column in ("item", "annotator"):
        if column in frame.columns:
            counted[f"{column}s"] = frame[column].nunique()
    counted |= frame.attrs.get("counts", {})
    stated = [(*count, 1, "") for count in source.counts.items()]
    stated += [(*count, 1000, "about ") for count in source.about.items()]
    for what, expected, tolerance, about in stated:
        if abs(counted[what] - expected) >= tolerance:
            _log.warning(
                "%s has %s %s where the source has %s: a part, another version, or a cut file?",
                source.name,
                f"{counted[what]:,}",
                what,
                f"{about}{expected:,}",
            )
