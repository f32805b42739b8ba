"""What a study takes over from a finished one that differs in its methods or seeds alone."""

import json
import shutil
from pathlib import Path
from typing import Any

from mcstl._support import files
from mcstl._support.errors import InputError, listed
from mcstl.studies.build_model import method_of_model
from mcstl.studies.results import PREDICTION_COLUMNS, read_results, read_table, read_trace
from mcstl.studies.study_file import Study
from mcstl.studies.work import FREE_TO_DIFFER, FinishedRun, Work, differences


def take_over(folder: Path, study: Study, resolved: dict[str, Any], work: Work) -> None:
    """Take over the runs of a finished study whose method and seed are this study's, too.

    Nothing in `folder` changes. The run whose model a study leaves is taken over with the model,
    and fitted again where the other study left the model of another method.

    Args:
        folder: The outputs of the finished study.
        study: The study that is to be run.
        resolved: The same, resolved as if `folder` were that of its outputs.
        work: Where finished runs are kept.

    Raises:
        InputError: If `folder` holds no finished study, or one that differs in more than methods
            and seeds.
    """
    results = read_results(folder)
    held = results["study"]
    different = [key for key in differences(held, resolved) if key not in FREE_TO_DIFFER]
    different += [
        f"the version of {name}"
        for name in ("mcstl", "torch")
        if held["made_with"].get(name) != resolved["made_with"][name]
    ]
    if held["seeds"][0] != resolved["seeds"][0]:
        different.append("the first seed, which groups are named after")
    if different:
        raise InputError(
            f"--reuse {folder}: its runs are of another study (different: {listed(different)}); "
            "runs can be taken over where nothing but methods and seeds differs"
        )
    titles = {
        method.title
        for method, entry in zip(study.methods, resolved["methods"], strict=True)
        if entry in held["methods"]
    }
    predictions, trace = read_table(folder, "predictions", PREDICTION_COLUMNS), read_trace(folder)
    by_run = dict(iter(predictions.groupby(["method", "seed"], sort=False)))
    of_model = method_of_model(study)
    for run in results["runs"]:
        title, seed = run["method"], run["seed"]
        if title not in titles or seed not in study.seeds:
            continue
        if of_model is not None and (title, seed) == (of_model.title, study.seeds[0]):
            if not _takes_model(folder, work, results.get("use"), title):
                continue
            run = run | {"use": results["use"]}
        epochs = trace[(trace["method"] == title) & (trace["seed"] == seed)]
        if (path := work.file(title, seed, "trace")) is not None and len(epochs):
            rows = [row.dropna().to_dict() for _, row in epochs.iterrows()]
            files.write_text(path, json.dumps(rows))
        work.keep(title, seed, FinishedRun(run, by_run[title, seed].reset_index(drop=True)))


def _takes_model(folder: Path, work: Work, use: dict[str, Any] | None, title: str) -> bool:
    """Copy the model of a finished study, if it is that of the method `title`."""
    model = folder / "model"
    if work.folder is None or use is None or use["method"] != title or not model.exists():
        return False
    shutil.copytree(model, work.folder / "model")
    return True
