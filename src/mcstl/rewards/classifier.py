"""A preference model as a Hugging Face sequence classifier with one label, the reward.

Importing this module registers the model type ``mcstl-reward``, so that
``AutoModelForSequenceClassification.from_pretrained`` finds a directory that was saved with it.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from mcstl._support.errors import InputError, listed
from mcstl.models.model import Model
from mcstl.models.multilevel import MultilevelNetwork
from mcstl.models.networks import BaseNetwork, Layer, Network
from mcstl.models.stack import StackNetwork
from mcstl.rewards.function import weighted_memberships

#: The modules of encoders that a classifier can be made of; the last may be missing.
_MODULES = ("Transformer", "Pooling", "Normalize")
_POOLINGS = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}

#: Writes a conversation as `mcstl.data.conversations.conversation_text` does.
_TEMPLATE = (
    "{% for message in messages %}{% set content = message['content'] or [] %}"
    "{{ message['role'] }}: {% if content is string %}{{ content }}{% else %}"
    "{{ content | selectattr('text', 'string') | map(attribute='text') | select | join(' ') }}"
    "{% endif %}{% if not loop.last %}{{ '\\n\\n' }}{% endif %}{% endfor %}"
)


class RewardConfig(PreTrainedConfig):
    """The configuration of a `RewardModel`: its encoder's, and the sizes of the head.

    Attributes:
        encoder_config: The configuration of the encoder's transformer.
        pooling: How the encoder's states become an embedding: "mean" or "cls".
        normalize: Whether embeddings are scaled to length 1.
        hidden: The width of the head.
        layer: The form of the head's layer, as in `mcstl.models.networks`.
        n_views: P, how many memberships the reward is a mean over; 0 without a network.
        most_tokens: How many tokens the encoder reads, special tokens among them.
        cls_token_id: The token that a text starts with, if any.
        sep_token_id: The token that a text ends with, if any.
    """

    model_type = "mcstl-reward"
    sub_configs = {"encoder_config": AutoConfig}  # noqa: RUF012 (as transformers declares it)

    encoder_config: Any = None
    pooling: str = "mean"
    normalize: bool = True
    hidden: int = 256
    layer: Layer = "normed"
    n_views: int = 1
    most_tokens: int = 512
    cls_token_id: int | None = None
    sep_token_id: int | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        if isinstance(self.encoder_config, dict):
            fields = dict(self.encoder_config)
            self.encoder_config = AutoConfig.for_model(fields.pop("model_type"), **fields)
        super().__post_init__(**kwargs)


class RewardModel(PreTrainedModel):
    """Computes r = sum over P views of weight o(e + V) / t (§2.4), plus a linear function of e.

    The network of MC-STL is the sum, the multilevel model is linear in a text's embedding e.

    Args:
        config: The sizes of the encoder and of the head.
    """

    config_class = RewardConfig
    base_model_prefix = "encoder"

    def __init__(self, config: RewardConfig) -> None:
        super().__init__(config)
        size = config.encoder_config.hidden_size
        self.num_labels = 1
        self.encoder = AutoModel.from_config(config.encoder_config)
        self.first = nn.Linear(size, config.hidden)
        normed = config.layer == "normed"
        self.norm = nn.LayerNorm(config.hidden) if normed else nn.Identity()
        self.active = nn.ReLU() if normed else nn.GELU()
        self.score = nn.Linear(config.hidden, 1, bias=False)
        self.shift = nn.Parameter(torch.zeros(config.n_views, config.hidden))
        self.weight = nn.Parameter(torch.ones(config.n_views))
        self.linear = nn.Linear(size, 1)
        self.post_init()

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, **unused: Any
    ) -> SequenceClassifierOutput:
        """Score tokenised texts.

        Args:
            input_ids: (n, length) tokens, padded on the right, with special tokens or without.
            attention_mask: (n, length) 1 where there is a token, else 0; all 1 if None.
            **unused: What else a tokenizer or a trainer hands over.

        Returns:
            An output whose ``logits`` are the (n, 1) rewards.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        input_ids, attention_mask = self._framed(input_ids, attention_mask)
        states = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        if self.config.pooling == "cls":
            e = states[:, 0]
        else:
            mask = attention_mask[..., None].to(states.dtype)
            e = (states * mask).sum(1) / mask.sum(1).clamp(min=1e-9)
        if self.config.normalize:
            e = nn.functional.normalize(e, dim=-1)
        units = self.active(self.norm(self.first(e)[:, None] + self.shift[None]))
        logits = self.score(units).squeeze(-1) @ self.weight
        return SequenceClassifierOutput(logits=logits[:, None] + self.linear(e))

    def _framed(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Cut tokens and put special tokens around them, as the encoder was trained to read them.

        TRL tokenises without special tokens and without a limit.
        """
        config = self.config
        first, last, most = config.cls_token_id, config.sep_token_id, config.most_tokens
        if first is None or last is None:
            return ids[:, :most], mask[:, :most]
        lengths = mask.sum(1)
        if bool((ids[:, 0] == first).all()):
            ids, lengths = ids[:, 1:], lengths - 2
        lengths = lengths.clamp(max=most - 2)
        width = int(lengths.max()) + 2
        positions = torch.arange(width, device=ids.device)[None]
        inner = nn.functional.pad(ids, (1, 2))[:, :width]
        ids = torch.where(positions <= lengths[:, None], inner, config.pad_token_id or 0)
        ids = torch.where(positions == 0, first, ids)
        ids = torch.where(positions == lengths[:, None] + 1, last, ids)
        return ids, (positions < lengths[:, None] + 2).to(mask.dtype)


AutoConfig.register(RewardConfig.model_type, RewardConfig)
AutoModelForSequenceClassification.register(RewardConfig, RewardModel)


def as_classifier(
    model: Model,
    perspective: Sequence[str] | None = None,
    *,
    mixture: Mapping[str, float] | None = None,
) -> tuple[RewardModel, Any]:
    """Make a Hugging Face classifier of one text from a preference model.

    Its logit is the reward that `RewardFunction` gives. Save it and the tokenizer into one folder,
    from which `load_classifier` reads them; so does `AutoModelForSequenceClassification` once
    ``mcstl.rewards.classifier`` is imported. The
    encoder has to be one transformer with mean or CLS pooling, as all-MiniLM-L6-v2 is.

    Args:
        model: A preference model.
        perspective: As in `RewardFunction`.
        mixture: As in `RewardFunction`.

    Returns:
        The classifier and its tokenizer.

    Raises:
        InputError: As `RewardFunction` does, and if the network or the encoder has another form.
    """
    memberships, weights = weighted_memberships(model, perspective, mixture)
    S = torch.from_numpy(memberships.toarray().astype(np.float32))
    shares = torch.from_numpy(weights).float()
    members = _weighted_members(model.network)
    networks = [(share, each) for share, each in members if isinstance(each, Network)]
    linear = [(share, each) for share, each in members if isinstance(each, MultilevelNetwork)]
    if len(networks) > 1 or len(networks) + len(linear) < len(members):
        raise InputError(
            "a classifier is made of a model of best, multilevel, mc-stl or none; this one is of "
            "another method. Use RewardFunction, which needs nothing, or fit one of these"
        )
    pooling, normalize, length = _encoder_form(model)
    folder = str(model.encoder.folder)
    encoder = AutoModel.from_pretrained(folder, local_files_only=True)
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    tokenizer.model_max_length = length
    tokenizer.chat_template = _TEMPLATE
    config = RewardConfig(
        encoder_config=encoder.config,
        pooling=pooling,
        normalize=normalize,
        hidden=networks[0][1].first.out_features if networks else 1,
        layer=networks[0][1].layer if networks else "smooth",
        n_views=len(weights) if networks else 0,
        most_tokens=length,
        cls_token_id=tokenizer.cls_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )
    config.num_labels, config.pad_token_id = 1, tokenizer.pad_token_id
    classifier = RewardModel(config)
    with torch.no_grad():
        classifier.encoder.load_state_dict(encoder.state_dict())
        for share, network in networks:
            classifier.first.load_state_dict(network.first.state_dict())
            classifier.norm.load_state_dict(network.rest[0].state_dict())  # GELU has none
            classifier.score.load_state_dict(network.rest[-1].state_dict())
            shift, scale = network.effects(S)
            classifier.shift.copy_(shift)
            classifier.weight.copy_(share * shares / scale)
        classifier.linear.weight.zero_()
        classifier.linear.bias.zero_()
        for share, regression in linear:
            slope, intercept = regression.reward_function(shares @ S)
            classifier.linear.weight.add_(share * slope)
            classifier.linear.bias.add_(share * intercept)
    return classifier.eval(), tokenizer


def _weighted_members(network: BaseNetwork) -> list[tuple[float, BaseNetwork]]:
    """Return what a network's reward is the weighted sum of."""
    if not isinstance(network, StackNetwork):
        return [(1.0, network)]
    weights = (network.slope * network.weights[0]).tolist()
    return [each for each in zip(weights, network.members, strict=True) if each[0]]


def load_classifier(folder: str | Path) -> tuple[RewardModel, Any]:
    """Read a classifier and its tokenizer from the folder into which both were saved.

    Args:
        folder: The folder.

    Returns:
        The classifier and its tokenizer.

    Raises:
        InputError: If the folder holds no classifier of ours.
    """
    path = Path(folder)
    if not (path / "config.json").is_file():
        raise InputError(f"{path} holds no classifier; save one there by save_pretrained")
    if (kind := _read_json(path / "config.json").get("model_type")) != RewardConfig.model_type:
        raise InputError(
            f"{path} holds a model of type {kind!r}; expected {RewardConfig.model_type!r}, which "
            "mcstl.rewards.as_classifier makes of a preference model"
        )
    classifier = RewardModel.from_pretrained(path, local_files_only=True)
    return classifier.eval(), AutoTokenizer.from_pretrained(path, local_files_only=True)


def _encoder_form(model: Model) -> tuple[str, bool, int]:
    """Read how the encoder pools, whether it normalises, and how many tokens it reads."""
    encoder, folder = model.encoder, Path(model.encoder.folder)
    if model.text_form.apart:
        raise InputError(
            "a classifier reads whole texts, and this model reads the parts "
            f"{listed(model.text_form.parts)} apart; write parts: joined in its study and train it "
            "again, or use RewardFunction, which reads prompt and completion apart"
        )
    modules = _read_json(folder / "modules.json")
    names = [module["type"].rpartition(".")[2] for module in modules]
    if tuple(names) not in (_MODULES, _MODULES[:2]):
        raise InputError(
            f"the encoder {encoder.name} is made of {listed(names)}; a classifier needs "
            f"{listed(_MODULES[:2])} and at most {_MODULES[2]}. "
            "Use RewardFunction, which needs nothing"
        )
    pooling = _read_json(folder / modules[1]["path"] / "config.json")
    if isinstance(pooling.get("pooling_mode"), str):  # as newer versions write it
        modes = [pooling["pooling_mode"]]
    else:
        on = [key for key, value in pooling.items() if key.startswith("pooling_mode") and value]
        modes = [_POOLINGS.get(key, key) for key in on]
    if modes not in (["mean"], ["cls"]):
        raise InputError(
            f"the encoder {encoder.name} pools by {listed(modes)}; a classifier needs mean or cls. "
            "Use RewardFunction, which needs nothing"
        )
    limits = folder / "sentence_bert_config.json"
    most_tokens = _read_json(limits).get("max_seq_length") if limits.exists() else None
    most_tokens = most_tokens or _read_json(folder / "config.json")["max_position_embeddings"]
    return modes[0], "Normalize" in names, int(most_tokens)


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))
