"""Groups from an expert taxonomy: the values that each annotation appeals to (§2.1)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy.typing as npt
from pydantic import model_validator
from scipy.sparse import csr_matrix

from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.cells import comparable
from mcstl.encoding.encoders import Encoder
from mcstl.groups import value_sources
from mcstl.groups.base import (
    Arrays,
    Groups,
    LeftOut,
    Scheme,
    SizedConfig,
    leave_out_small,
    make_groups,
    need_people,
)
from mcstl.labelling import taxonomies
from mcstl.labelling.trained_labeller import Labeller


class TaxonomyConfig(SizedConfig):
    """``{by: taxonomy}``: one group per value of a taxonomy.

    Attributes:
        by: ``taxonomy``.
        min_size: Least training annotations of a group.
        min_annotators: Least training annotators of a group.
        taxonomy: Name or YAML file of the taxonomy; a column and a trained labeller need none.
        source: Who gives the values: the table's ``column``, an ``llm``, ``embedding`` (similarity
            to the definitions) or a ``trained`` labeller.
        labeller: Folder of the trained labeller.
        model: Name of the language model; None for the environment's.
        base_url: Address of its server; None for the environment's.
        merge: Replace values of a column by those of `taxonomy` that they refine.
        soft: Keep memberships between 0 and 1, which columns may have and trained labellers do.
    """

    by: Literal["taxonomy"] = "taxonomy"
    taxonomy: str = ""
    source: Literal["column", "llm", "embedding", "trained"] = "column"
    labeller: str | None = None
    model: str | None = None
    base_url: str | None = None
    merge: bool = False
    soft: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if (self.source == "trained") != (self.labeller is not None):
            raise ValueError("source: trained and labeller, the folder of one, go together")
        if self.source in ("llm", "embedding") and not self.taxonomy:
            raise ValueError(f"source: {self.source} needs a taxonomy, as taxonomy: schwartz")
        if self.source != "llm" and (self.model or self.base_url):
            raise ValueError("model and base_url belong to source: llm")
        if self.soft and self.source in ("llm", "embedding"):
            raise ValueError(f"source: {self.source} has no probabilities; leave soft out")
        if self.merge and (self.source != "column" or not taxonomies.refinements(self.taxonomy)):
            raise ValueError("merge needs source: column and a taxonomy with refinements: schwartz")
        return self


@dataclass(frozen=True, eq=False)
class TaxonomyScheme(Scheme):
    """The values of a taxonomy as groups; an annotation may be in several (mixed membership).

    Attributes:
        source: Gives annotations their values.
        by: Name of the source, as in the study file.
        soft: Whether memberships may be between 0 and 1.
    """

    source: value_sources.ValueSource
    by: str
    soft: bool
    kind: ClassVar[str] = "taxonomy"

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`; a value that training did not know is no group."""
        names, membership = self.source.values(annotations, encoder, self.soft, progress)
        return _columns(membership, names, self.names)

    def _extra_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        source, arrays = self.source.state()
        return {"by": self.by, "soft": self.soft, "source": source}, arrays

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, state: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        by = state.get("by", "column")  # schemes saved before there were more sources have none
        source = value_sources.SOURCES[by].from_state(state.get("source", {}), arrays)
        return cls(groups, left_out, source, by, state.get("soft", False))


def fit(
    config: TaxonomyConfig,
    annotations: Annotations,
    encoder: Encoder | None = None,
    progress: Progress = silent,
) -> TaxonomyScheme:
    """Fit one group per value, a column's in the order of their names, a taxonomy's in its own.

    Args:
        config: The section of the study file.
        annotations: The training rows.
        encoder: Embeds rationales, for the sources ``embedding`` and ``trained``.
        progress: Called with the step, how far it is and how far it goes.

    Returns:
        The fitted scheme.

    Raises:
        InputError: The table has no column ``values``, or no ``rationale`` to make them from, or
            the language model cannot be used.
    """
    need_people(annotations, config.min_annotators)
    source = _source(config, annotations, encoder, progress)
    names, membership = source.values(annotations, encoder, config.soft, progress)
    sizes = membership.getnnz(axis=0)
    occurring = [name for name, size in zip(names, sizes, strict=True) if size]
    groups, left_out = leave_out_small(
        make_groups(
            _columns(membership, names, occurring),
            occurring,
            [_description(config, name) for name in occurring],
            annotations,
        ),
        config.min_size,
        config.min_annotators,
    )
    return TaxonomyScheme(groups, left_out, source, config.source, config.soft)


def _source(
    config: TaxonomyConfig, annotations: Annotations, encoder: Encoder | None, progress: Progress
) -> value_sources.ValueSource:
    match config.source:
        case "column":
            return value_sources.Column(config.taxonomy if config.merge else "")
        case "trained":
            return value_sources.Trained(Labeller.load(config.labeller or ""))
        case "llm":
            taxonomy = taxonomies.load(config.taxonomy)
            return value_sources.LanguageModel(taxonomy, config.model or "", config.base_url or "")
        case "embedding":
            return value_sources.fit_embedding(config.taxonomy, annotations, encoder, progress)


def _description(config: TaxonomyConfig, name: str) -> str:
    of_taxonomy = f" of {config.taxonomy}" if config.taxonomy else ""
    meaning = value_sources.definition(config.taxonomy, name)
    by_whom = {
        "column": "",
        "llm": ", given by a language model",
        "embedding": ", given by similarity to its definition",
        "trained": ", given by a trained labeller",
    }[config.source]
    description = f"annotations that appeal to the value {name}{of_taxonomy}{by_whom}"
    return f"{description}: {meaning}" if meaning else description


def _columns(membership: csr_matrix, names: tuple[str, ...], wanted: Sequence[str]) -> csr_matrix:
    """Return the columns of the `wanted` values, empty where one is not among `names`."""
    position = {comparable(name): k for k, name in enumerate(names)}
    present = [k for k, name in enumerate(wanted) if comparable(name) in position]
    chosen = membership[:, [position[comparable(wanted[k])] for k in present]].tocoo()
    flat = (chosen.data, (chosen.row, [present[c] for c in chosen.col]))
    return csr_matrix(flat, shape=(membership.shape[0], len(wanted)), dtype="float32")
