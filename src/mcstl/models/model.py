"""The model around a network: save, load, predict."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self, get_args

import numpy as np
import pandas as pd
import torch
from scipy.sparse import csr_matrix, diags_array, hstack, vstack
from scipy.special import expit, logit, ndtri

from mcstl import __version__
from mcstl._support.arrays import BoolArray, Float32Array, FloatArray, IntArray
from mcstl._support.errors import InputError, Notice, brief, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import TEXT_COLUMNS, Annotations
from mcstl.data.labels import Task
from mcstl.encoding.parts import PartsEncoder, Reading
from mcstl.groups import Scheme, load_scheme
from mcstl.groups.small_groups import FEW_PEOPLE
from mcstl.models import network_kinds
from mcstl.models.everyday import EverydayModel
from mcstl.models.examples import distinct_rows
from mcstl.models.hub import OnTheHub
from mcstl.models.known_texts import codes, hashes
from mcstl.models.model_directory import (
    ENCODER,
    SCHEMA,
    check_form,
    check_identity,
    check_replaceable,
    identity_in,
    identity_of,
    model_in,
    population_of,
    population_tensors,
    read_card,
    read_config,
    read_tensors,
    under,
    upgraded,
    without_left_out,
    write_directory,
)
from mcstl.models.networks import NOT_SURE, BaseNetwork
from mcstl.models.perspectives import (
    Groups,
    Person,
    Perspective,
    Views,
    check_people,
    jurors_of,
    post_stratify,
)
from mcstl.models.populations import Population, cells_of
from mcstl.models.prediction import Respondents, predict_draws, predict_grid, predict_rows
from mcstl.models.texts import Texts

if TYPE_CHECKING:
    from mcstl.encoding.encoders import Encoder


class _Encoded(NamedTuple):
    """Distinct texts: (m, d) vectors, (n, sides) positions, (m,) which are known, (n,) cut."""

    vectors: Float32Array
    positions: IntArray
    known: IntArray
    cut: BoolArray


#: Numbers of draws that are held at once, 128 MiB.
_NUMBERS_AT_ONCE = 2**24


@dataclass(repr=False)
class Model(EverydayModel, OnTheHub):
    """A trained network with what it needs to answer: its groups, its classes and its encoder.

    Attributes:
        network: The network.
        task: What it predicts: a class, ordered classes, or which of two texts is preferred.
        classes: The names of the classes, in their order.
        scheme: The rule that gives annotations their groups; None for a model without groups.
        encoder: What turns texts into vectors.
        population: The training set's memberships: the distinct ones, (P, K), and how often each
            occurs, (P,).
        facts: Settings and figures that travel with the model and are not used.
        model_card: Its README.md, which a study writes; without one a model is saved with a card of
            its own facts.
        group_encoder: What forms groups by rationale where `encoder` was trained further.
        people: The codes of the annotators whom the network knows, in its order.
        texts: The hashes of the texts that the network knows, ascending, (I,).
        level: The probability that the intervals of predicted tables hold; None for no intervals.
        min_people: How many people a group must be of, where they are known, for predictions to be
            made for it. How many fewer than five are is not known, so that 2 to 5 are alike, and 1
            allows all groups.
        text_parts: The number of parts that each of the training texts has, 1 for whole texts.
    """

    network: BaseNetwork
    task: Task
    classes: tuple[str, ...]
    scheme: Scheme | None
    encoder: "Encoder"
    population: tuple[csr_matrix, FloatArray]
    facts: dict[str, Any] = field(default_factory=dict)
    model_card: str = ""
    group_encoder: "Encoder | None" = None
    people: tuple[str, ...] = ()
    min_people: int = FEW_PEOPLE
    text_parts: int = 1
    texts: IntArray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    level: float | None = None

    def membership(self, perspectives: Sequence[Groups]) -> csr_matrix:
        """Turn names of groups into a membership.

        Args:
            perspectives: The names of the groups of each of P perspectives.

        Returns:
            The membership, (P, K): row p is 1 at the groups that perspective p names.

        Raises:
            InputError: For a name that is no group, with the nearest that is, and for a group of
                fewer people than `min_people`.

        Warns:
            Notice: Of a group of fewer than five people that `min_people` allows.
        """
        position = {name: k for k, name in enumerate(self.group_names)}
        rows, columns = [], []
        each = [perspectives] if isinstance(perspectives, str) else perspectives
        for row, perspective in enumerate(each):
            if isinstance(perspective, str):
                raise InputError(
                    f"a perspective is a list of group names; got {perspective!r}. "
                    f"Write [[{perspective!r}]]"
                )
            for name in dict.fromkeys(perspective):
                if name not in position:
                    groups = f"its groups: {listed(position)}" if position else "it has none"
                    raise InputError(
                        f"{name!r} is no group of this model; {groups}."
                        f"{did_you_mean(str(name), position)}"
                    )
                rows.append(row)
                columns.append(position[name])
        described = self.scheme.groups if self.scheme else ()
        check_people([described[k] for k in sorted(set(columns))], self.min_people)
        ones = np.ones(len(rows), dtype=np.float32)
        return csr_matrix((ones, (rows, columns)), shape=(len(perspectives), len(position)))

    def for_population(self, population: Population) -> Self:
        """Ask the model about another population than that of its training.

        Every view is then post-stratified over the cells of this population: what women of it say,
        with the ages that its women have.

        Args:
            population: Weights by perspective (``{"gender=Woman + age=18-29": 120}``), or a table
                with a column per attribute and a column ``weight``, as of a census.

        Returns:
            A model with this population; it shares all else.

        Raises:
            InputError: For an unknown group, and for weights that are none.
        """
        cells, weights = cells_of(population, self.group_names)
        patterns, places = distinct_rows(self.membership(cells))
        counts = np.bincount(places, weights=weights, minlength=patterns.shape[0])
        return replace(self, population=(patterns, counts.astype(float)))

    def predict_proba(
        self,
        texts: Texts,
        perspectives: Sequence[Perspective] | None = None,
        *,
        exactly: bool = False,
        progress: Progress = silent,
    ) -> FloatArray:
        """Predict P(label | text, perspective).

        Args:
            texts: n texts, or lists of their parts (`TextForm`); in preference pairs (a, b).
            perspectives: Whom the predictions are for: each is a list of group names, a `Person`
                whom the model knows, or a `Jury`, a mixture of both. A list of groups is
                post-stratified: the mixture over the training set's memberships that are in all of
                them, weighted by how often each occurs. By default the population: the mixture
                over all memberships.
            exactly: Whether to add the embeddings of the named groups alone, as Eq. 1 is written,
                rather than to post-stratify: the view of somebody who is in these groups and in no
                other, whom training may never have seen.
            progress: Called with what is being done, how many texts are encoded and how many there
                are.

        Returns:
            The class probabilities, (n, P, L), with P = 1 for the population. In preference class 1
            means that a is preferred.

        Raises:
            InputError: For an unknown group or person, or for texts of the wrong form.

        Warns:
            Notice: If no training annotation is in all of the named groups: then their embeddings
                are added alone. And if a group is of fewer than five people, which `min_people`
                must allow.

        Example:
            >>> model = Model.load("out/model")  # doctest: +SKIP
            >>> model.predict_proba(["It rains."], [["Security"], ["Tradition"]])  # doctest: +SKIP
            array([[[0.31, 0.69],
                    [0.42, 0.58]]])
        """
        respondents = self.respondents(perspectives, exactly=exactly)
        return self._predict(self._encoded(texts, progress), respondents)

    def predict_interval(
        self,
        texts: Texts,
        perspectives: Sequence[Perspective] | None = None,
        *,
        level: float = 0.95,
        exactly: bool = False,
        progress: Progress = silent,
    ) -> tuple[FloatArray, FloatArray]:
        """Compute the interval that holds P(label | text, perspective).

        It says how sure the model is of a text and a perspective: of what a group shares it knows
        as much as it has members, of a `Person` as much as their annotations tell, of a text that
        training did not know only what its words say. The posterior of P(y > t) is taken to be
        normal on the scale of log odds (docs/people.md).

        Args:
            texts: n texts, or lists of their parts (`TextForm`); in preference pairs (a, b).
            perspectives: As in `predict_proba`.
            level: The probability that the interval is to hold.
            exactly: As in `predict_proba`.
            progress: Called with what is being done, how many steps are finished and how many there
                are.

        Returns:
            The lower and the upper ends, (n, P, L) each.

        Raises:
            InputError: As `predict_proba`, for a model that is not of `multilevel` or `best`, and
                for a level outside 0 to 1.
        """
        self.check_level(level)
        respondents = self.respondents(perspectives, exactly=exactly)
        return self._interval(self._encoded(texts, progress), respondents, level, progress)

    def _interval(
        self, encoded: "_Encoded", respondents: Respondents, level: float, progress: Progress
    ) -> tuple[FloatArray, FloatArray]:
        """Return the ends of the posterior's interval, (n, P, L) each."""
        vectors, positions, known, _ = encoded
        n, L, P = len(positions), len(self.classes), respondents.shares.shape[0]
        n_texts = max(1, _NUMBERS_AT_ONCE // max(1, self.network.n_draws * P * L))
        center, width = np.empty((n, P, L)), np.empty((n, P, L))
        for start in range(0, n, n_texts):
            texts = slice(start, start + n_texts)
            p = predict_draws(self.network, vectors, positions[texts], respondents, L, known)
            z = logit(p)
            center[texts], width[texts] = z.mean(axis=0), z.std(axis=0)
            progress("drawing from the posterior", start, n)
        progress("drawing from the posterior", n, n)
        half = ndtri((1 + level) / 2) * width
        return expit(center - half), expit(center + half)

    def check_level(self, level: float) -> None:
        """Check that intervals can be had.

        Args:
            level: The probability that they are to hold.

        Raises:
            InputError: If the model does not know how sure it is, or if there is no such level.
        """
        if not self.network.n_draws:
            raise InputError(NOT_SURE)
        if not 0 < level < 1:
            raise InputError(f"a level is between 0 and 1, as 0.95; got {level}")

    def views(
        self,
        texts: Texts,
        perspectives: Sequence[Groups] | None = None,
        *,
        exactly: bool = False,
        level: float | None = None,
        progress: Progress = silent,
    ) -> Views:
        """Predict texts from several perspectives and for the population, encoding each once.

        Args:
            texts: n texts, or lists of their parts (`TextForm`); in preference pairs (a, b).
            perspectives: Lists of group names, by default each group of `min_people` or more alone.
            exactly: As in `predict_proba`.
            level: The probability that intervals are to hold, as in `predict_interval`; without it
                there are none.
            progress: Called with what is being done, how many texts are encoded and how many there
                are.

        Returns:
            What each perspective and the population say of each text.

        Raises:
            InputError: As `predict_proba`, and with a level as `predict_interval`.
        """
        if level is not None:
            self.check_level(level)
        perspectives = self._each_group() if perspectives is None else perspectives
        respondents = self.respondents([*perspectives, ()], exactly=exactly)
        encoded = self._encoded(texts, progress)
        p = self._predict(encoded, respondents)
        names = tuple(map(" + ".join, perspectives))
        unseen = tuple(names[i] for i in respondents.unseen)
        views = Views(names, self.classes, p[:, :-1], p[:, -1], unseen, encoded.cut)
        if level is None:
            return views
        ends = np.stack(self._interval(encoded, respondents, level, progress))
        return replace(views, ends=np.roll(ends, 1, axis=2))  # the population, which is last

    def disagreement(
        self,
        texts: Texts,
        perspectives: Sequence[Groups] | None = None,
        *,
        exactly: bool = False,
    ) -> FloatArray:
        """Compute how much perspectives disagree on each text.

        The mean earth mover's distance over pairs of them (`perspectives.disagreement`).

        Args:
            texts: n texts, or lists of their parts (`TextForm`); in preference pairs (a, b).
            perspectives: Lists of group names, by default each group of `min_people` or more alone.
            exactly: As in `predict_proba`.

        Returns:
            The disagreement, (n,), from 0 to 1.

        Raises:
            InputError: As `predict_proba`.
        """
        return self.views(texts, perspectives, exactly=exactly).disagreement

    def explain_groups(
        self,
        texts: Texts,
        perspectives: Sequence[Groups] | None = None,
        *,
        exactly: bool = False,
    ) -> pd.DataFrame:
        """Tabulate who sees each text how, furthest from the population first.

        Args:
            texts: n texts, or lists of their parts (`TextForm`); in preference pairs (a, b).
            perspectives: Lists of group names, by default each group of `min_people` or more alone.
            exactly: As in `predict_proba`.

        Returns:
            One row per text and perspective: ``text`` (its position), ``perspective``, ``p(class)``
            for each class, ``gap`` (its expected class minus the population's, from -1 to 1 in
            units of the whole scale) and, where it is one group, what it rests on: ``size`` and
            ``annotators`` (of the training set; 0 for fewer than five people), ``description``,
            ``warning``.

        Raises:
            InputError: As `predict_proba`.
        """
        table = self.views(texts, perspectives, exactly=exactly).table()
        groups = {group.name: group for group in (self.scheme.groups if self.scheme else ())}
        for fact in ("size", "annotators", "description", "warning"):
            facts = [getattr(groups.get(name), fact, None) for name in table["perspective"]]
            table[fact] = pd.Series(facts, dtype=object)
        return table

    def predict_annotations(
        self, annotations: Annotations, progress: Progress = silent
    ) -> tuple[FloatArray, csr_matrix]:
        """Predict annotations, each under its own groups and, where known, its annotator.

        Args:
            annotations: n annotations of the model's task.
            progress: Called with what is being done, how many texts are encoded and how many there
                are.

        Returns:
            The class probabilities, (n, L), and the groups of each annotation, (n, K).
        """
        if self.scheme is None:
            S = csr_matrix((len(annotations), 0), dtype=np.float32)
        else:
            S = self.scheme.assign(annotations, self.group_encoder or self.encoder)
        if self.encoder.rationale:
            annotations = annotations.with_rationales_read()
        texts, positions = annotations.distinct_texts()
        vectors = self.encoder.encode(texts, progress)
        annotators = None
        if self.people and annotations.has("annotator"):
            places = annotations.frame["annotator"].map({c: i for i, c in enumerate(self.people)})
            annotators = np.array(places.fillna(-1), dtype=np.int64)
        known = codes(hashes(texts), self.texts)
        return predict_rows(self.network, vectors, positions, S, annotators, known=known), S

    def _each_group(self) -> list[list[str]]:
        return [[group.name] for group in self.askable_groups]

    def respondents(
        self, perspectives: Sequence[Perspective] | None = None, *, exactly: bool = False
    ) -> Respondents:
        """Find who answers for each perspective: the memberships and people that it is a mean over.

        Args:
            perspectives: As in `predict_proba`; one that names no group is the population.
            exactly: As in `predict_proba`.

        Returns:
            Each distinct membership and person once, and their shares in the P perspectives.

        Raises:
            InputError: For an unknown group or person.

        Warns:
            Notice: As `predict_proba`.
        """
        if isinstance(perspectives, str):
            self.membership(perspectives)  # says what is wrong
        jurors, juries = jurors_of([()] if perspectives is None else perspectives)
        named = self.membership([x.groups if isinstance(x, Person) else x for x in jurors])
        people = [self._position(x.code) if isinstance(x, Person) else -1 for x in jurors]
        annotators = np.array(people, dtype=np.int64)
        stratified, occurs = post_stratify(self.population, named)
        unseen = ~occurs & (annotators < 0)
        names_groups = named.getnnz(axis=1) > 0
        alone = unseen | (annotators >= 0) | (names_groups if exactly else False)
        if not exactly:
            for j in np.flatnonzero(unseen):
                _warn_unseen(jurors[j])
        # Those of the population first, then each juror for whom a membership alone answers.
        shares = hstack([diags_array(1.0 - alone) @ stratified, diags_array(1.0 * alone)])
        shares = csr_matrix(juries @ shares)
        shares.eliminate_zeros()
        needed = np.flatnonzero(shares.getnnz(axis=0))
        S = vstack([self.population[0], named], format="csr")
        annotators = np.concatenate([np.full(stratified.shape[1], -1), annotators])
        of_unseen = () if exactly else tuple(np.flatnonzero(juries @ unseen).tolist())
        return Respondents(S[needed], annotators[needed], shares[:, needed], of_unseen)

    def _position(self, code: str) -> int:
        if not self.people:
            raise InputError(
                "this model knows no single person: those of the methods multilevel and best do, "
                "and keep them in a folder only with save(folder, people=True)"
            )
        if code not in self.people:
            raise InputError(
                f"{code!r} is nobody whom this model knows.{did_you_mean(code, self.people)}"
            )
        return self.people.index(code)

    def _predict(self, texts: "_Encoded", respondents: Respondents) -> FloatArray:
        vectors, positions, known, _ = texts
        L = len(self.classes)
        return predict_grid(self.network, vectors, positions, respondents, L, known)

    def _encoded(self, texts: Texts, progress: Progress) -> "_Encoded":
        form = self.text_form
        flat = [text for item in form.read_all(texts) for text in item]
        distinct = list(dict.fromkeys(flat))
        where = {text: i for i, text in enumerate(distinct)}
        positions = np.array([where[text] for text in flat], np.int64).reshape(-1, form.sides)
        vectors, cut = self.encoder.encode_with_cuts(distinct, progress)
        known = codes(hashes(distinct), self.texts)
        return _Encoded(vectors, positions, known, np.asarray(cut[positions].any(axis=1)))

    def save(self, folder: str | Path, *, people: bool = False) -> None:
        """Write the model directory, whole or not: safetensors, JSON and README.md, the card.

        The encoder is written by name and fingerprint, and one that was trained further with its
        weights, in ``encoder/``.

        Args:
            folder: The directory; a model of ours that is there is replaced.
            people: Whether to write what was learnt of single annotators, and their codes, which
                are personal data.

        Raises:
            InputError: If `folder` holds something that is no model.
        """
        folder = Path(folder)
        check_replaceable(folder)
        network = self.network if people else self.network.without_annotators()
        scheme_state, arrays = self.scheme.state() if self.scheme else (None, {})
        scheme_state = scheme_state and without_left_out(scheme_state)
        tensors = {
            f"network.{k}": v.detach().cpu().contiguous() for k, v in network.state_dict().items()
        }
        tensors |= {
            f"scheme.{k}": torch.from_numpy(np.ascontiguousarray(a)) for k, a in arrays.items()
        }
        tensors |= population_tensors(*self.population)
        if len(self.texts):
            tensors["texts"] = torch.from_numpy(self.texts)
        config = {
            "schema": SCHEMA,
            "mcstl": __version__,
            "task": self.task,
            "classes": list(self.classes),
            "encoder": identity_of(self.encoder),
            "network": {
                "dimension": network.dimension,
                "n_groups": network.n_groups,
                **network.config(),
            },
            "people": list(self.people) if people else [],
            "scheme": scheme_state,
            "facts": self.facts,
            "text_parts": self.text_parts,
        }
        if self.group_encoder is not None:
            config["group_encoder"] = identity_of(self.group_encoder)
        from mcstl.models import card  # who fits and does not save needs none

        groups = scheme_state["groups"] if scheme_state else []
        readme = self.model_card or card.of_model(
            self.task, self.classes, groups, self.encoder.name, self.text_form.parts
        )
        of_encoder = Path(self.encoder.folder) if self.encoder.is_fine_tuned else None
        write_directory(folder, tensors, config, readme, of_encoder)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        encoder: "Encoder | None" = None,
        min_people: int = FEW_PEOPLE,
    ) -> Self:
        """Read a model directory.

        Args:
            folder: The directory that `save` wrote, or the outputs of a study that hold one.
            encoder: The encoder of the texts; by default it is found by its name.
            min_people: How many people a group must be of for predictions to be made for it; 1
                allows groups of fewer than five.

        Returns:
            The model.

        Raises:
            InputError: If the folder is no model, is of another schema, is damaged, or was trained
                on other encoder weights than those found.
        """
        folder = model_in(Path(folder))
        config = read_config(folder)
        tensors = read_tensors(folder / "model.safetensors")
        try:
            config = upgraded(config)
            shape = config["network"]
            task: Task = config["task"]
            if task not in TEXT_COLUMNS:
                raise ValueError(f"its task is {task!r}")
            check_form(config)
            classes, people = tuple(config["classes"]), tuple(config["people"])
            weights = under("network.", tensors)
            if odd := {str(t.dtype) for t in weights.values()} - {"torch.float32"}:
                raise ValueError(f"its network has numbers of the type {listed(odd)}")
            sizes = shape["dimension"], shape["n_groups"], len(classes) - 1
            network = network_kinds.restore(shape, weights, sizes, task == "preference")
            arrays = {k: v.numpy() for k, v in under("scheme.", tensors).items()}
            scheme = load_scheme(config["scheme"], arrays) if config["scheme"] else None
            population = population_of(tensors, shape["n_groups"])
            n_groups = len(scheme.names) if scheme else 0
            texts = tensors["texts"].numpy() if "texts" in tensors else np.empty(0, np.int64)
            known = len(people), len(texts)
            if (n_groups, *known) != (shape["n_groups"], network.n_annotators, network.n_texts):
                raise ValueError("its parts do not fit together")
            text_encoder = identity_in(config["encoder"])
            rationale_encoder = config.get("group_encoder")
            if rationale_encoder is not None:
                rationale_encoder = identity_in(rationale_encoder)
            facts, parts = dict(config["facts"]), config.get("text_parts", 1)
            encoded_apart = config["encoder"].get("parts", 1)
            reading = config["encoder"].get("reading", "apart" if encoded_apart > 1 else "joined")
            rationale = config["encoder"].get("rationale", False)
            if type(parts) is not int or parts < 1 or encoded_apart not in (1, parts):
                raise ValueError(f"its texts have {parts!r} parts, of {encoded_apart!r}")
            if reading not in get_args(Reading) or type(rationale) is not bool:
                raise ValueError(f"its texts are read {reading!r}, {rationale!r}")
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
        from mcstl.encoding.side_by_side import load_saved

        saved = folder / ENCODER
        if encoder is None:
            encoder = load_saved(saved) if saved.exists() else load_encoder(text_encoder[0])
        if (reading, rationale) != (encoder.reading, encoder.rationale):
            encoder = PartsEncoder(encoder, parts, reading, rationale)
        check_identity(folder, encoder, *text_encoder)
        # Only groups by rationale need another one, where that of the texts was trained further.
        group_encoder = None
        if rationale_encoder is not None:
            group_encoder = load_encoder(rationale_encoder[0])
            check_identity(folder, group_encoder, *rationale_encoder)
        return cls(
            network,
            task,
            classes,
            scheme,
            encoder,
            population,
            facts,
            read_card(folder),
            group_encoder,
            people,
            min_people,
            parts,
            texts,
        )


def _warn_unseen(groups: Any) -> None:
    """Warn by a `Notice` of a perspective that no training annotation has."""
    warnings.warn(
        f"no training annotation is in {' + '.join(groups)} at once; the embeddings of the groups "
        "are added alone, which training never saw",
        Notice,
        stacklevel=2,
    )
