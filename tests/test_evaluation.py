"""Audit: laws of influences, agreement with references, and tests that keep their promise.

How often intervals cover and the test of multicalibration errs is measured over many more data
sets by benchmarks/coverage.py and benchmarks/alarms.py.
"""

import importlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from made_up import GROUPS, make_output
from mcstl import datasets, evaluation
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.evaluation import Predictions, influence, metrics
from mcstl.evaluation.audit import _baseline, _marks, _measures_of_others
from mcstl.evaluation.tables import Column
from mcstl.evaluation.uncertainty import bounded

law = settings(max_examples=40)


def make_rows(
    seed: int,
    n: int = 80,
    n_classes: int = 3,
    n_groups: int = 3,
    n_items: int = 15,
    distinct: int = 12,
    task: Task | None = None,
) -> Predictions:
    """Random rows with ties, overlapping groups and labels that follow the predictions."""
    random = np.random.default_rng(seed)
    levels = random.dirichlet(np.ones(n_classes), distinct)
    p = levels[random.integers(distinct, size=n)]
    return Predictions(
        p=p,
        labels=(random.random((n, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1),
        membership=random.random((n, n_groups)) < 0.5,
        minority=(random.random(n) < 0.3).astype(float),
        items=random.integers(n_items, size=n),
        annotators=random.integers(8, size=n),
        task=task or ("ordinal" if n_classes > 2 else "binary"),
    )


def clustered(
    seed: int, n_items: int = 120, per_item: int = 10, spread: float = 0.3, off: float = 0.0
) -> Predictions:
    """Binary rows that are calibrated marginally (up to `off`), whose items differ strongly."""
    random = np.random.default_rng(seed)
    p = np.repeat(random.uniform(0.35, 0.65, n_items), per_item)
    truth = p + off + np.repeat(random.choice([-spread, spread], n_items), per_item)
    n = n_items * per_item
    return Predictions(
        p=np.stack([1 - p, p], axis=1),
        labels=(random.random(n) < truth).astype(np.int64),
        membership=np.stack([random.random(n) < 0.5, random.random(n) < 0.2], axis=1),
        minority=np.zeros(n, dtype=bool),
        items=np.repeat(np.arange(n_items), per_item),
        annotators=np.arange(n),
        task="binary",
    )


samples = st.builds(
    make_rows,
    st.integers(0, 10_000),
    n=st.integers(3, 80),
    n_classes=st.integers(2, 4),
    n_groups=st.integers(0, 3),
    distinct=st.integers(1, 40),
)


def evaluated(rows: Predictions, repeated: npt.NDArray[Any]) -> dict[str, Any]:
    names = [f"g{k}" for k in range(rows.membership.shape[1])]
    return metrics.evaluate(
        rows.p[repeated],
        rows.labels[repeated],
        rows.membership[repeated],
        rows.minority[repeated],
        rows.task,
        names,
    )


def close(found: float, expected: float | None, name: str) -> None:
    value = np.nan if expected is None else expected
    np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=name)


def crossed(
    seed: int, n_people: int = 20, n_items: int = 100, per_person: int = 50
) -> tuple[Predictions, Predictions]:
    """Two models of which each knows half of what decides a label of an item and of a person."""
    random = np.random.default_rng(seed)
    person = np.repeat(np.arange(n_people), per_person)
    item = np.concatenate([random.permutation(n_items)[:per_person] for _ in range(n_people)])
    n, members = len(item), random.random((n_people, 2)) < 0.5
    halves = [
        random.normal(0, 1, n_items)[item] + random.normal(0, 1, n_people)[person] for _ in "ab"
    ]
    labels = (random.random(n) < 1 / (1 + np.exp(-sum(halves)))).astype(np.int64)
    minority = (random.random(n) < 0.3).astype(float)
    levels = [1 / (1 + np.exp(-0.7 * half)) for half in halves]
    a, b = (
        Predictions(
            p=np.stack([1 - p, p], axis=1),
            labels=labels,
            membership=members[person],
            minority=minority,
            items=item,
            annotators=person,
            task="binary",
        )
        for p in levels
    )
    return a, b


def measured(**methods: list[Predictions]) -> dict[str, evaluation.Uncertainty]:
    return evaluation.uncertainty(methods, evaluation.Sample.of(methods))


# --- what an annotation contributes, and intervals ----------------------------------------------


@law
@given(samples, st.booleans())
def test_every_metric_is_that_of_evaluate(rows: Predictions, preference: bool) -> None:
    if preference and rows.p.shape[1] == 2:
        rows = Predictions(**{**vars(rows), "task": "preference"})
    expected = evaluated(rows, np.arange(len(rows.p)))
    [found] = measured(m=[rows]).values()
    for name, estimates in found.metrics.items():
        close(estimates.value[0], expected["metrics"][name], name)
    for name in influence.names_of(rows):
        parts = influence.of_parts(rows, name).value
        for value, group in zip(parts[1:], expected["groups"], strict=True):
            close(value, group[name], name)
    for name, lines in zip(("slope", "bias"), influence.of_lines(rows), strict=True):
        of_groups = [line[name] for group in expected["groups"] for line in group["thresholds"]]
        for value, line in zip(lines.value, of_groups, strict=True):
            close(value, line, name)


@law
@given(samples)
def test_influences_sum_to_nothing_and_order_does_not_matter(rows: Predictions) -> None:
    order = np.random.default_rng(0).permutation(len(rows.p))
    turned = Predictions(**{k: v if k == "task" else v[order] for k, v in vars(rows).items()})
    for a, b in zip(influence.of_lines(rows), influence.of_lines(turned), strict=True):
        np.testing.assert_allclose(a.rows[order], b.rows, atol=1e-9)
    for name in ("auc", "nll"):
        a, b = influence.of_parts(rows, name), influence.of_parts(turned, name)
        np.testing.assert_allclose(a.rows[order], b.rows, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
def test_an_influence_is_what_one_more_copy_of_the_row_does(seed: int) -> None:
    rows = make_rows(seed, n=60, n_classes=2, n_groups=1, distinct=60)
    p = np.random.default_rng(seed).permutation(np.linspace(0.05, 0.95, 60))  # no ties
    alone = {
        "p": np.stack([1 - p, p], axis=1),
        "membership": np.ones((60, 1), dtype=bool),
        "items": np.arange(60),
        "annotators": np.arange(60),
    }
    rows = Predictions(**{**vars(rows), **alone})
    [found] = measured(m=[rows]).values()
    copies, everyone = 400, np.arange(60)
    before = evaluated(rows, np.repeat(everyone, copies))["metrics"]
    along = (p - p.mean()) ** 2
    for row in (3, 17, 41):
        after = evaluated(rows, np.append(np.repeat(everyone, copies), row))["metrics"]
        for name, estimates in found.metrics.items():
            # what a row has of the mean, or of the line, itself
            is_line = name in ("slope_mean", "bias_mean")
            share = 1 / 60 + is_line * along[row] / along.sum()
            change = (after[name] - before[name]) * copies / np.sqrt(1 - share)
            assert change == pytest.approx(estimates.moves[row, 0], abs=0.02 / 60), name


def test_where_every_annotator_has_one_row_items_are_the_sample() -> None:
    rows = clustered(0, per_item=8)
    [found] = measured(m=[rows]).values()
    estimates = found.metrics["nll"]
    assert estimates.sample.by == "items"
    of_item = metrics.nll_per_row(rows.p, rows.labels).reshape(-1, 8).mean(axis=1)
    variance, df = estimates.variance()
    assert variance[0] == pytest.approx(of_item.var(ddof=1) / len(of_item))
    assert 30 < df[0] <= len(of_item) - 1
    low, high = (end[0] for end in estimates.interval())
    assert low < of_item.mean() < high


def test_items_and_people_change_places() -> None:
    a, _ = crossed(0)
    b = Predictions(**{**vars(a), "items": a.annotators, "annotators": a.items})
    nested = Predictions(**{**vars(a), "items": np.arange(len(a.p))})
    [of_a], [of_b], [of_nested] = (measured(m=[each]).values() for each in (a, b, nested))
    assert of_a.metrics["auc"].sample.by == "items and annotators"
    assert of_nested.metrics["auc"].sample.by == "annotators"
    for name, estimates in of_a.metrics.items():
        np.testing.assert_allclose(estimates.variance(), of_b.metrics[name].variance())


def test_people_who_differ_make_intervals_wider() -> None:
    a, _ = crossed(1)
    strangers = Predictions(**{**vars(a), "annotators": np.arange(len(a.p))})
    [known], [unknown] = (measured(m=[each]).values() for each in (a, strangers))
    assert known.metrics["nll"].variance()[0] > unknown.metrics["nll"].variance()[0]


def test_the_same_seed_twice_tells_nothing_new() -> None:
    a, b = crossed(2)
    once, twice = measured(a=[a], b=[b]), measured(a=[a, a], b=[b, b])
    for method in "ab":
        for name, estimates in once[method].metrics.items():
            for x, y in zip(
                estimates.interval(), twice[method].metrics[name].interval(), strict=True
            ):
                np.testing.assert_allclose(x, y)
    gaps = evaluation.differences_of(twice["a"], twice["a"])
    assert all(gap["mean"] == 0 for gap in gaps.values())
    assert gaps["nll"] == {"mean": 0, "low": 0, "high": 0}


def test_seeds_that_differ_make_intervals_wider_by_their_overlap() -> None:
    a, _ = crossed(3)
    flat = Predictions(**{**vars(a), "p": 0.5 + 0.5 * (a.p - 0.5)})
    methods = {"m": [a, flat]}
    apart, overlapping = (
        evaluation.uncertainty(methods, evaluation.Sample.of(methods, overlap))["m"].metrics["nll"]
        for overlap in (0.0, 0.25)
    )
    assert overlapping.variance()[0] > apart.variance()[0]


def test_two_seeds_with_other_test_parts_are_not_all_that_is_known_of_training() -> None:
    a, _ = crossed(3)
    half = np.arange(len(a.p)) < len(a.p) / 2
    parts = [
        Predictions(**{k: v if k == "task" else v[rows] for k, v in vars(a).items()})
        for rows in (half, ~half)
    ]
    far = replace(parts[1], p=0.5 + 0.2 * (parts[1].p - 0.5))
    methods = {"m": [parts[0], far]}
    nll = evaluation.uncertainty(methods, evaluation.Sample.of(methods, 0.25))["m"].metrics["nll"]
    low, high = (end[0] for end in nll.interval())
    assert nll.variance()[1][0] > 2
    assert high - low < 12 * np.ptp(nll.per_seed)


def test_two_equal_models_are_told_apart_as_seldom_as_promised() -> None:
    """20 people, where drawing items alone told half of such pairs apart."""
    told, told_by_items = 0, 0
    for seed in range(120):
        pair = crossed(seed)
        told += are_told_apart(*pair)
        strangers = np.arange(len(pair[0].p))
        a, b = (Predictions(**{**vars(each), "annotators": strangers}) for each in pair)
        told_by_items += are_told_apart(a, b)
    assert told <= 0.12 * 120
    assert told_by_items > told


def are_told_apart(a: Predictions, b: Predictions) -> bool:
    found = measured(a=[a], b=[b])
    low, high = (found["a"].metrics["nll"] - found["b"].metrics["nll"]).interval()
    return bool(low[0] > 0 or high[0] < 0)


def test_a_group_with_one_class_or_no_rows_leaves_the_rest_as_it_is() -> None:
    rows = make_rows(6, n_classes=2)
    members = np.column_stack([rows.membership, rows.labels == 1, np.zeros(80, dtype=bool)])
    more = Predictions(**{**vars(rows), "membership": members})
    [a], [b] = (measured(m=[each]).values() for each in (rows, more))
    np.testing.assert_array_equal(a.metrics["auc"].value, b.metrics["auc"].value)
    for x, y in zip(a.groups["auc"], b.groups["auc"], strict=True):
        np.testing.assert_array_equal(x, y[:-2])
        assert np.isnan(y[-2:]).all()
    np.testing.assert_allclose(
        a.metrics["group_auc_mean"].interval(), b.metrics["group_auc_mean"].interval()
    )
    assert a.spreads["group_auc_spread"].value == b.spreads["group_auc_spread"].value


def test_no_interval_leaves_the_range_of_its_metric() -> None:
    low, high = bounded("group_auc_mean", (np.array([-0.1]), np.array([1.2])))
    assert (low[0], high[0]) == (0, 1)


# --- spread over groups -------------------------------------------------------------------------


def groups_apart(seed: int, apart: float, n_groups: int = 8) -> evaluation.Spread:
    """The spread of the biases of groups whose predictions are off by what is told."""
    random = np.random.default_rng(seed)
    n = 150 * n_groups
    group = np.arange(n) % n_groups
    off = apart * np.where(np.arange(n_groups) % 2, 1.0, -1.0)
    truth = random.uniform(0.25, 0.75, n)
    p = truth + off[group]
    rows = Predictions(
        p=np.stack([1 - p, p], axis=1),
        labels=(random.random(n) < truth).astype(np.int64),
        membership=group[:, None] == np.arange(n_groups),
        minority=np.zeros(n, dtype=bool),
        items=np.arange(n),
        annotators=np.arange(n),
        task="binary",
    )
    residuals = rows.labels - p
    values = np.array([residuals[group == k].mean() for k in range(n_groups)])
    moves = np.stack(
        [np.where(group == k, residuals - values[k], 0) / 150 for k in range(n_groups)]
    )
    sample = evaluation.Sample.of({"m": [rows]})
    return evaluation.spread(sample.estimates("m", [influence.Influence(values, moves.T)]))


@pytest.mark.parametrize("apart", [0.0, 0.03, 0.1])
def test_the_spread_holds_the_truth(apart: float) -> None:
    found = [groups_apart(seed, apart) for seed in range(60)]
    assert all(0 <= each.low <= each.value <= each.high for each in found)
    held = sum(each.low <= apart <= each.high for each in found)
    assert held >= 0.9 * 60 - 4
    measured_spread = np.sqrt(np.mean([each.value**2 for each in found]))
    assert measured_spread == pytest.approx(apart, abs=0.02)


def test_differences_of_spreads_are_as_wide_as_both() -> None:
    a, b = groups_apart(0, 0.1), groups_apart(1, 0.03)
    gap = a.minus(b)
    assert gap.value == a.value - b.value
    assert gap.low <= gap.value <= gap.high
    assert b.minus(a).high == pytest.approx(-gap.low)


# --- calibration of one group -------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore")  # of pandas, about mcgrad's own code
def test_cumulative_error_is_mcgrads_where_rows_are_distinct_and_independent() -> None:
    mcgrad = importlib.import_module("mcgrad.metrics")
    random = np.random.default_rng(0)
    n = 4000
    p = random.permutation((np.arange(n) + 0.5) / n)
    y = (random.random(n) < p**1.2).astype(np.int64)
    part = random.integers(3, size=n)
    assert evaluation.ecce(p, y) == pytest.approx(mcgrad.ecce(y, p))
    assert evaluation.ece(p, y) == pytest.approx(
        mcgrad.expected_calibration_error(y, p, num_bins=10), abs=1e-12
    )
    rows = Predictions(
        p=np.stack([1 - p, p], axis=1),
        labels=y,
        membership=part[:, None] == np.arange(3),
        minority=np.zeros(n, dtype=bool),
        items=np.arange(n),
        annotators=np.arange(n),
        task="binary",
    )
    found = evaluation.multicalibration([rows], draws=200)
    theirs = mcgrad.MulticalibrationError(
        pd.DataFrame({"p": p, "y": y, "part": part.astype(str)}),
        "y",
        "p",
        categorical_segment_columns=["part"],
        max_depth=1,
        precision_dtype="float64",
    )
    order = [0, *(1 + np.array(segment_order(theirs)))]
    np.testing.assert_allclose(found.ecce[order, 0], theirs.segments_ecce)
    in_sigmas = found.ecce / found.sigma_rows
    np.testing.assert_allclose(in_sigmas[order, 0], theirs.segments_ecce_sigma)
    assert in_sigmas.max() == pytest.approx(theirs.mce_sigma)
    # Where every row is an item of its own, both kinds of noise are the same in expectation.
    np.testing.assert_allclose(found.sigma, found.sigma_rows, rtol=0.12)
    # Their law of the range of a Brownian motion, and our draws, give the same chance.
    chances = mcgrad.ecce_pvalue_from_sigma(found.in_sigmas[:, 0])
    np.testing.assert_allclose(found.p[:, 0], chances, atol=0.1)


def test_cumulative_error_as_mcgrad_prints_it() -> None:
    # mcgrad 0.1.5 on these rows, so that the agreement is checked where it is not installed.
    p = (np.arange(20) + 0.5) / 20
    y = np.array([0, 1, 0, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1, 0, 1, 1, 1, 0, 1, 1])
    rows = Predictions(
        p=np.stack([1 - p, p], axis=1),
        labels=y,
        membership=np.zeros((20, 0), dtype=bool),
        minority=np.zeros(20, dtype=bool),
        items=np.arange(20),
        annotators=np.arange(20),
        task="binary",
    )
    assert evaluation.ecce(p, y) == pytest.approx(0.1900000000)
    found = evaluation.multicalibration([rows], draws=50)
    assert found.ecce[0, 0] / found.sigma_rows[0, 0] == pytest.approx(2.0800460957)
    assert evaluation.ece(p, y) == pytest.approx(0.2900000000)


def segment_order(theirs: Any) -> list[int]:
    """The values of `part` in the order of mcgrad's segments, after the first of all rows."""
    told = theirs._segments[1]
    return [int(value) for value in told.loc[told["segment_column"] == "part", "value"]]


def test_equal_predictions_are_one_step_whatever_the_order_of_rows() -> None:
    # The trap of the field: 15.8 sigmas with the labels sorted.
    p, y = np.full(1000, 0.5), np.repeat([0.0, 1.0], 500)
    assert evaluation.ecce(p, y) == 0
    assert evaluation.ecce(p, y[::-1]) == 0


@law
@given(st.integers(0, 1000), st.integers(1, 200), st.integers(1, 30))
def test_errors_are_within_each_other(seed: int, n: int, distinct: int) -> None:
    random = np.random.default_rng(seed)
    p = random.random(distinct)[random.integers(distinct, size=n)]
    y = (random.random(n) < 0.5).astype(float)
    total = abs(np.mean(y - p))
    assert evaluation.ecce(p, y) >= total - 1e-12
    assert evaluation.ece(p, y) >= total - 1e-12
    assert 0 <= evaluation.smooth_ece(p, y) <= 1
    order = random.permutation(n)
    assert evaluation.ecce(p[order], y[order]) == pytest.approx(evaluation.ecce(p, y))


def test_smooth_error_solves_its_own_definition() -> None:
    random = np.random.default_rng(1)
    p = random.random(300)
    y = (random.random(300) < p**2).astype(float)
    width = evaluation.smooth_ece(p, y)
    grid = (np.arange(2000) + 0.5) / 2000
    # The reflected Gaussian, by its images.
    images = np.concatenate([p + 2 * k for k in range(-3, 4)] + [-p + 2 * k for k in range(-3, 4)])
    kernel = np.exp(-(((grid[:, None] - images) / width) ** 2) / 2) / width / np.sqrt(2 * np.pi)
    smoothed = kernel @ np.tile(y - p, 14) / len(p)
    assert np.abs(smoothed).mean() == pytest.approx(width, rel=0.01)


def test_smooth_error_of_known_predictors() -> None:
    assert evaluation.smooth_ece(np.zeros(50), np.ones(50)) == pytest.approx(1)
    assert evaluation.smooth_ece(np.full(100, 0.5), np.tile([0, 1], 50)) < 0.002
    # Far from the ends a constant error of 0.2 is smoothed into itself.
    assert evaluation.smooth_ece(np.full(100, 0.5), np.repeat([0, 1], [30, 70])) == pytest.approx(
        0.2
    )


def test_reliability_is_the_calibration_curve_with_a_band_that_holds_items_together() -> None:
    rows = clustered(3, per_item=20)
    p, y = rows.p[:, 1], rows.labels == 1
    found = evaluation.reliability([(p, y, rows.items, rows.annotators)])
    curve = metrics.calibration_curve(p, y)
    for name in ("bin", "predicted", "observed", "n"):
        np.testing.assert_allclose(getattr(found, name), getattr(curve, name))
    as_if_independent = evaluation.reliability([(p, y, np.arange(len(p)), rows.annotators)])
    assert (found.high - found.low > 2 * (as_if_independent.high - as_if_independent.low)).all()
    for times in (2, 3):  # the same seed twice tells nothing new
        again = evaluation.reliability([(p, y, rows.items, rows.annotators)] * times)
        for a, b in zip(again, found, strict=True):
            np.testing.assert_allclose(a, b)


def test_the_band_holds_a_calibrated_models_dots_and_not_an_overconfident_ones() -> None:
    inside = []
    for seed in range(40):
        rows = clustered(seed)
        found = evaluation.reliability(
            [(rows.p[:, 1], rows.labels == 1, rows.items, rows.annotators)]
        )
        inside.append((found.low <= found.observed) & (found.observed <= found.high))
    assert 0.88 < np.concatenate(inside).mean() < 0.98
    rows = clustered(0, spread=0.0, off=0.25)
    found = evaluation.reliability([(rows.p[:, 1], rows.labels == 1, rows.items, rows.annotators)])
    assert (found.observed > found.high).all()


# --- multicalibration ---------------------------------------------------------------------------


def test_few_draws_alarm_as_seldom_as_many() -> None:
    """What is observed stands to the draws as each draw to the others, however few there are."""
    alarms = 0
    for seed in range(200):
        random = np.random.default_rng(seed)
        p, n = random.uniform(0.2, 0.8, 240), 240
        rows = Predictions(
            p=np.stack([1 - p, p], axis=1),
            labels=(random.random(n) < p).astype(np.int64),
            membership=random.random((n, 12)) < 0.3,
            minority=np.zeros(n, dtype=bool),
            items=np.arange(n),
            annotators=np.arange(n),
            task="binary",
        )
        found = evaluation.multicalibration([rows], draws=40, seed=seed)
        alarms += found.p_value < 0.05  # two of 41 ranks: 4.9%
    assert alarms <= 0.08 * 200


def test_the_test_is_calm_on_calibrated_items_where_one_of_independent_rows_is_not() -> None:
    alarms, naive = 0, 0
    for seed in range(60):
        rows = clustered(seed, n_items=60)
        found = evaluation.multicalibration([rows], draws=200, seed=seed)
        alarms += found.p_value < 0.05
        alone = Predictions(**{**vars(rows), "items": np.arange(len(rows.p))})
        naive += evaluation.multicalibration([alone], draws=200, seed=seed).p_value < 0.05
    assert alarms <= 8
    assert naive > 18  # thirty here, of sixty; three would be right


def test_an_error_in_one_group_is_found_there() -> None:
    rows = clustered(5, n_items=300, spread=0.1)
    inside = rows.membership[:, 1]
    p = np.where(inside, rows.p[:, 1] + 0.3, rows.p[:, 1])
    found = evaluation.multicalibration(
        [Predictions(**{**vars(rows), "p": np.stack([1 - p, p], axis=1)})]
    )
    assert found.p_adjusted[2, 0] < 0.01
    assert found.p_adjusted[1, 0] > 0.05 or found.in_sigmas[1, 0] < found.in_sigmas[2, 0]
    assert found.error == found.in_sigmas[2, 0]
    assert found.ecce[2, 0] > found.detectable[2, 0]
    assert found.ecce[2, 0] == pytest.approx(evaluation.ecce(p[inside], rows.labels[inside]))


def test_corrections_only_ever_raise_a_p_value() -> None:
    found = evaluation.multicalibration([make_rows(8, n=400, n_items=100)], draws=200)
    assert found.p.shape == (4, 2)
    assert (found.p_adjusted >= found.p).all()
    assert (found.p_discovery >= found.p - 1e-12).all()
    assert found.p_value == found.p_adjusted.min()


def test_ordinal_and_seeds_are_tested_together() -> None:
    rows = make_rows(9, n=300, n_items=60)
    one, twice = (evaluation.multicalibration([rows] * n, draws=200) for n in (1, 2))
    for a, b in zip(one, twice, strict=True):
        np.testing.assert_allclose(a, b)
    level = metrics.exceedance(rows.p)[:, 1]
    inside = rows.membership[:, 0]
    expected = evaluation.ecce(level[inside], rows.labels[inside] > 1)
    assert one.ecce[1, 1] == pytest.approx(expected)


def test_a_group_without_rows_has_no_error_and_does_not_disturb() -> None:
    rows = make_rows(10)
    empty = np.column_stack([rows.membership, np.zeros(80, dtype=bool)])
    a = evaluation.multicalibration([rows], draws=100)
    b = evaluation.multicalibration([Predictions(**{**vars(rows), "membership": empty})], draws=100)
    assert np.isnan(b.ecce[-1]).all()
    assert np.isnan(b.p_adjusted[-1]).all()
    for x, y in zip(a[:-1], b[:-1], strict=True):
        np.testing.assert_allclose(y[:-1], x)
    np.testing.assert_array_equal(a.correlations, b.correlations)


# --- other people's metrics ---------------------------------------------------------------------


def test_soft_label_scores_by_hand_and_by_scipy() -> None:
    p = np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25], [0, 0, 1]])
    found = evaluation.soft_label_scores(p, [0, 2, 2], [7, 7, 3])
    assert found["manhattan"] == pytest.approx((0.5 + 0) / 2)
    places = np.arange(3)
    expected = wasserstein_distance(places, places, p[0], [0.5, 0, 0.5])
    assert found["wasserstein"] == pytest.approx(expected / 2)
    assert found["cross_entropy"] == pytest.approx(-(np.log(0.5) + np.log(0.25)) / 2 / 2)


def test_personal_scores_by_hand() -> None:
    rows = Predictions(
        p=np.array([[0.9, 0.1, 0], [0.9, 0.1, 0], [0, 0.2, 0.8], [0, 0.2, 0.8]]),
        labels=np.array([0, 2, 2, 1]),
        membership=np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0]], dtype=bool),
        minority=np.zeros(4, dtype=bool),
        items=np.array([0, 0, 0, 1]),
        annotators=np.array([4, 4, 4, 6]),
        task="ordinal",
    )
    found = evaluation.accuracies(rows)
    assert found["accuracy"] == 0.5
    assert found["accuracy_users"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["accuracy_texts"] == pytest.approx((2 / 3 + 0) / 2)
    assert found["accuracy_traits"] == 0.5
    assert found["distance_texts"] == pytest.approx((2 / 9 + 1 / 3) / 2)


@law
@given(st.integers(0, 10_000), st.integers(2, 11))
def test_no_label_has_a_smaller_expected_distance_than_the_median(seed: int, n: int) -> None:
    p = np.random.default_rng(seed).dirichlet(np.full(n, 0.5))
    expected = np.abs(np.arange(n)[:, None] - np.arange(n)) @ p
    labels = np.arange(n)
    rows = Predictions(
        p=np.tile(p, (n, 1)),
        labels=labels,
        membership=np.zeros((n, 0), dtype=bool),
        minority=np.zeros(n, dtype=bool),
        items=np.zeros(n, dtype=np.int64),
        annotators=labels,
        task="ordinal" if n > 2 else "binary",
    )
    median = int((np.cumsum(p) < 0.5).sum())
    assert expected[median] == pytest.approx(expected.min())
    distance = np.abs(median - labels).mean() / n
    assert evaluation.accuracies(rows)["distance_texts"] == pytest.approx(distance)


def test_error_rates_by_hand() -> None:
    p = np.array([[0.2, 0.8], [0.2, 0.8], [0.7, 0.3], [0.7, 0.3], [0.7, 0.3]])
    members = np.array([[1, 1], [1, 0], [1, 0], [1, 0], [1, 1]])
    found = evaluation.error_rates(p, [1, 0, 0, 0, 1], members)
    np.testing.assert_allclose(found["false_positive"], [[1 / 3], [np.nan]])
    np.testing.assert_allclose(found["false_negative"], [[0.5], [0.5]])


def test_krippendorffs_own_example() -> None:
    # Krippendorff (2011), C and D: four observers, twelve units, data missing.
    table = [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
        [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
    ]
    cells = [(u, v - 1) for row in table for u, v in enumerate(row) if v is not None]
    units, values = np.array(cells).T
    assert evaluation.krippendorff_alpha(values, units) == pytest.approx(0.743, abs=5e-4)
    assert evaluation.krippendorff_alpha(values, units, "ordinal") == pytest.approx(0.815, abs=5e-4)
    assert evaluation.krippendorff_alpha(values, units, "interval") == pytest.approx(
        0.849, abs=5e-4
    )


def test_alpha_is_that_of_the_formula() -> None:
    """1 - (n - 1) observed / expected disagreement (Krippendorff 2011), from the coincidences."""
    random = np.random.default_rng(5)
    items, labels = random.integers(30, size=200), random.integers(4, size=200)
    coincidences = np.zeros((4, 4))
    for item in np.unique(items):
        given = labels[items == item]
        if len(given) > 1:
            pairs = np.bincount(given, minlength=4)[:, None] * np.bincount(given, minlength=4)
            pairs = pairs - np.diag(np.bincount(given, minlength=4))
            coincidences += pairs / (len(given) - 1)
    n = coincidences.sum(axis=0)
    middle = np.cumsum(n) - n / 2
    distances: dict[Any, npt.NDArray[np.float64]] = {
        "nominal": 1 - np.eye(4),
        "ordinal": (middle[:, None] - middle) ** 2,
    }
    for level, distance in distances.items():
        expected = (np.outer(n, n) * distance).sum()
        alpha = 1 - (n.sum() - 1) * (coincidences * distance).sum() / expected
        assert evaluation.krippendorff_alpha(labels, items, level) == pytest.approx(alpha)


def test_alpha_and_entropy_at_their_ends() -> None:
    items = np.repeat(np.arange(500), 4)
    same = np.random.default_rng(0).integers(3, size=500)[items]
    assert evaluation.krippendorff_alpha(same, items) == 1
    assert evaluation.label_entropy(same, items, 3) == 0
    chance = np.random.default_rng(1).integers(3, size=2000)
    assert evaluation.krippendorff_alpha(chance, items) == pytest.approx(0, abs=0.05)
    assert evaluation.label_entropy([0, 1, 2], [0, 0, 0], 3) == pytest.approx(1)
    assert np.isnan(evaluation.krippendorff_alpha([1, 1], [0, 0]))
    assert np.isnan(evaluation.krippendorff_alpha([0, 1], [0, 1]))


# --- what goes into results.json -----------------------------------------------------------------


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], pd.DataFrame]:
    folder = make_output(tmp_path_factory.mktemp("made_up"), groups=GROUPS[:2], n_items=40)
    results = json.loads((folder / "results.json").read_text())
    return results, pd.read_parquet(folder / "predictions.parquet")


def test_rows_are_those_of_the_predictions(output: tuple[dict[str, Any], pd.DataFrame]) -> None:
    results, predictions = output
    found = evaluation.predictions_by_method(predictions, GROUPS[:2], 3, "ordinal")
    assert list(found) == ["mc-stl", "none", "majority", "gbm"]
    for run in results["runs"]:
        rows = found[run["method"]][run["seed"]]
        expected = evaluated(rows, np.arange(len(rows.p)))["metrics"]
        assert expected == pytest.approx(run["metrics"])
    # Codes are those of the whole study, so that seeds share their items and people.
    codes = np.concatenate([rows.items for rows in found["none"]])
    names = predictions.loc[predictions["method"] == "none", "item"]
    assert pd.DataFrame({"code": codes, "name": names}).drop_duplicates()["code"].is_unique


def test_who_is_not_known_is_a_person_of_their_own(
    output: tuple[dict[str, Any], pd.DataFrame],
) -> None:
    _, predictions = output
    rows = evaluation.predictions_by_method(
        predictions.assign(annotator=None), GROUPS[:2], 3, "ordinal"
    )["none"]
    people = np.concatenate([each.annotators for each in rows])
    of_row = predictions.loc[predictions["method"] == "none", "row"].to_numpy()
    assert len(np.unique(people)) == len(np.unique(of_row))
    assert (
        evaluation.audit_study({**output[0]}, predictions.assign(annotator=None), draws=5)["audit"][
            "methods"
        ]["none"]["people"]
        .keys()
        .isdisjoint({"accuracy_users"})
    )


def test_findings_are_json_and_leave_what_they_are_given(
    output: tuple[dict[str, Any], pd.DataFrame],
) -> None:
    results, predictions = output
    before = json.dumps(results)
    told: list[tuple[str, int, int]] = []
    found = evaluation.audit_study(
        results, predictions, draws=30, progress=lambda *step: told.append(step)
    )
    assert json.dumps(results) == before
    assert json.loads(json.dumps(found, allow_nan=False)) == found
    assert [done for _, done, _ in told] == [0, 1, 2, 3, 4, 5]
    assert found["differences"]["baseline"] == "none"
    for method, summary in results["summary"].items():
        for name, value in summary.items():
            after = found["summary"][method][name]
            assert (after["mean"], after["sd"]) == (value["mean"], value["sd"])


@pytest.mark.parametrize(
    ("methods", "baseline"),
    [
        ([{"name": "mc-stl"}, {"name": "none", "label": "no groups"}], "no groups"),
        ([{"name": "mc-stl"}, {"name": "gbm"}, {"name": "majority"}], "majority"),
        ([{"name": "mc-stl"}, {"name": "gbm"}], "gbm"),
        ([{"name": "mc-stl"}], "mc-stl"),
    ],
)
def test_the_baseline_is_the_first_method_without_groups(
    methods: list[dict[str, str]], baseline: str
) -> None:
    titles = [method.get("label") or method["name"] for method in methods]
    assert _baseline({"study": {"methods": methods}}, titles) == baseline


def test_marks_by_differences() -> None:
    a, b = crossed(0, n_people=60)
    worse = Predictions(**{**vars(a), "p": 0.5 + 0.6 * (a.p - 0.5)})
    column = Column("nll", "NLL", "lowest")
    found = measured(a=[a], b=[b], worse=[worse])
    marks = _marks(found, column)
    best = min("ab", key=lambda m: float(found[m].metrics["nll"].value[0]))
    assert marks[best] in ("best", "tied")
    assert _marks({m: found[m] for m in ("a", "worse")}, column) == {"a": "best", "worse": ""}
    assert _marks({"a": found["a"]}, column) == {}


def test_as_far_from_the_ideal_on_either_side_is_tied() -> None:
    a, _ = crossed(1, n_people=60)
    sample = evaluation.Sample.of({"a": [a]})
    moves = influence.of_parts(a, "nll").rows[:, :1] / 5
    slopes = {
        name: evaluation.Uncertainty(
            {
                "slope_mean": sample.estimates(
                    "a", [influence.Influence(np.array([s]), moves * (s - 1))]
                )
            },
            {},
            {},
        )
        for name, s in (("over", 1.3), ("under", 0.7), ("far", 3.0))
    }
    marks = _marks(slopes, Column("slope_mean", "Slope", "nearest 1"))
    assert marks == {"over": "tied", "under": "tied", "far": ""}


def test_agreement_of_pairs_does_not_depend_on_which_side_was_first() -> None:
    table = pd.DataFrame(
        {
            "item": ["x", "x", "y", "y"],
            "text_a": ["Tea", "Coffee", "Bread", "Cake"],
            "text_b": ["Coffee", "Tea", "Cake", "Bread"],
            "label": [1, 0, 0, 1],
        }
    )
    data = Annotations.from_frame(table, task="preference")
    assert evaluation.annotation_agreement(data)["alpha"] == 1
    assert evaluation.annotation_agreement(data)["entropy"] == 0


# --- what cannot be used ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"p": np.full((80, 3), np.nan)}, "80 of 80 predictions have a probability that is not a"),
        ({"p": np.full((80, 3), [1.2, -0.1, -0.1])}, "below 0 or above 1, the first one"),
        ({"p": np.full((80, 3), 0.4)}, "do not sum to 1"),
        ({"p": np.full(80, 0.4)}, r"have shape \(80,\); expected \(rows, classes\)"),
        ({"p": np.zeros((0, 3))}, "there are no predictions to evaluate"),
        ({"labels": np.full(80, 3)}, "labels run from 3 to 3; expected 0 to 2"),
        ({"labels": np.zeros(79, dtype=int)}, "80 predictions, but labels has 79 rows"),
    ],
)
def test_rows_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Predictions(**{**vars(make_rows(0)), **changes})


def test_membership_names_an_unknown_group() -> None:
    assert evaluation.membership_matrix([["b"], [], ["a", "c"]], ["a", "b", "c"]).tolist() == [
        [False, True, False],
        [False, False, False],
        [True, False, True],
    ]
    with pytest.raises(InputError, match=r"a group 'c' .* found: a, b"):
        evaluation.membership_matrix([["a", "c"]], ["a", "b"])


@law
@given(st.integers(0, 10_000), st.integers(2, 5))
def test_sets_of_labels_are_measured_like_as_many_questions(seed: int, n_classes: int) -> None:
    random = np.random.default_rng(seed)
    given = random.random((6, 4, n_classes)) < 0.6  # items, people, labels
    given[0, 0, :2] = True
    chances = random.dirichlet(np.ones(n_classes), (6, 4))
    items, people, labels = np.nonzero(given)
    found = evaluation.label_set_scores(chances[items, people], labels, items, people)
    assert found is not None
    manhattan, error = [], []
    for item, its_chances in zip(given, chances, strict=True):
        answered = item.any(axis=1)
        if answered.any():
            yes = its_chances[answered].mean(axis=0) - item[answered].mean(axis=0)
            manhattan.append(np.abs(np.stack([yes, -yes])).sum(axis=0).mean())
            error.append(((its_chances[answered] > 0.5) != item[answered]).mean())
    assert found["manhattan_sets"] == pytest.approx(np.mean(manhattan))
    assert found["error_sets"] == pytest.approx(np.mean(error))


def test_each_question_of_several_has_its_own_share_of_yes() -> None:
    """As LeWiDi measures VariErrNLI: means over texts and questions."""
    random = np.random.default_rng(0)
    yes = random.random((6, 4, 3))  # items, people, questions
    given = random.random(yes.shape) < 0.5
    items, people, questions = (places.ravel() for places in np.indices(yes.shape))
    rows = Predictions(
        p=np.stack([1 - yes.ravel(), yes.ravel()], axis=1),
        labels=given.ravel().astype(np.int64),
        membership=questions[:, None] == np.arange(3),
        minority=np.zeros(yes.size, dtype=bool),
        items=items,
        annotators=people,
        task="multilabel",
    )
    table = pd.DataFrame({"seed": 0, "annotator": people})
    found = _measures_of_others(table, [rows], ["a", "b", "c"])
    gaps = yes.mean(axis=1) - given.mean(axis=1)
    assert found["soft_labels"]["manhattan"] == pytest.approx(2 * np.abs(gaps).mean())
    assert "manhattan_sets" not in found["soft_labels"]
    wrong = (yes > 0.5) != given
    assert 1 - found["people"]["accuracy_texts"] == pytest.approx(wrong.mean())


def test_one_label_a_person_is_no_set_of_labels() -> None:
    rows = make_rows(4)
    people = np.arange(len(rows.p))
    assert evaluation.label_set_scores(rows.p, rows.labels, rows.items, people) is None


def predicted_alike(name: str, data_dir: Path, p: npt.ArrayLike) -> Predictions:
    """The annotations of a data set, all with the same chances."""
    data = datasets.load(name, data_dir=data_dir)
    n = len(data.labels)
    return Predictions(
        p=np.tile(np.asarray(p, dtype=float), (n, 1)),
        labels=data.labels,
        membership=np.zeros((n, 0), dtype=bool),
        minority=np.zeros(n, dtype=bool),
        items=pd.factorize(data.frame["item"])[0],
        annotators=pd.factorize(data.frame["annotator"])[0],
        task=data.task,
    )


@pytest.mark.parametrize(
    ("name", "n_classes", "label", "published"),
    [("paraphrase", 11, 10, 0.362), ("csc", 6, 1, 0.239)],
)
def test_the_distance_of_one_label_is_near_what_was_published(
    data_dir: Path, name: str, n_classes: int, label: int, published: float
) -> None:
    """Published is that of the most frequent label on test parts, which are not public.

    For CSC the most frequent label of the public part gives 0.280; its median, 2, gives what was
    published. So that row confirms the formula rather than the baseline.
    """
    rows = predicted_alike(f"lewidi-{name}", data_dir, np.eye(n_classes)[label])
    assert evaluation.accuracies(rows)["distance_texts"] == pytest.approx(published, abs=0.02)


def test_the_error_rates_of_the_most_frequent_answer_are_near_what_was_published(
    data_dir: Path,
) -> None:
    """In MultiPICo nothing is ironic; in VariErrNLI nobody gives any of the three labels."""
    rows = predicted_alike("lewidi-mp", data_dir, [1, 0])
    assert 1 - evaluation.accuracies(rows)["accuracy_texts"] == pytest.approx(0.316, abs=0.02)
    rows = predicted_alike("lewidi-varierrnli", data_dir, np.full(3, 1 / 3))
    scores = evaluation.label_set_scores(rows.p, rows.labels, rows.items, rows.annotators)
    assert scores is not None
    assert scores["error_sets"] == pytest.approx(0.345, abs=0.01)


@pytest.mark.parametrize("folder", ["MP", "CSC", "Paraphrase", "VariErrNLI"])
def test_shares_of_labels_are_those_that_the_organisers_give(data_dir: Path, folder: str) -> None:
    entries = [
        entry
        for part in ("train", "dev")
        if (path := data_dir / "lewidi" / folder / f"{folder}_{part}.json").is_file()
        for entry in json.loads(path.read_text(encoding="utf-8")).values()
    ]
    if folder == "VariErrNLI":
        shares = [[each["1"] for each in entry["soft_label"].values()] for entry in entries]
    else:
        numbers = [{float(k): v for k, v in entry["soft_label"].items()} for entry in entries]
        classes = sorted(set().union(*numbers))
        shares = [[entry.get(label, 0.0) for label in classes] for entry in numbers]
    n = len(shares[0])
    rows = predicted_alike(f"lewidi-{folder.lower()}", data_dir, np.full(n, 1 / n))
    gaps = np.array(shares) - 1 / n
    if folder == "VariErrNLI":
        scores = evaluation.label_set_scores(rows.p, rows.labels, rows.items, rows.annotators)
        assert scores is not None
        assert scores["manhattan_sets"] == pytest.approx(2 * np.abs(gaps).mean(), abs=1e-3)
    else:
        found = evaluation.soft_label_scores(rows.p, rows.labels, rows.items)
        expected = np.abs(gaps).sum(axis=1).mean()
        assert found["manhattan"] == pytest.approx(expected, abs=1e-3)
        moved = np.abs(np.cumsum(gaps, axis=1)[:, :-1]).sum(axis=1).mean()
        assert found["wasserstein"] == pytest.approx(moved, abs=2e-3)
