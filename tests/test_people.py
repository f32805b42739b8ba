"""Annotators as random effects: their traits, what groups share, and who can be asked."""

import json
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

import mcstl
from mcstl import Jury, Person, equations
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.datasets.simulated import simulate
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.groups import AttributesConfig, CombineConfig, TaxonomyConfig, fit_scheme
from mcstl.models.examples import Examples
from mcstl.models.model import Model
from mcstl.models.people import PeopleNetwork, memberships_of_annotators
from mcstl.models.perspectives import Perspective
from test_model import as_schema_1

#: Its groups are of one to five people, whom a model is asked about with a notice.
pytestmark = pytest.mark.filterwarnings("ignore::mcstl._support.errors.Notice")
TEXTS = ["The library opens at nine.", "Tea", "The bus is late again."]
#: Two attribute groups, which are people's, and one of values, which is annotations'.
NAMES = ("side=left", "side=right", "Order")
PEOPLE = ("ann", "bob", "cem", "dee", "eva")
LEFT, RIGHT = ["side=left"], ["side=right"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_encoder(cache_dir=tmp_path_factory.mktemp("cache"))


def data() -> Annotations:
    """Every one of five people, four on the left, on three texts; two of each about Order."""
    rows = [
        {
            "text": text,
            "annotator": who,
            "label": (i + j) % 3,
            "side": "right" if who == "eva" else "left",
            "values": "Order" if i else "",
        }
        for i, text in enumerate(TEXTS)
        for j, who in enumerate(PEOPLE)
    ]
    return Annotations.from_frame(pd.DataFrame(rows), task="ordinal")


def made(encoder: Encoder) -> Model:
    """A model as training leaves it: no weight at its start."""
    annotations = data()
    attributes = AttributesConfig(attributes=("side",), min_size=1)
    config = CombineConfig(combine=(attributes, TaxonomyConfig(min_size=1)))
    scheme = fit_scheme(config, annotations, encoder)
    assert scheme.names == NAMES
    S = scheme.assign(annotations, encoder)
    texts, positions = annotations.distinct_texts()
    who = np.array([PEOPLE.index(x) for x in annotations.frame["annotator"]])
    ones = np.ones(len(who), dtype=np.float32)
    rows = Examples(encoder.encode(texts), positions, S, annotations.labels, ones, who)
    typical, personal = memberships_of_annotators(rows)
    np.testing.assert_allclose(typical, [[1, 0, 2 / 3]] * 4 + [[0, 1, 2 / 3]])
    np.testing.assert_array_equal(personal, [1, 1, 0])
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = PeopleNetwork(
            384,
            3,
            2,
            typical=torch.tensor(typical).float(),
            personal=torch.tensor(personal).float(),
            hidden=16,
            traits=4,
        ).eval()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.add_(0.3 * torch.randn_like(parameter))
    network.after_epoch()
    population = (
        csr_matrix(np.array([[1, 0, 0], [0, 1, 1]], dtype=np.float32)),
        np.array([3.0, 1.0]),
    )
    return Model(
        network,
        "ordinal",
        annotations.classes,
        scheme,
        encoder,
        population,
        people=PEOPLE,
        min_people=1,
    )


@pytest.fixture
def model(encoder: Encoder) -> Model:
    return made(encoder)


def network_of(model: Model) -> PeopleNetwork:
    assert isinstance(model.network, PeopleNetwork)
    return model.network


def asked(model: Model, *perspectives: Perspective) -> FloatArray:
    return model.predict_proba(TEXTS, perspectives)


# The network


def test_known_people_have_their_own_traits_and_others_those_of_their_groups(model: Model) -> None:
    network = network_of(model)
    S, noise = torch.tensor([[0.0, 1, 1]]).expand(2, -1), torch.randn(2, 4)
    bob = network.share[0] + network.habits[1] + network.log_sds[1].exp() * noise[0]  # is left
    for asked_of, groups in ((network, S), (network.select_groups(torch.tensor([1, 2])), S[:, 1:])):
        found = asked_of.traits_of(torch.tensor([1, -1]), groups, noise)
        torch.testing.assert_close(found[0], bob)
        torch.testing.assert_close(found[1], network.share[1] + noise[1])  # Order is nobody's


def test_groups_learnt_of_people_who_tell_little_stay_finite(model: Model) -> None:
    """As in the first epochs, and where a posterior is wider than its prior."""
    network = network_of(model)
    with torch.no_grad():
        network.log_sds[:3], network.log_sds[3:] = -0.01, 0.5
        network.tau.fill_(1)
        for _ in range(300):
            network.after_epoch()
    assert torch.isfinite(network.spread).all()
    assert network.tau.max() < 10


def test_groups_of_annotations_are_embedded_and_groups_of_people_are_not(model: Model) -> None:
    network = network_of(model)
    with torch.no_grad():
        network.share.zero_()
    shift = network.effects(torch.eye(3)).shift
    assert not shift[:2].any()
    torch.testing.assert_close(shift[2], network.first.weight @ network.v[2])


def test_what_groups_share_costs_less_if_they_are_found_to_differ(model: Model) -> None:
    network = network_of(model)
    with torch.no_grad():
        network.share[:2] = torch.tensor([[2.0], [-2.0]])
        network.tau.fill_(1)
        network.log_sds.fill_(-9.0)
        before = network.penalty(0.0)
        network.after_epoch()
    assert (network.tau > 1.5).all()
    assert network.penalty(0.0) < before


def test_what_groups_share_is_drawn_from_its_posterior(model: Model) -> None:
    network = network_of(model)
    with torch.no_grad():
        network.log_sds.fill_(-9.0)
    network.after_epoch()
    directions = torch.eye(4)[:, :, None].expand(-1, -1, 4)
    moves = network.sample_share(directions)  # (B, K + 1, r), the last of them the level
    moves[:, :3] -= network.share
    S = torch.cat([network.typical[:, :2], torch.ones(5, 1)], dim=1)
    sd = torch.stack([network.tau, network.tau, torch.ones(4)], dim=1)
    covariance = equations.shared_covariance(torch.ones(5, 4), S, sd)
    for trait in range(4):
        moved = moves[:, [0, 1, 3], trait]
        torch.testing.assert_close(moved.T @ moved, covariance[trait])
    assert not moves[:, 2].any()  # a group of annotations


def test_of_all_people_is_known_what_they_tell(model: Model) -> None:
    """Without groups of people too: the level is as sure as there are people, and one of prior."""
    network = network_of(model)
    network.personal.zero_()
    with torch.no_grad():
        network.log_sds.fill_(-9.0)
        network.spread.zero_()
    network.after_epoch()
    torch.testing.assert_close(network.spread[:, 3, 3].square(), torch.full((4,), 1 / 6))
    low, high = model.predict_interval(TEXTS, [["Order"]])
    assert (high > low + 0.01).any()


def test_without_people_every_group_is_of_annotations() -> None:
    rows = Examples(
        np.ones((1, 2), np.float32),
        np.zeros((2, 1), np.int64),
        csr_matrix(np.array([[1.0], [0.0]], np.float32)),
        np.array([0, 1]),
        np.ones(2, np.float32),
        np.array([-1, -1]),
    )
    typical, personal = memberships_of_annotators(rows)
    assert typical.shape == (0, 1)
    assert personal.tolist() == [1]


# Who is asked


def test_a_jury_is_the_mean_of_its_jurors(model: Model) -> None:
    ann = Person("ann", ["Order"])
    p = asked(model, LEFT, ann, Jury([LEFT, ann]), Jury([ann, LEFT], weights=[3, 1]))
    np.testing.assert_allclose(p.sum(axis=2), 1, atol=1e-6)
    np.testing.assert_allclose(p[:, 2], (p[:, 0] + p[:, 1]) / 2, atol=1e-6)
    np.testing.assert_allclose(p[:, 3], (p[:, 0] + 3 * p[:, 1]) / 4, atol=1e-6)
    everybody = asked(model, Jury([LEFT, RIGHT], weights=[3, 1]))  # nobody is in both
    np.testing.assert_allclose(model.predict_proba(TEXTS), everybody, atol=1e-6)


def test_a_known_person_is_asked_as_their_annotations_are(model: Model) -> None:
    p, _ = model.predict_annotations(data())
    of_bob = p[data().frame["annotator"] == "bob"]
    found = asked(model, Person("bob"), Person("bob", ["Order"]))
    np.testing.assert_allclose(of_bob, [found[0, 0], found[1, 1], found[2, 1]], atol=1e-6)
    assert np.abs(found[:, 0] - asked(model, LEFT)[:, 0]).max() > 0.01


@pytest.mark.parametrize(
    ("perspective", "said"),
    [
        (Person("anne"), "'anne' is nobody whom this model knows. Did you mean 'ann'?"),
        (Jury([]), "a juror at least; got 0 weights for 0 jurors"),
        (Jury([LEFT], weights=[1, 2]), "got 2 weights for 1 jurors"),
        (Jury([LEFT, RIGHT], weights=[1, -1]), "0 or more; got [1, -1]"),
        (Jury([["side=up"]]), "'side=up' is no group of this model"),
        (Person("ann", ["Ordr"]), "Did you mean 'Order'?"),
    ],
)
def test_who_cannot_be_asked(model: Model, perspective: Any, said: str) -> None:
    with pytest.raises(InputError) as error:
        asked(model, perspective)
    assert said in str(error.value)


# How sure


def test_what_few_people_share_is_less_sure(model: Model) -> None:
    network = network_of(model)
    people = network.typical[:, :2]
    covariance = equations.shared_covariance(torch.ones(5, 4), people, torch.ones(4, 2))
    network.spread[:, :2, :2] = torch.linalg.cholesky(covariance)
    with torch.no_grad():
        network.share[:2] = 0.0
        network.to_hidden.mul_(0.3)  # probabilities far from 0 and 1, where widths show
        network.to_biases.mul_(0.3)
    low, high = model.predict_interval(TEXTS, [LEFT, RIGHT], exactly=True)
    width, p = high - low, model.predict_proba(TEXTS, [LEFT, RIGHT], exactly=True)
    assert ((low <= p) & (p <= high)).all()
    assert (width[:, 1] > 1.2 * width[:, 0]).all()  # one member against four
    narrow = np.subtract(
        *reversed(model.predict_interval(TEXTS, [LEFT, RIGHT], level=0.5, exactly=True))
    )
    assert (narrow < width).all()


def test_what_is_learnt_of_a_person_is_less_sure_the_wider_it_is(model: Model) -> None:
    network = network_of(model)
    with torch.no_grad():
        network.log_sds[0], network.log_sds[1] = -9.0, 0.0
    low, high = model.predict_interval(TEXTS, [Person("ann"), Person("bob"), Jury([LEFT])])
    assert (high - low)[:, 0].max() < 0.01 < (high - low)[:, 1].min()


@pytest.mark.parametrize("level", [0, 1, 95])
def test_levels_that_are_none(model: Model, level: float) -> None:
    with pytest.raises(InputError, match=f"between 0 and 1, as 0.95; got {level}"):
        model.predict_interval(TEXTS, [LEFT], level=level)


# What leaves


def test_people_are_saved_only_when_asked_for(
    model: Model, encoder: Encoder, tmp_path: Path
) -> None:
    model.save(tmp_path / "plain")
    model.save(tmp_path / "named", people=True)
    plain, named = (
        Model.load(tmp_path / x, encoder=encoder, min_people=1) for x in ("plain", "named")
    )
    for again in (plain, named):
        assert (asked(again, LEFT, RIGHT) == asked(model, LEFT, RIGHT)).all()
        for found, expected in zip(
            again.predict_interval(TEXTS), model.predict_interval(TEXTS), strict=True
        ):
            assert (found == expected).all()
    assert (asked(named, Person("cem")) == asked(model, Person("cem"))).all()
    for folder in (tmp_path / "plain", tmp_path / "named"):
        config = json.loads((folder / "config.json").read_text())
        assert (config["network"]["kind"], config["network"]["traits"]) == ("people", 4)
        (folder / "config.json").write_text(json.dumps(as_schema_1(config)))
        assert (
            asked(Model.load(folder, encoder=encoder, min_people=1), RIGHT) == asked(model, RIGHT)
        ).all()
    written = b"".join(path.read_bytes() for path in (tmp_path / "plain").iterdir())
    assert not [name for name in PEOPLE if f'"{name}"'.encode() in written]
    with pytest.raises(InputError, match=r"only with save\(folder, people=True\)"):
        asked(plain, Person("cem"))
    # Who is not known is predicted as somebody of their groups.
    p, _ = plain.predict_annotations(data())
    np.testing.assert_allclose(p[0], asked(model, LEFT)[0, 0], atol=1e-6)


def fitted(encoder: Encoder, method: Literal["mc-stl", "mc-stl-people"]) -> Model:
    town = simulate(annotations=300).annotations
    groups = {"by": "attributes", "attributes": ["gender"], "min_size": 20}
    training = {"epochs": 2, "hidden": 16}
    model: Model = mcstl.fit(town, method=method, groups=groups, training=training, encoder=encoder)
    return model


def test_only_a_model_of_people_knows_them_and_how_sure_it_is(encoder: Encoder) -> None:
    model = fitted(encoder, "mc-stl")
    with pytest.raises(InputError, match="only a model of the method mc-stl-people"):
        model.predict_interval(TEXTS, [["gender=Woman"]])
    with pytest.raises(InputError, match="knows no single person"):
        model.predict_proba(TEXTS, [Person("person-001")])


def test_a_fitted_model_knows_its_people(encoder: Encoder) -> None:
    model = fitted(encoder, "mc-stl-people")
    someone = model.people[0]
    assert someone.startswith("person-")
    p = model.predict_proba(TEXTS, [Person(someone), ["gender=Woman"]])
    assert np.abs(p[:, 0] - p[:, 1]).max() > 1e-4
    low, high = model.predict_interval(TEXTS, [["gender=Woman"]])
    assert (low < high).all()
