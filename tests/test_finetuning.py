"""Transformers trained further: what they read, what they learn, and what is kept of them."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mcstl
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.datasets import simulated
from mcstl.encoding import encoders, finetuning
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.encoding.finetuning import (
    Classifier,
    EncoderConfig,
    FitOptions,
    LabelCounts,
    Reader,
    ReaderConfig,
    encoder_for,
)
from mcstl.models.model import Model
from mcstl.studies.study_file import Study
from tiny_transformers import tiny

CALM, ANGRY = "the cat sleeps on a mat", "a dog barks at night"
CONFIG = ReaderConfig(batch_size=4, learning_rate=1e-3)


@pytest.fixture(scope="module")
def roberta(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("roberta"))


@pytest.fixture(scope="module")
def longformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny(tmp_path_factory.mktemp("longformer"), "longformer")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCSTL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def classifier(folder: Path, n_classes: int = 2, *, preference: bool = False) -> Classifier:
    torch.manual_seed(0)
    return Classifier(Reader(str(folder), CONFIG), n_classes, preference=preference)


def told_apart(n: int = 24) -> LabelCounts:
    """Texts whose first words give the label."""
    inputs = [((f"{CALM if i % 2 else ANGRY} {i}",),) for i in range(n)]
    return finetuning.count_labels(inputs, np.arange(n) % 2, 2)


def pairs() -> Annotations:
    return Annotations.from_frame(simulated.table("preference", 60), task="preference")


# What is read


def test_cls_and_mean_are_those_of_transformers(roberta: Path) -> None:
    from transformers import AutoModel, AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(roberta)
    model: Any = AutoModel.from_pretrained(roberta).eval()
    texts = [CALM, "a dog", "the park near the school and the road"]
    padded = tokenizer(texts, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**padded).last_hidden_state
        for pooling in ("cls", "mean"):
            reader = Reader(str(roberta), ReaderConfig(pooling=pooling)).eval()
            ours = reader(reader.tokens([(text,) for text in texts]))
            for i in range(3):
                own = states[i, padded["attention_mask"][i] == 1]
                expected = own[0] if pooling == "cls" else own.mean(0)
                torch.testing.assert_close(ours[i], expected, rtol=0, atol=1e-5)


def test_the_profile_comes_first_then_the_separator_then_the_text(roberta: Path) -> None:
    reader = Reader(str(roberta), ReaderConfig())
    (read,) = reader.tokens([("age: 25-29", CALM)])
    said = reader.tokenizer.decode(read["input_ids"])
    assert said.replace("> ", ">") == f"<s>age: 25-29</s></s>{CALM}</s>"


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_long_text_is_cut_on_the_side_asked_for(roberta: Path, side: Any) -> None:
    reader = Reader(str(roberta), ReaderConfig(max_tokens=12, truncate=side))
    long = f"school {'the ' * 40} road"
    for given in ((long,), ("age", long)):
        (read,) = reader.tokens([given])
        assert len(read["input_ids"]) == 12
        said = reader.tokenizer.decode(read["input_ids"])
        assert ("road" in said, "school" in said) == (side == "left", side == "right")
        assert read["input_ids"][0] == 0  # [CLS] is never cut
        assert len(given) == 1 or "age" in said


def test_no_more_tokens_than_the_model_has_places_for(roberta: Path) -> None:
    assert Reader(str(roberta), ReaderConfig()).max_tokens == 64
    with pytest.raises(InputError, match=r"max_tokens: .* reads 64 tokens at most \(got 65\)"):
        Reader(str(roberta), ReaderConfig(max_tokens=65))


def test_longformers_cls_sees_the_whole_text(longformer: Path) -> None:
    """Its window is 8 tokens: without global attention the last word is out of reach."""
    reader = Reader(str(longformer), ReaderConfig()).eval()
    texts = [f"{'the ' * 40} {last}" for last in ("road", "park")]
    with torch.inference_mode():
        a, b = reader(reader.tokens([(text,) for text in texts]))
        assert (a - b).abs().max() > 1e-5
        del reader.transformer.forward  # as transformers has it
        a, b = reader(reader.tokens([(text,) for text in texts]))
        assert (a - b).abs().max() < 1e-6


# What is learned


def test_it_learns_and_keeps_the_best_epoch(roberta: Path) -> None:
    rows = told_apart()
    model = classifier(roberta)
    found = finetuning.fit(model, rows, rows, CONFIG, FitOptions(12, patience=12))
    assert min(found) < 0.3 < np.log(2)
    p = model.predict_proba(rows.inputs)
    nll = -(rows.counts * np.log(p)).sum() / rows.counts.sum()
    assert nll == pytest.approx(min(found), abs=1e-6)


def test_training_stops_when_validation_gets_no_better(roberta: Path) -> None:
    train = told_apart()
    turned = replace(train, counts=train.counts[:, ::-1].copy())
    found = finetuning.fit(classifier(roberta), train, turned, CONFIG, FitOptions(20, patience=2))
    assert len(found) == int(np.argmin(found)) + 1 + 2 < 20


def test_a_swapped_pair_gives_the_rest_to_one(roberta: Path) -> None:
    model = classifier(roberta, preference=True)
    inputs = [((CALM,), (ANGRY,)), ((ANGRY,), (CALM,)), ((CALM,), (CALM,))]
    p = model.predict_proba(inputs)
    np.testing.assert_allclose(p[0], p[1][::-1], rtol=0, atol=1e-6)
    np.testing.assert_allclose(p[2], 0.5, rtol=0, atol=1e-6)


def test_a_batch_in_parts_teaches_the_same(roberta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dropout is drawn part by part, so it is off here."""
    found = []
    for budget in (10_000, 30):
        monkeypatch.setattr(finetuning, "_TOKENS_AT_ONCE", budget)
        model = classifier(roberta)
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0
        finetuning.fit(model, told_apart(8), None, CONFIG, FitOptions(1))
        found.append(model.predict_proba(told_apart(8).inputs))
    np.testing.assert_allclose(found[0], found[1], rtol=0, atol=1e-4)


def test_a_stopped_training_ends_as_if_it_had_not_been(
    roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finetuning, "_CHECKPOINT_EVERY_SECONDS", -1.0)
    rows, checkpoint = told_apart(), tmp_path / "half"
    whole = classifier(roberta)
    expected = finetuning.fit(whole, rows, rows, CONFIG, FitOptions(3, patience=3, seed=5))

    def stop(what: str, done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        finetuning.fit(
            classifier(roberta), rows, rows, CONFIG,
            FitOptions(3, patience=3, seed=5, checkpoint=checkpoint), stop,
        )  # fmt: skip
    assert checkpoint.exists()
    steps: list[int] = []
    resumed = classifier(roberta)
    found = finetuning.fit(
        resumed, rows, rows, CONFIG,
        FitOptions(3, patience=3, seed=5, checkpoint=checkpoint),
        lambda _, done, total: steps.append(done),
    )  # fmt: skip
    assert found == expected
    assert steps[0] == 9
    np.testing.assert_array_equal(
        resumed.predict_proba(rows.inputs), whole.predict_proba(rows.inputs)
    )
    assert not checkpoint.exists()


def test_a_rate_that_is_too_high_is_told(roberta: Path) -> None:
    config = CONFIG.model_copy(update={"learning_rate": 1e30})
    with pytest.raises(InputError, match=r"diverged in step .*; lower learning_rate"):
        finetuning.fit(classifier(roberta), told_apart(), None, config, FitOptions(3))


def test_no_rows_and_what_is_no_model_are_told(roberta: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are no rows to train on"):
        finetuning.fit(
            classifier(roberta),
            LabelCounts([], np.zeros((0, 2), np.float32)),
            None,
            CONFIG,
            FitOptions(1),
        )
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be trained further"):
        Reader(str(tmp_path), ReaderConfig())


# Encoders made of it


def made(folder: Path, data: Annotations, seed: int = 0, **changes: Any) -> Encoder:
    config = EncoderConfig(name=str(folder), batch_size=8, **changes)
    return encoder_for(config, load_encoder(str(folder)), data, seed)


def test_a_name_alone_is_the_plain_encoder(roberta: Path) -> None:
    plain = load_encoder(str(roberta))
    assert encoder_for(str(roberta), plain, pairs(), 0) is plain


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_an_encoder_gives_the_vectors_of_its_reader(longformer: Path, pooling: Any) -> None:
    """Through sentence-transformers and the cache, as any other encoder; cut on the left."""
    data = pairs()
    config: dict[str, Any] = {"pooling": pooling, "max_tokens": 16, "truncate": "left"}
    encoder = made(longformer, data, **config)
    texts = data.distinct_texts()[0][:5]
    texts += [f"{'the ' * 30} {last}" for last in ("road", "park")]
    reader = Reader(str(longformer), ReaderConfig(**config)).eval()
    with torch.inference_mode():
        expected = reader(reader.tokens([(text,) for text in texts])).numpy()
    vectors = encoder.encode(texts)
    np.testing.assert_allclose(vectors, expected, rtol=0, atol=1e-5)
    assert np.abs(vectors[-1] - vectors[-2]).max() > 1e-5
    whole = [len(reader.tokenizer(text)["input_ids"]) > 16 for text in texts]
    assert encoder.truncated == sum(whole) >= 2


def test_fine_tuned_vectors_are_others_and_a_seeds_own(longformer: Path) -> None:
    data = pairs()
    texts = data.distinct_texts()[0][:4]
    frozen = made(longformer, data)
    tuned, other_seed = (made(longformer, data, seed, fine_tune=1) for seed in (0, 1))
    other_rows = made(longformer, data.take(np.arange(40)), fine_tune=1)
    four = [frozen, tuned, other_seed, other_rows]
    assert len({each.fingerprint for each in four}) == 4
    found = [each.encode(texts) for each in four]
    for i, one in enumerate(found):
        for other in found[:i]:
            assert np.abs(one - other).max() > 1e-6
    # None of them is read from another's cache.
    assert len({file.path for file in encoders.cache_info()}) == 4


def test_the_same_rows_and_seed_make_the_same_encoder_once(
    roberta: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pairs()
    first = made(roberta, data, fine_tune=1)
    monkeypatch.setattr(finetuning, "_make", None)  # it is not made again
    again = made(roberta, data, fine_tune=1)
    assert again.folder == first.folder
    monkeypatch.undo()
    monkeypatch.setenv("MCSTL_CACHE", str(tmp_path / "elsewhere"))
    elsewhere = made(roberta, data, fine_tune=1)
    assert elsewhere.folder != first.folder
    assert elsewhere.fingerprint == first.fingerprint


def study_of(folder: Path, **changes: Any) -> Study:
    return Study(
        data={"dataset": "simulated", "annotations": 200},
        task="preference",
        groups={"by": "rationale", "k": 2},
        encoder={"name": str(folder), "fine_tune": 1, "batch_size": 32, "truncate": "left"},
        training={"epochs": 2, "hidden": 8},
        **{"methods": ["mc-stl"], "seeds": 2, **changes},
    )


def test_only_training_rows_are_seen(roberta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Annotations] = []
    real = finetuning.encoder_for

    def watched(config: Any, plain: Any, train: Annotations, *rest: Any) -> Encoder:
        seen.append(train)
        return real(config, plain, train, *rest)

    monkeypatch.setattr(finetuning, "encoder_for", watched)
    found = mcstl.run(study_of(roberta, seeds=1))
    (train,) = seen
    assert len(train) == found.results["data"]["split"]["train"]
    assert not {*train.frame["row"]} & {*found.predictions["row"]}


def test_a_saved_model_carries_its_encoder(roberta: Path, tmp_path: Path) -> None:
    found = mcstl.run(study_of(roberta), out=tmp_path / "out")
    folder = tmp_path / "out" / "model"
    assert {path.name for path in folder.iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
        "encoder",
    }
    assert found.model is not None
    model = Model.load(folder)
    asked = [(CALM, ANGRY)]
    expected = found.model.predict_proba(asked)
    code = (
        "import sys, json; from mcstl.models.model import Model; m = Model.load(sys.argv[1]);"
        "print(json.dumps(m.predict_proba([tuple(json.loads(sys.argv[2]))]).tolist()))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, str(folder), json.dumps(asked[0])],
        capture_output=True,
        text=True,
        check=True,
        env={"MCSTL_CACHE": str(tmp_path / "new"), "PYTHONPATH": ":".join(sys.path)},
    )
    np.testing.assert_allclose(json.loads(said.stdout), expected, rtol=0, atol=1e-7)
    # Groups by rationale are those of the encoder as it came.
    data = pairs()
    p, S = model.predict_annotations(data)
    assert S.sum() == len(data)
    again = tmp_path / "again"
    model.save(again)
    model.save(again)  # over the first
    np.testing.assert_array_equal(Model.load(again).predict_annotations(data)[0], p)
    assert str(tmp_path) not in (folder / "config.json").read_text().replace(str(roberta), "")


def test_the_packaged_encoder_cut_on_the_left_is_so_with_every_backend() -> None:
    """OpenVINO, where it is installed, has a tokenizer of its own."""
    name = "all-MiniLM-L6-v2"
    config: dict[str, Any] = {"pooling": "mean", "max_tokens": 16, "truncate": "left"}
    texts = [CALM, f"{'the ' * 30} road", f"{'the ' * 30} park"]
    reader = Reader(name, ReaderConfig(**config)).eval()
    with torch.inference_mode():
        expected = reader(reader.tokens([(text,) for text in texts])).numpy()
    encoder = made(Path(name), pairs(), **config)
    np.testing.assert_allclose(encoder.encode(texts), expected, rtol=0, atol=1e-4)
    assert np.abs(expected[1] - expected[2]).max() > 0.1
    assert encoder.truncated == 2
