"""Networks that answer as one, and the method best, which weighs them by rows held out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

import mcstl
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.data.splits import whole_items
from mcstl.datasets.simulated import simulate
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.methods import best
from mcstl.methods.base import MethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.models import training
from mcstl.models.examples import Examples, WeightedExamples
from mcstl.models.model import Model
from mcstl.models.multilevel import MultilevelNetwork
from mcstl.models.networks import Network
from mcstl.models.stack import StackNetwork, level_logits
from mcstl.models.training import TrainingConfig
from mcstl.rewards import RewardFunction
from mcstl.rewards.classifier import as_classifier
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study
from test_model import TASKS, TEXTS, close, inputs, made, rows
from tiny import write_study


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    return load_encoder(cache_dir=cache)


def stacked(task: Task, encoder: Encoder) -> Model:
    """A model of two networks whose weights depend on what is known."""
    model, other = (made(task, encoder, seed=seed) for seed in (0, 1))
    assert isinstance(model.network, Network)
    network = StackNetwork([model.network, other.network], len(model.classes) - 1).eval()
    network.weights = torch.tensor([[0.2, 0.9], [0.4, 0.6], [0.7, 0.1], [1.0, 0.0]])
    return replace(model, network=network)


@pytest.mark.parametrize("task", TASKS)
def test_a_stack_adds_its_members_logits_by_what_is_known(task: Task, encoder: Encoder) -> None:
    network = stacked(task, encoder).network
    assert isinstance(network, StackNetwork)
    sides = 2 if task == "preference" else 1
    e, S = rows(network, sides)
    e, nobody = e.reshape(len(S), sides, -1), torch.full((len(S),), -1)
    with torch.inference_mode():
        z = [level_logits(m.grid_probabilities(e, S, nobody)) for m in network.members]
        new = level_logits(network.grid_probabilities(e, S, nobody))
        close(new, 0.2 * z[0] + 0.9 * z[1], atol=1e-5)
        known = torch.zeros(e.shape[:2], dtype=torch.long)
        of_known = level_logits(network.grid_probabilities(e, S, nobody, known))
        close(of_known, 0.7 * z[0] + 0.1 * z[1], atol=1e-5)
        known[:, -1] = -1  # in preference one text of each pair
        close(level_logits(network.grid_probabilities(e, S, nobody, known)), new, atol=1e-6)
        few = network.select_groups(torch.tensor([0, 2]))
        without = S * torch.tensor([1.0, 0, 1])
        p = network.grid_probabilities(e, without, nobody)
        close(few.grid_probabilities(e, S[:, [0, 2]], nobody), p, atol=1e-6)


@pytest.mark.parametrize("task", TASKS)
def test_a_model_of_several_networks_is_saved(task: Task, encoder: Encoder, tmp_path: Path) -> None:
    model = stacked(task, encoder)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", encoder=encoder)
    assert isinstance(again.network, StackNetwork)
    assert [type(each) for each in again.network.members] == [Network, Network]
    asked = [["Order"], ["Wonder", "Comfort"], []]
    p = model.predict_proba(inputs(model), asked)
    assert (again.predict_proba(inputs(model), asked) == p).all()
    assert (again.predict_proba(inputs(model)) == model.predict_proba(inputs(model))).all()
    assert np.ptp(p[:, :, 0], axis=1).max() > 1e-3
    config = json.loads((tmp_path / "model" / "config.json").read_text())
    for members, message in (
        ([], "no members"),
        ([{"kind": "mc-stl", "hidden": 16}], "damaged"),
        (3, "damaged"),
        ([{"kind": "product"}], "train it again, with the method best"),
    ):
        config["network"]["members"] = members
        (tmp_path / "model" / "config.json").write_text(json.dumps(config))
        with pytest.raises(InputError, match=message):
            Model.load(tmp_path / "model", encoder=encoder)


def test_rewards_of_several_networks(encoder: Encoder) -> None:
    model = stacked("preference", encoder)
    first, second = RewardFunction(model, ["Order"])(["", ""], TEXTS[:2])
    p = model.predict_proba([(TEXTS[0], TEXTS[1])], [["Order"]])[0, 0, 1]
    close(p, 1 / (1 + np.exp(second - first)))
    with pytest.raises(InputError, match="this one is of another method"):
        as_classifier(model, ["Order"])


@pytest.mark.filterwarnings("ignore")  # of transformers
@pytest.mark.parametrize("alone", [True, False])
def test_a_classifier_of_best_gives_its_rewards(alone: bool, encoder: Encoder) -> None:
    model = made("preference", encoder)
    sizes = {"features": 20, "group_features": 6, "person_features": 2, "annotators": 0}
    config = {"sizes": {**sizes, "texts": 0, "draws": 3}}
    regression = MultilevelNetwork.from_config(config, (384, model.network.n_groups, 1), True)
    random = torch.Generator().manual_seed(0)
    for buffer in regression.buffers():
        buffer.copy_(torch.randn(buffer.shape, generator=random))
    network = StackNetwork([regression, *([] if alone else [model.network])], 1).eval()
    network.weights[0] = network.weights.new_tensor([0.8] if alone else [0.8, 0.3])
    model = replace(model, network=network)
    mixture = {"Comfort": 3, "Wonder": 1}
    expected = RewardFunction(model, mixture=mixture)([""] * len(TEXTS), list(TEXTS))
    classifier, tokenizer = as_classifier(model, mixture=mixture)
    inputs = tokenizer(list(TEXTS), return_tensors="pt", padding=True)
    with torch.inference_mode():
        logits = classifier(**inputs).logits[:, 0].numpy()
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-3)


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


def test_folds_hold_out_texts_and_people(town: tuple[Study, Prepared]) -> None:
    _, prepared = town
    examples = best.METHOD.examples(prepared, 0)
    rows = np.concatenate([prepared.parts.train, prepared.parts.validation])
    people = prepared.annotators[rows]
    items = whole_items(prepared.annotations)
    out = [best._held_out(examples, rows, items, fold, seed=0) for fold in range(5)]
    for is_out in out:
        texts = examples.positions[rows, 0]
        whole_texts = set(texts) - set(texts[~is_out])
        whole_people = set(people) - set(people[~is_out])
        assert whole_texts
        assert whole_people
        both = np.isin(texts, list(whole_texts)) | np.isin(people, list(whole_people))
        assert (is_out & ~both).any()  # rows of which both are known
    assert (np.sum(out, axis=0) >= 1).all()  # every row is judged once at least


@pytest.mark.parametrize("debates", [1, 12])
def test_folds_hold_out_pairs_that_hang_together(debates: int) -> None:
    random = np.random.default_rng(0)
    n, per_debate = 1200, 240 // debates
    debate = random.integers(debates, size=n)
    positions = per_debate * debate[:, None] + random.integers(per_debate, size=(n, 2))
    vectors = random.normal(size=(240, 3)).astype(np.float32)
    examples = Examples(
        vectors,
        positions,
        csr_matrix((n, 0), dtype=np.float32),
        random.integers(2, size=n),
        np.ones(n, dtype=np.float32),
        known=np.arange(240),
    )
    for fold in range(5):
        is_out = best._held_out(examples, np.arange(n), debate, fold, seed=0)
        kept = set(positions[~is_out].ravel())
        # Beside single rows the texts of whole debates are out; where all is one, single texts.
        new = np.array([text not in kept for text in range(240)])
        assert new.any()
        by_debate = new.reshape(debates, per_debate).mean(axis=1)
        assert debates == 1 or (by_debate == 1).any()
        assert debates == 1 or new.mean() - (by_debate == 1).mean() < 0.02
        assert 0.2 < is_out.mean() < 0.7


def test_a_member_that_adds_nothing_has_no_weight() -> None:
    random = np.random.default_rng(0)
    truth = random.normal(0, 2, (3000, 1))
    above = (random.random((3000, 1)) < 1 / (1 + np.exp(-truth))).astype(float)
    texts, w = np.arange(3000) % 300, np.ones(3000)
    noise = random.normal(0, 2, (3000, 1))
    assert best._weights(np.stack([truth, noise]), above, w, texts).tolist() == [1, 0]
    # Where each knows a part of the truth both count; a member too sure of itself is toned down.
    half = random.normal(0, 2, (3000, 1))
    above = (random.random((3000, 1)) < 1 / (1 + np.exp(-(truth + half)))).astype(float)
    first, second = best._weights(np.stack([2 * truth, half]), above, w, texts)
    assert 0.4 < first < 0.6
    assert 0.8 < second < 1.2


def test_best_goes_on_where_it_was_stopped(
    town: tuple[Study, Prepared], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Networks that were fitted are not fitted again; the result is the same to the last bit."""
    study, prepared = town[0], replace(town[1], trained={})
    whole, *_ = fit_method(prepared, study.settings_of(study.methods[0], 0))
    prepared.trained.clear()
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
    prepared.trained.clear()  # as in a new process
    again, *_ = fit_method(prepared, study.settings_of(study.methods[0], 0, session))
    assert len(steps) == 3 * 3  # epochs of three networks
    assert (again == whole).all()
    assert not list(tmp_path.iterdir())


def test_best_and_mc_stl_train_one_network_between_them(
    town: tuple[Study, Prepared], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever comes first, each predicts what it predicts alone, to the last bit."""
    study = town[0].model_copy(update={"training": TrainingConfig(hidden=16, epochs=3)})
    plain, fits = training.fit, list[int]()

    def counted(*rows: Any, **options: Any) -> training.Fitted:
        fits.append(1)
        return plain(*rows, **options)

    monkeypatch.setattr(training, "fit", counted)

    def predicted(*names: str) -> tuple[dict[str, FloatArray], int]:
        prepared = replace(town[1], trained={})
        fits.clear()
        p = {
            name: fit_method(prepared, study.settings_of(MethodConfig(name=name), 0)).p
            for name in names
        }
        return p, len(fits)

    alone = {name: predicted(name) for name in ("best", "mc-stl")}
    assert alone["mc-stl"][1] == 2  # recipes
    for order in (("best", "mc-stl"), ("mc-stl", "best")):
        p, count = predicted(*order)
        assert count == alone["best"][1]
        assert all((p[name] == alone[name][0][name]).all() for name in order)


@pytest.mark.parametrize("task", TASKS)
def test_best_is_a_method_of_a_study(task: Task, tmp_path: Path) -> None:
    file = write_study(tmp_path, task, methods=["best"], seeds=[0])
    results = mcstl.run(Study.read(file), out=tmp_path / "out")
    model = Model.load(tmp_path / "out" / "model")
    assert model.facts["method"] == "best"
    p = results.predictions.filter(like="p_").to_numpy()
    close(p.sum(axis=1), 1)
    assert np.ptp(p[:, 0]) > 1e-3
    low, high = model.predict_interval(inputs(model), [[]])
    assert (low < high).all()
    assert (low >= 0).all()
    assert (high <= 1).all()
