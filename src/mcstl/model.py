"""The network that owns v, o, b and t, and the model around it: save, load, predict."""

import copy
import json
import math
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
import torch
from scipy.sparse import csr_matrix
from torch import Tensor, nn

from mcstl import __version__, card, equations, files
from mcstl.annotations import TEXT_COLUMNS, Annotations, Task
from mcstl.errors import InputError, brief, did_you_mean, listed
from mcstl.groups import MOST_GROUPS, Scheme, load_scheme
from mcstl.groups.base import FEW_PEOPLE
from mcstl.hub import OnTheHub
from mcstl.modeldir import (
    ENCODER,
    SCHEMA,
    check_form,
    check_replaceable,
    read_card,
    read_config,
    read_tensors,
    without_left_out,
)
from mcstl.perspectives import Views
from mcstl.progress import Progress, silent

if TYPE_CHECKING:
    from mcstl.encoders import Encoder

FloatArray = npt.NDArray[np.float64]
Texts = Sequence[str] | Sequence[tuple[str, str]]

#: How many people a prediction about somebody not known is the mean of; a power of two.
_DRAWS = 32
#: Numbers held at once while a mixture is predicted, 64 MiB as float32.
_CHUNK = 2**24


class Dropout(nn.Module):
    """Dropout with the rate in steps of 1/256, one random byte a unit.

    On a CPU torch draws a 64-bit number for every unit, which took a quarter of the training time.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.dropped = min(round(256 * rate), 255)
        #: Of how many rows the next ones are which, where processes share a step; None: of all.
        self.among: tuple[int, slice] | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` (n, ...) with units dropped and the rest scaled up, in training."""
        if not self.training or not self.dropped:
            return x
        n, part = self.among or (len(x), slice(None))
        shape = (n, *x.shape[1:])
        drawn = torch.empty(-(-math.prod(shape) // 8), dtype=torch.int64, device=x.device)
        drawn.random_(-(2**63), None)
        kept = drawn.view(torch.uint8)[: math.prod(shape)].view(shape)[part] >= self.dropped
        return x * kept.to(x.dtype).mul_(256 / (256 - self.dropped))


class Network(nn.Module):
    """MC-STL's network (§2.2, Fig. 2): o(e + V) with ordered biases, or with temperatures.

    `o` is one hidden layer of `hidden` units, normalised (layer norm) before its ReLU, and a linear
    output without bias; the paper leaves all of that open (how it was chosen: docs/choices.md). In
    preference the bias cancels, and each group has a temperature instead.
    """

    def __init__(
        self,
        dimension: int,
        n_groups: int,
        n_thresholds: int,
        *,
        preference: bool = False,
        hidden: int = 256,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        self.preference = preference
        # Small: a start far from zero drowns the text, and costs AUC (LOG.md).
        self.v = nn.Parameter(0.01 * torch.randn(n_groups, dimension))
        self.first = nn.Linear(dimension, hidden)
        self.rest = nn.Sequential(
            nn.LayerNorm(hidden), nn.ReLU(), Dropout(dropout), nn.Linear(hidden, 1, bias=False)
        )
        if preference:
            self.log_t = nn.Parameter(torch.zeros(n_groups))
        else:
            self.b_first = nn.Parameter(torch.zeros(1))
            self.b_gaps = nn.Parameter(torch.zeros(n_thresholds - 1))

    def narrowed(self, used: npt.NDArray[np.integer[Any]]) -> "Network":
        """Return this network with some of its groups only; it shares all else.

        What is not asked for then cannot move a prediction, not even by its rounding.
        """
        narrow = copy.copy(self)
        narrow._parameters = dict(self._parameters)
        narrow.v = nn.Parameter(self.v[used], requires_grad=False)
        if self.preference:
            narrow.log_t = nn.Parameter(self.log_t[used], requires_grad=False)
        return narrow

    def project(self, e: Tensor) -> Tensor:
        """Return W e + c, what the text alone gives the first layer: (..., hidden)."""
        return self.first(e)  # type: ignore[no-any-return]

    def shift(self, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return W V, what the groups add to it: membership (..., K) gives (..., hidden)."""
        # S (v W') is the same as (S v) W' and cheaper, since there are fewer groups than rows.
        return equations.value_representation(S, self.v @ self.first.weight.T)

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return o(e + V) from its two parts, which broadcast: (...).

        The first layer is linear, so W (e + V) + c is taken as (W e + c) + W V: a text meets any
        number of perspectives at the cost of one product.
        """
        return self.rest(projected + shift).squeeze(-1)  # type: ignore[no-any-return]

    def biases(self, z: Tensor | None = None) -> Tensor:
        """Return b_1 > ... > b_T, (T,)."""
        return equations.ordered_biases(self.b_first, self.b_gaps)

    def logits(self, e: Tensor, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the level logits of n rows: e (n, 1 or 2, d) and S (n, K) give (n, T).

        `z` (n, r) are the annotators' traits, for a `PeopleNetwork`.
        """
        return self._head(self.score(self.project(e), self.shift(S, z)[:, None]), S, z)

    def logits_at(
        self, vectors: Tensor, positions: Tensor, S: Tensor, z: Tensor | None = None
    ) -> Tensor:
        """Return `logits` of rows given by their positions (n, 1 or 2) among distinct texts (m, d).

        Where there are fewer texts than places for them, each is projected once.
        """
        if len(vectors) > positions.numel():
            return self.logits(vectors[positions], S, z)
        projected = nn.functional.embedding(positions, self.project(vectors))
        return self._head(self.score(projected, self.shift(S, z)[:, None]), S, z)

    def grid_probabilities(self, e: Tensor, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return every text seen by every perspective: (n, 1 or 2, d), (P, K) give (n, P, L)."""
        n, sides, _ = e.shape
        shift = self.shift(S, z)[None, :, None]
        scores = self.score(self.project(e)[:, None], shift).reshape(-1, sides)
        z = None if z is None else z.repeat(n, 1)
        p = equations.class_probabilities(self._head(scores, S.repeat(n, 1), z))
        return p.reshape(n, len(S), p.shape[1])

    def _head(self, scores: Tensor, S: Tensor, z: Tensor | None) -> Tensor:
        if self.preference:
            t = equations.temperature(S, self.log_t)
            return equations.preference_logits(scores[:, 0], scores[:, 1], t)
        return equations.level_logits(scores[:, 0], self.biases(z))


class HeadsNetwork(Network):
    """A separate head per group on a shared trunk, as in multi-task learning from annotators.

    Davani et al. (2022, §4) give every annotator a head; here every value group has one, its own
    weights and offset. A row in several groups has the mean of their heads, a row in none the
    shared one; `v` (K, hidden + 1) is how far each head is from that.
    """

    def __init__(
        self,
        dimension: int,
        n_groups: int,
        n_thresholds: int,
        *,
        preference: bool = False,
        hidden: int = 256,
        dropout: float = 0.5,
    ) -> None:
        super().__init__(
            dimension, n_groups, n_thresholds, preference=preference, hidden=hidden, dropout=dropout
        )
        self.v = nn.Parameter(torch.zeros(n_groups, hidden + 1))

    def shift(self, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return how far the rows' heads are from the shared one: (..., hidden + 1)."""
        return equations.value_representation(S, self.v) / S.sum(-1, keepdim=True).clamp(min=1)

    def score(self, projected: Tensor, shift: Tensor) -> Tensor:
        """Return the rows' heads applied to the trunk's units: (...)."""
        units = self.rest[:-1](projected)
        own = (units * shift[..., :-1]).sum(-1) + shift[..., -1]
        return self.rest[-1](units).squeeze(-1) + own  # type: ignore[no-any-return]


class PeopleNetwork(Network):
    """MC-STL with annotators as random effects: o(e + V + U_a), U_a linear in traits z_a.

    Each annotator has `traits` latent numbers, standard normal over people, which move the hidden
    layer and the biases. What training learns of a known annotator's is a normal distribution
    around `means`; about anybody else nothing is known but the population's. Predictions are means
    over `draws` of what is not known, so a group's is that of its absent members (docs/people.md).
    """

    draws: Tensor

    def __init__(
        self,
        dimension: int,
        n_groups: int,
        n_thresholds: int,
        *,
        n_people: int,
        preference: bool = False,
        hidden: int = 256,
        dropout: float = 0.5,
        traits: int = 16,
    ) -> None:
        super().__init__(
            dimension,
            n_groups,
            n_thresholds,
            preference=preference,
            hidden=hidden,
            dropout=dropout,
        )
        self.means = nn.Parameter(0.1 * torch.randn(n_people, traits))
        self.log_sds = nn.Parameter(torch.full((n_people, traits), -1.0))
        self.to_hidden = nn.Parameter(0.02 * torch.randn(traits, hidden))
        self.to_biases = nn.Parameter(0.02 * torch.randn(traits, n_thresholds))
        self.register_buffer("draws", _normal_draws(traits))

    def shift(self, S: Tensor, z: Tensor | None = None) -> Tensor:
        """Return what groups and people add to the hidden layer; without `z`, an average person."""
        shift = super().shift(S)
        return shift if z is None else shift + z @ self.to_hidden

    def biases(self, z: Tensor | None = None) -> Tensor:
        """Return b_1 > ... > b_T, (T,), or each person's, (n, T)."""
        if z is None:
            return super().biases()
        moved = z @ self.to_biases
        return equations.ordered_biases(self.b_first + moved[:, :1], self.b_gaps + moved[:, 1:])

    def traits_of(self, who: Tensor, noise: Tensor) -> Tensor:
        """Return (n, r) traits of people (n,), of whom -1 is nobody known, for standard noise."""
        known = (who >= 0)[:, None]
        at = who.clamp(min=0)
        return torch.where(known, self.means[at] + self.log_sds[at].exp() * noise, noise)


def _normal_draws(traits: int) -> Tensor:
    """Return points that fill the standard normal evenly, the same always."""
    from scipy.special import ndtri
    from scipy.stats import qmc

    # Without scrambling the first point is 0, which has no normal quantile.
    even = qmc.Sobol(traits, seed=0).random(_DRAWS)
    return torch.from_numpy(ndtri(even.clip(1e-4, 1 - 1e-4))).float()


@dataclass
class Model(OnTheHub):
    """A trained network with what it needs to answer: its groups, its classes and its encoder.

    `population` is the training set's memberships: distinct rows (P, K) and how often each occurs.
    `facts` are settings and figures that travel with it and are not used, `model_card` is its
    README.md, which a study writes; without one a model is saved with a card of its own facts.
    `group_encoder` forms groups by rationale where `encoder` was trained further.
    """

    network: Network
    task: Task
    classes: tuple[str, ...]
    scheme: Scheme | None
    encoder: "Encoder"
    population: tuple[csr_matrix, npt.NDArray[np.float64]]
    facts: dict[str, Any] = field(default_factory=dict)
    model_card: str = ""
    group_encoder: "Encoder | None" = None

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the value groups, in the order of the embeddings."""
        return self.scheme.names if self.scheme else ()

    @property
    def groups_of_few(self) -> tuple[str, ...]:
        """The names of groups of fewer than five people."""
        groups = self.scheme.groups if self.scheme else ()
        return tuple(g.name for g in groups if g.annotators and g.annotators < FEW_PEOPLE)

    def membership(self, perspectives: Sequence[Sequence[str]]) -> csr_matrix:
        """Return (P, K): row p is 1 at the groups that perspective p names.

        Raises InputError for a name that is no group, with the nearest that is.
        """
        position = {name: k for k, name in enumerate(self.group_names)}
        rows, columns = [], []
        asked = [perspectives] if isinstance(perspectives, str) else perspectives
        for row, perspective in enumerate(asked):
            if isinstance(perspective, str):
                raise InputError(
                    f"a perspective is a list of group names; got {perspective!r}. "
                    f"Write [[{perspective!r}]]"
                )
            for name in dict.fromkeys(perspective):
                if name not in position:
                    its = f"its groups: {listed(position)}" if position else "it has none"
                    raise InputError(
                        f"{name!r} is no group of this model; {its}."
                        f"{did_you_mean(str(name), position)}"
                    )
                rows.append(row)
                columns.append(position[name])
        ones = np.ones(len(rows), dtype=np.float32)
        return csr_matrix((ones, (rows, columns)), shape=(len(perspectives), len(position)))

    def predict_proba(
        self,
        texts: Texts,
        perspectives: Sequence[Sequence[str]] | None = None,
        *,
        progress: Progress = silent,
    ) -> FloatArray:
        """Return P(label | text, perspective): (n texts, n perspectives, L), float64.

        Each perspective is a list of group names whose embeddings add (Eq. 1). Without
        perspectives the answer is the population's: the mixture over the training set's
        memberships, weighted by how often each occurs, shape (n, 1, L). In preference a text is
        a pair (a, b) and class 1 means that a is preferred.

        Raises InputError for an unknown group, or for texts of the wrong form.
        """
        if perspectives is None:
            S, weights = self.population
            mixture = (weights / weights.sum())[None, :]
        else:
            S, mixture = self.membership(perspectives), None
        return self._seen(*self._vectors(texts, progress), S, mixture)

    def views(
        self,
        texts: Texts,
        perspectives: Sequence[Sequence[str]] | None = None,
        *,
        progress: Progress = silent,
    ) -> Views:
        """Return what `perspectives`, each group by default, and the population say of `texts`.

        Each text is encoded once. Raises InputError as `predict_proba` does.
        """
        asked = [[name] for name in self.group_names] if perspectives is None else perspectives
        S = self.membership(asked)
        vectors, positions = self._vectors(texts, progress)
        patterns, weights = self.population
        p = self._seen(vectors, positions, S)
        mixed = self._seen(vectors, positions, patterns, (weights / weights.sum())[None, :])
        return Views(tuple(map(" + ".join, asked)), self.classes, p, mixed[:, 0])

    def disagreement(
        self, texts: Texts, perspectives: Sequence[Sequence[str]] | None = None
    ) -> FloatArray:
        """Return (n,) how much `perspectives`, each group by default, disagree on each text: 0..1.

        The mean earth mover's distance over pairs of them (`mcstl.perspectives.disagreement`).
        Raises InputError as `predict_proba` does.
        """
        return self.views(texts, perspectives).disagreement

    def explain_groups(
        self, texts: Texts, perspectives: Sequence[Sequence[str]] | None = None
    ) -> pd.DataFrame:
        """Return who sees each text how, furthest from the population first.

        One row per text and perspective, each group by default: ``text`` (its position),
        ``perspective``, ``p(class)`` for each class, ``gap`` (its expected class minus the
        population's, from -1 to 1 in units of the whole scale) and, for single groups, what it
        rests on: ``size`` and ``annotators`` (of the training set), ``description``, ``warning``.
        Raises InputError as `predict_proba` does.
        """
        table = self.views(texts, perspectives).table()
        known = {group.name: group for group in (self.scheme.groups if self.scheme else ())}
        for fact in ("size", "annotators", "description", "warning"):
            facts = [getattr(known.get(name), fact, None) for name in table["perspective"]]
            table[fact] = pd.Series(facts, dtype=object)
        return table

    def _seen(
        self,
        vectors: npt.NDArray[np.float32],
        positions: npt.NDArray[np.int64],
        S: csr_matrix,
        mixture: FloatArray | None = None,
    ) -> FloatArray:
        """(n, P, L): texts by their positions from the perspectives S (P, K), or M mixtures."""
        used = np.flatnonzero(S.getnnz(axis=0))
        S, network = S[:, used], self.network.eval().narrowed(used)
        e_all = torch.from_numpy(vectors)
        device = network.first.weight.device
        n_out = S.shape[0] if mixture is None else len(mixture)
        out = np.zeros((len(positions), n_out, len(self.classes)))
        # Blocks of perspectives, and of texts within them: a membership is dense in a block only.
        block = max(1, _CHUNK // max(1, S.shape[1]))
        with torch.inference_mode():
            for first in range(0, S.shape[0], block):
                seen = slice(first, first + block)
                dense = torch.from_numpy(S[seen].toarray().astype(np.float32)).to(device)
                step = max(1, _CHUNK // (len(dense) * network.first.out_features))
                for start in range(0, len(positions), step):
                    rows = slice(start, start + step)
                    e = e_all[positions[rows]].to(device)
                    p = _grid(network, e, dense).double().cpu().numpy()
                    if mixture is None:
                        out[rows, seen] = p
                    else:
                        out[rows] += np.einsum("mp,npl->nml", mixture[:, seen], p)
        return out

    def _vectors(
        self, texts: Texts, progress: Progress
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Encode distinct texts: (m, d) vectors and (n, 1 or 2) positions."""
        sides = 2 if self.task == "preference" else 1
        if isinstance(texts, str):
            raise InputError("texts is a list; write [text] for a single one")
        rows: list[list[str]] = []
        for number, text in enumerate(texts):
            row: list[Any] = list(text) if isinstance(text, list | tuple | np.ndarray) else [text]
            if len(row) != sides or not all(isinstance(t, str) and t.strip() for t in row):
                expected = "a pair (text_a, text_b)" if sides == 2 else "one text"
                raise InputError(f"text {number} must be {expected}, not empty; got {text!r:.80}")
            rows.append(row)
        flat = [text for row in rows for text in row]
        distinct = list(dict.fromkeys(flat))
        where = {text: i for i, text in enumerate(distinct)}
        positions = np.array([where[text] for text in flat], dtype=np.int64).reshape(-1, sides)
        return self.encoder.encode(distinct, progress), positions

    def predict_annotations(
        self, annotations: Annotations, progress: Progress = silent
    ) -> tuple[FloatArray, csr_matrix]:
        """Return each annotation's probabilities under its own groups, (n, L), and (n, K)."""
        if self.scheme is None:
            S = csr_matrix((len(annotations), 0), dtype=np.float32)
        else:
            S = self.scheme.assign(annotations, self.group_encoder or self.encoder)
        texts, positions = annotations.distinct_texts()
        vectors = torch.from_numpy(self.encoder.encode(texts, progress))
        return predict_rows(self.network, vectors, torch.from_numpy(positions), S), S

    def save(self, folder: str | Path) -> None:
        """Write the model directory, whole or not: safetensors, JSON and README.md, the card.

        The encoder is written by name and fingerprint, and one that was trained further with its
        weights, in ``encoder/``. Raises InputError if `folder` holds something that is no model.
        """
        from safetensors.torch import save_file

        folder = Path(folder)
        check_replaceable(folder)
        scheme_state, arrays = self.scheme.state() if self.scheme else (None, {})
        scheme_state = scheme_state and without_left_out(scheme_state)
        S, weights = self.population
        state, people = self.network.state_dict(), {}
        if isinstance(self.network, PeopleNetwork):
            # What is known of single people does not leave; the population's traits do.
            state |= {name: state[name][:0] for name in ("means", "log_sds")}
            people = {"traits": self.network.means.shape[1]}
        tensors = {f"network.{k}": v.detach().cpu().contiguous() for k, v in state.items()}
        tensors |= {
            f"scheme.{k}": torch.from_numpy(np.ascontiguousarray(a)) for k, a in arrays.items()
        }
        tensors |= {
            "population.indptr": torch.from_numpy(S.indptr.astype(np.int64)),
            "population.indices": torch.from_numpy(S.indices.astype(np.int64)),
            "population.membership": torch.from_numpy(S.data.astype(np.float32)),
            "population.weights": torch.from_numpy(np.asarray(weights, dtype=np.float64)),
        }
        config = {
            "schema": SCHEMA,
            "mcstl": __version__,
            "task": self.task,
            "classes": list(self.classes),
            "encoder": _identity(self.encoder),
            "network": {
                "dimension": self.network.first.in_features,
                "hidden": self.network.first.out_features,
                "n_groups": len(self.network.v),
                **people,
            },
            "scheme": scheme_state,
            "facts": self.facts,
        }
        groups = scheme_state["groups"] if scheme_state else []
        told = self.model_card or card.of_model(self.task, self.classes, groups, self.encoder.name)
        if self.group_encoder is not None:
            config["group_encoder"] = _identity(self.group_encoder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        mark = uuid.uuid4().hex[:8]
        temporary, older = (folder.with_name(f".{folder.name}.{mark}.{x}") for x in ("tmp", "old"))
        try:
            temporary.mkdir()
            save_file(tensors, temporary / "model.safetensors")
            if self.encoder.made_here:
                shutil.copytree(self.encoder.folder, temporary / ENCODER)
            files.write_text(
                temporary / "config.json", json.dumps(config, indent=1, ensure_ascii=False)
            )
            files.write_text(temporary / "README.md", told)
            # Two folders cannot be exchanged in one step everywhere, but nothing is deleted before
            # the new model stands: a process killed in between leaves the older one under `older`.
            if folder.exists():
                folder.rename(older)
            try:
                temporary.rename(folder)
            except OSError:
                if older.exists():
                    older.rename(folder)
                raise
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(older, ignore_errors=True)

    @classmethod
    def load(cls, folder: str | Path, *, encoder: "Encoder | None" = None) -> Self:
        """Read a model directory; the encoder is found by its name unless one is given.

        Raises InputError if the folder is no model, is of another schema, is damaged, or was
        trained on other encoder weights than those found.
        """
        folder = Path(folder)
        config = read_config(folder)
        tensors = read_tensors(folder / "model.safetensors")
        try:
            shape = config["network"]
            task: Task = config["task"]
            if task not in TEXT_COLUMNS:
                raise ValueError(f"its task is {task!r}")
            check_form(config)
            classes = tuple(config["classes"])
            # No weight is drawn, and none is held before it is known to be in the file.
            with torch.device("meta"):
                people = {"n_people": 0, "traits": shape["traits"]} if "traits" in shape else {}
                network = (PeopleNetwork if people else Network)(
                    shape["dimension"],
                    shape["n_groups"],
                    len(classes) - 1,
                    preference=task == "preference",
                    hidden=shape["hidden"],
                    **people,
                )
            weights_of = _under("network.", tensors)
            if odd := {str(t.dtype) for t in weights_of.values()} - {"torch.float32"}:
                raise ValueError(f"its network has numbers of the type {listed(odd)}")
            network.load_state_dict(weights_of, assign=True)
            arrays = {k: v.numpy() for k, v in _under("scheme.", tensors).items()}
            scheme = load_scheme(config["scheme"], arrays) if config["scheme"] else None
            population = _under("population.", tensors)
            indices, indptr = population["indices"].numpy(), population["indptr"].numpy()
            # Models of before there was soft membership do not say it: it is 1.
            inside = population.get("membership", torch.ones(len(indices))).numpy()
            S = csr_matrix((inside, indices, indptr), shape=(len(indptr) - 1, shape["n_groups"]))
            S.check_format(full_check=True)
            if not ((inside >= 0) & (inside <= 1)).all():
                raise ValueError("the memberships of its population are no shares")
            weights = population["weights"].numpy()
            if S.shape[1] > MOST_GROUPS:
                raise ValueError(f"it has {S.shape[1]:,} groups, more than {MOST_GROUPS:,}")
            if weights.shape != (S.shape[0],) or (scheme and len(scheme.names) != S.shape[1]):
                raise ValueError("its parts do not fit together")
            if not ((weights >= 0).all() and weights.sum() > 0):
                raise ValueError("the weights of its population are no counts")
            of_texts = (str(config["encoder"]["name"]), str(config["encoder"]["fingerprint"]))
            former = config.get("group_encoder")
            of_groups = None
            if former is not None:
                of_groups = (str(former["name"]), str(former["fingerprint"]))
            facts = dict(config["facts"])
        except (
            KeyError,
            TypeError,
            ValueError,
            RuntimeError,  # RecursionError among them
            AttributeError,
            ArithmeticError,
        ) as error:
            why = f"no {error}" if isinstance(error, KeyError) else brief(error, 400)
            raise InputError(f"the model in {folder} is damaged: {why}") from error
        from mcstl.encoders import load_encoder

        own = folder / ENCODER
        encoder = encoder or load_encoder(str(own) if own.exists() else of_texts[0])
        _check_identity(folder, encoder, *of_texts)
        # Only groups by rationale need another one, where that of the texts was trained further.
        group_encoder = None
        if of_groups is not None:
            group_encoder = load_encoder(of_groups[0])
            _check_identity(folder, group_encoder, *of_groups)
        network.eval()
        return cls(
            network,
            task,
            classes,
            scheme,
            encoder,
            (S, weights),
            facts,
            read_card(folder),
            group_encoder,
        )


def _grid(network: Network, e: Tensor, S: Tensor) -> Tensor:
    """(n, P, L): every text from every perspective, a mean over people where they matter."""
    if not isinstance(network, PeopleNetwork):
        return network.grid_probabilities(e, S)
    people = network.draws[:, None].expand(-1, len(S), -1)
    p = [network.grid_probabilities(e, S, z) for z in people]
    return torch.stack(p).mean(0)


def predict_rows(
    network: Network,
    vectors: Tensor,
    positions: Tensor,
    S: csr_matrix,
    who: Tensor | None = None,
    *,
    batch: int = 4096,
) -> FloatArray:
    """Return the class probabilities of n rows, each under its own groups: (n, L), float64.

    `vectors` (m, d) are distinct texts, `positions` (n, 1 or 2) the rows' texts among them. `who`
    (n,) are the rows' people for a `PeopleNetwork`, nobody known (-1) without it.
    """
    used = np.flatnonzero(S.getnnz(axis=0))
    S, network = S[:, used], network.eval().narrowed(used)
    device = network.first.weight.device
    vectors = vectors.to(device)
    n_classes = 2 if network.preference else len(network.b_gaps) + 2
    parts = [np.empty((0, n_classes))]
    with torch.inference_mode():
        for start in range(0, len(positions), batch):
            rows = slice(start, start + batch)
            dense = torch.from_numpy(S[rows].toarray().astype(np.float32)).to(device)
            here = positions[rows].to(device)
            traits: list[Tensor | None] = [None]
            if isinstance(network, PeopleNetwork):
                unknown = torch.full((len(here),), -1, device=device)
                people = unknown if who is None else who[rows].to(device)
                traits = [network.traits_of(people, draw) for draw in network.draws]
            logits = [network.logits_at(vectors, here, dense, z).double() for z in traits]
            p = torch.stack([equations.class_probabilities(each) for each in logits])
            parts.append(p.mean(0).cpu().numpy())
    return np.concatenate(parts)


def _identity(encoder: "Encoder") -> dict[str, str]:
    return {"name": encoder.name, "fingerprint": encoder.fingerprint}


def _check_identity(folder: Path, encoder: "Encoder", name: str, fingerprint: str) -> None:
    if encoder.fingerprint != fingerprint:
        raise InputError(
            f"the model in {folder} was trained on other weights of {name!r} "
            f"(fingerprint {fingerprint}, here {encoder.fingerprint}); "
            "give the folder of the encoder it was trained with"
        )


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
