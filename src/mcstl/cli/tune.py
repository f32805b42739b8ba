"""The command tune: a grid of hyperparameters, judged on validation rows."""

from pathlib import Path
from typing import Annotated, Any

import typer

from mcstl._support.errors import InputError
from mcstl.cli.app import DataDir, Quiet, app, display


@app.command(epilog="Example:  mcstl tune study.yaml --grid lambda_1=0,paper,10 --grid dropout=0.5")
def tune(
    study: Annotated[Path, typer.Argument(help="A study file.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE,VALUE of `training`, repeated; otherwise a grid of 36."),
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="How many of the study's seeds to use.")] = 3,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the trials.  [default: beside STUDY, -tuning]")
    ] = None,
    to: Annotated[
        Path | None, typer.Option(help="The study to write.  [default: beside STUDY, -tuned.yaml]")
    ] = None,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Try a grid of lambda_1, lambda_2 and the recipe for every method, on validation rows alone.

    The best of each method goes into a study file that `mcstl run` takes; STUDY stays as it is. A
    search that was stopped goes on where it was when the same command is given again.
    """
    from mcstl.reporting import plots
    from mcstl.studies import tuning
    from mcstl.studies.study_file import Study

    out = out or study.with_name(f"{study.stem}-tuning")
    to = to or study.with_name(f"{study.stem}-tuned.yaml")
    if to.resolve().parent != study.resolve().parent:
        raise InputError(f"--to {to} is not beside {study}, where its data file would be found")
    if to.exists():
        raise InputError(f"{to} is there already; remove it, or name another with --to")
    asked = _grid(grid) if grid else tuning.GRID
    with display(quiet) as progress:
        found = tuning.tune(
            Study.read(study), out=out, grid=asked, seeds=seeds, data_dir=data_dir,
            progress=progress,
        )  # fmt: skip
    plots.save(plots.plot_trials(found.trials), out / "tradeoff")
    tuning.write_best(study, found.best, to)
    for method, values in found.best.items():
        least = found.trials.loc[found.trials["method"] == method, "nll"].min()
        told = ", ".join(f"{key} {value}" for key, value in values.items())
        typer.echo(f"{method}: {told} (validation NLL {least:.4f})")
    typer.echo(f"\nTrials and figure: {out}\nTo run the best: mcstl run {to} --out out")


def _grid(given: list[str]) -> dict[str, list[Any]]:
    """Read KEY=VALUE,VALUE; a value is read as in YAML."""
    from mcstl._support import files

    grid: dict[str, list[Any]] = {}
    for each in given:
        key, equals, values = each.partition("=")
        if not equals or not values:
            raise InputError(f"--grid {each}: write it as in --grid lambda_1=0,paper,10")
        grid[key.strip()] = [files.yaml().load(value) for value in values.split(",")]
    return grid
