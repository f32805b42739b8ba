"""Training: the truth is found again, bits are the same again, and the loss is the printed one."""

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torch
from hypothesis import settings
from scipy.sparse import csr_matrix
from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mcstl import equations
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.encoding.encoders import load_encoder
from mcstl.equations import KLForm
from mcstl.groups import TaxonomyConfig, fit_scheme
from mcstl.models import training
from mcstl.models.examples import Batch, Examples, WeightedExamples
from mcstl.models.networks import BaseNetwork, Layer, Network
from mcstl.models.prediction import predict_rows
from mcstl.models.training import (
    Fitted,
    Loss,
    Problem,
    Session,
    TrainingConfig,
    fit,
    predict,
)
from mcstl.studies.preparation import make_examples
from tiny import weighted_table

law = settings(max_examples=40)
TASKS: tuple[Task, ...] = ("binary", "ordinal", "preference")
#: Few rows and few units: for laws, not for learning anything.
SMALL = TrainingConfig(hidden=8, epochs=4, batch_size=20)
#: Learns its few rows by heart, so that the best epoch comes soon.
HASTY = TrainingConfig(hidden=32, learning_rate=0.1, batch_size=10, epochs=60, patience=2)


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def simulated(task: Task, n: int, seed: int = 0) -> tuple[Examples, FloatArray]:
    """Rows of 60 texts in two overlapping groups, labels drawn from known probabilities (n, L).

    A group adds to the score; in preference, where a sum cancels, it divides the difference.
    Another seed gives other rows of the same texts.
    """
    vectors = np.random.default_rng(5).normal(size=(60, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)  # as the encoder's are
    score = vectors @ np.array([3, -2, 1, 0, 0, 0])
    random = np.random.default_rng(seed)
    S = random.random((n, 2)) < 0.45
    positions = random.integers(60, size=(n, 2 if task == "preference" else 1))
    if task == "preference":
        t = np.exp(S @ np.log([0.4, 2.5]) / np.maximum(S.sum(1), 1))
        z = ((score[positions[:, 0]] - score[positions[:, 1]]) / t)[:, None]
    else:
        b = [0.6, -0.6] if task == "ordinal" else [0.2]
        z = (score[positions[:, 0]] + S @ [1.5, -1.0])[:, None] + b
    above = 1 / (1 + np.exp(-z))
    truth = -np.diff(np.hstack([np.ones((n, 1)), above, np.zeros((n, 1))]))
    y = (random.random((n, 1)) < above).sum(1)
    ones = np.ones(n, dtype=np.float32)
    return Examples(vectors, positions, csr_matrix(S, dtype=np.float32), y, ones), truth


def fit_small(
    task: Task = "binary",
    config: TrainingConfig = SMALL,
    *,
    n: int = 60,
    network: type[Network] = Network,
    seed: int = 0,
    **session: Any,
) -> Fitted:
    train, _ = simulated(task, n, seed=1)
    validation, _ = simulated(task, 150, seed=2)
    return fit(
        train,
        validation,
        problem_of(task),
        config,
        network=network,
        seed=seed,
        session=Session(**session),
    )


def problem_of(task: Task, m: float | None = None) -> Problem:
    return Problem(3 if task == "ordinal" else 2, task == "preference", m)


def changed(config: TrainingConfig, **changes: Any) -> TrainingConfig:
    return TrainingConfig(**{**config.model_dump(), **changes})


def state(fitted: Fitted) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = fitted.network.state_dict()
    return weights


def same_bits(a: Fitted, b: Fitted) -> bool:
    return state(a).keys() == state(b).keys() and all(
        torch.equal(tensor, state(b)[name]) for name, tensor in state(a).items()
    )


# What is learnt.


@pytest.mark.parametrize("layer", get_args(Layer))
@pytest.mark.parametrize("task", TASKS)
def test_the_truth_is_found_again(task: Task, layer: Layer) -> None:
    """On new rows the NLL nears the truth's, and the probabilities near the truth."""
    train, _ = simulated(task, 4000, seed=1)
    validation, _ = simulated(task, 1000, seed=2)
    test, truth = simulated(task, 4000, seed=3)
    config = TrainingConfig(
        hidden=32, layer=layer, dropout=0.1, learning_rate=0.01, batch_size=300, epochs=24
    )
    fitted = fit(train, validation, problem_of(task), config)
    p = predict(fitted.network, test)
    best = -np.log(truth[np.arange(len(test)), test.y]).mean()
    found = training.validation_nll(fitted.network, test)
    assert found < best + 0.02
    error = np.sqrt(np.mean((p - truth) ** 2))
    assert error < 0.065
    if task == "preference":
        t = np.exp(fitted.network.log_t.detach().numpy())
        assert 0.4 / 2.5 / 2 < t[0] / t[1] < 0.4 / 2.5 * 2
    # The groups are needed for it.
    alone = [rows.without_groups() for rows in (train, validation, test)]
    without = fit(alone[0], alone[1], problem_of(task), config).network
    assert without.v.shape == (0, 6)
    assert training.validation_nll(without, alone[2]) > found + 0.02
    assert np.sqrt(np.mean((predict(without, alone[2]) - truth) ** 2)) > 1.5 * error


@pytest.mark.parametrize("task", TASKS)
def test_the_best_epoch_is_kept(task: Task) -> None:
    """With a rate that overfits, training stops `patience` epochs after the best one."""
    validation, _ = simulated(task, 150, seed=2)
    seen: list[float] = []

    def note(epoch: int, network: BaseNetwork) -> None:
        assert epoch == len(seen) + 1
        seen.append(training.validation_nll(network, validation))

    fitted = fit_small(task, HASTY, on_epoch=note)
    assert len(seen) == fitted.epochs == fitted.best_epoch + 2 < 60
    assert fitted.best_epoch == np.argmin(seen) + 1
    assert fitted.validation_nll == min(seen)
    assert training.validation_nll(fitted.network, validation) == min(seen)


def test_the_epochs_are_a_limit() -> None:
    told: list[tuple[str, int, int]] = []
    config = changed(SMALL, epochs=3, learning_rate=1e-4, patience=3)
    fitted = fit_small(config=config, progress=lambda *what: told.append(what))
    assert fitted.epochs == 3
    assert told == [("training", epoch, 3) for epoch in (1, 2, 3, 3)]


def test_a_trained_network_may_be_trained_further() -> None:
    network = fit_small(n=60).network.train()
    network.grid_logits(
        torch.randn(7, 1, 6), torch.zeros(1, 2)
    ).sum().backward()  # by another loop, on steps of another size
    assert network.first.weight.grad is not None


# The same again.


@pytest.mark.parametrize("task", TASKS)
def test_a_seed_decides_everything(task: Task) -> None:
    torch.manual_seed(11)
    first = fit_small(task, seed=3)
    torch.manual_seed(12)
    before = torch.get_rng_state()
    threads = torch.get_num_threads()
    again = fit_small(task, seed=3)
    assert same_bits(first, again)
    assert first.validation_nll == again.validation_nll
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_num_threads() == threads
    other = fit_small(task, seed=4)
    assert not torch.equal(state(first)["first.weight"], state(other)["first.weight"])


class Stopped(Exception):  # noqa: N818 (it is no error)
    """What ends a training in the middle, as a signal would."""


@pytest.mark.parametrize(
    ("task", "after_the_best"), [("binary", -2), ("binary", 1), ("ordinal", 1), ("preference", 2)]
)
def test_a_stopped_training_goes_on_as_if_it_had_not_been(
    task: Task, after_the_best: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = fit_small(task, HASTY)
    assert 3 < undisturbed.best_epoch < undisturbed.epochs
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY_SECONDS", -1.0)
    checkpoint = tmp_path / "run.checkpoint"
    stop = undisturbed.best_epoch + after_the_best

    def stop_at(epoch: int, network: BaseNetwork) -> None:
        if epoch == stop:
            raise Stopped

    with pytest.raises(Stopped):
        fit_small(task, HASTY, checkpoint=checkpoint, on_epoch=stop_at)
    assert [path.name for path in tmp_path.iterdir()] == ["run.checkpoint"]
    epochs: list[int] = []
    resumed = fit_small(
        task, HASTY, checkpoint=checkpoint, on_epoch=lambda epoch, _: epochs.append(epoch)
    )
    # The epoch that was stopped is done again, those before it are not.
    assert epochs == list(range(stop, undisturbed.epochs + 1))
    assert same_bits(resumed, undisturbed)
    assert replace(resumed, network=undisturbed.network) == undisturbed
    assert not list(tmp_path.iterdir())


def test_long_epochs_need_less_patience(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What gains next to nothing ends soon, unless patience is given; a stop changes nothing."""
    slow: dict[str, Any] = {"hidden": 8, "batch_size": 10, "epochs": 60, "learning_rate": 1e-5}
    assert fit_small(config=TrainingConfig(**slow)).epochs == 60  # a little lower each time
    monkeypatch.setattr(training, "_STEPS_OF_LONG_EPOCH", 5)
    monkeypatch.setattr(training, "_PATIENT_STEPS", 12)  # two epochs of six steps
    monkeypatch.setattr(training, "_LEAST_GAIN", 0.05)
    short = fit_small(config=TrainingConfig(**slow))
    assert short.epochs == 3
    assert fit_small(config=TrainingConfig(**slow, patience=10)).epochs == 60
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY_SECONDS", -1.0)
    checkpoint = tmp_path / "run.checkpoint"

    def stop_at(epoch: int, network: BaseNetwork) -> None:
        if epoch == 2:
            raise Stopped

    with pytest.raises(Stopped):
        fit_small(config=TrainingConfig(**slow), checkpoint=checkpoint, on_epoch=stop_at)
    resumed = fit_small(config=TrainingConfig(**slow), checkpoint=checkpoint)
    assert same_bits(resumed, short)
    assert resumed.epochs == short.epochs


def test_a_checkpoint_is_written_only_now_and_then(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.checkpoint"

    def look(epoch: int, network: BaseNetwork) -> None:
        assert not list(tmp_path.iterdir())

    assert fit_small(checkpoint=checkpoint, on_epoch=look).epochs == SMALL.epochs
    assert not list(tmp_path.iterdir())


# The loss.


Gradient = dict[str, Tensor]


def gradient_of(
    task: Task, config: TrainingConfig, batches: list[slice], m: float | None = None
) -> tuple[Gradient, Network, Examples]:
    """The sum that the steps' gradients are shares of, for a random network and weighted rows."""
    rows, _ = simulated(task, 120, seed=4)
    weights = np.random.default_rng(0).integers(1, 4, len(rows)).astype(np.float32)
    rows = replace(rows, w=weights)
    problem = problem_of(task, m)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        sizes = 6, 2, problem.n_classes - 1
        network = Network(*sizes, preference=problem.preference, hidden=16, dropout=0)
        with torch.no_grad():
            network.v.add_(torch.randn_like(network.v))
    examples = WeightedExamples.from_examples(rows, problem.n_classes, torch.device("cpu"))
    assert len(examples) < float(rows.w.sum())
    loss = Loss.of(examples, problem, config)
    order, total = torch.arange(len(examples)), dict[str, Tensor]()
    for part in batches:
        network.zero_grad()
        loss(network, examples, order[part]).backward()
        for name, value in gradient(network).items():
            total[name] = total.get(name, 0) + value * examples.w[part].sum()
    return total, network, rows


def gradient(network: Network) -> Gradient:
    named = network.named_parameters()
    return {name: value.grad.clone() for name, value in named if value.grad is not None}


def close(found: Gradient, expected: Gradient, rtol: float = 1e-4) -> None:
    """Equal but for the rounding of single precision, relative to the largest of a parameter."""
    for name, value in expected.items():
        atol = rtol * float(value.abs().max()) if value.numel() else 0.0
        torch.testing.assert_close(found[name], value, rtol=0, atol=atol)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kl", ["paper", "mean", "none"])
def test_the_gradient_is_that_of_the_printed_sum(task: Task, kl: KLForm) -> None:
    config = TrainingConfig(kl=kl, lambda_1=0.7, lambda_2=0.3, sharpness=3)
    found, network, rows = gradient_of(task, config, [slice(None)])
    n_classes = problem_of(task).n_classes
    S, w, y = torch.from_numpy(rows.S.toarray()), torch.from_numpy(rows.w), torch.from_numpy(rows.y)
    batch = Batch(torch.from_numpy(rows.vectors), torch.from_numpy(rows.positions), S)
    logits = network.logits(batch)
    printed = w @ equations.cross_entropy(equations.levels(y, n_classes - 1), logits)
    printed = printed + 0.3 * equations.l2(network.v)
    if task != "preference":  # §2.4 has no KL term
        targets = equations.group_targets(S, w, y, n_classes)
        term = equations.kl_term(S, w, torch.sigmoid(logits), targets, kl, 3)
        assert term.item() > 1 or kl == "none"
        printed = printed + 0.7 * term
    network.zero_grad()
    printed.backward()
    close(found, gradient(network))


@pytest.mark.parametrize("task", TASKS)
def test_the_shares_of_the_steps_make_the_whole(task: Task) -> None:
    config = TrainingConfig(kl="none", lambda_2=0.3)
    whole, *_ = gradient_of(task, config, [slice(None)])
    parts, *_ = gradient_of(task, config, [slice(0, 50), slice(50, 51), slice(51, None)])
    close(parts, whole)


@pytest.mark.parametrize(("task", "n_thresholds"), [("binary", 1), ("ordinal", 2)])
def test_lambda_1_is_the_papers(task: Task, n_thresholds: int) -> None:
    """m is what the caller says, else the weight per distinct text."""
    batches = [slice(None)]
    _, _, rows = gradient_of(task, TrainingConfig(), batches)
    texts = len(np.unique(rows.positions))
    assert texts < len(rows)
    paper = TrainingConfig(kl="mean", lambda_1="paper")
    for m, given_m in ((4.5, 4.5), (float(rows.w.sum()) / texts, None)):
        number = TrainingConfig(kl="mean", lambda_1=1 / (7.4 * n_thresholds * m))
        expected, *_ = gradient_of(task, number, batches)
        found, *_ = gradient_of(task, paper, batches, given_m)
        close(found, expected, rtol=1e-6)
    other, *_ = gradient_of(task, paper, batches, 100.0)
    with pytest.raises(AssertionError, match="not close"):
        close(other, expected, rtol=1e-6)


@pytest.mark.parametrize(("task", "n_thresholds"), [("binary", 1), ("ordinal", 2)])
def test_lambda_1_per_item_is_each_groups_mean_over_its_annotations(
    task: Task, n_thresholds: int
) -> None:
    rows, _ = simulated(task, 120, seed=4)
    rows = replace(rows, w=np.random.default_rng(0).integers(1, 4, len(rows)).astype(np.float32))
    m_i = np.random.default_rng(1).integers(1, 30, len(rows.vectors)).astype(float)
    n_classes = n_thresholds + 1
    weighted = WeightedExamples.from_examples(rows, n_classes, torch.device("cpu"))
    alphas = {}
    for lambda_1 in (1, "per-item"):
        config = TrainingConfig(kl="mean", lambda_1=lambda_1)
        problem = Problem(n_classes, annotations_of_text=m_i)
        targets = Loss.of(weighted, problem, config).targets
        assert targets is not None
        alphas[lambda_1] = targets.alpha.numpy()
    each = 1 / (7.4 * n_thresholds * m_i[rows.positions[:, 0]])
    for k in range(rows.S.shape[1]):
        inside = rows.S[:, [k]].toarray()[:, 0] > 0
        expected = np.average(each[inside], weights=rows.w[inside])
        assert alphas["per-item"][k] == pytest.approx(alphas[1][k] * expected, rel=1e-5)


@pytest.mark.parametrize("task", ["binary", "ordinal"])
def test_lambda_1_per_item_is_the_mean_form_where_items_have_equally_many(task: Task) -> None:
    rows, _ = simulated(task, 120, seed=4)
    once = rows.take(np.unique(rows.positions[:, 0], return_index=True)[1])
    problem = problem_of(task)
    weighted = WeightedExamples.from_examples(once, problem.n_classes, torch.device("cpu"))
    targets = [
        Loss.of(weighted, problem, TrainingConfig(lambda_1=lambda_1)).targets
        for lambda_1 in ("paper", "per-item")
    ]
    assert targets[0] is not None
    assert targets[1] is not None
    torch.testing.assert_close(targets[0].alpha, targets[1].alpha)


@pytest.mark.parametrize("task", TASKS)
def test_every_form_of_the_kl_term_trains(task: Task) -> None:
    forms: tuple[KLForm, ...] = ("paper", "mean", "none")
    fits = {kl: fit_small(task, changed(SMALL, kl=kl, lambda_1=1, sharpness=5)) for kl in forms}
    assert all(math.isfinite(fitted.validation_nll) for fitted in fits.values())
    # In preference there is no such term.
    for one, other in itertools.combinations(fits.values(), 2):
        assert same_bits(one, other) == (task == "preference")


@pytest.mark.parametrize("task", ["binary", "ordinal"])
def test_the_papers_term_with_lambda_1_zero_is_no_term(task: Task) -> None:
    zero = fit_small(task, changed(SMALL, kl="paper", lambda_1=0))
    none = fit_small(task, changed(SMALL, kl="none"))
    assert same_bits(zero, none)


@pytest.mark.parametrize("task", TASKS)
def test_lambda_2_shrinks_the_embeddings(task: Task) -> None:
    config = changed(SMALL, epochs=12, patience=12, learning_rate=0.03)

    def norm(lambda_2: float) -> float:
        last: list[Network] = []
        fit_small(
            task,
            changed(config, lambda_2=lambda_2),
            n=100,
            on_epoch=lambda _, network: last.append(network),
        )
        return float(last[-1].v.detach().norm())

    assert norm(1000) < 0.3 * norm(0)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("kl", ["mean", "none"])
def test_a_weight_of_two_is_the_row_twice(task: Task, kl: KLForm) -> None:
    """One batch and no dropout, where the order of the rows decides nothing but rounding."""
    rows, _ = simulated(task, 80, seed=1)
    rows = replace(rows, w=np.random.default_rng(0).integers(1, 4, 80).astype(np.float32))
    repeated = rows.take(np.repeat(np.arange(80), rows.w.astype(int)))
    repeated = replace(repeated, w=np.ones(len(repeated), dtype=np.float32))
    config = changed(SMALL, batch_size=1000, dropout=0, kl=kl, lambda_1=0.5, epochs=20, patience=20)
    validation, _ = simulated(task, 50, seed=2)
    heavy = fit(rows, validation, problem_of(task), config)
    long = fit(repeated, validation, problem_of(task), config)
    light = fit(replace(rows, w=np.ones_like(rows.w)), validation, problem_of(task), config)
    test, _ = simulated(task, 50, seed=3)
    p = predict(heavy.network, test)
    np.testing.assert_allclose(p, predict(long.network, test), rtol=0, atol=1e-4)
    assert np.abs(p - predict(light.network, test)).max() > 1e-3
    weighted = replace(validation, w=np.arange(50, dtype=np.float32))
    again = weighted.take(np.repeat(np.arange(50), np.arange(50)))
    assert training.validation_nll(heavy.network, weighted) == pytest.approx(
        training.validation_nll(
            heavy.network, replace(again, w=np.ones(len(again), dtype=np.float32))
        )
    )


def test_biases_start_at_the_label_rates() -> None:
    """One imaginary row per class keeps a class without rows off zero."""
    y = np.repeat([0, 1, 3], [10, 5, 2])
    w = np.where(y == 1, 2, 1).astype(np.float32)
    no_group = csr_matrix((17, 0), dtype=np.float32)
    rows = Examples(np.zeros((1, 6), np.float32), np.zeros((17, 1), int), no_group, y, w)
    network = Network(6, 0, 3)
    network.start_biases(rows.class_weights(4))
    b = equations.ordered_biases(network.b_first, network.b_gaps)
    p = equations.class_probabilities(equations.level_logits(torch.zeros(1), b))
    expected = np.array([[11, 11, 1, 3]]) / 26
    np.testing.assert_allclose(p.detach().numpy(), expected, rtol=0, atol=1e-6)


def test_a_step_is_adams_and_the_average_is_torchs() -> None:
    rows, _ = simulated("ordinal", 60)
    problem = problem_of("ordinal")
    ours = Network.for_training(rows, problem.n_classes, dropout=0)
    theirs = copy.deepcopy(ours)
    state = training._State(ours, TrainingConfig(learning_rate=0.01))
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01)
    average = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(training._AVERAGE_DECAY))
    for _ in range(10):
        for each in (ours, theirs):
            logits = each.grid_logits(torch.tensor([[[1.0], [-1.0]]]).expand(1, 2, 6), torch.eye(2))
            ((logits - 1).square().sum() + each.penalty(3.0)).backward()
        state.step()
        adam.step()
        adam.zero_grad()
        average.update_parameters(theirs)
    for one, other in ((ours, theirs), (state.average, average.module)):
        for found, expected in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


# What cannot be trained.


def test_a_rate_that_diverges_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"diverged in epoch 1 .*lower training\.learning_rate"):
        fit_small(config=changed(SMALL, learning_rate=1e30), checkpoint=tmp_path / "checkpoint")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("n_train", "n_validation"), [(0, 50), (50, 0)])
def test_rows_are_needed(n_train: int, n_validation: int) -> None:
    rows, _ = simulated("binary", 50)
    parts = rows.take(np.arange(n_train)), rows.take(np.arange(n_validation))
    with pytest.raises(InputError, match=f"{n_train} rows to train on and {n_validation} to v"):
        fit(*parts, Problem(n_classes=2), SMALL)


@pytest.mark.parametrize("task", TASKS)
def test_equal_rows_are_ties_to_the_last_bit(task: Task) -> None:
    """In any order of rows; in a batch the place of a row can decide its last bit."""
    rows, _ = simulated(task, 9001)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        problem = problem_of(task)
        network = Network(6, 2, problem.n_classes - 1, preference=problem.preference)
    key = np.column_stack([rows.positions, rows.S.toarray()])
    _, codes = np.unique(key, axis=0, return_inverse=True)
    one_by_one = predict_rows(network, rows.vectors, rows.positions, rows.S)
    p = predict(network, rows)
    np.testing.assert_allclose(p, one_by_one, rtol=0, atol=1e-6)
    order = np.random.default_rng(1).permutation(len(rows))
    mixed = predict(network, rows.take(order))
    np.testing.assert_allclose(mixed, p[order], rtol=0, atol=1e-6)
    for found, code in ((p, codes.ravel()), (mixed, codes.ravel()[order])):
        first = np.unique(code, return_index=True)[1]
        np.testing.assert_array_equal(found, found[first][code])


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rte": 0.1},
        {"dropout": 1},
        {"lambda_1": "papre"},
        {"lambda_1": -1},
        {"kl": "median"},
        {"hidden": 0},
        {"patience": 0},
        {"sharpness": 0},
    ],
)
def test_a_configuration_is_checked(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        TrainingConfig(**changes)


def test_a_weight_in_a_table_is_the_row_that_often(cache: Path) -> None:
    """Examples, gradient (KL term and all) and validation NLL are those of repeated rows."""
    table = weighted_table([1, 2, 1, 3, 2, 1])
    data = Annotations.from_frame(table)
    assert data.attributes == ()
    twice = data.take(np.repeat(np.arange(6), table["weight"]))
    twice.frame["weight"] = 1.0
    scheme = fit_scheme(TaxonomyConfig(min_size=1), data)
    encoder = load_encoder(cache_dir=cache)
    rows, repeated = (make_examples(each, scheme.assign(each), encoder) for each in (data, twice))
    assert rows.w.tolist() == [1, 2, 1, 3, 2, 1]
    torch.manual_seed(0)
    network = Network(384, 2, 1).eval()
    config = TrainingConfig()
    found = []
    for each in (rows, repeated):
        network.zero_grad()
        weighted = WeightedExamples.from_examples(each, 2, torch.device("cpu"))
        loss = Loss.of(weighted, Problem(2, annotations_per_item=2.0), config)
        loss(network, weighted, torch.arange(len(weighted))).backward()
        gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        found.append((gradients, training.validation_nll(network, each)))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)
