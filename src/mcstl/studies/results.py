"""The outputs of a study: its folder, what is kept of a run in progress, and results.json."""

import hashlib
import json
import os
import platform
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcstl import __version__, datasets
from mcstl import evaluation as audit
from mcstl._support import files
from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl._support.errors import InputError, listed
from mcstl._support.tables import plain_table
from mcstl.data.annotations import Annotations
from mcstl.data.splits import Split, SplitBy
from mcstl.encoding.encoders import Encoder
from mcstl.groups.base import LeftOut
from mcstl.models.model import Model
from mcstl.models.training import TrainingConfig
from mcstl.studies import model_card as card
from mcstl.studies.study_file import Study, with_paths

#: The version of results.json.
SCHEMA = 1


#: Columns that trace.parquet has even where no method has epochs.
TRACE = ["method", "seed", "epoch", "part", "slope_mean", "bias_mean", "one_minus_emd"]


@dataclass(frozen=True)
class Results:
    """What a study found: results.json as `results`, and one row per prediction."""

    results: dict[str, Any]
    predictions: pd.DataFrame
    model: Model | None

    def table(self) -> str:
        """Return the results as a plain table, the way the paper prints them."""
        table = audit.results_table(self.results["summary"], self.results["runs"])
        return plain_table(table.header, table.texts)


@dataclass(frozen=True)
class Work:
    """Finished runs of a study in progress, kept in a folder so that a stopped run can go on."""

    folder: Path | None  # None keeps nothing

    def file(self, method: str, seed: int, ending: str) -> Path | None:
        """Return the path of something about one run."""
        name = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', method)}-{_short_hash(method)}-{seed}.{ending}"
        return self.folder / name if self.folder else None

    def keep(
        self,
        method: str,
        seed: int,
        found: dict[str, Any],
        rows: pd.DataFrame,
    ) -> None:
        """Keep a finished run; the metrics are written last and say that the rest is whole."""
        done, table = self.file(method, seed, "json"), self.file(method, seed, "parquet")
        if done is None or table is None:
            return
        with files.replacing(table) as temporary:
            rows.to_parquet(temporary, index=False)
        files.write_text(done, json.dumps(found))

    def kept(self, method: str, seed: int) -> tuple[dict[str, Any], pd.DataFrame] | None:
        """Return a finished run's metrics and rows, or None."""
        done, rows = self.file(method, seed, "json"), self.file(method, seed, "parquet")
        if done is None or rows is None or not done.exists():
            return None
        return json.loads(done.read_text(encoding="utf-8")), pd.read_parquet(rows)

    def count(self) -> int:
        """Return how many runs are finished."""
        return len(list(self.folder.glob("*.json"))) if self.folder else 0

    def keep_model(self, model: Model) -> None:
        """Keep the model of the first neural run."""
        if self.folder is not None:
            model.save(self.folder / "model")


@contextmanager
def working(folder: Path, resolved: dict[str, Any]) -> Iterator[Work]:
    """Yield the folder of work in progress, for this process alone; it goes when all is done.

    The resolved study.yaml, written first, marks `folder` as this study's. Raises InputError if
    `folder` holds anything else, cannot be written, or if another process is at work in it.
    """
    from filelock import FileLock, Timeout

    claim(folder, resolved)
    work = folder / ".work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / "lock").acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is writing into {folder}; wait for it to end") from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    with lock:
        claim(folder, resolved)  # again: another process may have been quicker
        files.write_yaml(folder / "study.yaml", resolved)
        try:
            yield Work(work)
        except InputError:
            # The study has to be mended, and may then be run into the same folder.
            if not any(work.glob("*.parquet")):
                shutil.rmtree(work, ignore_errors=True)
                (folder / "study.yaml").unlink()
                with suppress(OSError):  # it held something before
                    folder.rmdir()
            raise
        shutil.rmtree(work, ignore_errors=True)


def write(folder: Path, work: Work, annotations: Annotations, results: Results) -> None:
    """Write the contract's files from the finished runs, results.json last."""
    assert work.folder is not None  # noqa: S101 (only a study with a folder is written)
    traces = [path.read_text(encoding="utf-8") for path in sorted(work.folder.glob("*.trace"))]
    epochs = [row for text in traces for row in json.loads(text)]
    trace = pd.DataFrame(epochs, columns=None if epochs else TRACE)
    # A metric that no epoch has is a number nonetheless.
    values = trace.columns.difference(["method", "seed", "epoch", "part"])
    frames = {
        "predictions": results.predictions,
        "items": annotations.items(),
        "trace": trace.astype(dict.fromkeys(values, float)),
    }
    for name, frame in frames.items():
        with files.replacing(folder / f"{name}.parquet") as temporary:
            frame.to_parquet(temporary, index=False)
    if (work.folder / "model").exists():
        shutil.rmtree(folder / "model", ignore_errors=True)
        (work.folder / "model").rename(folder / "model")
        files.write_text(folder / "model" / "README.md", card.of_study(results.results))
    text = json.dumps(results.results, indent=1, ensure_ascii=False)
    files.write_text(folder / "results.json", text)


def read(folder: str | Path) -> Results:
    """Read what a study wrote. Raises InputError if it is not there or not whole."""
    folder = Path(folder)
    try:
        results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        predictions = pd.read_parquet(folder / "predictions.parquet")
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} holds no finished study: {error}") from error
    model = Model.load(folder / "model") if (folder / "model").exists() else None
    return Results(results, predictions, model)


def prediction_rows(
    head: dict[str, Any],
    annotations: Annotations,
    test: IntArray,
    inside: BoolArray,
    names: Sequence[str],
    minority: BoolArray,
    p: FloatArray,
) -> pd.DataFrame:
    """Return the rows of predictions.parquet of one run: the test rows, each with its groups."""
    frame, of_row = annotations.frame.iloc[test], np.array(names, dtype=object)
    columns: dict[str, Any] = {
        **head,
        "row": frame["row"].to_numpy(),
        "item": frame["item"].to_numpy(),
        "annotator": _annotator_codes(annotations)[test],
        "label": annotations.labels[test],
        "groups": [list(of_row[row]) for row in inside],
        "minority": minority,
        "flipped": frame["flipped"].to_numpy(),
    }
    columns |= {f"p_{c}": p[:, c] for c in range(p.shape[1])}
    return pd.DataFrame(columns)


def resolved(study: Study, annotations: Annotations, encoder: Encoder, out: Path) -> dict[str, Any]:
    """The study with every default filled in, and what it was made with."""
    fields = study.model_dump(mode="json", exclude={"made_with"})

    def from_out(path: str) -> str:
        # Resolved, since `out` may be a link, and `..` leads out of where a link points to.
        return os.path.relpath(Path(path).resolve(), out.resolve())

    if study.data.file is not None:
        fields["data"]["file"] = from_out(study.data.file)
    fields["data"] = {key: value for key, value in fields["data"].items() if value}
    fields["task"] = annotations.task
    if study.labels is None:
        del fields["labels"]  # the data's own
    groups = study.scheme(annotations).model_dump(mode="json", exclude_none=True)
    fields["groups"] = with_paths(groups, from_out)
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


def portable(resolved: dict[str, Any]) -> dict[str, Any]:
    """Return a resolved study that may leave the machine: a data file by its name alone."""
    data = dict(resolved["data"])
    if "file" in data:
        data["file"] = Path(data["file"]).name
    return {**resolved, "data": data}


def claim(folder: Path, resolved: dict[str, Any]) -> None:
    """Refuse a folder that holds anything but this study. Raises InputError if it does."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another --out")
    held = folder / "study.yaml"
    if held.exists():
        there = files.read_yaml(held)
        if isinstance(recipe := there.get("training"), dict):
            # One that an older version wrote lacks what had no choice then: the default holds.
            there["training"] = TrainingConfig().model_dump(mode="json") | recipe
        different = [key for key in resolved if key not in ("made_with", "name")]
        different = [key for key in different if there.get(key) != resolved[key]]
        made_with = there.get("made_with")
        for part in ("data", "encoder"):
            if (
                not isinstance(made_with, dict)
                or made_with.get(part) != resolved["made_with"][part]
            ):
                different.append(f"what is in the {part}")
        if different:
            raise InputError(
                f"{folder} already holds another study (different: {listed(different)}); "
                "choose another --out, or remove it"
            )
    # A run that was killed before it wrote study.yaml leaves hidden files at most.
    elif folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no study; choose another --out")


def described(
    annotations: Annotations,
    encoder: Encoder,
    resolved: dict[str, Any],
    parts: Split,
    by: SplitBy,
    left_out: LeftOut,
) -> dict[str, Any]:
    """Return the `data` part of results.json; `left_out` are the groups that are too small."""
    has_people = annotations.has("annotator")
    source = datasets.sources().get(annotations.source)
    return {
        "source": annotations.source,
        "task": annotations.task,
        "classes": list(annotations.classes),
        "n": len(annotations),
        "items": int(annotations.frame["item"].nunique()),
        "annotators": int(annotations.frame["annotator"].nunique()) if has_people else None,
        "agreement": audit.annotation_agreement(annotations),
        "dropped": dict(annotations.dropped),
        "groups_left_out": dict(left_out),
        "fingerprint": resolved["made_with"]["data"],
        "warning": source.warning if source else "",
        "truncated_texts": encoder.truncated,
        "split": {"by": by, **{name: len(rows) for name, rows in parts._asdict().items()}},
    }


def _annotator_codes(annotations: Annotations) -> npt.NDArray[Any]:
    """(n,) codes of this run that do not tell who the annotators are, None where unknown."""
    if not annotations.has("annotator"):
        return np.full(len(annotations), None, dtype=object)
    codes, names = pd.factorize(annotations.frame["annotator"])
    shuffled = np.random.default_rng(len(names)).permutation(len(names))
    return np.array([None if c < 0 else f"a{shuffled[c]}" for c in codes], dtype=object)


def fingerprint(annotations: Annotations) -> str:
    """Return a hash of everything in the annotations: another table has another one."""
    content = annotations.frame.to_csv(index=False)
    classes = "\0".join(annotations.classes)
    return hashlib.sha256(f"{annotations.task}\0{classes}\0{content}".encode()).hexdigest()[:16]


def _short_hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
