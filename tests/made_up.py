"""A made-up output folder of `mcstl run`, written from seeded random numbers without training."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from mcstl import evaluation
from mcstl._support.arrays import FloatArray
from mcstl.data.labels import Task
from mcstl.evaluation import metrics

GROUPS = ("gender=Woman", "gender=Man", "age=18-29", "age=30-49", "age=50 and over", "race=Asian")
#: How each method turns the true scores without and with the group's part into its own.
METHODS = {"mc-stl": (1.0, 1.0), "none": (1.0, 0.0), "majority": (2.2, 0.0), "gbm": (1.1, 0.8)}
EPOCHS = 12


def make_output(
    folder: Path,
    *,
    task: Task = "ordinal",
    groups: Sequence[str] = GROUPS,
    methods: Sequence[str] = tuple(METHODS),
    seeds: Sequence[int] = (0, 1, 2),
    n_items: int = 80,
    per_item: int = 12,
    classes: Sequence[str] = ("benign", "mild", "offensive"),
    name: str = "made-up comments",
    texts: Sequence[str] | None = None,
    with_trace: bool = True,
    with_audit: bool = False,
) -> Path:
    """Write what `mcstl run` writes the report and figures excepted.

    Without audit it is what versions before it wrote.
    """
    random = np.random.default_rng(7)
    classes = tuple(classes) if task == "ordinal" else ("no", "yes")
    n = n_items * per_item
    item = np.repeat(np.arange(n_items), per_item)
    members = random.random((n, len(groups))) < min(0.5, 3 / len(groups))
    text_part = random.normal(0, 1.3, n_items)[item]
    # Groups read the texts differently, so that what they disagree on depends on the text.
    tilt = random.normal(0, 0.9, (n_items, len(groups)))
    group_part = (members * tilt[item]).sum(axis=1)
    flipped = (random.random(n) < 0.5) & (task == "preference")
    truth = _probabilities(text_part + group_part, len(classes))
    labels = (random.random((n, 1)) > np.cumsum(truth, axis=1)[:, :-1]).sum(axis=1)
    votes = np.zeros((n_items, len(classes)), dtype=int)
    np.add.at(votes, (item, labels), 1)
    top = votes == votes.max(axis=1, keepdims=True)
    minority = (top.sum(axis=1) == 1)[item] & ~top[item, labels]
    annotator = random.integers(40, size=n)
    names = np.array(groups, dtype=object)

    runs, tables, trace = [], [], []
    for method in methods:
        for seed in seeds:
            chooser = np.random.default_rng([7, seed])
            test = np.sort(chooser.permutation(n)[: n // 3])
            sharp, share = METHODS.get(method, (1.0, 0.9))
            scores = (
                sharp * (text_part + share * group_part) + chooser.normal(0, 0.1, n_items)[item]
            )
            p = _probabilities(scores, len(classes))
            shown = flipped[:, None] & np.ones(len(classes), dtype=bool)
            p = np.where(shown, p[:, ::-1], p)[test]
            shown_labels = np.where(flipped, 1 - labels, labels)[test]
            result = metrics.evaluate(
                p, shown_labels, members[test], minority[test], task, list(groups)
            )
            base = {"method": method, "seed": seed, "split": "annotation"}
            runs.append(base | result | {"seconds": 12.5})
            tables.append(
                pd.DataFrame(
                    base
                    | {
                        "row": test,
                        "item": [f"item-{i}" for i in item[test]],
                        "annotator": [f"a{i}" for i in annotator[test]],
                        "label": shown_labels,
                        "groups": [list(names[inside]) for inside in members[test]],
                        "minority": minority[test],
                        "flipped": flipped[test],
                    }
                    | {f"p_{c}": p[:, c] for c in range(len(classes))}
                )
            )
            if with_trace and method != "gbm":
                trace += _trace(method, seed, result["metrics"])

    folder.mkdir(parents=True, exist_ok=True)
    predictions = pd.concat(tables, ignore_index=True)
    predictions.to_parquet(folder / "predictions.parquet")
    if texts is None:
        texts = [f"A harmless sentence about garden number {i}." for i in range(n_items)]
    columns = ("text_a", "text_b") if task == "preference" else ("text",)
    items = {"item": [f"item-{i}" for i in range(n_items)]}
    items |= {column: [texts[i % len(texts)] for i in range(n_items)] for column in columns}
    pd.DataFrame(items).to_parquet(folder / "items.parquet")
    pd.DataFrame(trace, columns=_trace_columns(task)).to_parquet(folder / "trace.parquet")
    (folder / "study.yaml").write_text(
        f"name: {json.dumps(name)}\ndata: {{dataset: simulated}}\ntask: {task}\n"
        "encoder: all-MiniLM-L6-v2\nversions: {mcstl: 0.1.0}\n"
    )
    data = {
        "source": "simulated",
        "task": task,
        "classes": list(classes),
        "n": n,
        "items": n_items,
        "annotators": 40,
        "dropped": {"label missing or outside `labels`": 3},
        "groups_left_out": {"race=Other": "12 training annotations, min_size is 100"},
        "fingerprint": "9d1f7c2a40b3e6f8",
        "warning": "",
        "truncated_texts": 2,
        "split": {"by": "annotation", "train": n - n // 3, "validation": 0, "test": n // 3},
    }
    results: dict[str, Any] = {
        "schema": 1,
        "study": {
            "name": name,
            "encoder": "all-MiniLM-L6-v2",
            "made_with": {"mcstl": "0.1.0", "encoder": "0a1b2c", "data": "9d1f7c2a40b3e6f8"},
            "methods": [{"name": method} for method in methods],
            "seeds": list(seeds),
        },
        "data": data,
        "groups": [_group(k, name, members, annotator) for k, name in enumerate(groups)],
        "runs": runs,
        "summary": evaluation.summarise(runs),
    }
    if with_audit:
        results["data"] = data | {"agreement": {"alpha": 0.31, "entropy": 0.62}}
        results |= evaluation.audit_study(results, predictions, draws=200)
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def _probabilities(scores: FloatArray, n_classes: int) -> FloatArray:
    """Cumulative logits around the score: probabilities of ordered classes."""
    cuts = np.linspace(-0.8, 0.8, n_classes - 1) if n_classes > 2 else np.zeros(1)
    above = 1 / (1 + np.exp(cuts - scores[:, None]))
    edges = np.hstack([np.ones((len(scores), 1)), above, np.zeros((len(scores), 1))])
    p: FloatArray = edges[:, :-1] - edges[:, 1:]
    return p


def _group(
    k: int, name: str, members: npt.NDArray[np.bool_], annotator: npt.NDArray[np.int64]
) -> dict[str, Any]:
    size = int(members[:, k].sum())
    return {
        "name": name,
        "size": size,
        "annotators": len(set(annotator[members[:, k]])),
        "description": f"annotations of people with {name}",
        "warning": "made up" if k == 2 else "",
    }


def _trace_columns(task: Task) -> list[str]:
    score = "accuracy" if task == "preference" else "auc"
    columns = ["method", "seed", "epoch", "part", "nll", score]
    return [*columns, "slope_mean", "bias_mean", "one_minus_emd"]


def _trace(method: str, seed: int, final: dict[str, Any]) -> list[dict[str, Any]]:
    rows = []
    for epoch in range(1, EPOCHS + seed + 1):
        left = np.exp(-epoch / 3)
        for part in ("validation", "test"):
            row = {"method": method, "seed": seed, "epoch": epoch, "part": part}
            for key in ("nll", "auc", "accuracy", "slope_mean", "bias_mean", "one_minus_emd"):
                if final.get(key) is not None:
                    row[key] = final[key] * (1 - left) + 0.2 * left * (1 + seed / 5)
            rows.append(row)
    return rows
