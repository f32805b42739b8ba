"""Where the values of annotations come from: a column, definitions, a trained labeller, an LLM."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError
from mcstl._support.progress import Progress
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups.base import memberships, need_column
from mcstl.labelling import by_embedding, by_llm, taxonomies, trained
from mcstl.labelling import value_cells as cells
from mcstl.labelling.cases import cases_of
from mcstl.labelling.llm import Client, Template
from mcstl.labelling.taxonomies import Taxonomy

State = tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]


class Source(Protocol):
    """Says which values annotations appeal to."""

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """Return the names of the values and the (n, K) membership in them."""

    def state(self) -> State:
        """Return what `from_state` needs: a JSON-able dict, and arrays by name."""


class Column(NamedTuple):
    """The column `values` of the table; with `merge`, as values of the taxonomy they refine."""

    merge: str = ""

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `Source`; the names are all that occur, sorted."""
        need_column(annotations, "values", "Groups by taxonomy need")
        rows = [cells.values_in(row, soft) for row in annotations.frame["values"]]
        if self.merge:
            rows = [self._merged(row) for row in rows]
        names = tuple(sorted({name for row in rows for name in row}))
        return names, memberships(rows, names)

    def _merged(self, row: Mapping[str, float]) -> dict[str, float]:
        parents: dict[str, float] = {}
        for name, weight in row.items():
            for parent in _parents(self.merge).get(name, (name,)):
                parents[parent] = max(weight, parents.get(parent, 0.0))
        return parents

    def state(self) -> State:
        """See `Source`."""
        return {"merge": self.merge}, {}

    @classmethod
    def from_state(cls, own: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the source again; schemes that were saved before there was `merge` have none."""
        return cls(own.get("merge", ""))


class Embedding(NamedTuple):
    """How near a rationale is to the definitions of a taxonomy."""

    zero_shot: by_embedding.ZeroShot

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `Source`; similarities are no probabilities, so there is no soft membership."""
        found = self.zero_shot.membership(
            _rationales(annotations), _needed(encoder), progress=progress
        )
        return self.zero_shot.taxonomy.names, found

    def state(self) -> State:
        """See `Source`."""
        arrays = {"means": self.zero_shot.means, "sds": self.zero_shot.sds}
        return {"taxonomy": self.zero_shot.taxonomy.model_dump(mode="json")}, arrays

    @classmethod
    def from_state(cls, own: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the source again from what `state` returned."""
        means, sds = (np.asarray(arrays[name], dtype=np.float32) for name in ("means", "sds"))
        return cls(by_embedding.ZeroShot(Taxonomy(**own["taxonomy"]), means, sds))


class Trained(NamedTuple):
    """A labeller that has learned from labelled rationales."""

    labeller: trained.Labeller

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `Source`; soft membership is the calibrated probability, from the threshold on."""
        p = self.labeller.probabilities(_rationales(annotations), _needed(encoder), progress)
        return self.labeller.names, self.labeller.membership(p, soft)

    def state(self) -> State:
        """See `Source`."""
        return self.labeller.state()

    @classmethod
    def from_state(cls, own: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the source again from what `state` returned."""
        return cls(trained.Labeller.from_state(own, arrays))


class LanguageModel(NamedTuple):
    """What a language model says; its replies are kept, so that each rationale is paid for once."""

    taxonomy: Taxonomy
    model: str
    base_url: str

    def values(
        self, annotations: Annotations, encoder: Encoder | None, soft: bool, progress: Progress
    ) -> tuple[tuple[str, ...], csr_matrix]:
        """See `Source`; an annotation that gets no usable reply is in no group."""
        _rationales(annotations)
        client = Client(self.model or None, base_url=self.base_url or None)
        cases = cases_of(annotations)
        answers = by_llm.label(cases, self.taxonomy, client, Template("label"), progress)
        by_llm.notice_unlabelled(cases, answers)
        names = self.taxonomy.names
        return names, memberships([answer.value or [] for answer in answers], names)

    def state(self) -> State:
        """See `Source`; server and key are no part of it.

        A model may come from anybody, and must not name who is sent a user's rationales and key.
        """
        return {"taxonomy": self.taxonomy.model_dump(mode="json"), "model": self.model}, {}

    @classmethod
    def from_state(cls, own: Mapping[str, Any], arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the source again from what `state` returned."""
        return cls(Taxonomy(**own["taxonomy"]), own["model"], "")


SOURCES: dict[str, type[Column | Embedding | Trained | LanguageModel]] = {
    "column": Column,
    "embedding": Embedding,
    "trained": Trained,
    "llm": LanguageModel,
}


def definition(taxonomy: str, name: str) -> str:
    """Return what a value of a taxonomy, or of one that refines it, means; "" if not known."""
    if not taxonomy or taxonomy not in taxonomies.built_in():
        return ""
    for each in (taxonomies.load(taxonomy), *taxonomies.refinements(taxonomy)):
        if name in each.names:
            return each.value(name).definition
    return ""


def _parents(taxonomy: str) -> dict[str, tuple[str, ...]]:
    """Return for each value that refines one of a taxonomy which ones it does."""
    values = [value for each in taxonomies.refinements(taxonomy) for value in each.values]
    return {value.name: value.refines for value in values}


def _rationales(annotations: Annotations) -> list[str]:
    need_column(annotations, "rationale", "These groups by taxonomy need")
    return list(annotations.frame["rationale"])


def no_encoder() -> InputError:
    """Return the error of groups that are made from embeddings and have no encoder."""
    return InputError("These groups by taxonomy need an encoder: pass load_encoder()")


def _needed(encoder: Encoder | None) -> Encoder:
    if encoder is None:
        raise no_encoder()
    return encoder
