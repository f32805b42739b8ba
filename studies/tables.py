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

from mcstl import evaluation as audit
from mcstl.evaluation import metrics
from mcstl.evaluation.findings import paired_differences


def heading(found: Mapping[str, Any]) -> str:
    """Return what a table of a study's results.json is of."""
    data, seeds = found["data"], len({run["seed"] for run in found["runs"]})
    return (
        f"**{found['study']['name']}**, {data['split']['by']} split, {seeds} seeds, "
        f"{data['split']['test']:,} test annotations"
    )


def differs(title: str, gap: Mapping[str, float]) -> str:
    """Return a difference and its interval."""
    return f"{title} {gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]"


def markdown(folder: Path) -> str:
    """Return one study's table, and the paired differences of mc-stl from none."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    runs = found["runs"]
    seeds = len({run["seed"] for run in runs})
    table = metrics.table(found["summary"], runs)
    names = ["method", *(column.title for column in table.columns), "seconds"]
    seconds = {
        method: sum(run["seconds"] for run in runs if run["method"] == method) / seeds
        for method, _ in table.rows
    }
    lines = [
        heading(found),
        "",
        f"| {' | '.join(names)} |",
        f"|{' --- |' * len(names)}",
        *(
            f"| {method} | {' | '.join(cell.text for cell in cells)} | {seconds[method]:.0f} |"
            for method, cells in table.rows
        ),
    ]
    first, *others = (method for method, _ in table.rows)
    for other in others:
        gaps = metrics.paired(runs, first, other)
        told = [
            differs(column.title, gap)
            for column in table.columns
            if (gap := gaps[column.metric])["low"] is not None
        ]
        lines += ["", f"{first} minus {other}: {'; '.join(told)}."]
    return "\n".join(lines)


UNITS: dict[str, audit.By] = {"--items": "items", "--annotators": "annotators"}
COMPARED = ("auc", "accuracy", "nll", "one_minus_emd", "slope_mean", "slope_sd", "bias_sd")


def over(by: audit.By, folder: Path) -> str:
    """Return one study's values, and its paired differences over items or annotators."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    data, names = found["data"], audit.group_names(found)
    predictions = pd.read_parquet(folder / "predictions.parquet")
    rows = audit.rows_of(predictions, names, len(data["classes"]), data["task"])
    drawn = audit.bootstrap(rows, by, resamples=300)
    shown = [name for name in COMPARED if all(name in values for values in drawn.values())]
    lines = [
        heading(found),
        "",
        f"| method | {' | '.join(shown)} |",
        "|" + " --- |" * (1 + len(shown)),
    ]
    for method, values in drawn.items():
        cells = (f"{values[name][0]:.3f}" for name in shown)
        lines.append(f"| {method} | {' | '.join(cells)} |")
    for a, b in combinations(drawn, 2):
        gaps = paired_differences(drawn[a], drawn[b])
        told = (differs(name, gaps[name]) for name in shown)
        lines += ["", f"{a} minus {b}: {'; '.join(told)}."]
    return "\n".join(lines)


SHORT = ("mc-stl", "none", "gbm")


def short(folders: list[Path]) -> str:
    """Return one table of all studies: three methods' AUC or accuracy, NLL and 1-EMD."""
    lines = [
        f"| study | split | {' | '.join(f'{method}: AUC, NLL, 1-EMD' for method in SHORT)} |",
        "|" + " --- |" * (2 + len(SHORT)),
    ]
    for folder in folders:
        found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
        first = "accuracy" if found["data"]["task"] == "preference" else "auc"
        cells = [
            ", ".join(
                f"{found['summary'][method][metric]['mean']:.3f}"
                for metric in (first, "nll", "one_minus_emd")
            )
            for method in SHORT
        ]
        by = found["data"]["split"]["by"]
        lines.append(f"| {found['study']['name']} | {by} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    asked = sys.argv[1:]
    if asked[:1] == ["--short"]:
        print(short([Path(folder) for folder in asked[1:]]))
    elif asked and asked[0] in UNITS:
        print("\n\n".join(over(UNITS[asked[0]], Path(folder)) for folder in asked[1:]))
    else:
        print("\n\n".join(markdown(Path(folder)) for folder in asked))
