"""The paper's figures drawn from our predictions, in its arrangement."""

from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from mcstl import evaluation as audit
from mcstl._support.errors import InputError
from mcstl.reporting import plots
from mcstl.reproduce.paper import PrintedFigure
from mcstl.reproduce.runs import Studies
from mcstl.studies.results import Results


def figure(printed: PrintedFigure, studies: Studies, like: bool) -> tuple[Figure | None, list[str]]:
    """Return a figure, None where none of its studies could run, and why those are missing."""
    rows: list[tuple[str, Any]] = []
    missing: list[str] = []
    for row in printed.rows:
        key = row.like if like else row.study
        try:
            found = studies.results(key)
        except InputError as error:
            missing.append(f"{row.title}: {key} was not run. {error}")
            continue
        if printed.over_epochs:
            trace = studies.trace(key)
            data = plots.tradeoff_data(trace[trace["method"] == printed.method])
            rows.append((_title(row.title, key, like), data))
        else:
            calibration = _calibration(found, printed.method, row.groups)
            rows.append((_title(row.title, key, like), calibration))
    if not rows:
        return None, missing
    if printed.over_epochs:
        return plots.plot_course(rows[0][1], rows[0][0]), missing
    return plots.plot_calibration_rows(rows), missing


def _calibration(found: Results, method: str, groups: int | None) -> plots.CalibrationData:
    """The calibration of the first `groups` groups of a study, or of all."""
    names = audit.group_names(found.results)
    data = plots.calibration_data(
        found.predictions, names, found.results["data"]["classes"], method
    )
    points, lines = (
        part[part["group"].isin(list(names[:groups]))] for part in (data.points, data.lines)
    )
    return data._replace(points=points, lines=lines)


def _title(title: str, key: str, like: bool) -> str:
    return f"{title} as {key}" if like else title


def save(name: str, drawn: Figure, out: Path) -> tuple[Path, Path]:
    """Write a figure as PNG and SVG, and return where."""
    plots.save(drawn, out / name)
    return out / f"{name}.png", out / f"{name}.svg"
