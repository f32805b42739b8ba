"""The network against the equations, predictions by hand, the model directory and its faults."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
import safetensors.torch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix
from torch import Tensor

import mcstl
from mcstl import equations
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, Notice
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.groups import TaxonomyConfig, fit_scheme
from mcstl.models.examples import Batch
from mcstl.models.model import Model
from mcstl.models.model_directory import FILES
from mcstl.models.networks import BaseNetwork, Form, Layer, Network
from mcstl.models.prediction import predict_rows

law = settings(max_examples=30)
TASKS: tuple[Task, ...] = ("binary", "ordinal", "preference")
LAYERS: tuple[Layer, ...] = get_args(Layer)
TEXTS = [
    "The library opens at nine.",
    "Tea",
    "Nobody ever counted the bridge's planks.",
    "The bus is late again.",
    "A heron stood in the shallow water.",
]
NAMES = ("Comfort", "Order", "Wonder")
VALUES = ["Order", "Comfort|Wonder", "", "Order|Wonder", "Comfort"]
PERSPECTIVES = [["Order"], ["Wonder", "Comfort"], []]
#: The memberships of the training set, and how often each occurs.
PATTERNS = [[1, 0, 0], [0, 1, 1], [1, 0, 1], [0, 0, 0]]
COUNTS = [2.0, 2.0, 1.0, 5.0]


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    encoder = load_encoder(cache_dir=cache)
    encoder.encode(TEXTS)
    return encoder


def annotations(task: Task) -> Annotations:
    n_classes = 4 if task == "ordinal" else 2
    frame = pd.DataFrame({"label": np.arange(len(TEXTS)) % n_classes, "values": VALUES})
    if task == "preference":
        frame["text_a"], frame["text_b"] = TEXTS, TEXTS[1:] + TEXTS[:1]
    else:
        frame["text"] = TEXTS
    return Annotations.from_frame(frame, task=task)


def random_network(
    n_thresholds: int = 1,
    preference: bool = False,
    dimension: int = 384,
    n_groups: int = len(NAMES),
    seed: int = 0,
    layer: Layer = "normed",
) -> Network:
    """A network as training leaves it: no weight at its start, the groups far apart."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        form: Form = {"preference": preference, "hidden": 16, "layer": layer}
        network = Network(dimension, n_groups, n_thresholds, **form)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
            network.v.add_(torch.randn_like(network.v) / dimension**0.5)
    return network.eval()


def made(task: Task, encoder: Encoder, seed: int = 0, layer: Layer = "normed") -> Model:
    data = annotations(task)
    scheme = fit_scheme(TaxonomyConfig(min_size=1), data, encoder)
    assert scheme.names == NAMES
    patterns = csr_matrix(np.array(PATTERNS, dtype=np.float32))
    network = random_network(data.n_thresholds, task == "preference", seed=seed, layer=layer)
    counts = np.array(COUNTS)
    return Model(network, task, data.classes, scheme, encoder, (patterns, counts), {"seed": 3})


@pytest.fixture(params=TASKS)
def model(request: pytest.FixtureRequest, encoder: Encoder) -> Model:
    return made(request.param, encoder)


@pytest.fixture
def binary(encoder: Encoder) -> Model:
    return made("binary", encoder)


def inputs(model: Model) -> list[Any]:
    """Texts of the model's form."""
    pairs = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))
    return pairs if model.task == "preference" else TEXTS


def close(found: Any, expected: Any, atol: float = 1e-6) -> None:
    np.testing.assert_allclose(found, expected, rtol=0, atol=atol)


# The network is the equations.


def rows(network: BaseNetwork, sides: int, n: int = 9, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Vectors (n, sides, d) and memberships (n, K), some of them empty."""
    random = np.random.default_rng(seed)
    e = random.normal(0, 0.3, (n, sides, network.dimension))
    S = random.random((n, network.n_groups)) < 0.5
    S[0] = False
    return torch.from_numpy(e).float(), torch.from_numpy(S).float()


def logits(network: Network, e: Tensor, S: Tensor) -> Tensor:
    """Logits (n, T) of rows with texts of their own: e (n, sides, d), S (n, K)."""
    positions = torch.arange(e.shape[0] * e.shape[1]).view(e.shape[:2])
    return network.logits(Batch(e.flatten(0, 1), positions, S))


def literal_score(network: Network, e: Tensor, S: Tensor) -> Tensor:
    """o(e + V) with nothing taken apart: e (n, d) gives (n,)."""
    V = equations.value_representation(S, network.v)
    f = equations.value_aware_representation(e, V)
    score: Tensor = network.rest(network.first(f))
    return score[:, 0]


@law
@given(st.integers(0, 10_000), st.integers(1, 3), st.integers(0, 4), st.sampled_from(LAYERS))
def test_logits_are_the_printed_ones(
    seed: int, n_thresholds: int, n_groups: int, layer: Layer
) -> None:
    network = random_network(n_thresholds, dimension=12, n_groups=n_groups, seed=seed, layer=layer)
    e, S = rows(network, 1, seed=seed)
    with torch.inference_mode():
        b = equations.ordered_biases(network.b_first, network.b_gaps)
        expected = equations.level_logits(literal_score(network, e[:, 0], S), b)
        close(logits(network, e, S), expected, atol=1e-5)


@law
@given(st.integers(0, 10_000))
def test_preference_logits_are_the_printed_ones(seed: int) -> None:
    network = random_network(preference=True, dimension=12, seed=seed)
    e, S = rows(network, 2, seed=seed)
    with torch.inference_mode():
        r_a, r_b = (literal_score(network, e[:, side], S) for side in (0, 1))
        t = equations.temperature(S, network.log_t)
        expected = equations.preference_logits(r_a, r_b, t)
        close(logits(network, e, S), expected, atol=1e-5)
        swapped = logits(network, e.flip(1), S)
        close(torch.sigmoid(swapped), 1 - torch.sigmoid(logits(network, e, S)))


@pytest.mark.parametrize(("n_thresholds", "preference"), [(1, False), (3, False), (1, True)])
def test_the_grid_is_every_row_by_itself(n_thresholds: int, preference: bool) -> None:
    network = random_network(n_thresholds, preference, dimension=12)
    e, S = rows(network, 1 + preference)
    with torch.inference_mode():
        grid = network.grid_probabilities(e, S, torch.full((len(S),), -1))
        assert grid.shape == (len(e), len(S), n_thresholds + 1)
        for p, perspective in enumerate(S):
            alone = logits(network, e, perspective.expand(len(e), -1))
            close(grid[:, p], equations.class_probabilities(alone))


def test_a_row_in_no_group_has_the_text_alone() -> None:
    network = random_network(2, dimension=12)
    e, S = rows(network, 1)
    with torch.inference_mode():
        before = logits(network, e, S)
        network.v.mul_(3)
        after = logits(network, e, S)
    alone = S.sum(1) == 0
    assert 0 < int(alone.sum()) < len(S)
    assert torch.equal(before[alone], after[alone])
    assert bool((before[~alone] != after[~alone]).all())


def test_a_pair_in_no_group_has_temperature_one() -> None:
    network = random_network(preference=True, dimension=12)
    e, S = rows(network, 2)
    with torch.inference_mode():
        rewards = network.score(network.project(e), network.effects(S).shift[:, None])
        z = logits(network, e, S)[:, 0]
    alone = S.sum(1) == 0
    assert torch.equal(z[alone], (rewards[:, 0] - rewards[:, 1])[alone])
    assert bool((z != rewards[:, 0] - rewards[:, 1])[~alone].all())


@pytest.mark.parametrize("rate", [0, 0.1, 0.5, 0.999])
def test_dropout_keeps_its_share_and_the_mean(rate: float) -> None:
    """Within what 200 units of 500 draws allow; nothing is dropped when predicting."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(3, 0, 1, hidden=200, dropout=rate)
        (drop,) = [m for m in network.rest if "dropout" in type(m).__name__.lower()]
        x = torch.ones(500, 200)
        network.train()
        y = drop(x)
        network.eval()
        assert torch.equal(drop(x), x)
    spread = (rate * (1 - rate) / x.numel()) ** 0.5
    assert float((y == 0).float().mean()) == pytest.approx(rate, abs=5 * spread + 1 / 256)
    kept = y[y != 0]
    assert bool((kept == kept[0]).all())
    assert float(y.mean()) == pytest.approx(1, abs=6 * spread / (1 - rate))


def test_predicted_rows_are_the_logits_in_any_batch() -> None:
    network = random_network(2, dimension=12)
    e, S = rows(network, 1, n=50)
    positions = np.arange(50)[:, None]
    with torch.inference_mode():
        expected = equations.class_probabilities(logits(network, e, S))
    for batch in (1, 7, 4096):
        p = predict_rows(
            network, e[:, 0].numpy(), positions, csr_matrix(S.numpy()), batch_size=batch
        )
        assert p.dtype == np.float64
        close(p, expected)
        close(p.sum(axis=1), 1, atol=1e-12)


# Predictions.


def test_predictions_are_distributions(model: Model) -> None:
    p = model.predict_proba(inputs(model), PERSPECTIVES)
    assert p.shape == (len(TEXTS), len(PERSPECTIVES), len(model.classes))
    assert p.dtype == np.float64
    assert (p >= 0).all()
    close(p.sum(axis=2), 1)
    # Texts and perspectives matter here, or the tests below could not fail.
    assert np.ptp(p[:, :, 0], axis=0).min() > 1e-3
    assert np.ptp(p[:, :, 0], axis=1).min() > 1e-3


def literal(model: Model, patterns: Any) -> FloatArray:
    """P(label | text) under memberships (P, K), row by row: (n, P, L)."""
    vectors = torch.from_numpy(model.encoder.encode(TEXTS))
    sides = 2 if model.task == "preference" else 1
    e = torch.stack([vectors, vectors.roll(-1, 0)], dim=1)[:, :sides]
    p = []
    with torch.inference_mode():
        for pattern in torch.tensor(patterns).float():
            assert isinstance(model.network, Network)
            alone = logits(model.network, e, pattern.expand(len(e), -1))
            p.append(equations.class_probabilities(alone).numpy())
    return np.stack(p, axis=1)


def test_exactly_adds_the_embeddings_of_the_named_groups(model: Model) -> None:
    asked = [["Order"], ["Wonder", "Comfort"]]
    p = model.predict_proba(inputs(model), asked, exactly=True)
    close(p, literal(model, [[0, 1, 0], [1, 0, 1]]))


def test_a_view_is_the_mean_over_the_memberships_that_have_its_groups(model: Model) -> None:
    each = literal(model, PATTERNS)
    p = model.predict_proba(inputs(model), [["Comfort"], ["Order"], ["Wonder", "Comfort"], []])
    close(p[:, 0], (2 * each[:, 0] + each[:, 2]) / 3)
    close(p[:, 1], each[:, 1])
    close(p[:, 2], each[:, 2])
    close(p[:, 3], np.einsum("j,njl->nl", np.array(COUNTS) / 10, each))


@law
@given(st.integers(0, 10_000))
def test_views_of_a_partition_average_to_the_population(encoder: Encoder, seed: int) -> None:
    """The law of total probability, also for soft memberships and for two attributes at once."""
    random = np.random.default_rng(seed)
    data, n = annotations("ordinal"), 7
    network = random_network(data.n_thresholds, n_groups=3, seed=seed)
    scheme = fit_scheme(TaxonomyConfig(min_size=1), data, encoder)
    S, counts = random.dirichlet([0.5] * 3, n) * (random.random((n, 1)) < 0.8), random.random(n)
    S[:, 2] = 1 - S[:, :2].sum(1)  # every annotation is in the groups by shares that sum to 1
    population = (csr_matrix(S.astype(np.float32)), counts)
    model = Model(network, "ordinal", data.classes, scheme, encoder, population)
    sizes = counts @ S
    views = model.views(TEXTS, [[name] for name in NAMES])
    close(np.einsum("k,nkl->nl", sizes / sizes.sum(), views.p), views.population)


def test_what_no_annotation_has_is_said_and_answered_by_eq_1(model: Model) -> None:
    asked = [["Comfort", "Order"], ["Order"]]
    with pytest.warns(Notice, match=r"no training annotation is in Comfort \+ Order at once"):
        views = model.views(inputs(model), asked)
    assert views.unseen == ("Comfort + Order",)
    close(views.p[:, 0], literal(model, [[1, 1, 0]])[:, 0])
    assert model.views(inputs(model), asked, exactly=True).unseen == ()


def test_the_order_and_repetition_of_names_change_nothing(binary: Model) -> None:
    p = binary.predict_proba(TEXTS, [["Order", "Wonder"], ["Wonder", "Order", "Wonder"]])
    np.testing.assert_array_equal(p[:, 0], p[:, 1])


def test_without_a_perspective_the_population_answers(model: Model) -> None:
    texts = inputs(model)
    population = model.predict_proba(texts)
    assert population.shape == (len(texts), 1, len(model.classes))
    close(population, model.predict_proba(texts, [[]]), atol=1e-9)
    close(population, model.predict_proba(texts, [[]], exactly=True), atol=1e-9)


def test_a_swapped_pair_gives_the_rest_to_one(encoder: Encoder) -> None:
    model = made("preference", encoder)
    pairs = inputs(model)
    for perspectives in (PERSPECTIVES, None):
        p = model.predict_proba(pairs, perspectives)
        swapped = model.predict_proba([(b, a) for a, b in pairs], perspectives)
        close(p[:, :, 1], 1 - swapped[:, :, 1])
    same = model.predict_proba([(TEXTS[0], TEXTS[0])], PERSPECTIVES)
    np.testing.assert_array_equal(same, 0.5)


def test_a_prediction_does_not_depend_on_its_batch(
    model: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = inputs(model)
    together = model.predict_proba(texts, PERSPECTIVES)
    alone = np.concatenate([model.predict_proba([text], PERSPECTIVES) for text in texts])
    close(alone, together)
    monkeypatch.setattr("mcstl.models.prediction._NUMBERS_AT_ONCE", 1)
    close(model.predict_proba(texts, PERSPECTIVES), together)
    close(model.predict_proba(texts), np.concatenate([model.predict_proba([t]) for t in texts]))
    np.testing.assert_array_equal(
        model.predict_proba([texts[0]] * 3)[0], model.predict_proba([texts[0]] * 3)[2]
    )


def test_nothing_asked_is_nothing_answered(binary: Model) -> None:
    assert binary.predict_proba([]).shape == (0, 1, 2)
    assert binary.predict_proba([], PERSPECTIVES).shape == (0, 3, 2)
    assert binary.predict_proba(TEXTS, []).shape == (len(TEXTS), 0, 2)


def test_annotations_are_seen_by_their_own_groups(model: Model) -> None:
    data = annotations(model.task)
    p, S = model.predict_annotations(data)
    expected = [[0, 1, 0], [1, 0, 1], [0, 0, 0], [0, 1, 1], [1, 0, 0]]
    np.testing.assert_array_equal(S.toarray(), expected)
    own = [[name for name in value.split("|") if name] for value in VALUES]
    for row, (text, groups) in enumerate(zip(inputs(model), own, strict=True)):
        if groups:
            close(p[row], model.predict_proba([text], [groups], exactly=True)[0, 0])
    close(p[2], literal(model, [[0, 0, 0]])[2, 0])


def test_a_model_without_groups_has_one_view(encoder: Encoder) -> None:
    network = random_network(n_groups=0)
    everybody = (csr_matrix((1, 0), dtype=np.float32), np.array([7.0]))
    model = Model(network, "binary", ("no", "yes"), None, encoder, everybody)
    p = model.predict_proba(TEXTS)
    np.testing.assert_array_equal(p, model.predict_proba(TEXTS, [[]]))
    own, S = model.predict_annotations(annotations("binary"))
    assert S.shape == (len(TEXTS), 0)
    close(own, p[:, 0])
    with pytest.raises(InputError, match=r"no group of this model; it has none"):
        model.predict_proba(TEXTS, [["Order"]])


@pytest.mark.parametrize(
    ("perspectives", "said"),
    [
        (
            [["order"]],
            r"'order' is no group of this model; .*Comfort, Order, Wonder.* mean 'Order'\?",
        ),
        ([["Order"], ["Wunder"]], r"Did you mean 'Wonder'\?"),
        (["Order"], r"list of group names; got 'Order'\. Write \[\['Order'\]\]"),
        ("Order", r"list of group names; got 'Order'\. Write \[\['Order'\]\]"),
        ([[3]], "3 is no group of this model"),
    ],
)
def test_wrong_perspectives(binary: Model, perspectives: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        binary.predict_proba(TEXTS, perspectives)


@pytest.mark.parametrize(
    ("task", "texts", "said"),
    [
        ("binary", "Tea", r"texts is a list; write \[text\]"),
        ("binary", [("Tea", "Coffee")], "text 0 must be one text"),
        ("binary", ["Tea", "  "], "text 1 must be one text, not empty"),
        ("binary", ["Tea", None], "text 1 must be one text, not empty; got None"),
        ("binary", ["Tea", float("nan")], "text 1 must be one text, not empty; got nan"),
        ("preference", ["Tea"], r"text 0 must be a pair \(text_a, text_b\)"),
        ("preference", [("Tea", "Coffee", "Milk")], "text 0 must be a pair"),
        ("preference", [("Tea", "")], "text 0 must be a pair.* not empty"),
        ("preference", [("Tea", None)], "text 0 must be a pair.* not empty"),
    ],
)
def test_texts_of_the_wrong_form(encoder: Encoder, task: Task, texts: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        made(task, encoder).predict_proba(texts)


# The model directory.


def python(code: str, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


def test_a_new_process_predicts_the_same_bits(
    encoder: Encoder, cache: Path, tmp_path: Path
) -> None:
    expected: dict[str, FloatArray] = {}
    for task in TASKS:
        model = made(task, encoder)
        model.save(tmp_path / task)
        expected[f"{task} grid"] = model.predict_proba(inputs(model), PERSPECTIVES)
        expected[f"{task} population"] = model.predict_proba(inputs(model))
    code = f"""
import sys
import numpy as np, torch
from mcstl.encoding.encoders import load_encoder
from mcstl.models.model import Model
torch.set_num_threads(1)
folder, texts = sys.argv[1], {TEXTS!r}
encoder = load_encoder(cache_dir=sys.argv[2])
found = {{}}
for task in {TASKS!r}:
    model = Model.load(f"{{folder}}/{{task}}", encoder=encoder)
    asked = list(zip(texts, texts[1:] + texts[:1])) if task == "preference" else texts
    found[f"{{task}} grid"] = model.predict_proba(asked, {PERSPECTIVES!r})
    found[f"{{task}} population"] = model.predict_proba(asked)
np.savez(f"{{folder}}/found.npz", **found)
print({{"sentence_transformers", "torch._dynamo"}} & set(sys.modules) or "neither")
"""
    # The texts are in the cache, so the encoder's network is not needed; nor is torch's compiler.
    assert python(code, tmp_path, cache).stdout.split() == ["neither"]
    found = np.load(tmp_path / "found.npz")
    assert sorted(found) == sorted(expected)
    for name, p in expected.items():
        np.testing.assert_array_equal(found[name], p)


@pytest.mark.parametrize("task", TASKS)
def test_a_smooth_layer_comes_back(task: Task, encoder: Encoder, tmp_path: Path) -> None:
    smooth, normed = (made(task, encoder, layer=layer) for layer in reversed(LAYERS))
    smooth.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", encoder=encoder)
    p = smooth.predict_proba(inputs(smooth))
    np.testing.assert_array_equal(again.predict_proba(inputs(smooth)), p)
    assert np.abs(normed.predict_proba(inputs(smooth)) - p).max() > 0.01


def test_a_loaded_model_knows_what_the_saved_one_did(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", encoder=model.encoder)
    assert (again.task, again.classes, again.facts) == (model.task, model.classes, {"seed": 3})
    assert again.group_names == NAMES
    assert again.scheme is not None
    assert model.scheme is not None
    assert again.scheme.groups == model.scheme.groups
    data = annotations(model.task)
    np.testing.assert_array_equal(
        again.predict_annotations(data)[0], model.predict_annotations(data)[0]
    )
    again.save(tmp_path / "copy")
    for name in FILES:
        assert (tmp_path / "copy" / name).read_bytes() == (tmp_path / "model" / name).read_bytes()


def test_loading_finds_the_encoder_and_leaves_the_random_state(
    binary: Model, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    binary.save(tmp_path / "model")
    monkeypatch.setenv("MCSTL_CACHE", str(cache))
    before = torch.get_rng_state()
    again = Model.load(tmp_path / "model")
    assert torch.equal(torch.get_rng_state(), before)
    assert again.encoder.name == "all-MiniLM-L6-v2"
    np.testing.assert_array_equal(again.predict_proba(TEXTS), binary.predict_proba(TEXTS))


def test_a_model_without_groups_comes_back(encoder: Encoder, tmp_path: Path) -> None:
    everybody = (csr_matrix((1, 0), dtype=np.float32), np.array([7.0]))
    model = Model(random_network(n_groups=0), "binary", ("0", "1"), None, encoder, everybody)
    model.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", encoder=encoder)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), model.predict_proba(TEXTS))


def test_the_directory_is_safetensors_json_and_the_card(model: Model, tmp_path: Path) -> None:
    model.save(tmp_path / "deep" / "model")
    folder = tmp_path / "deep" / "model"
    assert {path.name for path in folder.iterdir()} == {*FILES}
    assert [path.name for path in folder.parent.iterdir()] == ["model"]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert config["schema"] == 2
    assert config["network"]["kind"] == "mc-stl"
    assert config["encoder"]["name"] == "all-MiniLM-L6-v2"
    tensors = safetensors.torch.load_file(folder / "model.safetensors")
    stored = {name.removeprefix("network."): t for name, t in tensors.items() if "network" in name}
    assert stored.keys() == model.network.state_dict().keys()


def test_saving_leaves_the_folders_of_others_alone(binary: Model, tmp_path: Path) -> None:
    contents: dict[str, dict[str, str]] = {
        "notes": {"thesis.txt": "four years of work"},
        # Most libraries' models have a config.json, and so have web projects.
        "other-model": {"config.json": '{"model_type": "bert"}', "model.safetensors": "x"},
        "project": {"config.json": "{}", "index.html": "<p>Hello</p>"},
    }
    binary.save(tmp_path / "mixed")
    (tmp_path / "mixed" / "thesis.txt").write_text("four years of work")
    for name, files in contents.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    for name in [*contents, "mixed"]:
        folder = tmp_path / name
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        with pytest.raises(InputError, match=r"not empty .*choose another folder"):
            binary.save(folder)
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (tmp_path / "file").write_text("a file")
    with pytest.raises(InputError, match="is a file"):
        binary.save(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "a file"


def test_an_empty_folder_and_an_older_model_are_taken(encoder: Encoder, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    made("ordinal", encoder).save(folder)
    newer = made("binary", encoder, seed=1)
    newer.save(folder)
    found = Model.load(folder, encoder=encoder).predict_proba(TEXTS, PERSPECTIVES)
    np.testing.assert_array_equal(found, newer.predict_proba(TEXTS, PERSPECTIVES))
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_save_that_breaks_off_leaves_the_older_model(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever step fails: each write, rename and removal in turn."""
    older, newer = made("binary", encoder), made("binary", encoder, seed=1)
    folder = tmp_path / "model"
    failures = 0
    for number in range(50):
        shutil.rmtree(folder, ignore_errors=True)
        older.save(folder)
        with monkeypatch.context() as patch:
            failed = _fail_at(patch, number)
            try:
                newer.save(folder)
            except OSError:
                failures += 1
        found = Model.load(folder, encoder=encoder).predict_proba(TEXTS)
        versions = [model.predict_proba(TEXTS) for model in (older, newer)]
        assert any(np.array_equal(found, version) for version in versions)
        assert np.array_equal(found, versions[1]) or failed
        for leftover in tmp_path.glob(".*"):
            shutil.rmtree(leftover)
        if not failed:
            break
    assert failures >= 3
    assert number < 49


def _fail_at(patch: pytest.MonkeyPatch, number: int) -> list[str]:
    """Make the given one of the steps that change the disk fail; return its name once it has."""
    steps: list[str] = []
    failed: list[str] = []

    def failing(name: str, step: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any, **options: Any) -> Any:
            steps.append(name)
            if len(steps) - 1 == number:
                failed.append(name)
                raise OSError("No space left on device")
            return step(*arguments, **options)

        return wrapped

    patch.setattr(safetensors.torch, "save_file", failing("save", safetensors.torch.save_file))
    for name in ("rename", "replace"):
        patch.setattr(os, name, failing(name, getattr(os, name)))
    patch.setattr(shutil, "rmtree", failing("rmtree", shutil.rmtree))
    return failed


@pytest.fixture
def saved(binary: Model, tmp_path: Path) -> Path:
    binary.save(tmp_path / "model")
    return tmp_path / "model"


def tensors_of(saved: Path) -> dict[str, Tensor]:
    return safetensors.torch.load_file(saved / "model.safetensors")


def write_tensors(saved: Path, tensors: dict[str, Tensor]) -> None:
    safetensors.torch.save_file(tensors, saved / "model.safetensors")


def config_of(saved: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((saved / "config.json").read_text(encoding="utf-8"))
    return config


def write_config(saved: Path, config: Any) -> None:
    (saved / "config.json").write_text(json.dumps(config), encoding="utf-8")


def refusal(saved: Path, encoder: Encoder) -> str:
    """The one line that loading a spoilt model says."""
    with pytest.raises(InputError) as caught:
        Model.load(saved, encoder=encoder)
    message = str(caught.value)
    assert "\n" not in message
    assert str(saved) in message
    return message


def test_another_schema(saved: Path, encoder: Encoder) -> None:
    write_config(saved, {**config_of(saved), "schema": 3, "mcstl": "9.1"})
    said = refusal(saved, encoder)
    assert "has schema 3" in said
    assert "reads schemas 1 and 2" in said
    assert "9.1" in said


def as_schema_1(config: dict[str, Any]) -> dict[str, Any]:
    """The config as mcstl 0.1 wrote it: no kinds, and the usual layer not named."""

    def network_of(entry: dict[str, Any]) -> dict[str, Any]:
        old = {k: v for k, v in entry.items() if k not in ("kind", "annotators")}
        if entry["kind"] == "mean":
            return {**old, "members": [network_of(member) for member in entry["members"]]}
        if entry["kind"] == "product":
            return {"hidden": old["hidden"], "form": "product"}
        if old["layer"] == "normed":
            del old["layer"]
        return old

    return {**config, "schema": 1, "network": network_of(config["network"])}


@pytest.mark.parametrize("layer", LAYERS)
def test_a_model_of_schema_1_is_read(layer: Layer, encoder: Encoder, tmp_path: Path) -> None:
    model = made("ordinal", encoder, layer=layer)
    model.save(tmp_path / "model")
    config = as_schema_1(config_of(tmp_path / "model"))
    assert "kind" not in config["network"]
    assert ("layer" in config["network"]) == (layer == "smooth")
    del config["people"]  # models of before there were people
    write_config(tmp_path / "model", config)
    again = Model.load(tmp_path / "model", encoder=encoder)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), model.predict_proba(TEXTS))
    again.save(tmp_path / "again")
    assert config_of(tmp_path / "again")["schema"] == 2
    assert config_of(tmp_path / "again")["network"]["kind"] == "mc-stl"


@pytest.mark.parametrize("kind", ["sum", None, [], "mean"])
def test_a_kind_of_network_that_is_none_or_another(
    saved: Path, encoder: Encoder, kind: Any
) -> None:
    config = config_of(saved)
    config["network"]["kind"] = kind
    write_config(saved, config)
    assert "damaged" in refusal(saved, encoder)


def test_what_is_no_model(tmp_path: Path, encoder: Encoder) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("text")
    for name in ("empty", "file", "not-there"):
        assert "no model (no config.json)" in refusal(tmp_path / name, encoder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", "3", '{"model_type": "bert"}', "\udcff"])
def test_a_config_of_something_else(saved: Path, encoder: Encoder, text: str) -> None:
    (saved / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    assert "not the config of a model of mcstl" in refusal(saved, encoder)


def test_missing_and_truncated_tensors(saved: Path, encoder: Encoder) -> None:
    path = saved / "model.safetensors"
    whole = path.read_bytes()
    for kept in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:kept])
        assert "cannot be read" in refusal(saved, encoder)
    path.unlink()
    assert "cannot be read" in refusal(saved, encoder)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_numbers_that_are_none(saved: Path, encoder: Encoder, number: float) -> None:
    tensors = tensors_of(saved)
    tensors["network.v"][1, 2] = number
    write_tensors(saved, tensors)
    said = refusal(saved, encoder)
    assert "not finite" in said
    assert "network.v" in said


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("network.v", lambda t: t[:2]),
        ("network.v", lambda t: t[:, :100]),
        ("network.first.weight", lambda t: t.T),
        ("network.b_gaps", lambda t: torch.zeros(2)),
        ("population.weights", lambda t: t[:1]),
        ("population.weights", lambda t: -t),
        ("population.weights", lambda t: 0 * t),
        ("population.indices", lambda t: t + 3),
        ("population.indices", lambda t: t[:1]),
        ("population.indptr", lambda t: t.flip(0)),
        ("population.indptr", lambda t: t[:0]),
    ],
)
def test_tensors_of_the_wrong_shape(
    saved: Path, encoder: Encoder, name: str, spoil: Callable[[Tensor], Tensor]
) -> None:
    tensors = tensors_of(saved)
    tensors[name] = spoil(tensors[name]).contiguous()
    write_tensors(saved, tensors)
    assert "damaged" in refusal(saved, encoder)


def test_a_message_names_the_tensor_that_does_not_fit(saved: Path, encoder: Encoder) -> None:
    tensors = tensors_of(saved)
    del tensors["network.v"]
    write_tensors(saved, tensors)
    assert '"v"' in refusal(saved, encoder)


def test_every_tensor_is_needed(saved: Path, encoder: Encoder) -> None:
    tensors = tensors_of(saved)
    assert len(tensors) > 5
    # Models of before there was soft membership do not have it, and are read.
    for name in tensors.keys() - {"population.membership"}:
        write_tensors(saved, {other: t for other, t in tensors.items() if other != name})
        assert "damaged" in refusal(saved, encoder)


def paths(config: Any, *place: str | int) -> Iterator[tuple[str | int, ...]]:
    """The place of every value in a config, but for the facts, which nobody uses."""
    keys = list(config) if isinstance(config, dict) else range(len(config))
    for key in keys:
        if (*place, key) != ("facts",):
            yield (*place, key)
            if isinstance(config[key], dict | list):
                yield from paths(config[key], *place, key)


def put(config: dict[str, Any], place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = json.loads(json.dumps(config))
    inner: Any = copy
    for key in place[:-1]:
        inner = inner[key]
    if value is ...:
        del inner[place[-1]]
    else:
        inner[place[-1]] = value
    return copy


@pytest.mark.parametrize("schema", [1, 2])
def test_a_config_with_anything_wrong_loads_or_is_refused(
    saved: Path, encoder: Encoder, schema: int
) -> None:
    """A value missing or of another kind never gives a traceback of another sort."""
    config = config_of(saved)
    if schema == 1:
        config = as_schema_1(config)
    refused = set()
    for place in paths(config):
        values: tuple[Any, ...] = (..., None, "x", -1, [], {})
        for value in values:
            write_config(saved, put(config, place, value))
            try:
                Model.load(saved, encoder=encoder).predict_proba(TEXTS[:1])
            except InputError:
                refused.add((place[0], str(value)))
    for key in ("task", "classes", "encoder", "network", "scheme", "schema"):
        assert (key, "Ellipsis") in refused
    for key in ("task", "classes", "network"):
        assert {(key, "None"), (key, "x"), (key, "-1")} <= refused


def test_another_encoder_than_the_one_of_training(saved: Path, encoder: Encoder) -> None:
    config = config_of(saved)
    write_config(saved, {**config, "encoder": {"name": "their-encoder", "fingerprint": "0a1b"}})
    said = refusal(saved, encoder)
    assert "other weights of 'their-encoder'" in said
    assert "0a1b" in said
    assert encoder.fingerprint in said


def test_an_encoder_that_cannot_be_had(saved: Path) -> None:
    config = config_of(saved)
    config["encoder"]["name"] = str(saved / "no encoder here")
    write_config(saved, config)
    with pytest.raises(InputError, match="no folder"):
        Model.load(saved)


def test_groups_and_embeddings_that_do_not_fit(saved: Path, encoder: Encoder) -> None:
    config = config_of(saved)
    config["scheme"]["groups"].pop()
    write_config(saved, config)
    assert "damaged" in refusal(saved, encoder)


@pytest.mark.parametrize("layer", ["smooth", "soft", 3, None])
def test_a_layer_that_is_none_or_another(saved: Path, encoder: Encoder, layer: Any) -> None:
    config = config_of(saved)
    config["network"]["layer"] = layer
    write_config(saved, config)
    assert "damaged" in refusal(saved, encoder)


def test_predicting_changes_nothing(binary: Model) -> None:
    before = {name: t.clone() for name, t in binary.network.state_dict().items()}
    weights: npt.NDArray[np.float64] = binary.population[1].copy()
    binary.network.train()  # as a caller may have left it
    first = binary.predict_proba(TEXTS)
    np.testing.assert_array_equal(binary.predict_proba(TEXTS), first)
    assert all(torch.equal(t, before[name]) for name, t in binary.network.state_dict().items())
    np.testing.assert_array_equal(binary.population[1], weights)


def test_no_person_leaves_with_a_model(encoder: Encoder, tmp_path: Path) -> None:
    """Ids, answers too rare for a group and the way to the data: in no file of the directory."""
    n = 90
    table = pd.DataFrame(
        {
            "text": [TEXTS[i % 5] for i in range(n)],
            "label": [i % 2 for i in range(n)],
            "annotator": [f"worker-{i % 30}" for i in range(n)],
            "gender": ["Woman" if i // 3 % 2 else "Man" for i in range(n)],
            "town": ["Ystad" if i % 30 == 7 else "Lund" for i in range(n)],
        }
    )
    (tmp_path / "secret-folder").mkdir()
    file = tmp_path / "secret-folder" / "votes.csv"
    table.to_csv(file, index=False)
    study = mcstl.Study(
        data={"file": str(file)},
        groups={"by": "attributes", "min_size": 20},
        methods=["mc-stl", "best"],
        training={"epochs": 1},
        seeds=[0],
    )
    results = mcstl.run(study, out=tmp_path / "out")
    assert results.results["data"]["groups_left_out"]
    folders = [tmp_path / "out" / "model", tmp_path / "fitted"]
    mcstl.fit(
        Annotations.read(file),
        groups={"by": "attributes", "min_size": 20},
        encoder=encoder,
        training={"epochs": 1},
    ).save(folders[1])
    for folder in folders:
        for path in folder.iterdir():
            content = path.read_bytes()
            for word in (b"worker-", b"Ystad", b"secret-folder"):
                assert word not in content, (path, word)
        names = [
            g["name"] for g in json.loads((folder / "config.json").read_text())["scheme"]["groups"]
        ]
        assert names == ["gender=Man", "gender=Woman", "town=Lund"]
