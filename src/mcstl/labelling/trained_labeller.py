"""A labeller that learns from labelled rationales which values they appeal to.

Multi-label: a small network on the sentence embedding of the rationale, with one probability per
value. It is fitted five times, each time without a fifth of the texts. The predictions on the
held-out fifths set the threshold of each value (the best F1) and calibrate the probabilities
(Platt 1999). What is labelled gets the mean of the five networks. Where the encoder is trained
further, each network has its own, which has not seen the held-out fifth either.
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
from mcstl.labelling.value_notation import round_to_tenths

if TYPE_CHECKING:
    from torch import Tensor

FOLDS = 5
#: A value needs this many training rationales to be learned.
MIN_RATIONALES = 20
_HIDDEN = 256
_EPOCHS = 25
_BATCH = 128
_RATE = 2e-3
_DROPOUT_IN, _DROPOUT = 0.1, 0.5
_TUNING_RATE, _TUNING_BATCH = 1e-4, 32
SCHEMA = 1


@dataclass(frozen=True, eq=False)
class Labeller:
    """A trained labeller of K values, for one encoder.

    Attributes:
        names: (K,) names of the values.
        encoder: Name of the encoder.
        fingerprint: Fingerprint of the encoder.
        weights: Weights of the networks by name, each (folds, ...).
        slopes: (K,) slopes that calibrate the mean logits of the networks.
        offsets: (K,) offsets that calibrate them.
        thresholds: (K,) probabilities from which on a value is given.
        f1: (K,) F1 on held-out folds, at thresholds chosen on the remaining folds.
        tuned: Folder and fingerprint of each network's encoder, where it was trained further.
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
        """Predict how likely rationales appeal to each value.

        Args:
            rationales: (n,) texts.
            encoder: The encoder that the labeller was trained with.
            progress: Called with the step, how many texts are encoded and how many there are.

        Returns:
            (n, K) calibrated probabilities, 0 where a rationale is empty.

        Raises:
            InputError: The encoder is another one, or one that was trained further for the
                labeller is missing.
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
            encoders = [_tuned_encoder(*each) for each in self.tuned] or [encoder]
            vectors = [each.encode(texts, progress) for each in encoders]
            p[rows] = self._calibrated(_logits(self.weights, vectors).mean(axis=0))
        return p

    def membership(self, p: Float32Array, soft: bool = False) -> csr_matrix:
        """Give values to rationales by their probabilities.

        Args:
            p: (n, K) what `probabilities` returned.
            soft: Keep the probability, in tenths, of the values that are given.

        Returns:
            (n, K) membership: from a value's threshold on 1, or the probability.
        """
        inside = p >= self.thresholds
        return csr_matrix(round_to_tenths(p * inside) if soft else inside.astype(np.float32))

    def _calibrated(self, logits: Float32Array) -> Float32Array:
        p = 1 / (1 + np.exp(-(self.slopes * logits + self.offsets)))
        return np.asarray(p, dtype=np.float32)

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Describe the labeller for saving.

        Returns:
            What `from_state` needs: a JSON-able dict, and arrays by name.
        """
        state: dict[str, Any] = {
            "names": self.names,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
            **({"tuned": self.tuned} if self.tuned else {}),
        }
        vectors = ("slopes", "offsets", "thresholds", "f1")
        return state, {**self.weights, **{name: getattr(self, name) for name in vectors}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Restore a labeller from what `state` returned.

        Args:
            state: The JSON-able dict.
            arrays: Arrays by name.

        Returns:
            The labeller.

        Raises:
            ValueError: There is not one encoder per network.
        """
        weights = {name: np.asarray(each, dtype=np.float32) for name, each in arrays.items()}
        vectors = {name: weights.pop(name) for name in ("slopes", "offsets", "thresholds", "f1")}
        tuned = tuple((str(folder), str(mark)) for folder, mark in state.get("tuned", ()))
        if tuned and len(tuned) != len(weights["first.bias"]):
            raise ValueError(f"{len(tuned)} encoders for {len(weights['first.bias'])} networks")
        return cls(
            names=tuple(state["names"]),
            encoder=state["encoder"],
            fingerprint=state["fingerprint"],
            weights=weights,
            **vectors,
            tuned=tuned,
        )

    def save(self, folder: str | Path) -> None:
        """Write the labeller to a folder, with the encoders that were trained further for it.

        Args:
            folder: The folder, which gets safetensors and, last, JSON.
        """
        from safetensors.numpy import save_file

        folder, (state, arrays) = Path(folder), self.state()
        for number, (source, _) in enumerate(self.tuned):
            copy = folder / f"encoder-{number}"
            if copy.resolve() != Path(source).resolve():
                shutil.rmtree(copy, ignore_errors=True)
                with files.writing(copy):
                    shutil.copytree(source, copy)
        if self.tuned:
            state["tuned"] = [(f"encoder-{i}", each[1]) for i, each in enumerate(self.tuned)]
        weights = folder / "labeller.safetensors"
        with files.replacing(weights) as temporary, files.writing(weights):
            save_file({name: np.ascontiguousarray(a) for name, a in arrays.items()}, temporary)
        files.write_text(
            folder / "labeller.json", json.dumps({"schema": SCHEMA, **state}, indent=1)
        )

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Read a labeller that was saved.

        Args:
            folder: The folder.

        Returns:
            The labeller.

        Raises:
            InputError: The folder holds none, or one of another schema.
        """
        from safetensors.numpy import load_file

        folder = Path(folder)
        try:
            state = json.loads((folder / "labeller.json").read_text(encoding="utf-8"))
            if state["schema"] != SCHEMA:
                raise InputError(
                    f"{folder} holds a labeller of schema {state['schema']}, and this mcstl reads "
                    f"{SCHEMA}; train it again"
                )
            state["tuned"] = [
                (str(folder.resolve() / name), mark) for name, mark in state.get("tuned", ())
            ]
            return cls.from_state(state, load_file(folder / "labeller.safetensors"))
        except InputError:
            raise
        except Exception as error:  # no file, no JSON, no safetensors, no such arrays
            raise InputError(
                f"{folder} holds no labeller ({error}); `mcstl label --save` writes one"
            ) from error


def fit_labeller(
    rationales: Sequence[str],
    values: Sequence[Sequence[str]],
    encoder: Encoder,
    items: Sequence[str] | None = None,
    progress: Progress = silent,
    *,
    fine_tune: int = 0,
) -> Labeller:
    """Train a labeller on rationales whose values are known.

    The result is the same each time on one machine. Fine-tuning takes hours where the networks take
    seconds; a stopped run continues in the fold that it was in.

    Args:
        rationales: (n,) texts; empty ones are left out.
        values: (n,) values of each; those of fewer than `MIN_RATIONALES` are left out.
        encoder: Embeds the rationales.
        items: (n,) items; rationales about one item are in the same fold. None: equal texts are.
        progress: Called with the step, how far it is and how far it goes.
        fine_tune: Epochs of training the encoder further, once per fold; 0 leaves it as it is.

    Returns:
        The trained labeller.

    Raises:
        InputError: No value is left, or there are too few items.
    """
    rows = [row for row, text in enumerate(rationales) if text.strip()]
    texts, given = [rationales[row] for row in rows], [set(values[row]) for row in rows]
    counts = {name: sum(name in row for row in given) for name in sorted(set().union(*given))}
    names = tuple(name for name, count in counts.items() if count >= MIN_RATIONALES)
    if not names:
        raise InputError(
            f"there is nothing to learn from: no value is given to {MIN_RATIONALES} rationales "
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
            encoders[fold] = _fine_tuned(
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
        f1=_held_out_f1(p, Y, folds),
        tuned=tuple((str(e.folder), e.fingerprint) for e in encoders if fine_tune),
    )


def best_thresholds(p: Float32Array, Y: Float32Array) -> Float32Array:
    """Find the threshold of each value with the highest F1.

    Args:
        p: (n, K) probabilities.
        Y: (n, K) true memberships, 0 or 1.

    Returns:
        (K,) thresholds.

    Examples:
        >>> best_thresholds(np.array([[0.9], [0.6], [0.5], [0.1]]), np.array([[1], [1], [0], [0]]))
        array([0.55], dtype=float32)
    """
    thresholds = np.empty(p.shape[1], dtype=np.float32)
    for k, (p_k, y_k) in enumerate(zip(p.T, Y.T, strict=True)):
        order = np.argsort(-p_k, kind="stable")
        ranked, hits = p_k[order], np.cumsum(y_k[order])
        f1 = 2 * hits / (np.arange(1, len(ranked) + 1) + y_k.sum())
        f1[:-1][ranked[:-1] == ranked[1:]] = -1  # equal probabilities are on one side
        best = int(f1.argmax())
        thresholds[k] = (ranked[best] + ranked[min(best + 1, len(ranked) - 1)]) / 2
    return thresholds


def _held_out_f1(p: Float32Array, Y: Float32Array, folds: IntArray) -> Float32Array:
    """(K,) F1 on held-out rows, whose fold set neither the network nor the threshold."""
    given = np.zeros(Y.shape, dtype=bool)
    for fold in range(FOLDS):
        is_held_out = folds == fold
        given[is_held_out] = p[is_held_out] >= best_thresholds(p[~is_held_out], Y[~is_held_out])
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
    # Here and not above, since schemes of groups import this file and do without torch.
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
        f"{name}.{parameter}": state[f"{number}.{parameter}"].numpy()
        for name, number in parts.items()
        for parameter in ("weight", "bias")
    }


def _fine_tuned(
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

    def report(_: str, done: int, total: int) -> None:
        progress(step, done, total)

    return encoder_for_labels(config, encoder, texts, Y, seed, report)


def _tuned_encoder(folder: str, fingerprint: str) -> Encoder:
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
    """(folds, n, K) logits; `vectors` are (n, d) per network, or one for all networks."""
    import torch
    from torch import nn

    w = {name: torch.from_numpy(each) for name, each in weights.items()}

    def logits_of(fold: int) -> "Tensor":
        x = torch.from_numpy(vectors[fold % len(vectors)])
        units = nn.functional.linear(x, w["first.weight"][fold], w["first.bias"][fold])
        normed = nn.functional.layer_norm(
            units, units.shape[-1:], w["norm.weight"][fold], w["norm.bias"][fold]
        )
        return nn.functional.linear(
            torch.relu(normed), w["last.weight"][fold], w["last.bias"][fold]
        )

    with torch.inference_mode():
        logits = torch.stack([logits_of(fold) for fold in range(len(w["first.bias"]))])
    return np.asarray(logits.numpy(), dtype=np.float32)


def _platt(logits: Float32Array, Y: Float32Array) -> tuple[Float32Array, Float32Array]:
    """Return the slope and offset of each value (K,) that calibrate its logits (Platt 1999)."""
    from sklearn.linear_model import LogisticRegression

    lines = []
    for x, y in zip(logits.T, Y.T, strict=True):
        line = LogisticRegression(C=1e6, max_iter=1000).fit(x[:, None], y > 0)
        lines.append((line.coef_[0, 0], line.intercept_[0]))
    slopes, offsets = np.array(lines, dtype=np.float32).T
    return slopes, offsets
