"""Rewards against the model's own probabilities, and a GRPO step of the real TRL."""

from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from datasets import Dataset
from scipy.special import expit
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
)

import mcstl
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.conversations import conversation_text
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.encoding.parts import PartsEncoder
from mcstl.models.model import Model
from mcstl.models.networks import Layer
from mcstl.rewards import RewardFunction, score_texts
from mcstl.rewards.classifier import as_classifier
from test_model import NAMES, TEXTS, made

PROMPTS = ["", "", "", "", ""]
SHORT = {"epochs": 2, "learning_rate": 0.003, "dropout": 0.1, "batch_size": 32}


@pytest.fixture(scope="module")
def encoder(cache: Path) -> Encoder:
    return load_encoder(cache_dir=cache)


@pytest.fixture(scope="module", params=get_args(Layer))
def model(request: pytest.FixtureRequest, encoder: Encoder) -> Model:
    model = made("preference", encoder, layer=request.param)
    model.network.get_parameter("log_t").data = torch.tensor([0.3, -0.5, 0.8])
    return model


def test_the_difference_of_two_rewards_is_the_models_logit(model: Model) -> None:
    """§2.4: P(A preferred) = sigma((r_A - r_B) / t), the temperature being in the reward."""
    views = [["Order"], ["Comfort", "Wonder"], ["Wonder"]]
    rewards = score_texts(model, TEXTS, views, exactly=True)
    assert rewards.shape == (len(TEXTS), 3)
    pairs = [(a, b) for a in TEXTS for b in TEXTS]
    p = model.predict_proba(pairs, views, exactly=True)[:, :, 1].reshape(len(TEXTS), len(TEXTS), 3)
    np.testing.assert_allclose(expit(rewards[:, None] - rewards[None]), p, atol=1e-6)


def test_a_perspective_a_mixture_and_the_population(model: Model) -> None:
    scores = score_texts(model, TEXTS, [[name] for name in NAMES])
    order = RewardFunction(model, ["Order"])
    np.testing.assert_allclose(order(PROMPTS, TEXTS), scores[:, 1], rtol=1e-6)
    assert order.__name__ == "mcstl-Order"
    mixed = RewardFunction(model, mixture={"Comfort": 3, "Wonder": 1})
    expected = 0.75 * scores[:, 0] + 0.25 * scores[:, 2]
    np.testing.assert_allclose(mixed(PROMPTS, TEXTS), expected, rtol=1e-5)
    everyone = RewardFunction(model)(PROMPTS, TEXTS)
    np.testing.assert_allclose(everyone, score_texts(model, TEXTS, [[]])[:, 0], rtol=1e-5)
    assert all(type(reward) is float for reward in everyone)


def test_views_of_a_partition_average_to_the_population(model: Model) -> None:
    """The law of total expectation, of the mean scores: three are in Comfort, two in Order."""
    scores = score_texts(model, TEXTS, [["Comfort"], ["Order"], []])
    with torch.inference_mode():
        e = torch.from_numpy(model.encoder.encode(TEXTS))
        nobody = model.network.rewards(e, torch.zeros(1, 3)).numpy()[:, 0]
    mean = 0.3 * scores[:, 0] + 0.2 * scores[:, 1] + 0.5 * nobody
    np.testing.assert_allclose(mean, scores[:, 2], atol=1e-6)


def test_a_column_chooses_row_by_row(model: Model) -> None:
    scores = score_texts(model, TEXTS, [["Order"], ["Comfort", "Wonder"]])
    column = ["Order", ["Comfort", "Wonder"], None, ["Order"], []]
    rewards = RewardFunction(model, ["Order"])(
        PROMPTS, TEXTS, perspective=column, completion_ids=[]
    )
    np.testing.assert_allclose(rewards, scores[np.arange(5), [0, 1, 0, 0, 0]], rtol=1e-6)


def test_prompts_and_conversations_are_read_as_in_training(model: Model) -> None:
    reward = RewardFunction(model)
    joined = score_population(model, ["Sky? Blue."])
    assert reward(["Sky? "], ["Blue."]) == pytest.approx(joined)
    question = [{"role": "user", "content": "Sky?"}]
    reply = [{"role": "assistant", "content": "Blue."}]
    expected = score_population(model, [conversation_text(question, reply)])
    assert reward([question], [reply]) == pytest.approx(expected)
    parts = [{"role": "user", "content": [{"type": "text", "text": "Sky?"}]}]
    for prompt, completion in (
        (parts, reply),
        (question, question + reply),
        ("Sky?", parts + reply),
    ):
        assert reward([prompt], [completion]) == pytest.approx(expected)


@pytest.fixture(scope="module", params=["joined", "apart"])
def of_prompts(request: pytest.FixtureRequest, encoder: Encoder) -> Model:
    """A model of prompts with their replies."""
    frame = pd.DataFrame(
        {
            "prompt": [f"Tea or coffee {i}?" for i in range(40)],
            "chosen": [f"Tea {i}." for i in range(40)],
            "rejected": [f"Coffee {i}." for i in range(40)],
        }
    )
    columns = {name: ["prompt", name] for name in ("chosen", "rejected")}
    data = Annotations.from_frame(frame, columns=columns)
    chosen = PartsEncoder(encoder, 2) if request.param == "apart" else encoder
    return mcstl.fit(data, method="mc-stl", groups={"by": "none"}, encoder=chosen, training=SHORT)


def test_a_prompt_and_its_completion_are_the_parts_of_the_text(of_prompts: Model) -> None:
    reward = RewardFunction(of_prompts)
    pairs = [["Tea?", "Yes."], ["Tea?", "No."]]
    scores = score_texts(of_prompts, pairs, [[]])[:, 0]
    np.testing.assert_allclose(reward(*zip(*pairs, strict=True)), scores, rtol=1e-6)
    p = of_prompts.predict_proba([(pairs[0], pairs[1])])[0, 0, 1]
    if of_prompts.encoder.parts > 1:
        with pytest.raises(InputError, match=r"list of its parts \[part 1, part 2\]"):
            score_texts(of_prompts, ["Tea? Yes."], [[]])
        with pytest.raises(InputError, match="write parts: joined in its study"):
            as_classifier(of_prompts)
    assert 0 < p < 1
    asked = [{"role": "user", "content": "Tea?"}]
    said = [{"role": "assistant", "content": "Yes."}]
    expected = score_texts(of_prompts, [["user: Tea?", "assistant: Yes."]], [[]])[:, 0]
    for prompt, completion in ((asked, said), (asked, asked + said), ("Tea?", asked + said)):
        assert reward([prompt], [completion]) == pytest.approx(expected)


def score_population(model: Model, texts: list[str]) -> list[float]:
    return RewardFunction(model)([""] * len(texts), texts)


def test_what_cannot_be_a_reward(model: Model, encoder: Encoder) -> None:
    with pytest.raises(InputError, match="needs a model of preference; this one is ordinal"):
        RewardFunction(made("ordinal", encoder))
    with pytest.raises(InputError, match="Did you mean 'Order'"):
        RewardFunction(model, ["Ordre"])
    with pytest.raises(InputError, match="not both"):
        RewardFunction(model, ["Order"], mixture={"Order": 1})
    for weights in ({"Order": 0}, {}):
        with pytest.raises(InputError, match="the weights of a mixture sum to nothing"):
            RewardFunction(model, mixture=weights)
    for weight in (-1, float("nan")):
        with pytest.raises(InputError, match=r"weight of 'Order' is .* not negative"):
            RewardFunction(model, mixture={"Order": weight, "Wonder": 2})
    with pytest.raises(InputError, match="no group"):
        RewardFunction(model)([""], ["a"], perspective=["Beauty"])


@pytest.fixture(scope="module")
def saved(model: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    classifier, tokenizer = as_classifier(model, mixture={"Comfort": 3, "Wonder": 1})
    classifier.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_the_classifier_gives_the_same_rewards(model: Model, saved: Path) -> None:
    """Read back by transformers' Auto classes, with and without special tokens, cut like ours."""
    texts = [*TEXTS, "The heron stood there. " * 120]
    expected = RewardFunction(model, mixture={"Comfort": 3, "Wonder": 1})([""] * 6, texts)
    classifier = AutoModelForSequenceClassification.from_pretrained(saved, num_labels=1).eval()
    tokenizer = AutoTokenizer.from_pretrained(saved)
    for options in ({"truncation": True}, {"add_special_tokens": False, "padding_side": "right"}):
        inputs = tokenizer(texts, return_tensors="pt", padding=True, **options)
        with torch.inference_mode():
            logits = classifier(**inputs).logits
        assert logits.shape == (6, 1)
        np.testing.assert_allclose(logits[:, 0].numpy(), expected, atol=1e-4)
    parts = [{"type": "image"}, {"type": "text", "text": "Sky"}, {"type": "text", "text": "blue?"}]
    for content in ("Sky?", parts, []):
        chat: Any = [{"role": "user", "content": content}]
        chat += [{"role": "assistant", "content": "Blue."}]
        assert tokenizer.apply_chat_template(chat, tokenize=False) == conversation_text(chat)
    assert not list(saved.glob("*.bin"))


def test_an_encoder_of_another_kind_has_no_classifier(model: Model, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "encoder"
    shutil.copytree(model.encoder.folder, folder)
    pooling = folder / "1_Pooling" / "config.json"
    pooling.write_text(pooling.read_text().replace('max_tokens": false', 'max_tokens": true'))
    max_pooling = load_encoder(str(folder), cache_dir=tmp_path)
    spoilt = Model(**{**vars(model), "encoder": max_pooling})
    with pytest.raises(InputError, match="a classifier needs mean or cls"):
        as_classifier(spoilt)


def tiny_writer() -> tuple[GPT2LMHeadModel, PreTrainedTokenizerFast]:
    """A random language model of a thousand parameters, and a tokenizer of a few words."""
    words = ["<pad>", "<eos>", "tea", "bus", "heron", "late", "warm", "water"]
    tokenizer = Tokenizer(models.WordLevel(dict(zip(words, range(8), strict=True)), "<pad>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="<eos>", padding_side="left"
    )
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=8, n_positions=32, n_embd=8, n_layer=1, n_head=1, bos_token_id=1, eos_token_id=1
    )
    return GPT2LMHeadModel(config), fast


@pytest.mark.filterwarnings("ignore")  # of TRL, transformers and torch at one another
def test_a_grpo_step_of_trl(model: Model, saved: Path, tmp_path: Path) -> None:
    """Both kinds of reward at once, a column choosing the perspective, on a tiny random model."""
    from trl import GRPOConfig, GRPOTrainer

    writer, tokenizer = tiny_writer()
    before = {name: weight.clone() for name, weight in writer.state_dict().items()}
    rows = Dataset.from_dict({"prompt": ["tea", "bus"], "perspective": ["Order", "Wonder"]})
    classifier = AutoModelForSequenceClassification.from_pretrained(saved, num_labels=1)
    seen: list[tuple[int, list[str]]] = []

    class Seen(RewardFunction):
        def __call__(self, prompts: Any, completions: Any, **columns: Any) -> list[float]:
            seen.append((len(completions), columns["perspective"]))
            return super().__call__(prompts, completions, **columns)

    trainer = GRPOTrainer(
        model=writer,
        processing_class=tokenizer,
        reward_funcs=[Seen(model), classifier],
        reward_processing_classes=[None, AutoTokenizer.from_pretrained(saved)],
        train_dataset=rows,
        args=GRPOConfig(
            output_dir=str(tmp_path),
            max_steps=2,
            per_device_train_batch_size=4,
            num_generations=4,
            max_completion_length=4,
            learning_rate=0.1,
            report_to=[],
            use_cpu=True,
            bf16=False,
            disable_tqdm=True,
            logging_steps=1,
        ),
    )
    trainer.train()
    logged = [each for each in trainer.state.log_history if "reward" in each]
    assert len(logged) == 2
    assert all(np.isfinite(each["reward"]) for each in logged)
    assert "rewards/mcstl-population/mean" in logged[0]
    assert seen
    assert seen[0][0] == 4
    assert set(seen[0][1]) <= {"Order", "Wonder"}
    after = writer.state_dict()
    assert any(not torch.equal(after[name].cpu(), weight) for name, weight in before.items())
