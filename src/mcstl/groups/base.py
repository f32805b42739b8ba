"""What every scheme of value groups has: names, sizes, warnings and a rule for membership."""

import abc
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
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
from mcstl.groups.small_groups import OF_FEW, few_people_warning, is_of_few

#: More groups than this nobody can look at, and their memberships would not be small.
MOST_GROUPS = 10_000
Arrays = Mapping[str, npt.NDArray[Any]]


class Config(BaseModel):
    """A `groups` section of a study file; an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class SizedConfig(Config):
    """A `groups` section whose small groups are left out.

    Attributes:
        by: What the groups are made from.
        min_size: Least training annotations of a group.
        min_annotators: Least training annotators of a group.
    """

    by: str
    min_size: int = Field(default=100, ge=1)
    min_annotators: int = Field(default=1, ge=1)


class PluginConfig(Config, abc.ABC):
    """A `groups` section that another package adds, under the name of its entry point.

    The fields of a subclass are the section's keys beside ``by``.

    Attributes:
        by: Name of the entry point.
        scheme: The class of the fitted groups, whose `kind` is the same name.
        needs_encoder: Whether `fit` needs an encoder.
    """

    by: str
    scheme: ClassVar[type["Scheme"]]
    needs_encoder: ClassVar[bool] = False

    @abc.abstractmethod
    def fit(
        self, annotations: Annotations, encoder: Encoder | None, progress: Progress
    ) -> "Scheme":
        """Fit the groups to the training rows.

        Args:
            annotations: The training rows.
            encoder: Embeds texts, where `needs_encoder`.
            progress: Called with the step, how far it is and how far it goes.

        Returns:
            The fitted scheme.
        """


@dataclass(frozen=True)
class Group:
    """One value group C_k.

    Attributes:
        name: Its name, by which predictions are made for it.
        size: How many training annotations it has; 0 where fewer than five people gave them.
        annotators: How many people gave them, None if unknown; 0 for fewer than five.
        description: What its annotations have in common.
        warning: What to beware of; "" for nothing.
    """

    name: str
    size: int
    annotators: int | None
    description: str
    warning: str = ""

    @property
    def is_of_few(self) -> bool:
        """Whether fewer than five people gave its annotations."""
        return is_of_few(self.annotators)


Groups = tuple[Group, ...]
LeftOut = tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Scheme(abc.ABC):
    """A fitted rule that gives annotations their groups (§2.1).

    Attributes:
        groups: The K groups, in the order of the columns of `assign`.
        left_out: Name of each group that is left out, and the reason.
        kind: Name of the class in a saved model.
    """

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
        """Give annotations their membership; labels are not looked at.

        Membership is 0 or 1, or between them in a scheme of soft membership. Then V is the sum of
        the groups' embeddings weighted by it (Eq. 1), counts and means over a group weigh its rows
        by it, and the metrics, which are over people, take every row with a membership above 0.

        Args:
            annotations: n annotations.
            encoder: Embeds rationales, where the groups are made from them.
            progress: Called with the step, how far it is and how far it goes.

        Returns:
            S, the sparse (n, K) float32 membership.

        Raises:
            InputError: A column that the groups are made from is missing.
        """

    def named_like(self, other: "Scheme") -> "Scheme":
        """Put the groups in the order and under the names of another fit's.

        Only clusters need it: names that come from the data are the same in every fit.

        Args:
            other: The same scheme fitted to other rows.

        Returns:
            This scheme, reordered and renamed.
        """
        return self

    def state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """Describe the scheme for saving.

        Returns:
            What `load_scheme` needs: a JSON-able dict, and arrays by name.
        """
        extra, arrays = self._extra_state()
        groups = [asdict(group) for group in self.groups]
        return {"kind": self.kind, "groups": groups, "left_out": self.left_out, **extra}, arrays

    def _extra_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        """What a subclass saves beside its groups."""
        return {}, {}

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, state: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        return cls(groups, left_out)


def memberships(
    groups_per_row: Iterable[Iterable[str] | Mapping[str, float]], names: Sequence[str]
) -> csr_matrix:
    """Make the membership matrix of rows that list their groups.

    Args:
        groups_per_row: (n,) names of the groups of each row, or a mapping from them to
            memberships from 0 to 1. Names that are not among `names` are passed over.
        names: (K,) names of the groups.

    Returns:
        (n, K) membership.

    Examples:
        >>> memberships([["b"], [], ["a", "b", "c"]], ["a", "b"]).toarray().astype(int).tolist()
        [[0, 1], [0, 0], [1, 1]]
    """
    index = {name: k for k, name in enumerate(names)}
    ends, columns, weights = [0], list[int](), list[float]()
    for groups in groups_per_row:
        by_name = groups if isinstance(groups, Mapping) else dict.fromkeys(groups, 1.0)
        row = {index[name]: w for name, w in by_name.items() if name in index and w > 0}
        columns += sorted(row)
        weights += [row[k] for k in sorted(row)]
        ends.append(len(columns))
    flat = (np.array(weights, np.float32), np.array(columns, np.int32), np.array(ends))
    return csr_matrix(flat, shape=(len(ends) - 1, len(index)))


def count_people(membership: csr_matrix, annotations: Annotations) -> list[int] | list[None]:
    """Count the people who gave the annotations of each group.

    Args:
        membership: (n, K) membership of the annotations.
        annotations: The n annotations.

    Returns:
        (K,) counts, None where the annotations name nobody.
    """
    if not annotations.has("annotator"):
        return [None] * membership.shape[1]
    codes = pd.factorize(annotations.frame["annotator"])[0]
    rows = np.flatnonzero(codes >= 0)
    people = csr_matrix(
        (np.ones(len(rows)), (rows, codes[rows])),
        shape=(len(codes), int(codes.max(initial=-1)) + 1),
    )
    return [int(n) for n in (membership.T @ people).getnnz(axis=1)]


def make_groups(
    membership: csr_matrix, names: Sequence[str], descriptions: Sequence[str], data: Annotations
) -> Groups:
    """Describe the groups of the training rows; inferred rationales are marked.

    Args:
        membership: (n, K) membership of the training rows.
        names: (K,) names of the groups.
        descriptions: (K,) what the annotations of each have in common.
        data: The training rows.

    Returns:
        (K,) groups.
    """
    sizes = membership.getnnz(axis=0)
    people = count_people(membership, data)
    inferred = np.zeros(len(names), dtype=int)
    if data.has("inferred"):
        rows = data.frame["inferred"].to_numpy(dtype=bool)
        inferred = membership[rows].getnnz(axis=0)
    return tuple(
        Group(
            name,
            int(size),
            n_people,
            f"{description}{_inferred(n, size)}",
            few_people_warning(n_people),
        )
        for name, size, n_people, description, n in zip(
            names, sizes, people, descriptions, inferred, strict=True
        )
    )


def _inferred(inferred: int, size: int) -> str:
    if not inferred:
        return ""
    return f" ({inferred:,} of {size:,} rationales were inferred by a language model)"


def without_sizes_of_few(groups: Iterable[Group]) -> Groups:
    """Forget how large groups of few people are, so that nothing can show it.

    Args:
        groups: Groups.

    Returns:
        The same; size and annotators of a group of fewer than five people are 0.
    """
    return tuple(
        replace(group, size=0, annotators=0) if group.is_of_few else group for group in groups
    )


def leave_out_small(
    groups: Iterable[Group], min_size: int, min_annotators: int
) -> tuple[Groups, LeftOut]:
    """Separate groups that are large enough from those that are too small.

    Sizes of groups of few people are forgotten here, once they have been compared.

    Args:
        groups: All groups.
        min_size: Least training annotations of a group.
        min_annotators: Least training annotators of a group, where they are known.

    Returns:
        The groups kept, and the name of each that is left out with the reason.

    Raises:
        InputError: More than `MOST_GROUPS` are kept.
    """
    kept, left_out = [], []
    for group in groups:
        if group.size < min_size:
            size = f"{group.size} training annotations"
            reason = f"{OF_FEW if group.is_of_few else size}, min_size is {min_size}"
        elif group.annotators is not None and group.annotators < min_annotators:
            people = f"{group.annotators} training annotators"
            reason = f"{OF_FEW if group.is_of_few else people}, min_annotators is {min_annotators}"
        else:
            kept.append(group)
            continue
        left_out.append((group.name, reason))
    if len(kept) > MOST_GROUPS:
        raise InputError(
            f"{len(kept):,} groups have at least {min_size} training annotations; at most "
            f"{MOST_GROUPS:,} can be learnt. Raise min_size, now {min_size}, or merge groups"
        )
    return without_sizes_of_few(kept), tuple(left_out)


def need_people(annotations: Annotations, min_annotators: int) -> None:
    """Check that annotators are named, where groups need a number of them.

    Args:
        annotations: The training rows.
        min_annotators: Least training annotators of a group.

    Raises:
        InputError: There is no annotator column, and a group needs more than one annotator.
    """
    if min_annotators > 1:
        need_column(annotations, "annotator", f"The option min_annotators: {min_annotators} needs")


def need_column(annotations: Annotations, column: str, who_needs: str) -> None:
    """Check that annotations have a column.

    Args:
        annotations: The annotations.
        column: Name of the column.
        who_needs: Who needs it, with the verb, as ``Groups by rationale need``.

    Raises:
        InputError: They have not.
    """
    need_names(
        [column],
        annotations.frame.columns.drop(["row", "flipped"]),
        annotations.source,
        hint=f"{who_needs} it: map it with columns: {{{column}: ...}}",
    )
