"""The paper again: its tables and figures from studies of ours, beside what it prints.

`paper.yaml` has what the paper prints and the study behind every row, `runs` runs each study once,
`tables` and `figures` show what came out. `lewidi` enters the field's shared task.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from mcstl._support import files
from mcstl._support.errors import InputError, listed
from mcstl.reporting import plots
from mcstl.reproduce import figures, tables
from mcstl.reproduce.diagrams import DIAGRAMS
from mcstl.reproduce.lewidi import editions, enter
from mcstl.reproduce.paper import paper
from mcstl.reproduce.runs import StudyRuns

__all__ = ["Reproduction", "StudyRuns", "paper", "reproduce", "reproduce_one"]


class Reproduction(NamedTuple):
    """A table or figure of the paper, made again; or a data set of LeWiDi.

    Attributes:
        name: The table or figure, as ``table1``, or the data set.
        text: What is to be read: the table, or the figure's title, with the leak checks of the
            studies and what is missing.
        files: The files that were written.
    """

    name: str
    text: str
    files: tuple[Path, ...]


def reproduce(
    name: str, studies: StudyRuns, like: bool = False, dataset: str | None = None
) -> Iterator[Reproduction]:
    """Run what is behind a table or figure of the paper, and make it again; or enter LeWiDi.

    A study that several need is run once, in a folder of its own below `out`, and is not run again
    by the next command. What cannot be run, for lack of data or of a method, is named in its place,
    and the rest goes on. IRPM, a transformer trained for each seed, is left out of ``all`` unless
    the studies say which.

    Args:
        name: The table or figure, as ``table1``, or ``all``; or an edition, as ``lewidi2025``,
            whose splits are the organisers' and whose seed is 0 (`mcstl.reproduce.lewidi`).
        studies: Runs the studies behind it; an edition takes its folders.
        like: Take open data of the same structure instead of the paper's.
        dataset: The one data set of an edition, None for all.

    Yields:
        Each table and figure, or data set, as soon as it is done.

    Raises:
        InputError: If the name is unknown, and at the end if nothing at all could be run.
    """
    if name in editions():
        has_run = False
        folder = studies.out / name
        for entered in enter(editions()[name], dataset, folder, studies.data_dir, studies.progress):
            has_run |= entered.has_run
            yield Reproduction(entered.name, entered.text, entered.files)
        if not has_run:
            raise InputError(f"none of the data sets of {name} is here; what each needs is above")
        return
    if dataset is not None:
        raise InputError(f"--dataset names a data set of {listed(editions())}; {name} has none")
    if name == "all" and studies.irpm is None:
        studies = replace(studies, irpm="none")
    for each in studies.paper.chosen(name, DIAGRAMS):
        yield reproduce_one(each, studies, like)
    if not studies.any_succeeded:
        raise InputError(
            f"none of the studies behind {name} could be run; what each needs is above"
        )


def reproduce_one(name: str, studies: StudyRuns, like: bool) -> Reproduction:
    """Make one table or figure of the paper again, and write it below the studies' folder.

    Args:
        name: The table or figure, as ``table1``.
        studies: Runs the studies behind it.
        like: Take open data of the same structure instead of the paper's.

    Returns:
        The table or figure.
    """
    printed, out = studies.paper, studies.out
    if name in DIAGRAMS:
        title, draw = DIAGRAMS[name]
        plots.save(draw(), out / name)
        return Reproduction(name, f"Figure {name[-1]}: {title}", _pictures(out / name))
    if name in printed.figures:
        figure, notes = figures.draw_figure(printed.figures[name], studies, like)
        title = f"Figure {name[-1]}: {printed.figures[name].title}"
        written: tuple[Path, ...] = ()
        if figure is not None:
            plots.save(figure, out / name)
            written = _pictures(out / name)
        return Reproduction(name, "\n\n".join([title, *notes]), written)
    if name in printed.tables:
        text = tables.metrics_table(name, printed.tables[name], studies, like)
    else:
        text = tables.group_summaries(name, printed.summaries[name], studies, like)
    path = out / f"{name}.md"
    files.write_text(path, f"{text}\n")
    return Reproduction(name, text, (path,))


def _pictures(stem: Path) -> tuple[Path, ...]:
    """The files that `plots.save` writes."""
    return stem.with_name(f"{stem.name}.png"), stem.with_name(f"{stem.name}.svg")
