"""Types of arrays, and the distinct rows of integer columns."""

import numpy as np
import numpy.typing as npt

#: Probabilities, metrics and everything else that is counted in double precision.
FloatArray = npt.NDArray[np.float64]
#: Vectors of texts, memberships and weights: what networks compute with.
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]
ObjectArray = npt.NDArray[np.object_]


def distinct(*columns: npt.NDArray[np.integer]) -> tuple[IntArray, IntArray]:
    """Find the distinct rows of a table of integers.

    Args:
        columns: The table's columns, (n,) each.

    Returns:
        The position of the first occurrence of each distinct row, (m,) ascending, and the number
        of each row among the distinct ones, (n,).

    >>> first, codes = distinct(np.array([7, 3, 7, 3]), np.array([0, 1, 0, 2]))
    >>> first, codes
    (array([0, 1, 3]), array([0, 1, 0, 2]))
    """
    n = len(columns[0])
    order = np.lexsort(columns)
    new = np.zeros(n, dtype=bool)
    new[:1] = True
    for column in columns:
        in_order = column[order]
        new[1:] |= in_order[1:] != in_order[:-1]
    codes = np.empty(n, dtype=np.int64)
    codes[order] = np.cumsum(new) - 1
    # lexsort is stable, so the first of equal rows in sorted order is the first of the table.
    first = order[new]
    by_occurrence = np.argsort(first)
    number = np.empty(len(first), dtype=np.int64)
    number[by_occurrence] = np.arange(len(first))
    return first[by_occurrence], number[codes]
