"""Transformers trained further: a text network with the task's head, and encoders made of it.

`Reader` reads texts, or a profile before a text, into vectors; `fit` trains it and a linear head on
labels. IRPM (baselines) keeps both; an encoder of a study keeps the reader (`encoder_for`).
"""

import copy
import hashlib
import json
import math
import shutil
import time
import uuid
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
from mcstl.encoding import encoders
from mcstl.encoding.backends import attend_from_first, quiet
from mcstl.encoding.encoders import Encoder, load_encoder

#: What one pass reads: (text,), or (profile, text) with the model's separator between them.
Side = tuple[str, ...]
_HEAD_RATE = 1e-3  # a new head has all to learn
_WARM_UP = 0.1  # share of the steps in which the rate rises; then it falls to 0
_WEIGHT_DECAY = 0.01
_LARGEST_GRADIENT = 1.0
_TOKENS_AT_ONCE = 16384  # a batch that has more is passed in parts, so that it fits the memory
_CHECKPOINT_EVERY_SECONDS = 120.0


class ReaderConfig(BaseModel):
    """How a transformer reads texts, and how it is trained further."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    pooling: Literal["cls", "mean"] = "cls"
    max_tokens: Annotated[int, Field(ge=8)] | None = None
    truncate: Literal["left", "right"] = "right"
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    batch_size: Annotated[int, Field(ge=1)] = 16


class EncoderConfig(ReaderConfig):
    """The `encoder` part of a study where it is no plain name; `fine_tune` counts epochs.

    >>> str(EncoderConfig(name="allenai/longformer-base-4096", fine_tune=1, truncate="left"))
    'allenai/longformer-base-4096 (cls, cut left, fine-tuned for 1 epochs)'
    """

    name: str
    fine_tune: Annotated[int, Field(ge=0)] = 0

    def __str__(self) -> str:
        tuned = f"fine-tuned for {self.fine_tune} epochs" if self.fine_tune else "frozen"
        return f"{self.name} ({self.pooling}, cut {self.truncate}, {tuned})"


@dataclass(frozen=True)
class Rows:
    """Distinct inputs, each one side or a pair's two, and (n, L) how often each label was given."""

    inputs: Sequence[tuple[Side, ...]]
    counts: Float32Array

    def __len__(self) -> int:
        return len(self.inputs)


def distinct(inputs: Sequence[tuple[Side, ...]], labels: IntArray, n_classes: int) -> Rows:
    """Put rows with the same input together: they are read once, and their labels counted."""
    place: dict[tuple[Side, ...], int] = {}
    codes = np.array([place.setdefault(each, len(place)) for each in inputs], dtype=np.int64)
    counts = np.zeros((len(place), n_classes), dtype=np.float32)
    np.add.at(counts, (codes, labels), 1)
    return Rows(list(place), counts)


class Reader(nn.Module):
    """A transformer and its tokenizer: sides to vectors, the [CLS] state's or the tokens' mean."""

    def __init__(self, name: str, config: ReaderConfig) -> None:
        super().__init__()
        from transformers import AutoModel, AutoTokenizer

        folder = encoders.model_folder(name)
        try:
            with quiet():
                self.tokenizer: Any = AutoTokenizer.from_pretrained(folder)
                self.transformer: Any = AutoModel.from_pretrained(folder).float()
        except Exception as error:  # torch, safetensors and transformers each have their own kinds
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

    def tokens(self, sides: Sequence[Side]) -> list[dict[str, list[int]]]:
        """Return what each side is to the transformer, cut to `max_tokens`; the text is cut first.

        The longer of profile and text is cut, which is the text unless it is the shorter one.
        """
        read: list[dict[str, list[int]]] = []
        for start in range(0, len(sides), 10_000):
            # Half a surrogate pair, as bad JSON holds, would stop a tokenizer.
            parts = zip(*sides[start : start + 10_000], strict=True)
            texts = [[text.encode(errors="replace").decode() for text in part] for part in parts]
            found = self.tokenizer(
                *texts, truncation="longest_first", max_length=self.max_tokens, verbose=False
            )
            read += (
                dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)
            )
        return read

    def forward(self, tokens: Sequence[dict[str, list[int]]]) -> Tensor:
        """Return the (n, d) vectors of n sides."""
        device = next(self.parameters()).device
        with quiet():
            padded = self.tokenizer.pad(tokens, return_tensors="pt").to(device)
        states = self.transformer(**padded).last_hidden_state
        if self.pooling == "cls":
            return states[:, 0]  # type: ignore[no-any-return]
        inside = padded["attention_mask"][:, :, None].to(states.dtype)
        return (states * inside).sum(1) / inside.sum(1)  # type: ignore[no-any-return]

    def save(self, folder: Path) -> None:
        """Write the folder that sentence-transformers reads: safetensors, JSON and tokenizer."""
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
    """The tokens that a transformer has positions for: RoBERTa's kin start after the padding."""
    for name, module in transformer.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            before = 0 if module.padding_idx is None else module.padding_idx + 1
            return module.num_embeddings - before
    return math.inf


class Classifier(nn.Module):
    """A reader with a linear head: L logits, or in preference the difference of two scores."""

    def __init__(self, reader: Reader, n_classes: int, *, preference: bool) -> None:
        super().__init__()
        self.reader = reader
        self.preference = preference
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(reader.dimension, 1 if preference else n_classes)

    def forward(self, tokens: Sequence[tuple[dict[str, list[int]], ...]]) -> Tensor:
        """Return (n, L) logits of n inputs; in preference the second is that A is preferred."""
        sides = [side for row in tokens for side in row]
        scores = self.head(self.dropout(self.reader(sides)))
        if not self.preference:
            return scores  # type: ignore[no-any-return]
        a, b = scores.reshape(-1, 2).unbind(1)
        return torch.stack([torch.zeros_like(a), a - b], dim=1)

    def loss(self, tokens: Sequence[tuple[dict[str, list[int]], ...]], counts: Tensor) -> Tensor:
        """Return the cross-entropy of n inputs, summed over how often each label was given."""
        log_p: Tensor = self(tokens).log_softmax(1)
        return -(counts * log_p).sum()

    def tokens(self, inputs: Sequence[tuple[Side, ...]]) -> list[tuple[dict[str, list[int]], ...]]:
        """Return the tokens of every input, each distinct side read once."""
        place = {side: i for i, side in enumerate(dict.fromkeys(s for row in inputs for s in row))}
        read = self.reader.tokens(list(place))
        return [tuple(read[place[side]] for side in row) for row in inputs]

    def predict_proba(
        self, inputs: Sequence[tuple[Side, ...]], progress: Progress = silent
    ) -> FloatArray:
        """Return the (n, L) class probabilities of n inputs, float64."""
        if not len(inputs):
            return np.empty((0, 2 if self.preference else self.head.out_features))
        self.eval()
        tokens = self.tokens(inputs)
        order = sorted(range(len(tokens)), key=lambda i: _size(tokens[i]))
        found = torch.empty(len(tokens), 2 if self.preference else self.head.out_features)
        done = 0
        with torch.inference_mode():
            for part in _parts(order, tokens, _TOKENS_AT_ONCE // 4):
                found[part] = self([tokens[i] for i in part]).float().cpu()
                done += len(part)
                progress("reading texts", done, len(tokens))
        return found.double().softmax(1).numpy()


class LabelsClassifier(Classifier):
    """A reader with a linear head for L labels of which an input may have any number."""

    def loss(self, tokens: Sequence[tuple[dict[str, list[int]], ...]], counts: Tensor) -> Tensor:
        """Return the cross-entropy of each label by itself, summed; `counts` are 0 or 1."""
        loss: Tensor = nn.functional.binary_cross_entropy_with_logits(
            self(tokens), counts, reduction="sum"
        )
        return loss


def _size(row: tuple[dict[str, list[int]], ...]) -> int:
    return len(row) * max(len(side["input_ids"]) for side in row)


def _parts(
    order: Sequence[int], tokens: Sequence[tuple[dict[str, list[int]], ...]], budget: int
) -> Iterator[list[int]]:
    """Yield `order` in parts that, padded, have no more tokens than `budget`, or one row."""
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
    train: Rows,
    validation: Rows | None,
    config: ReaderConfig,
    *,
    epochs: int,
    patience: int = 1,
    seed: int = 0,
    checkpoint: Path | None = None,
    progress: Progress = silent,
) -> list[float]:
    """Train by cross-entropy and AdamW; return the validation NLL after each epoch.

    With `validation` the weights are those of the epoch with the lowest NLL, and training stops
    after `patience` epochs without a lower one. With a `checkpoint` file it goes on where it was
    stopped and ends as if it had not been; the file is removed at the end. Deterministic for a seed
    on one machine.

    Raises InputError if there are no rows, or if the loss stops being a finite number.
    """
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
    total = epochs * per_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _rate(step, total))
    step, found, best_state = 0, [], None
    if checkpoint and checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True, map_location=device)
        classifier.load_state_dict(saved["classifier"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        step, found, best_state = saved["step"], saved["found"], saved["best_state"]
    saved_at = time.monotonic()
    batches: list[list[int]] = []
    while step < total and len(found) - _best(found) < patience:
        # Order and dropout depend on seed and step alone, so a resumed run goes the same way.
        epoch, at = divmod(step, per_epoch)
        if not batches or at == 0:
            order = np.random.default_rng([seed, epoch]).permutation(len(train))
            batches = _alike_together(order, tokens, config.batch_size)
        rows = batches[at]
        torch.manual_seed(seed * 1_000_003 + step)
        classifier.train()
        optimizer.zero_grad()
        of_batch = counts[rows].sum()
        for part in _parts(rows, tokens, _TOKENS_AT_ONCE):
            loss = classifier.loss([tokens[i] for i in part], counts[part])
            (loss / of_batch).backward()
        norm = nn.utils.clip_grad_norm_(classifier.parameters(), _LARGEST_GRADIENT)
        if not torch.isfinite(norm):
            raise InputError(f"training diverged in step {step + 1}; lower learning_rate")
        optimizer.step()
        schedule.step()
        step += 1
        progress("fine-tuning", step, total)
        if validation is not None and step % per_epoch == 0:
            found.append(_nll(classifier, validation))
            if found[-1] == min(found):
                best_state = copy.deepcopy(classifier.state_dict())
        if checkpoint and time.monotonic() - saved_at > _CHECKPOINT_EVERY_SECONDS:
            saved_at = time.monotonic()
            state = {
                "classifier": classifier.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "step": step,
                "found": found,
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
    return found


def _rate(step: int, total: int) -> float:
    """The share of the learning rate at a step: a linear rise, then a linear fall to 0."""
    rise = max(1, round(_WARM_UP * total))
    return min((step + 1) / rise, (total - step) / max(1, total - rise))


def _best(found: Sequence[float]) -> int:
    """The number of the epoch with the lowest validation NLL, 0 before the first."""
    return found.index(min(found)) + 1 if found else 0


def _alike_together(
    order: IntArray,
    tokens: Sequence[tuple[dict[str, list[int]], ...]],
    batch_size: int,
) -> list[list[int]]:
    """Return batches of rows of like length, so that little is computed for padding.

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


def _nll(classifier: Classifier, rows: Rows) -> float:
    p = classifier.predict_proba(rows.inputs)
    return float(-(rows.counts * np.log(np.maximum(p, 1e-12))).sum() / rows.counts.sum())


def encoder_for(
    config: str | EncoderConfig,
    plain: Encoder,
    train: Annotations,
    seed: int,
    progress: Progress = silent,
) -> Encoder:
    """Return the encoder of a study's texts for one seed: `plain` unless `config` says more.

    It is trained on the rows of `train` and nothing else: cross-entropy of the label through a
    linear head, in preference of the difference of two scores; the head is left behind (§3: "final
    hidden-state embedding of the [CLS] token", "fine-tuned on training dataset for 1 epoch"). It is
    kept beside the cached vectors under a hash of all that it was made of, made once, and has a
    fingerprint of its own, so its vectors are never taken for another's.

    Raises InputError as `load_encoder` does, and for a model that cannot be trained further.
    """
    if isinstance(config, str):
        return plain
    rows: Rows | None = None
    made_of: list[Any] = []
    if config.fine_tune:
        table = train.frame[list(train.text_columns)].itertuples(index=False)
        inputs = [tuple((text,) for text in row) for row in table]
        rows = distinct(inputs, train.labels, len(train.classes))
        made_of = [train.task, seed, rows.inputs, rows.counts.tolist()]
    head = partial(Classifier, preference=train.task == "preference")
    return _made(config, plain, rows, made_of, head, seed, progress)


def encoder_for_labels(
    config: EncoderConfig,
    plain: Encoder,
    texts: Sequence[str],
    Y: Float32Array,
    seed: int,
    progress: Progress = silent,
) -> Encoder:
    """Return `plain` trained further to tell texts' labels, 0 or 1 in Y (n, L), through a head.

    Otherwise as `encoder_for`.
    """
    rows = Rows([((text,),) for text in texts], Y)
    made_of = ["labels", seed, rows.inputs, Y.tolist()]
    head = partial(LabelsClassifier, preference=False)
    return _made(config, plain, rows, made_of, head, seed, progress)


def _made(
    config: EncoderConfig,
    plain: Encoder,
    rows: Rows | None,
    made_of: list[Any],
    head: Callable[[Reader, int], Classifier],
    seed: int,
    progress: Progress,
) -> Encoder:
    """The encoder of `config`, trained further on `rows` if there are any; it is made once."""
    all_of_it = [plain.fingerprint, config.model_dump(mode="json"), *made_of]
    key = hashlib.sha256(json.dumps(all_of_it).encode(errors="surrogatepass")).hexdigest()[:32]
    folder = encoders.made_folder() / key
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
    rows: Rows | None,
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
                epochs=config.fine_tune,
                seed=seed,
                checkpoint=folder.with_suffix(".checkpoint"),
                progress=lambda _, done, total: progress("fine-tuning the encoder", done, total),
            )
    made: dict[str, Any] = {"name": str(config), "of": plain.name, "fingerprint": plain.fingerprint}
    made |= {"config": config.model_dump(mode="json")}
    made |= {"seed": seed, "rows": len(rows)} if rows is not None else {}
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        reader.cpu().save(temporary)
        files.write_text(temporary / encoders.MADE, json.dumps(made, indent=1))
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
