"""The paper again: its tables and figures from studies of ours, beside what it prints.

`paper.yaml` has what the paper prints and the study behind every row, `runs` runs each study once,
`tables` and `figures` show what came out.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from mcstl._support import files
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.reproduce import figures, tables
from mcstl.reproduce.paper import paper
from mcstl.reproduce.runs import Studies

__all__ = ["Outcome", "Studies", "paper", "reproduce", "show"]


class Outcome(NamedTuple):
    """A table or figure again: what to read, and the files that were written."""

    name: str
    text: str
    files: tuple[Path, ...]


def reproduce(
    name: str,
    out: str | Path,
    *,
    data_dir: str | Path | None = None,
    like: bool = False,
    seeds: int = 5,
    jobs: int = 1,
    progress: Progress = silent,
) -> Iterator[Outcome]:
    """Run what is behind a table or figure of the paper (or ``all``), and yield each one done.

    A study that several need is run once, in a folder of its own below `out`, and is not run again
    by the next command. `like` takes open data of the same structure. What cannot be run, for lack
    of data or of a method, is told in its place, and the rest goes on.

    Raises InputError for an unknown name, and at the end if nothing at all could be run.
    """
    studies = Studies(paper(), Path(out), data_dir, seeds, jobs, progress)
    for each in studies.paper.chosen(name):
        yield show(each, studies, like)
    if not studies.any_ran:
        raise InputError(
            f"none of the studies behind {name} could be run; what each needs is above"
        )


def show(name: str, studies: Studies, like: bool) -> Outcome:
    """Show one table or figure of the paper of `studies`, and write it below their `out`."""
    printed, out = studies.paper, studies.out
    if name in printed.figures:
        drawn, missing = figures.figure(printed.figures[name], studies, like)
        title = f"Figure {name[-1]}: {printed.figures[name].title}"
        written = figures.save(name, drawn, out) if drawn else ()
        return Outcome(name, "\n\n".join([title, *missing]), written)
    if name in printed.tables:
        text = tables.figures(name, printed.tables[name], studies, like)
    else:
        text = tables.summaries(name, printed.summaries[name], studies, like)
    path = out / f"{name}.md"
    files.write_text(path, f"{text}\n")
    return Outcome(name, text, (path,))
