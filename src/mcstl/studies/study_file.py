"""The study file: what a study is, how it is read, and what is said when it is wrong."""

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Annotated, Any, Self

import numpy as np
import pandas as pd
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    SerializeAsAny,
    Tag,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from pydantic_core import PydanticKnownError

from mcstl import datasets
from mcstl import methods as registry
from mcstl._support import files
from mcstl._support.errors import InputError, Notice, brief, did_you_mean, listed
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.data.layouts import Layout
from mcstl.data.splits import SplitBy
from mcstl.data.tables import is_table
from mcstl.encoding.encoders import PAPER_ENCODER
from mcstl.encoding.finetuning import EncoderConfig
from mcstl.encoding.ngrams import NGRAMS
from mcstl.encoding.parts import Reading
from mcstl.encoding.side_by_side import first_embedding
from mcstl.groups import (
    AttributesConfig,
    CombineConfig,
    GroupsConfig,
    IntersectConfig,
    NoGroupsConfig,
    PluginConfig,
    RationaleConfig,
    TaxonomyConfig,
)
from mcstl.methods.base import BaseMethodConfig, MethodConfig, RunSettings
from mcstl.models.training import Session, TrainingConfig

#: Said wherever a study reads rationales.
RATIONALES_ARE_READ = (
    "read_rationales: what the annotator wrote to explain a label is part of what predicts it, and "
    "may give the label away. Such figures are for texts that come with a rationale; beside them "
    "show those of the same study without read_rationales."
)
LARGEST_SEED = 2**32 - 1  # scikit-learn takes no larger one


class _Config(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataConfig(_Config):
    """Where the annotations come from: a registered data set, or a file.

    Attributes:
        dataset: The name of a registered data set.
        annotations: How many annotations are simulated, for the simulated data set.
        file: A file of annotations.
        columns: The file's columns by the names that they have here; several for a text are its
            parts.
        layout: How the file is laid out (`mcstl.data.layouts`), by default a row per annotation.
    """

    dataset: str | None = None
    annotations: Annotated[int, Field(ge=1)] | None = None
    file: str | None = None
    columns: dict[str, str | tuple[str, ...]] = {}
    layout: str | dict[str, Any] | None = None

    @field_validator("layout")
    @classmethod
    def _known(cls, value: Any) -> Any:
        Layout.parse(value)
        return value


class SplitConfig(_Config):
    """How annotations are split into training, validation and test rows.

    Attributes:
        by: What stays on one side: an annotation, an item or an annotator.
        test: The share of the test rows.
        validation: The share of the validation rows in those that are left.
        column: A column that says train, dev (or validation) and test, instead of drawing them
            (`mcstl.data.splits.official_split`); of a registered data set, ``split``.
    """

    by: SplitBy = "annotation"
    test: Annotated[float, Field(gt=0, lt=1)] = 0.2
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    column: str | None = None

    @property
    def title(self) -> str:
        """What results call the split: what stays on one side, or official."""
        return self.by if self.column is None else "official"


class _Name(BaseModel):
    """The name of a method, which decides what else may stand beside it."""

    name: str

    @field_validator("name")
    @classmethod
    def _in_registry(cls, name: str) -> str:
        if name not in registry.names():
            *first, last = map(repr, registry.names())
            raise PydanticKnownError("literal_error", {"expected": f"{', '.join(first)} or {last}"})
        return name


def _as_method(given: Any) -> BaseMethodConfig:
    """Read a method as it stands in a study: a name, or keys in the form of its method."""
    if isinstance(given, BaseMethodConfig):
        return given
    fields = {"name": given} if isinstance(given, str) else given
    if not isinstance(fields, Mapping) or "name" not in fields:
        return MethodConfig.model_validate(fields)  # which says what is wrong
    return registry.find(_Name.model_validate(fields).name).config.model_validate(fields)


#: A method as it stands in a study, in the form that the method itself gives.
AnyMethod = Annotated[SerializeAsAny[BaseMethodConfig], BeforeValidator(_as_method)]


def _form_of_encoder(given: Any) -> str:
    if isinstance(given, list | tuple):
        return "several"
    return "mapping" if isinstance(given, Mapping | EncoderConfig) else "plain"


AnyEncoder = Annotated[
    Annotated[str, Tag("plain")]
    | Annotated[tuple[str, ...], Tag("several")]
    | Annotated[EncoderConfig, Tag("mapping")],
    Discriminator(_form_of_encoder),
]


class Study(_Config):
    """One data set x one scheme of groups x several methods x several seeds.

    It is what a study file says. From Python, fields are given as they stand in the file; errors
    are the same, `InputError`.

    Attributes:
        name: What the study is called, by default its file without the ending.
        data: Where the annotations come from.
        task: binary, ordinal, preference or multilabel, if not the data's own.
        labels: The raw labels of each class, the lowest class first, if not the data's own; in
            multilabel those that answer each question with yes.
        question: The one question of multilabel data that is learnt; by default all are, each by
            itself.
        groups: How groups are formed, by default as the data suggest (`groups_for`).
        split: How annotations are split.
        encoder: What encodes the texts: a name, a name with how it is trained further, or several
            names, of which those that are better together on validation rows stand side by side.
        parts: How texts in parts are encoded, joined, apart or the last alone; by default what
            validation rows say, for each seed.
        read_rationales: Whether models read each annotation's rationale beside its text.
        training: How networks are trained.
        methods: The methods.
        seeds: The seeds, or how many.
        model: The method whose model is saved, by its name or label; by default best, where it is
            among the methods, else the first that leaves one.
        made_with: Versions and fingerprints, written into the study.yaml of a run and not used.

    Raises:
        InputError: If a value is wrong or a key is unknown, with the nearest right one.

    Example:
        >>> study = Study(data={"dataset": "simulated"}, seeds=3)
        >>> study.seeds, [method.title for method in study.methods]
        ((0, 1, 2), ['best', 'mc-stl', 'none', 'majority'])
    """

    name: str = ""
    data: DataConfig
    task: Task | None = None
    labels: dict[str, list[Any]] | None = None
    question: str | None = None
    groups: GroupsConfig | None = None
    split: SplitConfig = SplitConfig()
    encoder: AnyEncoder = PAPER_ENCODER
    parts: Reading | None = None
    read_rationales: bool = False
    training: TrainingConfig = TrainingConfig()
    methods: tuple[AnyMethod, ...] = (
        MethodConfig(name="best"),
        MethodConfig(name="mc-stl"),
        MethodConfig(name="none"),
        MethodConfig(name="majority"),
    )
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    model: str | None = None
    made_with: dict[str, Any] | None = None

    @field_validator("labels", mode="before")
    @classmethod
    def _class_names(cls, value: Any) -> Any:
        # YAML reads `1: [2]` as a number; a class name is text.
        return {str(k): v for k, v in value.items()} if isinstance(value, Mapping) else value

    @field_validator("encoder", mode="before")
    @classmethod
    def _view_of_ngrams(cls, value: Any) -> Any:
        # It is fitted to training texts, as those in a list are.
        return [value] if isinstance(value, str) and value in NGRAMS else value

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
            raise ValueError(f"give one or more of {listed(registry.names())}")
        if repeated:
            raise ValueError(
                f"{listed(repeated)} is there twice; give each its own label, as in "
                "{name: mc-stl, label: without-kl}"
            )
        return value

    @field_validator("seeds")
    @classmethod
    def _seeded_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        wanted = value and min(value) >= 0 and max(value) <= LARGEST_SEED
        if not wanted or len(set(value)) < len(value):
            raise ValueError("give a list of distinct whole numbers from 0, or how many seeds")
        return value

    @field_validator("labels")
    @classmethod
    def _raw_values(cls, value: dict[str, list[Any]] | None) -> dict[str, list[Any]] | None:
        for raw in (each for values in (value or {}).values() for each in values):
            if not isinstance(raw, str | int | float | Decimal | date | None):
                raise ValueError(f"a raw value is a text or a number; got {brief(repr(raw))}")
        return value

    def __init__(self, /, **fields: Any) -> None:
        fields = {key: _as_in_a_file(value) for key, value in fields.items()}
        try:
            super().__init__(**fields)
        except ValidationError as error:
            raise InputError(explained(error, given=fields)) from None
        for method in self.methods:
            self.training_of(method)
        titles = [method.title for method in self.methods]
        if self.model is not None and self.model not in titles:
            raise InputError(
                f"model: {brief(repr(self.model))} is none of the methods, {listed(titles)}."
                f"{did_you_mean(self.model, titles)}"
            )

    @property
    def encoder_name(self) -> str:
        """The name or folder of the encoder, however it is trained further; of several the first.

        It forms groups by rationale, so that views of n-grams do not count.
        """
        if isinstance(self.encoder, tuple):
            return first_embedding(self.encoder)
        return self.encoder if isinstance(self.encoder, str) else self.encoder.name

    def training_of(self, method: BaseMethodConfig) -> TrainingConfig:
        """Resolve how a method is trained: the study's training with the method's own changes.

        Args:
            method: One of the study's methods, or another.

        Returns:
            The whole training configuration.

        Raises:
            InputError: If the method changes what is no key of training, or to a wrong value.
        """
        changes = method.training if isinstance(method, MethodConfig) else {}
        place = ("methods", method.title, "training")
        given = self.training.model_dump(exclude_unset=True)
        return training_config({**given, **changes}, *place)

    def settings_of(
        self, method: BaseMethodConfig, seed: int, session: Session | None = None
    ) -> RunSettings:
        """Put together what one run of the study needs but its data.

        Args:
            method: One of the study's methods, or another.
            seed: The seed of the run.
            session: How training is followed, and goes on after a stop.

        Returns:
            What `fit_method` takes.
        """
        return RunSettings(method, self.training_of(method), seed, session or Session())

    @classmethod
    def read(cls, path: str | Path, *, split: str | None = None) -> Self:
        """Read a study file.

        A data file in it is meant relative to the study file, and so is what its groups name.

        Args:
            path: The file.
            split: Another `split.by` than the file's.

        Returns:
            The study.

        Raises:
            InputError: If the file is no study, with the nearest right key for a wrong one.
        """
        path = Path(path)
        if is_table(path):
            raise InputError(f"{path} is a table; write a study first: mcstl init {path}")
        fields = files.read_yaml(path)
        fields.setdefault("name", path.stem)
        data = fields.get("data")
        if isinstance(data, dict) and isinstance(data.get("file"), str):
            data["file"] = str(path.parent / data["file"])
        if "groups" in fields:
            fields["groups"] = with_paths(fields["groups"], lambda name: str(path.parent / name))
        if split is not None:
            shares = fields.get("split")
            shares = dict(shares) if isinstance(shares, dict) else {}
            shares.pop("column", None)
            fields["split"] = {**shares, "by": split}
        try:
            return cls(**fields)
        except InputError as error:
            raise InputError(f"{path.name}: {error}") from None

    def load(self, data_dir: str | Path | None = None) -> Annotations:
        """Load the study's annotations.

        Args:
            data_dir: The folder of the registered data sets, by default that of MCSTL_DATA.

        Returns:
            The checked annotations.

        Raises:
            InputError: If the data are not there or cannot be used.
        """
        annotations = self._load(data_dir)
        if self.read_rationales:
            annotations = annotations.with_rationales_read()
            warnings.warn(RATIONALES_ARE_READ, Notice, stacklevel=2)
        return annotations if self.question is None else annotations.question(self.question)

    def _load(self, data_dir: str | Path | None) -> Annotations:
        data = self.data
        if (data.dataset is None) == (data.file is None):
            raise InputError("data: give either dataset or file, as in data: {dataset: simulated}")
        if data.file is not None:
            if data.annotations is not None:
                raise InputError("data: annotations sets the size of simulated data only")
            split = {} if self.split.column is None else {"split": self.split.column}
            return Annotations.read(
                data.file,
                columns={**data.columns, **split},
                layout=data.layout,
                labels=self.labels,
                task=self.task,
            )
        if self.split.column not in (None, "split"):
            raise InputError("split: of a registered data set the column is split")
        if data.layout is not None:
            raise InputError("data: layout is of a file; a registered data set has its own")
        assert data.dataset is not None  # noqa: S101 (for the type checker: seen above)
        return datasets.load(
            data.dataset,
            data_dir=data_dir,
            task=self.task,
            labels=self.labels,
            annotations=data.annotations,
            columns=_single(data.columns),
        )

    def groups_for(self, annotations: Annotations) -> GroupsConfig:
        """Resolve how groups are formed.

        Args:
            annotations: The study's annotations.

        Returns:
            The study's own `groups`, or else those that come with the registered data set, or else
            those that the columns allow (`default_groups`).
        """
        if self.groups is not None:
            return self.groups
        if self.data.dataset is not None:
            return groups_config(datasets.sources()[self.data.dataset].groups)
        return default_groups(annotations)


def _single(columns: Mapping[str, str | tuple[str, ...]]) -> dict[str, str]:
    """The columns of a registered data set, whose texts are put together by its loader."""
    if several := [ours for ours, theirs in columns.items() if not isinstance(theirs, str)]:
        raise InputError(f"data.columns: {several[0]} of a registered data set is one column")
    return {ours: str(theirs) for ours, theirs in columns.items()}


def _as_in_a_file(value: Any) -> Any:
    """Turn what Python users pass, at any depth, into what a study file can hold."""
    if isinstance(value, Mapping):
        return {_as_in_a_file(key): _as_in_a_file(each) for key, each in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, PurePath):
        return str(value)
    if isinstance(
        value, list | tuple | set | frozenset | range | np.ndarray | pd.Series | pd.Index
    ):
        return [_as_in_a_file(each) for each in value]
    return value


def explained(error: ValidationError, *place: str, given: Mapping[str, Any] | None = None) -> str:
    """Say in one line what is wrong with a configuration, with the nearest right word.

    Of several faults one is named, an unknown key before others; the rest turn up when it is
    mended.

    Args:
        error: What pydantic says.
        place: Where the configuration stands in the study.
        given: The fields of the study, where the whole of it is checked.

    Returns:
        A sentence that begins with the place.
    """
    faults = error.errors()
    fault = min(faults, key=lambda each: each["type"] != "extra_forbidden")
    tagged = [*place, *map(str, fault["loc"])]
    where = _untagged(tagged)
    if fault["type"] == "extra_forbidden":
        keys = _keys_at(tagged[:-1], given or {})
        near = did_you_mean(where[-1], keys)
        parent = ".".join(where[:-1]) or "the study"
        return f"{parent}: unknown key {where[-1]!r}; known: {listed(keys, 20)}.{near}"
    # What is one of several forms has a fault for each of them.
    same = [each for each in faults if _untagged([*place, *map(str, each["loc"])]) == where]
    problem = _in_our_words(" or ".join(dict.fromkeys(each["msg"] for each in same)))
    got, near = fault.get("input"), ""
    if fault["type"] == "literal_error" and isinstance(got, str):
        near = did_you_mean(got, re.findall("'(.*?)'", str(fault["ctx"]["expected"])))
    hides_input = isinstance(got, dict | BaseModel) or fault["type"] == "groups"
    shown = "" if hides_input else f" (got {got!r:.60})"
    return f"{'.'.join(where) or 'the study'}: {problem}{shown}{'.' * bool(near)}{near}"


def _in_our_words(message: str) -> str:
    """Say what pydantic says as somebody who writes YAML would."""
    message = message.replace("Value error, ", "").replace("or Input should be", "or")
    message = re.sub(
        r"a valid dictionary( or instance of \w+)?", "keys with values, as {key: value}", message
    )
    return message.replace("a valid tuple", "a list").replace("Tuple", "The list")


#: The forms of `groups` by the tag that pydantic puts into the place of a fault.
_GROUPS: dict[str, type[BaseModel]] = {
    "attributes": AttributesConfig,
    "rationale": RationaleConfig,
    "taxonomy": TaxonomyConfig,
    "none": NoGroupsConfig,
    "combine": CombineConfig,
    "intersect": IntersectConfig,
}
#: The forms of `encoder` by their tags, which are no words of the file.
_ENCODERS: dict[str, type[BaseModel] | None] = {
    "mapping": EncoderConfig,
    "plain": None,
    "several": None,
}


def _untagged(place: Sequence[str]) -> list[str]:
    """Return a place as it is written in the file, without the tags of pydantic's unions."""
    keys = list(place[:1])
    for before, part in pairwise(place):
        opens_groups = place[0] == "groups" and (before == "groups" or before.isdigit())
        is_encoder = before == "encoder" and part in _ENCODERS
        if not (opens_groups and part in _GROUPS) and not is_encoder and before != "lambda_1":
            keys.append(part)
    return keys


def _keys_at(place: Sequence[str], given: Mapping[str, Any]) -> list[str]:
    """The keys that are known at a place of the study whose fields are `given`."""
    model: type[BaseModel] | None = Study
    match place:
        case ["data"]:
            model = DataConfig
        case ["split"]:
            model = SplitConfig
        case ["training"] | ["methods", _, "training"]:
            model = TrainingConfig
        case ["methods", number]:
            name = given["methods"][int(number)].get("name")
            model = registry.find(name).config if name in registry.names() else MethodConfig
        case ["encoder", *tags]:
            model = next((_ENCODERS[tag] for tag in tags if tag in _ENCODERS), None)
        case ["groups", *tags]:
            model = next((_GROUPS[tag] for tag in reversed(tags) if tag in _GROUPS), None)
    keys = model.model_fields if model else {}
    return [key for key in keys if key != "made_with"]


def training_config(fields: Mapping[str, Any], *place: str) -> TrainingConfig:
    """Check the `training` part of a study by itself.

    Args:
        fields: Its keys and values.
        place: Where it stands in the study, for the message.

    Returns:
        The configuration.

    Raises:
        InputError: If a key is unknown or a value wrong.
    """
    try:
        return TrainingConfig(**fields)
    except ValidationError as error:
        raise InputError(explained(error, *(place or ["training"]))) from None


def groups_config(groups: Mapping[str, Any] | str) -> GroupsConfig:
    """Check the `groups` part of a study by itself.

    Args:
        groups: Its keys and values, or ``none``.

    Returns:
        The configuration.

    Raises:
        InputError: If a key is unknown or a value wrong.
    """
    try:
        return TypeAdapter[GroupsConfig](GroupsConfig).validate_python(_as_in_a_file(groups))
    except ValidationError as error:
        raise InputError(explained(error, "groups")) from None


def default_groups(annotations: Annotations) -> GroupsConfig:
    """Choose the groups that annotations can have where nobody says which.

    Args:
        annotations: The annotations.

    Returns:
        A group for each value if they have values, else clusters of the rationales if they have
        rationales, else groups by the annotators' attributes if they have any, else none.
    """
    if annotations.has("values"):
        return TaxonomyConfig()
    if annotations.has("rationale"):
        return RationaleConfig()
    return AttributesConfig() if annotations.attributes else NoGroupsConfig()


def reads_rationales(config: GroupsConfig) -> bool:
    """Say whether groups are made from rationales, by embeddings or by a language model.

    Args:
        config: How groups are formed.

    Returns:
        True if forming them needs an encoder.
    """
    if isinstance(config, CombineConfig):
        return any(map(reads_rationales, config.combine))
    if isinstance(config, IntersectConfig):
        return any(map(reads_rationales, config.intersect))
    if isinstance(config, PluginConfig):
        return config.needs_encoder
    from_texts = isinstance(config, TaxonomyConfig) and config.source != "column"
    return from_texts or isinstance(config, RationaleConfig)


def rationale_config(config: GroupsConfig) -> RationaleConfig | None:
    """Find the groups that are clusters of rationales.

    Args:
        config: How groups are formed.

    Returns:
        The first of them, None if there are none.
    """
    match config:
        case RationaleConfig():
            return config
        case CombineConfig(combine=members) | IntersectConfig(intersect=members):
            return next(filter(None, map(rationale_config, members)), None)
    return None


def with_paths(groups: Any, change: Callable[[str], str]) -> Any:
    """Change the files and folders that the `groups` part of a study names.

    Args:
        groups: The part as it was read, whatever it is.
        change: From a path to another.

    Returns:
        The part with other paths.
    """
    if not isinstance(groups, Mapping):
        return groups
    changed = dict(groups)
    for key in ("combine", "intersect"):
        if isinstance(changed.get(key), list | tuple):
            changed[key] = [with_paths(member, change) for member in changed[key]]
    if isinstance(changed.get("labeller"), str):
        changed["labeller"] = change(changed["labeller"])
    if isinstance(changed.get("names"), str):
        changed["names"] = change(changed["names"])
    if str(changed.get("taxonomy", "")).endswith((".yaml", ".yml")):
        changed["taxonomy"] = change(changed["taxonomy"])
    return changed
