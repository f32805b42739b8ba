"""Groups of fewer than five people: learnt, but neither counted, shown nor asked without a word."""

import json
import warnings
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import mcstl
from mcstl import reporting
from mcstl._support.errors import InputError, Notice
from mcstl.data.annotations import Annotations
from mcstl.groups.small_groups import left_out_words, without_few
from mcstl.models.model import Model
from mcstl.serving.query import Query
from mcstl.studies import one_model
from mcstl.studies.study_file import Study

RARE, OFTEN = "gender=Rare", "gender=Often"


@pytest.fixture(scope="module")
def folder(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished study of 20 people, of whom three are Rare and two are Odd, too few to be kept."""
    folder = tmp_path_factory.mktemp("few")
    rows = [
        {
            "item": f"i{i}",
            "text": f"A sentence about garden number {i}.",
            "label": (i + person) % 2,
            "annotator": f"p{person}",
            "gender": "Rare" if person < 3 else "Odd" if person < 5 else "Often",
        }
        for i in range(24)
        for person in range(20)
        if (i + person) % 4 == 0 or person < 3
    ]
    pd.DataFrame(rows).to_csv(folder / "table.csv", index=False)
    study = Study(
        data={"file": str(folder / "table.csv")},
        groups={"by": "attributes", "attributes": ["gender"], "min_size": 20},
        split={"by": "annotation"},
        training={"epochs": 1, "hidden": 8, "dropout": 0, "learning_rate": 0.01, "batch_size": 64},
        methods=["mc-stl"],
        seeds=1,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Notice)
        mcstl.run(study, out=folder / "out")
        reporting.render(folder / "out")
    return folder


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "out" / "results.json").read_text("utf-8"))
    return found


def test_its_size_and_answers_are_nowhere_but_in_predictions(
    folder: Path, results: dict[str, Any]
) -> None:
    assert results["data"]["groups_not_shown"] == [RARE]
    sizes = {group["name"]: (group["size"], group["annotators"]) for group in results["groups"]}
    assert sizes[RARE] == (0, 0)
    assert sizes[OFTEN][1] == 15
    measured = {key: results[key] for key in results if key not in ("data", "groups", "runs")}
    assert RARE not in json.dumps(measured)
    assert OFTEN in json.dumps(measured)
    for run in results["runs"]:
        assert [group["group"] for group in run["groups"]] == [OFTEN]
        assert RARE not in json.dumps({**run, "groups_not_shown": []})
    page = (folder / "out" / "report.html").read_text("utf-8")
    card = (folder / "out" / "model" / "README.md").read_text("utf-8")
    for text in (page.split("study.yaml, with versions")[0], card):
        assert RARE not in text
        assert OFTEN in text.replace("\\", "")
        assert "1 group of fewer than 5 people" in text
    config = json.loads((folder / "out" / "model" / "config.json").read_text("utf-8"))
    assert {g["name"]: g["size"] for g in config["scheme"]["groups"]}[RARE] == 0
    predictions = pd.read_parquet(folder / "out" / "predictions.parquet")
    assert predictions["groups"].map(lambda names: RARE in names).any()


def test_results_of_an_older_version_lose_it_when_they_are_read(results: dict[str, Any]) -> None:
    older = json.loads(json.dumps(results))
    older["data"].pop("groups_not_shown")
    for group in older["groups"]:
        if group["name"] == RARE:
            group.update(size=72, annotators=3)
    for run in older["runs"]:
        run.pop("groups_not_shown")
        run["groups"].append({"group": RARE, "n": 14})
    assert without_few(older) == results | {"runs": without_few(older)["runs"]}
    assert without_few(without_few(older)) == without_few(older)
    assert RARE not in json.dumps(without_few(older)["runs"])


def test_it_is_asked_only_where_somebody_says_so(folder: Path) -> None:
    model, text = Model.load(folder / "out" / "model"), ["A garden."]
    assert model.groups_of_few == (RARE,)
    assert model.views(text).names == (OFTEN,)
    assert Query.parse(model, None, None).shown_names == [OFTEN]
    for asked in ([[RARE]], [[OFTEN, RARE]], [mcstl.Jury([[OFTEN], [RARE]])]):
        with pytest.raises(InputError, match=r"gender=Rare.*min_people=1.*--min-people 1"):
            model.predict_proba(text, asked)
    for read in (Model.load, Model.from_pretrained):
        allowed = read(folder / "out" / "model", min_people=1)
        with pytest.warns(Notice, match="gender=Rare: of fewer than 5 people"):
            assert allowed.predict_proba(text, [[RARE]]).shape == (1, 1, 2)
    assert [group.name for group in allowed.askable_groups] == [OFTEN, RARE]
    # Counts that are known can be asked for, too.
    assert Model.load(folder / "out" / "model", min_people=16).askable_groups == ()
    with pytest.raises(InputError, match="from 1 up"):
        Model.load(folder / "out" / "model", min_people=0).views(text)


def test_a_new_table_shows_no_group_of_few_people(folder: Path) -> None:
    table = pd.read_csv(folder / "table.csv")
    new = table[table["annotator"].isin(["p1", "p6", "p7", "p8"])]
    model = Model.load(folder / "out" / "model")
    data = Annotations.from_frame(new)
    measured = one_model.evaluate(model, data)
    assert measured["groups"] == []
    assert measured["groups_not_shown"] == [OFTEN, RARE]
    full = one_model.evaluate(model, Annotations.from_frame(table))
    assert [each["group"] for each in full["groups"]] == [OFTEN]
    model.min_people = 1
    assert len(one_model.evaluate(model, data)["groups"]) == 2


def test_what_was_trained_on_is_the_training_part(folder: Path, results: dict[str, Any]) -> None:
    split = results["data"]["split"]
    assert split["train"] < results["data"]["n"]
    said = f"{split['train']:,} annotations of {split['train_items']} texts by "
    for name in ("report.html", "model/README.md"):
        text = (folder / "out" / name).read_text("utf-8")
        assert f"{said}{split['train_annotators']} people" in text


def test_groups_left_out_are_named_with_the_reason_but_for_those_of_few_people(
    folder: Path,
) -> None:
    assert left_out_words({}) == ""
    reasons = {f"g{i}": "7 training annotations, min_size is 9" for i in range(13)}
    assert left_out_words(reasons).startswith("13 groups: g0 (7 training annotations, min_size is")
    assert left_out_words(reasons).endswith("; 8 more")
    page = (folder / "out" / "report.html").read_text("utf-8")
    card = (folder / "out" / "model" / "README.md").read_text("utf-8")
    assert "<dt>Groups left out</dt><dd>1 group: 1 of fewer than 5 people</dd>" in page
    assert "Left out as too small: 1 group: 1 of fewer than 5 people." in card
    assert "gender=Odd" not in page + card


def test_a_leak_opens_the_report(folder: Path, results: dict[str, Any]) -> None:
    page = (folder / "out" / "report.html").read_text("utf-8")
    opening = page.split("<h2>Results</h2>")[0]
    fired = [check for check in results["controls"] if check["fires"]]
    assert fired  # the same texts and people are on both sides
    for check in fired:
        assert f"{check['check'].capitalize()}: " in opening
