"""The network of products, the mean of several networks, and the method best, which chooses."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

import mcstl
from mcstl import equations
from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.datasets.simulated import simulate
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.methods.base import MethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.models import training
from mcstl.models.examples import Examples, WeightedExamples
from mcstl.models.model import Model
from mcstl.models.networks import BaseNetwork, MeanNetwork, Network, ProductNetwork
from mcstl.rewards import RewardFunction
from mcstl.rewards.classifier import as_classifier
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study
from test_model import TASKS, TEXTS, close, inputs, logits, made, rows
from test_training import HASTY, fit_small
from tiny import write_study


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    return load_encoder(cache_dir=cache)


def products(n_thresholds: int = 1, preference: bool = False, d: int = 12) -> ProductNetwork:
    """A network of 16 units, none of whose weights is at its start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = ProductNetwork(d, 3, n_thresholds, preference=preference, hidden=16)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    return network.eval()


# The network


@pytest.mark.parametrize(("n_thresholds", "preference"), [(1, False), (3, False), (1, True)])
def test_the_logits_are_the_products(n_thresholds: int, preference: bool) -> None:
    network = products(n_thresholds, preference)
    e, S = rows(network, 1 + preference)
    with torch.inference_mode():
        units = torch.cos(e @ network.first.weight.T + network.first.bias)  # (n, sides, h)
        scores = torch.einsum(
            "nsh,nh->ns",
            units,
            network.rest.get_parameter("1.weight")[0] + S @ network.v,
        )
        if preference:
            t = equations.temperature(S, network.log_t)
            expected = equations.preference_logits(scores[:, 0], scores[:, 1], t)
        else:
            b = equations.ordered_biases(network.b_first, network.b_gaps)
            expected = equations.level_logits(scores[:, 0], b)
        close(logits(network, e, S), expected, atol=1e-5)
        grid = network.grid_probabilities(e, S, torch.full((len(S),), -1))
        for p, perspective in enumerate(S):
            alone = logits(network, e, perspective.expand(len(e), -1))
            close(grid[:, p], equations.class_probabilities(alone))


def test_the_units_start_as_a_kernel_of_the_texts() -> None:
    """Rahimi and Recht (2007): 2 u.u' / h comes to exp(-|e - e'|^2 / 2 width^2)."""
    torch.manual_seed(0)
    network = ProductNetwork(6, 0, 1, hidden=20_000, width=0.7)
    e = 0.5 * torch.randn(8, 6)
    with torch.inference_mode():
        u = torch.cos(network.project(e))
        found = 2 * u @ u.T / u.shape[1]
        close(found, torch.exp(-torch.cdist(e, e).square() / (2 * 0.7**2)), atol=0.04)


@pytest.mark.parametrize("task", TASKS)
def test_a_stopped_training_goes_on_to_the_same_bits(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "_CHECKPOINT_EVERY_SECONDS", 0)
    config = HASTY.model_copy(update={"epochs": 8})
    whole = fit_small(task, config, network=ProductNetwork)

    def stop(epoch: int, _: BaseNetwork) -> None:
        if epoch == 4:
            raise KeyboardInterrupt

    checkpoint = tmp_path / "run"
    options: dict[str, Any] = {"network": ProductNetwork, "checkpoint": checkpoint}
    with pytest.raises(KeyboardInterrupt):
        fit_small(task, config, on_epoch=stop, **options)
    again = fit_small(task, config, **options)
    for name, tensor in whole.network.state_dict().items():
        assert torch.equal(tensor, again.network.state_dict()[name]), name


def mixed(task: Task, encoder: Encoder) -> Model:
    """A model that holds a network of either form."""
    model = made(task, encoder)
    other = products(len(model.classes) - 1, task == "preference", 384)
    assert isinstance(model.network, Network)
    if task == "preference":
        model.network.log_t.data = torch.tensor([0.3, -0.5, 0.8])
    return replace(model, network=MeanNetwork([model.network, other]))


@pytest.mark.parametrize("task", TASKS)
def test_a_mean_is_the_mean_of_its_members_logits(task: Task, encoder: Encoder) -> None:
    network = mixed(task, encoder).network
    assert isinstance(network, MeanNetwork)
    e, S = rows(network, 2 if task == "preference" else 1)
    with torch.inference_mode():
        each = [logits(member, e, S) for member in network.members]
        assert float((each[0] - each[1]).abs().max()) > 0.1
        close(logits(network, e, S), torch.stack(each).mean(0), atol=1e-5)
        few = network.select_groups(torch.tensor([0, 2]))
        without = S * torch.tensor([1.0, 0, 1])
        close(logits(few, e, S[:, [0, 2]]), logits(network, e, without), atol=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_of_several_networks_is_saved(task: Task, encoder: Encoder, tmp_path: Path) -> None:
    model = mixed(task, encoder)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", encoder=encoder)
    assert isinstance(again.network, MeanNetwork)
    assert [type(each) for each in again.network.members] == [Network, ProductNetwork]
    asked = [["Order"], ["Wonder", "Comfort"], []]
    p = model.predict_proba(inputs(model), asked)
    assert (again.predict_proba(inputs(model), asked) == p).all()
    assert (again.predict_proba(inputs(model)) == model.predict_proba(inputs(model))).all()
    assert np.ptp(p[:, :, 0], axis=1).max() > 1e-3
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    for members, said in (
        ([], "no members"),
        ([{"kind": "mc-stl", "hidden": 16}], "damaged"),
        (3, "damaged"),
    ):
        config["network"]["members"] = members
        (tmp_path / "model" / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=said):
            Model.load(tmp_path / "model", encoder=encoder)


def test_rewards_of_several_networks_and_no_classifier(encoder: Encoder) -> None:
    model = mixed("preference", encoder)
    first, second = RewardFunction(model, ["Order"])(["", ""], TEXTS[:2])
    p = model.predict_proba([(TEXTS[0], TEXTS[1])], [["Order"]])[0, 0, 1]
    close(p, 1 / (1 + np.exp(second - first)))
    with pytest.raises(InputError, match="this model is of the method best"):
        as_classifier(model, ["Order"])


# The method


@pytest.fixture(scope="module")
def town(encoder: Encoder) -> tuple[Study, Prepared]:
    study = Study(
        data={"dataset": "simulated"},
        groups={"by": "taxonomy", "min_size": 20},
        # Nothing is left open, so that each member is one fit.
        training={"hidden": 16, "epochs": 3, "learning_rate": 0.003, "dropout": 0.5},
        methods=["best"],
    )
    return study, prepare(study, simulate(annotations=400).annotations, encoder, 0)


def test_best_keeps_the_mean_of_the_lowest_validation_nll(
    town: tuple[Study, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    study, prepared = town
    tried: list[Network] = []
    plain, nll_of = training.fit, training.validation_nll

    def noted(*rows: Any, **options: Any) -> training.Fitted:
        fitted = plain(*rows, **options)
        tried.append(fitted.network)
        return fitted

    monkeypatch.setattr(training, "fit", noted)
    _, network, _ = fit_method(prepared, study.settings_of(study.methods[0], 0))
    assert isinstance(network, MeanNetwork)
    sums = [each for each in tried if type(each) is Network]
    others = [each for each in tried if type(each) is ProductNetwork]
    assert len(sums) == len(others) == 3
    nll = [nll_of(MeanNetwork(x), prepared.part("validation")) for x in (sums, others, tried)]
    chosen = MeanNetwork(list(network.members))  # as it was before it was recalibrated
    assert nll_of(chosen, prepared.part("validation")) == pytest.approx(min(nll), abs=1e-9)
    # Its first is mc-stl, to the last bit, and no two are the same.
    alone = plain_network(study, prepared)
    for name, tensor in alone.state_dict().items():
        assert torch.equal(tensor, sums[0].state_dict()[name])
    assert not torch.equal(sums[0].first.weight, sums[1].first.weight)
    # It keeps whichever is preferred.
    for wanted in ([Network], [ProductNetwork], [Network, ProductNetwork]):

        def preferring(mean: Any, rows: Any, wanted: list[Any] = wanted) -> float:
            if not isinstance(mean, MeanNetwork):
                return nll_of(mean, rows)
            return float({type(each) for each in mean.members} != set(wanted))

        monkeypatch.setattr(training, "validation_nll", preferring)
        _, network, _ = fit_method(prepared, study.settings_of(study.methods[0], 0))
        assert isinstance(network, MeanNetwork)
        assert {type(each) for each in network.members} == set(wanted)


def plain_network(study: Study, prepared: Prepared) -> BaseNetwork:
    _, network, _ = fit_method(prepared, study.settings_of(MethodConfig(name="mc-stl"), 0))
    assert network is not None
    return network


def test_best_goes_on_where_it_was_stopped(
    town: tuple[Study, Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Members that were fitted are not fitted again, and the result is the same to the last bit."""
    study, prepared = town
    whole, *_ = fit_method(prepared, study.settings_of(study.methods[0], 0))
    plain, begun = training.fit, list[int]()

    def stopped(*rows: Any, **options: Any) -> training.Fitted:
        begun.append(len(begun))
        if len(begun) == 4:
            raise KeyboardInterrupt
        return plain(*rows, **options)

    monkeypatch.setattr(training, "fit", stopped)
    session = training.Session(checkpoint=tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        fit_method(prepared, study.settings_of(study.methods[0], 0, session))
    assert len(list(tmp_path.iterdir())) == 3
    steps: list[int] = []
    monkeypatch.setattr(training, "fit", plain)
    shuffled = WeightedExamples.shuffled

    def counted(self: WeightedExamples, batch_size: int) -> Any:
        steps.append(1)
        return shuffled(self, batch_size)

    monkeypatch.setattr(WeightedExamples, "shuffled", counted)
    again, *_ = fit_method(prepared, study.settings_of(study.methods[0], 0, session))
    assert len(steps) == 3 * 3  # epochs of three members
    assert (again == whole).all()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("task", TASKS)
def test_best_is_a_method_of_a_study(task: Task, tmp_path: Path) -> None:
    file = write_study(tmp_path, task, methods=["best"], seeds=[0])
    results = mcstl.run(Study.read(file), out=tmp_path / "out")
    model = Model.load(tmp_path / "out" / "model")
    assert model.facts["method"] == "best"
    p = results.predictions.filter(like="p_").to_numpy()
    close(p.sum(axis=1), 1)
    assert np.ptp(p[:, 0]) > 1e-3


def test_opposite_stances_on_each_text_are_learnt_by_products() -> None:
    """Where a group's stance is each text's own, o(e + V) is behind by far; here it is."""
    random = np.random.default_rng(0)
    texts = random.normal(size=(40, 16)).astype(np.float32)
    texts /= np.linalg.norm(texts, axis=1, keepdims=True)
    stance = random.choice([-2.0, 2.0], size=(40, 6))

    def drawn(n: int) -> Examples:
        at, S = random.integers(40, size=n), random.random((n, 6)) < 0.4
        y = random.random(n) < 1 / (1 + np.exp(-(stance[at] * S).sum(1)))
        ones = np.ones(n, dtype=np.float32)
        members = csr_matrix(S, dtype=np.float32)
        return Examples(texts, at[:, None], members, y.astype(np.int64), ones)

    train, validation = drawn(2000), drawn(500)
    config = training.TrainingConfig(hidden=128, epochs=60)
    nll = [
        training.fit(
            train, validation, training.Problem(n_classes=2), config, network=network
        ).validation_nll
        for network in (ProductNetwork, Network)
    ]
    assert nll[0] < nll[1] - 0.03
