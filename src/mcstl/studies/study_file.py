"""The study file: what a study is, how it is read, and what is said when it is wrong."""

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    PlainSerializer,
    Tag,
    TypeAdapter,
    ValidationError,
    ValidatorFunctionWrapHandler,
    WrapValidator,
    field_validator,
)

from mcstl import datasets
from mcstl._support import files, plugins
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.data.splits import SplitBy
from mcstl.encoding.encoders import PAPER_ENCODER
from mcstl.encoding.finetuning import EncoderConfig, ReaderConfig
from mcstl.groups import (
    AttributesConfig,
    CombineConfig,
    GroupsConfig,
    IntersectConfig,
    PluginConfig,
    RationaleConfig,
    TaxonomyConfig,
)
from mcstl.models.training import TrainingConfig

MethodName = Literal[
    "mc-stl",
    "mc-stl-people",
    "best",
    "none",
    "majority",
    "dawid-skene",
    "annotators",
    "heads",
    "shuffled",
    "gbm",
    "logistic",
    "groups-only",
    "irpm",
]
_LARGEST_SEED = 2**32 - 1  # scikit-learn takes no larger one


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Config):
    """Where the annotations come from: a registered `dataset`, or a `file` with its `columns`."""

    dataset: str | None = None
    annotations: Annotated[int, Field(ge=1)] | None = None
    file: str | None = None
    columns: dict[str, str] = {}


class SplitConfig(_Config):
    """How rows are split; `validation` is a share of the rows left after the test rows."""

    by: SplitBy = "annotation"
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1


def _own_or_added(name: Any, check: ValidatorFunctionWrapHandler) -> Any:
    """Let the name of a method pass that another package adds."""
    return name if name in plugins.names("methods") else check(name)


class _Method(_Config):
    name: Annotated[MethodName, WrapValidator(_own_or_added), PlainSerializer(str)]
    label: str = ""
    recalibrate: Literal["temperature", "platt", "isotonic", "mcgrad"] | None = None

    @property
    def title(self) -> str:
        """The label, or else the name and how it is recalibrated."""
        plain = f"{self.name} + {self.recalibrate}" if self.recalibrate else self.name
        return self.label or plain


class MethodConfig(_Method):
    """A method, what it is called in the results, and what it changes of the study's training.

    >>> MethodConfig(name="none", recalibrate="platt").title
    'none + platt'
    """

    training: dict[str, Any] = {}


class IrpmConfig(_Method, ReaderConfig):
    """The method irpm (A.12): which transformer it trains further, for how long, and how."""

    name: Literal["irpm"] = "irpm"
    model: str = "roberta-base"
    epochs: Annotated[int, Field(ge=1)] = 3


def _kind_of_method(given: Any) -> str:
    name = given.get("name") if isinstance(given, Mapping) else getattr(given, "name", None)
    return "irpm" if name == "irpm" else "method"


#: A method as it stands in a study; one that is no recipe of `training` has a form of its own.
AnyMethod = Annotated[
    Annotated[IrpmConfig, Tag("irpm")] | Annotated[MethodConfig, Tag("method")],
    Discriminator(_kind_of_method),
]


def _kind_of_encoder(given: Any) -> str:
    return "mapping" if isinstance(given, Mapping | EncoderConfig) else "plain"


AnyEncoder = Annotated[
    Annotated[str, Tag("plain")] | Annotated[EncoderConfig, Tag("mapping")],
    Discriminator(_kind_of_encoder),
]


class Study(_Config):
    """One data set x one scheme x several methods x several seeds (DESIGN: study file).

    >>> study = Study(data={"dataset": "simulated"}, seeds=3)
    >>> study.seeds, [method.title for method in study.methods]
    ((0, 1, 2), ['mc-stl', 'none', 'majority'])
    """

    name: str = ""
    data: DataConfig
    task: Task | None = None
    labels: dict[str, list[Any]] | None = None
    groups: GroupsConfig | None = None
    split: SplitConfig = SplitConfig()
    encoder: AnyEncoder = PAPER_ENCODER
    training: TrainingConfig = TrainingConfig()
    methods: tuple[AnyMethod, ...] = (
        MethodConfig(name="mc-stl"),
        MethodConfig(name="none"),
        MethodConfig(name="majority"),
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    #: Written into a resolved study by `run`, not read: versions and the data's fingerprint.
    made_with: dict[str, Any] | None = None

    @field_validator("labels", mode="before")
    @classmethod
    def _class_names(cls, value: Any) -> Any:
        # YAML reads `1: [2]` as a number; a class name is text.
        return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else value

    @field_validator("methods", mode="before")
    @classmethod
    def _named(cls, value: Any) -> Any:
        if not isinstance(value, list | tuple):
            return value
        return [{"name": each} if isinstance(each, str) else each for each in value]

    @field_validator("seeds", mode="before")
    @classmethod
    def _counted(cls, value: Any) -> Any:
        is_count = isinstance(value, int) and not isinstance(value, bool)
        return tuple(range(value)) if is_count else value

    @field_validator("methods")
    @classmethod
    def _labelled_once(cls, value: tuple[AnyMethod, ...]) -> tuple[AnyMethod, ...]:
        titles = [method.title for method in value]
        repeated = sorted({title for title in titles if titles.count(title) > 1})
        if not titles:
            raise ValueError(f"give one or more of {listed(get_args(MethodName))}")
        if repeated:
            raise ValueError(
                f"{listed(repeated)} is there twice; give each its own label, as in "
                "{name: mc-stl, label: without-kl}"
            )
        return value

    @field_validator("seeds")
    @classmethod
    def _seeded_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        wanted = value and min(value) >= 0 and max(value) <= _LARGEST_SEED
        if not wanted or len(set(value)) < len(value):
            raise ValueError("give a list of distinct whole numbers from 0, or how many seeds")
        return value

    def __init__(self, /, **fields: Any) -> None:
        try:
            super().__init__(**fields)
            for method in self.methods:
                self.training_of(method)
        except ValidationError as error:
            raise InputError(explained(error)) from None

    @property
    def encoder_name(self) -> str:
        """The name or folder of the encoder, however it is trained further."""
        return self.encoder if isinstance(self.encoder, str) else self.encoder.name

    def training_of(self, method: AnyMethod) -> TrainingConfig:
        """Return the training configuration of a method: the study's with the method's changes."""
        changes = method.training if isinstance(method, MethodConfig) else {}
        try:
            return TrainingConfig(**{**self.training.model_dump(), **changes})
        except ValidationError as error:
            raise InputError(explained(error, "methods", method.title, "training")) from None

    @classmethod
    def read(cls, path: str | Path, *, split: str | None = None) -> Self:
        """Read a study file, with another `split.by` if one is given.

        A data file in it is meant relative to the study file, and so is what its groups name.

        Raises InputError for a file that is no study, with the nearest right key for a wrong one.
        """
        path = Path(path)
        fields = files.read_yaml(path)
        fields.setdefault("name", path.stem)
        data = fields.get("data")
        if isinstance(data, dict) and isinstance(data.get("file"), str):
            data["file"] = str(path.parent / data["file"])
        if "groups" in fields:
            fields["groups"] = with_paths(fields["groups"], lambda name: str(path.parent / name))
        if split is not None:
            shares = fields.get("split")
            fields["split"] = {**(shares if isinstance(shares, dict) else {}), "by": split}
        try:
            return cls(**fields)
        except InputError as error:
            raise InputError(f"{path.name}: {error}") from None

    def load(self, data_dir: str | Path | None = None) -> Annotations:
        """Load the study's annotations. Raises InputError as `datasets.load` and `read` do."""
        data = self.data
        if (data.dataset is None) == (data.file is None):
            raise InputError("data: give either dataset or file, as in data: {dataset: simulated}")
        if data.file is not None:
            if data.annotations is not None:
                raise InputError("data: annotations sets the size of simulated data only")
            return Annotations.read(
                data.file, columns=data.columns, labels=self.labels, task=self.task
            )
        assert data.dataset is not None  # noqa: S101 (for the type checker: seen above)
        return datasets.load(
            data.dataset,
            data_dir=data_dir,
            task=self.task,
            labels=self.labels,
            annotations=data.annotations,
            columns=data.columns,
        )

    def scheme(self, annotations: Annotations) -> GroupsConfig:
        """Return the study's groups, or the default ones of its data."""
        if self.groups is not None:
            return self.groups
        if self.data.dataset is not None:
            return groups_config(dict(datasets.sources()[self.data.dataset].groups))
        if annotations.has("values"):
            return groups_config({"by": "taxonomy"})
        if annotations.has("rationale"):
            return groups_config({"by": "rationale"})
        return groups_config({"by": "attributes"})


def explained(error: ValidationError, *place: str) -> str:
    """Say in one line what is wrong with a configuration at `place`, with the nearest right word.

    One fault is told, an unknown key before others; the rest turn up when it is mended.
    """
    faults = error.errors()
    fault = min(faults, key=lambda each: each["type"] != "extra_forbidden")
    tagged = [*place, *map(str, fault["loc"])]
    where = _untagged(tagged)
    if fault["type"] == "extra_forbidden":
        known = _keys_at(tagged[:-1])
        near = did_you_mean(where[-1], known)
        here = ".".join(where[:-1]) or "the study"
        return f"{here}: unknown key {where[-1]!r}; known: {listed(known, 20)}.{near}"
    # What is one of several forms has a fault for each of them.
    same = [each for each in faults if _untagged([*place, *map(str, each["loc"])]) == where]
    said = _in_our_words(" or ".join(dict.fromkeys(each["msg"] for each in same)))
    got, near = fault.get("input"), ""
    if fault["type"] == "literal_error" and isinstance(got, str):
        near = did_you_mean(got, re.findall("'(.*?)'", str(fault["ctx"]["expected"])))
    told = isinstance(got, dict | _Config) or fault["type"] == "groups"
    shown = "" if told else f" (got {got!r:.60})"
    return f"{'.'.join(where) or 'the study'}: {said}{shown}{'.' * bool(near)}{near}"


def _in_our_words(said: str) -> str:
    """Say what pydantic says as somebody who writes YAML would."""
    said = said.replace("Value error, ", "").replace("or Input should be", "or")
    said = re.sub(
        r"a valid dictionary( or instance of \w+)?", "keys with values, as {key: value}", said
    )
    return said.replace("a valid tuple", "a list").replace("Tuple", "The list")


#: The kinds of `groups` by the tag that pydantic puts into the place of a fault.
_GROUPS: dict[str, type[BaseModel]] = {
    "attributes": AttributesConfig,
    "rationale": RationaleConfig,
    "taxonomy": TaxonomyConfig,
    "combine": CombineConfig,
    "intersect": IntersectConfig,
}
#: The same of what is one of several forms elsewhere; these are no words of the file.
_FORMS: dict[str, type[BaseModel] | None] = {
    "irpm": IrpmConfig,
    "method": MethodConfig,
    "mapping": EncoderConfig,
    "plain": None,
}


def _untagged(place: Sequence[str]) -> list[str]:
    """Return a place as it is written in the file, without the tags of pydantic's unions."""
    keys = list(place[:1])
    for before, part in pairwise(place):
        opens_groups = place[0] == "groups" and (before == "groups" or before.isdigit())
        is_form = (before.isdigit() or before == "encoder") and part in _FORMS
        if not (opens_groups and part in _GROUPS) and not is_form and before != "lambda_1":
            keys.append(part)
    return keys


def _keys_at(place: Sequence[str]) -> list[str]:
    """The keys that are known at a place of the study."""
    homes: dict[str, tuple[type[BaseModel], ...]] = {
        "data": (DataConfig,),
        "split": (SplitConfig,),
        "training": (TrainingConfig,),
        "methods": (TrainingConfig,) if "training" in place else _forms_at(place),
        "encoder": _forms_at(place),
        "groups": _groups_at(place),
    }
    models = homes[place[0]] if place else (Study,)
    keys = dict.fromkeys(key for model in models for key in model.model_fields)
    return [key for key in keys if key != "made_with"]


def _groups_at(place: Sequence[str]) -> tuple[type[BaseModel], ...]:
    """The configuration that a place within `groups` means: that of its last tag."""
    return tuple(_GROUPS[part] for part in place if part in _GROUPS)[-1:]


def _forms_at(place: Sequence[str]) -> tuple[type[BaseModel], ...]:
    return tuple(form for part in place if (form := _FORMS.get(part)))


def groups_config(fields: Mapping[str, Any]) -> GroupsConfig:
    """Check the `groups` part of a study on its own. Raises InputError as `Study` does."""
    try:
        return TypeAdapter[GroupsConfig](GroupsConfig).validate_python(fields)
    except ValidationError as error:
        raise InputError(explained(error, "groups")) from None


def reads_rationales(config: GroupsConfig) -> bool:
    """Say whether groups are made from rationales, by embeddings or by a language model."""
    if isinstance(config, CombineConfig):
        return any(map(reads_rationales, config.combine))
    if isinstance(config, IntersectConfig):
        return any(map(reads_rationales, config.intersect))
    if isinstance(config, PluginConfig):
        return config.needs_encoder
    from_texts = isinstance(config, TaxonomyConfig) and config.source != "column"
    return from_texts or isinstance(config, RationaleConfig)


def rationale_config(config: GroupsConfig) -> RationaleConfig | None:
    """Return the first of the groups that are clusters of rationales, None if there are none."""
    match config:
        case RationaleConfig():
            return config
        case CombineConfig(combine=members) | IntersectConfig(intersect=members):
            return next(filter(None, map(rationale_config, members)), None)
    return None


def with_paths(groups: Any, change: Callable[[str], str]) -> Any:
    """Return a `groups` section with `change` made to the files and folders that it names."""
    if not isinstance(groups, Mapping):
        return groups
    found = dict(groups)
    for key in ("combine", "intersect"):
        if isinstance(found.get(key), list | tuple):
            found[key] = [with_paths(member, change) for member in found[key]]
    if isinstance(found.get("labeller"), str):
        found["labeller"] = change(found["labeller"])
    if str(found.get("taxonomy", "")).endswith((".yaml", ".yml")):
        found["taxonomy"] = change(found["taxonomy"])
    return found
