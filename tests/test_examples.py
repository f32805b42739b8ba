"""The rows that training sees: nothing is lost by collapsing or shuffling."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from mcstl import equations
from mcstl.data.labels import Task
from mcstl.models import examples as rows_module
from mcstl.models.examples import Examples, WeightedExamples, distinct_rows
from test_training import TASKS, simulated

law = settings(max_examples=40)
CPU = torch.device("cpu")


def test_examples_are_taken_by_position_or_mask() -> None:
    rows, _ = simulated("preference", 20)
    mask = rows.y == 1
    taken, masked = rows.take(np.flatnonzero(mask)[::-1]), rows.take(mask)
    assert len(taken) == len(masked) == int(mask.sum())
    assert taken.vectors is rows.vectors
    for name in ("positions", "y", "w"):
        np.testing.assert_array_equal(getattr(masked, name), getattr(rows, name)[mask])
        np.testing.assert_array_equal(getattr(taken, name), getattr(masked, name)[::-1])
    np.testing.assert_array_equal(taken.S.toarray(), rows.S.toarray()[mask][::-1])


def test_rows_without_groups_keep_all_else() -> None:
    rows, _ = simulated("binary", 20)
    none = rows.without_groups()
    assert none.S.shape == (20, 0)
    assert (none.vectors, none.positions, none.y, none.w) == (
        rows.vectors,
        rows.positions,
        rows.y,
        rows.w,
    )
    assert rows.S.shape == (20, 2)


@law
@given(st.integers(0, 10_000), st.integers(0, 40), st.integers(0, 4))
def test_distinct_rows_are_numpys(seed: int, n: int, K: int) -> None:
    dense = (np.random.default_rng(seed).random((n, K)) < 0.5).astype(np.float32)
    S = csr_matrix(dense)
    patterns, codes = distinct_rows(S)
    np.testing.assert_array_equal(patterns.toarray()[codes], dense)
    assert patterns.shape == (len(np.unique(dense, axis=0)) if n else 0, K)
    np.testing.assert_array_equal(S.toarray(), dense)


def test_distinct_rows_are_the_same_however_many_are_taken_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    S = csr_matrix((np.random.default_rng(0).random((50, 3)) < 0.5).astype(np.float32))
    whole, codes = distinct_rows(S)
    monkeypatch.setattr(rows_module, "_ROWS_AT_ONCE", 7)
    patterns, of_parts = distinct_rows(S)
    np.testing.assert_array_equal(of_parts, codes)
    np.testing.assert_array_equal(patterns.toarray(), whole.toarray())


def test_distinct_rows_do_not_depend_on_how_a_row_is_stored() -> None:
    S = csr_matrix((np.ones(4, np.float32), [2, 0, 0, 2], [0, 2, 4]), shape=(2, 3))
    patterns, codes = distinct_rows(S)
    np.testing.assert_array_equal(patterns.toarray(), [[1, 0, 1]])
    np.testing.assert_array_equal(codes, [0, 0])


def weighted(task: Task, n: int, seed: int = 0) -> tuple[Examples, WeightedExamples]:
    rows, _ = simulated(task, n, seed)
    w = np.random.default_rng(seed).integers(1, 4, n).astype(np.float32)
    # Few texts, so that many rows are alike.
    rows = replace(rows, w=w, positions=rows.positions % 3)
    return rows, WeightedExamples.from_examples(rows, 3 if task == "ordinal" else 2, CPU)


@pytest.mark.parametrize("task", TASKS)
def test_weighted_examples_are_the_sums_of_their_rows(task: Task) -> None:
    rows, examples = weighted(task, 300)
    of_row = np.column_stack([rows.positions, rows.S.toarray()])
    of_example = np.column_stack([examples.positions, examples.patterns[examples.pattern]])
    distinct, place = np.unique(np.vstack([of_row, of_example]), axis=0, return_inverse=True)
    row_place, example_place = np.split(place.ravel(), [len(rows)])
    levels = equations.levels(torch.from_numpy(rows.y), examples.levels.shape[1]).numpy()
    for values, parts in (
        (rows.w[:, None], examples.w[:, None].numpy()),
        (rows.w[:, None] * levels, (examples.w[:, None] * examples.levels).numpy()),
    ):
        expected, found = (np.zeros((len(distinct), values.shape[1])) for _ in range(2))
        np.add.at(expected, row_place, values)
        np.add.at(found, example_place, parts)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert float(examples.w.max()) <= 4
    assert len(distinct) < len(examples) < len(rows)
    labels = examples.pattern_labels.numpy()
    for pattern, expected in zip(examples.patterns.numpy(), labels, strict=True):
        inside = (rows.S.toarray() == pattern).all(axis=1)
        counts = np.bincount(rows.y[inside], weights=rows.w[inside], minlength=len(expected))
        np.testing.assert_array_equal(counts, expected)


@pytest.mark.parametrize("task", TASKS)
def test_a_batch_is_the_rows_that_were_asked_for(task: Task) -> None:
    _, examples = weighted(task, 300)
    for numbers in (torch.tensor([5, 5, 0, 7]), torch.arange(len(examples)).flip(0)):
        batch = examples.batch(numbers)
        texts = batch.vectors[batch.positions]
        assert torch.equal(texts, examples.vectors[examples.positions[numbers]])
        assert torch.equal(batch.S, examples.patterns[examples.pattern[numbers]])
        assert (batch.annotators_or_unknown() == -1).all()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch_size", [1, 40, 10_000])
def test_an_epoch_has_every_example_once(task: Task, batch_size: int) -> None:
    _, examples = weighted(task, 300)
    torch.manual_seed(0)
    batches, other = (list(examples.shuffled(batch_size)) for _ in range(2))
    assert sorted(torch.cat(batches).tolist()) == list(range(len(examples)))
    if batch_size == 40:
        assert not torch.equal(torch.cat(batches), torch.cat(other))
        weights = [float(examples.w[batch].sum()) for batch in batches]
        assert len(batches) == np.ceil(float(examples.w.sum()) / 40)
        assert max(weights) <= 40 + 2 * 4
    torch.manual_seed(0)
    assert all(map(torch.equal, batches, examples.shuffled(batch_size)))


def test_examples_of_one_text_come_in_bunches() -> None:
    """Of some eight annotations, other ones in each epoch."""
    _, examples = weighted("binary", 300)
    epochs = []
    for _ in range(2):
        (order,) = examples.shuffled(10_000)
        text, w = examples.positions[order, 0], examples.w[order]
        run = torch.cat([torch.zeros(1), (text.diff() != 0).float()]).cumsum(0).long()
        assert len(run.unique()) > 20
        weights = torch.zeros(int(run[-1]) + 1).index_add_(0, run, w)
        assert 4 <= float(weights.median()) <= 4 * 8
        epochs.append(order)
    assert not torch.equal(*(order.sort().indices for order in epochs))


def test_vectors_that_must_not_be_written_to_are_read_without_a_warning() -> None:
    vectors = np.eye(3, dtype=np.float32)
    vectors.setflags(write=False)  # as those of a memory-mapped file
    S = csr_matrix((3, 0), dtype=np.float32)
    ones = np.ones(3, dtype=np.float32)
    rows = Examples(vectors, np.arange(3)[:, None], S, np.array([0, 1, 1]), ones)
    weighted = WeightedExamples.from_examples(rows, 2, torch.device("cpu"))
    assert torch.equal(weighted.vectors, torch.eye(3))
