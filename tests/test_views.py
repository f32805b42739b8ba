"""Views of groups beside what the groups answered."""

import numpy as np
import pytest

from mcstl.evaluation.views import check_views


def test_predicted_and_observed_by_hand() -> None:
    expected = np.array([[0.5, 0.8]] * 4)
    labels = np.array([0, 1, 1, 1])
    membership = np.array([[1, 0], [1, 0], [1, 1], [0, 1]], dtype=bool)
    codes = np.arange(4), np.arange(4)
    first, second = check_views(expected, labels, 1, membership, codes, ["A", "B"])
    assert (first["group"], first["n"]) == ("A", 3)
    assert first["predicted"] == pytest.approx(0.5)
    assert first["observed"] == pytest.approx(2 / 3)
    assert first["difference"] == pytest.approx(0.5 - 2 / 3)
    assert first["low"] < first["difference"] < first["high"]
    assert (second["predicted"], second["observed"]) == pytest.approx((0.8, 1.0))


def test_a_group_without_rows_has_no_numbers() -> None:
    expected, membership = np.full((2, 1), 0.5), np.zeros((2, 1), dtype=bool)
    codes = np.arange(2), np.arange(2)
    (row,) = check_views(expected, np.array([0, 2]), 2, membership, codes, ["A"])
    assert row == {
        "group": "A",
        "n": 0,
        "predicted": None,
        "observed": None,
        "difference": None,
        "low": None,
        "high": None,
    }


def test_the_interval_holds_the_truth() -> None:
    """Where people differ in their level, rows of a person go together."""
    held = []
    for seed in range(200):
        random = np.random.default_rng(seed)
        annotators = np.repeat(np.arange(30), 10)
        items = random.integers(0, 100, len(annotators))
        level = np.clip(0.4 + random.normal(0, 0.1, 30), 0.01, 0.99)[annotators]
        labels = (random.random(len(level)) < level).astype(int)
        expected, everyone = np.full((len(level), 1), 0.4), np.ones((len(level), 1), bool)
        (row,) = check_views(expected, labels, 1, everyone, (items, annotators), ["A"])
        held.append(row["low"] <= 0 <= row["high"])
    assert 0.88 <= np.mean(held) <= 0.995
