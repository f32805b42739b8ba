"""Schemes made of schemes, and the one way to fit and to load any of them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
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
from mcstl.groups import rationale, taxonomy
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
    without_sizes_of_few,
)
from mcstl.groups.label_leakage import warn_of_leakage
from mcstl.groups.no_groups import NoGroups, NoGroupsConfig

_BY = ("attributes", "rationale", "taxonomy", "none")
_FORMS = (
    "`none`, `by: attributes`, `by: rationale`, `by: taxonomy`, `combine: [...]` or "
    "`intersect: [...]`"
)


class CombineConfig(Config):
    """``{combine: [...]}``: all groups of all its members.

    Attributes:
        combine: The sections of the members.
    """

    combine: tuple["GroupsConfig", ...] = Field(min_length=1)


class IntersectConfig(Config):
    """``{intersect: [a, b]}``: one group per pair of a group of a and one of b that occurs.

    The larger `min_size` of the two, and the larger `min_annotators`, holds for the pairs.

    Attributes:
        intersect: The sections of a and b.
    """

    intersect: tuple["GroupsConfig", "GroupsConfig"]


def _form(value: object) -> str | None:
    """Name the form of a section, so that an error is about that form and not about all five."""
    for key in ("combine", "intersect", "by"):
        entry = value.get(key) if isinstance(value, Mapping) else getattr(value, key, None)
        if entry is not None:
            return str(entry) if key == "by" else key
    return None


def _check_form(value: object) -> object:
    if value == "none":
        return NoGroupsConfig()
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
        forms = (*_BY, *plugins.names("groups"))
        near = did_you_mean(form, forms)
        message = f"groups by {form!r} are not known; choose from {listed(forms)}.{near}"
    raise PydanticCustomError("groups", "{message}", {"message": message})


def _plugin(form: str, value: object) -> PluginConfig:
    """The section of another package's groups."""
    config = plugins.load("groups", form)
    if isinstance(value, PluginConfig):
        return value
    try:
        section: PluginConfig = config.model_validate(value)
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        message = f"by {form}: {where}: {fault['msg']}"
        raise PydanticCustomError("groups", "{message}", {"message": message}) from None
    return section


def _tag(value: object) -> str | None:
    return "plugin" if isinstance(value, PluginConfig) else _form(value)


GroupsConfig = Annotated[
    Annotated[sociocultural.AttributesConfig, Tag("attributes")]
    | Annotated[rationale.RationaleConfig, Tag("rationale")]
    | Annotated[taxonomy.TaxonomyConfig, Tag("taxonomy")]
    | Annotated[NoGroupsConfig, Tag("none")]
    | Annotated[CombineConfig, Tag("combine")]
    | Annotated[IntersectConfig, Tag("intersect")]
    | Annotated[SerializeAsAny[InstanceOf[PluginConfig]], Tag("plugin")],
    Discriminator(_tag),
    BeforeValidator(_check_form),
]
CombineConfig.model_rebuild()
IntersectConfig.model_rebuild()


def fit_scheme(
    config: GroupsConfig,
    annotations: Annotations,
    encoder: Encoder | None = None,
    progress: Progress = silent,
) -> Scheme:
    """Fit the groups of a `groups` section to the training rows (§2.1).

    Groups that are too small are left out and named in the scheme's `left_out`. A `Notice` warns of
    groups that mostly encode the label.

    Args:
        config: The section of the study file.
        annotations: The training rows.
        encoder: Embeds rationales; only groups made from them need it.
        progress: Called with the step, how far it is and how far it goes.

    Returns:
        The fitted scheme.

    Raises:
        InputError: No group is left, two have the same name, or the table lacks what the groups
            are made from.

    Examples:
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
    if not scheme.groups and not isinstance(config, NoGroupsConfig):
        reasons = "; ".join(f"{brief(name)} ({reason})" for name, reason in scheme.left_out[:5])
        raise InputError(
            f"no group is left: {reasons}; lower min_size or min_annotators"
            if reasons
            else f"no training annotation of {annotations.source} is in any group"
        )
    repeated = sorted({name for name in scheme.names if scheme.names.count(name) > 1})
    if repeated:
        raise InputError(f"groups: two groups have the same name: {listed(repeated)}")
    warn_of_leakage(scheme.assign(annotations, encoder, progress), annotations)
    return scheme


def settled(config: GroupsConfig, scheme: Scheme) -> GroupsConfig:
    """Fix what a fitted scheme has decided of a `groups` section, for the same of other rows.

    Each ``k: auto`` is the number that was chosen, and clusters have no names of their own: they
    get those of the fitted scheme by `Scheme.named_like`.

    Args:
        config: The section.
        scheme: The scheme that was fitted by it.

    Returns:
        The section with numbers and without names.
    """
    match config, scheme:
        case rationale.RationaleConfig(), rationale.RationaleScheme():
            k = len(scheme.groups) if config.k == "auto" else config.k
            return config.model_copy(update={"k": k, "names": None})
        case CombineConfig(combine=members), _Composite():
            pairs = zip(members, scheme.members, strict=True)
            return CombineConfig(combine=tuple(settled(*pair) for pair in pairs))
        case IntersectConfig(intersect=members), _Composite():
            pairs = zip(members, scheme.members, strict=True)
            first, second = (settled(*pair) for pair in pairs)
            return IntersectConfig(intersect=(first, second))
    return config


def load_scheme(state: Mapping[str, Any], arrays: Arrays) -> Scheme:
    """Restore a scheme from what `Scheme.state` returned.

    Args:
        state: The JSON-able dict.
        arrays: Arrays by name.

    Returns:
        The scheme.

    Raises:
        InputError: The state is none, or of a scheme that mcstl no longer has.
    """
    if state.get("kind") == "grown":
        raise InputError(
            "the model had a group added after training, by mcstl 0.1; fit it anew with the "
            "annotations of all its groups"
        )
    try:
        groups = without_sizes_of_few(Group(**group) for group in state["groups"])
        left_out = tuple((str(name), str(reason)) for name, reason in state["left_out"])
        kind = state["kind"]
        if kind in plugins.names("groups"):
            scheme: type[Scheme] = plugins.load("groups", kind).scheme
        else:
            scheme = _SCHEMES[kind]
        return scheme._from_state(groups, left_out, state, arrays)
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
        case NoGroupsConfig():
            return NoGroups((), ())
        case PluginConfig():
            scheme = config.fit(annotations, encoder, progress)
            return replace(scheme, groups=without_sizes_of_few(scheme.groups))
        case CombineConfig():
            return _combine([_fit(c, annotations, encoder, progress) for c in config.combine])
        case IntersectConfig():
            first, second = (_fit(c, annotations, encoder, progress) for c in config.intersect)
            return _intersect(config, first, second, annotations, encoder)


@dataclass(frozen=True, eq=False)
class _Composite(Scheme):
    """A scheme made of others, which it saves under their positions."""

    members: tuple[Scheme, ...]

    def _extra_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        states: list[dict[str, Any]] = []
        arrays: dict[str, npt.NDArray[Any]] = {}
        for position, member in enumerate(self.members):
            state, parts = member.state()
            states.append(state)
            arrays |= {f"{position}.{name}": part for name, part in parts.items()}
        return {"members": states}, arrays

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, state: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        members = []
        for position, member in enumerate(state["members"]):
            mark = f"{position}."
            parts = {k.removeprefix(mark): v for k, v in arrays.items() if k.startswith(mark)}
            members.append(load_scheme(member, parts))
        return cls(groups, left_out, tuple(members))


@dataclass(frozen=True, eq=False)
class CombinedScheme(_Composite):
    """All groups of its members, one after the other.

    Attributes:
        members: The schemes that it is made of.
    """

    kind: ClassVar[str] = "combine"

    def named_like(self, other: Scheme) -> Scheme:
        """See `Scheme.named_like`."""
        if not isinstance(other, CombinedScheme) or len(other.members) != len(self.members):
            return self
        pairs = zip(self.members, other.members, strict=True)
        return _combine([member.named_like(model) for member, model in pairs])

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
    """Pairs of a group of the first and a group of the second of its two members.

    Attributes:
        members: The two schemes.
    """

    kind: ClassVar[str] = "intersect"

    def named_like(self, other: Scheme) -> Scheme:
        """See `Scheme.named_like`; a pair has the new names of its two groups."""
        if not isinstance(other, IntersectedScheme):
            return self
        pairs = zip(self.members, other.members, strict=True)
        first, second = (member.named_like(model) for member, model in pairs)
        after = {
            (_nameless(a), _nameless(b)): f"{a.name} & {b.name}"
            for a in first.groups
            for b in second.groups
        }
        new_names = {
            f"{a.name} & {b.name}": after[_nameless(a), _nameless(b)]
            for a in self.members[0].groups
            for b in self.members[1].groups
        }
        groups = tuple(replace(group, name=new_names[group.name]) for group in self.groups)
        return replace(self, groups=groups, members=(first, second))

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
        """(K,) positions of the groups kept among all pairs."""
        first, second = self.members
        position = {name: i for i, name in enumerate(_pair_names(first, second))}
        return np.array([position[name] for name in self.names], dtype=np.int64)


def _nameless(group: Group) -> Group:
    """What `Scheme.named_like` leaves of a group, by which it is known again."""
    return replace(group, name="")


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
    """Return the largest min_size and min_annotators of a section or its members."""
    match config:
        case SizedConfig():
            return config.min_size, config.min_annotators
        case CombineConfig(combine=members) | IntersectConfig(intersect=members):
            sizes, people = zip(*(_minima(member) for member in members), strict=True)
            return max(sizes), max(people)
    return 1, 1


_SCHEMES: dict[str, type[Scheme]] = {
    scheme.kind: scheme
    for scheme in (
        sociocultural.AttributesScheme,
        rationale.RationaleScheme,
        taxonomy.TaxonomyScheme,
        NoGroups,
        CombinedScheme,
        IntersectedScheme,
    )
}
