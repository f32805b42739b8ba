"""Attributes that are numbers, as age or an attitude on a scale, cut into bands."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, brief, need_names
from mcstl.data.annotations import Annotations
from mcstl.data.cells import comparable, mapped, objects

#: By attribute, where each band but the first begins.
Edges = Mapping[str, tuple[float, ...]]
#: An attribute with more different numbers is cut into bands where nobody says how.
MOST_NUMBERS = 10
N_BANDS = 3


def band_edges(
    wanted: Mapping[str, int | tuple[float, ...]],
    annotations: Annotations,
    attributes: Sequence[str],
) -> Edges:
    """Find where the bands of numeric attributes begin, on the training rows.

    Args:
        wanted: By attribute, the edges, or how many bands of about as many rows.
        annotations: The training rows.
        attributes: The attributes that make groups.

    Returns:
        The edges of every attribute that is cut.

    Raises:
        InputError: An attribute that shall be cut is not there, or holds what is no number.
    """
    need_names(wanted, attributes, annotations.source, what="attribute", hint="`bands` names it")
    edges = dict[str, tuple[float, ...]]()
    for name in attributes:
        if name not in annotations.attributes:  # which is said where its answers are needed
            continue
        given = wanted.get(name)
        column = annotations.frame[name]
        numbers = numbers_of(column)
        is_number = ~np.isnan(numbers)
        answered = column.notna().to_numpy()
        if (answered & ~is_number).any() or not answered.any():
            if given is not None:
                wrong = column[answered & ~is_number]
                example = f", as {brief(wrong.iloc[0])!r}" if len(wrong) else ""
                raise InputError(
                    f"bands: {brief(name)!r} of {annotations.source} holds what is no "
                    f"number{example}"
                )
        elif isinstance(given, tuple):
            edges[name] = tuple(sorted({*given}))
        elif given is not None or len(np.unique(numbers[is_number])) > MOST_NUMBERS:
            edges[name] = quantile_edges(numbers[is_number], given or N_BANDS)
    return edges


def quantile_edges(numbers: FloatArray, n_bands: int) -> tuple[float, ...]:
    """Cut numbers into bands of about as many rows; equal numbers stay together.

    Args:
        numbers: The numbers, (n,).
        n_bands: How many bands.

    Returns:
        Where each band but the first begins; fewer than asked for where numbers are few.

    >>> quantile_edges(np.array([1.0, 2, 2, 2, 3, 4]), 3)
    (2.0, 3.0)
    """
    values, counts = np.unique(numbers, return_counts=True)
    below = (np.cumsum(counts) - counts)[1:] / len(numbers)
    if not len(below):
        return ()
    nearest = [int(np.abs(below - j / n_bands).argmin()) for j in range(1, n_bands)]
    return tuple(float(values[1 + i]) for i in sorted({*nearest}))


def band_names(edges: Sequence[float]) -> list[str]:
    """Name bands by where they begin and end.

    Args:
        edges: Where each but the first begins, ascending.

    Returns:
        The names, one more than edges.

    >>> band_names([30, 50.5])
    ['below 30', '30 to below 50.5', '50.5 and above']
    """
    if not edges:
        return ["any"]
    shown = [f"{edge:.6g}" for edge in edges]
    between = [f"{low} to below {high}" for low, high in pairwise(shown)]
    return [f"below {shown[0]}", *between, f"{shown[-1]} and above"]


def with_bands(annotations: Annotations, edges: Edges) -> Annotations:
    """Replace the numbers in attributes by the names of their bands.

    Args:
        annotations: n annotations.
        edges: The edges of each attribute that is cut.

    Returns:
        The annotations; what is no number is a missing answer.
    """
    cut = {name: each for name, each in edges.items() if name in annotations.attributes}
    if not cut:
        return annotations
    frame = annotations.frame.copy()
    for name, each in cut.items():
        numbers, names = numbers_of(frame[name]), band_names(each)
        places = np.searchsorted(each, numbers, side="right")
        frame[name] = objects(
            None if np.isnan(x) else names[k] for x, k in zip(numbers, places, strict=True)
        )
    return replace(annotations, frame=frame)


def numbers_of(column: pd.Series) -> FloatArray:
    """Read the numbers in a column.

    Args:
        column: Answers, (n,).

    Returns:
        (n,) the numbers, NaN for what is none.
    """
    numbers = mapped(column, lambda cell: x if isinstance(x := comparable(cell), float) else np.nan)
    return numbers.astype(float)
