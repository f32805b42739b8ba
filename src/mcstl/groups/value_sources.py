"""Where the values of annotations come from: a column, definitions, a trained labeller, an LLM."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError
from mcstl._support.progress import Progress
from mcstl.data.annotations import Annotations
from mcstl.data.cells import comparable
from mcstl.encoding.encoders import Encoder
from mcstl.groups.base import memberships, need_column
from mcstl.labelling import by_embedding, taxonomies
from mcstl.labelling.taxonomies import Taxonomy
from mcstl.labelling.trained_labeller import Labeller
from mcstl.labelling.value_notation import parse_memberships

State = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]


class ValueSource(Protocol):
    """Gives annotations their values."""

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """Give annotations their values.

        Args:
            annotations: n annotations.
            encoder: Embeds rationales; a column and a language model need none.
            soft: Keep memberships between 0 and 1, where there are such.
            progress: Called with the step, how far it is and how far it goes.

        Returns:
            The names of K values, and the (n, K) membership in them.

        Raises:
            InputError: The column that the values are made from is missing.
        """

    def state(self) -> State:
        """Describe the source for saving.

        Returns:
            What `from_state` needs: a JSON-able dict, and arrays by name.
        """


class Column(NamedTuple):
    """The column ``values`` of the table.

    Attributes:
        merge: Name of a taxonomy, by whose values those that refine them are replaced; "" for none.
    """

    merge: str = ""

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `ValueSource.values`; the names are all that occur, sorted."""
        need_column(annotations, "values", "Groups by taxonomy need")
        parents = _parents(self.merge) if self.merge else {}
        spellings: dict[float | str, str] = {}
        per_row = []
        for values in annotations.frame["values"]:
            row: dict[str, float] = {}
            for name, membership in parse_memberships(values, soft).items():
                for each in parents.get(comparable(name), (name,)):
                    value = spellings.setdefault(comparable(each), each)
                    row[value] = max(membership, row.get(value, 0.0))
            per_row.append(row)
        names = tuple(sorted(spellings.values()))
        return names, memberships(per_row, names)

    def state(self) -> State:
        """See `ValueSource.state`."""
        return {"merge": self.merge}, {}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Restore the source from what `state` returned.

        Args:
            state: The JSON-able dict; schemes saved before there was ``merge`` have none.
            arrays: None.

        Returns:
            The source.
        """
        return cls(state.get("merge", ""))


class Embedding(NamedTuple):
    """The similarity of a rationale to the definitions of a taxonomy.

    Attributes:
        zero_shot: The fitted rule.
    """

    zero_shot: by_embedding.ZeroShot

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `ValueSource.values`; similarities are no probabilities, so `soft` has no effect."""
        rationales, encoder = _rationales(annotations), _need_encoder(encoder)
        membership = self.zero_shot.membership(rationales, encoder, progress)
        return self.zero_shot.taxonomy.names, membership

    def state(self) -> State:
        """See `ValueSource.state`."""
        arrays = {"means": self.zero_shot.means, "sds": self.zero_shot.sds}
        return {"taxonomy": self.zero_shot.taxonomy.model_dump(mode="json")}, arrays

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Restore the source from what `state` returned.

        Args:
            state: The JSON-able dict.
            arrays: Arrays by name.

        Returns:
            The source.
        """
        means, sds = (np.asarray(arrays[name], dtype=np.float32) for name in ("means", "sds"))
        return cls(by_embedding.ZeroShot(Taxonomy(**state["taxonomy"]), means, sds))


class Trained(NamedTuple):
    """A labeller that has learned from labelled rationales.

    Attributes:
        labeller: The labeller.
    """

    labeller: Labeller

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `ValueSource.values`; soft membership is the probability, from the threshold on."""
        rationales, encoder = _rationales(annotations), _need_encoder(encoder)
        p = self.labeller.probabilities(rationales, encoder, progress)
        return self.labeller.names, self.labeller.membership(p, soft)

    def state(self) -> State:
        """See `ValueSource.state`."""
        return self.labeller.state()

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Restore the source from what `state` returned.

        Args:
            state: The JSON-able dict.
            arrays: Arrays by name.

        Returns:
            The source.
        """
        return cls(Labeller.from_state(state, arrays))


class LanguageModel(NamedTuple):
    """The answers of a language model, which are kept, so that each is paid for once.

    Attributes:
        taxonomy: The values to choose from.
        model: Name of the model; "" for the environment's.
        base_url: Address of its server; "" for the environment's.
    """

    taxonomy: Taxonomy
    model: str
    base_url: str

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `ValueSource.values`; an annotation without a usable reply is in no group."""
        # Here and not above, so that fitting a model does not load the client.
        from mcstl.labelling import by_llm
        from mcstl.labelling.cases import cases_of_annotations
        from mcstl.labelling.llm import Client, Template

        need_column(annotations, "rationale", "These groups by taxonomy need")
        client = Client(self.model or None, base_url=self.base_url or None)
        cases = cases_of_annotations(annotations)
        answers = by_llm.label(cases, self.taxonomy, client, Template("label"), progress)
        by_llm.warn_of_unlabelled(cases, answers)
        names = self.taxonomy.names
        return names, memberships([answer.value or [] for answer in answers], names)

    def state(self) -> State:
        """See `ValueSource.state`; server and key are no part of it.

        A model may come from anybody, and must not decide who is sent a user's rationales and key.
        """
        return {"taxonomy": self.taxonomy.model_dump(mode="json"), "model": self.model}, {}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Restore the source from what `state` returned.

        Args:
            state: The JSON-able dict.
            arrays: None.

        Returns:
            The source.
        """
        return cls(Taxonomy(**state["taxonomy"]), state["model"], "")


SOURCES: dict[str, type[Column | Embedding | Trained | LanguageModel]] = {
    "column": Column,
    "embedding": Embedding,
    "trained": Trained,
    "llm": LanguageModel,
}


def fit_embedding(
    taxonomy: str, annotations: Annotations, encoder: Encoder | None, progress: Progress
) -> Embedding:
    """Fit the rule that gives values by similarity to their definitions.

    Args:
        taxonomy: Name or file of the taxonomy.
        annotations: The training rows.
        encoder: Embeds rationales and definitions.
        progress: Called with the step, how many texts are encoded and how many there are.

    Returns:
        The source.

    Raises:
        InputError: There are no rationales, or no encoder.
    """
    rationales, encoder = _rationales(annotations), _need_encoder(encoder)
    values = taxonomies.load(taxonomy)
    return Embedding(by_embedding.fit_zero_shot(rationales, values, encoder, progress))


def definition(taxonomy: str, name: str) -> str:
    """Look up what a value means.

    Args:
        taxonomy: Name of the taxonomy that it is of, or that it refines.
        name: Name of the value.

    Returns:
        Its definition; "" if not known.
    """
    if not taxonomy or taxonomy not in taxonomies.built_in():
        return ""
    for each in (taxonomies.load(taxonomy), *taxonomies.refinements(taxonomy)):
        for value in each.values:
            if comparable(value.name) == comparable(name):
                return value.definition
    return ""


def _parents(taxonomy: str) -> dict[float | str, tuple[str, ...]]:
    """By value that refines some of a taxonomy, however it is spelt, the names of those."""
    values = [value for each in taxonomies.refinements(taxonomy) for value in each.values]
    return {comparable(value.name): value.refines for value in values}


def _rationales(annotations: Annotations) -> list[str]:
    need_column(annotations, "rationale", "These groups by taxonomy need")
    return list(annotations.frame["rationale"])


def _need_encoder(encoder: Encoder | None) -> Encoder:
    if encoder is None:
        raise InputError("These groups by taxonomy need an encoder: pass load_encoder()")
    return encoder
