"""Splits of annotations into training, validation and test rows, the same on every machine.

`split` draws the parts; `official_split` takes those that the table tells.
"""

import re
from typing import Literal, NamedTuple, get_args

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from mcstl._support.arrays import IntArray
from mcstl._support.errors import InputError, brief, listed, need_names
from mcstl.data.annotations import Annotations
from mcstl.data.parts import readable, split_rationale

SplitBy = Literal["annotation", "item", "annotator"]
#: What the parts are called in tables.
_PARTS = {
    "train": "train",
    "training": "train",
    "dev": "validation",
    "devel": "validation",
    "development": "validation",
    "valid": "validation",
    "val": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


class MissingClassError(InputError):
    """No training annotation has a class that is to be learnt."""


class Split(NamedTuple):
    """Row positions of the three parts of an `Annotations`, each in ascending order.

    Attributes:
        train: Positions of the training rows.
        validation: Positions of the validation rows.
        test: Positions of the test rows.
    """

    train: IntArray
    validation: IntArray
    test: IntArray


def split(
    annotations: Annotations,
    by: SplitBy = "annotation",
    *,
    test: float = 0.2,
    validation: float = 0.1,
    seed: int = 0,
) -> Split:
    """Split annotations into training, validation and test rows.

    Args:
        annotations: What to split.
        by: What stays on one side. ``annotation`` is the paper's split (§3), stratified by label:
            the same text is on both sides. ``item`` keeps all annotations of a text together (for
            pairs: of a connected component of shared texts). ``annotator`` keeps a person's.
        test: Share of all rows.
        validation: Share of the rows that are left, taken the same way.
        seed: Decides the split; it is the same on every machine.

    Returns:
        The row positions of the three parts.

    Raises:
        InputError: A share is not in [0, 1), annotators are missing, or a part would be empty or
            lack a class to train on.
    """
    _check_arguments(by, test=test, validation=validation)
    units = _units(annotations, by)
    rest, test_rows = _part(units, annotations.strata, np.arange(len(annotations)), test, [seed, 0])
    train, validation_rows = _part(units, annotations.strata, rest, validation, [seed, 1])
    parts = Split(train, validation_rows, test_rows)
    for name, rows, share in zip(parts._fields, parts, (1.0, validation, test), strict=True):
        if share and not len(rows):
            few = "annotations" if units is None else f"{by}s that share nothing"
            n = len(annotations) if units is None else len(np.unique(units))
            raise InputError(
                f"split by {by}: no rows left for {name}; there are too few {few} ({n:,}); take a "
                "larger table, with some dozens at least"
            )
    _check_classes(annotations, train, f"split by {by}, seed {seed}")
    return parts


def official_split(
    annotations: Annotations,
    by: SplitBy = "annotation",
    *,
    validation: float = 0.1,
    seed: int = 0,
) -> Split:
    """Take the parts that the column ``split`` tells: train, dev (or validation) and test.

    Without validation rows a share of the training rows becomes them. Without test rows, as while
    a shared task keeps them back, the validation rows are the test, and validation rows are taken
    of the training rows.

    Args:
        annotations: What to split.
        by: What stays on one side where validation rows are taken of the training rows.
        validation: Their share.
        seed: Decides which they are.

    Returns:
        The row positions of the three parts.

    Raises:
        InputError: The column is missing or says something else, or there are no rows to train or
            to test on.
    """
    _check_arguments(by, validation=validation)
    if not annotations.has("split"):
        raise InputError(
            f"{annotations.source} has no column that says train, dev or test; give it as "
            "split: {column: NAME}, or split by item"
        )
    words = [part_of(cell) for cell in annotations.frame["split"]]
    if strange := [i for i, word in enumerate(words) if word is None]:
        first = annotations.frame.iloc[strange[0]]
        raise InputError(
            f"{len(strange):,} rows of {annotations.source} have a split that is neither train, "
            f"dev (or validation) nor test, the first one {brief(first['split'])!r} beside "
            f"{brief(readable(first[annotations.text_columns[0]]))!r}; correct them or leave them "
            "out"
        )
    part = np.array(words, dtype=object)
    train, dev, test = (np.flatnonzero(part == name).astype(np.int64) for name in Split._fields)
    if not len(test):
        test, dev = dev, test
    if len(train) and not len(dev) and validation:
        units = _units(annotations, by)
        train, dev = _part(units, annotations.strata, train, validation, [seed, 1])
    for name, rows in (("train", train), ("test", test)):
        if not len(rows):
            raise InputError(
                f"no row of {annotations.source} is for {name}, says its column of parts; "
                f"it says {listed(annotations.frame['split'].unique())}. Split by item instead"
            )
    _check_classes(annotations, train, "by the official split")
    return Split(train, dev, test)


def part_of(cell: object) -> str | None:
    """Read which part of the data a row belongs to.

    Args:
        cell: What the table says, as ``train``, ``Dev`` or ``TEST_EN``.

    Returns:
        train, validation or test; None if it says anything else.
    """
    return _PARTS.get(re.split(r"[\W_]+", str(cell).strip().casefold())[0])


def _check_arguments(by: str, **shares: float) -> None:
    for name, share in shares.items():
        if not 0 <= share < 1:
            raise InputError(f"split: {name} is a share from 0 to below 1; got {share}")
    if by not in get_args(SplitBy):
        raise InputError(f"split by {by!r} is not known; choose from {listed(get_args(SplitBy))}")


def _check_classes(annotations: Annotations, train: IntArray, how: str) -> None:
    if annotations.task == "multilabel":  # each question is checked by itself
        return
    present = np.bincount(annotations.labels[train], minlength=len(annotations.classes))
    if (present == 0).any():
        empty = [c for c, n in zip(annotations.classes, present, strict=True) if n == 0]
        raise MissingClassError(
            f"no training annotation has the label {listed(empty)} ({how}); "
            "merge classes in `labels` or use more data"
        )


def _units(annotations: Annotations, by: SplitBy) -> IntArray | None:
    """Return (n,) codes of what must stay on one side, or None where every row stands alone."""
    if by == "annotation":
        return None
    if by == "annotator":
        need_names(
            ["annotator"],
            annotations.frame.columns.drop(["row", "flipped"]),
            annotations.source,
            hint="Map it with columns: {annotator: ...}, or split by item",
        )
        missing = int(annotations.frame["annotator"].isna().sum())
        if missing:
            raise InputError(
                f"{missing} rows of {annotations.source} have no annotator; "
                "split by item instead, or drop them"
            )
        return _sorted_codes(annotations.frame["annotator"])
    return whole_items(annotations)


def whole_items(annotations: Annotations) -> IntArray:
    """Find what a split by item keeps on one side.

    Items that share a text stay together, and so do all pairs of a connected set of texts.

    Args:
        annotations: n annotations.

    Returns:
        (n,) a number for each row, the same for rows that stay together.
    """
    texts, positions = annotations.distinct_texts()
    positions = pd.factorize(np.array([split_rationale(text)[0] for text in texts]))[0][positions]
    items = _sorted_codes(annotations.frame["item"])
    n_items = int(items.max()) + 1
    ends = positions + n_items
    links = coo_matrix(
        (np.ones(ends.size), (np.repeat(items, ends.shape[1]), ends.ravel())),
        shape=(n_items + len(texts),) * 2,
    )
    _, component = connected_components(links, directed=False)
    # Each component is known by its first item in sorted order.
    _, first, component = np.unique(component[:n_items], return_index=True, return_inverse=True)
    return first[component][items].astype(np.int64)


def _part(
    units: IntArray | None, labels: IntArray, rows: IntArray, share: float, seed: list[int]
) -> tuple[IntArray, IntArray]:
    """Split `rows` in two, the second with `share` of them, keeping units whole."""
    if share == 0:
        return rows, rows[:0]
    if units is None:
        taken = np.zeros(len(rows), dtype=bool)
        order = _random_order(len(rows), seed)
        for label in np.unique(labels[rows]):
            stratum = order[labels[rows][order] == label]
            taken[stratum[: round(share * len(stratum))]] = True
    else:
        names, codes, sizes = np.unique(units[rows], return_inverse=True, return_counts=True)
        order = _random_order(len(names), seed)
        # A unit is taken if at least half of it still fits, so the share is met on average, and a
        # unit larger than the share leaves room for those after it.
        chosen = np.zeros(len(names), dtype=bool)
        room = share * len(rows)
        for unit in order:
            if sizes[unit] <= 2 * room:
                chosen[unit] = True
                room -= sizes[unit]
        taken = chosen[codes]
    return rows[~taken], rows[taken]


def _random_order(n: int, seed: list[int]) -> IntArray:
    """Return a permutation from raw bits, whose stream NumPy promises never to change."""
    bits = np.random.PCG64(np.random.SeedSequence(seed)).random_raw(n)
    return np.argsort(bits, kind="stable")


def _sorted_codes(values: pd.Series) -> IntArray:
    """Return codes in the order of the sorted values, whatever the order of the rows."""
    return pd.factorize(values.to_numpy(dtype=object), sort=True)[0].astype(np.int64)
