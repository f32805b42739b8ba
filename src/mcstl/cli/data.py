"""The commands around data sets: which there are, and how to get one."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mcstl._support.words import counted
from mcstl.cli.app import DataDir, Quiet, app, display

if TYPE_CHECKING:
    import pandas as pd

    from mcstl.datasets import Source

data_app = typer.Typer(
    help="Data sets: list those that mcstl knows, get one, import an annotation tool's export.",
    no_args_is_help=True,
    epilog="Example:  mcstl data list",
)
app.add_typer(data_app, name="data")


@data_app.command("list", epilog="Example:  mcstl data list --data-dir data")
def list_(data_dir: DataDir = None) -> None:
    """Say what each data set is: size, task, groups, licence, content warning; is it here."""
    from mcstl import datasets

    for source in datasets.sources().values():
        typer.echo("\n".join(_described(source, data_dir)) + "\n")


@data_app.command(epilog="Example:  mcstl data get popquorn --data-dir data")
def get(
    name: Annotated[str, typer.Argument(help="A data set, as `mcstl data list` names it.")],
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Download a data set from its source, or say how to get it where that takes consent.

    A download that broke off goes on where it was when the same command is given again.
    """
    from mcstl import datasets
    from mcstl.datasets import download

    if source := datasets.sources().get(name):
        typer.echo(f"{source.title}\nLicence: {source.licence}\nContent warning: {source.warning}")
    with display(quiet) as progress:
        paths = download.get(name, data_dir, progress)
    for path in paths:
        typer.echo(str(path))


@data_app.command(
    "import",
    epilog="Example:  mcstl data import export.json --tool label-studio --label mood "
    "--rationale why --out annotations.csv",
)
def import_(
    export: Annotated[Path, typer.Argument(help="The tool's export, JSON or JSON Lines.")],
    tool: Annotated[Literal["label-studio", "argilla", "potato"], typer.Option()],
    label: Annotated[str, typer.Option(help="The question that is the label.")],
    out: Annotated[Path, typer.Option(help="CSV, TSV, JSON Lines or Parquet to write.")],
    text: Annotated[
        list[str] | None,
        typer.Option(help="The field shown; give it twice for a pair.  [default: text]"),
    ] = None,
    rationale: Annotated[str | None, typer.Option(help="The question that is the reason.")] = None,
    values: Annotated[str | None, typer.Option(help="The question that is the values.")] = None,
    items: Annotated[
        Path | None, typer.Option(help="The data file that was shown (potato).")
    ] = None,
) -> None:
    """Make an annotation tool's export a table: a row per person and item (docs/importers.md)."""
    from mcstl._support.errors import InputError
    from mcstl.data import exports, importers

    if text and len(text) > 2:
        raise InputError(f"--text: one field, or two for a pair; got {len(text)}")
    read: Callable[..., pd.DataFrame]
    if tool != "potato":
        read = importers.label_studio if tool == "label-studio" else importers.argilla
    elif items is not None:
        read = partial(importers.potato, items=items)
    else:
        raise InputError("potato's export does not hold the texts; give its data file: --items")
    shown = text or ["text"]
    fields = shown[0] if len(shown) == 1 else (shown[0], shown[1])
    table = read(export, label=label, text=fields, rationale=rationale, values=values)
    exports.write_table(table, out)
    people = table["annotator"].nunique()
    typer.echo(
        f"{counted(len(table), 'annotation')} by {counted(people, 'person', 'people')}: {out}"
    )
    for what, count in table.attrs["left_out"].items():
        typer.echo(f"Left out: {count:,} {what}.")
    typer.echo(f"Next: mcstl init {out}")


def _described(source: "Source", data_dir: Path | None) -> Iterator[str]:
    from mcstl import datasets

    yield f"{source.name}: {source.title}"
    stated = [f"about {n:,} {what}" for what, n in source.about.items()]
    stated += [f"{n:,} {what}" for what, n in source.counts.items()]
    yield f"  size      {', '.join(stated)}"
    forms = [f"{task} ({' < '.join(labels)})" for task, labels in source.tasks.items()]
    yield f"  task      {', or '.join(forms)}"
    default = ", ".join(f"{key}: {_shown(value)}" for key, value in source.groups.items())
    yield f"  groups    {{{default}}}" + (f"; also {source.choices}" if source.choices else "")
    yield f"  licence   {source.licence}"
    if source.warning:
        yield f"  warning   {source.warning}"
    yield f"  source    {source.homepage}"
    if source.gated:
        yield f"  to get it {source.gated}"
    if source.files and data_dir is not None:
        missing = datasets.missing_files(source, datasets.data_folder(source, data_dir))
        yield f"  here      {'no: mcstl data get ' + source.name if missing else 'yes'}"


def _shown(value: object) -> str:
    return f"[{', '.join(map(str, value))}]" if isinstance(value, list) else str(value)
