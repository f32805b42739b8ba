"""One model instead of a study: fit it on a table, measure it on another."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from mcstl import datasets
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations, minority_rows
from mcstl.data.splits import split
from mcstl.encoding.encoders import PAPER_ENCODER, Encoder, load_encoder
from mcstl.evaluation import metrics
from mcstl.groups import fit_scheme
from mcstl.models.model import Model
from mcstl.studies.methods import Prepared, fit_method
from mcstl.studies.run import as_model, examples
from mcstl.studies.study_file import DataConfig, MethodConfig, Study


def fit(
    data: Annotations,
    *,
    method: Literal["mc-stl", "mc-stl-people", "best"] = "mc-stl",
    groups: Mapping[str, Any] | None = None,
    encoder: str | Encoder = PAPER_ENCODER,
    training: Mapping[str, Any] | None = None,
    validation: float = 0.1,
    seed: int = 0,
    progress: Progress = silent,
) -> Model:
    """Fit `method` on all of `data` but a validation share, and return the model.

    `groups` and `training` are as in a study file; without groups they are made from the values,
    the rationales or the attributes, whichever `data` has. Raises InputError as `run` does.
    """
    study = Study(data=DataConfig(), groups=groups, training=training or {}, seeds=[seed])
    encoder = load_encoder(encoder) if isinstance(encoder, str) else encoder
    parts = split(data, "annotation", test=0, validation=validation, seed=seed)
    scheme = fit_scheme(study.scheme(data), data.take(parts.train), encoder)
    rows = examples(data, scheme.assign(data, encoder), encoder, progress)
    prepared = Prepared(data, minority_rows(data), parts, scheme, rows, encoder)
    _, network = fit_method(MethodConfig(name=method), study, prepared, seed, progress=progress)
    assert network is not None  # noqa: S101 (all are neural)
    return as_model(network, prepared, encoder, facts={"seed": seed})


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

    The columns and the meaning of the raw labels are those of the study that made the model; where
    it had none, a file's raw labels are the names of the classes. Raises InputError as
    `datasets.load` and `Annotations.read` do.
    """
    made_by = model.facts.get("study", {})
    labels = made_by.get("labels")
    if str(data) in datasets.sources():
        return datasets.load(str(data), data_dir=data_dir, task=model.task, labels=labels)
    if not Path(data).exists() and (near := did_you_mean(str(data), datasets.sources())):
        raise InputError(f"{data} is neither a file nor a registered data set.{near}")
    columns = made_by.get("data", {}).get("columns", {})
    labels = labels or {name: [name] for name in model.classes}
    return Annotations.read(data, columns=columns, labels=labels, task=model.task)
