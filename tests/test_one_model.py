"""One model: fitted on a table, measured on another."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mcstl
from mcstl import methods, reporting
from mcstl._support.errors import InputError, Notice
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.data.splits import split
from mcstl.datasets import simulated
from mcstl.models.model import Model
from mcstl.serving.prediction import predict_file
from mcstl.studies import results
from mcstl.studies.build_model import method_of_model
from mcstl.studies.new_table import evaluate_into
from mcstl.studies.one_model import absent_classes, load_for
from mcstl.studies.study_file import Study
from tiny import COLUMNS, Finished, town, weighted_table

FEW = {"epochs": 3, "hidden": 16}


@pytest.fixture(scope="module")
def reviews() -> pd.DataFrame:
    """What a user has at hand: no items, no values, no reasons."""
    table = simulated.table("binary", 400)
    return table[["text", "label", "annotator", "gender", "age"]]


# In Python


def test_a_table_becomes_a_model_in_five_lines(cache: Path, reviews: pd.DataFrame) -> None:
    labels = {"oppose": ["oppose"], "support": ["support"]}
    data = mcstl.Annotations.from_frame(reviews, labels=labels)
    model = mcstl.fit(data, training={"epochs": 3})
    found = mcstl.evaluate(model, data)
    p = model.predict_proba(["A new bench"], [["gender=Woman"], ["gender=Man"]])
    assert {"gender=Woman", "gender=Man"} <= set(model.group_names)
    assert [group["group"] for group in found["groups"]] == list(model.group_names)
    assert found["metrics"]["auc"] > 0.5
    assert p.shape == (1, 2, 2)
    np.testing.assert_allclose(p.sum(axis=-1), 1)
    assert p[0, 0, 0] != p[0, 1, 0]


def test_fit_depends_on_its_seed_alone(cache: Path, reviews: pd.DataFrame) -> None:
    data = mcstl.Annotations.from_frame(reviews, labels={"o": ["oppose"], "s": ["support"]})
    first, again, other = (mcstl.fit(data, training=FEW, seed=seed) for seed in (3, 3, 4))
    texts = data.frame["text"].unique().tolist()
    same = first.predict_proba(texts)
    np.testing.assert_array_equal(again.predict_proba(texts), same)
    assert not np.array_equal(other.predict_proba(texts), same)
    assert (first.facts["seed"], other.facts["seed"]) == (3, 4)


def test_fit_trains_on_all_but_the_validation_share(cache: Path, reviews: pd.DataFrame) -> None:
    data = mcstl.Annotations.from_frame(reviews, labels={"o": ["oppose"], "s": ["support"]})
    groups = {"by": "attributes", "attributes": ["gender"], "min_size": 20}
    model = mcstl.fit(data, groups=groups, training=FEW, validation=0.25, seed=1)
    train = split(data, "annotation", test=0, validation=0.25, seed=1).train
    assert model.population[1].sum() == len(train) == 300
    women = int((data.frame["gender"].iloc[train] == "Woman").sum())
    assert model.scheme is not None
    assert {g.name: g.size for g in model.scheme.groups}["gender=Woman"] == women


@pytest.mark.parametrize("method", [n for n in methods.names() if methods.find(n).saves_model])
def test_views_of_a_partition_average_to_the_population(
    cache: Path, reviews: pd.DataFrame, method: Any
) -> None:
    """The law of total probability, for every method that leaves a model and saved as well."""
    data = mcstl.Annotations.from_frame(reviews, labels={"o": ["oppose"], "s": ["support"]})
    groups = {"by": "attributes", "attributes": ["gender", "age"], "min_size": 1}
    model = mcstl.fit(data, method=method, groups=groups, training=FEW)
    S, counts = model.population
    sizes = counts @ S
    texts = reviews["text"].unique().tolist()[:5]
    views = model.views(texts)
    for attribute in ("gender=", "age="):
        members = [k for k, name in enumerate(model.group_names) if name.startswith(attribute)]
        if members:  # a group of its own for everybody, as nobody lacks an attribute here
            mean = np.einsum("k,nkl->nl", sizes[members] / counts.sum(), views.p[:, members])
            np.testing.assert_allclose(mean, views.population, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"groups": {"by": "attributs"}}, "Did you mean 'attributes'?"),
        ({"groups": {"by": "attributes", "min_size": 1000}}, "no group is left"),
        ({"training": {"epoch": 3}}, "training: unknown key 'epoch'"),
        ({"seed": -1}, "seed: give a whole number from 0 to 4294967295; got -1"),
        ({"validation": 0}, "0 to validate on"),
        ({"validation": 1}, "validation is a share from 0 to below 1"),
        ({"encoder": "./no-such"}, "encoder './no-such' is no folder"),
    ],
)
def test_fit_says_what_it_cannot_use(
    options: dict[str, Any], expected: str, cache: Path, reviews: pd.DataFrame
) -> None:
    data = mcstl.Annotations.from_frame(reviews, labels={"o": ["oppose"], "s": ["support"]})
    with pytest.raises(InputError) as caught:
        mcstl.fit(data, **options)
    assert expected in str(caught.value)


def test_fit_loads_neither_review_nor_cards_nor_language_models(cache: Path) -> None:
    code = """
import sys
import mcstl
from mcstl.datasets import simulated

table = simulated.table("binary", 200)[["text", "label", "annotator", "gender"]]
data = mcstl.Annotations.from_frame(table, labels={"o": ["oppose"], "s": ["support"]})
mcstl.fit(data, training={"epochs": 1, "hidden": 4})
print(*sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300
    )
    needless = (
        *("mcstl.groups.review", "mcstl.labelling.llm", "mcstl.labelling.by_llm", "openai"),
        *("mcstl.models.card", "mcstl.studies.model_card", "mcstl.studies.run"),
    )
    assert not [name for name in done.stdout.split() if name.startswith(needless)]


# The model that a study leaves, on annotations


@pytest.mark.parametrize("task", ["ordinal", "binary", "preference"])
def test_a_studys_model_measures_its_test_rows_as_the_study_did(
    task: Task, finished: Callable[[Task], Finished]
) -> None:
    one = finished(task)
    run = one.results.results["runs"][0]
    rows = one.results.predictions.query("method == 'mc-stl' and seed == @run['seed']")
    test = np.flatnonzero(one.data.frame["row"].isin(rows["row"]))
    found = mcstl.evaluate(Model.load(one.folder / "model"), one.data.take(test))
    for name in ("nll", "brier", "auc", "accuracy", "slope_mean", "bias_mean"):
        expected = run["metrics"].get(name)
        assert found["metrics"].get(name) == (expected and pytest.approx(expected, abs=1e-5))
    assert [group["n"] for group in found["groups"]] == [group["n"] for group in run["groups"]]


def test_a_new_file_is_read_as_the_study_read_its_own(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    model = Model.load(finished("binary").folder / "model")
    town().tail(100).to_csv(tmp_path / "new.csv", index=False)
    data = load_for(model, tmp_path / "new.csv")
    assert data.classes == ("against", "in favour")
    assert len(data) == 96
    assert sum(data.dropped.values()) == 4
    found = mcstl.evaluate(model, data)
    assert found["metrics"]["nll"] > 0
    assert max(group["n"] for group in found["groups"]) > 20


def test_raw_labels_are_the_names_of_the_classes_where_a_study_had_none(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    model = Model.load(finished("ordinal").folder / "model")
    table = simulated.table("ordinal", 400).assign(values=lambda t: t["values"].map("|".join))
    table[table["label"] != "unsure"].to_csv(tmp_path / "new.csv", index=False)
    data = load_for(model, tmp_path / "new.csv")
    assert data.classes == ("oppose", "unsure", "support")  # though nobody was unsure
    assert set(data.labels) == {0, 2}
    assert mcstl.evaluate(model, data)["metrics"]["auc"] > 0


def test_a_registered_data_set_is_loaded_by_its_name(
    finished: Callable[[Task], Finished],
) -> None:
    data = load_for(Model.load(finished("preference").folder / "model"), "simulated")
    assert (data.task, data.source) == ("preference", "simulated")


def test_data_of_another_form_is_refused(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    ordinal, preference = (
        Model.load(finished(task).folder / "model") for task in ("ordinal", "preference")
    )
    with pytest.raises(InputError, match=r"the model is preference .*; simulated is ordinal with"):
        mcstl.evaluate(preference, finished("ordinal").data)
    other = Annotations.from_frame(
        simulated.table("ordinal", 100), labels={"no": ["oppose"], "?": ["unsure"], "yes": ["x"]}
    )
    with pytest.raises(InputError, match="with the classes oppose, unsure, support; a table is"):
        mcstl.evaluate(ordinal, other)
    town().to_csv(tmp_path / "town.csv", index=False)
    with pytest.raises(InputError, match=r"column 'text' is not in town\.csv"):
        load_for(ordinal, tmp_path / "town.csv")
    binary = Model.load(finished("binary").folder / "model")
    town().drop(columns=COLUMNS["annotator"]).to_csv(tmp_path / "town.csv", index=False)
    with pytest.raises(InputError, match=r"column 'rater_id' is not in town\.csv"):
        load_for(binary, tmp_path / "town.csv")


def test_data_that_is_not_there_is_told(finished: Callable[[Task], Finished]) -> None:
    model = Model.load(finished("ordinal").folder / "model")
    with pytest.raises(InputError, match=r"neither a file nor .* Did you mean 'simulated'\?"):
        load_for(model, "simulatd")
    with pytest.raises(InputError, match=r"there is no file .*no-such\.csv"):
        load_for(model, "no-such.csv")


def test_weights_move_a_model_and_not_its_measures(cache: Path) -> None:
    """Rows that say yes count ten times, so it says yes more; measures count every row once."""
    table = weighted_table([1.0] * 200)
    plain = Annotations.from_frame(table)
    table.loc[table["label"] == 1, "weight"] = 10.0
    heavy = Annotations.from_frame(table)
    groups = {"by": "taxonomy", "min_size": 1}
    models = [mcstl.fit(data, groups=groups, training={"epochs": 10}) for data in (plain, heavy)]
    p = [model.predict_proba(list(table["text"][:5]))[:, 0, 1].mean() for model in models]
    assert p[1] > p[0] + 0.2
    assert mcstl.evaluate(models[1], plain) == mcstl.evaluate(models[1], heavy)


# A new table that has its own columns, labels and answers


def test_a_new_tables_own_columns_and_labels(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    model = Model.load(finished("binary").folder / "model")
    table = town().tail(60)
    table.to_csv(tmp_path / "new.csv", index=False)
    same = load_for(model, tmp_path / "new.csv")
    names = {"comment": "remark", "verdict": "vote"}
    votes = {"oppose": "0", "strongly oppose": "0.0", "support": 1, "not understood": "?"}
    other = table.assign(verdict=table["verdict"].map(votes)).rename(columns=names)
    other.to_csv(tmp_path / "other.csv", index=False)
    data = load_for(
        model,
        tmp_path / "other.csv",
        columns={"text": "remark", "label": "vote"},
        labels={"in favour": [1], "against": [0]},
    )
    assert data.classes == model.classes
    pd.testing.assert_frame_equal(data.frame, same.frame)
    assert mcstl.evaluate(model, data) == mcstl.evaluate(model, same)
    with pytest.raises(InputError, match="the model's classes are against, in favour; got no, yes"):
        load_for(model, tmp_path / "other.csv", labels={"no": [0], "yes": [1]})
    # A table under our own names needs no mapping.
    ours = table.rename(columns={theirs: name for name, theirs in COLUMNS.items()})
    ours.to_csv(tmp_path / "ours.csv", index=False)
    pd.testing.assert_frame_equal(load_for(model, tmp_path / "ours.csv").frame, same.frame)


def test_pairs_come_as_chosen_and_rejected_too(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    model = Model.load(finished("preference").folder / "model")
    table = simulated.table("preference", 100).assign(values=lambda t: t["values"].map("|".join))
    won = (table["label"] == "a").to_numpy()
    a, b = table["text_a"], table["text_b"]
    rest = table.drop(columns=["text_a", "text_b", "label", "item"])
    rest.assign(chosen=a.where(won, b), rejected=b.where(won, a)).to_json(
        tmp_path / "new.jsonl", orient="records", lines=True
    )
    data = load_for(model, tmp_path / "new.jsonl")
    assert data.classes == model.classes
    assert mcstl.evaluate(model, data)["metrics"]["accuracy"] > 0


def test_where_a_table_and_the_model_do_not_meet_is_said(
    finished: Callable[[Task], Finished],
) -> None:
    one = finished("binary")
    model = Model.load(one.folder / "model")
    strangers = town().assign(gender="?", age="?", appeals_to="Nothing")
    data = Annotations.from_frame(strangers, columns=COLUMNS, labels=one.study.labels)
    with pytest.warns(Notice, match="none of the 384 annotations .* group"):
        found = mcstl.evaluate(model, data)
    assert {group["n"] for group in found["groups"]} == {0}
    against = one.data.take(one.data.labels == 0)
    assert absent_classes(against) == ["in favour"]
    found = mcstl.evaluate(model, against)
    for name in ("auc", "slope_mean", "bias_mean", "group_auc_mean"):
        assert found["metrics"][name] is None
    assert found["metrics"]["nll"] > 0


def test_an_evaluation_is_written_as_a_study_is(
    finished: Callable[[Task], Finished], tmp_path: Path
) -> None:
    one = finished("binary")
    model = Model.load(one.folder)  # the outputs of the study, which hold the model
    found = evaluate_into(model, one.data, tmp_path / "judged")
    plain = mcstl.evaluate(model, one.data)
    (run,) = found.results["runs"]
    assert {key: run[key] for key in plain} == plain
    assert found.results["summary"]["mc-stl"]["nll"]["interval"] == "items and annotators"
    low, high = (found.results["summary"]["mc-stl"]["nll"][end] for end in ("low", "high"))
    assert low < plain["metrics"]["nll"] < high
    page = reporting.render(tmp_path / "judged").read_text(encoding="utf-8")
    assert "mc-stl, which learned from" in page
    assert "was judged on 384 annotations" in page
    assert (tmp_path / "judged" / "figures" / "calibration.svg").exists()
    assert len(results.read(tmp_path / "judged").predictions) == 384


# The model that a study saves


@pytest.mark.parametrize(
    ("methods", "model", "saved"),
    [
        (["none", "mc-stl"], None, "none"),
        (["gbm", "mc-stl"], None, "mc-stl"),
        (["mc-stl", "best"], None, "best"),
        (["mc-stl", "best"], "mc-stl", "mc-stl"),
        (["mc-stl", {"name": "mc-stl", "label": "plain"}], "plain", "plain"),
        (["gbm"], None, None),
    ],
)
def test_a_study_saves_the_model_that_is_wanted(
    methods: list[Any], model: str | None, saved: str | None
) -> None:
    study = Study(data={"dataset": "simulated"}, methods=methods, model=model)
    method = method_of_model(study)
    assert (method.title if method else None) == saved


def test_a_model_that_no_method_leaves_is_refused() -> None:
    with pytest.raises(InputError, match="Did you mean 'mc-stl'"):
        Study(data={"dataset": "simulated"}, model="mcstl")
    study = Study(data={"dataset": "simulated"}, methods=["mc-stl", "gbm"], model="gbm")
    with pytest.raises(InputError, match="gbm leaves no model; of the study's methods these do"):
        mcstl.run(study)


LAYOUTS: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], Any]] = {
    "wide": (
        lambda t: t.pivot_table(index="text", columns="annotator", values="label").reset_index(),
        {"wide": ["a0", "a1", "a2"]},
    ),
    "lists": (
        lambda t: t.groupby("text")[["label", "annotator"]].agg(list).reset_index(),
        "lists",
    ),
    "counts": (
        lambda t: pd.crosstab(t["text"], t["label"]).reset_index(),
        {"counts": ["0", "1"]},
    ),
    "one-hot": (
        lambda t: t.assign(**{"0": 1 - t["label"], "1": t["label"]}).drop(columns="label"),
        {"one-hot": ["0", "1"]},
    ),
}


@pytest.mark.parametrize("shape", LAYOUTS)
def test_a_table_with_a_row_per_annotation_is_read_whatever_the_model_was_trained_on(
    shape: str, cache: Path, tmp_path: Path
) -> None:
    long = pd.DataFrame({"text": [f"text {i // 3}" for i in range(60)]})
    long["annotator"], long["label"] = [f"a{i % 3}" for i in range(60)], [i % 2 for i in range(60)]
    long.to_csv(tmp_path / "long.csv", index=False)
    laid_out, layout = LAYOUTS[shape]
    laid_out(long).rename(columns=str).to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    study = mcstl.Study(
        data={"file": str(tmp_path / "t.jsonl"), "layout": layout},
        groups="none",
        methods=["none"],
        seeds=1,
        training={"epochs": 1, "learning_rate": 0.01, "dropout": 0, "batch_size": 64},
    )
    model = mcstl.run(study).model
    assert isinstance(model, Model)
    for file in ("t.jsonl", "long.csv"):
        data = load_for(model, tmp_path / file)
        assert (len(data), data.labels.sum()) == (60, 30)
        assert mcstl.evaluate(model, data)["metrics"]["nll"] > 0
        out = tmp_path / f"p-{file}"
        predict_file(model, tmp_path / file, out)
        lines = file.endswith("jsonl")
        answered = pd.DataFrame(pd.read_json(out, lines=True) if lines else pd.read_csv(out))
        answered = answered.drop_duplicates("text")  # a row per row of the file
        p = model.predict_proba(list(answered["text"]))[:, 0, 1]
        np.testing.assert_allclose(answered[f"p({model.classes[1]})"], p, atol=1e-6)


def test_groups_of_a_fit_are_written_as_in_a_study(cache: Path) -> None:
    table = pd.DataFrame({"text": ["Rain.", "Sun."] * 20, "label": [0, 1] * 20})
    assert mcstl.fit(table, method="none", groups="none", training=FEW).group_names == ()
    wrong: Any
    for wrong, message in (("some", "groups need `none`"), ({"by": "taste"}, "are not known")):
        with pytest.raises(InputError, match=message):
            mcstl.fit(table, method="none", groups=wrong)


def test_a_fit_stops_by_another_table(cache: Path, reviews: pd.DataFrame) -> None:
    labels = {"oppose": ["oppose"], "support": ["support"]}
    train, validation = (
        Annotations.from_frame(table.reset_index(drop=True), labels=labels)
        for table in (reviews.iloc[:300], reviews.iloc[300:])
    )
    by_table = mcstl.fit(train, validation=validation, training=FEW)
    by_share = mcstl.fit(train, validation=0.1, training=FEW)
    # All of the first table is trained on, where a share of it is taken away else.
    assert by_table.population[1].sum() == 300
    assert by_share.population[1].sum() == pytest.approx(270, abs=2)
    with pytest.raises(InputError, match="they need the same task and classes"):
        mcstl.fit(train, validation=Annotations.from_frame(weighted_table([1, 2])))
