"""A labeller that learns from labelled rationales which values they appeal to.

Multi-label: a small network on the sentence embedding of the rationale, one probability a value. It
is fitted five times, each time without a fifth of the texts; what a network says of the fifth that
it has not seen sets the thresholds (the best F1 of each value) and calibrates the probabilities
(Platt), so that whatever is measured on was never seen. What is labelled gets the mean of the five.
Where the encoder is trained further, each of the five has its own, which has not seen the fifth
either.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mcstl._support import files
from mcstl._support.arrays import Float32Array, IntArray
from mcstl._support.errors import InputError, listed
from mcstl._support.progress import Progress, silent
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.labelling.value_cells import in_steps

if TYPE_CHECKING:
    from torch import Tensor

FOLDS = 5
#: A value that fewer training rationales have is not learned.
LEAST = 20
_HIDDEN = 256
_EPOCHS = 25
_BATCH = 128
_RATE = 2e-3
_DROPOUT_IN, _DROPOUT = 0.1, 0.5
_TUNING_RATE, _TUNING_BATCH = 1e-4, 32
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Labeller:
    """A fitted labeller of the values `names`, for one encoder.

    `weights` are the networks' by name, (folds, ...); `slopes` and `offsets` (K,) calibrate the
    logits of their mean, and a value is given from its threshold (K,) on. `f1` (K,) is what each
    value reached on the folds that were not seen, at thresholds chosen on the others. `tuned` are
    the folder and fingerprint of each network's own encoder, where it was trained further.
    """

    names: tuple[str, ...]
    encoder: str
    fingerprint: str
    weights: Mapping[str, Float32Array]
    slopes: Float32Array
    offsets: Float32Array
    thresholds: Float32Array
    f1: Float32Array
    tuned: tuple[tuple[str, str], ...] = ()

    def probabilities(
        self, rationales: Sequence[str], encoder: Encoder, progress: Progress = silent
    ) -> Float32Array:
        """Return (n, K) calibrated probabilities, 0 where there is no rationale.

        Raises InputError if `encoder` is not the one that the labeller was fitted with, or if one
        that was trained further for it is not there.
        """
        if encoder.fingerprint != self.fingerprint:
            raise InputError(
                f"this labeller was fitted with the encoder {self.encoder} ({self.fingerprint}), "
                f"not with {encoder.name} ({encoder.fingerprint})"
            )
        rows = [row for row, text in enumerate(rationales) if text.strip()]
        p = np.zeros((len(rationales), len(self.names)), dtype=np.float32)
        if rows:
            texts = [rationales[row] for row in rows]
            encoders = [_own_encoder(*each) for each in self.tuned] or [encoder]
            vectors = [each.encode(texts, progress) for each in encoders]
            p[rows] = self._calibrated(_logits(self.weights, vectors).mean(axis=0))
        return p

    def membership(self, p: Float32Array, soft: bool = False) -> csr_matrix:
        """Return (n, K): 1 from its threshold on, or where `soft` the probability in tenths."""
        inside = p >= self.thresholds
        return csr_matrix(in_steps(p * inside) if soft else inside.astype(np.float32))

    def _calibrated(self, logits: Float32Array) -> Float32Array:
        found = 1 / (1 + np.exp(-(self.slopes * logits + self.offsets)))
        return np.asarray(found, dtype=np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return what `from_state` needs: a JSON-able dict, and arrays by name."""
        own: dict[str, Any] = {
            "names": self.names,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            **({"tuned": self.tuned} if self.tuned else {}),
        }
        vectors = ("slopes", "offsets", "thresholds", "f1")
        return own, {**self.weights, **{name: getattr(self, name) for name in vectors}}

    @classmethod
    def from_state(cls, own: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make a labeller again from what its `state` returned."""
        found = {name: np.asarray(each, dtype=np.float32) for name, each in arrays.items()}
        vectors = {name: found.pop(name) for name in ("slopes", "offsets", "thresholds", "f1")}
        tuned = tuple((str(folder), str(of)) for folder, of in own.get("tuned", ()))
        if tuned and len(tuned) != len(found["first.bias"]):
            raise ValueError(f"{len(tuned)} encoders for {len(found['first.bias'])} networks")
        return cls(
            names=tuple(own["names"]),
            encoder=own["encoder"],
            fingerprint=own["fingerprint"],
            weights=found,
            **vectors,
            tuned=tuned,
        )

    def save(self, folder: str | Path) -> None:
        """Write the labeller to a folder: safetensors and JSON, the JSON last.

        Encoders that were trained further for it are copied into the folder.
        """
        from safetensors.numpy import save_file

        folder, (own, arrays) = Path(folder), self.state()
        for number, (source, _) in enumerate(self.tuned):
            copy = folder / f"encoder-{number}"
            if copy.resolve() != Path(source).resolve():
                shutil.rmtree(copy, ignore_errors=True)
                with files.writing(copy):
                    shutil.copytree(source, copy)
        if self.tuned:
            own["tuned"] = [(f"encoder-{i}", each[1]) for i, each in enumerate(self.tuned)]
        weights = folder / "labeller.safetensors"
        with files.replacing(weights) as temporary, files.writing(weights):
            save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, temporary)
        files.write_text(folder / "labeller.json", json.dumps({"schema": SCHEMA, **own}, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a labeller that was saved. Raises InputError if the folder holds none."""
        from safetensors.numpy import load_file

        folder = Path(folder)
        try:
            own = json.loads((folder / "labeller.json").read_text(encoding="utf-8"))
            if own["schema"] != SCHEMA:
                raise InputError(
                    f"{folder} holds a labeller of schema {own['schema']}, and this mcstl reads "
                    f"{SCHEMA}; train it again"
                )
            own["tuned"] = [(str(folder.resolve() / name), of) for name, of in own.get("tuned", ())]
            return cls.from_state(own, load_file(folder / "labeller.safetensors"))
        except InputError:
            raise
        except Exception as error:  # no file, no JSON, no safetensors, no such arrays
            raise InputError(
                f"{folder} holds no labeller ({error}); `mcstl label --save` writes one"
            ) from error


def fit(
    rationales: Sequence[str],
    values: Sequence[Sequence[str]],
    encoder: Encoder,
    items: Sequence[str] | None = None,
    progress: Progress = silent,
    *,
    fine_tune: int = 0,
) -> Labeller:
    """Learn the values of rationales; those of one of the `items` are in the same fold.

    With `fine_tune` epochs the encoder is trained further, once for each fold, which takes hours
    where the networks take seconds; a stopped run goes on in the fold that it was in. Rows without
    a rationale are left out, and values that fewer than `LEAST` rationales have. Deterministic on
    one machine. Raises InputError if no value is left or there are too few items.
    """
    rows = [row for row, text in enumerate(rationales) if text.strip()]
    texts, given = [rationales[row] for row in rows], [set(values[row]) for row in rows]
    counts = {name: sum(name in row for row in given) for name in sorted(set().union(*given))}
    names = tuple(name for name, count in counts.items() if count >= LEAST)
    if not names:
        raise InputError(
            f"there is nothing to learn from: no value is given to {LEAST} rationales "
            f"({listed(f'{name} {count}' for name, count in counts.items()) or 'no values'})"
        )
    Y = np.array([[name in row for name in names] for row in given], dtype=np.float32)
    encoders = [encoder] * FOLDS
    folds = _folds([items[row] for row in rows] if items is not None else texts)
    held_out = np.empty_like(Y)
    networks = []
    for fold in range(FOLDS):
        if fine_tune:
            inside = np.flatnonzero(folds != fold)
            encoders[fold] = _tuned(
                encoder, [texts[row] for row in inside], Y[inside], fine_tune, fold, progress
            )
        X = encoders[fold].encode(texts, progress)
        progress("training the labeller", fold, FOLDS)
        networks.append(_fit_network(X[folds != fold], Y[folds != fold], seed=fold))
        one = {name: each[None] for name, each in networks[-1].items()}
        held_out[folds == fold] = _logits(one, [X[folds == fold]])[0]
    progress("training the labeller", FOLDS, FOLDS)
    slopes, offsets = _platt(held_out, Y)
    p = 1 / (1 + np.exp(-(slopes * held_out + offsets)))
    return Labeller(
        names=names,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
        weights={name: np.stack([each[name] for each in networks]) for name in networks[0]},
        slopes=slopes,
        offsets=offsets,
        thresholds=best_thresholds(p, Y),
        f1=_honest_f1(p, Y, folds),
        tuned=tuple((str(e.folder), e.fingerprint) for e in encoders if fine_tune),
    )


def best_thresholds(p: Float32Array, Y: Float32Array) -> Float32Array:
    """Return per value the threshold (K,) with the highest F1: `p` and 0/1 `Y` are (n, K).

    >>> best_thresholds(np.array([[0.9], [0.6], [0.5], [0.1]]), np.array([[1], [1], [0], [0]]))
    array([0.55], dtype=float32)
    """
    found = np.empty(p.shape[1], dtype=np.float32)
    for k, (own, true) in enumerate(zip(p.T, Y.T, strict=True)):
        order = np.argsort(-own, kind="stable")
        own, hits = own[order], np.cumsum(true[order])
        f1 = 2 * hits / (np.arange(1, len(own) + 1) + true.sum())
        f1[:-1][own[:-1] == own[1:]] = -1  # equal probabilities are on one side
        best = int(f1.argmax())
        found[k] = (own[best] + own[min(best + 1, len(own) - 1)]) / 2
    return found


def _honest_f1(p: Float32Array, Y: Float32Array, folds: IntArray) -> Float32Array:
    """(K,) F1 on rows whose fold had no part in the network nor in the threshold."""
    given = np.zeros(Y.shape, dtype=bool)
    for fold in range(FOLDS):
        here = folds == fold
        given[here] = p[here] >= best_thresholds(p[~here], Y[~here])
    hits = (given & (Y > 0)).sum(axis=0)
    return np.asarray(2 * hits / np.maximum(given.sum(axis=0) + Y.sum(axis=0), 1), np.float32)


def _folds(items: Sequence[str]) -> IntArray:
    """(n,) fold of each row; rows of one item are together, and folds have like sizes."""
    from sklearn.model_selection import GroupKFold

    if len(set(items)) < FOLDS:
        raise InputError(
            f"{len(set(items))} distinct texts are too few to train a labeller; {FOLDS} are needed"
        )
    codes = np.unique(np.array(items, dtype=object).astype(str), return_inverse=True)[1]
    folds = np.empty(len(items), dtype=np.int64)
    parts = GroupKFold(FOLDS, shuffle=True, random_state=0).split(codes, groups=codes)
    for fold, (_, rows) in enumerate(parts):
        folds[rows] = fold
    return folds


def _fit_network(X: Float32Array, Y: Float32Array, seed: int) -> dict[str, Float32Array]:
    # Pages about groups know of this file, and they never load torch.
    import torch
    from torch import nn

    x, y = torch.from_numpy(X), torch.from_numpy(Y)
    threads = torch.get_num_threads()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        torch.set_num_threads(1)  # as in training: steps this small gain nothing from a second
        network = nn.Sequential(
            nn.Dropout(_DROPOUT_IN),
            nn.Linear(X.shape[1], _HIDDEN),
            nn.LayerNorm(_HIDDEN),
            nn.ReLU(),
            nn.Dropout(_DROPOUT),
            nn.Linear(_HIDDEN, Y.shape[1]),
        )
        optimizer = torch.optim.AdamW(network.parameters(), lr=_RATE, weight_decay=1e-4)
        steps = _EPOCHS * -(-len(x) // _BATCH)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps)
        for _ in range(_EPOCHS):
            for batch in torch.randperm(len(x)).split(_BATCH):
                loss = nn.functional.binary_cross_entropy_with_logits(network(x[batch]), y[batch])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()
        torch.set_num_threads(threads)
    state = network.state_dict()
    parts = {"first": "1", "norm": "2", "last": "5"}
    return {
        f"{name}.{kind}": state[f"{number}.{kind}"].numpy()
        for name, number in parts.items()
        for kind in ("weight", "bias")
    }


def _tuned(
    encoder: Encoder, texts: list[str], Y: Float32Array, epochs: int, seed: int, progress: Progress
) -> Encoder:
    """The encoder trained further on the texts' values."""
    from mcstl.encoding.finetuning import EncoderConfig, encoder_for_labels

    step = f"fine-tuning the encoder, {seed + 1} of {FOLDS}"
    config = EncoderConfig(
        name=encoder.name,
        pooling="mean",
        fine_tune=epochs,
        learning_rate=_TUNING_RATE,
        batch_size=_TUNING_BATCH,
    )

    def told(_: str, done: int, total: int) -> None:
        progress(step, done, total)

    return encoder_for_labels(config, encoder, texts, Y, seed, told)


def _own_encoder(folder: str, fingerprint: str) -> Encoder:
    """An encoder that was trained further for a labeller, which may have been moved or changed."""
    if not Path(folder).exists():
        raise InputError(
            f"this labeller has an encoder trained further in {folder}, which is not there; save "
            "the labeller and name its folder"
        )
    encoder = load_encoder(folder)
    if encoder.fingerprint != fingerprint:
        raise InputError(
            f"the encoder in {folder} is not the one of this labeller ({encoder.fingerprint}, "
            f"not {fingerprint}); train it again"
        )
    return encoder


def _logits(weights: Mapping[str, Float32Array], vectors: Sequence[Float32Array]) -> Float32Array:
    """(folds, n, K) logits of each network, of the vectors (n, d) of its encoder or of the one."""
    import torch
    from torch import nn

    w = {name: torch.from_numpy(each) for name, each in weights.items()}

    def one(fold: int) -> "Tensor":
        x = torch.from_numpy(vectors[fold % len(vectors)])
        units = nn.functional.linear(x, w["first.weight"][fold], w["first.bias"][fold])
        normed = nn.functional.layer_norm(
            units, units.shape[-1:], w["norm.weight"][fold], w["norm.bias"][fold]
        )
        return nn.functional.linear(
            torch.relu(normed), w["last.weight"][fold], w["last.bias"][fold]
        )

    with torch.inference_mode():
        found: Float32Array = torch.stack([one(f) for f in range(len(w["first.bias"]))]).numpy()
    return found


def _platt(logits: Float32Array, Y: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return the slope and offset of each value (K,) that calibrate its logits (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    lines = []
    for own, true in zip(logits.T, Y.T, strict=True):
        line = LogisticRegression(C=1e6, max_iter=1000).fit(own[:, None], true > 0)
        lines.append((line.coef_[0, 0], line.intercept_[0]))
    slopes, offsets = np.array(lines, dtype=np.float32).T
    return slopes, offsets
