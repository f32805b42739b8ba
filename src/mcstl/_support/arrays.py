"""The types of arrays, and the distinct rows of integer columns."""

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
#: Vectors of texts, memberships and weights: what networks compute with.
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ObjectArray = npt.NDArray[np.object_]


def distinct(*columns: npt.NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """Return where each kind of row comes first, in order of coming, and (n,) each row's kind.

    >>> first, kind = distinct(np.array([7, 3, 7, 3]), np.array([0, 1, 0, 2]))
    >>> first, kind
    (array([0, 1, 3]), array([0, 1, 0, 2]))
    """
    n = len(columns[0])
    order = np.lexsort(columns)
    new = np.zeros(n, dtype=bool)
    new[:1] = True
    for column in columns:
        in_order = column[order]
        new[1:] |= in_order[1:] != in_order[:-1]
    kind = np.empty(n, dtype=np.int64)
    kind[order] = np.cumsum(new) - 1
    # lexsort is stable, so the first of each kind in its order is the first that came.
    first = order[new]
    coming = np.argsort(first)
    number = np.empty(len(first), dtype=np.int64)
    number[coming] = np.arange(len(first))
    return first[coming], number[kind]
