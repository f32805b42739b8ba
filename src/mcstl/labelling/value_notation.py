"""Values and their memberships as a table writes them: ``Power|Security=0.4``."""

import re
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mcstl._support.arrays import Float32Array

_STEP = 0.1
_VALUE_AND_MEMBERSHIP = re.compile(r"(.+)=(0?\.\d+|0|1(?:\.0*)?)")


def parse_value(text: str) -> tuple[str, float]:
    """Read a value and its membership, which is 1 where none is written.

    Args:
        text: One value of a cell, such as ``Power`` or ``Power=0.4``.

    Returns:
        The name of the value and its membership, from 0 to 1.

    Examples:
        >>> parse_value("Power"), parse_value("Conformity: rules=0.4"), parse_value("a=b")
        (('Power', 1.0), ('Conformity: rules', 0.4), ('a=b', 1.0))
    """
    match = _VALUE_AND_MEMBERSHIP.fullmatch(text)
    return (match[1], float(match[2])) if match else (text, 1.0)


def parse_memberships(values: Iterable[str], soft: bool = False) -> dict[str, float]:
    """Read the values of one annotation and its membership in each.

    Args:
        values: The values as a table writes them, each with or without a membership.
        soft: Keep memberships between 0 and 1. Otherwise those above 0 become 1, and values with
            membership 0 are left out.

    Returns:
        The membership, from 0 to 1, by value.

    Examples:
        >>> parse_memberships(["b=0.4", "c"], soft=True), parse_memberships(["b=0.4", "c"])
        ({'b': 0.4, 'c': 1.0}, {'b': 1.0, 'c': 1.0})
    """
    memberships = dict(map(parse_value, values))
    if soft:
        return memberships
    return {name: 1.0 for name, membership in memberships.items() if membership > 0}


def format_memberships(membership: csr_matrix, names: Sequence[str]) -> list[str]:
    """Write the values of each annotation as the cell of a table.

    Args:
        membership: (n, K) membership of annotations in values, from 0 to 1.
        names: (K,) names of the values.

    Returns:
        (n,) cells, with a membership written where it is not 1.
    """
    bounds = zip(membership.indptr[:-1], membership.indptr[1:], strict=True)
    return [
        "|".join(
            _format_value(names[membership.indices[i]], membership.data[i])
            for i in range(start, end)
        )
        for start, end in bounds
    ]


def round_to_tenths(p: npt.NDArray[Any]) -> Float32Array:
    """Round soft memberships to tenths, so that few distinct patterns of groups occur.

    Equal patterns can then be trained and predicted together.

    Args:
        p: Memberships from 0 to 1, of any shape.

    Returns:
        Memberships of the same shape; what is above 0 stays at least 0.1.

    Examples:
        >>> round_to_tenths(np.array([0.0, 0.01, 0.27, 1.0])).tolist()
        [0.0, 0.10000000149011612, 0.30000001192092896, 1.0]
    """
    tenths = np.maximum(np.round(p / _STEP), p > 0) * _STEP
    return tenths.astype(np.float32)


def _format_value(name: str, membership: float) -> str:
    return name if membership == 1 else f"{name}={membership:.1f}"
