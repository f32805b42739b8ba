"""Texts in other scripts through a tiny random encoder: train, save, load, predict, report."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

import mcstl
from mcstl import reporting as report

TEXTS = [
    "Η βιβλιοθήκη ανοίγει στις εννέα.",
    "الحافلة متأخرة مرة أخرى",
    "चाय गरम है और अच्छी है",
    "图书馆九点开门",
    "今日はバスが遅れている",
    "Автобус снова опаздывает",
    "👩🏽‍🌾 🚌 ☕️ 👍",
    "האוטובוס מאחר שוב",
    "รถบัสมาสายอีกแล้ว",
    "é e\u0301 ﬁ ½ Å",
]
VALUES = ["Τάξη", "جمال", "关怀"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A random BERT of two layers whose word pieces were learnt from the texts above."""
    folder = tmp_path_factory.mktemp("encoder")
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    names = [f"{name}_token" for name in ("pad", "unk", "cls", "sep", "mask")]
    trainer = trainers.WordPieceTrainer(vocab_size=400, special_tokens=special)
    tokenizer.train_from_iterator(TEXTS * 5, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        **dict(zip(names, special, strict=True)),
    )
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=64,
    )
    BertModel(config).save_pretrained(folder / "bert")
    fast.save_pretrained(folder / "bert")
    words = Transformer(str(folder / "bert"), max_seq_length=64)
    pooling = Pooling(words.get_embedding_dimension())
    SentenceTransformer(modules=[words, pooling]).save(str(folder / "model"))
    return str(folder / "model")


@pytest.mark.filterwarnings("ignore")  # of sentence-transformers and of fonts without these scripts
@pytest.mark.usefixtures("cache")
def test_a_study_in_ten_scripts(encoder: str, tmp_path: Path) -> None:
    n = 400
    random = np.random.default_rng(5)
    item, value = random.integers(len(TEXTS), size=n), random.integers(3, size=n)
    # Who is asked tells nearly all and the text little: far from what rounding could change.
    chance = np.array([0.9, 0.1, 0.5])[value] + np.where(item % 2 == 0, 0.08, -0.08)
    table = pd.DataFrame(
        {
            "text": [TEXTS[i] for i in item],
            "label": np.where(random.random(n) < chance, "ναι", "όχι"),
            "values": [VALUES[k] for k in value],
            "πόλη": ["Αθήνα" if i % 2 else "القاهرة" for i in range(n)],
        }
    )
    table.to_csv(tmp_path / "ψήφοι.csv", index=False)
    study = mcstl.Study(
        data={"file": str(tmp_path / "ψήφοι.csv")},
        labels={"όχι": ["όχι"], "ναι": ["ναι"]},
        groups={"by": "taxonomy", "min_size": 20},
        encoder=encoder,
        methods=["mc-stl", "none"],
        training={"learning_rate": 0.01, "dropout": 0.1, "epochs": 60},
        seeds=[0],
    )
    results = mcstl.run(study, out=tmp_path / "out")
    summary = results.results["summary"]
    assert summary["mc-stl"]["auc"]["mean"] > summary["none"]["auc"]["mean"] + 0.1
    model = mcstl.Model.load(tmp_path / "out" / "model")
    assert set(model.group_names) == set(VALUES)
    p = model.predict_proba(TEXTS, [[value] for value in VALUES])
    assert len({tuple(row) for row in p[:, 0].round(6)}) == len(TEXTS)  # no two texts are the same
    page = report.render(tmp_path / "out").read_text(encoding="utf-8")
    card = (tmp_path / "out" / "model" / "README.md").read_text(encoding="utf-8")
    for text in (page, card):
        assert all(value in text for value in VALUES)
