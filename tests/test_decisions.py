"""Decisions: thresholds keep the wanted error; unsure texts and little known groups come first."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.evaluation import decisions
from mcstl.evaluation.decisions import Mistake
from mcstl.evaluation.predictions import Predictions

law = settings(max_examples=25)
NAMES = ["A", "B"]


def rows(seed: int, n_items: int = 200, raters: int = 5, n_classes: int = 2) -> Predictions:
    """Rows whose labels are drawn from the predictions; group B is a fifth of them."""
    random = np.random.default_rng(seed)
    items = np.repeat(np.arange(n_items), raters)
    annotators = random.integers(0, 40, len(items))
    cuts = np.linspace(-1, 1, n_classes + 1)[1:-1]
    above = expit(random.normal(0, 1.5, n_items)[items][:, None] - cuts)
    p = -np.diff(np.column_stack([np.ones(len(items)), above, np.zeros(len(items))]), axis=1)
    labels = (random.random(len(items))[:, None] < above).sum(axis=1)
    membership = np.column_stack([np.ones(len(items), bool), annotators % 5 == 0])
    minority = np.zeros(len(labels), dtype=bool)
    task: Task = "binary" if n_classes == 2 else "ordinal"
    return Predictions(p, labels, membership, minority, items, annotators, task)


@law
@given(
    st.integers(0, 10_000),
    st.sampled_from([0.05, 0.1, 0.3]),
    st.sampled_from(["false alarms", "misses"]),
    st.integers(2, 3),
)
def test_the_wanted_error_is_kept_where_the_threshold_is_chosen(
    seed: int, wanted: float, mistake: Mistake, n_classes: int
) -> None:
    data = rows(seed, 60, n_classes=n_classes)
    table = decisions.thresholds(data, data, NAMES, wanted=wanted, mistake=mistake)
    assert [(row["group"], row["above"]) for row in table] == [
        (group, t) for group in (None, *NAMES) for t in range(n_classes - 1)
    ]
    for row in table:
        if row["error"] is not None:
            assert row["error"] <= wanted + 1e-12
            assert row["low"] is None or row["low"] <= row["error"] <= row["high"]


def test_the_error_on_other_rows_is_about_the_wanted_one() -> None:
    table = decisions.thresholds(rows(0, 1000), rows(1, 1000), NAMES, wanted=0.1)
    for row in table:
        assert row["low"] - 0.03 < 0.1 < row["high"] + 0.03
        assert 0 < row["threshold"] < 1
    # A group of its own threshold, found where the rest is not.
    everyone, a, b = table
    assert everyone["n"] == a["n"] > b["n"] > 0


def test_a_lower_wanted_error_is_a_higher_threshold() -> None:
    strict, loose = (
        decisions.thresholds(rows(0), rows(1), NAMES, wanted=wanted)[0] for wanted in (0.02, 0.3)
    )
    assert strict["threshold"] > loose["threshold"]
    assert strict["other_error"] > loose["other_error"]


def test_a_group_without_a_case_has_no_threshold() -> None:
    data = rows(0, 20)
    nobody = replace(
        data, labels=np.ones_like(data.labels), membership=np.zeros_like(data.membership)
    )
    for row in decisions.thresholds(nobody, data, NAMES):
        assert row["threshold"] is None
        assert row["error"] is None
    with pytest.raises(InputError, match="between 0 and 1"):
        decisions.thresholds(data, data, NAMES, wanted=1)


def test_texts_that_are_left_to_people_are_the_unsure_ones() -> None:
    data = rows(3, 400)
    found = decisions.left_to_people(data)
    errors = [point["error"] for point in found["curve"]]
    assert [point["share"] for point in found["curve"]] == list(decisions.LEFT_TO_PEOPLE)
    assert found["curve"][0]["texts"] == 400
    assert errors[0] - errors[-1] > 0.05
    assert errors == sorted(errors, reverse=True)
    sure = data.p.max(axis=1)
    first = np.isin(data.items, found["items"])
    assert sure[first].mean() < sure[~first].mean() - 0.1


def test_the_group_that_is_known_least_is_asked_first() -> None:
    table = decisions.ask_next(rows(0), NAMES)
    assert [row["group"] for row in table] == ["B", "A"]
    for row in table:
        assert 0 < row["after"] < row["uncertainty"]
    data = rows(0)
    only = replace(data, membership=data.membership & [True, False])
    assert [row["group"] for row in decisions.ask_next(only, NAMES)] == ["A"]
