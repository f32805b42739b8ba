"""Print finished studies as Markdown tables: python studies/tables.py OUT [OUT ...].

Each table names its split and seeds; the sd of Group, Slope and Bias is over groups (and
thresholds), the others' over seeds. A second line says by how much mc-stl differs from none, paired
over seeds, with the 95% interval.
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


if __name__ == "__main__":
    print("\n\n".join(markdown(Path(folder)) for folder in sys.argv[1:]))
