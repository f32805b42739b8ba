"""Print finished studies as Markdown tables: python studies/tables.py [HOW] OUT [OUT ...].

Each table names its split and seeds; the sd of Group, Slope and Bias is over groups (and
thresholds), the others' over seeds. Lines below it say by how much the first method differs from
the others, paired over seeds, with the 95% interval; the splits of seeds overlap, so that it is
somewhat too narrow. HOW is --short for one table, a line a study, or --items or --annotators for
the differences of every method from every one after it, with intervals over 300 draws of the test
rows' items or annotators (what other texts or people would have given); values are means over seeds
then.
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
    """Return one study's table, and the paired differences of mc-stl from none."""
    results = read_results(folder)
    runs = results["runs"]
    seeds = len({run["seed"] for run in runs})
    table = evaluation.results_table(results["summary"], runs)
    rows = []
    for method, *texts in table.texts:
        seconds = sum(run["seconds"] for run in runs if run["method"] == method) / seeds
        rows.append([method, *texts, f"{seconds:.0f}"])
    parts = [heading(results), markdown_table([*table.header, "seconds"], rows)]
    first, *others = (method for method, _ in table.rows)
    for other in others:
        gaps = evaluation.paired(runs, first, other)
        differences = [
            difference(column.title, gap)
            for column in table.columns
            if (gap := gaps[column.metric])["low"] is not None
        ]
        parts.append(f"{first} minus {other}: {'; '.join(differences)}.")
    return "\n\n".join(parts)


UNITS: dict[str, evaluation.ClusterBy] = {"--items": "items", "--annotators": "annotators"}
COMPARED = ("auc", "accuracy", "nll", "one_minus_emd", "slope_mean", "slope_sd", "bias_sd")


def resampled(by: evaluation.ClusterBy, folder: Path) -> str:
    """Return one study's values, and its paired differences over items or annotators."""
    results = read_results(folder)
    data, names = results["data"], evaluation.group_names(results)
    predictions = evaluation.predictions_by_method(
        pd.read_parquet(folder / "predictions.parquet"), names, len(data["classes"]), data["task"]
    )
    drawn = evaluation.bootstrap(predictions, by, resamples=300)
    shown = [name for name in COMPARED if all(name in values for values in drawn.values())]
    rows = [
        [method, *(f"{values[name][0]:.3f}" for name in shown)] for method, values in drawn.items()
    ]
    parts = [heading(results), markdown_table(["method", *shown], rows)]
    for a, b in combinations(drawn, 2):
        gaps = evaluation.paired_differences(drawn[a], drawn[b])
        differences = (difference(name, gaps[name]) for name in shown)
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
    elif arguments and arguments[0] in UNITS:
        by = UNITS[arguments[0]]
        print("\n\n".join(resampled(by, Path(folder)) for folder in arguments[1:]))
    else:
        print("\n\n".join(markdown(Path(folder)) for folder in arguments))
