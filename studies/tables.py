"""Print finished studies as Markdown tables: python studies/tables.py [--short] OUT [OUT ...].

Each table names its split and seeds; the sd of Group, Slope and Bias is over groups (and
thresholds), the others' over seeds. A second line says by how much mc-stl differs from none, paired
over seeds, with the 95% interval. With --short there is one table, a line a study.
"""

import json
import sys
from pathlib import Path

from mcstl import metrics


def markdown(folder: Path) -> str:
    """Return one study's table, and the paired differences of mc-stl from none."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    data, runs = found["data"], found["runs"]
    seeds = len({run["seed"] for run in runs})
    table = metrics.table(found["summary"], runs)
    names = ["method", *(column.title for column in table.columns), "seconds"]
    seconds = {
        method: sum(run["seconds"] for run in runs if run["method"] == method) / seeds
        for method, _ in table.rows
    }
    lines = [
        f"**{found['study']['name']}**, {data['split']['by']} split, {seeds} seeds, "
        f"{data['split']['test']:,} test annotations",
        "",
        f"| {' | '.join(names)} |",
        f"|{' --- |' * len(names)}",
        *(
            f"| {method} | {' | '.join(cell.text for cell in cells)} | {seconds[method]:.0f} |"
            for method, cells in table.rows
        ),
    ]
    differences = metrics.paired(runs, "mc-stl", "none")
    shown = [
        f"{column.title} {each['mean']:+.3f} [{each['low']:+.3f}, {each['high']:+.3f}]"
        for column in table.columns
        if (each := differences[column.metric])["low"] is not None
    ]
    return "\n".join([*lines, "", f"mc-stl minus none: {'; '.join(shown)}."])


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
    else:
        print("\n\n".join(markdown(Path(folder)) for folder in asked))
