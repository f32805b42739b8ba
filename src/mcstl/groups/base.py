"""What every scheme of value groups has: names, sizes, warnings, and a rule for membership."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field
from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError, need_names
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder

FEW_PEOPLE = 5  # a group of fewer people is kept but warned about
#: More groups than anybody can look at, and than memberships are small for.
MOST_GROUPS = 10_000
Arrays = Mapping[str, npt.NDArray[Any]]


class Config(BaseModel):
    """A `groups` section of a study file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SizedConfig(Config):
    """A `groups` section whose small groups are left out."""

    by: str
    min_size: int = Field(default=100, ge=1)
    min_annotators: int = Field(default=1, ge=1)


class PluginConfig(Config, abc.ABC):
    """A `groups` section that another package adds, under the name of its entry point.

    Its fields are the section's keys beside ``by``; `scheme` is the class that reads a saved one,
    whose `kind` is the same name.
    """

    by: str
    scheme: ClassVar[type["Scheme"]]
    needs_encoder: ClassVar[bool] = False

    @abc.abstractmethod
    def fit(
        self, annotations: Annotations, encoder: Encoder | None, progress: Progress
    ) -> "Scheme":
        """Fit the groups to the training rows."""


@dataclass(frozen=True)
class Group:
    """One value group C_k: how many training annotations and people it has (None if unknown)."""

    name: str
    size: int
    annotators: int | None
    description: str
    warning: str = ""


Groups = tuple[Group, ...]
LeftOut = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Scheme(abc.ABC):
    """A fitted rule that gives annotations their groups (§2.1); `left_out` is (name, why)."""

    groups: Groups
    left_out: LeftOut
    kind: ClassVar[str]

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the K groups, in the order of the columns of `assign`."""
        return tuple(group.name for group in self.groups)

    @abc.abstractmethod
    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """Return S, the sparse (n, K) float32 membership; labels are not looked at.

        Membership is 0 or 1, or between them where a scheme is asked for soft membership: V is
        then the sum of the groups' embeddings weighted by it (Eq. 1), counts and means over a group
        weigh its rows by it, and the metrics, which are over people, take whoever has any.

        Raises InputError if a column that the groups are made from is missing.
        """

    def named_like(self, other: "Scheme") -> "Scheme":
        """Return this scheme with groups in the order and under the names of `other`'s.

        Only groups that are found anew in each fit need it: names that come from the data are the
        same in every fit.
        """
        return self

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Return what `load_scheme` needs: a JSON-able dict, and arrays by name."""
        own, arrays = self._own_state()
        groups = [asdict(group) for group in self.groups]
        return {"kind": self.kind, "groups": groups, "left_out": self.left_out, **own}, arrays

    def _own_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        return {}, {}

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, own: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        return cls(groups, left_out)


def memberships(
    rows: Iterable[Iterable[str] | Mapping[str, float]], names: Sequence[str]
) -> csr_matrix:
    """Return the (n, K) membership of rows that list their groups; unknown names are passed over.

    A row that is a mapping says how much it is in each of its groups, from 0 to 1.

    >>> memberships([["b"], [], ["a", "b", "c"]], ["a", "b"]).toarray().astype(int).tolist()
    [[0, 1], [0, 0], [1, 1]]
    """
    index = {name: k for k, name in enumerate(names)}
    ends, columns, weights = [0], list[int](), list[float]()
    for row in rows:
        its = row if isinstance(row, Mapping) else dict.fromkeys(row, 1.0)
        found = {index[name]: its[name] for name in its if name in index and its[name] > 0}
        columns += sorted(found)
        weights += [found[k] for k in sorted(found)]
        ends.append(len(columns))
    flat = (np.array(weights, np.float32), np.array(columns, np.int32), np.array(ends))
    return csr_matrix(flat, shape=(len(ends) - 1, len(index)))


def count_people(membership: csr_matrix, annotations: Annotations) -> list[int] | list[None]:
    """Return per group how many people gave its annotations, None where nobody is named."""
    if not annotations.has("annotator"):
        return [None] * membership.shape[1]
    codes = pd.factorize(annotations.frame["annotator"])[0]
    known = np.flatnonzero(codes >= 0)
    people = csr_matrix(
        (np.ones(len(known)), (known, codes[known])),
        shape=(len(codes), int(codes.max(initial=-1)) + 1),
    )
    return [int(n) for n in (membership.T @ people).getnnz(axis=1)]


def make_groups(
    membership: csr_matrix, names: Sequence[str], descriptions: Sequence[str], data: Annotations
) -> Groups:
    """Describe the columns of the training rows' `membership`; inferred rationales are marked."""
    sizes = membership.getnnz(axis=0)
    people = count_people(membership, data)
    inferred = np.zeros(len(names), dtype=int)
    if data.has("inferred"):
        rows = data.frame["inferred"].to_numpy(dtype=bool)
        inferred = membership[rows].getnnz(axis=0)
    return tuple(
        Group(name, int(size), persons, f"{said}{_marked(n, size)}", _warning(persons))
        for name, size, persons, said, n in zip(
            names, sizes, people, descriptions, inferred, strict=True
        )
    )


def _marked(inferred: int, size: int) -> str:
    if not inferred:
        return ""
    return f" ({inferred:,} of {size:,} rationales were inferred by a language model)"


def leave_out_small(
    groups: Iterable[Group], min_size: int, min_annotators: int
) -> tuple[Groups, LeftOut]:
    """Part `groups` into those kept and, with the reason, the names of those that are too small.

    Raises InputError if more than MOST_GROUPS are kept.
    """
    kept, left_out = [], []
    for group in groups:
        if group.size < min_size:
            why = f"{group.size} training annotations, min_size is {min_size}"
        elif group.annotators is not None and group.annotators < min_annotators:
            why = f"{group.annotators} training annotators, min_annotators is {min_annotators}"
        else:
            kept.append(group)
            continue
        left_out.append((group.name, why))
    if len(kept) > MOST_GROUPS:
        raise InputError(
            f"{len(kept):,} groups have at least {min_size} training annotations; at most "
            f"{MOST_GROUPS:,} can be learnt. Raise min_size, now {min_size}, or merge groups"
        )
    return tuple(kept), tuple(left_out)


def need_people(annotations: Annotations, min_annotators: int) -> None:
    """Raise InputError if `min_annotators` cannot be checked because nobody is named."""
    if min_annotators > 1:
        need_column(annotations, "annotator", f"The option min_annotators: {min_annotators} needs")


def need_column(annotations: Annotations, column: str, who_needs: str) -> None:
    """Raise InputError if the table lacks a column, as ``Groups by rationale need`` one."""
    need_names(
        [column],
        annotations.frame.columns.drop(["row", "flipped"]),
        annotations.source,
        hint=f"{who_needs} it: map it with columns: {{{column}: ...}}",
    )


def _warning(people: int | None) -> str:
    if people is None or people >= FEW_PEOPLE:
        return ""
    return (
        f"fewer than {FEW_PEOPLE} people: what is learnt of this group may be theirs alone, and "
        "may identify them"
    )
