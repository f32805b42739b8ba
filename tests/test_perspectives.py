"""Disagreement and mixtures: laws, a reference, worked numbers."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl.models.perspectives import Views, check_weights, disagreement, mean_level, parse

law = settings(max_examples=40)


def drawn(seed: int, n: int = 3, P: int = 4, L: int = 3) -> FloatArray:
    p: FloatArray = np.random.default_rng(seed).dirichlet(np.full(L, 0.5), (n, P))
    return p


@law
@given(st.integers(0, 10**6), st.integers(2, 7), st.integers(2, 5))
def test_disagreement_is_the_mean_distance_of_pairs(seed: int, P: int, L: int) -> None:
    p = drawn(seed, P=P, L=L)
    levels = np.linspace(0, 1, L)
    for text, score in zip(p, disagreement(p), strict=True):
        pairs = [wasserstein_distance(levels, levels, a, b) for a, b in combinations(text, 2)]
        assert score == pytest.approx(np.mean(pairs), abs=1e-12)


@law
@given(st.integers(0, 10**6))
def test_disagreement_does_not_depend_on_order_or_direction(seed: int) -> None:
    p = drawn(seed)
    expected = pytest.approx(disagreement(p), abs=1e-12)
    assert disagreement(p[:, ::-1]) == expected
    assert disagreement(p[:, :, ::-1]) == expected
    assert ((disagreement(p) >= 0) & (disagreement(p) <= 1)).all()


def test_disagreement_by_hand() -> None:
    sure = np.eye(3)
    assert disagreement(sure[None, [0, 2]]) == pytest.approx([1])
    assert disagreement(sure[None, [0, 1]]) == pytest.approx([0.5])
    assert disagreement(sure[None, [0, 0, 2]]) == pytest.approx([2 / 3])
    assert disagreement(sure[None, [1]]) == pytest.approx([0])
    assert disagreement(np.empty((2, 0, 3))) == pytest.approx([0, 0])
    assert disagreement(np.empty((0, 4, 3))).shape == (0,)


def views(seed: int = 0) -> Views:
    p = drawn(seed)
    return Views(("A", "B", "A + B", "C"), ("no", "so", "yes"), p, p.mean(axis=1))


@law
@given(st.integers(0, 10**6), st.floats(0.01, 100), st.floats(0, 100))
def test_a_mixture_is_the_weighted_mean(seed: int, a: float, b: float) -> None:
    some = views(seed)
    expected = (a * some.p[:, 0] + b * some.p[:, 2]) / (a + b)
    assert some.mixture({"A": a, "A + B": b}) == pytest.approx(expected)
    assert some.mixture({"B": a, "C": 0}) == pytest.approx(some.p[:, 1])
    equal = dict.fromkeys(some.names, a)
    assert some.mixture(equal) == pytest.approx(some.population)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"Z": 1}, "'Z' has a weight but is none of the perspectives A, B, A [+] B, C"),
        ({"a": 1}, "Did you mean 'A'"),
        ({"A": -1}, "the weight of 'A' is '-1'; expected a number"),
        ({"A": float("nan")}, "expected a number"),
        ({"A": "much"}, "expected a number"),
        ({"A": True}, "expected a number"),
        ({"A": 0, "B": 0}, "sum to nothing"),
        ({}, "sum to nothing"),
    ],
)
def test_weights_that_are_none(weights: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        views().mixture(weights)


def test_weights_as_they_are_written() -> None:
    assert check_weights({"A": 2, "B": 0.5}) == {"A": 2.0, "B": 0.5}
    with pytest.raises(InputError, match="sum to nothing"):
        check_weights({"A": 1e308, "B": 1e308})


def test_the_table_has_the_widest_gap_first() -> None:
    some = views()
    table = some.table()
    assert list(table.columns) == ["text", "perspective", "p(no)", "p(so)", "p(yes)", "gap"]
    assert len(table) == 12
    for text in range(3):
        rows = table[table["text"] == text]
        assert list(rows["gap"].abs()) == sorted(rows["gap"].abs(), reverse=True)
        for _, row in rows.iterrows():
            k = some.names.index(row["perspective"])
            p = row[["p(no)", "p(so)", "p(yes)"]].to_numpy(dtype=float)
            assert p == pytest.approx(some.p[text, k])
            mean = some.population[text]
            assert row["gap"] == pytest.approx(p @ [0, 0.5, 1] - mean @ [0, 0.5, 1])


def test_levels_run_from_the_first_class_to_the_last() -> None:
    assert mean_level(np.array([0.25, 0.75])) == pytest.approx(0.75)
    assert mean_level(np.eye(5)) == pytest.approx([0, 0.25, 0.5, 0.75, 1])


def test_perspectives_as_they_are_written() -> None:
    groups = ["A", "age=65+", "C + D", "E"]
    assert parse(" A ", groups) == ["A"]
    assert parse("A + age=65+", groups) == ["A", "age=65+"]
    assert parse("C + D", groups) == ["C + D"]
    assert parse("A +  E", groups) == ["A", "E"]
    assert parse("nobody", groups) == ["nobody"]
