"""Several studies side by side, on one page."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl._support.errors import InputError
from mcstl._support.files import write_text
from mcstl.evaluation.comparison import compare_studies, same_test_rows
from mcstl.evaluation.metrics import score_of
from mcstl.evaluation.summaries import group_names
from mcstl.evaluation.tables import (
    ResultsTable,
    differences_table,
    measured_columns,
    results_columns,
    results_table,
)
from mcstl.reporting import plots
from mcstl.reporting.page import Picture, data_uri, environment, headed
from mcstl.studies.output import Output, read_output


def compare(folders: Sequence[Path | str], out: Path | str) -> Path:
    """Write a page that puts several studies side by side.

    Studies are named as their folders. Methods of the same name are compared by their differences
    from the first study, where both were tested on the same rows; elsewhere the page says why not.

    Args:
        folders: The folders that the studies wrote.
        out: The page to write.

    Returns:
        The path of the page.

    Raises:
        InputError: If a file is missing, unreadable or of another form, or a folder is given twice.
    """
    paths = [Path(folder) for folder in folders]
    names = _names(paths)
    outputs = dict(zip(names, map(read_output, paths), strict=True))
    scores = {name: score_of(each.results["data"]["task"]) for name, each in outputs.items()}
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
                _side_by_side({n: outputs[n] for n in names if scores[n] == score})
                for score in dict.fromkeys(scores.values())
            ],
            differences=[(name, _differences(first, outputs[name])) for name in names[1:]],
        )
    )
    path = Path(out)
    write_text(path, headed(page))
    return path


def _names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that tell all of them apart."""
    resolved = [path.resolve() for path in paths]
    if len(set(resolved)) < len(resolved):
        raise InputError("a folder is given twice; give each study once")
    n_parts = 1
    while len({path.parts[-n_parts:] for path in resolved}) < len(resolved):
        n_parts += 1
    return ["/".join(path.parts[-n_parts:]) for path in resolved]


def _described(name: str, output: Output) -> dict[str, Any]:
    data, study = output.results["data"], output.results["study"]
    encoder = study.get("encoder", "")
    return {
        "name": name,
        "data": data,
        "seeds": len({run["seed"] for run in output.results["runs"]}),
        "n_groups": len(group_names(output.results)),
        "encoder": " + ".join(encoder) if isinstance(encoder, list) else encoder,
    }


def _side_by_side(outputs: Mapping[str, Output]) -> dict[str, Any]:
    """One table and one figure of the studies that have the same score."""
    summaries = {name: output.results["summary"] for name, output in outputs.items()}
    columns = measured_columns(list(summaries.values()))
    tables = {name: results_table(summary, columns) for name, summary in summaries.items()}
    points = [plots.comparison_data(table).assign(study=name) for name, table in tables.items()]
    frame = pd.concat(points, ignore_index=True)
    return {
        "columns": columns,
        "rows": [(name, *row) for name, table in tables.items() for row in table.rows],
        "picture": Picture(
            data_uri(plots.to_svg(plots.plot_comparison(frame))),
            data_uri(plots.to_svg(plots.plot_comparison(frame, columns=1))),
            "The results of all studies as dots with 95% intervals, one panel per measure.",
        ),
    }


def _differences(first: Output, other: Output) -> ResultsTable | None:
    """Per method of both, the other study minus the first; None if their test rows differ."""
    a, b = ((output.results, output.predictions) for output in (first, other))
    if a[1].empty or b[1].empty or not same_test_rows(a, b):
        return None
    columns = results_columns(score_of(first.results["data"]["task"]))
    return differences_table(compare_studies(a, b), columns)
