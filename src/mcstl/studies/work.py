"""The folder of a study in progress: who may work in it, and which runs are finished."""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from mcstl._support import files
from mcstl._support.errors import InputError, listed
from mcstl.models.model import Model
from mcstl.models.training import TrainingConfig

#: What two studies may differ in for one to take over runs of the other.
FREE_TO_DIFFER = ("methods", "seeds", "model")


class FinishedRun(NamedTuple):
    """One method with one seed.

    Attributes:
        metrics: The run as it stands in results.json.
        predictions: Its rows of predictions.parquet.
    """

    metrics: dict[str, Any]
    predictions: pd.DataFrame


@dataclass
class Work:
    """The finished runs of a study in progress, kept so that a stopped study can go on.

    Attributes:
        folder: Where they are kept, None to keep them in memory alone.
        model: The model of the study, once the run that leaves it is finished.
    """

    folder: Path | None
    model: Model | None = None
    _finished: dict[tuple[str, int], FinishedRun] = field(default_factory=dict, repr=False)

    def file(self, method: str, seed: int, ending: str) -> Path | None:
        """Name a file about one run.

        Args:
            method: The title of the method.
            seed: The seed.
            ending: What the file holds, as its ending.

        Returns:
            Its path, None if nothing is kept in a folder.
        """
        digest = blake2b(method.encode(), digest_size=4).hexdigest()
        name = f"{re.sub(r'[^A-Za-z0-9.-]+', '-', method)}-{digest}-{seed}.{ending}"
        return self.folder / name if self.folder else None

    def keep(self, method: str, seed: int, run: FinishedRun) -> None:
        """Keep a finished run; its metrics are written last, and say that it is whole.

        Args:
            method: The title of the method.
            seed: The seed.
            run: What it found.
        """
        self._finished[method, seed] = run
        metrics, table = self.file(method, seed, "json"), self.file(method, seed, "parquet")
        if metrics is not None and table is not None:
            with files.replacing(table) as temporary:
                run.predictions.to_parquet(temporary, index=False)
            files.write_text(metrics, json.dumps(run.metrics))

    def finished(self, method: str, seed: int) -> FinishedRun | None:
        """Look up a finished run.

        Args:
            method: The title of the method.
            seed: The seed.

        Returns:
            What it found, None if it is not finished.
        """
        if (method, seed) in self._finished:
            return self._finished[method, seed]
        metrics, table = self.file(method, seed, "json"), self.file(method, seed, "parquet")
        if metrics is None or table is None or not metrics.exists():
            return None
        run = json.loads(metrics.read_text(encoding="utf-8"))
        self._finished[method, seed] = FinishedRun(run, pd.read_parquet(table))
        return self._finished[method, seed]

    def count(self) -> int:
        """Count the finished runs in the folder.

        Returns:
            How many there are, 0 if nothing is kept in a folder.
        """
        return len(list(self.folder.glob("*.json"))) if self.folder else 0

    def keep_model(self, model: Model) -> None:
        """Keep the model of the study.

        Args:
            model: The model.
        """
        self.model = model
        if self.folder is not None:
            model.save(self.folder / "model")

    def epochs(self) -> list[dict[str, Any]]:
        """Read what the runs noted of their epochs.

        Returns:
            The rows of trace.parquet, empty if nothing is kept in a folder.
        """
        traces = sorted(self.folder.glob("*.trace")) if self.folder else []
        return [row for path in traces for row in json.loads(path.read_text(encoding="utf-8"))]

    def publish_model(self, folder: Path, card: str) -> None:
        """Move the model, if there is one, to where users find it.

        Args:
            folder: The folder of the study's outputs.
            card: The model card, in Markdown.
        """
        if self.folder is not None and (self.folder / "model").exists():
            shutil.rmtree(folder / "model", ignore_errors=True)
            (self.folder / "model").rename(folder / "model")
        if (folder / "model").exists():
            files.write_text(folder / "model" / "README.md", card)


@contextmanager
def working(folder: Path, resolved: dict[str, Any]) -> Iterator[Work]:
    """Hold the folder of a study for this process alone; what is in progress goes at the end.

    The resolved study.yaml, written first, marks `folder` as this study's.

    Args:
        folder: The folder of the study's outputs.
        resolved: The resolved study.

    Yields:
        The finished runs of the study.

    Raises:
        InputError: If `folder` holds anything else, cannot be written, or if another process is
            at work in it.
    """
    from filelock import FileLock, Timeout

    check_folder(folder, resolved)
    work = folder / ".work"
    try:
        work.mkdir(parents=True, exist_ok=True)
        lock = FileLock(work / "lock").acquire(timeout=0)
    except Timeout:
        raise InputError(f"another run is writing into {folder}; wait for it to end") from None
    except OSError as error:
        raise InputError(f"{folder} cannot be written: {error.strerror}") from None
    with lock:
        check_folder(folder, resolved)  # again: another process may have been quicker
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


def check_folder(folder: Path, resolved: dict[str, Any]) -> None:
    """Check that a folder is free, or holds the same study.

    Args:
        folder: The folder of the study's outputs.
        resolved: The resolved study.

    Raises:
        InputError: If it holds anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; choose another --out")
    study_file = folder / "study.yaml"
    if study_file.exists():
        if different := differences(files.read_yaml(study_file), resolved):
            can_reuse = (folder / "results.json").exists() and {*different} <= {*FREE_TO_DIFFER}
            raise InputError(
                f"{folder} already holds another study (different: {listed(different)}); "
                + (
                    f"choose another --out, with --reuse {folder} to run only what is new, "
                    "or remove it"
                    if can_reuse
                    else "choose another --out, or remove it"
                )
            )
    # A run that was killed before it wrote study.yaml leaves hidden files at most.
    elif folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir()):
        raise InputError(f"{folder} is not empty and holds no study; choose another --out")


def differences(held: dict[str, Any], resolved: dict[str, Any]) -> list[str]:
    """Name what makes another study of the one that a folder holds.

    Args:
        held: The resolved study of the folder.
        resolved: The other study, resolved for the same folder.

    Returns:
        The fields that differ, and whether the content of data or encoder does.
    """
    if isinstance(training := held.get("training"), dict):
        # One that an older version wrote lacks what had no choice then: the default holds. What is
        # left open stands in neither.
        fields = TrainingConfig.model_fields
        stated = {key: fields[key].default for key in resolved["training"]}
        held = {**held, "training": stated | training}
    keys = [key for key in dict.fromkeys([*resolved, *held]) if key not in ("made_with", "name")]
    different = [key for key in keys if held.get(key) != resolved.get(key)]
    versions = held.get("made_with")
    versions = versions if isinstance(versions, dict) else {}
    return different + [
        f"what is in the {part}"
        for part in ("data", "encoder")
        if versions.get(part) != resolved["made_with"][part]
    ]
