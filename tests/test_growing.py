"""Weights, a group added later, and what leaves with a model."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from scipy.sparse import csr_matrix

import mcstl
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.groups import AttributesConfig, fit_scheme
from mcstl.models import training
from mcstl.models.distributed import Processes
from mcstl.models.examples import Cells
from mcstl.models.growing import add_group
from mcstl.models.model import Model
from mcstl.models.networks import Network
from mcstl.models.training import TrainingConfig
from mcstl.studies.run import examples
from test_model import PERSPECTIVES, TASKS, TEXTS, annotations, made


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    return load_encoder(cache_dir=cache)


# Weights. -----------------------------------------------------------------------------------------


def weighted(weights: list[Any]) -> pd.DataFrame:
    texts = [TEXTS[i % 5] for i in range(len(weights))]
    labels = [i % 2 for i in range(len(weights))]
    values = [["Order"] if i % 3 else ["Wonder"] for i in range(len(weights))]
    return pd.DataFrame({"text": texts, "label": labels, "values": values, "weight": weights})


def test_a_weight_of_two_is_the_row_twice(encoder: Encoder) -> None:
    """Examples, gradient (KL term and all) and validation NLL are those of repeated rows."""
    table = weighted([1, 2, 1, 3, 2, 1])
    data = Annotations.from_frame(table)
    assert data.attributes == ()
    twice = data.take(np.repeat(np.arange(6), table["weight"]))
    twice.frame["weight"] = 1.0
    scheme = fit_scheme(mcstl.groups.TaxonomyConfig(min_size=1), data)
    rows, repeated = (examples(each, scheme.assign(each), encoder) for each in (data, twice))
    assert rows.w.tolist() == [1, 2, 1, 3, 2, 1]
    torch.manual_seed(0)
    network = Network(384, 2, 1).eval()
    config = TrainingConfig()
    found = []
    for each in (rows, repeated):
        network.zero_grad()
        cells = Cells.of(each, 2, torch.device("cpu"))
        add_gradient = training._gradient(cells, network, config, 2, 2.0, Processes())
        add_gradient(torch.arange(len(cells)))
        gradients = [p.grad.clone() for p in network.parameters() if p.grad is not None]
        found.append((gradients, training.validation_nll(network, each)))
    for a, b in zip(found[0][0], found[1][0], strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-6)
    assert found[0][1] == pytest.approx(found[1][1], rel=1e-6)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "much", None])
def test_weights_that_are_none(bad: Any) -> None:
    table = weighted([1, 1, 1]).astype({"weight": object})
    table.loc[1, "weight"] = bad
    with pytest.raises(InputError, match=r"1 rows of a table have a weight .* in row 1"):
        Annotations.from_frame(table)


def test_weights_move_a_model_and_not_its_measures(encoder: Encoder) -> None:
    """Rows that say yes count ten times, so it says yes more; measures count every row once."""
    table = weighted([1.0] * 200)
    plain = Annotations.from_frame(table)
    table.loc[table["label"] == 1, "weight"] = 10.0
    heavy = Annotations.from_frame(table)
    options: dict[str, Any] = {"groups": {"by": "taxonomy", "min_size": 1}, "encoder": encoder}
    models = [mcstl.fit(data, training={"epochs": 10}, **options) for data in (plain, heavy)]
    p = [model.predict_proba(TEXTS)[:, 0, 1].mean() for model in models]
    assert p[1] > p[0] + 0.2
    assert mcstl.evaluate(models[1], plain) == mcstl.evaluate(models[1], heavy)


# Datasets. ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_a_dataset_comes_back_as_it_went(task: Task) -> None:
    table = mcstl.datasets.load("simulated", annotations=60, task=task)
    dataset = table.to_dataset()
    assert isinstance(dataset, Dataset)
    labels = {name: [name] for name in table.classes}
    again = Annotations.from_dataset(dataset, task=task, labels=labels)
    assert (again.task, again.classes) == (table.task, table.classes)
    assert again.attributes == table.attributes
    pd.testing.assert_frame_equal(
        again.frame.drop(columns="row"), table.frame.drop(columns="row"), check_like=True
    )


# A group added. -----------------------------------------------------------------------------------


def of_new_group(task: Task, n: int = 80) -> Annotations:
    """People who put every text in the last class, or prefer the longer one."""
    data = annotations(task)
    frame = pd.DataFrame({"label": [len(data.classes) - 1] * n})
    if task == "preference":
        pairs = [(a, b) for a in TEXTS for b in TEXTS if a != b]
        sides = [pairs[i % len(pairs)] for i in range(n)]
        frame["text_a"], frame["text_b"] = zip(*sides, strict=True)
        frame["label"] = [int(len(a) > len(b)) for a, b in sides]
    else:
        frame["text"] = [TEXTS[i % 5] for i in range(n)]
    labels = {name: [i] for i, name in enumerate(data.classes)}
    frame["annotator"] = [f"p{i % 9}" for i in range(n)]
    return Annotations.from_frame(frame, task=task, labels=labels)


@pytest.mark.parametrize("task", TASKS)
def test_a_new_group_moves_no_other_prediction(
    task: Task, encoder: Encoder, tmp_path: Path
) -> None:
    model = made(task, encoder)
    texts: Any = list(zip(TEXTS, TEXTS[1:] + TEXTS[:1], strict=True))
    texts = texts if task == "preference" else TEXTS
    new = of_new_group(task)
    before = {name: t.clone() for name, t in model.network.state_dict().items()}
    grown = add_group(model, "Haste", new)
    assert grown.group_names == (*model.group_names, "Haste")
    for views in (None, PERSPECTIVES, [["Order"]]):
        np.testing.assert_array_equal(
            grown.predict_proba(texts, views), model.predict_proba(texts, views)
        )
    data = annotations(task)
    np.testing.assert_array_equal(
        grown.predict_annotations(data)[0], model.predict_annotations(data)[0]
    )
    assert all(torch.equal(t, before[name]) for name, t in model.network.state_dict().items())
    given = new.frame[list(new.text_columns)].to_numpy().tolist()
    asked: Any = [tuple(row) for row in given] if task == "preference" else [r[0] for r in given]
    own = grown.predict_proba(asked, [["Haste"], []])[np.arange(len(new)), :, new.labels]
    assert np.log(own[:, 0]).mean() > np.log(own[:, 1]).mean() + 0.1  # it has learnt them
    assert grown.scheme is not None
    group = grown.scheme.groups[-1]
    assert (group.name, group.size, group.annotators) == ("Haste", 80, 9)
    grown.save(tmp_path / "model")
    again = Model.load(tmp_path / "model", encoder=encoder)
    views = [["Haste"], ["Haste", "Order"]]
    np.testing.assert_array_equal(
        again.predict_proba(texts, views), grown.predict_proba(texts, views)
    )
    more = add_group(again, "Leisure", new)
    assert more.group_names[-2:] == ("Haste", "Leisure")
    np.testing.assert_array_equal(
        more.predict_proba(texts, [["Haste"]]), grown.predict_proba(texts, [["Haste"]])
    )


def test_who_is_in_an_added_group(encoder: Encoder) -> None:
    model = add_group(made("binary", encoder), "gender=Woman", of_new_group("binary"))
    frame = pd.DataFrame(
        {
            "text": TEXTS[:3],
            "label": [0, 1, 0],
            "values": [["Order"], ["Order", "gender=Woman"], []],
            "gender": ["Man", None, "Woman"],
        }
    )
    assert model.scheme is not None
    S = model.scheme.assign(Annotations.from_frame(frame)).toarray()
    assert S[:, -1].tolist() == [0, 1, 1]
    assert S[:, 1].tolist() == [1, 1, 0]


def test_a_model_without_groups_gets_its_first(encoder: Encoder) -> None:
    everybody = (csr_matrix((1, 0), dtype=np.float32), np.array([7.0]))
    network = Network(384, 0, 1, hidden=16).eval()
    model = Model(network, "binary", ("0", "1"), None, encoder, everybody)
    grown = add_group(model, "Haste", of_new_group("binary"))
    assert grown.group_names == ("Haste",)
    np.testing.assert_array_equal(grown.predict_proba(TEXTS), model.predict_proba(TEXTS))


def test_a_group_that_cannot_be_added(encoder: Encoder) -> None:
    model, new = made("binary", encoder), of_new_group("binary")
    with pytest.raises(InputError, match="has a group 'Order' already"):
        add_group(model, "Order", new)
    with pytest.raises(InputError, match="needs a name"):
        add_group(model, " ", new)
    with pytest.raises(InputError, match="the model is binary"):
        add_group(model, "Haste", of_new_group("ordinal"))
    with pytest.raises(InputError, match="19 annotations of 'Haste', and 20 are needed"):
        add_group(model, "Haste", new.take(np.arange(19)))


# Privacy. -----------------------------------------------------------------------------------------


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
        methods=["mc-stl", "mc-stl-people"],
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


def test_a_group_of_few_people_is_not_pushed_unless_asked_for(encoder: Encoder) -> None:
    table = pd.DataFrame(
        {
            "text": TEXTS * 4,
            "label": [0, 1] * 10,
            "annotator": [f"p{i % 10}" for i in range(20)],
            "gender": ["Rare" if i % 10 < 3 else "Often" for i in range(20)],
        }
    )
    data = Annotations.from_frame(table)
    scheme = fit_scheme(AttributesConfig(min_size=1), data)
    model = replace(made("binary", encoder), scheme=scheme, network=Network(384, 2, 1).eval())
    assert model.groups_of_few == ("gender=Rare",)
    with pytest.raises(InputError, match=r"fewer than five people.*gender=Rare.*min_annotators: 5"):
        model.push_to_hub("somebody/town")
