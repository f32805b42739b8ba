"""Several studies side by side, on one page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl import evaluation as audit
from mcstl._support.errors import InputError
from mcstl._support.files import write_text
from mcstl.evaluation import metrics
from mcstl.reporting import plots
from mcstl.reporting.page import Picture, data_uri, environment
from mcstl.reporting.reading import Output, read_output


def compare(folders: Sequence[Path | str], out: Path | str) -> Path:
    """Write a page that puts the studies in `folders` side by side; return its path.

    Studies are named as their folders. Methods of the same name are compared by paired differences
    from the first study, over the same resampled items, where both were tested on the same rows;
    elsewhere the page says why not.

    Raises InputError as `render` does, and if two folders are the same.
    """
    paths = [Path(folder) for folder in folders]
    names = _names(paths)
    outputs = dict(zip(names, map(read_output, paths), strict=True))
    scores = {name: _score(output) for name, output in outputs.items()}
    first = outputs[names[0]]
    page = (
        environment()
        .get_template("comparison.html.j2")
        .render(
            names=names,
            studies=[_described(name, output) for name, output in outputs.items()],
            problems=[
                f"{name}: {problem}"
                for name, output in outputs.items()
                for problem in output.problems
            ],
            tables=[
                _side_by_side({n: outputs[n] for n in names if scores[n] == score}, score)
                for score in dict.fromkeys(scores.values())
            ],
            columns=metrics.columns(scores[names[0]]),
            differences=[(name, _differences(first, outputs[name])) for name in names[1:]],
        )
    )
    path = Path(out)
    write_text(path, page)
    return path


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell all of them apart."""
    whole = [path.resolve() for path in paths]
    if len(set(whole)) < len(whole):
        raise InputError("a folder is given twice; give each study once")
    parts = 1
    while len({path.parts[-parts:] for path in whole}) < len(whole):
        parts += 1
    return ["/".join(path.parts[-parts:]) for path in whole]


def _score(output: Output) -> str:
    return "accuracy" if output.results["data"]["task"] == "preference" else "auc"


def _described(name: str, output: Output) -> dict[str, Any]:
    data, study = output.results["data"], output.results["study"]
    return {
        "name": name,
        "data": data,
        "seeds": len({run["seed"] for run in output.results["runs"]}),
        "n_groups": len(audit.group_names(output.results)),
        "encoder": study.get("encoder", ""),
    }


def _side_by_side(outputs: dict[str, Output], score: str) -> dict[str, Any]:
    """One table and one figure of the studies that have the same score."""
    rows, points = [], []
    for name, output in outputs.items():
        results = output.results
        table = metrics.table(results["summary"], results["runs"])
        rows += [(name, method, cells) for method, cells in table.rows]
        data = plots.comparison_data(results["summary"], results["runs"])
        points.append(data.assign(study=name))
    frame = pd.concat(points, ignore_index=True)
    return {
        "columns": metrics.columns(score),
        "rows": rows,
        "picture": Picture(
            data_uri(plots.to_svg(plots.plot_comparison(frame))),
            data_uri(plots.to_svg(plots.plot_comparison(frame, columns=1))),
            "The results of all studies as dots with 95% intervals, one panel per measure.",
        ),
    }


def _differences(first: Output, other: Output) -> list[tuple[str, dict[str, Any]]] | None:
    """Per method of both, the other study minus the first; None if their test rows differ."""
    a, b = ((output.results, output.predictions) for output in (first, other))
    if a[1].empty or b[1].empty or not audit.same_rows(a, b):
        return None
    return list(audit.across(a, b).items())
