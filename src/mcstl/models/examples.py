"""The rows that training sees: as they are given, as weighted cells, and in steps."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from mcstl._support.arrays import Float32Array, FloatArray, IntArray, distinct

_WITHIN_PEOPLE = 0.1  # a few people's answers may change from one annotation to the next
#: Annotations become one cell up to this weight: a step shall see many, not a few heavy ones.
_MOST_PER_CELL = 4
_ROWS_AT_ONCE = 1_000_000  # whose memberships are summed together
#: Annotations of one text that go through a step together, so that its projection serves them all.
_BUNCH = 8


@dataclass(frozen=True)
class Examples:
    """Rows to train or predict on.

    `vectors` (m, d) float32 are the distinct texts, `positions` (n, 1 or 2) the rows' texts among
    them, `S` (n, K) the membership, `y` (n,) class indices, `w` (n,) weights. `who` (n,) are codes
    of the annotators that training knows and -1 elsewhere, for a network that learns people.
    """

    vectors: Float32Array
    positions: IntArray
    S: csr_matrix
    y: IntArray
    w: Float32Array
    who: IntArray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Return the rows given by position or mask; the texts are shared, not copied."""
        return replace(
            self,
            positions=self.positions[rows],
            S=self.S[rows],
            y=self.y[rows],
            w=self.w[rows],
            who=None if self.who is None else self.who[rows],
        )

    @cached_property
    def patterns(self) -> tuple[csr_matrix, IntArray]:
        """The distinct memberships (P, K), and which each row has (n,)."""
        return distinct_rows(self.S)

    @cached_property
    def ties(self) -> tuple[IntArray, IntArray]:
        """The first of the rows with the same texts, groups and person, and (n,) each row's place.

        Such rows are predicted once, so that their predictions are equal to the last bit.
        """
        who = [] if self.who is None else [self.who]
        return distinct(*self.positions.T, self.patterns[1], *who)

    def memberships_of_people(self) -> tuple[FloatArray, FloatArray]:
        """Return the mean membership of each of the people known, (A, K), and which groups are so.

        A group is people's, 1 in the second (K,), if not over a tenth of its variance is within
        people: annotators' attributes, not the reasons that they give.
        """
        assert self.who is not None  # noqa: S101 (for the type checker)
        rows = np.flatnonzero(self.who >= 0)
        who, S = self.who[rows], self.S[rows].toarray().astype(float)
        counts = np.bincount(who, minlength=int(self.who.max(initial=-1)) + 1)
        typical = np.zeros((len(counts), S.shape[1]))
        np.add.at(typical, who, S)
        typical /= np.maximum(counts, 1)[:, None]
        within = ((S - typical[who]) ** 2).sum(axis=0)
        total = ((S - S.mean(axis=0)) ** 2).sum(axis=0) if len(S) else within
        return typical, (within <= _WITHIN_PEOPLE * total).astype(float)

    def without_groups(self) -> Self:
        """Return the same rows in no group: the empty set of §3.3."""
        return replace(self, S=csr_matrix((len(self), 0), dtype=np.float32))


@dataclass(frozen=True)
class Cells:
    """Rows with the same texts, groups and person as one, as tensors.

    The loss is linear in the 0/1 levels of the labels, so that `levels` (n, T), their mean over a
    cell's annotations, and their summed weight `w` (n,) stand for all of them. A cell heavier than
    `_MOST_PER_CELL` is cut into equal ones. `pattern` (n,) says which of the `patterns` (P, K) a
    cell's groups are; `labels` (P, L) is the weight of each class there.
    """

    vectors: Tensor
    positions: Tensor
    patterns: Tensor
    pattern: Tensor
    levels: Tensor
    w: Tensor
    who: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.w)

    @classmethod
    def of(cls, rows: Examples, n_classes: int, device: torch.device) -> Self:
        """Make the cells of rows, those of a single text in order of their texts."""
        rows = replace(rows)  # so that what it keeps for predictions, gigabytes, ends here
        first, cell = rows.ties
        patterns, pattern = rows.patterns
        labels = _weights(cell, rows, len(first), n_classes)
        w = labels.sum(1)
        above = labels[:, ::-1].cumsum(1)[:, ::-1][:, 1:] / np.maximum(w, 1e-12)[:, None]
        cuts = np.maximum(1, np.ceil(w / _MOST_PER_CELL)).astype(np.int64)
        order = np.repeat(np.arange(len(first)), cuts)
        if rows.positions.shape[1] == 1:
            order = order[np.argsort(rows.positions[first[order], 0], kind="stable")]
        at = first[order]
        tensors = (
            torch.from_numpy(rows.vectors),
            torch.from_numpy(rows.positions[at]),
            torch.from_numpy(patterns.toarray()),
            torch.from_numpy(pattern[at]),
            torch.from_numpy(above[order].astype(np.float32)),
            torch.from_numpy((w / cuts)[order].astype(np.float32)),
            torch.from_numpy(np.zeros(0, dtype=np.int64) if rows.who is None else rows.who[at]),
            torch.from_numpy(_weights(pattern, rows, patterns.shape[0], n_classes)),
        )
        return cls(*(tensor.to(device) for tensor in tensors))


def _weights(kind: IntArray, rows: Examples, n_kinds: int, n_classes: int) -> FloatArray:
    """The weight of each class among the rows of each kind: (n_kinds, L)."""
    size = n_kinds * n_classes
    found = np.bincount(kind * n_classes + rows.y, weights=rows.w, minlength=size).astype(float)
    return found.reshape(n_kinds, n_classes)


class Steps:
    """The steps of an epoch: which cells each has, `batch_size` annotations a step, shuffled.

    A step has a few annotations each of many texts rather than any cells at all: what is shuffled
    are bunches of cells that share a text, of which each epoch makes new ones. Pairs, which share
    their texts with other pairs, are not bunched.
    """

    def __init__(self, cells: Cells, batch_size: int) -> None:
        self._device = cells.w.device
        self._w = cells.w.cpu()
        total = float(self._w.double().sum())
        self._count = math.ceil(total / batch_size)
        self._per_unit = self._count / total
        self._bunched = cells.positions.shape[1] == 1
        self._text = cells.positions[:, 0].cpu()  # in order, if they are bunched
        if self._bunched:
            self._of_text = self._text.unique_consecutive(return_counts=True)[1]

    def epoch(self) -> Iterator[Tensor]:
        """Yield the numbers of each step's cells, in an order drawn by torch's generator."""
        order = self._bunches() if self._bunched else torch.randperm(len(self._w))
        step = (self._before(order) * self._per_unit).long().clamp_(max=self._count - 1)
        sizes = [size for size in step.bincount(minlength=self._count).tolist() if size]
        yield from order.to(self._device).split(sizes)

    def _before(self, order: Tensor) -> Tensor:
        w = self._w[order].double()
        return w.cumsum(0) - w

    def _bunches(self) -> Tensor:
        text = self._text
        order = torch.rand(len(text), dtype=torch.float64).add_(text).argsort()
        before = self._before(order)
        of_text = self._of_text
        start = before[of_text.cumsum(0) - of_text].repeat_interleave(of_text)
        number = ((before - start) / _BUNCH).long()
        del before, start  # of tens of millions of cells, gigabytes
        new = torch.ones(len(text), dtype=torch.bool)
        new[1:] = (text.diff() != 0) | (number.diff() != 0)
        starts = new.nonzero()[:, 0]
        sizes = starts.diff(append=torch.tensor([len(text)]))
        shuffled = torch.randperm(len(starts))
        sizes = sizes[shuffled]
        moved = starts[shuffled] - (sizes.cumsum(0) - sizes)
        del number, new, starts, shuffled
        at = moved.repeat_interleave(sizes)
        at += torch.arange(len(text))
        return order[at]


def distinct_rows(S: csr_matrix) -> tuple[csr_matrix, IntArray]:
    """Return the distinct rows (P, K) of a membership and each row's position (n,) among them."""
    S = csr_matrix(S, dtype=np.float32)
    # A row is known by two sums of 64-bit numbers drawn for its groups: two different rows of a
    # billion have equal sums with a probability of about 1e-21.
    numbers = np.random.default_rng(0).integers(2**63, size=(2, S.shape[1]), dtype=np.uint64)
    sums = np.empty((2, S.shape[0]), dtype=np.uint64)
    for start in range(0, S.shape[0], _ROWS_AT_ONCE):
        ends = S.indptr[start : start + _ROWS_AT_ONCE + 1]
        there = slice(ends[0], ends[-1])
        values = S.data[there].view(np.uint32).astype(np.uint64)
        upto = np.zeros((2, len(values) + 1), dtype=np.uint64)
        np.cumsum(numbers[:, S.indices[there]] * values, axis=1, out=upto[:, 1:])
        sums[:, start : start + _ROWS_AT_ONCE] = np.diff(upto[:, ends - ends[0]])
    first, kind = distinct(*sums)
    return S[first], kind
