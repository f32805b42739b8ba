"""The program: its entry, what all commands share, and how far it is on the terminal."""

import io
import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

import mcstl
from mcstl._support.errors import InputError, Notice
from mcstl._support.progress import Progress, silent
from mcstl._support.words import counted

_INTERRUPTED = 130
#: All commands in the order of work, as ``mcstl --help`` lists them.
COMMANDS = (
    *("demo", "init", "check", "run", "report", "evaluate", "predict", "serve"),
    *("data", "groups", "label", "tune", "reproduce", "cache"),
)


class _InOrderOfWork(TyperGroup):
    def list_commands(self, ctx: Any) -> list[str]:
        return sorted(super().list_commands(ctx), key=COMMANDS.index)


app = typer.Typer(
    cls=_InOrderOfWork,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
DataDir = Annotated[
    Path | None,
    typer.Option(help="Folder with one folder per registered data set.", envvar="MCSTL_DATA"),
]
Columns = Annotated[
    str | None,
    typer.Option(
        help='The table\'s columns, as in a study: "text: comment, label: verdict".  '
        "[default: as in training]"
    ),
]
MinPeople = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Least people of a group that may be asked; 1 allows groups of fewer than five, whose "
        "views may be those of somebody in particular.  [default: 5]",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, only results.")]


def main() -> None:
    """Run the command line; a user's error is one line on standard error and exit code 2."""
    # Threads that wait shall sleep, not spin: on a busy machine spinning costs many times the work.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # Warnings are for developers, except our own.
    warnings.simplefilter("ignore")
    warnings.simplefilter("once", Notice)
    warnings.showwarning = lambda message, *_, **__: print(f"mcstl: {message}", file=sys.stderr)  # noqa: T201
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal may not have every letter
            stream.reconfigure(errors="replace")
    try:
        app()
    except InputError as error:
        _stop(str(error))
    except OSError as error:  # a full disk, a folder that cannot be written
        _stop(f"{error.filename}: {error.strerror}" if error.filename else str(error))
    except SystemExit as stop:
        if stop.code == _INTERRUPTED:  # typer's own, for Ctrl-C
            print("mcstl: stopped; the same command goes on from here", file=sys.stderr)  # noqa: T201
        raise


def _stop(reason: str) -> NoReturn:
    print(f"mcstl: {reason}", file=sys.stderr)  # noqa: T201
    raise SystemExit(2) from None


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mcstl {mcstl.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Learn subjective labels without averaging people away (MC-STL).

    Start with **mcstl demo**, then **mcstl init reviews.csv** on a table of your own.
    """


def terminal_width() -> int | None:
    """Measure how many characters a line of the output may have.

    Returns:
        The terminal's, or what COLUMNS says; None where the output goes to a file or a pipe, whose
        lines are as long as they need be.
    """
    return shutil.get_terminal_size(fallback=(0, 0)).columns or None


def say(text: str, indent: int = 0) -> None:
    """Print lines, on a terminal broken between words.

    Args:
        text: The lines.
        indent: How many spaces the lines that follow a broken one begin with.
    """
    from mcstl._support.text_tables import wrapped

    typer.echo(wrapped(text, terminal_width(), indent))


def print_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "", caption: str = ""
) -> None:
    """Print a table that fits the terminal.

    Args:
        header: The headings.
        rows: A text per column.
        title: What stands above the table.
        caption: What stands below it.
    """
    from mcstl._support.text_tables import terminal_table

    width = terminal_width()
    table = terminal_table(header, rows, width=width, title=title, caption=caption)
    print(table)  # noqa: T201 typer would write letters that the terminal does not have


def print_cut(n_texts: int) -> None:
    """Say how many texts the encoder did not read to their ends, if there are any.

    Args:
        n_texts: How many.
    """
    if n_texts:
        say(f"Longer than the encoder reads, and cut: {counted(n_texts, 'text')}.")


@contextmanager
def display(quiet: bool) -> Iterator[Progress]:
    """Show progress: live bars on a terminal, a plain line now and then elsewhere.

    Args:
        quiet: Whether nothing is shown.

    Yields:
        What work calls with what is being done, how many steps are finished and how many there
        are.
    """
    if quiet:
        yield silent
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bars

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _plain()
        return
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def show(what: str, done: int, total: int) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total, visible=done < total)

        yield show


def _plain() -> Progress:
    """Print a line when something starts and ends, and every ten seconds between."""
    import time

    printed: dict[str, tuple[float, int]] = {}

    def show(what: str, done: int, total: int) -> None:
        now = time.monotonic()
        last_time, last_done = printed.get(what, (-math.inf, -1))
        if done != last_done and (now - last_time > 10 or done == total):
            printed[what] = now, done
            print(f"{what}: {done:,} of {total:,}", file=sys.stderr, flush=True)  # noqa: T201

    return show
