"""The rows that training sees: as they are given, as weighted examples, and in batches."""

import warnings
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

#: Annotations become one example up to this weight: a batch shall see many, not a few heavy ones.
_MAX_WEIGHT = 4
#: How many rows' memberships are summed together.
_ROWS_AT_ONCE = 1_000_000
#: Annotations of one text that go through a batch together: its projection serves them all.
_ANNOTATIONS_PER_BUNCH = 8


@dataclass(frozen=True)
class Examples:
    """Rows, one per annotation, to train or predict on.

    Attributes:
        vectors: The vectors of the distinct texts, (m, d).
        positions: Each row's one text, or two in preference, among the vectors: (n, 1 or 2).
        S: Which groups each row is in, (n, K).
        y: Class indices, (n,).
        w: Weights, (n,); a weight of two is the row twice.
        annotators: The code of each row's annotator, -1 for one whom training does not know, (n,);
            for a network that learns people.
        known: The code of each text among those that training knows, -1 for a new one, (m,); for a
            network that learns single texts.
    """

    vectors: Float32Array
    positions: IntArray
    S: csr_matrix
    y: IntArray
    w: Float32Array
    annotators: IntArray | None = None
    known: IntArray | None = None

    def __len__(self) -> int:
        return len(self.y)

    def take(self, rows: npt.NDArray[Any]) -> Self:
        """Return some of the rows; the texts are shared, not copied.

        Args:
            rows: Positions of the rows, or a mask of all.

        Returns:
            The rows in the order of `rows`.
        """
        return replace(
            self,
            positions=self.positions[rows],
            S=self.S[rows],
            y=self.y[rows],
            w=self.w[rows],
            annotators=None if self.annotators is None else self.annotators[rows],
        )

    def without_groups(self) -> Self:
        """Take the rows out of all groups: the empty set of §3.3.

        Returns:
            The same rows with a membership of no columns, (n, 0).
        """
        return replace(self, S=csr_matrix((len(self), 0), dtype=np.float32))

    def class_weights(self, n_classes: int) -> FloatArray:
        """Sum the weights of each class.

        Args:
            n_classes: The number of classes, L.

        Returns:
            The sums, (L,).
        """
        return np.bincount(self.y, weights=self.w, minlength=n_classes).astype(float)

    @cached_property
    def patterns(self) -> tuple[csr_matrix, IntArray]:
        """The distinct memberships, (P, K), and each row's place among them, (n,)."""
        return distinct_rows(self.S)

    @cached_property
    def distinct(self) -> tuple[IntArray, IntArray]:
        """The first rows with the same texts, groups and annotator, and each row's place (n,).

        Such rows are predicted once, so that their predictions are equal to the last bit.
        """
        annotators = [] if self.annotators is None else [self.annotators]
        return distinct(*self.positions.T, self.patterns[1], *annotators)


@dataclass(frozen=True)
class Batch:
    """Rows as a network takes them.

    Attributes:
        vectors: The vectors of texts, (m, d).
        positions: Each row's texts among them, (n, 1 or 2).
        S: Which groups each row is in, (n, K).
        annotators: The code of each row's annotator, -1 for one who is unknown, (n,); None where
            all are.
        known: The code of each text among those that training knew, -1 for a new one, (m,); None
            where all are new.
    """

    vectors: Tensor
    positions: Tensor
    S: Tensor
    annotators: Tensor | None = None
    known: Tensor | None = None

    def annotators_or_unknown(self) -> Tensor:
        """Fill in unknown annotators where a batch has none.

        Returns:
            The annotators' codes, -1 for somebody unknown, (n,).
        """
        if self.annotators is None:
            return torch.full((len(self.S),), -1, device=self.S.device)
        return self.annotators


@dataclass(frozen=True)
class WeightedExamples:
    """Rows with the same texts, groups and annotator, counted once with their weight.

    The loss is linear in the 0/1 levels of the labels, so that their mean and the summed weight
    stand for all rows that are alike. An example heavier than `_MAX_WEIGHT` is cut into equal ones.

    Attributes:
        vectors: The vectors of the distinct texts, (m, d).
        positions: Each example's texts among them, (n, 1 or 2).
        patterns: The distinct memberships, (P, K).
        pattern: Each example's membership among them, (n,).
        levels: The mean of the rows' levels y^(t), (n, T).
        w: The rows' summed weight, (n,).
        pattern_labels: The weight of each class under each membership, (P, L).
    """

    vectors: Tensor
    positions: Tensor
    patterns: Tensor
    pattern: Tensor
    levels: Tensor
    w: Tensor
    pattern_labels: Tensor

    def __len__(self) -> int:
        return len(self.w)

    @classmethod
    def from_examples(cls, examples: Examples, n_classes: int, device: torch.device) -> Self:
        """Collapse rows that are alike.

        Args:
            examples: The rows.
            n_classes: The number of classes, L.
            device: Where the tensors are to be.

        Returns:
            The weighted examples, those of a single text in order of their texts.
        """
        examples = replace(examples)  # so that what it keeps for predictions, gigabytes, ends here
        first, place = examples.distinct
        patterns, pattern = examples.patterns
        labels = _class_weights(place, examples, len(first), n_classes)
        w = labels.sum(1)
        above = labels[:, ::-1].cumsum(1)[:, ::-1][:, 1:] / np.maximum(w, 1e-12)[:, None]
        cuts = np.maximum(1, np.ceil(w / _MAX_WEIGHT)).astype(np.int64)
        order = np.repeat(np.arange(len(first)), cuts)
        if examples.positions.shape[1] == 1:  # neighbours in memory are read faster
            order = order[np.argsort(examples.positions[first[order], 0], kind="stable")]
        rows = first[order]

        def tensor(array: npt.NDArray[Any]) -> Tensor:
            with warnings.catch_warnings():  # vectors that lie on disk: nothing is written to them
                warnings.filterwarnings("ignore", "The given NumPy array is not writable")
                return torch.from_numpy(array).to(device)

        return cls(
            vectors=tensor(examples.vectors),
            positions=tensor(examples.positions[rows]),
            patterns=tensor(patterns.toarray()),
            pattern=tensor(pattern[rows]),
            levels=tensor(above[order].astype(np.float32)),
            w=tensor((w / cuts)[order].astype(np.float32)),
            pattern_labels=tensor(_class_weights(pattern, examples, patterns.shape[0], n_classes)),
        )

    def batch(self, numbers: Tensor) -> Batch:
        """Return some of the examples as a network takes them.

        Args:
            numbers: Positions of the examples, (b,).

        Returns:
            The batch; on a CPU it has only the texts that it needs, about once each.
        """
        vectors, positions = self.vectors, self.positions.index_select(0, numbers)
        if vectors.device.type == "cpu":  # on a GPU it would wait for the number of texts
            vectors, positions = _needed_texts(vectors, positions)
        S = self.patterns.index_select(0, self.pattern.index_select(0, numbers))
        return Batch(vectors, positions, S)

    def shuffled(self, batch_size: int) -> Iterator[Tensor]:
        """Draw the batches of an epoch by torch's generator.

        What is shuffled are bunches of examples that share a text, each epoch other ones, so that
        a batch has a few annotations each of many texts. Pairs, which share their texts with other
        pairs, are not bunched.

        Args:
            batch_size: The number of annotations in a batch, by weight.

        Yields:
            Positions of each batch's examples.
        """
        w = self.w.cpu().double()
        if self.positions.shape[1] == 1:
            text = self.positions[:, 0].cpu()
            per_text = (text.bincount(weights=w) / _ANNOTATIONS_PER_BUNCH).ceil().long()
            first_bunch = per_text.cumsum(0) - per_text
            drawn = (torch.rand(len(w)) * per_text[text]).long()
            bunch = first_bunch[text] + drawn
            order = torch.rand(int(per_text.sum()), dtype=torch.float64)[bunch].argsort()
        else:
            order = torch.randperm(len(w))
        before = w[order].cumsum(0) - w[order]
        total = float(w.sum())
        count = -int(-total // batch_size)
        batch = (before * (count / total)).long().clamp_(max=count - 1)
        sizes = [size for size in batch.bincount(minlength=count).tolist() if size]
        yield from order.to(self.w.device).split(sizes)


def distinct_rows(S: csr_matrix) -> tuple[csr_matrix, IntArray]:
    """Find the distinct rows of a membership.

    Args:
        S: The membership, (n, K).

    Returns:
        The distinct rows, (P, K), and each row's position among them, (n,).
    """
    S = csr_matrix(S, dtype=np.float32)
    # A row is known by two sums of 64-bit numbers drawn for its groups: two different rows of a
    # billion have equal sums with a probability of about 1e-21.
    numbers = np.random.default_rng(0).integers(2**63, size=(2, S.shape[1]), dtype=np.uint64)
    sums = np.empty((2, S.shape[0]), dtype=np.uint64)
    for start in range(0, S.shape[0], _ROWS_AT_ONCE):
        ends = S.indptr[start : start + _ROWS_AT_ONCE + 1]
        entries = slice(ends[0], ends[-1])
        values = S.data[entries].view(np.uint32).astype(np.uint64)
        sums_before = np.zeros((2, len(values) + 1), dtype=np.uint64)
        np.cumsum(numbers[:, S.indices[entries]] * values, axis=1, out=sums_before[:, 1:])
        sums[:, start : start + _ROWS_AT_ONCE] = np.diff(sums_before[:, ends - ends[0]])
    first, place = distinct(*sums)
    return S[first], place


def _class_weights(
    place: IntArray, examples: Examples, n_places: int, n_classes: int
) -> FloatArray:
    """Return the weight of each class among the rows of each place: (n_places, L)."""
    size = n_places * n_classes
    sums = np.bincount(place * n_classes + examples.y, weights=examples.w, minlength=size)
    return sums.astype(float).reshape(n_places, n_classes)


def _needed_texts(vectors: Tensor, positions: Tensor) -> tuple[Tensor, Tensor]:
    """Return the vectors of the texts at `positions` and the positions among these."""
    if positions.shape[1] == 1:  # those of a text come together; in two bunches it is there twice
        texts, places = positions[:, 0].unique_consecutive(return_inverse=True)
    elif positions.numel() < len(vectors):
        texts, places = positions.unique(return_inverse=True)
    else:
        return vectors, positions
    return vectors.index_select(0, texts), places.view_as(positions)
