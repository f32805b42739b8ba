"""Metrics: the paper's worked numbers, laws, and agreement with scikit-learn, NumPy and pandas."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import brier_score_loss, log_loss, roc_auc_score

from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.evaluation import metrics


class Sample:
    """Random rows with many tied predictions, overlapping groups and labels that follow p."""

    def __init__(
        self, seed: int, n: int = 60, n_classes: int = 3, n_groups: int = 4, distinct: int = 12
    ) -> None:
        random = np.random.default_rng(seed)
        levels = random.dirichlet(np.ones(n_classes), distinct)
        self.p = levels[random.integers(distinct, size=n)]
        self.labels = (random.random((n, 1)) > np.cumsum(self.p, axis=1)[:, :-1]).sum(axis=1)
        self.members = random.random((n, n_groups)) < 0.5
        self.minority = random.random(n) < 0.3
        self.names = [f"group {k}" for k in range(n_groups)]
        self.task: Task = "ordinal" if n_classes > 2 else "binary"

    def evaluate(self, rows: Any = slice(None), task: Task | None = None) -> dict[str, Any]:
        return metrics.evaluate(
            self.p[rows],
            self.labels[rows],
            self.members[rows],
            self.minority[rows],
            task or self.task,
            self.names,
        )


#: A slow machine is no failure.
law = settings(max_examples=50)

samples = st.builds(
    Sample,
    st.integers(0, 10_000),
    n=st.integers(5, 80),
    n_classes=st.integers(2, 4),
    distinct=st.integers(1, 30),
)


def flat(result: dict[str, Any]) -> dict[str, float]:
    """Every number of an evaluation under its path, None as NaN."""
    found = {f"metrics.{key}": value for key, value in result["metrics"].items()}
    for group in result["groups"]:
        for key, value in group.items():
            if key == "thresholds":
                for line in value:
                    for name, number in line.items():
                        found[f"{group['group']}.{line['threshold']}.{name}"] = number
            elif key != "group":
                found[f"{group['group']}.{key}"] = value
    return {key: np.nan if value is None else float(value) for key, value in found.items()}


def assert_same(result: dict[str, Any], expected: dict[str, Any], tolerance: float = 1e-9) -> None:
    a, b = flat(result), flat(expected)
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_allclose(a[key], b[key], rtol=tolerance, atol=tolerance, err_msg=key)


# --- the paper's worked numbers (A.6) -----------------------------------------------------------


def test_emd_of_the_papers_two_examples() -> None:
    assert metrics.emd([[0.2, 0.5, 0.3]], [1]) == pytest.approx(0.5)
    assert metrics.emd([[0.7, 0.3]], [1]) == pytest.approx(0.7)
    assert metrics.one_minus_emd([[0.2, 0.5, 0.3]], [1]) == pytest.approx(1 - 0.5 / 2)
    assert metrics.one_minus_emd([[0.7, 0.3]], [1]) == pytest.approx(0.3)


def test_one_minus_emd_spans_zero_to_one_for_any_number_of_classes() -> None:
    for n_classes in (2, 3, 5):
        ends = np.eye(n_classes)
        assert metrics.one_minus_emd(ends[:1], [0]) == 1
        assert metrics.one_minus_emd(ends[:1], [n_classes - 1]) == 0


def test_emd_is_scipys_wasserstein_distance_between_classes() -> None:
    sample = Sample(3, n_classes=4)
    classes = np.arange(4)
    expected = [
        stats.wasserstein_distance(classes, [label], row)
        for row, label in zip(sample.p, sample.labels, strict=True)
    ]
    np.testing.assert_allclose(metrics.emd(sample.p, sample.labels), expected)


# --- agreement with references ------------------------------------------------------------------


@law
@given(samples)
def test_scores_agree_with_scikit_learn(sample: Sample) -> None:
    p, labels = sample.p, sample.labels
    classes = np.arange(p.shape[1])
    assert metrics.nll(p, labels) == pytest.approx(
        log_loss(labels, np.clip(p, metrics.EPSILON, None), labels=classes), rel=1e-5
    )
    expected = brier_score_loss(labels, p, labels=classes, scale_by_half=False)
    assert metrics.brier(p, labels) == pytest.approx(expected)
    aucs = [
        roc_auc_score(labels == c, p[:, c])
        for c in classes
        if 0 < (labels == c).sum() < len(labels)
    ]
    if aucs:
        assert metrics.macro_auc(p, labels) == pytest.approx(np.mean(aucs))
    else:
        assert np.isnan(metrics.macro_auc(p, labels))
    if len(np.unique(labels)) == len(classes) > 2:
        ovr = roc_auc_score(labels, p, multi_class="ovr", average="macro")
        assert metrics.macro_auc(p, labels) == pytest.approx(ovr)


def test_deciles_without_ties_are_those_of_pandas_and_the_line_is_numpys() -> None:
    random = np.random.default_rng(0)
    p = random.random(1003)
    y = (random.random(1003) < p).astype(float)
    curve = metrics.calibration_curve(p, y)
    table = pd.DataFrame({"p": p, "y": y}).groupby(pd.qcut(p, 10, labels=False)).mean()
    assert curve.n.sum() == 1003
    assert set(curve.n) <= {100, 101}
    np.testing.assert_allclose(curve.predicted, table["p"], atol=2e-3)
    np.testing.assert_allclose(curve.observed, table["y"], atol=2e-2)
    slope, bias = np.polyfit(curve.predicted, curve.observed, 1)
    assert metrics.calibration_line(p, y) == pytest.approx((slope, bias))


def test_levels_are_the_sums_above_a_class() -> None:
    p = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(metrics.exceedance(p), [[0.8, 0.3], [0.0, 0.0]])
    np.testing.assert_allclose(metrics.exceedance([[0.7, 0.3]]), [[0.3]])


# --- ties and what does not exist ---------------------------------------------------------------


def test_equal_predictions_stay_in_one_bin_whatever_the_order_of_rows() -> None:
    # The trap: with labels sorted and ties broken by row, one prediction looks badly calibrated.
    p, y = np.full(1000, 0.5), np.repeat([0.0, 1.0], 500)
    curve = metrics.calibration_curve(p, y)
    assert curve.n.tolist() == [1000]
    assert curve.observed.tolist() == [0.5]
    assert np.isnan(metrics.calibration_line(p, y)).all()


def test_a_block_of_ties_goes_to_the_decile_of_its_middle() -> None:
    p = np.repeat([0.1, 0.3, 0.9], [5, 60, 35])
    curve = metrics.calibration_curve(p, np.zeros(100))
    assert curve.bin.tolist() == [0, 3, 8]
    assert curve.n.tolist() == [5, 60, 35]


def test_predictions_that_differ_by_rounding_only_have_no_line() -> None:
    p = 0.3 + 1e-9 * np.arange(100)
    assert np.isnan(metrics.calibration_line(p, np.arange(100) % 2)).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_no_rows_or_one_row_have_no_line(rows: int) -> None:
    assert np.isnan(metrics.calibration_line(np.full(rows, 0.4), np.ones(rows))).all()


def test_auc_of_constant_predictions_is_a_half_and_of_one_class_is_nan() -> None:
    p = np.full((4, 2), 0.5)
    assert metrics.macro_auc(p, [0, 1, 1, 1]) == 0.5
    assert np.isnan(metrics.macro_auc(p, [1, 1, 1, 1]))


def test_macro_auc_skips_an_absent_class() -> None:
    p = np.array([[0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.5, 0.1, 0.4]])
    labels = np.array([0, 1, 1])
    expected = np.mean([roc_auc_score(labels == c, p[:, c]) for c in (0, 1)])
    assert metrics.macro_auc(p, labels) == pytest.approx(expected)


def test_a_certain_error_costs_no_more_than_epsilon_says() -> None:
    assert metrics.nll([[1.0, 0.0]], [1]) == pytest.approx(-np.log(metrics.EPSILON))


# --- laws ---------------------------------------------------------------------------------------


@law
@given(samples, st.randoms())
def test_permuting_rows_changes_nothing(sample: Sample, shuffler: Any) -> None:
    rows = list(range(len(sample.p)))
    shuffler.shuffle(rows)
    assert_same(sample.evaluate(np.array(rows)), sample.evaluate())
    # Not even in the last bit where predictions are tied.
    y = sample.labels > 0
    curve = metrics.calibration_curve(sample.p[:, 1], y)
    permuted = metrics.calibration_curve(sample.p[rows, 1], y[rows])
    for a, b in zip(curve, permuted, strict=True):
        np.testing.assert_array_equal(a, b)


@law
@given(samples, st.integers(2, 4))
def test_repeating_all_rows_changes_only_counts(sample: Sample, times: int) -> None:
    repeated = flat(sample.evaluate(np.tile(np.arange(len(sample.p)), times)))
    for key, value in flat(sample.evaluate()).items():
        counted = key.endswith((".n", ".n_minority"))
        np.testing.assert_allclose(
            repeated[key], value * times if counted else value, rtol=1e-9, atol=1e-9, err_msg=key
        )


@law
@given(samples)
def test_permuting_groups_permutes_their_results(sample: Sample) -> None:
    expected = sample.evaluate()
    sample.members, sample.names = sample.members[:, ::-1], sample.names[::-1]
    assert_same(sample.evaluate(), expected)


@law
@given(samples)
def test_a_group_is_evaluated_as_if_its_rows_were_all(sample: Sample) -> None:
    result = sample.evaluate()
    for k, group in enumerate(result["groups"]):
        rows = sample.members[:, k]
        assert group["n"] == rows.sum()
        if rows.any():
            alone = sample.evaluate(rows)
            for key in ("auc", "nll", "brier", "one_minus_emd", "n_minority"):
                assert group[key] == pytest.approx(alone["metrics"][key]), key
            assert group["thresholds"] == alone["groups"][k]["thresholds"]


@law
@given(samples)
def test_group_means_recomputed_from_the_groups(sample: Sample) -> None:
    result = sample.evaluate()
    found = result["metrics"]
    slopes = [line["slope"] for group in result["groups"] for line in group["thresholds"]]
    aucs = [group["auc"] for group in result["groups"]]
    for name, values in (("slope", slopes), ("group_auc", aucs)):
        numbers = [value for value in values if value is not None]
        assert found[f"{name}_mean"] == (pytest.approx(np.mean(numbers)) if numbers else None)
        assert found[f"{name}_sd"] == (pytest.approx(np.std(numbers)) if numbers else None)
    assert found["lines_without_slope"] == slopes.count(None)
    assert found["groups_without_auc"] == aucs.count(None)


@law
@given(samples)
def test_inputs_are_not_modified_and_the_result_is_json(sample: Sample) -> None:
    before = [x.copy() for x in (sample.p, sample.labels, sample.members, sample.minority)]
    result = sample.evaluate()
    for a, b in zip(
        before, (sample.p, sample.labels, sample.members, sample.minority), strict=True
    ):
        np.testing.assert_array_equal(a, b)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@law
@given(st.integers(0, 10_000))
def test_swapping_every_preference_pair_changes_no_score(seed: int) -> None:
    sample = Sample(seed, n_classes=2)
    result = sample.evaluate(task="preference")
    sample.p, sample.labels = sample.p[:, ::-1], 1 - sample.labels
    swapped = sample.evaluate(task="preference")
    for key in ("accuracy", "nll", "brier", "group_accuracy_mean", "one_minus_emd"):
        assert swapped["metrics"][key] == pytest.approx(result["metrics"][key]), key


def test_calibrated_predictions_have_slope_1_and_bias_0_and_flattened_ones_do_not() -> None:
    random = np.random.default_rng(1)
    p = random.random(200_000)
    y = random.random(200_000) < p
    slope, bias = metrics.calibration_line(p, y)
    assert slope == pytest.approx(1, abs=0.02)
    assert bias == pytest.approx(0, abs=0.01)
    # Predictions twice as extreme as the truth: observed = 0.25 + p / 2.
    slope, bias = metrics.calibration_line(p, random.random(200_000) < 0.25 + p / 2)
    assert slope == pytest.approx(0.5, abs=0.02)
    assert bias == pytest.approx(0.25, abs=0.01)


# --- evaluate -----------------------------------------------------------------------------------


def test_evaluate_has_the_keys_of_the_contract() -> None:
    found = Sample(0).evaluate()["metrics"]
    assert set(found) == {
        "auc",
        "nll",
        "brier",
        "one_minus_emd",
        "n_minority",
        "group_auc_mean",
        "group_auc_sd",
        "slope_mean",
        "slope_sd",
        "bias_mean",
        "bias_sd",
        "groups_without_auc",
        "lines_without_slope",
    }
    preference = Sample(0, n_classes=2).evaluate(task="preference")["metrics"]
    assert {"accuracy", "group_accuracy_mean", "group_accuracy_sd"} <= set(preference)
    assert not any("auc" in key for key in preference)


def test_evaluate_by_hand() -> None:
    p = np.array([[0.9, 0.1], [0.9, 0.1], [0.2, 0.8], [0.2, 0.8]])
    labels = np.array([0, 1, 1, 1])
    members = np.array([[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 0]], dtype=bool)
    minority = np.array([False, True, False, False])
    result = metrics.evaluate(p, labels, members, minority, "binary", ["all", "pair", "nobody"])
    found = result["metrics"]
    assert found["auc"] == pytest.approx(5 / 6)  # two of three pairs right, one tied
    assert found["nll"] == pytest.approx(-(np.log(0.9) + np.log(0.1) + 2 * np.log(0.8)) / 4)
    assert found["brier"] == pytest.approx((0.02 + 1.62 + 2 * 0.08) / 4)
    assert found["one_minus_emd"] == pytest.approx(0.1)
    assert found["n_minority"] == 1
    assert found["group_auc_mean"] == pytest.approx(5 / 6)
    assert found["groups_without_auc"] == 2  # one class, and no rows
    assert found["lines_without_slope"] == 2
    everyone, pair, nobody = result["groups"]
    line = everyone["thresholds"][0]
    assert line["slope"] == pytest.approx(0.5 / 0.7)
    assert line["bias"] == pytest.approx(1 - 0.8 * 0.5 / 0.7)
    assert line["n_bins"] == 2
    assert pair["auc"] is None
    assert pair["one_minus_emd"] is None
    assert pair["thresholds"] == [{"threshold": 0, "slope": None, "bias": None, "n_bins": 1}]
    assert nobody["n"] == 0
    assert nobody["nll"] is None


def test_preference_counts_a_tie_as_half() -> None:
    assert metrics.pairwise_accuracy([0.9, 0.9, 0.5, 0.5], [1, 0, 1, 0]) == 0.5
    assert metrics.pairwise_accuracy([0.51, 0.49], [1, 0]) == 1


def test_float32_predictions_are_taken_as_they_are() -> None:
    sample = Sample(5)
    expected = sample.evaluate()
    sample.p = sample.p.astype(np.float32)
    assert_same(sample.evaluate(), expected, tolerance=1e-5)


def test_predictions_that_are_no_numbers_and_no_rows_are_errors() -> None:
    sample = Sample(0)
    with pytest.raises(InputError, match="no rows"):
        sample.evaluate(slice(0))
    sample.p[3, 1] = np.nan
    with pytest.raises(InputError, match="1 of 60 predictions"):
        sample.evaluate()
