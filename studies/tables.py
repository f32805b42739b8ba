"""Print finished studies as Markdown tables: python studies/tables.py [HOW] OUT [OUT ...].

Each table names its split and seeds; in brackets are 95% intervals over items, annotators and
training (docs/uncertainty.md). Lines below it say by how much every method differs from every one
after it. HOW is --short for one table, a line a study.
"""

import json
import sys
from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl import evaluation
from mcstl._support.text_tables import markdown_table
from mcstl.evaluation.metrics import score_of


def heading(results: Mapping[str, Any]) -> str:
    """Return what a table of a study's results.json is of."""
    data, seeds = results["data"], len({run["seed"] for run in results["runs"]})
    return (
        f"**{results['study']['name']}**, {data['split']['by']} split, {seeds} seeds, "
        f"{data['split']['test']:,} test annotations"
    )


def difference(title: str, gap: Mapping[str, float]) -> str:
    """Return a difference and its interval."""
    return f"{title} {gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"


def read_results(folder: Path) -> dict[str, Any]:
    """Return a study's results.json."""
    results: dict[str, Any] = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    return results


def markdown(folder: Path) -> str:
    """Return one study's table, and the differences of every two methods."""
    results = read_results(folder)
    runs, data = results["runs"], results["data"]
    seeds = len({run["seed"] for run in runs})
    table = evaluation.results_table(results["summary"])
    rows = []
    for method, *texts in table.texts:
        seconds = sum(run["seconds"] for run in runs if run["method"] == method) / seeds
        rows.append([method, *texts, f"{seconds:.0f}"])
    parts = [heading(results), markdown_table([*table.header, "seconds"], rows)]
    predictions = evaluation.predictions_by_method(
        pd.read_parquet(folder / "predictions.parquet"),
        evaluation.group_names(results),
        len(data["classes"]),
        data["task"],
    )
    sample = evaluation.Sample.of(predictions, evaluation.split_overlap(data))
    measured = evaluation.uncertainty(predictions, sample)
    for a, b in combinations(measured, 2):
        gaps = evaluation.differences_of(measured[a], measured[b])
        differences = (difference(c.title, gaps[c.metric]) for c in table.columns)
        parts.append(f"{a} minus {b}: {'; '.join(differences)}.")
    return "\n\n".join(parts)


SHORT = ("mc-stl", "none", "gbm")


def short(folders: list[Path]) -> str:
    """Return one table of all studies: three methods' AUC or accuracy, NLL and 1-EMD."""
    rows = []
    for folder in folders:
        results = read_results(folder)
        shown = (score_of(results["data"]["task"]), "nll", "one_minus_emd")
        values = [
            ", ".join(f"{results['summary'][method][metric]['mean']:.3f}" for metric in shown)
            for method in SHORT
        ]
        rows.append([results["study"]["name"], results["data"]["split"]["by"], *values])
    header = ["study", "split", *(f"{method}: AUC, NLL, 1-EMD" for method in SHORT)]
    return markdown_table(header, rows)


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if arguments[:1] == ["--short"]:
        print(short([Path(folder) for folder in arguments[1:]]))
    else:
        print("\n\n".join(markdown(Path(folder)) for folder in arguments))
