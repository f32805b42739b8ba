"""One study: load -> split -> group -> encode -> fit -> predict -> evaluate.

The study file is the contract of the design: YAML 1.2, unknown keys are errors. `run` is the whole
protocol; what it writes is read by the report and by anyone who wants to check a number.
"""

import hashlib
import json
import os
import platform
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
)
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from scipy.sparse import csr_matrix

from mcstl import __version__, datasets, files, metrics, training
from mcstl.annotations import (
    Annotations,
    Split,
    SplitBy,
    Task,
    majority_rows,
    minority_rows,
    split,
)
from mcstl.encoders import PAPER_ENCODER, Encoder, load_encoder
from mcstl.errors import InputError, did_you_mean, listed
from mcstl.groups import (
    AttributesConfig,
    CombineConfig,
    GroupsConfig,
    IntersectConfig,
    RationaleConfig,
    Scheme,
    TaxonomyConfig,
    fit_scheme,
)
from mcstl.model import FloatArray, Model, Network
from mcstl.progress import Progress, silent
from mcstl.training import Examples, TrainingConfig

#: The version of results.json.
SCHEMA = 1
#: The neural methods are one model on other rows; the rest are other models.
Neural = Literal["mc-stl", "none", "majority"]
MethodName = Literal["mc-stl", "none", "majority", "gbm", "logistic"]
_NEURAL = get_args(Neural)
_PARTS = ("data", "runs", "model")  # under the folder of work in progress


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


class MethodConfig(_Config):
    """A method, what it is called in the results, and what it changes of the study's training."""

    name: MethodName
    label: str = ""
    training: dict[str, Any] = {}

    @property
    def title(self) -> str:
        """The label, or the name where there is none."""
        return self.label or self.name


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
    encoder: str = PAPER_ENCODER
    training: TrainingConfig = TrainingConfig()
    methods: tuple[MethodConfig, ...] = tuple(MethodConfig(name=name) for name in _NEURAL)
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
        return tuple(range(value)) if isinstance(value, int) else value

    @field_validator("methods")
    @classmethod
    def _labelled_once(cls, value: tuple[MethodConfig, ...]) -> tuple[MethodConfig, ...]:
        titles = [method.title for method in value]
        repeated = sorted({title for title in titles if titles.count(title) > 1})
        if repeated or not titles:
            raise ValueError(f"give each method its own label; twice: {listed(repeated)}")
        return value

    @field_validator("seeds")
    @classmethod
    def _seeded_once(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if not value or len(set(value)) < len(value) or min(value) < 0:
            raise ValueError("give one or more distinct seeds from 0, or how many")
        return value

    def __init__(self, **fields: Any) -> None:
        try:
            super().__init__(**fields)
            for method in self.methods:
                self.training_of(method)
        except ValidationError as error:
            raise InputError(explained(error)) from None

    def training_of(self, method: MethodConfig) -> TrainingConfig:
        """Return the training configuration of a method: the study's with the method's changes."""
        try:
            return TrainingConfig(**{**self.training.model_dump(), **method.training})
        except ValidationError as error:
            raise InputError(explained(error, "methods", method.title, "training")) from None

    @classmethod
    def read(cls, path: str | Path, *, split: str | None = None) -> Self:
        """Read a study file, with another `split.by` if one is given.

        A data file in it is meant relative to the study file.

        Raises InputError for a file that is no study, with the nearest right key for a wrong one.
        """
        path = Path(path)
        fields = _read_yaml(path)
        fields.setdefault("name", path.stem)
        data = fields.get("data")
        if isinstance(data, dict) and isinstance(data.get("file"), str):
            data["file"] = str(path.parent / data["file"])
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
        if data.columns:
            raise InputError(f"data: columns belongs to a file; {data.dataset} brings its own")
        assert data.dataset is not None  # noqa: S101 (for the type checker: seen above)
        return datasets.load(
            data.dataset,
            data_dir=data_dir,
            task=self.task,
            labels=self.labels,
            annotations=data.annotations,
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

    The first fault is told; the others turn up when it is mended.
    """
    fault = error.errors()[0]
    where = [*place, *map(str, fault["loc"])]
    if fault["type"] == "extra_forbidden":
        known = _keys_at(where[:-1])
        near = did_you_mean(where[-1], known)
        here = ".".join(where[:-1]) or "the study"
        return f"{here}: unknown key {where[-1]!r}; known: {listed(known, 20)}.{near}"
    got = fault.get("input")
    near = ""
    if fault["type"] == "literal_error" and isinstance(got, str):
        near = did_you_mean(got, str(fault["ctx"]["expected"]).replace("'", "").split(", "))
    shown = "" if isinstance(got, dict | _Config) else f" (got {got!r:.60})"
    said = fault["msg"].removeprefix("Value error, ")
    return f"{'.'.join(where) or 'the study'}: {said}{shown}{'.' * bool(near)}{near}"


def _keys_at(place: Sequence[str]) -> list[str]:
    """The keys that are known at a place of the study."""
    homes: dict[str, tuple[type[BaseModel], ...]] = {
        "data": (DataConfig,),
        "split": (SplitConfig,),
        "training": (TrainingConfig,),
        "methods": (TrainingConfig,) if "training" in place else (MethodConfig,),
        "groups": _groups_at(place),
    }
    models = homes[place[0]] if place else (Study,)
    return list(dict.fromkeys(key for model in models for key in model.model_fields))


def _groups_at(place: Sequence[str]) -> tuple[type[BaseModel], ...]:
    """The configurations that a place within `groups` can mean, by the tags pydantic puts in it."""
    by_tag: dict[str, type[BaseModel]] = {
        "attributes": AttributesConfig,
        "rationale": RationaleConfig,
        "taxonomy": TaxonomyConfig,
        "combine": CombineConfig,
        "intersect": IntersectConfig,
    }
    tags = [part for part in place if part in by_tag]
    return (by_tag[tags[-1]],) if tags else tuple(by_tag.values())


def groups_config(fields: Mapping[str, Any]) -> GroupsConfig:
    """Check the `groups` part of a study on its own. Raises InputError as `Study` does."""
    try:
        return TypeAdapter[GroupsConfig](GroupsConfig).validate_python(fields)
    except ValidationError as error:
        raise InputError(explained(error, "groups")) from None


@dataclass(frozen=True)
class Prepared:
    """One seed of a study, ready for its methods: the parts, the groups and the rows."""

    annotations: Annotations
    minority: npt.NDArray[np.bool_]
    parts: Split
    scheme: Scheme
    rows: Examples  # all annotations, in their order

    def part(self, name: Literal["train", "validation", "test"]) -> Examples:
        """Return the rows of one part."""
        return self.rows.take(getattr(self.parts, name))

    @property
    def annotations_per_item(self) -> float:
        """The m of the paper's lambda_1: mean annotations per training item."""
        items = self.annotations.frame["item"].to_numpy()[self.parts.train]
        return len(items) / len(np.unique(items))


@dataclass(frozen=True)
class Results:
    """What a study found: results.json as `results`, and one row per prediction."""

    results: dict[str, Any]
    predictions: pd.DataFrame
    model: Model | None

    def table(self) -> str:
        """Return the results as a plain table, the way the paper prints them."""
        table = metrics.table(self.results["summary"], self.results["runs"])
        cells = [["method", *(column.title for column in table.columns)]]
        cells += [[method, *(cell.text for cell in row)] for method, row in table.rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in cells]
        return "\n".join(line.rstrip() for line in lines)


def prepare(
    study: Study, annotations: Annotations, encoder: Encoder, seed: int, progress: Progress = silent
) -> Prepared:
    """Split, group and encode for one seed. The scheme is fitted on training rows only."""
    shares = study.split
    parts = split(annotations, shares.by, test=shares.test, validation=shares.validation, seed=seed)
    config = study.scheme(annotations)
    scheme = fit_scheme(config, annotations.take(parts.train), encoder)
    rows = examples(annotations, scheme.assign(annotations, encoder), encoder, progress)
    return Prepared(annotations, minority_rows(annotations), parts, scheme, rows)


def examples(
    annotations: Annotations,
    S: csr_matrix,
    encoder: Encoder,
    progress: Progress = silent,
) -> Examples:
    """Return the annotations as rows of vectors, membership and labels, each of weight one."""
    texts, positions = annotations.distinct_texts()
    vectors = encoder.encode(texts, progress)
    return Examples(
        vectors, positions, S, annotations.labels, np.ones(len(annotations), np.float32)
    )


def fit_method(
    method: MethodConfig,
    study: Study,
    prepared: Prepared,
    seed: int,
    *,
    checkpoint: Path | None = None,
    on_epoch: training.OnEpoch | None = None,
    progress: Progress = silent,
) -> tuple[FloatArray, Network | None]:
    """Fit one method and return its probabilities of the test rows, (n, L), and its network."""
    train, validation, test = (prepared.part(name) for name in ("train", "validation", "test"))
    n_classes = len(prepared.annotations.classes)
    if method.name not in _NEURAL:
        # scikit-learn takes a second to import, which other commands need not pay.
        from mcstl.baselines import tabular

        fit = {"gbm": tabular.gbm, "logistic": tabular.logistic}[method.name]
        progress(f"training {method.title}", 0, 1)
        predict = fit(train, validation, n_classes=n_classes, seed=seed)
        progress(f"training {method.title}", 1, 1)
        return predict(test), None
    if method.name == "majority":
        train, validation = _majority_only(prepared)
    if method.name != "mc-stl":
        train, validation, test = (part.without_groups() for part in (train, validation, test))
    fitted = training.fit(
        train,
        validation,
        study.training_of(method),
        n_classes=n_classes,
        preference=prepared.annotations.task == "preference",
        annotations_per_item=prepared.annotations_per_item,
        seed=seed,
        checkpoint=checkpoint,
        on_epoch=on_epoch,
        progress=lambda _, done, total: progress(f"training {method.title}", done, total),
    )
    return training.predict(fitted.network, test), fitted.network


def _majority_only(prepared: Prepared) -> tuple[Examples, Examples]:
    """Training and validation rows that carry their item's majority label: Maj(Y), §3.3.

    The majority is taken over all rows that are not test rows.
    """
    train, validation, _ = prepared.parts
    known = np.concatenate([train, validation])
    kept = majority_rows(prepared.annotations.take(known))
    return (
        prepared.rows.take(train[kept[: len(train)]]),
        prepared.rows.take(validation[kept[len(train) :]]),
    )


def fit(
    data: Annotations,
    *,
    groups: Mapping[str, Any] | None = None,
    encoder: str | Encoder = PAPER_ENCODER,
    training: Mapping[str, Any] | None = None,
    validation: float = 0.1,
    seed: int = 0,
    progress: Progress = silent,
) -> Model:
    """Fit MC-STL on all of `data` but a validation share, and return the model.

    `groups` and `training` are as in a study file; without groups they are made from the values,
    the rationales or the attributes, whichever `data` has. Raises InputError as `run` does.
    """
    fields = {"groups": groups, "training": training} if training else {"groups": groups}
    study = Study(data={"dataset": None}, **fields)
    encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
    parts = split(data, "annotation", test=0, validation=validation, seed=seed)
    scheme = fit_scheme(study.scheme(data), data.take(parts.train), encoder)
    rows = examples(data, scheme.assign(data, encoder), encoder, progress)
    prepared = Prepared(data, minority_rows(data), parts, scheme, rows)
    _, network = fit_method(MethodConfig(name="mc-stl"), study, prepared, seed, progress=progress)
    assert network is not None  # noqa: S101 (mc-stl is neural)
    return _model(network, prepared, encoder, facts={"seed": seed})


def evaluate(model: Model, data: Annotations, progress: Progress = silent) -> dict[str, Any]:
    """Return `metrics` and `groups` of a model on annotations, as one run of results.json.

    Every annotation is predicted under its own groups. Raises InputError if the task or the
    classes are not the model's.
    """
    if (data.task, data.classes) != (model.task, model.classes):
        raise InputError(
            f"the model is {model.task} with the classes {listed(model.classes)}; "
            f"{data.source} is {data.task} with {listed(data.classes)}"
        )
    p, S = model.predict_annotations(data, progress)
    inside = S.toarray() > 0
    return metrics.evaluate(
        p, data.labels, inside, minority_rows(data), data.task, model.group_names
    )


def load_for(model: Model, data: str | Path, data_dir: str | Path | None = None) -> Annotations:
    """Load annotations for a model: a registered data set, or a file of the same form as its own.

    The columns and the meaning of the raw labels are those of the study that made the model.
    Raises InputError as `datasets.load` and `Annotations.read` do.
    """
    made_by = model.facts.get("study", {})
    labels = made_by.get("labels")
    if str(data) in datasets.sources():
        return datasets.load(str(data), data_dir=data_dir, task=model.task, labels=labels)
    columns = made_by.get("data", {}).get("columns", {})
    return Annotations.read(data, columns=columns, labels=labels, task=model.task)


def describe(study: Study, data_dir: str | Path | None = None) -> Iterator[tuple[str, str]]:
    """Read and split a study's data for its first seed, and say what a run would do, line by line.

    Groups that need no encoder are formed too. Raises InputError as `run` does.
    """
    data = study.load(data_dir)
    yield (
        "data",
        f"{data.source}: {len(data):,} annotations, {data.frame['item'].nunique():,} items",
    )
    for reason, count in data.dropped.items():
        yield "", f"{count:,} dropped: {reason}"
    if data.has("annotator"):
        people = data.frame["annotator"]
        yield (
            "annotators",
            f"{people.nunique():,}"
            + (
                f", {int(people.isna().sum()):,} annotations without one"
                if people.isna().any()
                else ""
            ),
        )
    rates = np.bincount(data.labels, minlength=len(data.classes)) / len(data)
    shares = ", ".join(f"{c} {r:.1%}" for c, r in zip(data.classes, rates, strict=True))
    yield "task", f"{data.task}; {shares}"
    minority = minority_rows(data)
    yield "minority", f"{int(minority.sum()):,} annotations differ from their item's majority"
    seed = study.seeds[0]
    by, test, validation = study.split.by, study.split.test, study.split.validation
    parts = split(data, by, test=test, validation=validation, seed=seed)
    sizes = ", ".join(f"{len(rows):,} {name}" for name, rows in parts._asdict().items())
    yield "split", f"by {by}: {sizes} (seed {seed})"
    config = study.scheme(data)
    if _needs_encoder(config):
        yield "groups", f"{config.model_dump(exclude_none=True)}, formed when the study runs"
    else:
        scheme = fit_scheme(config, data.take(parts.train), None)
        yield "groups", f"{len(scheme.groups)} (sizes in the training rows)"
        for group in scheme.groups:
            people_ = "" if group.annotators is None else f", {group.annotators:,} people"
            warning = f"  ({group.warning})" if group.warning else ""
            yield "", f"{group.name}: {group.size:,}{people_}{warning}"
        for name, why in scheme.left_out:
            yield "", f"left out: {name} ({why})"
        inside = scheme.assign(data, None).getnnz(axis=1)
        yield "", f"{int((inside == 0).sum()):,} annotations are in no group"
    yield "encoder", study.encoder
    titles = listed(method.title for method in study.methods)
    yield "methods", f"{titles}; seeds {listed(study.seeds)}"


def _needs_encoder(config: GroupsConfig) -> bool:
    members: tuple[GroupsConfig, ...] = ()
    if isinstance(config, CombineConfig):
        members = config.combine
    elif isinstance(config, IntersectConfig):
        members = config.intersect
    return isinstance(config, RationaleConfig) or any(map(_needs_encoder, members))


def _model(
    network: Network,
    prepared: Prepared,
    encoder: Encoder,
    facts: dict[str, Any],
    groups: bool = True,
) -> Model:
    data = prepared.annotations
    train = prepared.part("train")
    S = (train if groups else train.without_groups()).S
    patterns, codes = training.distinct_rows(S)
    counts = np.bincount(codes).astype(float)
    scheme = prepared.scheme if groups else None
    return Model(network, data.task, data.classes, scheme, encoder, (patterns, counts), facts)


def run(
    study: Study,
    *,
    out: str | Path | None = None,
    data_dir: str | Path | None = None,
    progress: Progress = silent,
) -> Results:
    """Run a study and, with `out`, write its outputs there (DESIGN: Contracts; no report yet).

    A stopped run goes on where it was when it is called again with the same study and folder;
    results.json is written last, so a folder that has it is whole.

    Raises InputError for anything in study or data that cannot be used, and if `out` holds another
    study.
    """
    annotations = study.load(data_dir)
    encoder = load_encoder(study.encoder)
    resolved = _resolved(study, annotations, encoder, Path(out) if out else Path())
    if out is None:
        return _run(study, annotations, encoder, resolved, None, progress)
    from filelock import FileLock, Timeout

    folder = Path(out)
    _claim(folder, resolved)
    if (folder / "results.json").exists():
        return read_results(folder)
    work = folder / ".work"
    work.mkdir(parents=True, exist_ok=True)
    lock = FileLock(work / "lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is writing into {folder}; wait for it") from None
    try:
        _write_yaml(folder / "study.yaml", resolved)
        results = _run(study, annotations, encoder, resolved, work, progress)
        _write_outputs(folder, work, annotations, results)
    finally:
        lock.release()
    shutil.rmtree(work, ignore_errors=True)
    return read_results(folder)


def read_results(folder: str | Path) -> Results:
    """Read what `run` wrote. Raises InputError if it is not there or not whole."""
    folder = Path(folder)
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        predictions = pd.read_parquet(folder / "predictions.parquet")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no finished study: {error}") from error
    model = Model.load(folder / "model") if (folder / "model").exists() else None
    return Results(results, predictions, model)


def _run(
    study: Study,
    annotations: Annotations,
    encoder: Encoder,
    resolved: dict[str, Any],
    work: Path | None,
    progress: Progress,
) -> Results:
    runs: list[dict[str, Any]] = []
    predictions: list[pd.DataFrame] = []
    model: Model | None = None
    groups: list[dict[str, Any]] = []
    sizes: Split | None = None
    modelled = next((m for m in study.methods if m.name in _NEURAL), None)
    n_runs = len(study.seeds) * len(study.methods)
    codes = _annotator_codes(annotations)
    for seed in study.seeds:
        prepared: Prepared | None = None
        for number, method in enumerate(study.methods):
            progress("methods x seeds", len(runs), n_runs)
            key = f"{number}-{seed}"
            done = _kept(work, key)
            if done is None or (not runs):
                # The first seed's groups are described in the results, so it is always prepared.
                prepared = prepared or prepare(study, annotations, encoder, seed, progress)
            if sizes is None and prepared is not None:
                sizes = prepared.parts
                groups = [asdict(group) for group in prepared.scheme.groups]
            if done is None:
                assert prepared is not None  # noqa: S101 (for the type checker: seen above)
                first = seed == study.seeds[0]
                started = time.perf_counter()
                trace: list[dict[str, Any]] = []
                p, network = fit_method(
                    method,
                    study,
                    prepared,
                    seed,
                    checkpoint=work / f"{key}.checkpoint" if work else None,
                    on_epoch=_tracer(trace, method, seed, prepared) if first else None,
                    progress=progress,
                )
                seconds = time.perf_counter() - started
                done = _evaluated(study, prepared, method, seed, p, codes, seconds)
                if first and method is modelled and network is not None:
                    facts = {"study": resolved, "method": method.title, "seed": seed}
                    with_groups = method.name == "mc-stl"
                    model = _model(network, prepared, encoder, facts, with_groups)
                    if work:
                        model.save(work / "model")
                _keep(work, key, done, trace)
            runs.append(done[0])
            predictions.append(done[1])
    progress("methods x seeds", n_runs, n_runs)
    assert sizes is not None  # noqa: S101 (there is at least one seed and one method)
    results = {
        "schema": SCHEMA,
        "study": resolved,
        "data": _described(annotations, encoder, resolved, sizes, study.split.by),
        "groups": groups,
        "runs": runs,
        "summary": metrics.summarise(runs),
    }
    return Results(results, pd.concat(predictions, ignore_index=True), model)


def _evaluated(
    study: Study,
    prepared: Prepared,
    method: MethodConfig,
    seed: int,
    p: FloatArray,
    codes: npt.NDArray[Any],
    seconds: float,
) -> tuple[dict[str, Any], pd.DataFrame]:
    """One run of results.json and its rows of predictions.parquet."""
    data, test = prepared.annotations, prepared.parts.test
    inside = prepared.rows.S[test].toarray() > 0
    names = prepared.scheme.names
    minority = prepared.minority[test]
    found = metrics.evaluate(p, data.labels[test], inside, minority, data.task, names)
    head = {"method": method.title, "seed": seed, "split": study.split.by}
    frame = data.frame.iloc[test]
    of_row = np.array(names, dtype=object)
    columns: dict[str, Any] = {
        **head,
        "row": frame["row"].to_numpy(),
        "item": frame["item"].to_numpy(),
        "annotator": codes[test],
        "label": data.labels[test],
        "groups": [list(of_row[row]) for row in inside],
        "minority": minority,
        "flipped": frame["flipped"].to_numpy(),
    }
    columns |= {f"p_{c}": p[:, c] for c in range(p.shape[1])}
    return {**head, **found, "seconds": round(seconds, 3)}, pd.DataFrame(columns)


def _tracer(
    trace: list[dict[str, Any]], method: MethodConfig, seed: int, prepared: Prepared
) -> training.OnEpoch:
    """Note the metrics of every epoch on validation and test rows: for plots, never for choices."""
    data, names = prepared.annotations, prepared.scheme.names
    wanted = ("nll", "auc", "accuracy", "slope_mean", "bias_mean", "one_minus_emd")

    def note(epoch: int, network: Network) -> None:
        for part in ("validation", "test"):
            which = getattr(prepared.parts, part)
            rows = prepared.rows.take(which)
            seen = rows if method.name == "mc-stl" else rows.without_groups()
            p = training.predict(network, seen)
            inside = rows.S.toarray() > 0
            minority = prepared.minority[which]
            found = metrics.evaluate(p, rows.y, inside, minority, data.task, names)["metrics"]
            head = {"method": method.title, "seed": seed, "epoch": epoch, "part": part}
            trace.append(head | {key: found[key] for key in wanted if key in found})

    return note


def _annotator_codes(annotations: Annotations) -> npt.NDArray[Any]:
    """(n,) codes of this run that do not tell who the annotators are, None where unknown."""
    if not annotations.has("annotator"):
        return np.full(len(annotations), None, dtype=object)
    codes, names = pd.factorize(annotations.frame["annotator"])
    shuffled = np.random.default_rng(len(names)).permutation(len(names))
    return np.array([None if c < 0 else f"a{shuffled[c]}" for c in codes], dtype=object)


def _described(
    annotations: Annotations, encoder: Encoder, resolved: dict[str, Any], parts: Split, by: SplitBy
) -> dict[str, Any]:
    has_people = annotations.has("annotator")
    source = datasets.sources().get(annotations.source)
    return {
        "source": annotations.source,
        "task": annotations.task,
        "classes": list(annotations.classes),
        "n": len(annotations),
        "items": int(annotations.frame["item"].nunique()),
        "annotators": int(annotations.frame["annotator"].nunique()) if has_people else None,
        "dropped": dict(annotations.dropped),
        "fingerprint": resolved["made_with"]["data"],
        "warning": source.warning if source else "",
        "truncated_texts": encoder.truncated,
        "split": {"by": by, **{name: len(rows) for name, rows in parts._asdict().items()}},
    }


def fingerprint(annotations: Annotations) -> str:
    """Return a hash of everything in the annotations: another table has another one."""
    content = annotations.frame.to_csv(index=False)
    classes = "\0".join(annotations.classes)
    return hashlib.sha256(f"{annotations.task}\0{classes}\0{content}".encode()).hexdigest()[:16]


def _resolved(
    study: Study, annotations: Annotations, encoder: Encoder, out: Path
) -> dict[str, Any]:
    """The study with every default filled in, and what it was made with."""
    fields = study.model_dump(mode="json", exclude={"made_with"})
    if study.data.file is not None:
        fields["data"]["file"] = os.path.relpath(study.data.file, out)
    fields["data"] = {key: value for key, value in fields["data"].items() if value}
    fields["task"] = annotations.task
    if study.labels is None:
        del fields["labels"]  # the data's own
    fields["groups"] = study.scheme(annotations).model_dump(mode="json", exclude_none=True)
    fields["methods"] = [
        {key: value for key, value in method.items() if value} for method in fields["methods"]
    ]
    packages = ("numpy", "pandas", "scikit-learn", "scipy", "torch", "transformers")
    fields["made_with"] = {
        "mcstl": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "encoder": encoder.fingerprint,
        "data": fingerprint(annotations),
    }
    return fields


def _claim(folder: Path, resolved: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but this study."""
    held = folder / "study.yaml"
    if held.exists():
        there = _read_yaml(held)
        different = [key for key in resolved if key not in ("made_with", "name")]
        different = [key for key in different if there.get(key) != resolved[key]]
        if there.get("made_with", {}).get("data") != resolved["made_with"]["data"]:
            different.append("the data")
        if different:
            raise InputError(
                f"{folder} already holds another study (different: {listed(different)}); "
                "choose another --out, or remove it"
            )
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no study; choose another --out")


def _keep(
    work: Path | None, key: str, done: tuple[dict[str, Any], pd.DataFrame], trace: list[Any]
) -> None:
    if work is None:
        return
    with files.replacing(work / f"{key}.parquet") as temporary:
        done[1].to_parquet(temporary, index=False)
    if trace:
        with files.replacing(work / f"{key}.trace.parquet") as temporary:
            pd.DataFrame(trace).to_parquet(temporary, index=False)
    files.write_text(work / f"{key}.json", json.dumps(done[0]))  # last: it says the run is whole


def _kept(work: Path | None, key: str) -> tuple[dict[str, Any], pd.DataFrame] | None:
    if work is None or not (work / f"{key}.json").exists():
        return None
    run_ = json.loads((work / f"{key}.json").read_text(encoding="utf-8"))
    return run_, pd.read_parquet(work / f"{key}.parquet")


def _write_outputs(folder: Path, work: Path, annotations: Annotations, results: Results) -> None:
    """Write the contract's files from the finished runs, results.json last."""
    traces = [pd.read_parquet(path) for path in sorted(work.glob("*.trace.parquet"))]
    frames = {"predictions": results.predictions, "items": annotations.items()}
    if traces:
        frames["trace"] = pd.concat(traces, ignore_index=True)
    for name, frame in frames.items():
        with files.replacing(folder / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
    if (work / "model").exists():
        shutil.rmtree(folder / "model", ignore_errors=True)
        (work / "model").rename(folder / "model")
    files.write_text(
        folder / "results.json", json.dumps(results.results, indent=1, ensure_ascii=False)
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        fields = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*.y*ml")])
        raise InputError(f"there is no study file {path}.{near}") from None
    except (YAMLError, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path} is no study; expected keys such as data, groups and methods")
    return fields


def _write_yaml(path: Path, fields: dict[str, Any]) -> None:
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = None
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    with files.replacing(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        yaml.dump(fields, stream)
