"""The groups of a model to which single groups were added after training (docs/growing.md)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy.typing as npt
from scipy.sparse import csr_matrix, hstack

from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups.base import Arrays, Group, Groups, LeftOut, Scheme, memberships


@dataclass(frozen=True, eq=False)
class GrownScheme(Scheme):
    """The groups of `first`, which may be none, and those that were added, last."""

    first: Scheme | None
    kind: ClassVar[str] = "grown"

    @classmethod
    def of(cls, first: Scheme | None, group: Group) -> "GrownScheme":
        """Return the groups of `first` and one more."""
        before = first.groups if first else ()
        inner = first.first if isinstance(first, GrownScheme) else first
        return cls((*before, group), first.left_out if first else (), inner)

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`; an added group has those with its name among their values.

        Where its name is an answer, as ``gender=Woman``, it has those who gave it, too.
        """
        old = self.first.names if self.first else ()
        added = self.names[len(old) :]
        said: list[set[str]] = [set() for _ in range(len(annotations))]
        if annotations.has("values"):
            for names, values in zip(said, annotations.frame["values"], strict=True):
                names.update(values)
        for attribute in annotations.attributes:
            for names, answer in zip(said, annotations.frame[attribute], strict=True):
                names.add(f"{attribute}={answer}")
        S = memberships(said, added)
        if self.first is None:
            return S
        return csr_matrix(hstack([self.first.assign(annotations, encoder, progress), S]))

    def _own_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        if self.first is None:
            return {"first": None}, {}
        state, arrays = self.first.state()
        return {"first": state}, {f"first.{name}": array for name, array in arrays.items()}

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, own: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        from mcstl.groups.combined import load_scheme  # which knows this class

        inner = {k.removeprefix("first."): v for k, v in arrays.items() if k.startswith("first.")}
        first = load_scheme(own["first"], inner) if own["first"] else None
        return cls(groups, left_out, first)
