"""Groups from an expert taxonomy: the values that each annotation appeals to (§2.1)."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from scipy.sparse import csr_matrix

from mcstl.annotations import Annotations
from mcstl.encoders import Encoder
from mcstl.groups.base import (
    Scheme,
    SizedConfig,
    leave_out_small,
    make_groups,
    memberships,
    need_column,
    need_people,
)
from mcstl.progress import Progress, silent


class TaxonomyConfig(SizedConfig):
    """``{by: taxonomy}``: the `values` of the table are groups; `taxonomy` is their name."""

    by: Literal["taxonomy"] = "taxonomy"
    taxonomy: str = ""
    source: Literal["column"] = "column"


@dataclass(frozen=True, eq=False)
class TaxonomyScheme(Scheme):
    """The values of a taxonomy as groups; an annotation may be in several (mixed membership)."""

    kind: ClassVar[str] = "taxonomy"

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`; a value that training did not know is no group."""
        need_column(annotations, "values", "groups by taxonomy need")
        return memberships(annotations.frame["values"], self.names)


def fit(config: TaxonomyConfig, annotations: Annotations) -> TaxonomyScheme:
    """Fit one group per value, in the order of their names.

    Raises InputError if the table has no column `values`.
    """
    need_column(annotations, "values", "groups by taxonomy need")
    need_people(annotations, config.min_annotators)
    rows = annotations.frame["values"]
    names = sorted({name for row in rows for name in row})
    of = f" of {config.taxonomy}" if config.taxonomy else ""
    descriptions = [f"annotations that appeal to the value {name}{of}" for name in names]
    groups, left_out = leave_out_small(
        make_groups(memberships(rows, names), names, descriptions, annotations),
        config.min_size,
        config.min_annotators,
    )
    return TaxonomyScheme(groups, left_out)
