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
    tuning.check_destination(study, to)
    with display(quiet) as progress:
        tuned = tuning.tune(
            Study.read(study),
            out=out,
            grid=_grid(grid) if grid else tuning.GRID,
            seeds=seeds,
            data_dir=data_dir,
            progress=progress,
        )
    plots.save(plots.plot_trials(tuned.trials), out / "tradeoff")
    tuning.write_best(study, tuned.best, to)
    for method, values in tuned.best.items():
        settings = ", ".join(f"{key} {value}" for key, value in values.items())
        typer.echo(f"{method}: {settings} (validation NLL {tuned.lowest_nll(method):.4f})")
    typer.echo(f"\nTrials and figure: {out}\nTo run the best: mcstl run {to} --out out")


def _grid(options: list[str]) -> dict[str, list[Any]]:
    """Read KEY=VALUE,VALUE; a value is read as in YAML."""
    from mcstl._support import files

    grid: dict[str, list[Any]] = {}
    for option in options:
        key, equals, values = option.partition("=")
        if not equals or not values:
            raise InputError(f"--grid {option}: write it as in --grid lambda_1=0,paper,10")
        grid[key.strip()] = [files.yaml().load(value) for value in values.split(",")]
    return grid
