"""Finished studies with intervals over annotators: python studies/annotators.py OUT [OUT ...].

Prints each method's means over seeds, and the paired differences of every method from every one
after it, over 300 draws of the test rows' annotators (what other people would have given), with 95%
intervals. results.json has those over items.
"""

import json
import sys
from itertools import combinations
from pathlib import Path

import pandas as pd

from mcstl import audit
from mcstl.audit.findings import paired_differences

METRICS = ("auc", "nll", "one_minus_emd", "slope_mean", "slope_sd", "bias_sd")


def markdown(folder: Path) -> str:
    """Return one study's table and differences."""
    found = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    data, names = found["data"], audit.group_names(found)
    predictions = pd.read_parquet(folder / "predictions.parquet")
    rows = audit.rows_of(predictions, names, len(data["classes"]), data["task"])
    drawn = audit.bootstrap(rows, "annotators", resamples=300)
    seeds = len({run["seed"] for run in found["runs"]})
    lines = [
        f"**{found['study']['name']}**, {data['split']['by']} split, {seeds} seeds, "
        f"{data['split']['test']:,} test annotations",
        "",
        f"| method | {' | '.join(METRICS)} |",
        "|" + " --- |" * (1 + len(METRICS)),
    ]
    for method, values in drawn.items():
        lines.append(f"| {method} | {' | '.join(f'{values[m][0]:.3f}' for m in METRICS)} |")
    for a, b in combinations(drawn, 2):
        gaps = paired_differences(drawn[a], drawn[b])
        told = (
            f"{m} {g['mean']:+.3f} [{g['low']:+.3f}, {g['high']:+.3f}]"
            for m, g in gaps.items()
            if m in METRICS
        )
        lines += ["", f"{a} minus {b}: {'; '.join(told)}."]
    return "\n".join(lines)


if __name__ == "__main__":
    if not (asked := sys.argv[1:]):
        sys.exit(__doc__)
    print("\n\n".join(markdown(Path(folder)) for folder in asked))
