"""Tiny transformers with random weights and a tokenizer of their own, in folders as hubs have."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import (
    LongformerConfig,
    LongformerModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
)

SPECIAL = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
WORDS = [
    "the cat sleeps on a mat and dreams of mice",
    "a dog barks at night while people try to sleep",
    "gender: Woman, age: 25-29, race: Asian, region: North South East West",
    "proposal to close the road and open a park near the school",
    "Human: may I ask you? Assistant: of course you may.",
]


def tiny(folder: Path, kind: str = "roberta", *, positions: int = 64, width: int = 32) -> Path:
    """Write a tiny RoBERTa or Longformer that reads `positions` tokens, and return its folder."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(WORDS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>",
        pair="<s> $A </s> </s> $B </s>",
        special_tokens=[("<s>", 0), ("</s>", 2)],
    )
    fast = PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        cls_token="<s>",
        sep_token="</s>",
        model_max_length=positions,
        model_input_names=["input_ids", "attention_mask"],
        **SPECIAL,
    )
    fast.save_pretrained(folder)
    shape: dict[str, Any] = {
        "vocab_size": 600,
        "hidden_size": width,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 64,
        "max_position_embeddings": positions + 2,
        "type_vocab_size": 1,
        "pad_token_id": 1,
        "bos_token_id": 0,
        "eos_token_id": 2,
    }
    model: Any
    with torch.random.fork_rng():
        torch.manual_seed(0)
        if kind == "longformer":
            model = LongformerModel(LongformerConfig(attention_window=[8, 8], **shape))
        else:
            model = RobertaModel(RobertaConfig(**shape))
    model.save_pretrained(folder)
    return folder
