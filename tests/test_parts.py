"""Texts in parts: joined and taken apart, encoded, chosen, asked of a model."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

import mcstl
from mcstl import Annotations, Model, Study, datasets
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError
from mcstl.cli import app
from mcstl.data.parts import join_parts, number_of_parts, readable, split_parts
from mcstl.encoding.encoders import load_encoder
from mcstl.encoding.parts import PartsEncoder
from mcstl.serving.batching import Batcher, Limits
from mcstl.serving.prediction import predict_file
from mcstl.studies.preparation import prepare

PAIRS = [["It rains.", "It is wet."], ["It rains.", "It is dry."], ["Tea?", "Coffee."]]
COLUMNS = {"text": ["premise", "hypothesis"]}
_PART = st.text(st.characters(exclude_characters="\x1d\x1e", exclude_categories=["Cs"]))


def table(n: int = 120) -> pd.DataFrame:
    """Two words, and whether they are the same: only how they compare tells the label."""
    words = [f"{a} {b}" for a in ("red", "old", "wet", "big") for b in ("house", "lake", "tea")]
    draw = np.random.default_rng(0)
    first = draw.choice(words, n)
    second = np.where(np.arange(n) % 2, first, draw.choice(words, n))
    return pd.DataFrame(
        {
            "premise": first,
            "hypothesis": second,
            "label": (first == second).astype(int),
            "values": [["Order"] if i % 3 else ["Wonder"] for i in range(n)],
        }
    )


def study(folder: Path, **changes: Any) -> Study:
    """A small study of that table."""
    table().to_csv(folder / "pairs.csv", index=False)
    data = {"file": str(folder / "pairs.csv"), "columns": COLUMNS}
    fields = {
        "groups": "none",
        "training": {"epochs": 2},
        "methods": ["mc-stl"],
        "seeds": [0],
        **changes,
    }
    return Study(data=data, **fields)


@given(st.lists(_PART, min_size=2, max_size=5))
def test_taking_apart_undoes_joining(parts: list[str]) -> None:
    text = join_parts(parts)
    kept = [part if part.strip() else "" for part in parts]
    assert (split_parts(text) if text else [""] * len(parts)) == kept
    assert readable(text or "") == "\n\n".join(filter(None, kept))


def test_a_mark_inside_a_part_ends_no_part() -> None:
    text = join_parts(["a\n\x1e\nb", "\x1e\nc"])
    assert text is not None
    assert len(split_parts(text)) == 2


def test_a_missing_part_keeps_its_place() -> None:
    frame = pd.DataFrame({"post": ["Hi", None, "A"], "reply": ["Yo", "B", float("nan")]})
    data = Annotations.from_frame(
        frame.assign(label=[0, 1, 0]), columns={"text": ["post", "reply"]}
    )
    texts = data.frame["text"].tolist()
    assert [split_parts(text) for text in texts] == [["Hi", "Yo"], ["", "B"], ["A", ""]]
    assert number_of_parts(texts) == 2
    assert number_of_parts([*texts, "whole"]) == 1
    assert data.items()["text"].tolist() == ["Hi\n\nYo", "B", "A"]  # as people read them


def test_joined_parts_are_encoded_as_the_text_with_blank_lines(cache: Path) -> None:
    encoder = load_encoder()
    texts = [str(join_parts(pair)) for pair in PAIRS]
    whole = ["\n\n".join(pair) for pair in PAIRS]
    np.testing.assert_array_equal(encoder.encode(texts), encoder.encode(whole))
    np.testing.assert_allclose(
        encoder.encode_uncached(texts), encoder.encode_uncached(whole), atol=1e-6
    )


def test_the_features_of_parts_by_hand(cache: Path) -> None:
    base = load_encoder()
    encoder = PartsEncoder(base, 3)
    rows = [["Hi.", *pair] for pair in PAIRS] + [["", "", "Only this."]]
    vectors = encoder.encode([str(join_parts(row)) for row in rows])
    d = base.dimension
    assert vectors.shape == (4, encoder.dimension) == (4, 5 * d)
    for row, vector in zip(rows, vectors, strict=True):
        e = [base.encode([part])[0] if part else np.zeros(d) for part in row]
        expected = [*e, np.abs(e[1] - e[2]), np.sqrt(d) * e[1] * e[2]]
        np.testing.assert_allclose(vector, np.hstack(expected), atol=1e-5)
    texts = [str(join_parts(row)) for row in rows]
    np.testing.assert_allclose(encoder.encode_uncached(texts), vectors, atol=1e-5)
    assert encoder.encode([]).shape == (0, 5 * d)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint == encoder.fingerprint != base.fingerprint
    np.testing.assert_array_equal(again.encode(texts), vectors)
    with pytest.raises(InputError, match="a text of 3 parts is needed, got one of 1"):
        encoder.encode(["whole"])


def test_texts_with_a_long_part_are_counted_once(cache: Path) -> None:
    base = load_encoder()
    encoder = PartsEncoder(base, 2)
    long = "many words " * 400
    texts = [str(join_parts([long, reply])) for reply in ("yes", "no")] + ["a\n\x1e\nb"]
    assert encoder.encode_with_cuts(texts)[1].tolist() == [True, True, False]
    assert (encoder.truncated, base.truncated) == (2, 0)


def test_whether_parts_are_joined_is_chosen_on_validation_rows(cache: Path, tmp_path: Path) -> None:
    plan = study(tmp_path)
    data, encoder = plan.load(), load_encoder()
    prepared = prepare(plan, data, encoder, 0)
    assert prepared.encoder.parts == 2  # the label is how the two compare
    # With other labels of the test rows the choice and all that is trained on are the same.
    frame = data.frame.copy()
    test = prepared.parts.test
    frame.loc[test, "label"] = 1 - frame.loc[test, "label"]
    other = prepare(
        plan,
        Annotations(frame, data.task, data.classes),
        encoder,
        0,
        parts=prepared.parts,
    )
    assert other.encoder.fingerprint == prepared.encoder.fingerprint
    joined = prepare(study(tmp_path, parts="joined"), data, encoder, 0)
    assert joined.encoder.parts == 1
    whole = pd.DataFrame({"text": [f"word {i % 7}" for i in range(60)], "label": [0, 1] * 30})
    plain = Study(data={"dataset": "simulated"}, groups="none", parts="apart")
    with pytest.raises(InputError, match="parts: apart needs texts that are all in as many parts"):
        prepare(plain, Annotations.from_frame(whole), encoder, 0)


@pytest.fixture(scope="module")
def out(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a study of texts in parts wrote."""
    folder = tmp_path_factory.mktemp("parts")
    mcstl.run(study(folder), out=folder / "out")
    return folder / "out"


def test_a_study_notes_how_parts_were_read(out: Path) -> None:
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))
    assert [run["parts"] for run in results["runs"]] == ["apart"]
    assert results["study"]["made_with"]["parts"] == {"0": "apart"}
    assert "parts" not in results["study"]  # left open, and chosen anew if it is run again
    texts = pd.read_parquet(out / "items.parquet")["text"]
    assert not texts.str.contains("\x1e").any()
    assert Study.read(out / "study.yaml").parts is None
    card = (out / "model" / "README.md").read_text(encoding="utf-8")
    assert 'predict_proba([["the premise", "the hypothesis"]])' in card


def test_a_saved_model_reads_parts_as_it_did(out: Path, tmp_path: Path) -> None:
    model = Model.load(out / "model")
    assert model.text_form.parts == ("premise", "hypothesis")
    p = model.predict_proba(PAIRS)
    model.save(tmp_path / "again")
    np.testing.assert_array_equal(Model.load(tmp_path / "again").predict_proba(PAIRS), p)
    plain = Model.load(out / "model", encoder=load_encoder())
    np.testing.assert_array_equal(plain.predict_proba([tuple(pair) for pair in PAIRS]), p)
    unusable: list[Any] = ["It rains.", ["It rains."], ["", " "], ["a", "b", "c"], ["a", 3]]
    for text in unusable:
        with pytest.raises(InputError, match=r"list of its parts \[premise, hypothesis\]"):
            model.predict_proba([text])


def test_a_model_of_joined_parts_takes_both(cache: Path) -> None:
    data = Annotations.from_frame(table(60), columns=COLUMNS)
    model = mcstl.fit(data, groups={"by": "none"}, encoder=load_encoder(), training={"epochs": 2})
    assert (model.encoder.parts, model.text_parts) == (1, 2)
    whole = ["\n\n".join(pair) for pair in PAIRS]
    np.testing.assert_array_equal(model.predict_proba(PAIRS), model.predict_proba(whole))
    with pytest.raises(InputError, match=r"its parts \[part 1, part 2\], or one text"):
        model.predict_proba([["a", "b", "c"]])


def test_fit_chooses_where_the_encoder_is_a_name(cache: Path) -> None:
    data = Annotations.from_frame(table(), columns=COLUMNS)
    model = mcstl.fit(data, groups={"by": "none"}, training={"epochs": 2})
    assert model.encoder.parts == model.text_parts == 2


def _predicted(file: Path) -> FloatArray:
    return np.asarray(pd.read_csv(file)[["p(0)", "p(1)"]])


def test_predict_reads_the_columns_of_the_parts(out: Path, tmp_path: Path) -> None:
    model = Model.load(out / "model")
    p = model.predict_proba(PAIRS)[:, 0]
    frame = pd.DataFrame(PAIRS, columns=["premise", "hypothesis"])
    frame.to_csv(tmp_path / "as-trained.csv", index=False)
    frame.set_axis(["a", "b"], axis=1).to_csv(tmp_path / "other.csv", index=False)
    predict_file(model, tmp_path / "as-trained.csv", tmp_path / "out.csv")
    np.testing.assert_allclose(_predicted(tmp_path / "out.csv"), p, atol=1e-6)
    for options in (["--text", "a", "--text", "b"], ["--columns", "text: [a, b]"]):
        files = [str(tmp_path / "other.csv"), "--out", str(tmp_path / "out.csv")]
        done = CliRunner().invoke(app, ["predict", str(out / "model"), *files, *options])
        assert done.exit_code == 0, done.output
        np.testing.assert_allclose(_predicted(tmp_path / "out.csv"), p, atol=1e-6)
    with pytest.raises(InputError, match="reads 2 column"):
        predict_file(model, tmp_path / "other.csv", tmp_path / "no.csv", text=["a"])
    with pytest.raises(InputError, match=r"row 2 .* has a whole text"):
        predict_file(model, tmp_path / "other.csv", tmp_path / "no.csv", columns={"text": "a"})


def test_a_server_takes_lists_of_parts(out: Path) -> None:
    from starlette.testclient import TestClient

    from mcstl.serving.api import create_app

    model = Model.load(out / "model")
    with TestClient(create_app(model, page=False)) as client:
        answer = client.post("/predict", json={"texts": PAIRS, "perspectives": []})
        assert answer.status_code == 200
        p = [each["population"] for each in answer.json()["answers"]]
        np.testing.assert_allclose(p, model.predict_proba(PAIRS)[:, 0], atol=1e-6)
        assert client.get("/groups").json()["parts"] == ["premise", "hypothesis"]
        refused = client.post("/predict", json={"texts": ["whole"], "perspectives": []})
        assert refused.status_code == 422
        assert "list of its parts [premise, hypothesis]" in refused.json()["detail"]


def test_the_page_has_a_box_per_part(out: Path) -> None:
    batcher = Batcher(Model.load(out / "model"), Limits())
    assert batcher.form.boxes == ("premise", "hypothesis")
    assert batcher.form.of_boxes(["a", "b"]) == ["a", "b"]
    batcher.close()


def test_pairs_of_texts_in_parts(cache: Path) -> None:
    n = 60
    frame = table(n).rename(columns={"premise": "a1", "hypothesis": "a2"})
    frame["b1"], frame["b2"] = "old tea", "old tea"
    columns = {"text_a": ["a1", "a2"], "text_b": ["b1", "b2"]}
    data = Annotations.from_frame(frame, columns=columns)
    assert data.task == "preference"
    model = mcstl.fit(
        data,
        groups={"by": "none"},
        encoder=PartsEncoder(load_encoder(), 2),
        training={"epochs": 2},
    )
    assert model.predict_proba([(PAIRS[0], PAIRS[1])]).shape == (1, 1, 2)
    assert model.text_form.boxes[0] == "First text (A): part 1"
    with pytest.raises(InputError, match="each a list of its parts"):
        model.predict_proba([("a", "b")])


def test_every_data_set_of_parts_has_them(data_dir: Path) -> None:
    expected = {"paraphrase": 2, "varierrnli": 2, "csc": 2, "mp": 2, "convabuse": 4}
    for name, parts in expected.items():
        data = datasets.load(f"lewidi-{name}", data_dir=data_dir)
        assert number_of_parts(data.distinct_texts()[0]) == parts, name
