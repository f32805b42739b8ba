"""Groups from what is known of the annotators: one per answer, or one per combination (§2.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy.typing as npt
import pandas as pd
from pydantic import Field
from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError, need_names
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.cells import comparable, mapped
from mcstl.encoding.encoders import Encoder
from mcstl.groups.bands import Edges, band_edges, band_names, with_bands
from mcstl.groups.base import (
    Arrays,
    Groups,
    LeftOut,
    Scheme,
    SizedConfig,
    leave_out_small,
    make_groups,
    memberships,
    need_people,
)


class AttributesConfig(SizedConfig):
    """``{by: attributes}``: one group per answer, or per combination of answers.

    Attributes:
        by: ``attributes``.
        min_size: Least training annotations of a group.
        min_annotators: Least training annotators of a group.
        attributes: Columns that describe the annotators; None for all that the table has.
        crossed: Make one group per combination of answers, which partitions the annotations.
        bands: How attributes that are numbers are cut, as ``{age: [30, 50], income: 4}``: where
            each band but the first begins, or how many bands of about as many training rows.
            By default 3, where an attribute has more than 10 different numbers.
    """

    by: Literal["attributes"] = "attributes"
    attributes: tuple[str, ...] | None = Field(default=None, min_length=1)
    crossed: bool = False
    bands: dict[str, Annotated[int, Field(ge=2)] | tuple[float, ...]] = Field(default={})


@dataclass(frozen=True, eq=False)
class AttributesScheme(Scheme):
    """Annotator attributes as groups: overlapping, or crossed into a partition.

    Attributes:
        attributes: Columns that describe the annotators.
        crossed: Whether there is one group per combination of answers.
        edges: Where bands but the first begin, of the attributes that are cut into bands.
    """

    attributes: tuple[str, ...]
    crossed: bool
    edges: Edges = field(default_factory=dict)
    kind: ClassVar[str] = "attributes"

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`; a missing attribute puts the annotation in no group of it."""
        annotations = with_bands(annotations, self.edges)
        names = {_same_answers(name, self.attributes, self.crossed): name for name in self.names}
        columns = [
            mapped(
                pd.Series(column, dtype=object),
                lambda name: names.get(_same_answers(name, self.attributes, self.crossed), ""),
            )
            for column in _answers(annotations, self.attributes, self.crossed)
        ]
        return memberships(zip(*columns, strict=True), self.names)

    def _extra_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        fields = {"attributes": self.attributes, "crossed": self.crossed, "edges": self.edges}
        return fields, {}

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, state: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        edges = {name: tuple(each) for name, each in state.get("edges", {}).items()}
        return cls(groups, left_out, tuple(state["attributes"]), state["crossed"], edges)


def fit(config: AttributesConfig, annotations: Annotations) -> AttributesScheme:
    """Fit groups named ``gender=Woman``, crossed ``gender=Woman & race=Asian``.

    They come in the order of the attributes, then of the answers.

    Args:
        config: The section of the study file.
        annotations: The training rows.

    Returns:
        The fitted scheme.

    Raises:
        InputError: The table has no attributes, or not those that are named.
    """
    attributes = annotations.attributes if config.attributes is None else config.attributes
    if not attributes:
        raise InputError(
            f"groups by attributes need columns that describe the annotators, as gender; "
            f"{annotations.source} has none"
        )
    need_people(annotations, config.min_annotators)
    edges = band_edges(config.bands, annotations, attributes)
    annotations = with_bands(annotations, edges)
    answers = _answers(annotations, attributes, config.crossed)
    bands = [f"{name}={band}" for name, each in edges.items() for band in band_names(each)]
    order = {name: place for place, name in enumerate(bands)}

    def place(name: str) -> tuple[int, str]:
        return order.get(name, 0), name

    names = [name for column in answers for name in sorted({*filter(None, column)}, key=place)]
    membership = memberships(zip(*answers, strict=True), names)
    descriptions = [f"annotators with {name.replace(' & ', ' and ')}" for name in names]
    groups, left_out = leave_out_small(
        make_groups(membership, names, descriptions, annotations),
        config.min_size,
        config.min_annotators,
    )
    return AttributesScheme(groups, left_out, tuple(attributes), config.crossed, edges)


def _answers(
    annotations: Annotations, attributes: tuple[str, ...], crossed: bool
) -> list[list[str]]:
    """Return per attribute (crossed: once) the group name of each row, "" where one is missing."""
    need_names(attributes, annotations.attributes, annotations.source, what="attribute")
    columns = [annotations.frame[name].tolist() for name in attributes]
    named = [
        [f"{name}={answer}" if isinstance(answer, str) else "" for answer in column]
        for name, column in zip(attributes, columns, strict=True)
    ]
    if not crossed:
        return named
    return [[" & ".join(parts) if all(parts) else "" for parts in zip(*named, strict=True)]]


def _same_answers(name: str, attributes: tuple[str, ...], crossed: bool) -> tuple[object, ...]:
    """Make the names of a group equal, however its answers are spelt."""
    for parts in [attributes] if crossed else [(attribute,) for attribute in attributes]:
        pattern = " & ".join(f"{re.escape(attribute)}=(.*)" for attribute in parts)
        if match := re.fullmatch(pattern, name, re.DOTALL):
            return (*parts, *map(comparable, match.groups()))
    return (name,)
