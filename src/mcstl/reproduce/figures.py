"""The paper's figures drawn from our predictions, in its arrangement."""

from matplotlib.figure import Figure

from mcstl._support.errors import InputError
from mcstl.evaluation.summaries import group_names
from mcstl.reporting import calibration_plots, plots
from mcstl.reproduce.leaks import leak_note
from mcstl.reproduce.paper import FigureRow, PrintedFigure
from mcstl.reproduce.runs import StudyRuns
from mcstl.studies.output import in_shown_groups


def draw_figure(
    printed: PrintedFigure, studies: StudyRuns, like: bool
) -> tuple[Figure | None, list[str]]:
    """Draw a figure of the paper from the studies behind it.

    Args:
        printed: The figure.
        studies: Runs the studies.
        like: Take open data of the same structure instead of the paper's.

    Returns:
        The figure, None where none of its studies could run, and a sentence for each study: what
        its leak checks say, or why it could not.
    """
    titles, rows, notes = list[str](), list[tuple[FigureRow, str]](), list[str]()
    for row in printed.rows:
        key = row.like if like else row.study
        try:
            studies.results(key)
        except InputError as error:
            notes.append(f"{row.title}: {key} was not run. {error}")
            continue
        notes.append(f"{row.title}: {leak_note(key, studies.results(key).results)}")
        titles.append(f"{row.title} as {key}" if like else row.title)
        rows.append((row, key))
    if not rows:
        return None, notes
    if printed.over_epochs:
        trace = studies.trace(rows[0][1])
        data = plots.tradeoff_data(trace[trace["method"] == printed.method])
        return plots.plot_epochs(data, titles[0]), notes
    panels = [_calibration(studies, key, printed.method, row.groups) for row, key in rows]
    return calibration_plots.plot_calibration_small(list(zip(titles, panels, strict=True))), notes


def _calibration(
    studies: StudyRuns, key: str, method: str, n_groups: int | None
) -> calibration_plots.CalibrationData:
    """The calibration of the first `n_groups` groups of a study, or of all."""
    study = studies.results(key)
    names, classes = group_names(study.results), study.results["data"]["classes"]
    predictions = in_shown_groups(study.predictions, study.results)
    data = calibration_plots.calibration_data(predictions, names, classes, method)
    points, lines = (
        part[part["group"].isin(names[:n_groups])] for part in (data.points, data.lines)
    )
    return data._replace(points=points, lines=lines)
