"""What the multilevel model is made of: kinds of effects, and the rows that they add up in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.arrays import FloatArray, IntArray

#: Rows whose features are held at once.
_ROWS_AT_ONCE = 250_000


@dataclass(frozen=True)
class Term:
    """One kind of effect: every unit (a group, a person, a text) has a linear function of features.

    Attributes:
        name: What the units are.
        units: How much each row is of each unit, (n, U).
        features: The features of the distinct texts (or pairs), (m, d).
        bands: Which of the term's variances each feature has, (d,), from 0 up.
    """

    name: str
    units: csr_matrix
    features: FloatArray
    bands: IntArray

    @property
    def size(self) -> int:
        """The number of effects, U d."""
        return int(self.units.shape[1] * self.features.shape[1])


@dataclass(frozen=True)
class Design:
    """The effects of all rows: what texts share, and the terms.

    Attributes:
        text: The features of the distinct texts (or pairs), (m, D).
        text_bands: Which of the texts' variances each feature has, (D,).
        cell: Each row's text (or pair) among them, (n,).
        terms: The other kinds of effects.
        y: Class indices, (n,).
        w: Weights, (n,).
        n_classes: The number of classes, L.
        symmetric: Whether the one cut is 0, as in preference.
    """

    text: FloatArray
    text_bands: IntArray
    cell: IntArray
    terms: Sequence[Term]
    y: IntArray
    w: FloatArray
    n_classes: int
    symmetric: bool


class _Wide:
    """A term of many units: what each effect adds to each row, as a sparse matrix (n, U d)."""

    def __init__(self, term: Term, cell: IntArray) -> None:
        is_level = term.features.shape[1] == 1 and bool((term.features == 1).all())
        self.matrix = term.units if is_level else explicit(term, cell, np.arange(len(cell)))

    def times(self, effects: FloatArray) -> FloatArray:
        return np.asarray(self.matrix @ effects)

    def transposed_times(self, rows: FloatArray) -> FloatArray:
        return np.asarray(self.matrix.T @ rows)


class _Grid:
    """A term of few units: it is computed for every text and unit, and looked up for each row.

    Rows of the same text share the product of its features, which takes a tenth of the time and
    memory of a sparse matrix of all effects.
    """

    def __init__(self, term: Term, cell: IntArray) -> None:
        self.features = term.features
        (n, self.n_units), (m, self.width) = term.units.shape, term.features.shape
        size = m * self.n_units
        index = np.int32 if max(size, term.units.nnz) < 2**31 else np.int64
        starts = term.units.indptr.astype(index)
        places = np.repeat(cell.astype(index) * self.n_units, np.diff(starts))
        places += term.units.indices.astype(index)
        self.of_grid = csr_matrix((term.units.data, places, starts), shape=(n, size))

    def times(self, effects: FloatArray) -> FloatArray:
        by_unit = effects.reshape(self.n_units, self.width, -1)  # (U, d, R)
        by_feature = by_unit.transpose(1, 0, 2).reshape(self.width, -1)  # (d, U R)
        grid = self.features @ by_feature  # (m, U R)
        return np.asarray(self.of_grid @ grid.reshape(-1, effects.shape[1]))

    def transposed_times(self, rows: FloatArray) -> FloatArray:
        grid = np.asarray(self.of_grid.T @ rows).reshape(len(self.features), -1)  # (m, U R)
        by_feature = (self.features.T @ grid).reshape(self.width, self.n_units, -1)
        return np.asarray(by_feature.transpose(1, 0, 2).reshape(-1, rows.shape[1]))


class Matrix:
    """The design as one matrix X of n rows and all effects, of which only products are computed.

    Args:
        design: The rows and the kinds of effects.

    Attributes:
        slices: Where the effects of the texts' features are, then those of each term.
        size: The number of effects.
    """

    def __init__(self, design: Design) -> None:
        self.design = design
        n, (m, width) = len(design.y), design.text.shape
        self.of_cells = csr_matrix((np.ones(n), (design.cell, np.arange(n))), shape=(m, n))
        self._terms = [_product(term, design.cell) for term in design.terms]
        ends = np.cumsum([width, *(term.size for term in design.terms)])
        self.slices = [slice(0, width), *map(slice, ends[:-1], ends[1:])]
        self.size = int(ends[-1])

    def times(self, effects: FloatArray) -> FloatArray:
        """Compute X effects.

        Args:
            effects: R sets of effects, (size, R).

        Returns:
            Their scores, (n, R).
        """
        scores = (self.design.text @ effects[self.slices[0]])[self.design.cell]
        for term, piece in zip(self._terms, self.slices[1:], strict=True):
            scores += term.times(effects[piece])
        return np.asarray(scores)

    def transposed_times(self, rows: FloatArray) -> FloatArray:
        """Compute X' rows.

        Args:
            rows: R numbers for each row, (n, R).

        Returns:
            What they are for each effect, (size, R).
        """
        of_text = self.design.text.T @ (self.of_cells @ rows)
        return np.concatenate([of_text, *(term.transposed_times(rows) for term in self._terms)])

    def mean_squares(self) -> FloatArray:
        """Compute the mean square, over rows, of what each effect is multiplied by.

        Returns:
            The mean squares, (size,).
        """
        n, m = len(self.design.cell), len(self.design.text)
        squares = [self.design.text.T**2 @ np.bincount(self.design.cell, minlength=m)]
        for term in self.design.terms:
            of_units = np.zeros((term.units.shape[1], term.features.shape[1]))
            for rows, units in _squared_units(term):
                of_units += units @ term.features[self.design.cell[rows]] ** 2
            squares.append(of_units.ravel())
        return np.concatenate(squares) / n


def explicit(term: Term, cell: IntArray, rows: IntArray) -> csr_matrix:
    """Multiply units by features.

    Args:
        term: A kind of effect.
        cell: Each row's text (or pair), (n,).
        rows: The positions of some rows, (r,).

    Returns:
        What each effect of the term adds to each row's score, (r, U d).
    """
    units, d = term.units[rows], term.features.shape[1]
    of_entries = term.features[np.repeat(cell[rows], np.diff(units.indptr))]
    index = np.int32 if max(term.size, of_entries.size) < 2**31 else np.int64
    columns = units.indices[:, None].astype(index) * d + np.arange(d, dtype=index)
    of_entries *= units.data[:, None]
    starts = units.indptr.astype(index) * d
    return csr_matrix((of_entries.ravel(), columns.ravel(), starts), shape=(len(rows), term.size))


def unit_blocks(term: Term, cell: IntArray, weight: FloatArray) -> FloatArray:
    """Sum the weighted products of features over each unit's rows.

    Args:
        term: A kind of effect.
        cell: Each row's text (or pair), (n,).
        weight: The rows' weights, (n,).

    Returns:
        A matrix per unit, (U, d, d).
    """
    d = term.features.shape[1]
    blocks = np.zeros((term.units.shape[1], d, d))
    for rows, units in _squared_units(term):
        features = term.features[cell[rows]]
        for j in range(d):
            blocks[:, j] += units @ ((weight[rows] * features[:, j])[:, None] * features)
    return blocks


def _squared_units(term: Term) -> Iterator[tuple[slice, csr_matrix]]:
    """Cut the rows, and give for each piece the squares of its units, (U, rows)."""
    for start in range(0, term.units.shape[0], _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        units = term.units[rows]
        yield rows, units.multiply(units).T.tocsr()


def _product(term: Term, cell: IntArray) -> _Wide | _Grid:
    """Choose how a term is multiplied: by what takes less memory."""
    (m, d), n_units = term.features.shape, term.units.shape[1]
    is_grid = 0 < m * n_units <= term.units.nnz * d
    return _Grid(term, cell) if is_grid else _Wide(term, cell)
