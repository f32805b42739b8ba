"""Several labels at once: however they are written, and from a study to a server."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import mcstl
from mcstl import reporting
from mcstl._support.errors import InputError
from mcstl._support.files import read_yaml, write_yaml
from mcstl.cli import app
from mcstl.data.annotations import Annotations
from mcstl.data.splits import SplitBy, split
from mcstl.evaluation import metrics
from mcstl.models.questions import QuestionsModel
from mcstl.studies.first_study import guess_study
from mcstl.studies.one_model import load_for
from mcstl.studies.output import read_output
from mcstl.studies.results import Results
from mcstl.studies.study_file import Study

WORDS = {"joy": "party", "anger": "queue", "fear": "storm"}
COLUMNS = {"text": "text", "annotator": "rater_id"}


def feelings(n_texts: int = 30) -> pd.DataFrame:
    """Texts that five of ten raters say are any of three feelings."""
    random = np.random.default_rng(0)
    rows = []
    for i in range(n_texts):
        shown = [name for name in WORDS if random.random() < 0.4]
        text = f"Day {i}, and there was a {' and a '.join(WORDS[n] for n in shown) or 'day'} again"
        for rater in random.choice(10, 5, replace=False):
            gender = "woman" if rater % 2 else "man"
            noise = 0.3 if gender == "woman" else 0.1
            marks = {n: int((n in shown) != (random.random() < noise)) for n in WORDS}
            rows.append({"text": text, "rater_id": f"r{rater}", "gender": gender, **marks})
    return pd.DataFrame(rows)


def in_cells(table: pd.DataFrame, form: str) -> pd.DataFrame:
    """The 0/1 columns as one column of lists."""
    answers = [[n for n in WORDS if row[n]] for row in table.to_dict("records")]
    cells: list[Any] = answers
    if form == "json":
        cells = [json.dumps(each) for each in answers]
    if form == "objects":
        cells = [{n: n in each for n in WORDS} for each in answers]
    return table.drop(columns=[*WORDS]).assign(label=pd.Series(cells, dtype=object))


STUDY: dict[str, Any] = {
    "name": "feelings",
    "data": {"file": "feelings.csv", "columns": COLUMNS, "layout": {"one-hot": [*WORDS]}},
    "task": "multilabel",
    "groups": {"by": "attributes", "min_size": 20},
    "methods": ["mc-stl", "none"],
    "split": {"by": "item"},
    "training": {"epochs": 2, "learning_rate": 0.01, "dropout": 0, "batch_size": 64},
    "seeds": 1,
}


@pytest.fixture(scope="module")
def folder(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table, the study and, in ``out``, what it wrote."""
    folder = tmp_path_factory.mktemp("feelings")
    feelings().to_csv(folder / "feelings.csv", index=False)
    write_yaml(folder / "feelings.yaml", STUDY)
    mcstl.run(Study.read(folder / "feelings.yaml"), out=folder / "out")
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> Results:
    return mcstl.run(Study.read(folder / "feelings.yaml"), out=folder / "out")


@pytest.mark.parametrize("form", ["lists", "json", "objects"])
@given(st.lists(st.sets(st.sampled_from([*WORDS])), min_size=2, max_size=8))
@settings(max_examples=20)
def test_answers_are_the_same_however_they_are_written(form: str, answers: list[set[str]]) -> None:
    if not any(answers):  # nothing that could be a question
        return
    table = pd.DataFrame({"text": [f"text {i}" for i in range(len(answers))]})
    for name in WORDS:
        table[name] = [int(name in each) for each in answers]
    labels = {name: [name] for name in WORDS}
    in_columns = Annotations.from_frame(
        table, layout={"one-hot": [*WORDS]}, task="multilabel", labels=labels
    )
    read = Annotations.from_frame(in_cells(table, form), task="multilabel", labels=labels)
    assert read.classes == in_columns.classes == tuple(WORDS)
    assert read.frame["label"].tolist() == in_columns.frame["label"].tolist()
    for name in WORDS:
        assert read.question(name).labels.tolist() == table[name].tolist()


def test_answers_as_text() -> None:
    cells = ["joy | anger", "Joy", None, "fear", "none of these"]
    table = pd.DataFrame({"text": list("abcde"), "label": cells})
    data = Annotations.from_frame(
        table, task="multilabel", labels={"good": ["joy"], "bad": ["anger", "fear"]}
    )
    assert data.frame["label"].tolist() == [(0, 1), (0,), (1,), ()]
    assert data.dropped == {"label missing or outside `labels`": 1}
    assert data.question("bad").classes == ("not bad", "bad")
    assert data.question("bad").labels.tolist() == [1, 0, 1, 0]


def test_what_cannot_be_questions_is_refused() -> None:
    table = pd.DataFrame({"text": ["a", "b"], "label": ["joy", "joy"]})
    with pytest.raises(InputError, match=r"needs two or more questions.*have 1: joy"):
        Annotations.from_frame(table, task="multilabel")
    with pytest.raises(InputError, match=r"no label in a table is among.*found: joy;.*has: x, y"):
        Annotations.from_frame(table, task="multilabel", labels={"x": ["x"], "y": ["y"]})
    data = Annotations.from_frame(feelings(), layout={"one-hot": [*WORDS]}, task="multilabel")
    with pytest.raises(InputError, match="Did you mean 'anger'"):
        data.question("angr")
    with pytest.raises(InputError, match=r"take one of them, as in question\('joy'\)"):
        mcstl.fit(data, groups={"by": "none"})


@pytest.mark.parametrize("by", ["annotation", "item", "annotator"])
def test_all_questions_have_one_split(by: SplitBy) -> None:
    data = Annotations.from_frame(
        feelings(), columns=COLUMNS, layout={"one-hot": [*WORDS]}, task="multilabel"
    )
    whole = split(data, by, validation=0.2)
    for name in WORDS:
        for rows, rows_of_all in zip(
            split(data.question(name), by, validation=0.2), whole, strict=True
        ):
            assert rows.tolist() == rows_of_all.tolist()


def test_predictions_tell_the_question_and_all_figures(folder: Path, results: Results) -> None:
    predictions = pd.read_parquet(folder / "out" / "predictions.parquet")
    assert set(predictions["question"]) == {*WORDS}
    assert {group for groups in predictions["groups"] for group in groups} == {
        "gender=man",
        "gender=woman",
    }
    run = results.results["runs"][0]
    part = predictions[(predictions["method"] == run["method"]) & (predictions["seed"] == 0)]
    rows_of = [rows["row"].tolist() for _, rows in part.groupby("question")]
    assert rows_of[0] == rows_of[1] == rows_of[2]
    aucs = {
        name: metrics.macro_auc(rows[["p_0", "p_1"]], rows["label"])
        for name, rows in part.groupby("question")
    }
    measured = {group["group"]: group["auc"] for group in run["groups"]}
    assert measured == pytest.approx(aucs)
    assert run["metrics"]["group_auc_mean"] == pytest.approx(np.mean([*aucs.values()]))
    data = results.results["data"]
    assert (data["task"], data["questions"]) == ("multilabel", [*WORDS])


def test_a_question_alone_is_learnt_as_with_the_others(folder: Path, results: Results) -> None:
    alone = Study(
        **{
            **STUDY,
            "question": "anger",
            "data": {**STUDY["data"], "file": str(folder / "feelings.csv")},
        }
    )
    found = mcstl.run(alone)
    together = results.predictions[results.predictions["question"] == "anger"]
    np.testing.assert_allclose(found.predictions["p_1"], together["p_1"])
    resolved = read_yaml(folder / "out" / "questions" / "anger" / "study.yaml")
    assert (resolved["task"], resolved["question"]) == ("multilabel", "anger")


def test_reports_are_of_each_question_and_of_all(folder: Path, results: Results) -> None:
    page = reporting.render(folder / "out").read_text(encoding="utf-8")
    for name in WORDS:
        assert f'href="questions/{name}/report.html"' in page
        of_question = folder / "out" / "questions" / name / "report.html"
        assert "gender=woman" in of_question.read_text(encoding="utf-8")
    assert read_output(folder / "out").problems == []


def test_the_model_answers_all_questions(folder: Path, results: Results, tmp_path: Path) -> None:
    model = QuestionsModel.load(folder / "out")
    assert model.questions == tuple(WORDS)
    texts, who = ["A party", "A storm"], [["gender=man"], ["gender=woman"], []]
    p = model.predict_proba(texts, who)
    assert p.shape == (2, 3, 3)
    for k, name in enumerate(WORDS):
        np.testing.assert_allclose(p[..., k], model[name].predict_proba(texts, who)[..., 1])
    model.save(tmp_path / "again")
    model.save(tmp_path / "again")  # takes the place of the first
    np.testing.assert_allclose(QuestionsModel.load(tmp_path / "again").predict_proba(texts, who), p)
    with pytest.raises(InputError, match="Did you mean 'fear'"):
        model["feer"]
    with pytest.raises(InputError, match="a model for each of several questions"):
        mcstl.Model.load(folder / "out" / "model")
    with pytest.raises(InputError, match="holds no model of several questions"):
        model.save(folder)


def test_commands_know_several_questions(folder: Path, results: Results, tmp_path: Path) -> None:
    def typed(*words: object) -> str:
        done = CliRunner().invoke(app, [*map(str, words)])
        assert done.exit_code == 0, done.output
        return done.output

    told = typed("check", folder / "feelings.yaml")
    assert "multilabel, 3 questions; yes to joy" in told
    pd.DataFrame({"text": ["A party", None, "=1+1"]}).to_csv(tmp_path / "new.csv", index=False)
    typed("predict", folder / "out", tmp_path / "new.csv", "--out", tmp_path / "p.csv")
    table = pd.read_csv(tmp_path / "p.csv")
    p = QuestionsModel.load(folder / "out").predict_proba(["A party"])[0, 0]
    assert [table[f"p({name})"].iloc[0] for name in WORDS] == pytest.approx(p, rel=1e-5)
    assert table["p(fear | gender=woman)"].isna().tolist() == [False, True, False]
    assert table["text"].iloc[2] == "'=1+1"
    assert not [*tmp_path.glob(".p.csv*")]
    new, judged_into = folder / "feelings.csv", tmp_path / "e"
    judged = json.loads(
        typed("evaluate", folder / "out", new, "--json", "--quiet", "--out", judged_into)
    )
    assert [*judged] == [*WORDS]
    assert (tmp_path / "e" / "questions" / "joy" / "report.html").exists()
    assert read_output(tmp_path / "e").results["data"]["questions"] == [*WORDS]
    one = load_for(mcstl.Model.load(folder / "out" / "model" / "joy"), folder / "feelings.csv")
    assert one.classes == ("not joy", "joy")


def test_a_server_answers_all_questions(folder: Path, results: Results) -> None:
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from mcstl.serving.several import create_app_of_questions

    model = QuestionsModel.load(folder / "out")
    with TestClient(create_app_of_questions(model, page=False)) as client:
        asked = {"texts": ["A party"], "mix": {"gender=man": 1}}
        answer = client.post("/predict", json=asked).json()
        assert answer["questions"] == [*WORDS]
        (one,) = answer["answers"]
        p = model.predict_proba(["A party"], [[], ["gender=man"]])[0]
        assert one["population"] == pytest.approx(p[0])
        assert one["perspectives"][0] == one["mix"] == pytest.approx(p[1])
        for prefix in ("", "/town"):
            headers = {"X-Forwarded-Prefix": prefix} if prefix else {}
            assert f'href="{prefix}/joy/page"' in client.get("/", headers=headers).text
            assert client.get("/joy/groups", headers=headers).status_code == 200
        assert client.post("/joy/predict", json={"texts": ["A"]}).json()["classes"] == [
            "not joy",
            "joy",
        ]


@pytest.mark.parametrize("form", ["one-hot", "lists", "text"])
def test_init_proposes_questions(tmp_path: Path, form: str) -> None:
    table = feelings()
    if form == "lists":
        table = in_cells(table, "lists")
    if form == "text":
        table = in_cells(table, "lists")
        table["label"] = table["label"].map("|".join)
    path = tmp_path / "feelings.jsonl"
    table.to_json(path, orient="records", lines=True)
    (tmp_path / "feelings.yaml").write_text(guess_study(path), encoding="utf-8")
    study = Study.read(tmp_path / "feelings.yaml")
    assert study.task == "multilabel"
    assert {*study.load().classes} == {*WORDS}


def test_an_encoder_that_is_trained_further_is_refused(folder: Path) -> None:
    fields = {**STUDY, "encoder": {"name": "all-MiniLM-L6-v2", "fine_tune": 1}}
    fields["data"] = {**STUDY["data"], "file": str(folder / "feelings.csv")}
    with pytest.raises(InputError, match="one encoder for all questions"):
        mcstl.run(Study(**fields))


def test_a_question_that_hardly_anybody_affirms_is_left_out(folder: Path) -> None:
    table = feelings().assign(awe=0)
    table.loc[0, "awe"] = 1
    table.to_csv(folder / "rare.csv", index=False)
    data = {**STUDY["data"], "file": str(folder / "rare.csv")}
    data["layout"] = {"one-hot": [*WORDS, "awe"]}
    # Seeds that keep the only yes from training.
    whole = Study(**{**STUDY, "data": data}).load()
    seeds = [seed for seed in range(40) if 0 not in split(whole, "item", seed=seed).train][:2]
    found = mcstl.run(Study(**{**STUDY, "data": data, "seeds": seeds, "methods": ["majority"]}))
    assert found.results["data"]["questions"] == [*WORDS]
    (why,) = found.results["data"]["questions_left_out"].values()
    assert "no training annotation has the label awe" in why
