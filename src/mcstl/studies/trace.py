"""The metrics of every epoch, noted while a network is trained: for plots, never for choices."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from mcstl import methods
from mcstl._support import files
from mcstl._support.arrays import BoolArray, FloatArray
from mcstl.evaluation import metrics
from mcstl.methods.base import BaseMethodConfig, Part, Prepared
from mcstl.models.examples import Examples
from mcstl.models.networks import BaseNetwork
from mcstl.models.training import OnEpoch, predict

_METRICS = ("nll", "auc", "accuracy", "slope_mean", "bias_mean", "one_minus_emd")


class _Watched(NamedTuple):
    """One part of the data, as the method sees it."""

    part: Part
    examples: Examples
    inside: BoolArray
    minority: FloatArray


def tracer(path: Path, method: BaseMethodConfig, seed: int, prepared: Prepared) -> OnEpoch:
    """Note the metrics of every epoch on validation and test rows in a file.

    Args:
        path: The file, a JSON list of rows of trace.parquet; if it is there, it is continued.
        method: The method that is trained.
        seed: The seed.
        prepared: The seed's data.

    Returns:
        What training calls after each epoch.
    """
    trace = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
    examples = methods.find(method.name).examples(prepared, seed)
    both: tuple[Part, ...] = ("validation", "test")
    watched = []
    for part in both:
        rows = getattr(prepared.parts, part)
        inside, minority = prepared.groups(part), prepared.minority[rows]
        watched.append(_Watched(part, examples.take(rows), inside, minority))

    def note(epoch: int, network: BaseNetwork) -> None:
        # A run that was stopped goes on from its checkpoint, so the last epochs come once more.
        trace[:] = [row for row in trace if row["epoch"] < epoch]
        for part, examples, inside, minority in watched:
            p = predict(network, examples)
            task, names = prepared.annotations.task, prepared.scheme.names
            values = metrics.evaluate(p, examples.y, inside, minority, task, names)["metrics"]
            row: dict[str, Any] = {"method": method.title, "seed": seed, "epoch": epoch}
            row |= {"part": part} | {key: values[key] for key in _METRICS if key in values}
            trace.append(row)
        files.write_text(path, json.dumps(trace))

    return note
