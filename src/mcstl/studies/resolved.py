"""A study with nothing left open: every default filled in, its versions and fingerprints."""

import hashlib
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mcstl import __version__, datasets, evaluation
from mcstl.data.annotations import Annotations
from mcstl.data.parts import number_of_parts
from mcstl.data.splits import Split
from mcstl.encoding.encoders import Encoder
from mcstl.groups.base import LeftOut
from mcstl.studies.study_file import Study, with_paths

_PACKAGES = ("numpy", "pandas", "scikit-learn", "scipy", "torch", "transformers")


def resolve(study: Study, annotations: Annotations, encoder: Encoder, out: Path) -> dict[str, Any]:
    """Fill in every default of a study, and say what it was made with.

    Args:
        study: The study.
        annotations: Its data.
        encoder: Its encoder, as it comes.
        out: The folder of its outputs, to which the files and folders that it names are relative.

    Returns:
        The fields of study.yaml.
    """
    fields = study.model_dump(mode="json", exclude={"made_with"})

    def from_out(path: str) -> str:
        # Resolved, since `out` may be a link, and `..` leads out of where a link points to.
        return os.path.relpath(Path(path).resolve(), out.resolve())

    if study.data.file is not None:
        fields["data"]["file"] = from_out(study.data.file)
    fields["data"] = {key: value for key, value in fields["data"].items() if value}
    fields["task"] = annotations.task if study.question is None else "multilabel"
    if study.question is None:
        del fields["question"]
    if study.labels is None:
        del fields["labels"]  # the data's own
    if study.parts is None:
        del fields["parts"]  # chosen for each seed
    if not study.read_rationales:
        del fields["read_rationales"]
    if study.model is None:
        del fields["model"]
    groups = study.groups_for(annotations).model_dump(mode="json", exclude_none=True)
    fields["groups"] = with_paths(groups, from_out)
    fields["methods"] = [
        {key: value for key, value in method.items() if value} for method in fields["methods"]
    ]
    # What training leaves open is chosen anew, run by run, and noted here at the end.
    fields["made_with"] = {
        "mcstl": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in _PACKAGES},
        "encoder": encoder.fingerprint,
        "data": fingerprint(annotations),
    }
    return fields


def with_choices(resolved: dict[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Note in a resolved study what its runs chose on their validation rows.

    Args:
        resolved: The resolved study.
        runs: The runs of results.json.

    Returns:
        The same with the recipes of each method and seed under ``made_with``, how each seed read
        texts in parts, and which of several encoders it has side by side.
    """
    made_with = dict(resolved["made_with"])
    if readings := {str(run["seed"]): run["parts"] for run in runs if "parts" in run}:
        made_with["parts"] = readings
    if encoders := {str(run["seed"]): run["encoder"] for run in runs if "encoder" in run}:
        made_with["encoders"] = encoders
    chosen: dict[str, dict[str, Any]] = {}
    for run in runs:
        if run["recipe"]:
            chosen.setdefault(run["method"], {})[str(run["seed"])] = run["recipe"]
    return {**resolved, "made_with": {**made_with, "recipes": chosen}}


def portable(resolved: dict[str, Any]) -> dict[str, Any]:
    """Take out of a resolved study what must not leave the machine: where its data file is.

    Args:
        resolved: The resolved study.

    Returns:
        The same with the data file by its name alone.
    """
    data = dict(resolved["data"])
    if "file" in data:
        data["file"] = Path(data["file"]).name
    return {**resolved, "data": data}


def fingerprint(annotations: Annotations) -> str:
    """Hash everything in the annotations, so that another table has another fingerprint.

    Args:
        annotations: The annotations.

    Returns:
        16 hexadecimal digits.
    """
    content = annotations.frame.to_csv(index=False)
    classes = "\0".join(annotations.classes)
    return hashlib.sha256(f"{annotations.task}\0{classes}\0{content}".encode()).hexdigest()[:16]


def describe_data(
    annotations: Annotations,
    resolved: dict[str, Any],
    encoder: Encoder,
    parts: Split,
    by: str,
    left_out: LeftOut,
) -> dict[str, Any]:
    """Make the `data` part of results.json.

    Args:
        annotations: The annotations of the study.
        resolved: The resolved study.
        encoder: The encoder of its texts.
        parts: The split of the first seed.
        by: What the split keeps on one side, or official.
        left_out: The groups that are too small.

    Returns:
        Its source, sizes, agreement, fingerprint and split.
    """
    has_people = annotations.has("annotator")
    train = annotations.frame.iloc[parts.train]
    source = datasets.sources().get(annotations.source)
    return {
        "source": annotations.source,
        "task": annotations.task,
        "classes": list(annotations.classes),
        "n": len(annotations),
        "items": int(annotations.frame["item"].nunique()),
        "annotators": int(annotations.frame["annotator"].nunique()) if has_people else None,
        "agreement": evaluation.annotation_agreement(annotations),
        "dropped": dict(annotations.dropped),
        "repeated": annotations.repeats,
        "groups_left_out": dict(left_out),
        "fingerprint": resolved["made_with"]["data"],
        "warning": source.warning if source else "",
        "truncated_texts": encoder.truncated,
        "text_parts": number_of_parts(annotations.distinct_texts()[0]),
        "about_weights": annotations.about_weights,
        "split": {
            "by": by,
            **{name: len(rows) for name, rows in parts._asdict().items()},
            "train_items": int(train["item"].nunique()),
            "train_annotators": int(train["annotator"].nunique()) if has_people else None,
        },
    }
