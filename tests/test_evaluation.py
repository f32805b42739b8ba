"""Audit: laws of the bootstrap, agreement with references, and tests that keep their promise.

How often intervals cover and the test of multicalibration errs is measured over many more data
sets by benchmarks/coverage.py.
"""

import importlib
import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import wasserstein_distance

from made_up import GROUPS, make_output
from mcstl import evaluation
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.evaluation import Predictions, metrics
from mcstl.evaluation.audit import _baseline, _marks
from mcstl.evaluation.intervals import ClusterWeights
from mcstl.evaluation.tables import Column

law = settings(deadline=None, max_examples=40)


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
        minority=random.random(n) < 0.3,
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


def assert_equals_evaluate(found: evaluation.Resampled, i: int, expected: dict[str, Any]) -> None:
    """Every number of an evaluation is the i-th of a reweighting, and none is missing."""
    wanted = {
        name: value
        for name, value in expected["metrics"].items()
        if not name.startswith(("n_", "groups_without", "lines_without"))
    }
    assert wanted.keys() == {name for name, value in found.items() if value.ndim == 1}
    for name, value in wanted.items():
        close(found[name][i], value, name)
    for k, group in enumerate(expected["groups"]):
        for name in set(group) & set(wanted):
            close(found[f"group {name}"][i, k], group[name], name)
        for line in group["thresholds"]:
            for name in ("slope", "bias"):
                close(found[f"line {name}"][i, k, line["threshold"]], line[name], name)


def close(found: float, expected: float | None, name: str) -> None:
    value = np.nan if expected is None else expected
    np.testing.assert_allclose(found, value, rtol=1e-9, atol=1e-9, err_msg=name)


# --- the bootstrap ------------------------------------------------------------------------------


@law
@given(samples, st.integers(0, 1000), st.booleans())
def test_whole_number_weights_are_repeated_rows(
    rows: Predictions, seed: int, preference: bool
) -> None:
    if preference and rows.p.shape[1] == 2:
        rows = Predictions(**{**vars(rows), "task": "preference"})
    units = np.unique(rows.items, return_inverse=True)[1]
    weights = np.random.default_rng(seed).integers(3, size=(4, units.max() + 1))
    weights[0] = 1
    found = evaluation.ReweightedMetrics(rows, units)(weights)
    for i, of_unit in enumerate(weights):
        repeated = np.repeat(np.arange(len(units)), of_unit[units])
        if len(repeated):
            assert_equals_evaluate(found, i, evaluated(rows, repeated))


@pytest.mark.parametrize("by", ["items", "annotators", "items and annotators"])
def test_resamples_are_the_clusters_drawn_with_replacement(by: evaluation.ClusterBy) -> None:
    rows = make_rows(1, n=60)
    weights_of = ClusterWeights([rows], by, seed=3)
    [weights] = weights_of.counts(range(6))
    of_row = weights[:, weights_of.units[0]]
    assert (of_row[0] == 1).all()
    factors = {"items": [rows.items], "annotators": [rows.annotators]}.get(
        by, [rows.items, rows.annotators]
    )
    for r in range(1, 6):
        random = np.random.default_rng([3, r])
        expected = np.ones(60, dtype=int)
        for codes in factors:
            levels, place = np.unique(codes, return_inverse=True)
            drawn = random.integers(len(levels), size=len(levels))
            expected *= np.bincount(drawn, minlength=len(levels))[place]
        np.testing.assert_array_equal(of_row[r], expected)


def test_the_first_value_is_the_data_and_the_seed_decides_the_rest() -> None:
    rows = make_rows(2)
    [a], [b], [c] = (
        evaluation.bootstrap({"m": [rows]}, resamples=20, seed=seed).values() for seed in (0, 0, 1)
    )
    assert_equals_evaluate(a, 0, evaluated(rows, np.arange(80)))
    for name in a:
        assert a[name].shape[0] == 21
        np.testing.assert_array_equal(a[name], b[name])
    assert not np.array_equal(a["nll"][1:], c["nll"][1:])


def test_resamples_do_not_depend_on_how_many_are_computed_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    methods = {"m": [make_rows(2), make_rows(3)]}
    whole = evaluation.bootstrap(methods, resamples=30)["m"]
    monkeypatch.setattr("mcstl.evaluation.intervals._BLOCK_SIZE", 300)
    for name, values in evaluation.bootstrap(methods, resamples=30)["m"].items():
        np.testing.assert_allclose(values, whole[name], rtol=1e-12, atol=1e-12)


def test_one_draw_of_items_serves_all_seeds_and_methods() -> None:
    rows = make_rows(4)
    other = make_rows(5)
    found = evaluation.bootstrap({"a": [rows, other], "b": [rows, rows], "c": [rows]}, resamples=25)
    np.testing.assert_allclose(found["b"]["nll"], found["c"]["nll"])
    alone = evaluation.bootstrap({"other": [other], "c": [rows]}, resamples=25)
    mean = (alone["other"]["nll"] + alone["c"]["nll"]) / 2
    np.testing.assert_allclose(found["a"]["nll"], mean)
    for name, values in found["b"].items():
        np.testing.assert_allclose(values, found["c"][name])  # hence paired differences of 0


def test_item_intervals_are_those_of_item_means_where_the_metric_is_a_mean() -> None:
    rows = clustered(0, per_item=8)
    values = evaluation.bootstrap({"m": [rows]}, resamples=2000)["m"]["nll"]
    of_item = metrics.nll_per_row(rows.p, rows.labels).reshape(-1, 8).mean(axis=1)
    assert values[1:].std() == pytest.approx(of_item.std() / np.sqrt(len(of_item)), rel=0.06)
    low, high = evaluation.interval(values, "nll")
    assert low < of_item.mean() < high


def test_intervals_of_an_sd_are_reflected_and_not_negative() -> None:
    values = np.append(1.0, np.linspace(1.2, 1.8, 1001))
    low, high = evaluation.interval(values, "slope_sd")
    assert (low, high) == pytest.approx((2 - 1.785, 2 - 1.215))
    assert evaluation.interval(values * [1] + np.append(-0.7, np.zeros(1001)), "x_sd")[0] == 0


def test_what_too_many_resamples_lack_has_no_interval() -> None:
    values = np.append(0.5, np.linspace(0, 1, 100))
    values[1:5] = np.nan
    assert not np.isnan(evaluation.interval(values, "auc")).any()
    values[5:8] = np.nan
    assert np.isnan(evaluation.interval(values, "auc")).all()


def test_a_group_with_one_class_or_no_rows_leaves_the_rest_as_it_is() -> None:
    rows = make_rows(6, n_classes=2)
    members = np.column_stack([rows.membership, rows.labels == 1, np.zeros(80, dtype=bool)])
    more = Predictions(**{**vars(rows), "membership": members})
    [a], [b] = (evaluation.bootstrap({"m": [each]}, resamples=20).values() for each in (rows, more))
    np.testing.assert_array_equal(a["auc"], b["auc"])
    np.testing.assert_array_equal(a["group auc"], b["group auc"][:, :-2])
    assert np.isnan(b["group auc"][:, -2:]).all()
    np.testing.assert_allclose(a["group_auc_mean"], b["group_auc_mean"])


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
    np.testing.assert_allclose(found.sigma, found.sigma_rows, rtol=0.05)
    # Their law of the range of a Brownian motion, and our random signs, give the same chance.
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
    found = evaluation.reliability([(p, y, rows.items)])
    curve = metrics.calibration_curve(p, y)
    for name in ("bin", "predicted", "observed", "n"):
        np.testing.assert_allclose(getattr(found, name), getattr(curve, name))
    as_if_independent = evaluation.reliability([(p, y, np.arange(len(p)))])
    assert (found.high - found.low > 2 * (as_if_independent.high - as_if_independent.low)).all()
    for times in (2, 3):  # the same seed twice tells nothing new
        again = evaluation.reliability([(p, y, rows.items)] * times)
        for a, b in zip(again, found, strict=True):
            np.testing.assert_allclose(a, b)


def test_the_band_holds_a_calibrated_models_dots_and_not_an_overconfident_ones() -> None:
    inside = []
    for seed in range(40):
        rows = clustered(seed)
        found = evaluation.reliability([(rows.p[:, 1], rows.labels == 1, rows.items)])
        inside.append((found.low <= found.observed) & (found.observed <= found.high))
    assert 0.88 < np.concatenate(inside).mean() < 0.98
    rows = clustered(0, spread=0.0, off=0.25)
    found = evaluation.reliability([(rows.p[:, 1], rows.labels == 1, rows.items)])
    assert (found.observed > found.high).all()


# --- multicalibration ---------------------------------------------------------------------------


def test_the_test_is_calm_on_calibrated_items_where_one_of_independent_rows_is_not() -> None:
    alarms, naive = 0, 0
    for seed in range(60):
        rows = clustered(seed, n_items=60)
        found = evaluation.multicalibration([rows], draws=200, seed=seed)
        alarms += found.p_value < 0.05
        alone = Predictions(**{**vars(rows), "items": np.arange(len(rows.p))})
        naive += evaluation.multicalibration([alone], draws=200, seed=seed).p_value < 0.05
    assert alarms <= 8
    assert naive > 30


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
    for x, y in zip(a, b, strict=True):
        np.testing.assert_allclose(y[:-1], x)


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
    assert found["distance_texts"] == pytest.approx((1 / 3 + 0.5) / 2)


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
        evaluation.audit_study({**output[0]}, predictions.assign(annotator=None), resamples=5)[
            "audit"
        ]["methods"]["none"]["people"]
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
        results, predictions, resamples=30, progress=lambda *step: told.append(step)
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


def test_marks_by_paired_resamples() -> None:
    column = Column("nll", "NLL", "seeds", "", "lowest")
    noise = np.append(0.0, np.random.default_rng(0).normal(0, 0.5, 1000))
    jitter = np.append(0.0, np.random.default_rng(1).normal(0, 0.5, 1000))
    # All move together: b is worse by little in every resample, c only sometimes.
    drawn = {"a": {"nll": 1 + noise}, "b": {"nll": 1.1 + noise}, "c": {"nll": 1.1 + jitter}}
    assert _marks(drawn, column) == {"a": "tied", "b": "", "c": "tied"}
    assert _marks({name: drawn[name] for name in "ab"}, column) == {"a": "best", "b": ""}
    assert _marks({"a": drawn["a"]}, column) == {}
    nothing = {"nll": np.full(1001, np.nan)}
    assert _marks({"a": drawn["a"], "b": drawn["b"], "d": nothing}, column)["d"] == ""


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
