"""Several encoders side by side, views of n-grams, rationales read beside texts, the last part."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mcstl
from mcstl import Annotations, Model, Study
from mcstl._support.errors import InputError, Notice
from mcstl.data.parts import join_parts, readable, split_parts, split_rationale, with_rationale
from mcstl.data.splits import split
from mcstl.encoding.encoders import load_encoder
from mcstl.encoding.ngrams import NGRAMS, NgramEncoder
from mcstl.encoding.parts import PartsEncoder
from mcstl.encoding.side_by_side import SideBySideEncoder, load_saved
from mcstl.models.known_texts import hashes
from mcstl.serving.prediction import predict_file
from mcstl.studies.preparation import prepare

WORDS = ("zig", "zag", "zog", "zug", "zeg", "zyg")
_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)


def table(n: int = 160) -> pd.DataFrame:
    """Each of 40 texts judged by four people, whose made-up reasons tell the label."""
    draw = np.random.default_rng(0)
    label = draw.integers(2, size=n)
    reason = [
        f"{draw.choice(WORDS[:3] if y else WORDS[3:])} {draw.choice(['so', 'then'])}" for y in label
    ]
    return pd.DataFrame(
        {
            "item": [f"t{i // 4}" for i in range(n)],
            "post": [f"a post of number {i // 4}" for i in range(n)],
            "reply": [f"a reply of number {i // 4 % 7}" for i in range(n)],
            "label": label,
            "annotator": [f"p{i % 4}" for i in range(n)],
            "why": reason,
        }
    )


def study(folder: Path, **changes: Any) -> Study:
    table().to_csv(folder / "judged.csv", index=False)
    columns = {"text": ["post", "reply"], "rationale": "why"}
    fields = {
        "groups": "none",
        "split": {"by": "item"},
        "methods": ["multilevel"],
        "seeds": [0],
        **changes,
    }
    return Study(data={"file": str(folder / "judged.csv"), "columns": columns}, **fields)


@given(_TEXT, _TEXT, _TEXT)
def test_taking_a_rationale_off_undoes_putting_it_on(a: str, b: str, rationale: str) -> None:
    text = join_parts([a, b]) or "x"
    both = with_rationale(text, rationale)
    alone, kept = split_rationale(both)
    assert alone == text
    assert kept == rationale.replace("\x1e", " ").replace("\x1d", " ")
    assert split_parts(both) == split_parts(text)
    assert split_rationale(with_rationale(both, "other")) == (text, "other")
    assert hashes([both])[0] == hashes([text])[0]  # a known text, whatever the reason
    assert "\x1d" not in readable(both)


@pytest.mark.parametrize("name", NGRAMS)
@settings(max_examples=20)
@given(texts=st.lists(_TEXT, max_size=5))
def test_a_view_of_ngrams_is_of_length_one_or_zero(name: str, texts: list[str]) -> None:
    encoder = NgramEncoder.fit(name, [f"{a} {b}" for a in WORDS for b in WORDS])
    vectors = encoder.encode(texts)
    assert vectors.shape == (len(texts), encoder.dimension)
    lengths = np.linalg.norm(vectors, axis=1)
    assert ((abs(lengths - 1) < 1e-4) | (lengths == 0)).all()
    np.testing.assert_allclose(encoder.encode(texts[::-1])[::-1], vectors, atol=1e-6)
    again = pickle.loads(pickle.dumps(encoder))
    assert again.fingerprint == encoder.fingerprint


def test_views_of_ngrams_differ_by_what_they_are_fitted_to(cache: Path) -> None:
    texts = [f"{a} {b}" for a in WORDS for b in WORDS]
    one, other = (NgramEncoder.fit("word-ngrams", texts[k:]) for k in (0, 9))
    assert one.fingerprint != other.fingerprint
    assert not one.encode([""]).any()
    with pytest.raises(InputError, match="encoder 'word-ngrams' needs more texts than 1"):
        NgramEncoder.fit("word-ngrams", ["zig"])


def test_encoders_side_by_side_are_saved_and_read(cache: Path, tmp_path: Path) -> None:
    ngrams = NgramEncoder.fit("char-ngrams", [f"{a} {b}" for a in WORDS for b in WORDS])
    encoder = SideBySideEncoder([load_encoder(), ngrams])
    assert encoder.is_fine_tuned  # what was fitted here is kept with a model
    texts = ["zig zag", "zog"]
    vectors = encoder.encode(texts)
    assert vectors.shape == (2, encoder.dimension) == (2, 384 + ngrams.dimension)
    np.testing.assert_array_equal(vectors[:, 384:], ngrams.encode(texts))
    np.testing.assert_allclose(encoder.encode_uncached(texts), vectors, atol=1e-5)
    for again in (load_saved(encoder.folder), pickle.loads(pickle.dumps(encoder))):
        assert again.fingerprint == encoder.fingerprint
        np.testing.assert_array_equal(again.encode(texts), vectors)
    made = encoder.folder / "made.json"
    for damage in ("{", "[]", json.dumps({"members": 3}), json.dumps({"members": ["no/way/x"]})):
        made.write_text(damage, encoding="utf-8")
        with pytest.raises(InputError):
            load_saved(encoder.folder)


def test_rationales_that_are_read_predict_and_others_do_not(cache: Path, tmp_path: Path) -> None:
    with pytest.warns(Notice, match="may give the label away"):
        read = mcstl.run(
            study(tmp_path, read_rationales=True, encoder=["all-MiniLM-L6-v2", "word-ngrams"]),
            out=tmp_path / "read",
        )
    without = mcstl.run(study(tmp_path))
    aucs = [each.results["summary"]["multilevel"]["auc"]["mean"] for each in (read, without)]
    assert aucs[0] > 0.9
    assert aucs[0] > aucs[1] + 0.2
    run = read.results["runs"][0]
    assert "word-ngrams" in run["encoder"]
    assert read.results["study"]["made_with"]["encoders"] == {"0": run["encoder"]}

    model = Model.load(tmp_path / "read")
    assert model.text_form.parts == ("post", "reply", "why")
    asked = [["a post of number 1", "a reply of number 1", f"{word} so"] for word in WORDS]
    p = model.predict_proba(asked)[:, 0, 1]
    assert p[:3].min() > p[3:].max()
    trained = read.model
    assert isinstance(trained, Model)
    np.testing.assert_allclose(trained.predict_proba(asked)[:, 0, 1], p, atol=1e-6)
    with pytest.raises(InputError, match="post, reply, why"):
        model.predict_proba(["whole"])
    # Of a table by the columns of the study, and without a reason as with an empty one.
    frame = table().drop(columns=["label"]).head(3)
    frame.loc[2, "why"] = None
    frame.to_csv(tmp_path / "new.csv", index=False)
    predict_file(model, tmp_path / "new.csv", tmp_path / "out.csv")
    rows = frame[["post", "reply", "why"]].fillna("").to_numpy().tolist()
    written = pd.read_csv(tmp_path / "out.csv")
    column = next(str(name) for name in written if str(name).startswith("p("))
    expected = model.predict_proba(rows)[:, 0, [0, 1]]
    assert min(abs(written[column] - expected[:, k]).max() for k in (0, 1)) < 1e-5


def test_rationales_change_neither_items_nor_splits(cache: Path, tmp_path: Path) -> None:
    plan = study(tmp_path)
    data = plan.load()
    both = data.with_rationales_read()
    assert data.items().equals(both.items())
    for one, other in zip(split(data, "item"), split(both, "item"), strict=True):
        np.testing.assert_array_equal(one, other)
    assert both.with_rationales_read().frame.equals(both.frame)
    pairs = pd.DataFrame({"text_a": ["a", "b"], "text_b": ["b", "a"], "label": [0, 1]})
    with pytest.raises(InputError, match="compares two texts"):
        Annotations.from_frame(pairs, task="preference").with_rationales_read()
    plain = Annotations.from_frame(table()[["post", "label"]], columns={"text": "post"})
    with pytest.raises(InputError, match="has no rationale"):
        plain.with_rationales_read()


def test_the_last_part_alone_by_hand_and_chosen(cache: Path, tmp_path: Path) -> None:
    base = load_encoder()
    encoder = PartsEncoder(base, 2, "last", rationale=True)
    text = with_rationale(str(join_parts(["Tea?", "No."])), "thirsty")
    expected = np.hstack([base.encode(["No."]), base.encode(["thirsty"])])
    np.testing.assert_array_equal(encoder.encode([text]), expected)
    again = pickle.loads(pickle.dumps(encoder))
    assert (again.fingerprint, again.dimension) == (encoder.fingerprint, 2 * base.dimension)
    with pytest.raises(InputError, match="a text with its rationale is needed"):
        encoder.encode(["Tea?\n\x1e\nNo."])

    draw = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "post": [" ".join(draw.choice(WORDS, 12)) for _ in range(200)],
            "reply": np.where(np.arange(200) % 2, "That is lovely.", "Shut up, idiot."),
            "label": np.where(np.arange(200) % 9, np.arange(200) % 2, np.arange(200) // 9 % 2),
        }
    )
    data = Annotations.from_frame(frame, columns={"text": ["post", "reply"]})
    plan = Study(data={"dataset": "simulated"}, groups="none")
    prepared = prepare(plan, data, base, 0)
    assert prepared.encoder.reading in ("last", "apart")
    prepared = prepare(plan.model_copy(update={"parts": "last"}), data, base, 0)
    assert prepared.encoder.reading == "last"
    model = mcstl.fit(data, encoder=prepared.encoder, method="multilevel", groups={"by": "none"})
    model.save(tmp_path / "model")
    loaded = Model.load(tmp_path / "model")
    asked = [["whatever", "Shut up, idiot."], ["else", "Shut up, idiot."]]
    p = loaded.predict_proba(asked)[:, 0, 1]
    assert p[0] == p[1]  # whatever the post says
    np.testing.assert_allclose(model.predict_proba(asked)[:, 0, 1], p, atol=1e-6)


def test_a_view_of_ngrams_alone_is_fitted_to_training_texts(cache: Path, tmp_path: Path) -> None:
    plan = study(tmp_path, encoder="word-ngrams", parts="joined")
    assert plan.encoder == ("word-ngrams",)
    prepared = prepare(plan, plan.load(), load_encoder(plan.encoder_name), 0)
    assert prepared.encoder.name == "word-ngrams"
    texts, positions = prepared.annotations.distinct_texts()
    train = [texts[i] for i in np.unique(positions[prepared.parts.train])]
    by_hand = NgramEncoder.fit("word-ngrams", train)
    np.testing.assert_allclose(prepared.encoder.encode(texts), by_hand.encode(texts), atol=1e-6)


def test_several_encoders_are_named_once_and_not_for_multilabel(tmp_path: Path) -> None:
    plan = study(tmp_path, encoder=["all-MiniLM-L6-v2", "all-MiniLM-L6-v2"])
    with pytest.raises(InputError, match="name one or several different ones"):
        prepare(plan, plan.load(), load_encoder(), 0)
    several = pd.DataFrame({"text": ["a", "b", "c"], "label": [["x"], ["y"], ["x", "y"]]})
    several.to_json(tmp_path / "several.jsonl", orient="records", lines=True)
    with pytest.raises(InputError, match="one encoder for all questions"):
        mcstl.run(
            Study(
                data={"file": str(tmp_path / "several.jsonl")},
                task="multilabel",
                encoder=["all-MiniLM-L6-v2", "word-ngrams"],
            )
        )
