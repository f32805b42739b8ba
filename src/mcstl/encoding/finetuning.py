"""Fine-tuning: a transformer trained further with the task's head, and encoders made of it.

`Reader` turns texts, or a profile before a text, into vectors; `fit` trains it and a linear head on
labels. IRPM (`mcstl.methods.irpm`) keeps both; the encoder of a study keeps the transformer alone
(`encoder_for`).
"""

import copy
import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from mcstl._support import files
from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.parts import readable
from mcstl.encoding import encoders
from mcstl.encoding.backends import attend_from_first, quiet
from mcstl.encoding.encoders import Encoder, load_encoder, with_whole_letters

#: One sequence for the transformer: (text,), or (profile, text) with its separator between them.
Side = tuple[str, ...]
#: One side as the tokenizer returns it.
Tokens = dict[str, list[int]]
_HEAD_RATE = 1e-3  # a new head has all to learn
_WARM_UP = 0.1  # share of the steps in which the rate rises; then it falls to 0
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0
_TOKENS_AT_ONCE = 16384  # a batch that has more is passed in parts, so that it fits the memory
_CHECKPOINT_EVERY_SECONDS = 120.0


class ReaderConfig(BaseModel):
    """How a transformer reads texts, and how it is fine-tuned.

    Attributes:
        pooling: Which states make a vector: that of [CLS], or the mean over all tokens.
        max_tokens: Where texts are cut; by default what the transformer has positions for.
        truncate: Which end of a text that is too long is cut off.
        learning_rate: The transformer's, at its peak.
        batch_size: Distinct inputs per step.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    pooling: Literal["cls", "mean"] = "cls"
    max_tokens: Annotated[int, Field(ge=8)] | None = None
    truncate: Literal["left", "right"] = "right"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    batch_size: Annotated[int, Field(ge=1)] = 16


class EncoderConfig(ReaderConfig):
    """The `encoder` of a study where it is no plain name.

    Attributes:
        name: As in `load_encoder`.
        fine_tune: Epochs of training on a study's training rows; 0 leaves the weights as they are.

    >>> str(EncoderConfig(name="allenai/longformer-base-4096", fine_tune=1, truncate="left"))
    'allenai/longformer-base-4096 (cls, cut left, fine-tuned for 1 epochs)'
    """

    name: str
    fine_tune: Annotated[int, Field(ge=0)] = 0

    def __str__(self) -> str:
        tuned = f"fine-tuned for {self.fine_tune} epochs" if self.fine_tune else "frozen"
        return f"{self.name} ({self.pooling}, cut {self.truncate}, {tuned})"


@dataclass(frozen=True)
class FitOptions:
    """How long to train, from where, and with which randomness.

    Attributes:
        epochs: The most epochs.
        patience: Epochs without a lower validation NLL after which training stops.
        seed: Decides the order of the rows and the dropout.
        checkpoint: A file from which a stopped run goes on, and ends as if it had not been stopped;
            it is removed at the end.
    """

    epochs: int
    patience: int = 1
    seed: int = 0
    checkpoint: Path | None = None


@dataclass(frozen=True)
class LabelCounts:
    """Distinct inputs and how often each label was given to them.

    Attributes:
        inputs: n distinct inputs, each of one side, or of the two of a pair.
        counts: (n, L) how often each label was given.
    """

    inputs: Sequence[tuple[Side, ...]]
    counts: Float32Array

    def __len__(self) -> int:
        return len(self.inputs)


def count_labels(
    inputs: Sequence[tuple[Side, ...]], labels: IntArray, n_classes: int
) -> LabelCounts:
    """Put rows with the same input together, so that it is read once.

    Args:
        inputs: The input of each of n rows.
        labels: (n,) class indices.
        n_classes: The number L of classes.

    Returns:
        The distinct inputs in order of first occurrence, with the counts of their labels.
    """
    place: dict[tuple[Side, ...], int] = {}
    codes = np.array([place.setdefault(each, len(place)) for each in inputs], dtype=np.int64)
    counts = np.zeros((len(place), n_classes), dtype=np.float32)
    np.add.at(counts, (codes, labels), 1)
    return LabelCounts(list(place), counts)


class Reader(nn.Module):
    """A transformer with its tokenizer, which turns sides into vectors.

    Args:
        name: As in `load_encoder`.
        config: How it reads texts.

    Raises:
        InputError: The model cannot be had or trained, or reads fewer tokens than asked for.
    """

    def __init__(self, name: str, config: ReaderConfig) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = encoders.model_folder(name)
        try:
            with quiet():
                self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
                self.transformer: Any = AutoModel.from_pretrained(folder).float()
        except Exception as error:  # torch, safetensors and transformers each have their own
            why = " ".join(str(error).split())[:200]
            raise InputError(
                f"model {name!r} in {folder} cannot be trained further: {why}"
            ) from error
        attend_from_first(self.transformer)
        self.pooling = config.pooling
        self.tokenizer.truncation_side = config.truncate
        self.tokenizer.padding_side = "right"  # so that [CLS] is first
        most = min(self.tokenizer.model_max_length, _positions(self.transformer))
        self.max_tokens = config.max_tokens or int(most)
        if self.max_tokens > most:
            raise InputError(
                f"max_tokens: {name} reads {most:,} tokens at most (got {self.max_tokens})"
            )

    @property
    def dimension(self) -> int:
        """The length d of a vector."""
        return int(self.transformer.config.hidden_size)

    def tokens(self, sides: Sequence[Side]) -> list[Tokens]:
        """Tokenize sides, cut to `max_tokens`; of profile and text the longer one is cut.

        Args:
            sides: The sides.

        Returns:
            The tokens of each side.
        """
        read: list[Tokens] = []
        for start in range(0, len(sides), 10_000):
            columns = zip(*sides[start : start + 10_000], strict=True)
            texts = [[with_whole_letters(readable(text)) for text in each] for each in columns]
            encoded = self.tokenizer(
                *texts, truncation="longest_first", max_length=self.max_tokens, verbose=False
            )
            read += (
                dict(zip(encoded, row, strict=True)) for row in zip(*encoded.values(), strict=True)
            )
        return read

    def forward(self, tokens: Sequence[Tokens]) -> Tensor:
        """Compute vectors.

        Args:
            tokens: The tokens of n sides.

        Returns:
            (n, d) vectors.
        """
        device = next(self.parameters()).device
        with quiet():
            padded = self.tokenizer.pad(tokens, return_tensors="pt").to(device)
        states = self.transformer(**padded).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]  # type: ignore[no-any-return]
        inside = padded["attention_mask"][:, :, None].to(states.dtype)
        return (states * inside).sum(1) / inside.sum(1)  # type: ignore[no-any-return]

    def save(self, folder: Path) -> None:
        """Write what sentence-transformers reads: safetensors, JSON and the tokenizer.

        Args:
            folder: The folder to write; it is made where it is missing.
        """
        tokenizer = self.tokenizer
        # Not all that was set after a tokenizer was loaded is saved with it.
        for name in ("truncation_side", "padding_side"):
            tokenizer.init_kwargs[name] = getattr(tokenizer, name)
        tokenizer.model_max_length = self.max_tokens
        with quiet():
            self.transformer.save_pretrained(folder)
            tokenizer.save_pretrained(folder)
        module = "sentence_transformers.models"
        described: dict[str, Any] = {
            "modules.json": [
                {"idx": 0, "name": "0", "path": "", "type": f"{module}.Transformer"},
                {"idx": 1, "name": "1", "path": "1_Pooling", "type": f"{module}.Pooling"},
            ],
            "sentence_bert_config.json": {
                "max_seq_length": self.max_tokens,
                "do_lower_case": False,
            },
            "1_Pooling/config.json": {
                "word_embedding_dimension": self.dimension,
                "pooling_mode_cls_token": self.pooling == "cls",
                "pooling_mode_mean_tokens": self.pooling == "mean",
            },
        }
        for name, content in described.items():
            files.write_text(folder / name, json.dumps(content, indent=1))


def _positions(transformer: Any) -> float:
    """Count the positions of a transformer; those like RoBERTa start after the padding."""
    for name, module in transformer.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - before
    return math.inf


class Classifier(nn.Module):
    """A reader with a linear head: L logits, or in preference the difference of two scores.

    Args:
        reader: The transformer.
        n_classes: The number L of classes.
        preference: Whether inputs are pairs; then L is 2.
    """

    def __init__(self, reader: Reader, n_classes: int, *, preference: bool) -> None:
        super().__init__()
        self.reader = reader
        self.preference = preference
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(reader.dimension, 1 if preference else n_classes)

    def forward(self, tokens: Sequence[tuple[Tokens, ...]]) -> Tensor:
        """Compute logits.

        Args:
            tokens: The tokens of the sides of n inputs.

        Returns:
            (n, L) logits; in preference the second class is that A is preferred.
        """
        sides = [side for row in tokens for side in row]
        scores = self.head(self.dropout(self.reader(sides)))
        if not self.preference:
            return scores  # type: ignore[no-any-return]
        a, b = scores.reshape(-1, 2).unbind(1)
        return torch.stack([torch.zeros_like(a), a - b], dim=1)

    def loss(self, tokens: Sequence[tuple[Tokens, ...]], counts: Tensor) -> Tensor:
        """Compute the cross-entropy, summed over how often each label was given.

        Args:
            tokens: The tokens of the sides of n inputs.
            counts: (n, L) how often each label was given.

        Returns:
            A scalar.
        """
        log_p: Tensor = self(tokens).log_softmax(1)
        return -(counts * log_p).sum()

    def tokens(self, inputs: Sequence[tuple[Side, ...]]) -> list[tuple[Tokens, ...]]:
        """Tokenize inputs, each distinct side once.

        Args:
            inputs: The sides of each input.

        Returns:
            The tokens of the sides of each input.
        """
        place = {side: i for i, side in enumerate(dict.fromkeys(s for row in inputs for s in row))}
        read = self.reader.tokens(list(place))
        return [tuple(read[place[side]] for side in row) for row in inputs]

    def predict_proba(
        self, inputs: Sequence[tuple[Side, ...]], progress: Progress = silent
    ) -> FloatArray:
        """Predict class probabilities.

        Args:
            inputs: The sides of n inputs.
            progress: Called with how many inputs are read.

        Returns:
            (n, L) probabilities, float64.
        """
        if not len(inputs):
            return np.empty((0, 2 if self.preference else self.head.out_features))
        self.eval()
        tokens = self.tokens(inputs)
        order = sorted(range(len(tokens)), key=lambda i: _size(tokens[i]))
        logits = torch.empty(len(tokens), 2 if self.preference else self.head.out_features)
        done = 0
        with torch.inference_mode():
            for part in _parts(order, tokens, _TOKENS_AT_ONCE // 4):
                logits[part] = self([tokens[i] for i in part]).float().cpu()
                done += len(part)
                progress("reading texts", done, len(tokens))
        return logits.double().softmax(1).numpy()


class LabelsClassifier(Classifier):
    """A reader with a linear head for L labels of which an input may have any number."""

    def loss(self, tokens: Sequence[tuple[Tokens, ...]], counts: Tensor) -> Tensor:
        """Compute the binary cross-entropy of each label, summed.

        Args:
            tokens: The tokens of the sides of n inputs.
            counts: (n, L) 1 where an input has a label, else 0.

        Returns:
            A scalar.
        """
        loss: Tensor = nn.functional.binary_cross_entropy_with_logits(
            self(tokens), counts, reduction="sum"
        )
        return loss


def _size(row: tuple[Tokens, ...]) -> int:
    return len(row) * max(len(side["input_ids"]) for side in row)


def _parts(
    order: Sequence[int], tokens: Sequence[tuple[Tokens, ...]], budget: int
) -> Iterator[list[int]]:
    """Yield `order` in parts that have at most `budget` tokens, padding included, or one row."""
    part: list[int] = []
    longest = 0
    for i in order:
        longest = max(longest, _size(tokens[i]))
        if part and longest * (len(part) + 1) > budget:
            yield part
            part, longest = [], _size(tokens[i])
        part.append(i)
    if part:
        yield part


def fit(
    classifier: Classifier,
    train: LabelCounts,
    validation: LabelCounts | None,
    config: ReaderConfig,
    options: FitOptions,
    progress: Progress = silent,
) -> list[float]:
    """Train a classifier by cross-entropy and AdamW; deterministic for a seed on one machine.

    Args:
        classifier: Trained in place.
        train: What to train on.
        validation: What to stop on: the weights become those of the epoch with the lowest NLL.
            None trains for all epochs.
        config: The learning rate and the size of batches.
        options: How long to train, from where, and with which seed.
        progress: Called with how many steps are done.

    Returns:
        The validation NLL after each epoch, empty without validation.

    Raises:
        InputError: There are no rows, or the loss stops being a finite number.
    """
    seed, checkpoint = options.seed, options.checkpoint
    if not len(train) or (validation is not None and not len(validation)):
        raise InputError("there are no rows to train on or to validate on; give more annotations")
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classifier.to(device)
    tokens = classifier.tokens(train.inputs)
    counts = torch.from_numpy(train.counts).to(device)
    rates = ((classifier.reader, config.learning_rate), (classifier.head, _HEAD_RATE))
    groups = [{"params": part.parameters(), "lr": rate} for part, rate in rates]
    optimizer = torch.optim.AdamW(groups, weight_decay=_WEIGHT_DECAY)
    per_epoch = math.ceil(len(train) / config.batch_size)
    total = options.epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    step, nlls, best_state = 0, [], None
    if checkpoint and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        classifier.load_state_dict(saved["classifier"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        step, nlls, best_state = saved["step"], saved["found"], saved["best_state"]
    saved_at = time.monotonic()
    batches: list[list[int]] = []
    while step < total and len(nlls) - _best_epoch(nlls) < options.patience:
        # Order and dropout depend on seed and step alone, so a resumed run goes the same way.
        epoch, at = divmod(step, per_epoch)
        if not batches or at == 0:
            order = np.random.default_rng([seed, epoch]).permutation(len(train))
            batches = _batches_of_like_length(order, tokens, config.batch_size)
        rows = batches[at]
        torch.manual_seed(seed * 1_000_003 + step)
        classifier.train()
        optimizer.zero_grad()
        n_labels = counts[rows].sum()
        for part in _parts(rows, tokens, _TOKENS_AT_ONCE):
            loss = classifier.loss([tokens[i] for i in part], counts[part])
            (loss / n_labels).backward()
        norm = nn.utils.clip_grad_norm_(classifier.parameters(), _LARGEST_GRADIENT)
        if not torch.isfinite(norm):
            raise InputError(f"training diverged in step {step + 1}; lower learning_rate")
        optimizer.step()
        schedule.step()
        step += 1
        progress("fine-tuning", step, total)
        if validation is not None and step % per_epoch == 0:
            nlls.append(_nll(classifier, validation))
            if nlls[-1] == min(nlls):
                best_state = copy.deepcopy(classifier.state_dict())
        if checkpoint and time.monotonic() - saved_at > _CHECKPOINT_EVERY_SECONDS:
            saved_at = time.monotonic()
            state = {
                "classifier": classifier.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step,
                "found": nlls,
                "best_state": best_state,
            }
            with files.replacing(checkpoint) as temporary, files.writing(checkpoint):
                torch.save(state, temporary)
    progress("fine-tuning", total, total)
    if best_state is not None:
        classifier.load_state_dict(best_state)
    classifier.eval()
    if checkpoint:
        checkpoint.unlink(missing_ok=True)
    return nlls


def _rate(step: int, total: int) -> float:
    """Return the share of the learning rate at a step: a linear rise, then a linear fall to 0."""
    rise = max(1, round(_WARM_UP * total))
    return min((step + 1) / rise, (total - step) / max(1, total - rise))


def _best_epoch(nlls: Sequence[float]) -> int:
    """Return the number of the epoch with the lowest validation NLL, 0 before the first."""
    return nlls.index(min(nlls)) + 1 if nlls else 0


def _batches_of_like_length(
    order: IntArray,
    tokens: Sequence[tuple[Tokens, ...]],
    batch_size: int,
) -> list[list[int]]:
    """Return batches of rows of similar length, so that little is computed for padding.

    Rows are sorted within stretches of 16 batches, and the batches are shuffled by the order of
    their first rows, so an epoch does not run from short to long.
    """
    place = {int(row): i for i, row in enumerate(order)}
    batches = []
    for start in range(0, len(order), 16 * batch_size):
        stretch = sorted(
            map(int, order[start : start + 16 * batch_size]), key=lambda i: _size(tokens[i])
        )
        batches += [stretch[i : i + batch_size] for i in range(0, len(stretch), batch_size)]
    return sorted(batches, key=lambda batch: place[batch[0]] % (16 * batch_size))


def _nll(classifier: Classifier, rows: LabelCounts) -> float:
    p = classifier.predict_proba(rows.inputs)
    return float(-(rows.counts * np.log(np.maximum(p, 1e-12))).sum() / rows.counts.sum())


def encoder_for(
    config: str | EncoderConfig,
    plain: Encoder,
    train: Annotations,
    seed: int,
    progress: Progress = silent,
) -> Encoder:
    """Make, or find, the encoder of a study's texts for one seed.

    It is trained by cross-entropy of the label through a linear head, in preference of the
    difference of two scores; the head is left behind (§3: "final hidden-state embedding of the
    [CLS] token", "fine-tuned on training dataset for 1 epoch"). It is kept beside the cached
    vectors under a hash of all that it was made of, made once, and has a fingerprint of its own,
    so its vectors are never taken for those of another.

    Args:
        config: The `encoder` of the study.
        plain: The encoder of that name as it is.
        train: The training rows; nothing else is trained on.
        seed: Decides the initial head, the order of the rows and the dropout.
        progress: Called with how many steps of training are done.

    Returns:
        The encoder: `plain` if the config is a plain name.

    Raises:
        InputError: As `load_encoder`; also for a model that cannot be trained.
    """
    if isinstance(config, str):
        return plain
    rows: LabelCounts | None = None
    made_of: list[Any] = []
    if config.fine_tune:
        table = train.frame[list(train.text_columns)].itertuples(index=False)
        inputs = [tuple((text,) for text in row) for row in table]
        rows = count_labels(inputs, train.labels, len(train.classes))
        made_of = [train.task, seed, rows.inputs, rows.counts.tolist()]
    head = partial(Classifier, preference=train.task == "preference")
    return _find_or_make(config, plain, rows, made_of, head, seed, progress)


def encoder_for_labels(
    config: EncoderConfig,
    plain: Encoder,
    texts: Sequence[str],
    Y: Float32Array,
    seed: int,
    progress: Progress = silent,
) -> Encoder:
    """Make, or find, an encoder that is fine-tuned to predict any number of labels of a text.

    Args:
        config: How to fine-tune it.
        plain: The encoder of that name as it is.
        texts: n texts.
        Y: (n, L) 1 where a text has a label, else 0.
        seed: As in `encoder_for`.
        progress: As in `encoder_for`.

    Returns:
        The encoder, without the head.

    Raises:
        InputError: As `encoder_for`.
    """
    rows = LabelCounts([((text,),) for text in texts], Y)
    made_of = ["labels", seed, rows.inputs, Y.tolist()]
    head = partial(LabelsClassifier, preference=False)
    return _find_or_make(config, plain, rows, made_of, head, seed, progress)


def _find_or_make(
    config: EncoderConfig,
    plain: Encoder,
    rows: LabelCounts | None,
    made_of: list[Any],
    head: Callable[[Reader, int], Classifier],
    seed: int,
    progress: Progress,
) -> Encoder:
    """Return the encoder of `config`, fine-tuned on `rows` if there are any; it is made once."""
    identity = [plain.fingerprint, config.model_dump(mode="json"), *made_of]
    key = hashlib.sha256(json.dumps(identity).encode(errors="surrogatepass")).hexdigest()[:32]
    folder = encoders.fine_tuned_folder() / key
    if not folder.exists():
        from filelock import FileLock

        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if not folder.exists():
                _make(folder, config, plain, rows, head, seed, progress)
    return load_encoder(str(folder))


def _make(
    folder: Path,
    config: EncoderConfig,
    plain: Encoder,
    rows: LabelCounts | None,
    head: Callable[[Reader, int], Classifier],
    seed: int,
    progress: Progress,
) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        reader = Reader(config.name, config)
        if rows is not None:
            classifier = head(reader, rows.counts.shape[1])
            fit(
                classifier,
                rows,
                None,
                config,
                FitOptions(
                    config.fine_tune, seed=seed, checkpoint=folder.with_suffix(".checkpoint")
                ),
                lambda _, done, total: progress("fine-tuning the encoder", done, total),
            )
    made: dict[str, Any] = {"name": str(config), "of": plain.name, "fingerprint": plain.fingerprint}
    made |= {"config": config.model_dump(mode="json")}
    made |= {"seed": seed, "rows": len(rows)} if rows is not None else {}
    with files.new_folder(folder) as temporary:
        reader.cpu().save(temporary)
        files.write_text(temporary / encoders.FINE_TUNED_FILE, json.dumps(made, indent=1))
