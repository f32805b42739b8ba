"""What a practitioner would write instead: it learns, respects weights, and forgets no order."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from crowdkit.aggregation import DawidSkene
from scipy.sparse import csr_matrix
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

import mcstl
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, Notice
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.evaluation import metrics
from mcstl.methods import features, gbm, irpm, logistic
from mcstl.methods.base import Predictor, Recalibration
from mcstl.methods.dawid_skene import label_probabilities
from mcstl.methods.recalibration import recalibrate
from mcstl.models.examples import Examples
from mcstl.models.training import Problem, Session
from mcstl.studies.study_file import Study
from tiny_transformers import tiny

Fit = Callable[..., Predictor]
FITS: tuple[Fit, ...] = (gbm.fit, logistic.fit)
TASKS: tuple[Task, ...] = ("binary", "ordinal", "preference")
both = pytest.mark.parametrize("fit", FITS)
every_task = pytest.mark.parametrize("task", TASKS)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    with threadpool_limits(1):
        yield


def simulated(task: Task, n: int, seed: int) -> Examples:
    """Rows of 60 texts in two overlapping groups; both move the label, a second group's way back.

    Another seed gives other rows of the same texts.
    """
    vectors = np.random.default_rng(5).normal(size=(60, 4)).astype(np.float32)
    random = np.random.default_rng(seed)
    S = random.random((n, 2)) < 0.5
    positions = random.integers(60, size=(n, 2 if task == "preference" else 1))
    side = vectors[positions] @ [1.5, -1, 0, 0]
    score = side[:, 0] - side[:, 1] if task == "preference" else side[:, 0] + S @ [2, -2]
    cuts = [-1, 1] if task == "ordinal" else [0]
    y = (score[:, None] + random.logistic(size=(n, 1)) > cuts).sum(1)
    ones = np.ones(n, dtype=np.float32)
    return Examples(vectors, positions, csr_matrix(S, dtype=np.float32), y, ones)


def n_classes(task: Task) -> int:
    return 3 if task == "ordinal" else 2


def parts(task: Task) -> tuple[Examples, Examples, Examples]:
    return simulated(task, 400, 1), simulated(task, 150, 2), simulated(task, 300, 3)


def nll(p: FloatArray, y: Any) -> float:
    return float(-np.log(np.maximum(p[np.arange(len(y)), y], 1e-12)).mean())


@both
@every_task
def test_it_beats_the_label_rates(fit: Fit, task: Task) -> None:
    train, validation, test = parts(task)
    p = fit(train, validation, n_classes=n_classes(task))(test)
    assert p.shape == (len(test), n_classes(task))
    assert p.dtype == np.float64
    assert (p >= 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-6)
    rates = np.bincount(train.y) / len(train)
    assert nll(p, test.y) < 0.9 * nll(np.tile(rates, (len(test), 1)), test.y)


@both
def test_groups_are_features(fit: Fit) -> None:
    train, validation, test = parts("binary")
    p = fit(train, validation, n_classes=2)(test)
    alone = [rows.without_groups() for rows in (train, validation, test)]
    without = fit(*alone[:2], n_classes=2)(alone[2])
    assert nll(p, test.y) < 0.9 * nll(without, test.y)


@both
def test_swapping_a_pair_gives_the_rest_to_one(fit: Fit) -> None:
    """Although in training text A nearly always won."""
    train, validation, test = parts("preference")
    train = train.take(np.concatenate([np.flatnonzero(train.y == 1), np.arange(50)]))
    predict = fit(train, validation, n_classes=2)
    p = predict(test)
    swapped = predict(replace(test, positions=test.positions[:, ::-1]))
    np.testing.assert_allclose(p, swapped[:, ::-1], rtol=0, atol=1e-12)
    assert np.ptp(p[:, 1]) > 0.2
    same = predict(replace(test, positions=test.positions[:, [0, 0]]))
    np.testing.assert_allclose(same, 0.5, rtol=0, atol=1e-12)


@both
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_absent_in_training_has_probability_zero(fit: Fit, absent: int) -> None:
    train, validation, test = parts("ordinal")
    train, validation = (rows.take(rows.y != absent) for rows in (train, validation))
    p = fit(train, validation, n_classes=3)(test)
    np.testing.assert_array_equal(p[:, absent], 0)
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-6)


@both
@every_task
def test_a_seed_decides_everything(fit: Fit, task: Task) -> None:
    train, validation, test = parts(task)
    first, again = (fit(train, validation, n_classes=n_classes(task), seed=3) for _ in range(2))
    np.testing.assert_array_equal(first(test), again(test))


@both
def test_weights_of_training_rows_are_respected(fit: Fit) -> None:
    """Every row twice, once with each label: the weights say how likely the label is."""
    one = simulated("binary", 300, 1)
    rows = one.take(np.tile(np.arange(300), 2))
    y = np.repeat([0, 1], 300)
    w = np.where(y == 1, 9, 1).astype(np.float32)
    rows = replace(rows, y=y, w=w)
    p = fit(rows, rows, n_classes=2)(one)
    np.testing.assert_allclose(p[:, 1], 0.9, rtol=0, atol=0.02)


@both
def test_validation_rows_of_weight_zero_decide_nothing(fit: Fit) -> None:
    train, validation, test = parts("binary")
    wrong = replace(validation, y=1 - validation.y)
    all_rows = replace(
        validation,
        positions=np.concatenate([validation.positions, wrong.positions]),
        S=csr_matrix(np.tile(validation.S.toarray(), (2, 1))),
        y=np.concatenate([validation.y, wrong.y]),
        w=np.repeat(np.array([1, 0], dtype=np.float32), len(validation)),
    )
    expected = fit(train, validation, n_classes=2)(test)
    found = fit(train, all_rows, n_classes=2)(test)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-9)
    equal = fit(train, replace(all_rows, w=np.ones_like(all_rows.w)), n_classes=2)(test)
    assert np.abs(equal - expected).max() > 0.01


@every_task
def test_logistic_takes_a_weight_of_two_as_the_row_twice(task: Task) -> None:
    """Boosting does not: its bins and the least size of its leaves count rows."""
    train, validation, test = parts(task)
    train = replace(train, w=np.where(train.y == 0, 3, 1).astype(np.float32))
    repeated = train.take(np.repeat(np.arange(len(train)), train.w.astype(int)))
    repeated = replace(repeated, w=np.ones(len(repeated), dtype=np.float32))
    heavy = logistic.fit(train, validation, n_classes=n_classes(task))(test)
    long = logistic.fit(repeated, validation, n_classes=n_classes(task))(test)
    np.testing.assert_allclose(heavy, long, rtol=0, atol=1e-3)
    light = replace(train, w=np.ones_like(train.w))
    unweighted = logistic.fit(light, validation, n_classes=n_classes(task))(test)
    assert np.abs(heavy - unweighted).max() > 0.01


@every_task
def test_logistic_is_scikit_learns_on_embedding_and_groups(task: Task) -> None:
    """The same by hand: scaled columns, the best penalty, in preference both orders."""

    def columns(rows: Examples, sign: int = 1) -> FloatArray:
        side = rows.vectors[rows.positions].astype(float)
        text = side[:, 0] - side[:, 1] if task == "preference" else side[:, 0]
        return np.hstack([sign * text, rows.S.toarray()])

    train, validation, test = parts(task)
    scaler = StandardScaler().fit(columns(train))
    found = []
    for C in features._PENALTIES:
        model = LogisticRegression(C=C, max_iter=1000)
        model.fit(scaler.transform(columns(train)), train.y)

        def predict(rows: Examples, model: LogisticRegression = model) -> FloatArray:
            p: FloatArray = model.predict_proba(scaler.transform(columns(rows)))
            if task == "preference":
                turned = model.predict_proba(scaler.transform(columns(rows, -1)))
                p = (p + turned[:, ::-1]) / 2
            return p

        found.append((nll(predict(validation), validation.y), predict(test)))
    best = min(found, key=lambda pair: pair[0])[1]
    p = logistic.fit(train, validation, n_classes=n_classes(task))(test)
    np.testing.assert_allclose(p, best, rtol=0, atol=1e-3)


# Recalibration


def off_in_groups(n: int, seed: int) -> tuple[Any, Any, Any]:
    """Probabilities (n, 2) that are too sure in one group and too low in another, and the rest."""
    random = np.random.default_rng(seed)
    groups = random.random((n, 2)) < 0.5
    z = 2 * random.normal(size=n)
    true = 1 / (1 + np.exp(-(z * (1 - 0.5 * groups[:, 0]) + 1.5 * groups[:, 1])))
    p = 1 / (1 + np.exp(-z))
    return np.column_stack([1 - p, p]), (random.random(n) < true).astype(np.int64), groups


@pytest.mark.parametrize("how", ["temperature", "platt", "isotonic"])
def test_recalibration_mends_overlapping_groups(how: Recalibration) -> None:
    known, asked = off_in_groups(4000, 1), off_in_groups(4000, 2)
    before, labels, groups = asked
    after = recalibrate(how, *known, before, groups)
    np.testing.assert_allclose(after.sum(axis=1), 1, atol=1e-12)
    assert nll(after, labels) < nll(before, labels) - 0.01
    slopes = {}
    for name, p in (("before", before), ("after", after)):
        found = metrics.evaluate(
            p, labels, groups, np.zeros(len(labels), bool), "binary", ["a", "b"]
        )
        slopes[name] = np.abs(found["metrics"]["slope_mean"] - 1)
    assert slopes["after"] < slopes["before"]


def test_platt_is_scikit_learns_where_one_group_holds_everybody() -> None:
    p, labels, _ = off_in_groups(3000, 1)
    nobody = np.zeros((len(labels), 0), dtype=bool)
    z = np.log(p[:, 1] / p[:, 0])
    theirs = LogisticRegression(C=np.inf).fit(z[:, None], labels).predict_proba(z[:, None])
    ours = recalibrate("platt", p, labels, nobody, p, nobody)
    np.testing.assert_allclose(ours, theirs, atol=2e-3)  # ours has a weak prior


@pytest.mark.parametrize("how", ["temperature", "platt", "isotonic"])
def test_recalibration_keeps_levels_in_order_and_sides_alike(how: Recalibration) -> None:
    random = np.random.default_rng(0)
    p = random.dirichlet([1, 1, 1], size=300)
    labels, groups = random.integers(3, size=300), random.random((300, 3)) < 0.4
    after = recalibrate(how, p, labels, groups, p, groups)
    assert (after >= 0).all()
    pair, winner = p[:, :2] / p[:, :2].sum(axis=1, keepdims=True), labels % 2
    there = recalibrate(how, pair, winner, groups, pair, groups, symmetric=True)
    back = recalibrate(how, pair, winner, groups, pair[:, ::-1], groups, symmetric=True)
    np.testing.assert_allclose(there, back[:, ::-1], atol=1e-12)


def test_a_group_with_one_label_has_everybodys_map() -> None:
    p, labels, _ = off_in_groups(500, 1)
    group = (labels == 1)[:, None]
    nobody = np.zeros((500, 0), dtype=bool)
    alone = recalibrate("isotonic", p, labels, nobody, p, nobody)
    np.testing.assert_allclose(recalibrate("isotonic", p, labels, group, p, group), alone)


@pytest.mark.parametrize("how", ["temperature", "platt", "isotonic", "mcgrad"])
@pytest.mark.parametrize("labels", [[0, 0, 0, 0], [2, 2, 2, 2], [1]])
def test_recalibration_with_too_little_to_learn_from(how: Recalibration, labels: list[int]) -> None:
    known = np.tile([[0.2, 0.5, 0.3]], (len(labels), 1))
    p = np.array([[1.0, 0.0, 0.0], [0.2, 0.5, 0.3], [0.0, 0.0, 1.0]])
    group = np.ones((len(labels), 1), dtype=bool)
    with pytest.warns(Notice, match="leaves threshold . of 2 as it is"):
        after = recalibrate(how, known, np.array(labels), group, p, np.ones((3, 1), dtype=bool))
    np.testing.assert_allclose(after, p, atol=1e-5)
    assert (after > 0).all()
    assert (after < 1).all()
    np.testing.assert_allclose(after.sum(axis=1), 1)


@pytest.mark.system
def test_mcgrad_recalibrates_overlapping_groups() -> None:
    known, (before, labels, groups) = off_in_groups(4000, 1), off_in_groups(4000, 2)
    after = recalibrate("mcgrad", *known, before, groups)
    assert nll(after, labels) < nll(before, labels) - 0.01


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mcgrad.methods", None)
    p, labels, groups = off_in_groups(50, 1)
    with pytest.raises(InputError, match=r"type: pip install 'mcstl\[mcgrad\]'"):
        recalibrate("mcgrad", p, labels, groups, p, groups)


# Dawid and Skene


def crowd() -> tuple[Annotations, Any]:
    """300 annotations of 60 items by people who are right, or wrong, nine times of ten."""
    random = np.random.default_rng(0)
    truth = random.integers(2, size=60)
    right = {"ann": 0.9, "bob": 0.9, "cem": 0.9, "dee": 0.1, "eva": 0.1}
    rows = [
        {"text": f"text {i}", "annotator": who, "label": int(t if random.random() < r else 1 - t)}
        for i, t in enumerate(truth)
        for who, r in right.items()
    ]
    return Annotations.from_frame(pd.DataFrame(rows)), np.repeat(truth, len(right))


def test_dawid_skene_sees_through_annotators_who_answer_the_opposite() -> None:
    data, truth = crowd()
    p = label_probabilities(data)
    assert p.shape == (300, 2)
    assert (p.argmax(axis=1) == truth).mean() > 0.95


@pytest.mark.filterwarnings("ignore")  # of pandas, about crowd-kit's own code
def test_dawid_skene_is_crowd_kits() -> None:
    data, _ = crowd()
    table = data.frame[["item", "annotator"]].set_axis(["task", "worker"], axis=1)
    theirs = DawidSkene(n_iter=100).fit_predict_proba(table.assign(label=data.labels))
    ours = label_probabilities(data)
    np.testing.assert_allclose(ours, theirs.loc[data.frame["item"], [0, 1]], atol=1e-3)


def test_dawid_skene_takes_people_who_are_not_known() -> None:
    frame = crowd()[0].frame[["text", "annotator", "label"]].copy()
    frame.loc[::4, "annotator"] = None
    p = label_probabilities(Annotations.from_frame(frame))
    np.testing.assert_allclose(p.sum(axis=1), 1)


def test_dawid_skene_is_told_either_way_round() -> None:
    rows = [
        {"text_a": f"a{i}", "text_b": f"b{i}", "annotator": who, "label": 1}
        for i in range(6)
        for who in "xyz"
    ]
    rows += [{"text_a": "b0", "text_b": "a0", "annotator": "w", "label": 0}]
    rows += [{"text_a": "a9", "text_b": "b9", "annotator": who, "label": 0} for who in "xyz"]
    data = Annotations.from_frame(pd.DataFrame(rows), task="preference")
    p = label_probabilities(data)
    same = data.frame["item"] == data.frame["item"].iloc[0]
    turned = data.frame["flipped"].to_numpy()[same]
    assert turned.any()
    np.testing.assert_allclose(p[same][turned][:, ::-1], p[same][~turned][:1])


# IRPM: descriptors, separator, text


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("roberta"))


IRPM_TEXTS = [f"{'the cat sleeps' if i < 40 else 'a dog barks'} {i}" for i in range(80)]


def told(task: Task, n: int = 240, seed: int = 0) -> Examples:
    """Rows of two groups: each likes cats, and the first likes everything one class better."""
    random = np.random.default_rng(seed)
    member = random.integers(2, size=n)
    positions = random.integers(80, size=(n, 2 if task == "preference" else 1))
    cat = positions < 40
    if task == "preference":
        keep = cat[:, 0] != cat[:, 1]
        member, positions, y = member[keep], positions[keep], cat[keep, 0].astype(np.int64)
    else:
        score = cat[:, 0].astype(np.int64) + (member == 0)
        y = score if task == "ordinal" else (score == 2).astype(np.int64)
    S = csr_matrix(np.eye(2, dtype=np.float32)[member])
    return Examples(np.zeros((80, 1), np.float32), positions, S, y, np.ones(len(y), np.float32))


def fit_irpm(folder: Path, task: Task, seed: int = 0) -> Predictor:
    config = irpm.IrpmConfig(model=str(folder), epochs=6, learning_rate=3e-3, batch_size=8)
    return irpm.fit(
        told(task),
        told(task, 80, 1),
        irpm.Inputs(IRPM_TEXTS, ["region=North", "region=South"]),
        Problem(n_classes(task), task == "preference"),
        config,
        seed=seed,
        session=Session(),
    )


@every_task
def test_irpm_hears_who_speaks(task: Task, roberta: Path) -> None:
    """Neither the group nor the text alone tells the label (but in preference the text does)."""
    rows = told(task, 100, 2)
    p = fit_irpm(roberta, task)(rows)
    assert p.shape == (len(rows), n_classes(task))
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-9)
    assert (p.argmax(axis=1) == rows.y).mean() > 0.95


def test_irpm_gives_equal_rows_equal_predictions_and_swapped_ones_the_rest(roberta: Path) -> None:
    rows = told("preference", 100, 2)
    predict = fit_irpm(roberta, "preference")
    p = predict(rows)
    swapped = predict(replace(rows, positions=rows.positions[:, ::-1]))
    np.testing.assert_allclose(p, swapped[:, ::-1], rtol=0, atol=1e-6)
    keys = np.column_stack([rows.positions, rows.S.toarray()])
    _, inverse = np.unique(keys, axis=0, return_inverse=True)
    for code in range(inverse.max() + 1):
        assert np.ptp(p[inverse.ravel() == code], axis=0).max() == 0


def test_irpm_depends_on_its_seed_alone(roberta: Path) -> None:
    rows = told("binary", 20, 2)
    torch.manual_seed(1)
    first = fit_irpm(roberta, "binary", seed=3)(rows)
    torch.manual_seed(2)
    np.testing.assert_array_equal(first, fit_irpm(roberta, "binary", seed=3)(rows))
    assert np.abs(first - fit_irpm(roberta, "binary", seed=4)(rows)).max() > 1e-6


@pytest.mark.parametrize("task", ["ordinal", "preference"])
def test_irpm_runs_in_a_study(task: Task, roberta: Path, cache: Path) -> None:
    method = {"name": "irpm", "model": str(roberta), "epochs": 1, "batch_size": 64}
    found = mcstl.run(
        Study(
            data={"dataset": "simulated", "annotations": 200},
            task=task,
            groups={"by": "taxonomy", "min_size": 10} if task == "ordinal" else {"by": "rationale"},
            methods=[method, {**method, "label": "recalibrated", "recalibrate": "temperature"}],
            seeds=1,
        )
    )
    assert set(found.results["summary"]) == {"irpm", "recalibrated"}
    p = found.predictions.filter(like="p_").to_numpy()
    np.testing.assert_allclose(p.sum(axis=1), 1, rtol=0, atol=1e-6)


def test_a_model_that_cannot_be_had_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is no folder and no name of a model"):
        fit_irpm(tmp_path / "nowhere", "binary")
