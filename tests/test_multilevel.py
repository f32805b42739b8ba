"""The multilevel model: its posterior against dense algebra, recovery of a known truth, answers."""

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fastapi.testclient import TestClient
from scipy.sparse import csr_matrix, hstack
from scipy.special import expit
from typer.testing import CliRunner

import mcstl
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl.cli import app
from mcstl.datasets.simulated import simulate
from mcstl.encoding.encoders import load_encoder
from mcstl.models import multilevel, multilevel_fit, network_kinds, training
from mcstl.models.examples import Examples
from mcstl.models.known_texts import codes, hashes
from mcstl.models.model import Model
from mcstl.models.multilevel import MultilevelNetwork
from mcstl.models.multilevel_design import Design, Term, explicit
from mcstl.models.perspectives import Views
from mcstl.models.prediction import Respondents, predict_draws
from mcstl.serving.api import create_app
from mcstl.serving.batching import Batcher, Limits
from mcstl.serving.prediction import predict_file

LEVELS = np.array([-1.0, 1.0])


def simulated(
    n_people: int = 60,
    each: int = 30,
    n_texts: int = 80,
    n_classes: int = 3,
    sds: tuple[float, float, float] = (1.5, 0.8, 0.5),
    seed: int = 0,
) -> tuple[Examples, FloatArray]:
    """Draw annotations of people of two groups, of texts in 6 dimensions; and the latent scores.

    Args:
        n_people: How many people there are.
        each: How many texts each of them judges.
        n_texts: How many texts there are.
        n_classes: The number of classes.
        sds: The standard deviations of people's and texts' levels, and of what a group says of a
            text.
        seed: Decides all.

    Returns:
        The annotations, with the codes of people and texts, and their scores.
    """
    random = np.random.default_rng(seed)
    vectors = random.normal(size=(n_texts, 6)).astype(np.float32)
    person = np.repeat(np.arange(n_people), each)
    text = np.concatenate([random.choice(n_texts, each, replace=False) for _ in range(n_people)])
    group = np.arange(n_people)[person] % 2
    S = csr_matrix((np.ones(len(person)), (np.arange(len(person)), group)), dtype=np.float32)
    pull = random.normal(size=(2, 6)) * 0.5
    score = vectors[text] @ random.normal(size=6) * 0.7
    score = score + (vectors[text] * pull[group]).sum(1) + np.array([0.5, -0.5])[group]
    score = score + sds[0] * random.normal(size=n_people)[person]
    score = score + sds[1] * random.normal(size=n_texts)[text]
    score = score + sds[2] * random.normal(size=(n_texts, 2))[text, group]
    cuts = LEVELS[: n_classes - 1] if n_classes > 2 else np.zeros(1)
    y = (random.random((len(score), 1)) < expit(score[:, None] - cuts)).sum(1)
    w = np.ones(len(y), dtype=np.float32)
    rows = Examples(vectors, text[:, None], S, y, w, person, np.arange(n_texts))
    return rows, score


def small_design(symmetric: bool = False) -> Design:
    random = np.random.default_rng(1)
    n = 60
    units = csr_matrix((np.ones(n), (np.arange(n), np.arange(n) % 7)), shape=(n, 7))
    features = np.column_stack([np.ones(12), random.normal(size=12)])
    return Design(
        random.normal(size=(12, 2)),
        np.zeros(2, dtype=np.int64),
        np.arange(n) % 12,
        [Term("group", units, features, np.arange(2))],
        random.integers(0, 2, n) if symmetric else random.integers(0, 3, n),
        random.uniform(0.5, 2, n),
        2 if symmetric else 3,
        symmetric,
    )


@pytest.mark.parametrize("symmetric", [False, True])
def test_the_posterior_is_that_of_dense_algebra(symmetric: bool) -> None:
    """At the end the mean solves X' slope = Lambda mean, and draws have the covariance H^-1."""
    design = small_design(symmetric)
    found = multilevel_fit.fit(design, draws=4000)
    term = design.terms[0]
    X = np.hstack([design.text[design.cell], explicit(term, design.cell, np.arange(60)).toarray()])
    mean = np.concatenate([each.ravel() for each in found.mean])
    draws = np.concatenate([each.reshape(4000, -1) for each in found.draws], axis=1)
    variances = np.concatenate([found.variances[0], np.tile(found.variances[1], 7)])
    spread = ((X @ draws.T) ** 2).mean(1)
    slope, weight = multilevel_fit._slopes(design, X @ mean, spread, found.cuts)
    precision = np.diag(1 / variances)
    H = X.T @ (weight[:, None] * X) + precision
    step = np.linalg.solve(H, X.T @ slope - precision @ mean)
    covariance = np.linalg.inv(H)
    assert np.abs(step / np.sqrt(np.diag(covariance))).max() < 0.25
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=0.12 * covariance.max())
    if symmetric:
        assert found.cuts.tolist() == [0]
    else:
        assert found.cuts[0] < found.cuts[1]


def test_it_is_statsmodels_mixed_model_where_the_two_are_the_same() -> None:
    """Two classes, levels of people and texts: variational Bayes by `BinomialBayesMixedGLM`."""
    from statsmodels.genmod.bayes_mixed_glm import BinomialBayesMixedGLM

    rows, _ = simulated(n_people=80, n_texts=60, n_classes=2)
    n, one, whole = len(rows), np.ones((1, 1)), np.zeros(1, dtype=np.int64)
    assert rows.annotators is not None
    people, texts = (
        csr_matrix((np.ones(n), (np.arange(n), codes_of)), shape=(n, size))
        for codes_of, size in ((rows.annotators, 80), (rows.positions[:, 0], 60))
    )
    terms = [Term("person", people, one, whole), Term("text", texts, one, whole)]
    nothing = np.zeros((1, 1)), whole, np.zeros(n, dtype=np.int64)
    found = multilevel_fit.fit(Design(*nothing, terms, rows.y, rows.w.astype(float), 2, False), 8)
    kinds = np.repeat([0, 1], [80, 60])
    effects = hstack([people, texts], format="csr")
    with np.errstate(over="ignore"):  # some of its steps go too far, and are taken back
        theirs = BinomialBayesMixedGLM(
            rows.y, np.ones((n, 1)), effects, kinds, vcp_p=10, fe_p=10
        ).fit_vb(rng=0)
    ours = np.concatenate([each[:, 0] for each in found.mean[1:]])
    for kind in (0, 1):
        same = np.corrcoef(ours[kinds == kind], theirs.vc_mean[kinds == kind])[0, 1]
        assert same > 0.999
    sds = np.sqrt([variance[0] for variance in found.variances[1:]])
    np.testing.assert_allclose(sds, np.exp(theirs.vcp_mean), rtol=0.12)


def test_expected_slopes_are_derivatives() -> None:
    design = small_design()
    random = np.random.default_rng(0)
    at, spread, cuts = random.normal(size=60), random.uniform(0, 2, 60), np.array([-0.5, 0.8])

    def likelihood(scores: FloatArray) -> FloatArray:
        total = np.zeros(60)
        for node, share in zip(multilevel_fit._NODES, multilevel_fit._WEIGHTS, strict=True):
            levels = multilevel_fit._levels(scores + node * np.sqrt(spread), design.y, cuts)
            total += share * np.log(levels.probability)
        return np.asarray(design.w * total)

    slope, curvature = multilevel_fit._slopes(design, at, spread, cuts)
    h = 1e-4
    up, here, down = (likelihood(at + each) for each in (h, 0, -h))
    np.testing.assert_allclose((up - down) / (2 * h), slope, atol=1e-5)
    np.testing.assert_allclose(-(up - 2 * here + down) / h**2, curvature, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_what_makes_people_differ_is_found(n_classes: int) -> None:
    rows, score = simulated(n_people=150, each=40, n_classes=n_classes)
    network = MultilevelNetwork.fitted(rows, n_classes)
    sds = network.sources()
    assert 1.1 < sds["people"] < 2.0  # 1.5
    assert 0.5 < sds["the text beyond its words' meaning"] < 1.2  # 0.8
    assert 0.2 < sds["what groups say of a single text"] < 0.9  # 0.5
    p = training.predict(network, rows)
    truth = expit(score)
    above = p[:, 1:].sum(1) if n_classes == 2 else p[:, 1] / 2 + p[:, 2]
    assert np.corrcoef(above, truth)[0, 1] > 0.93


def test_intervals_hold_the_truth_of_new_people() -> None:
    """P(y | text, group), over the people of the group, for texts that were judged."""
    inside, width = [], []
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    for seed in range(3):
        rows, score = simulated(n_people=40, each=40, n_classes=2, seed=seed)
        network = MultilevelNetwork.fitted(rows, 2)
        person = rows.annotators
        assert person is not None
        memberships, place = rows.patterns
        alone = csr_matrix(np.eye(memberships.shape[0]))
        nobody = Respondents(memberships, np.full(memberships.shape[0], -1), alone)
        every = np.arange(len(rows.vectors))[:, None]
        p = predict_draws(network, rows.vectors, every, nobody, 2, rows.known)
        z = np.log(p[..., 1] / p[..., 0])[:, rows.positions[:, 0], place]
        low, high = z.mean(0) - 1.96 * z.std(0), z.mean(0) + 1.96 * z.std(0)
        # The score without the person's own level, which the text and the group have.
        shared = score - levels_of_people(seed)[person]
        truth = expit(shared[:, None] + 1.5 * nodes) @ (weights / weights.sum())
        truth = np.log(truth / (1 - truth))
        inside.append(((low <= truth) & (truth <= high)).mean())
        width.append((high - low).mean())
    assert np.mean(inside) > 0.85
    assert np.mean(width) < 3


def levels_of_people(seed: int, n_people: int = 40, each: int = 40) -> FloatArray:
    """The levels that `simulated` draws of people: the stream of its random numbers again."""
    random = np.random.default_rng(seed)
    random.normal(size=(80, 6))
    for _ in range(n_people):
        random.choice(80, each, replace=False)
    random.normal(size=(2, 6))
    random.normal(size=6)
    return 1.5 * random.normal(size=n_people)


@pytest.fixture(scope="module")
def fitted() -> tuple[Examples, MultilevelNetwork]:
    rows, _ = simulated()
    return rows, MultilevelNetwork.fitted(rows, 3)


@pytest.fixture(scope="module")
def compared() -> tuple[Examples, MultilevelNetwork]:
    """Pairs of texts: the first is preferred where its score is larger."""
    random = np.random.default_rng(0)
    vectors = random.normal(size=(50, 6)).astype(np.float32)
    positions = np.array([random.choice(50, 2, replace=False) for _ in range(1500)])
    person = np.arange(1500) % 30
    S = csr_matrix((np.ones(1500), (np.arange(1500), person % 2)), dtype=np.float32)
    score = vectors @ random.normal(size=6) + random.normal(size=50)
    difference = score[positions[:, 0]] - score[positions[:, 1]]
    y = (random.random(1500) < expit(difference)).astype(np.int64)
    w = np.ones(1500, dtype=np.float32)
    rows = Examples(vectors, positions, S, y, w, person, np.arange(50))
    return rows, MultilevelNetwork.fitted(rows, 2, preference=True)


@pytest.mark.parametrize("name", ["fitted", "compared"])
def test_a_grid_says_what_rows_say(name: str, request: pytest.FixtureRequest) -> None:
    rows, network = request.getfixturevalue(name)
    some = rows.take(np.arange(0, len(rows), 37))
    e = torch.from_numpy(rows.vectors[some.positions])
    S = torch.from_numpy(some.S.toarray())
    for annotators in (some.annotators, np.full(len(some), -1)):
        for known in (rows.known, None):
            p = training.predict(network, replace(some, annotators=annotators, known=known))
            of_texts = None if known is None else torch.from_numpy(known[some.positions])
            grid = network.grid_probabilities(e, S, torch.from_numpy(annotators), of_texts)
            same = grid[np.arange(len(some)), np.arange(len(some))]
            np.testing.assert_allclose(p, same.numpy(), atol=2e-6)


def test_either_side_of_a_pair_may_be_first(
    compared: tuple[Examples, MultilevelNetwork],
) -> None:
    rows, network = compared
    p = training.predict(network, rows)
    swapped = training.predict(network, replace(rows, positions=rows.positions[:, ::-1].copy()))
    np.testing.assert_allclose(p, swapped[:, ::-1], atol=1e-5)
    assert (np.log(p[np.arange(len(rows)), rows.y])).mean() > -0.5


def test_whoever_is_new_is_less_sure(fitted: tuple[Examples, MultilevelNetwork]) -> None:
    rows, network = fitted

    def nll(**changes: object) -> float:
        p = training.predict(network, replace(rows, **changes))  # type: ignore[arg-type]
        return float(-np.log(p[np.arange(len(rows)), rows.y]).mean())

    known = nll()
    assert known < nll(annotators=None) - 0.05
    assert known < nll(known=None) - 0.01
    assert nll(annotators=None, known=None) > nll(known=None) + 0.05


@pytest.mark.parametrize("name", ["fitted", "compared"])
def test_it_is_the_same_after_it_was_saved(name: str, request: pytest.FixtureRequest) -> None:
    rows, network = request.getfixturevalue(name)
    sizes = 6, 2, network.cuts.shape[0]
    again = network_kinds.restore(network.config(), network.state_dict(), sizes, network.preference)
    np.testing.assert_array_equal(training.predict(again, rows), training.predict(network, rows))
    nobody = network.without_annotators()
    assert nobody.n_annotators == 0
    unknown = replace(rows, annotators=None)
    np.testing.assert_array_equal(
        training.predict(nobody, unknown), training.predict(network, unknown)
    )


def test_a_fit_of_fewer_rows_starts_from_the_variances(
    fitted: tuple[Examples, MultilevelNetwork],
) -> None:
    rows, network = fitted
    fewer = rows.take(np.arange(0, len(rows), 2))
    warm = training.predict(MultilevelNetwork.fitted(fewer, 3, like=network), rows)
    cold = training.predict(MultilevelNetwork.fitted(fewer, 3), rows)
    assert np.abs(warm - cold).mean() < 0.03


def test_nothing_but_texts_is_enough() -> None:
    """No groups, no people, no known texts; and all texts the same."""
    rows, _ = simulated(n_people=20, each=10)
    alone = replace(rows.without_groups(), annotators=None, known=None)
    p = training.predict(MultilevelNetwork.fitted(alone, 3), alone)
    np.testing.assert_allclose(p.sum(1), 1, atol=1e-6)
    grouped = replace(rows, annotators=None, known=None)
    p = training.predict(MultilevelNetwork.fitted(grouped, 3), grouped)
    assert -np.log(p[np.arange(len(rows)), rows.y]).mean() < 1.09
    same = replace(alone, vectors=np.ones_like(alone.vectors))
    p = training.predict(MultilevelNetwork.fitted(same, 3), same)
    rates = np.bincount(rows.y, minlength=3) / len(rows)
    np.testing.assert_allclose(p[0], rates, atol=0.03)


def test_of_too_many_pairs_none_is_learnt(
    fitted: tuple[Examples, MultilevelNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, with_pairs = fitted
    monkeypatch.setattr(multilevel, "_MOST_PAIRS", 10)
    network = MultilevelNetwork.fitted(rows, 3)
    assert network.text_group.shape[1:] == (1, 2)
    assert "what groups say of a single text" not in network.sources()
    p = training.predict(network, rows)
    assert np.abs(p - training.predict(with_pairs, rows)).mean() < 0.1
    sizes = 6, 2, 2
    again = network_kinds.restore(network.config(), network.state_dict(), sizes, False)
    np.testing.assert_array_equal(training.predict(again, rows), p)


def test_known_texts_are_told_by_their_hash() -> None:
    texts = ["It rains.", "It snows.", "", "Är det så?"]
    known = np.sort(hashes(texts))
    assert sorted(codes(hashes(texts), known).tolist()) == [0, 1, 2, 3]
    assert codes(hashes(["It rains"]), known).tolist() == [-1]
    assert codes(hashes(texts), known[:0]).tolist() == [-1] * 4
    assert hashes(["broken \ud83c"]) == hashes(["broken ?"])  # a request may hold what no file can


# Asked as a model


@pytest.fixture(scope="module")
def town(cache: Path) -> Model:
    data = simulate("binary", annotations=600, items=60, annotators=40).annotations
    groups = {"by": "attributes", "attributes": ["gender", "age"], "min_size": 20}
    return mcstl.fit(
        data, method="multilevel", groups=groups, encoder=load_encoder(cache_dir=cache)
    )


TEXTS = ["The town should open a park.", "Let us close the museum."]


def test_intervals_are_around_what_is_predicted(town: Model) -> None:
    asked = [[name] for name in town.group_names]
    p = town.predict_proba(TEXTS, asked)
    views = town.views(TEXTS, asked, level=0.95)
    assert views.ends is not None
    low, high = views.ends  # the population's first
    shown = np.concatenate([views.population[:, None], p], axis=1)
    assert (low < shown).all()
    assert (shown < high).all()
    narrow = town.predict_interval(TEXTS, [[], *asked], level=0.5)
    assert (narrow[1] - narrow[0] < high - low).all()
    with pytest.raises(InputError, match="a level is between 0 and 1"):
        town.predict_interval(TEXTS, level=1)


def test_a_table_and_the_service_have_the_intervals(town: Model, tmp_path: Path) -> None:
    name, last = town.group_names[0], town.classes[-1]
    views = town.views(TEXTS, [[name]], level=0.9)
    assert views.ends is not None
    pd.DataFrame({"text": TEXTS}).to_csv(tmp_path / "in.csv", index=False)
    town.level = 0.9
    predict_file(town, tmp_path / "in.csv", tmp_path / "out.csv", perspectives=[name])
    town.level = None
    table = pd.read_csv(tmp_path / "out.csv")
    with TestClient(create_app(town, page=False)) as client:
        question = {"texts": TEXTS, "perspectives": [name], "interval": 0.9}
        answers = client.post("/predict", json=question).json()["answers"]
    for end, ends in zip(("low", "high"), views.ends, strict=True):
        np.testing.assert_allclose(table[f"{end}({last})"], ends[:, 0, -1], atol=1e-6)
        np.testing.assert_allclose(table[f"{end}({last} | {name})"], ends[:, 1, -1], atol=1e-6)
        for answer, of_text in zip(answers, ends, strict=True):
            np.testing.assert_allclose(answer[f"population_{end}"], of_text[0], atol=1e-6)
            np.testing.assert_allclose(answer[end], of_text[1:], atol=1e-6)


def test_intervals_of_those_who_wait_are_made_together(
    town: Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [[name] for name in town.group_names]
    sizes: list[int] = []
    views_of = Model.views

    def counted(self: Model, texts: Any, *arguments: Any, **options: Any) -> Views:
        sizes.append(len(texts))
        return views_of(self, texts, *arguments, **options)

    monkeypatch.setattr(Model, "views", counted)

    async def main() -> list[Views]:
        batcher = Batcher(town, Limits())
        levels = [0.9, None, 0.9, 0.9, None]
        answers = [batcher.views([f"text {i}"], asked, level) for i, level in enumerate(levels * 2)]
        found = await asyncio.gather(*answers)
        batcher.close()
        return found

    found = asyncio.run(main())
    assert sorted(sizes) == [4, 6]
    for i, views in enumerate(found):
        alone = views_of(town, [f"text {i}"], asked, level=0.9)
        assert (views.ends is None) == (i % 5 in (1, 4))
        np.testing.assert_allclose(views.p, alone.p, atol=1e-5)
        if views.ends is not None and alone.ends is not None:
            np.testing.assert_allclose(views.ends, alone.ends, atol=1e-5)


def test_a_population_of_ones_own(town: Model) -> None:
    """A census of one cell is that cell; one like the training's is the training's."""
    cell = "gender=Woman + age=60+"
    alone = town.for_population({cell: 3.0}).predict_proba(TEXTS)[:, 0]
    np.testing.assert_allclose(
        alone, town.predict_proba(TEXTS, [cell.split(" + ")], exactly=True)[:, 0], atol=1e-6
    )
    memberships, weights = town.population
    names = np.array(town.group_names)
    cells = {" + ".join(names[row.indices]): n for row, n in zip(memberships, weights, strict=True)}
    same = town.for_population({name: n for name, n in cells.items() if name})
    if "" not in cells:
        np.testing.assert_allclose(
            same.predict_proba(TEXTS, [[], ["gender=Woman"]]),
            town.predict_proba(TEXTS, [[], ["gender=Woman"]]),
            atol=1e-6,
        )
    table = pd.DataFrame({"gender": ["woman", None], "age": ["60+", "60+"], "weight": ["3", "1"]})
    mixed = town.for_population(table).predict_proba(TEXTS)[:, 0]
    old = town.predict_proba(TEXTS, [["age=60+"]], exactly=True)[:, 0]
    np.testing.assert_allclose(mixed, 0.75 * alone + 0.25 * old, atol=1e-6)


@pytest.mark.parametrize(
    ("population", "message"),
    [
        ({"gender=Wman": 1.0}, "Did you mean 'gender=Woman'"),
        ({"gender=Woman": -1.0}, "not negative"),
        (pd.DataFrame({"gender": ["Woman"]}), "weight"),
        (pd.DataFrame({"gender": ["Woman"], "weight": ["many"]}), "expected a number"),
        (pd.DataFrame({"gender": ["Woman"], "weight": [0]}), "nobody in it"),
    ],
)
def test_a_population_that_cannot_be_used(town: Model, population: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        town.for_population(population)


def test_tables_have_intervals(town: Model, tmp_path: Path) -> None:
    pd.DataFrame({"text": TEXTS}).to_csv(tmp_path / "in.csv", index=False)
    town.save(tmp_path / "model")
    census = tmp_path / "census.csv"
    census.write_text("gender,weight\nWoman,2\nMan,1\n")
    files = [str(tmp_path / name) for name in ("model", "in.csv", "out.csv")]
    options = ["--perspective", "gender=Woman", "--interval", "0.9", "--population", str(census)]
    command = ["predict", *files[:2], "--out", files[2], *options, "--quiet"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    out = pd.read_csv(tmp_path / "out.csv")
    low, p, high = (out[f"{x}(support | gender=Woman)"] for x in ("low", "p", "high"))
    assert (low < p).all()
    assert (p < high).all()
