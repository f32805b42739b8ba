"""Groups from an expert taxonomy: the values that each annotation appeals to (§2.1)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import numpy.typing as npt
from pydantic import model_validator
from scipy.sparse import csr_matrix

from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups import values
from mcstl.groups.base import (
    Arrays,
    Groups,
    LeftOut,
    Scheme,
    SizedConfig,
    leave_out_small,
    make_groups,
    need_column,
    need_people,
)
from mcstl.labelling import by_embedding, taxonomies, trained


class TaxonomyConfig(SizedConfig):
    """``{by: taxonomy}``: the values of a taxonomy, by name or YAML file, are groups.

    `source` says who gives them: the table's `column`, an `llm` (`model` and `base_url`, or the
    environment), `embedding` (similarity to the definitions) or a `trained` labeller (the folder
    `labeller`). `merge` takes values of a column as those of `taxonomy` that they refine; `soft`
    takes memberships between 0 and 1, which columns may have and trained labellers do.
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
    """The values of a taxonomy as groups; an annotation may be in several (mixed membership)."""

    source: values.Source
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
        names, inside = self.source.values(annotations, encoder, self.soft, progress)
        return _columns(inside, names, self.names)

    def _own_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        own, arrays = self.source.state()
        return {"by": self.by, "soft": self.soft, "source": own}, arrays

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, own: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        by = own.get("by", "column")  # schemes of before there were others
        source = values.SOURCES[by].from_state(own.get("source", {}), arrays)
        return cls(groups, left_out, source, by, own.get("soft", False))


def fit(
    config: TaxonomyConfig,
    annotations: Annotations,
    encoder: Encoder | None = None,
    progress: Progress = silent,
) -> TaxonomyScheme:
    """Fit one group per value, a column's in the order of their names, a taxonomy's in its own.

    Raises InputError if the table has no column `values`, or no `rationale` to make them from, or
    if the language model cannot be used.
    """
    need_people(annotations, config.min_annotators)
    source = _source(config, annotations, encoder, progress)
    names, inside = source.values(annotations, encoder, config.soft, progress)
    some = [name for name, count in zip(names, inside.getnnz(axis=0), strict=True) if count]
    groups, left_out = leave_out_small(
        make_groups(
            _columns(inside, names, some),
            some,
            [_description(config, name) for name in some],
            annotations,
        ),
        config.min_size,
        config.min_annotators,
    )
    return TaxonomyScheme(groups, left_out, source, config.source, config.soft)


def _source(
    config: TaxonomyConfig, annotations: Annotations, encoder: Encoder | None, progress: Progress
) -> values.Source:
    match config.source:
        case "column":
            return values.Column(config.taxonomy if config.merge else "")
        case "trained":
            return values.Trained(trained.Labeller.load(config.labeller or ""))
        case "llm":
            taxonomy = taxonomies.load(config.taxonomy)
            return values.LanguageModel(taxonomy, config.model or "", config.base_url or "")
        case "embedding":
            need_column(annotations, "rationale", "These groups by taxonomy need")
            rationales = list(annotations.frame["rationale"])
            taxonomy = taxonomies.load(config.taxonomy)
            if encoder is None:
                raise values.no_encoder()
            return values.Embedding(by_embedding.fit(rationales, taxonomy, encoder, progress))


def _description(config: TaxonomyConfig, name: str) -> str:
    of = f" of {config.taxonomy}" if config.taxonomy else ""
    meaning = values.definition(config.taxonomy, name)
    by_whom = {
        "column": "",
        "llm": ", given by a language model",
        "embedding": ", given by similarity to its definition",
        "trained": ", given by a trained labeller",
    }[config.source]
    said = f"annotations that appeal to the value {name}{of}{by_whom}"
    return f"{said}: {meaning}" if meaning else said


def _columns(inside: csr_matrix, names: tuple[str, ...], wanted: Any) -> csr_matrix:
    """Return the columns of the `wanted` values, empty where one is not among `names`."""
    place = {name: k for k, name in enumerate(names)}
    there = [k for k, name in enumerate(wanted) if name in place]
    chosen = inside[:, [place[wanted[k]] for k in there]].tocoo()
    flat = (chosen.data, (chosen.row, [there[c] for c in chosen.col]))
    return csr_matrix(flat, shape=(inside.shape[0], len(wanted)), dtype="float32")
