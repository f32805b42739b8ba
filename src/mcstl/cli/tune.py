"""The command tune: a grid of hyperparameters, judged on validation rows."""

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from mcstl._support.errors import InputError
from mcstl._support.words import counted
from mcstl.cli.app import DataDir, Quiet, app, display, print_table


class _SeveralEncoders(TyperCommand):
    """A command whose option --encoders takes all the words that follow it."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if "--encoders" in args:
            start = args.index("--encoders") + 1
            ends = (i for i in range(start, len(args)) if args[i].startswith("-"))
            end = next(ends, len(args))
            named = [word for name in args[start + 1 : end] for word in ("--encoders", name)]
            args = [*args[: start + 1], *named, *args[end:]]
        return super().parse_args(ctx, args)


@app.command(
    cls=_SeveralEncoders,
    epilog="Examples:  mcstl tune study.yaml --grid lambda_1=0,paper,10 --grid dropout=0.5  or  "
    "mcstl tune study.yaml --encoders all-MiniLM-L6-v2 my-encoder",
)
def tune(
    study: Annotated[Path, typer.Argument(help="A study file.")],
    grid: Annotated[
        list[str] | None,
        typer.Option(help="KEY=VALUE,VALUE of `training`, repeated; otherwise a grid of 36."),
    ] = None,
    encoders: Annotated[
        list[str] | None,
        typer.Option(
            help="Compare encoders instead: names or folders, the first with the others, and what "
            "each costs per text."
        ),
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
    """Try settings of the training, or encoders, for every method, on validation rows alone.

    The settings are a grid of lambda_1, lambda_2 and the recipe unless --grid names them. The best
    of each method goes into a study file that `mcstl run` takes; STUDY stays as it is. A
    search that was stopped goes on where it was when the same command is given again.
    """
    if encoders:
        if grid or out or to:
            raise InputError("--encoders writes nothing; leave out --grid, --out and --to")
        _compare_encoders(study, encoders, seeds, data_dir, quiet)
        return
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


def _compare_encoders(
    study: Path, encoders: list[str], seeds: int, data_dir: Path | None, quiet: bool
) -> None:
    from mcstl.studies.encoder_choice import compare_encoders, encoder_table
    from mcstl.studies.study_file import Study

    with display(quiet) as progress:
        trials = compare_encoders(
            Study.read(study), encoders, seeds=seeds, data_dir=data_dir, progress=progress
        )
    header, rows = encoder_table(trials)
    print_table(
        header,
        rows,
        title=f"Validation rows, mean over {counted(len(trials[0].nll), 'seed')}",
        caption=f"Gain: how much lower the NLL is than with {encoders[0]} (least to most of any "
        "seed). Milliseconds per text are those of this machine, as busy as it is. To use one: "
        "encoder: NAME in the study.",
    )


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
