"""Who gets which values: by examples, by definitions, by a language model; and how they travel."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

import mcstl
from mcstl._support.errors import InputError, Notice
from mcstl.data.annotations import Annotations
from mcstl.data.tables import read_table
from mcstl.datasets import simulated, valueeval23
from mcstl.encoding import encoders, finetuning
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.groups import TaxonomyConfig, fit_scheme
from mcstl.labelling import by_embedding, labelled_tables, taxonomies, trained_labeller
from mcstl.labelling.cases import Cases, cases_of_annotations
from mcstl.labelling.llm import Client, Template
from mcstl.labelling.trained_labeller import Labeller, fit_labeller
from mcstl.labelling.value_notation import format_memberships
from mcstl.studies.study_file import Study
from model_server import Mishap, serving
from test_groups import saved_and_loaded
from tiny_transformers import tiny

TEN = taxonomies.load("schwartz")


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    return load_encoder()


@pytest.fixture(scope="module")
def town() -> pd.DataFrame:
    return simulated.table("binary", 900)


@pytest.fixture(scope="module")
def labeller(town: pd.DataFrame, encoder: Encoder) -> Labeller:
    rows = town.iloc[:600]
    return fit_labeller(list(rows["rationale"]), list(rows["values"]), encoder, list(rows["text"]))


def data_of(frame: pd.DataFrame) -> Annotations:
    return Annotations.from_frame(frame, labels={"no": ["oppose"], "yes": ["support"]})


# --- trained


def test_a_labeller_finds_the_values_of_reasons_it_has_not_seen(
    town: pd.DataFrame, encoder: Encoder, labeller: Labeller
) -> None:
    new = town.iloc[600:]
    p = labeller.probabilities(list(new["rationale"]), encoder)
    S = labeller.membership(p)
    true = np.array([[name in row for name in labeller.names] for row in new["values"]])
    told = S.toarray() > 0
    score = f1_score(true, told, average="macro")
    always = f1_score(true, np.ones_like(true), average="macro")
    assert score > always + 0.1
    # What it says of itself is what it reaches on others.
    assert labeller.f1.mean() == pytest.approx(score, abs=0.1)
    # Calibrated: of those told 30% about 30% are.
    assert p.mean(axis=0) == pytest.approx(true.mean(axis=0), abs=0.08)
    soft = labeller.membership(p, soft=True)
    np.testing.assert_array_equal(soft.toarray() > 0, told)
    np.testing.assert_allclose(soft.toarray()[told], p[told], atol=0.0501)


def test_a_saved_labeller_says_the_same(
    tmp_path: Path, encoder: Encoder, labeller: Labeller
) -> None:
    labeller.save(tmp_path / "labeller")
    loaded = Labeller.load(tmp_path / "labeller")
    texts = ["It keeps children safe.", "", "It is our custom."]
    p = labeller.probabilities(texts, encoder)
    np.testing.assert_array_equal(loaded.probabilities(texts, encoder), p)
    assert (p[1] == 0).all()
    (tmp_path / "labeller" / "labeller.json").write_text('{"schema": 99}')
    with pytest.raises(InputError, match="schema 99"):
        Labeller.load(tmp_path / "labeller")
    with pytest.raises(InputError, match="holds no labeller"):
        Labeller.load(tmp_path)
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="was fitted with the encoder all-MiniLM"):
        labeller.probabilities(texts, load_encoder(str(tmp_path)))


def test_an_encoder_trained_further_is_each_folds_own_and_saved_with_it(
    tmp_path: Path, town: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a tiny random RoBERTa, in a cache that is then cleared."""
    monkeypatch.setenv("MCSTL_CACHE", str(tmp_path / "cache"))
    plain = load_encoder(str(tiny(tmp_path / "roberta")))
    rows = town.iloc[:160]
    data = list(rows["rationale"]), list(rows["values"]), plain, list(rows["text"])
    steps: list[str] = []
    learned = fit_labeller(*data, lambda step, *_: steps.append(step), fine_tune=1)
    assert len({fingerprint for _, fingerprint in learned.tuned}) == trained_labeller.FOLDS
    assert "fine-tuning the encoder, 5 of 5" in steps
    texts = ["It keeps children safe.", "", "It is our custom."]
    p = learned.probabilities(texts, plain)
    assert (p[1] == 0).all()
    # Made once, and a fold's never of its own fifth: another labeller of the same rows has them.
    monkeypatch.setattr(finetuning, "_make", None)
    assert fit_labeller(*data, fine_tune=1).tuned == learned.tuned
    learned.save(tmp_path / "labeller")
    encoders.clear_cache()
    with pytest.raises(InputError, match="which is not there; save the labeller"):
        learned.probabilities(texts, plain)
    loaded = Labeller.load(tmp_path / "labeller")
    np.testing.assert_allclose(loaded.probabilities(texts, plain), p, atol=1e-6)
    config = TaxonomyConfig(source="trained", labeller=str(tmp_path / "labeller"), min_size=1)
    scheme = fit_scheme(config, data_of(rows), plain)
    S = scheme.assign(data_of(rows), plain).toarray()
    again = saved_and_loaded(scheme)
    np.testing.assert_array_equal(again.assign(data_of(rows), plain).toarray(), S)
    loaded.save(tmp_path / "labeller")  # onto itself
    assert Labeller.load(tmp_path / "labeller").tuned == loaded.tuned
    shutil.rmtree(tmp_path / "labeller" / "encoder-1")
    shutil.copytree(tmp_path / "labeller" / "encoder-0", tmp_path / "labeller" / "encoder-1")
    with pytest.raises(InputError, match="is not the one of this labeller"):
        loaded.probabilities(texts, plain)


def test_folds_keep_items_whole() -> None:
    items = [f"item {i % 17}" for i in range(200)]
    folds = trained_labeller._folds(items)
    assert set(folds) == set(range(trained_labeller.FOLDS))
    by_item = pd.Series(folds).groupby(items).nunique()
    assert (by_item == 1).all()


def test_what_cannot_be_learned_from_is_said(encoder: Encoder) -> None:
    with pytest.raises(InputError, match=r"given to 20 rationales \(Power 3\)"):
        fit_labeller(["a"] * 3, [["Power"]] * 3, encoder)
    with pytest.raises(InputError, match="1 distinct texts are too few"):
        fit_labeller(["a"] * 30, [["Power"]] * 30, encoder)


def test_thresholds_have_the_best_f1() -> None:
    rng = np.random.default_rng(0)
    p = rng.random((50, 3)).round(1).astype(np.float32)
    Y = (rng.random((50, 3)) < p).astype(np.float32)
    found = trained_labeller.best_thresholds(p, Y)
    for k in range(3):
        best = max(f1_score(Y[:, k], p[:, k] >= t) for t in np.arange(0, 1.05, 0.05))
        assert f1_score(Y[:, k], p[:, k] >= found[k]) == pytest.approx(best)


@pytest.mark.system
def test_the_twenty_values_of_valueeval23(data_dir: Path, encoder: Encoder) -> None:
    folder = data_dir / "valueeval23"
    train, validation = (valueeval23.read_part(folder, part) for part in ("training", "validation"))
    learned = fit_labeller(
        list(train["Premise"]), list(train["values"]), encoder, list(train["Conclusion"])
    )
    cases = Cases(list(validation["Premise"]), [], [])
    found = labelled_tables.with_labeller(cases, learned, encoder)
    score = labelled_tables.f1_scores(found, list(validation["values"]))["f1"].mean()
    assert score >= 0.42
    zero = labelled_tables.with_embedding(cases, taxonomies.load("valueeval"), encoder)
    assert 0.26 < labelled_tables.f1_scores(zero, list(validation["values"]))["f1"].mean() < score


# --- by definitions


def test_definitions_find_what_is_said_in_other_words(encoder: Encoder) -> None:
    texts = [
        "The church and our ancestors have always done it so.",
        "Criminals must be kept away from our homes.",
        "It is such fun and feels wonderful.",
        "",
    ]
    S = labelled_tables.with_embedding(Cases(texts, [], []), TEN, encoder).membership.toarray()
    given = [{TEN.names[k] for k in np.flatnonzero(row)} for row in S]
    assert "Tradition" in given[0]
    assert "Security" in given[1]
    assert "Hedonism" in given[2]
    assert not given[3]


def test_the_rule_is_fixed_once_it_is_fitted(encoder: Encoder) -> None:
    texts = ["It is fun.", "It is safe.", "It is fair to all.", "It is our custom."]
    rule = by_embedding.fit_zero_shot(texts, TEN, encoder)
    all_ = rule.membership(texts, encoder).toarray()
    np.testing.assert_array_equal(rule.membership(texts[1:2], encoder).toarray(), all_[1:2])


# --- by a language model


def test_a_language_model_is_asked_for_what_the_paper_asks() -> None:
    cases = Cases(['It is "fair"', " "], ["Ban cars", "x"], ["fairness to walkers", ""])
    with serving(lambda *_: '["Universalism", "Security"]') as server:
        client = Client("m", base_url=server.url)
        found = labelled_tables.with_llm(cases, TEN, client, Template("label"))
        system, user = (message["content"] for message in server.bodies[0]["messages"])
    assert server.requests == 1
    for value in TEN.values:  # noqa: PD011 (no data frame)
        assert f"{value.name}: {value.definition}" in system
    assert '["<label1>", "<label2>", ...]' in system
    lines = [line for line in user.splitlines() if line]
    assert [line.rpartition(": ")[2] for line in lines] == [
        '"It is \\"fair\\""',
        '"Ban cars"',
        '"fairness to walkers"',
    ]
    assert format_memberships(found.membership, found.names) == ["Universalism|Security", ""]
    assert not found.unlabelled


def test_what_gets_no_usable_reply_stays_unlabelled_and_is_reported() -> None:
    cases = Cases(["a", "b"], ["", ""], ["", ""])
    with serving(lambda text, _: '["Power"]' if '"a"' in text else "Hedonism!") as server:
        found = labelled_tables.with_llm(
            cases, TEN, Client("n", base_url=server.url), Template("label")
        )
    assert found.membership.getnnz(axis=1).tolist() == [1, 0]
    assert list(found.unlabelled) == [1]
    assert "not one list" in found.unlabelled[1]


# --- how values are written


def test_memberships_survive_the_cell_of_a_table(
    tmp_path: Path, town: pd.DataFrame, encoder: Encoder, labeller: Labeller
) -> None:
    rows = town.iloc[600:700].drop(columns="values")
    cases = Cases(list(rows["rationale"]), [], [])
    found = labelled_tables.with_labeller(cases, labeller, encoder, soft=True)
    labelled_tables.write(tmp_path / "out.csv", rows, found)
    data = Annotations.read(tmp_path / "out.csv", labels={"no": ["oppose"], "yes": ["support"]})
    kept = data.frame["row"].to_numpy()
    scheme = fit_scheme(TaxonomyConfig(soft=True, min_size=1), data)
    expected = found.membership[kept].toarray()[:, [found.names.index(n) for n in scheme.names]]
    np.testing.assert_allclose(scheme.assign(data).toarray(), expected, atol=0.006)
    hard = fit_scheme(TaxonomyConfig(min_size=1), data)
    np.testing.assert_array_equal(hard.assign(data).toarray(), expected > 0)
    with pytest.raises(InputError, match="has a column 'values' already"):
        labelled_tables.write(tmp_path / "out.csv", town, found)
    with pytest.raises(InputError, match="is no table that is written"):
        labelled_tables.write(tmp_path / "out.xlsx", rows, found)


@pytest.mark.parametrize("ending", ["csv", "tsv", "jsonl", "parquet"])
def test_labelled_tables_are_written_as_their_names_say(
    ending: str, tmp_path: Path, town: pd.DataFrame, encoder: Encoder, labeller: Labeller
) -> None:
    rows = town.iloc[600:640].drop(columns="values")
    found = labelled_tables.with_labeller(Cases(list(rows["rationale"]), [], []), labeller, encoder)
    out = tmp_path / f"out.{ending}"
    labelled_tables.write(out, rows, found)
    given = labelled_tables.values_of(read_table(out), "out")
    inside = found.membership.toarray() > 0
    assert [{*values} for values in given] == [
        {name for name, is_in in zip(found.names, row, strict=True) if is_in} for row in inside
    ]


@pytest.mark.parametrize(
    ("column", "columns", "other"),
    [
        ("text_b", ["text_a", "text_b"], "text_a"),
        ("Response 1", ["Response 1", "Response 2"], "Response 2"),
        ("answer2", ["answer1", "answer2"], "answer1"),
        ("rejected", ["Chosen", "rejected"], "Chosen"),
        ("rationale", ["rationale", "text_a", "text_b"], ""),
        ("reason_1", ["reason_1", "text"], ""),
        ("b", ["a", "b"], ""),
    ],
)
def test_one_side_of_a_pair_is_known(column: str, columns: list[str], other: str) -> None:
    assert labelled_tables.other_side(column, columns) == other


def test_labelling_one_side_of_a_pair_warns(tmp_path: Path) -> None:
    pd.DataFrame({"text_a": ["a"], "text_b": ["b"]}).to_csv(tmp_path / "p.csv", index=False)
    request = labelled_tables.LabellingRequest(
        table=tmp_path / "p.csv", by="embedding", rationale="text_a"
    )
    with pytest.warns(Notice, match="one side of each pair, and say nothing of 'text_b'"):
        request.read()


# --- groups from labels


def test_refined_values_are_merged_into_what_they_refine() -> None:
    frame = pd.DataFrame(
        {
            "text": list("abc"),
            "label": ["oppose", "support", "support"],
            "values": ["Face", "Self-direction: thought=0.4|Self-direction: action", "Hedonism"],
        }
    )
    config = TaxonomyConfig(taxonomy="schwartz", merge=True, soft=True, min_size=1)
    scheme = fit_scheme(config, data_of(frame))
    assert scheme.names == ("Hedonism", "Power", "Security", "Self-direction")
    expected = [[0, 1, 1, 0], [0, 0, 0, 1], [1, 0, 0, 0]]
    np.testing.assert_array_equal(scheme.assign(data_of(frame)).toarray(), expected)
    assert "pleasure, comfort" in scheme.groups[0].description
    again = saved_and_loaded(scheme)
    np.testing.assert_array_equal(again.assign(data_of(frame)).toarray(), expected)


def test_groups_by_a_labeller_or_definitions_are_schemes(
    tmp_path: Path, town: pd.DataFrame, encoder: Encoder, labeller: Labeller
) -> None:
    labeller.save(tmp_path)
    data = data_of(town.iloc[600:])
    configs = [
        TaxonomyConfig(source="trained", labeller=str(tmp_path), min_size=5),
        TaxonomyConfig(source="trained", labeller=str(tmp_path), min_size=5, soft=True),
        TaxonomyConfig(source="embedding", taxonomy="schwartz", min_size=5),
    ]
    for config in configs:
        scheme = fit_scheme(config, data, encoder)
        S = scheme.assign(data, encoder)
        assert S.dtype == np.float32
        assert S.data.max() <= 1
        assert (S.data < 1).any() == config.soft
        again = saved_and_loaded(scheme)
        np.testing.assert_array_equal(again.assign(data, encoder).toarray(), S.toarray())
        one = again.assign(data.take([3]), encoder).toarray()
        np.testing.assert_allclose(one, S[3].toarray(), atol=1e-6)
        with pytest.raises(InputError, match="need an encoder"):
            fit_scheme(config, data)


def test_groups_by_a_language_model_never_show_it_the_label(
    town: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = data_of(town.iloc[:40])
    with serving(lambda text, _: json.dumps(["Power" if len(text) % 2 else "Hedonism"])) as server:
        config = TaxonomyConfig(
            source="llm", taxonomy="schwartz", model="g", base_url=server.url, min_size=1
        )
        scheme = fit_scheme(config, data)
        asked = server.requests
        assert asked == len({(t, r) for t, r in zip(*cases_of_annotations(data)[:2], strict=True)})
        loaded = saved_and_loaded(scheme)
        assert server.url not in json.dumps(scheme.state()[0])
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        S = loaded.assign(data)
        assert server.requests == asked  # what is kept is not paid for again
        assert set(scheme.names) == {"Power", "Hedonism"}
        assert (S.getnnz(axis=1) == 1).all()
        sent = json.dumps(server.bodies)
        assert "oppose" not in sent
        assert "support" not in sent
        explained = data_of(town.iloc[:3].assign(explanation=["It is kind.", "", "Why not?"]))
        assert explained.attributes == data.attributes
        fit_scheme(config, explained)
        prompts = [body["messages"][-1]["content"] for body in server.bodies[asked:]]
        assert ["Explanation of the context" in each for each in prompts] == [True, True]
        assert all("It is kind." in each or "Why not?" in each for each in prompts)
    with serving(lambda *_: Mishap(400, content="no")) as server:
        config = config.model_copy(update={"model": "h", "base_url": server.url})
        with pytest.raises(InputError, match=r"cannot be used: .*no"):
            fit_scheme(config, data)
    with serving(lambda text, _: "?" if len(text) % 3 else '["Power"]') as server:
        config = config.model_copy(update={"model": "i", "base_url": server.url})
        with pytest.warns(Notice, match=r"\d+ of 40 rationales stay without a value: no usable"):
            fit_scheme(config, data)


def test_soft_groups_train_and_predict(
    tmp_path: Path, town: pd.DataFrame, labeller: Labeller
) -> None:
    labeller.save(tmp_path)
    config = {"by": "taxonomy", "source": "trained", "labeller": str(tmp_path), "soft": True}
    model = mcstl.fit(
        data_of(town.iloc[600:]), groups={**config, "min_size": 30}, training={"epochs": 2}
    )
    found = mcstl.evaluate(model, data_of(town.iloc[600:]))
    assert np.isfinite(found["metrics"]["nll"])
    model.save(tmp_path / "model")
    again = mcstl.Model.load(tmp_path / "model")
    texts = list(town["text"][:3])
    np.testing.assert_array_equal(again.predict_proba(texts), model.predict_proba(texts))


@pytest.mark.parametrize(
    ("groups", "said"),
    [
        ("{by: taxonomy, source: trained}", "labeller, the folder of one"),
        ("{by: taxonomy, source: llm}", "source: llm needs a taxonomy"),
        ("{by: taxonomy, model: x}", "belong to source: llm"),
        ("{by: taxonomy, taxonomy: schwartz, source: embedding, soft: true}", "no probabilities"),
        ("{by: taxonomy, taxonomy: mine, merge: true}", "merge needs"),
    ],
)
def test_what_does_not_fit_together_is_said(tmp_path: Path, groups: str, said: str) -> None:
    file = tmp_path / "s.yaml"
    file.write_text(f"data: {{dataset: simulated}}\ngroups: {groups}\n")
    with pytest.raises(InputError, match=said) as caught:
        Study.read(file)
    assert str(caught.value).startswith("s.yaml: groups")


def test_what_groups_name_is_relative_to_the_study_file(tmp_path: Path) -> None:
    file = tmp_path / "sub" / "s.yaml"
    file.parent.mkdir()
    file.write_text(
        "data: {dataset: simulated}\ngroups: {combine: [{by: taxonomy, source: trained, "
        "labeller: ../mine, taxonomy: own.yaml}, {by: attributes}]}\n"
    )
    groups = Study.read(file).model_dump()["groups"]["combine"][0]
    assert groups["labeller"] == str(tmp_path / "sub" / "../mine")
    assert groups["taxonomy"] == str(tmp_path / "sub" / "own.yaml")
