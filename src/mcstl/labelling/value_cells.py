"""How values and their memberships stand in the cell of a table: ``Power|Security=0.4``."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mcstl._support.arrays import Float32Array

_STEP = 0.1
_WEIGHTED = re.compile(r"(.+)=(0?\.\d+|0|1(?:\.0*)?)")


def weighted(value: str) -> tuple[str, float]:
    """Return the name of a value in a cell and its membership, 1 where none is written.

    >>> weighted("Power"), weighted("Conformity: rules=0.4"), weighted("a=b")
    (('Power', 1.0), ('Conformity: rules', 0.4), ('a=b', 1.0))
    """
    found = _WEIGHTED.fullmatch(value)
    return (found[1], float(found[2])) if found else (value, 1.0)


def cells(membership: csr_matrix, names: Sequence[str]) -> list[str]:
    """Return (n,) cells of a membership (n, K), the memberships written where they are not 1."""
    rows = zip(membership.indptr[:-1], membership.indptr[1:], strict=True)
    return [
        "|".join(_written(names[membership.indices[i]], membership.data[i]) for i in range(a, b))
        for a, b in rows
    ]


def values_in(row: Iterable[str], soft: bool = False) -> dict[str, float]:
    """Return the memberships of the values in a cell; without `soft` those above 0 are 1.

    >>> values_in(["b=0.4", "c"], soft=True), values_in(["b=0.4", "c"])
    ({'b': 0.4, 'c': 1.0}, {'b': 1.0, 'c': 1.0})
    """
    found = dict(map(weighted, row))
    return found if soft else {name: 1.0 for name, weight in found.items() if weight > 0}


def in_steps(p: npt.NDArray[Any]) -> Float32Array:
    """Return soft memberships in tenths, so that rows tie and few patterns of groups occur.

    >>> in_steps(np.array([0.0, 0.01, 0.27, 1.0])).tolist()
    [0.0, 0.10000000149011612, 0.30000001192092896, 1.0]
    """
    tenths = np.maximum(np.round(p / _STEP), p > 0) * _STEP
    return tenths.astype(np.float32)


def _written(name: str, weight: float) -> str:
    return name if weight == 1 else f"{name}={weight:.1f}"
