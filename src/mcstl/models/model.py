"""The model around a network: save, load, predict."""

import json
import shutil
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix
from torch import Tensor

from mcstl import __version__, equations
from mcstl._support import files
from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.errors import InputError, brief, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import TEXT_COLUMNS, Annotations
from mcstl.data.labels import Task
from mcstl.groups import MOST_GROUPS, Scheme, load_scheme
from mcstl.groups.base import FEW_PEOPLE
from mcstl.models import card
from mcstl.models.hub import OnTheHub
from mcstl.models.model_directory import (
    ENCODER,
    SCHEMA,
    check_form,
    check_replaceable,
    read_card,
    read_config,
    read_tensors,
    without_left_out,
)
from mcstl.models.networks import Network, form_of, rebuilt
from mcstl.models.people import PeopleNetwork
from mcstl.models.perspectives import Groups, Person, Perspective, Views, seats

if TYPE_CHECKING:
    from mcstl.encoding.encoders import Encoder

Texts = Sequence[str] | Sequence[tuple[str, str]]

#: Numbers held at once while a mixture is predicted, 64 MiB as float32.
_CHUNK = 2**24
#: How often what is known of groups and people is drawn for an interval.
_INTERVAL_DRAWS = 128


@dataclass
class Model(OnTheHub):
    """A trained network with what it needs to answer: its groups, its classes and its encoder.

    `population` is the training set's memberships: distinct rows (P, K) and how often each occurs.
    `facts` are settings and figures that travel with it and are not used, `model_card` is its
    README.md, which a study writes; without one a model is saved with a card of its own facts.
    `group_encoder` forms groups by rationale where `encoder` was trained further. `people` are the
    codes of the annotators whom a `PeopleNetwork` knows, in its order.
    """

    network: Network
    task: Task
    classes: tuple[str, ...]
    scheme: Scheme | None
    encoder: "Encoder"
    population: tuple[csr_matrix, FloatArray]
    facts: dict[str, Any] = field(default_factory=dict)
    model_card: str = ""
    group_encoder: "Encoder | None" = None
    people: tuple[str, ...] = ()

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the value groups, in the order of the embeddings."""
        return self.scheme.names if self.scheme else ()

    @property
    def groups_of_few(self) -> tuple[str, ...]:
        """The names of groups of fewer than five people."""
        groups = self.scheme.groups if self.scheme else ()
        return tuple(g.name for g in groups if g.annotators and g.annotators < FEW_PEOPLE)

    def membership(self, perspectives: Sequence[Groups]) -> csr_matrix:
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
        perspectives: Sequence[Perspective] | None = None,
        *,
        progress: Progress = silent,
    ) -> FloatArray:
        """Return P(label | text, perspective): (n texts, n perspectives, L), float64.

        Each perspective is a list of group names whose embeddings add (Eq. 1), a `Person` whom the
        model knows or a `Jury`, a mixture of both. Without perspectives the answer is the
        population's: the mixture over the training set's memberships, weighted by how often each
        occurs, shape (n, 1, L). In preference a text is a pair (a, b) and class 1 means that a is
        preferred.

        Raises InputError for an unknown group or person, or for texts of the wrong form.
        """
        asked = self._asked(perspectives)
        return self._seen(*self._vectors(texts, progress), asked)

    def predict_interval(
        self,
        texts: Texts,
        perspectives: Sequence[Perspective] | None = None,
        *,
        level: float = 0.95,
        progress: Progress = silent,
    ) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the interval that holds P(label | text, perspective): (n, P, L) each.

        It says how sure the model is of a perspective: of what a group shares it knows as much as
        it has members, of a `Person` as much as their annotations tell. The ends are quantiles over
        draws of both, given all else that was learnt (docs/people.md).

        Raises InputError as `predict_proba` does, for a model that is not of `mc-stl-people`, and
        for a level outside 0 to 1.
        """
        network = self.network
        if not isinstance(network, PeopleNetwork):
            raise InputError("only a model of the method mc-stl-people knows how sure it is")
        if not 0 < level < 1:
            raise InputError(f"a level is between 0 and 1, as 0.95; got {level}")
        asked = self._asked(perspectives)
        vectors, positions = self._vectors(texts, progress)
        random, traits = torch.Generator().manual_seed(0), len(network.tau)
        p = []
        for done in range(_INTERVAL_DRAWS):
            shared = torch.randn(1, network.spread.shape[1], traits, generator=random)
            own = torch.randn(len(asked.who), traits, generator=random)
            share = network.drawn_share(shared.to(network.share.device))[0]
            p.append(self._seen(vectors, positions, asked, share, own))
            progress("drawing people", done + 1, _INTERVAL_DRAWS)
        low, high = np.quantile(np.stack(p), [(1 - level) / 2, (1 + level) / 2], axis=0)
        return low, high

    def _asked(self, perspectives: Sequence[Perspective] | None) -> "_Asked":
        if perspectives is None:
            S, weights = self.population
            return _Asked(S, np.full(S.shape[0], -1), (weights / weights.sum())[None, :])
        if isinstance(perspectives, str):
            self.membership(perspectives)  # says what is wrong
        jurors, mixture = seats(perspectives)
        S = self.membership([x.groups if isinstance(x, Person) else x for x in jurors])
        who = [self._place(x.code) if isinstance(x, Person) else -1 for x in jurors]
        return _Asked(S, np.array(who, dtype=np.int64), mixture)

    def _place(self, code: str) -> int:
        if not self.people:
            raise InputError(
                "this model knows no single person: mc-stl-people does, and keeps them in a folder "
                "only with save(folder, people=True)"
            )
        if code not in self.people:
            raise InputError(
                f"{code!r} is nobody whom this model knows.{did_you_mean(code, self.people)}"
            )
        return self.people.index(code)

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
        groups = self._asked(asked)
        vectors, positions = self._vectors(texts, progress)
        p = self._seen(vectors, positions, groups)
        mixed = self._seen(vectors, positions, self._asked(None))
        return Views(tuple(map(" + ".join, asked)), self.classes, p, mixed[:, 0])

    def disagreement(
        self, texts: Texts, perspectives: Sequence[Sequence[str]] | None = None
    ) -> FloatArray:
        """Return (n,) how much `perspectives`, each group by default, disagree on each text: 0..1.

        The mean earth mover's distance over pairs of them (`perspectives.disagreement`).
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
        vectors: Float32Array,
        positions: IntArray,
        asked: "_Asked",
        share: Tensor | None = None,
        own: Tensor | None = None,
    ) -> FloatArray:
        """(n, P, L): texts by their positions as those who are asked see them.

        `share` and `own` are draws of what groups share and, in noise, of what known people have.
        """
        S, who, mixture = asked
        used = np.flatnonzero(S.getnnz(axis=0))
        S, network = S[:, used], self.network.eval().narrowed(used)
        share = None if share is None else share[[*used, -1]]  # the last is the level
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
                people = torch.tensor(who[seen], device=device)
                theirs = None if own is None else own[seen].to(device)
                step = max(1, _CHUNK // (len(dense) * network.first.out_features))
                for start in range(0, len(positions), step):
                    rows = slice(start, start + step)
                    e = e_all[positions[rows]].to(device)
                    p = _grid(network, e, dense, people, share, theirs).double().cpu().numpy()
                    if mixture is None:
                        out[rows, seen] = p
                    else:
                        out[rows] += np.einsum("mp,npl->nml", mixture[:, seen], p)
        return out

    def _vectors(self, texts: Texts, progress: Progress) -> tuple[Float32Array, IntArray]:
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
        who = None
        if self.people and annotations.has("annotator"):
            codes = annotations.frame["annotator"].map({c: i for i, c in enumerate(self.people)})
            who = torch.tensor(codes.fillna(-1).to_numpy(dtype=np.int64))
        return predict_rows(self.network, vectors, torch.from_numpy(positions), S, who), S

    def save(self, folder: str | Path, *, people: bool = False) -> None:
        """Write the model directory, whole or not: safetensors, JSON and README.md, the card.

        The encoder is written by name and fingerprint, and one that was trained further with its
        weights, in ``encoder/``. What was learnt of single annotators, and their codes, are
        personal data: they are written with `people` only. Raises InputError if `folder` holds
        something that is no model.
        """
        from safetensors.torch import save_file

        folder = Path(folder)
        check_replaceable(folder)
        scheme_state, arrays = self.scheme.state() if self.scheme else (None, {})
        scheme_state = scheme_state and without_left_out(scheme_state)
        S, weights = self.population
        state, traits = self.network.state_dict(), {}
        if isinstance(self.network, PeopleNetwork):
            traits = {"traits": len(self.network.tau)}
            if not people:
                state |= {name: state[name][:0] for name in ("habits", "log_sds", "typical")}
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
                "n_groups": len(self.network.v),
                **self.network.described(),
                **traits,
            },
            "people": list(self.people) if people else [],
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
            file = temporary / "model.safetensors"
            with files.writing(file):
                save_file(tensors, file)
            if self.encoder.is_fine_tuned:
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
            classes, people = tuple(config["classes"]), tuple(config.get("people", ()))
            weights_of = _under("network.", tensors)
            if odd := {str(t.dtype) for t in weights_of.values()} - {"torch.float32"}:
                raise ValueError(f"its network has numbers of the type {listed(odd)}")
            sizes = shape["dimension"], shape["n_groups"], len(classes) - 1
            preference = task == "preference"
            if "traits" in shape:
                with torch.device("meta"):
                    network: Network = PeopleNetwork(
                        *sizes,
                        typical=torch.empty(len(people), shape["n_groups"]),
                        personal=torch.empty(shape["n_groups"]),
                        traits=shape["traits"],
                        **form_of(shape, preference),
                    )
                network.load_state_dict(weights_of, assign=True)
            else:
                network = rebuilt(shape, weights_of, sizes, preference)
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
        from mcstl.encoding.encoders import load_encoder

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
            people,
        )


class _Asked(NamedTuple):
    """Who is asked: groups (J, K), people (J,), -1 for nobody known, and juries' shares (P, J)."""

    S: csr_matrix
    who: IntArray
    mixture: FloatArray | None


def _grid(
    network: Network,
    e: Tensor,
    S: Tensor,
    who: Tensor,
    share: Tensor | None,
    own: Tensor | None,
) -> Tensor:
    """(n, P, L): every text from every perspective, a mean over people where they matter."""
    if not isinstance(network, PeopleNetwork):
        return network.grid_probabilities(e, S)
    p = []
    for draw in network.draws:
        noise = draw.expand(len(S), -1)
        if own is not None:
            noise = torch.where((who >= 0)[:, None], own, noise)
        z = network.traits_of(who, S, noise, share)
        p.append(network.grid_probabilities(e, S, z))
    return torch.stack(p).mean(0)


def predict_rows(
    network: Network,
    vectors: Tensor,
    positions: Tensor,
    S: csr_matrix,
    who: Tensor | None = None,
    *,
    batch: int = 4096,
    draws: int | None = None,
) -> FloatArray:
    """Return the class probabilities of n rows, each under its own groups: (n, L), float64.

    `vectors` (m, d) are distinct texts, `positions` (n, 1 or 2) the rows' texts among them. `who`
    (n,) are the rows' people for a `PeopleNetwork`, nobody known (-1) without it; `draws` are how
    many of its draws to take, by default all.
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
            projected = network.projected_at(vectors, here)
            traits: list[Tensor | None] = [None]
            if isinstance(network, PeopleNetwork):
                unknown = torch.full((len(here),), -1, device=device)
                people = unknown if who is None else who[rows].to(device)
                taken = network.draws[:draws]
                traits = [network.traits_of(people, dense, draw) for draw in taken]
            logits = [network.logits_of(projected, dense, z).double() for z in traits]
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
