"""The rows that training sees: nothing is lost when they become cells, or in an epoch's steps."""

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
from mcstl.models.examples import Cells, Examples, Steps, distinct_rows
from test_training import TASKS, simulated

law = settings(deadline=None, max_examples=40)
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


def cells_of(task: Task, n: int, seed: int = 0) -> tuple[Examples, Cells]:
    rows, _ = simulated(task, n, seed)
    w = np.random.default_rng(seed).integers(1, 4, n).astype(np.float32)
    # Few texts, so that many rows are of one kind.
    rows = replace(rows, w=w, positions=rows.positions % 3)
    return rows, Cells.of(rows, 3 if task == "ordinal" else 2, CPU)


@pytest.mark.parametrize("task", TASKS)
def test_cells_are_the_sums_of_their_rows(task: Task) -> None:
    rows, cells = cells_of(task, 300)
    key = np.column_stack([rows.positions, rows.S.toarray()])
    own = np.column_stack([cells.positions, cells.patterns[cells.pattern]])
    kinds, kind = np.unique(np.vstack([key, own]), axis=0, return_inverse=True)
    of_row, of_cell = kind.ravel()[: len(rows)], kind.ravel()[len(rows) :]
    levels = equations.levels(torch.from_numpy(rows.y), cells.levels.shape[1]).numpy()
    for values, parts in (
        (rows.w[:, None], cells.w[:, None].numpy()),
        (rows.w[:, None] * levels, (cells.w[:, None] * cells.levels).numpy()),
    ):
        expected, found = (np.zeros((len(kinds), values.shape[1])) for _ in range(2))
        np.add.at(expected, of_row, values)
        np.add.at(found, of_cell, parts)
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert float(cells.w.max()) <= 4
    assert len(kinds) < len(cells) < len(rows)
    for pattern, expected in zip(cells.patterns.numpy(), cells.labels.numpy(), strict=True):
        inside = (rows.S.toarray() == pattern).all(axis=1)
        counts = np.bincount(rows.y[inside], weights=rows.w[inside], minlength=len(expected))
        np.testing.assert_array_equal(counts, expected)


def test_people_have_cells_of_their_own() -> None:
    rows, _ = simulated("binary", 60)
    who = np.arange(60) % 3 - 1
    rows = replace(rows, positions=rows.positions % 2, who=who)
    cells = Cells.of(rows, 2, CPU)
    kinds = np.column_stack([rows.positions, rows.S.toarray(), who])
    found = np.column_stack([cells.positions, cells.patterns[cells.pattern], cells.who])
    assert {tuple(kind) for kind in found} == {tuple(kind) for kind in kinds}


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("batch_size", [1, 40, 10_000])
def test_an_epoch_has_every_cell_once(task: Task, batch_size: int) -> None:
    _, cells = cells_of(task, 300)
    torch.manual_seed(0)
    steps, other = (list(Steps(cells, batch_size).epoch()) for _ in range(2))
    assert sorted(torch.cat(steps).tolist()) == list(range(len(cells)))
    if batch_size == 40:
        assert not torch.equal(torch.cat(steps), torch.cat(other))
        weights = [float(cells.w[step].sum()) for step in steps]
        assert len(steps) == np.ceil(float(cells.w.sum()) / 40)
        assert max(weights) <= 40 + 2 * 4
    torch.manual_seed(0)
    assert all(map(torch.equal, steps, Steps(cells, batch_size).epoch()))


def test_cells_of_one_text_come_in_bunches() -> None:
    """Up to eight annotations of it, other ones in each epoch."""
    _, cells = cells_of("binary", 300)
    epochs = Steps(cells, 10_000)
    seen = []
    for _ in range(2):
        (order,) = epochs.epoch()
        text, w = cells.positions[order, 0], cells.w[order]
        runs = torch.cat([torch.zeros(1), (text.diff() != 0).float()]).cumsum(0).long()
        assert len(runs.unique()) > 20
        assert float(torch.zeros(len(runs)).index_add_(0, runs, w).median()) <= 4 * 8
        seen.append(order)
    assert not torch.equal(*(order.sort().indices for order in seen))
