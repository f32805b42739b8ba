"""LeWiDi's harmonised JSON: every quirk of both editions in small files; the real ones too."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcstl import datasets, run
from mcstl._support.errors import InputError
from mcstl.data.parts import readable
from mcstl.studies.study_file import Study

PEOPLE = {"Gender": "Male", "Age": "26", "Nationality": "Chinese", "Education": "master student"}


def write(root: Path, name: str, entries: dict[str, Any] | str) -> Path:
    path = root / "lewidi" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    text = entries if isinstance(entries, str) else json.dumps(entries, ensure_ascii=False)
    path.write_text(text, encoding="utf-8")
    return root


def entry(text: Any, annotations: Any, people: str, n: int, **info: Any) -> dict[str, Any]:
    return {
        "annotation task": "some task",
        "text": text,
        "annotators": people,
        "number of annotations": n,
        "annotations": annotations,
        "soft_label": {"0.0": 0.5, "1.0": 0.5},
        "split": "dev",
        "lang": "en",
        "other_info": info,
    }


def nli(root: Path, **changes: Any) -> Path:
    text = {"context": "It rains.", "statement": "It is wet."}
    labels = {"Ann1": "neutral", "Ann2": "entailment,neutral", "Ann3": "contradiction"}
    reasons = ["not said", "rain is wet", " a tent? ", "no"]
    first = entry(text, labels, "Ann1,Ann2,Ann2,Ann3", 4, explanations=reasons) | changes
    write(root, "VariErrNLI/VariErrNLI_dev.json", {"7": first})
    blocks = ",".join(f'"Ann{k}": {{"Gender": "Female", "Age": "{k}2",}}' for k in (1, 2, 3))
    return write(root, "VariErrNLI/VariErrNLI_annotators_meta.json", f"{{{blocks},\n}}")


def test_several_labels_of_one_annotator_are_an_annotation_each(tmp_path: Path) -> None:
    data = datasets.load("lewidi-varierrnli", data_dir=nli(tmp_path))
    assert data.classes == ("contradiction", "neutral", "entailment")
    assert data.labels.tolist() == [1, 2, 1, 0]
    assert data.frame["annotator"].tolist() == ["Ann1", "Ann2", "Ann2", "Ann3"]
    assert data.frame["rationale"].tolist() == ["not said", "rain is wet", "a tent?", "no"]
    assert data.frame["text"].unique().tolist() == ["It rains.\n\x1e\nIt is wet."]
    assert data.frame["item"].unique().tolist() == ["dev-7"]
    # Metadata with commas before brackets, ages in bands, attributes that nobody has.
    assert data.frame["gender"].unique().tolist() == ["Female"]
    assert data.frame["age"].tolist() == ["18-29", "18-29", "18-29", "30-44"]
    assert data.frame["education"].isna().all()


def test_explanations_that_do_not_match_are_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for people in ("Ann1,Ann2,Ann3", "Ann2,Ann1,Ann2,Ann3"):
        caplog.clear()
        data = datasets.load("lewidi-varierrnli", data_dir=nli(tmp_path, annotators=people))
        assert data.frame["rationale"].tolist() == [""] * 4
        assert "4 annotations have explanations that do not match the labels" in caplog.text


def test_ids_in_two_spellings_and_missing_answers(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    people = {
        str(k): {"Age": 20.0 + k, "Gender": "Female", "Ethnicity simplified": "White"}
        for k in range(40)
    }
    people["1"] = {"Age": "DATA_EXPIRED", "Gender": "Prefer not to say"}
    labels = {f"Ann{k}": str(k % 2) for k in range(40)}
    entries = {"2": entry({"post": "Hi", "reply": "Ha"}, labels, ",".join(labels), 40)}
    write(tmp_path, "MP/MP_dev.json", entries)
    write(tmp_path, "MP/MP_train.json", entries)
    write(tmp_path, "MP/MP_annotators_meta.json", people)
    data = datasets.load("lewidi-mp", data_dir=tmp_path)
    assert len(data) == 80
    assert data.frame["item"].unique().tolist() == ["train-2", "dev-2"]
    row = data.frame.iloc[1]
    assert row[["gender", "age", "ethnicity", "nationality"]].tolist() == [None] * 4
    assert data.frame["age"].iloc[30] == "45-59"
    del people["7"]
    write(tmp_path, "MP/MP_annotators_meta.json", people)
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        datasets.load("lewidi-mp", data_dir=tmp_path)
    assert "2 annotations are by annotators without metadata" in caplog.text
    write(tmp_path, "MP/MP_annotators_meta.json", {"1": people["1"]})
    with pytest.raises(InputError, match=r"78 of 80 annotations are by annotators that"):
        datasets.load("lewidi-mp", data_dir=tmp_path)


def test_annotations_as_text_and_a_conversation_as_json_inside_a_text(tmp_path: Path) -> None:
    talk = '{"prev_agent": "Hello", "prev_user": "", "agent": "Tea?", "user": "Go away"}'
    entries = {"1": entry(talk, "1,-2,0", "Ann2,Ann3,Ann8", 3, bot="CarbonBot")}
    write(tmp_path, "ConvAbuse_dataset/ConvAbuse_dev.json", entries)
    data = datasets.load("lewidi-convabuse", data_dir=tmp_path)
    assert readable(data.frame["text"].iloc[0]) == "Hello\n\nTea?\n\nGo away"
    assert data.labels.tolist() == [0, 1, 0]
    assert data.frame["rater"].tolist() == ["Ann2", "Ann3", "Ann8"]
    ordinal = datasets.load("lewidi-convabuse", data_dir=tmp_path, task="ordinal")
    assert [ordinal.classes[y] for y in ordinal.labels] == [
        "not abusive",
        "strongly abusive",
        "ambiguous",
    ]


def test_groups_inside_the_items(tmp_path: Path) -> None:
    info = {"group1": "target group", "group2": "control group"}
    tweet = entry("Hi", "0,1,1", "Ann1,Ann4,Ann5", 3, **info)
    tweet["other_info"]["annotators group"] = "group1,group2,group2"
    write(tmp_path, "HS-Brexit_dataset/HS-Brexit_train.json", {"1": tweet})
    data = datasets.load("lewidi-hs-brexit", data_dir=tmp_path)
    assert data.frame["group"].tolist() == ["target group", "control group", "control group"]
    views = {"Ann1": "Moderate_Female", "Ann2": "Liberal_Female", "Ann3": "Conservative_Male"}
    tweet = entry("مرحبا", "1,0,0", "Ann1,Ann2,Ann3", 3, **views)
    write(tmp_path, "ArMIS_dataset/ArMIS_test.json", {"1": tweet})
    data = datasets.load("lewidi-armis", data_dir=tmp_path)
    assert data.frame["group"].tolist() == list(views.values())
    tweet = entry("<user> vote", "1,0", "Ann423,Ann16", 2, domain="BLM")
    write(tmp_path, "MD-Agreement_dataset/MD-Agreement_dev.json", {"1": tweet})
    data = datasets.load("lewidi-md-agreement", data_dir=tmp_path)
    assert data.frame["domain"].tolist() == ["BLM", "BLM"]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"number of annotations": 5}, "4 annotations where 5 are stated"),
        ({"text": None}, "neither text nor an object"),
        ({"text": {"context": "", "statement": ""}}, "no row of lewidi-varierrnli has text"),
        ({"annotations": "0,1", "annotators": "Ann1"}, "2 annotations by 1 annotators"),
    ],
)
def test_an_entry_that_is_not_as_the_sources_is_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        datasets.load("lewidi-varierrnli", data_dir=nli(tmp_path, **changes))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("annotators_meta", '{"Ann1": {"Gender": "Male"', "annotators_meta.json is not JSON"),
        ("annotators_meta", '["Ann1"]', "expected an object of entries by id"),
        ("annotators_meta", '{"Ann1": "Male"}', "annotator Ann1 is not as the source's"),
        ("dev", '{"7": {"text": "a"}}', "entry '7' is not as the source's .no 'annotations'"),
        ("dev", "{}", "holds no annotations"),
        ("dev", '{"7": ', "VariErrNLI_dev.json is not JSON .* is it whole"),
    ],
)
def test_files_that_are_not_as_the_sources(
    tmp_path: Path, name: str, content: str, message: str
) -> None:
    write(nli(tmp_path), f"VariErrNLI/VariErrNLI_{name}.json", content)
    with pytest.raises(InputError, match=message):
        datasets.load("lewidi-varierrnli", data_dir=tmp_path)


def test_commas_inside_texts_stay(tmp_path: Path) -> None:
    meta = '{"Ann1": {"Gender": "a,}b",}, "Ann2": {"Gender": "c\\",]"}, "Ann3": {},}'
    write(nli(tmp_path), "VariErrNLI/VariErrNLI_annotators_meta.json", meta)
    data = datasets.load("lewidi-varierrnli", data_dir=tmp_path)
    assert data.frame["gender"].tolist() == ["a,}b", 'c",]', 'c",]', None]


def test_real_multipico(data_dir: Path) -> None:
    data = datasets.load("lewidi-mp", data_dir=data_dir)
    assert np.bincount(data.labels).tolist() == [10157, 5021]
    assert (data.frame["item"].nunique(), data.frame["annotator"].nunique()) == (3005, 506)
    assert data.frame["gender"].value_counts().index.tolist() == ["Male", "Female"]


def test_real_paraphrase_runs_with_eleven_classes(
    data_dir: Path, cache: Path, tmp_path: Path
) -> None:
    study = Study(
        data={"dataset": "lewidi-paraphrase"},
        groups={"by": "rationale", "k": 2},
        training={"epochs": 2},
        methods=["mc-stl", "none"],
        seeds=[0],
    )
    source = data_dir / "lewidi" / "Paraphrase"
    entries = [
        entry
        for path in source.glob("Paraphrase_[dt]*.json")
        for entry in json.loads(path.read_text(encoding="utf-8")).values()
    ]
    labels = [label for entry in entries for label in entry["annotations"].values()]
    assert len(study.load(data_dir)) == len(labels) >= 200
    results = run(study, data_dir=data_dir)
    p = results.predictions[[f"p_{c}" for c in range(11)]].to_numpy()
    assert p.shape == (len(results.predictions), 11)
    assert (p > 0).all()
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-6)


def test_real_popquorn_runs_with_five_classes(data_dir: Path, cache: Path, tmp_path: Path) -> None:
    table = datasets.load("popquorn", data_dir=data_dir).frame
    some = table[table["item"].isin(table["item"].unique()[:60])]
    columns = ["item", "text", "label", "annotator", "gender", "race"]
    some[columns].to_csv(tmp_path / "some.csv", index=False)
    study = Study(
        data={"file": str(tmp_path / "some.csv")},
        groups={"by": "attributes", "attributes": ["gender"], "min_size": 50},
        training={"epochs": 2},
        methods=["mc-stl", "gbm"],
        seeds=[0],
    )
    predicted = run(study).predictions
    assert [name for name in predicted if str(name).startswith("p_")] == [
        f"p_{c}" for c in range(5)
    ]
    assert predicted["label"].nunique() == 5
