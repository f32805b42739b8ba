"""Schemes made of schemes, and the one way to fit and to load any of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Self

import numpy as np
import numpy.typing as npt
from pydantic import (
    BeforeValidator,
    Discriminator,
    Field,
    InstanceOf,
    SerializeAsAny,
    Tag,
    ValidationError,
)
from pydantic_core import PydanticCustomError
from scipy.sparse import csr_matrix, hstack

from mcstl._support import plugins
from mcstl._support.arrays import IntArray
from mcstl._support.errors import InputError, brief, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups import attributes as sociocultural
from mcstl.groups import leakage, rationale, taxonomy
from mcstl.groups.base import (
    Arrays,
    Config,
    Group,
    Groups,
    LeftOut,
    PluginConfig,
    Scheme,
    SizedConfig,
    leave_out_small,
    make_groups,
)

_BY = ("attributes", "rationale", "taxonomy")
_FORMS = "`by: attributes`, `by: rationale`, `by: taxonomy`, `combine: [...]` or `intersect: [...]`"


class CombineConfig(Config):
    """``{combine: [...]}``: all groups of all its members."""

    combine: tuple["GroupsConfig", ...] = Field(min_length=1)


class IntersectConfig(Config):
    """``{intersect: [a, b]}``: one group per pair of a group of a and one of b that occurs.

    The larger of the two's `min_size` and of their `min_annotators` holds for the pairs.
    """

    intersect: tuple["GroupsConfig", "GroupsConfig"]


def _form(value: object) -> str | None:
    """Name the kind of a config, so that an error is about that kind and not about all five."""
    for key in ("combine", "intersect", "by"):
        found = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        if found is not None:
            return str(found) if key == "by" else key
    return None


def _known_form(value: object) -> object:
    form = _form(value)
    if form in (*_BY, "combine", "intersect"):
        return value
    if form in plugins.names("groups"):
        return _plugin(form, value)
    if form is None:
        keys = list(value) if isinstance(value, Mapping) else [value]
        near = "".join(did_you_mean(str(key), ("by", "combine", "intersect")) for key in keys)
        message = f"groups need {_FORMS}; found: {listed(keys) or 'nothing'}.{near}"
    else:
        known = (*_BY, *plugins.names("groups"))
        near = did_you_mean(form, known)
        message = f"groups by {form!r} are not known; choose from {listed(known)}.{near}"
    raise PydanticCustomError("groups", "{message}", {"message": message})


def _plugin(form: str, value: object) -> PluginConfig:
    """The section of another package's groups."""
    config = plugins.load("groups", form)
    if isinstance(value, PluginConfig):
        return value
    try:
        found: PluginConfig = config.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        message = f"by {form}: {where}: {fault['msg']}"
        raise PydanticCustomError("groups", "{message}", {"message": message}) from None
    return found


def _tag(value: object) -> str | None:
    return "plugin" if isinstance(value, PluginConfig) else _form(value)


GroupsConfig = Annotated[
    Annotated[sociocultural.AttributesConfig, Tag("attributes")]
    | Annotated[rationale.RationaleConfig, Tag("rationale")]
    | Annotated[taxonomy.TaxonomyConfig, Tag("taxonomy")]
    | Annotated[CombineConfig, Tag("combine")]
    | Annotated[IntersectConfig, Tag("intersect")]
    | Annotated[SerializeAsAny[InstanceOf[PluginConfig]], Tag("plugin")],
    Discriminator(_tag),
    BeforeValidator(_known_form),
]
CombineConfig.model_rebuild()
IntersectConfig.model_rebuild()


def fit_scheme(
    config: GroupsConfig,
    annotations: Annotations,
    encoder: Encoder | None = None,
    progress: Progress = silent,
) -> Scheme:
    """Fit the groups of a `groups` section to the training rows `annotations` (§2.1).

    Only groups made from rationales need the `encoder`. Groups that are too small are left out and
    named in the scheme's `left_out`. Raises InputError if none is left, if two have the same name,
    or if the table lacks what the groups are made from. Groups that mostly encode the label, as
    `leakage.told` finds, are fitted with a `Notice`.

    >>> from mcstl.groups import AttributesConfig
    >>> import pandas as pd
    >>> data = Annotations.from_frame(pd.DataFrame(
    ...     {"text": ["a", "b", "c"], "label": [0, 1, 1], "gender": ["Woman", "Man", None]}))
    >>> scheme = fit_scheme(AttributesConfig(min_size=1), data)
    >>> scheme.names
    ('gender=Man', 'gender=Woman')
    >>> scheme.assign(data).toarray().astype(int).tolist()
    [[0, 1], [1, 0], [0, 0]]
    """
    scheme = _fit(config, annotations, encoder, progress)
    if not scheme.groups:
        why = "; ".join(f"{brief(name)} ({reason})" for name, reason in scheme.left_out[:5])
        raise InputError(
            f"no group is left: {why}; lower min_size or min_annotators"
            if why
            else f"no training annotation of {annotations.source} is in any group"
        )
    repeated = sorted({name for name in scheme.names if scheme.names.count(name) > 1})
    if repeated:
        raise InputError(f"groups: two groups have the same name: {listed(repeated)}")
    leakage.notice(leakage.told(scheme.assign(annotations, encoder, progress), annotations))
    return scheme


def settled(config: GroupsConfig, scheme: Scheme) -> GroupsConfig:
    """Return a `groups` section with each ``k: auto`` as it was chosen for a fitted `scheme`."""
    match config, scheme:
        case rationale.RationaleConfig(k="auto"), rationale.RationaleScheme():
            return config.model_copy(update={"k": len(scheme.groups)})
        case CombineConfig(combine=members), _Composite():
            pairs = zip(members, scheme.members, strict=True)
            return CombineConfig(combine=tuple(settled(*pair) for pair in pairs))
        case IntersectConfig(intersect=members), _Composite():
            pairs = zip(members, scheme.members, strict=True)
            first, second = (settled(*pair) for pair in pairs)
            return IntersectConfig(intersect=(first, second))
    return config


def load_scheme(state: Mapping[str, Any], arrays: Arrays) -> Scheme:
    """Make a scheme again from what its `state` returned.

    Raises InputError if it is not such a state.
    """
    if state.get("kind") == "grown":
        raise InputError(
            "the model had a group added after training, by mcstl 0.1; fit it anew with the "
            "annotations of all its groups"
        )
    try:
        groups = tuple(Group(**group) for group in state["groups"])
        left_out = tuple((str(name), str(why)) for name, why in state["left_out"])
        kind = state["kind"]
        if kind in plugins.names("groups"):
            kinds: type[Scheme] = plugins.load("groups", kind).scheme
        else:
            kinds = _KINDS[kind]
        return kinds._from_state(groups, left_out, state, arrays)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the saved groups cannot be read ({error!r})") from error


def _fit(
    config: GroupsConfig, annotations: Annotations, encoder: Encoder | None, progress: Progress
) -> Scheme:
    match config:
        case sociocultural.AttributesConfig():
            return sociocultural.fit(config, annotations)
        case taxonomy.TaxonomyConfig():
            return taxonomy.fit(config, annotations, encoder, progress)
        case rationale.RationaleConfig():
            return rationale.fit(config, annotations, encoder, progress)
        case PluginConfig():
            return config.fit(annotations, encoder, progress)
        case CombineConfig():
            return _combine([_fit(c, annotations, encoder, progress) for c in config.combine])
        case IntersectConfig():
            first, second = (_fit(c, annotations, encoder, progress) for c in config.intersect)
            return _intersect(config, first, second, annotations, encoder)


@dataclass(frozen=True, eq=False)
class _Composite(Scheme):
    members: tuple[Scheme, ...]

    def _own_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        states: list[dict[str, Any]] = []
        arrays: dict[str, npt.NDArray[Any]] = {}
        for position, member in enumerate(self.members):
            state, parts = member.state()
            states.append(state)
            arrays |= {f"{position}.{name}": part for name, part in parts.items()}
        return {"members": states}, arrays

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, own: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        members = []
        for position, state in enumerate(own["members"]):
            mark = f"{position}."
            parts = {k.removeprefix(mark): v for k, v in arrays.items() if k.startswith(mark)}
            members.append(load_scheme(state, parts))
        return cls(groups, left_out, tuple(members))


@dataclass(frozen=True, eq=False)
class CombinedScheme(_Composite):
    """All groups of its members, one after the other."""

    kind: ClassVar[str] = "combine"

    def named_like(self, other: Scheme) -> Scheme:
        """See `Scheme.named_like`."""
        if not isinstance(other, CombinedScheme) or len(other.members) != len(self.members):
            return self
        pairs = zip(self.members, other.members, strict=True)
        return _combine([mine.named_like(theirs) for mine, theirs in pairs])

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`."""
        parts = [member.assign(annotations, encoder, progress) for member in self.members]
        return csr_matrix(hstack(parts, format="csr"))


@dataclass(frozen=True, eq=False)
class IntersectedScheme(_Composite):
    """Pairs of a group of the first and a group of the second of its two members."""

    kind: ClassVar[str] = "intersect"

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`; an annotation is in a pair if it is in both of its groups."""
        first, second = (member.assign(annotations, encoder, progress) for member in self.members)
        return _pairs(first, second)[:, self._columns()]

    def _columns(self) -> IntArray:
        """(K,) where the groups kept stand among all pairs."""
        first, second = self.members
        every = {name: i for i, name in enumerate(_pair_names(first, second))}
        return np.array([every[name] for name in self.names], dtype=np.int64)


def _combine(members: list[Scheme]) -> CombinedScheme:
    return CombinedScheme(
        groups=tuple(group for member in members for group in member.groups),
        left_out=tuple(pair for member in members for pair in member.left_out),
        members=tuple(members),
    )


def _intersect(
    config: IntersectConfig,
    first: Scheme,
    second: Scheme,
    annotations: Annotations,
    encoder: Encoder | None,
) -> IntersectedScheme:
    pairs = _pairs(first.assign(annotations, encoder), second.assign(annotations, encoder))
    occurring = np.flatnonzero(pairs.getnnz(axis=0))
    names = _pair_names(first, second)
    descriptions = [
        f"{a.description}; {b.description}" for a in first.groups for b in second.groups
    ]
    groups, left_out = leave_out_small(
        make_groups(
            pairs[:, occurring],
            [names[i] for i in occurring],
            [descriptions[i] for i in occurring],
            annotations,
        ),
        *_minima(config),
    )
    left_out = (*first.left_out, *second.left_out, *left_out)
    return IntersectedScheme(groups, left_out, (first, second))


def _pairs(first: csr_matrix, second: csr_matrix) -> csr_matrix:
    """(n, K1 K2) membership of every pair of columns, the second's index running fastest."""
    columns = [first[:, [k]].multiply(second) for k in range(first.shape[1])]
    if not columns:
        return csr_matrix((first.shape[0], 0), dtype=np.float32)
    return csr_matrix(hstack(columns, format="csr"))


def _pair_names(first: Scheme, second: Scheme) -> list[str]:
    return [f"{a} & {b}" for a in first.names for b in second.names]


def _minima(config: GroupsConfig) -> tuple[int, int]:
    """Return the largest min_size and min_annotators that a config or its members ask for."""
    match config:
        case SizedConfig():
            return config.min_size, config.min_annotators
        case CombineConfig(combine=members) | IntersectConfig(intersect=members):
            sizes, people = zip(*(_minima(member) for member in members), strict=True)
            return max(sizes), max(people)
    return 1, 1


_KINDS: dict[str, type[Scheme]] = {
    scheme.kind: scheme
    for scheme in (
        sociocultural.AttributesScheme,
        rationale.RationaleScheme,
        taxonomy.TaxonomyScheme,
        CombinedScheme,
        IntersectedScheme,
    )
}
