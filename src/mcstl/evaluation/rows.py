"""The rows that are audited, and small things that the audit's files share."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.data.labels import Task

T = TypeVar("T")

LEVEL = 0.95
RESAMPLES = 1000
#: Numbers in one block of resamples: few enough to stay in a processor's cache.
_BLOCK = 500_000
#: Each thread holds a block or two in memory.
_MOST_THREADS = 4


@dataclass(frozen=True)
class Rows:
    """Test rows of one run; `items` and `annotators` have the same codes in all runs compared."""

    p: FloatArray  # (n, L)
    labels: IntArray  # (n,) class indices
    members: BoolArray  # (n, K)
    minority: BoolArray  # (n,)
    items: IntArray  # (n,) codes, 0 or more
    annotators: IntArray  # (n,) codes, 0 or more; who is not known is a person of their own
    task: Task

    def __post_init__(self) -> None:
        n = len(self.p)
        if not n:
            raise InputError("there are no rows to audit")
        sizes = {name: len(value) for name, value in vars(self).items() if name != "task"}
        if wrong := [f"{name} has {size}" for name, size in sizes.items() if size != n]:
            raise InputError(f"there are {n} predictions, but {listed(wrong)} rows")
        check_probabilities(self.p)
        n_classes = self.p.shape[1]
        if self.labels.min() < 0 or self.labels.max() >= n_classes:
            raise InputError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; "
                f"expected 0 to {n_classes - 1}"
            )


def check_probabilities(p: npt.ArrayLike) -> None:
    """Raise InputError unless `p` is (n, L) and each row holds probabilities that sum to 1."""
    p = np.asarray(p, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2:
        raise InputError(f"probabilities have shape {p.shape}; expected (rows, classes)")
    for what, bad in (
        ("a probability that is not a number", ~np.isfinite(p).all(axis=1)),
        ("a probability below 0 or above 1", ((p < -1e-6) | (p > 1 + 1e-6)).any(axis=1)),
        ("probabilities that do not sum to 1", np.abs(p.sum(axis=1) - 1) > 1e-4),
    ):
        if bad.any():
            raise InputError(
                f"{int(bad.sum())} of {len(p)} predictions have {what}, "
                f"the first one {p[int(np.argmax(bad))].tolist()}"
            )


def membership(lists: Iterable[Sequence[str]], names: Sequence[str]) -> BoolArray:
    """Return (n, K) membership from one list of group names per row (predictions.parquet).

    Raises InputError for a group that is not in `names`.

    >>> membership([["b"], [], ["a", "b"]], ["a", "b"]).astype(int).tolist()
    [[0, 1], [0, 0], [1, 1]]
    """
    lists, place = list(lists), {name: k for k, name in enumerate(names)}
    flat = [name for row in lists for name in row]
    for name in flat:
        if name not in place:
            raise InputError(
                f"predictions name a group {name!r} that the results do not have; "
                f"found: {listed(names)}.{did_you_mean(name, names)}"
            )
    members = np.zeros((len(lists), len(names)), dtype=bool)
    rows = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    members[rows, [place[name] for name in flat]] = True
    return members


def in_blocks(block: Callable[[range], T], n: int, n_rows: int) -> list[T]:
    """Compute resamples 0 ... n - 1 in blocks, on a few threads."""
    size = max(1, min(n, _BLOCK // max(n_rows, 1)))
    ranges = [range(start, min(start + size, n)) for start in range(0, n, size)]
    if len(ranges) == 1:
        return [block(ranges[0])]
    # One thread of ours a processor; BLAS would add its own, which wait by spinning.
    threads = ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS))
    with threadpool_limits(1, "blas"), threads as pool:
        return list(pool.map(block, ranges))


def ratio(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> FloatArray:
    """`a` / `b`, NaN where `b` is 0."""
    found: FloatArray = np.full(np.broadcast_shapes(np.shape(a), np.shape(b)), np.nan)
    np.divide(a, b, out=found, where=np.broadcast_to(np.asarray(b) != 0, found.shape))
    return found


def nanmean(values: FloatArray, axis: int) -> FloatArray:
    """Mean of those that are numbers, NaN where none is."""
    there = ~np.isnan(values)
    return ratio(np.where(there, values, 0.0).sum(axis=axis), there.sum(axis=axis))
