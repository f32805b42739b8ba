"""The command that runs the paper again."""

from pathlib import Path
from typing import Annotated

import typer

from mcstl.cli.app import DataDir, Quiet, app, display


@app.command(epilog="Example:  mcstl reproduce table3 --like --data-dir data --out again --seeds 3")
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="table1 to table8, figure3, 5, 6, 7 or 8, or all; or lewidi2025, lewidi2023."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("reproduced"),
    data_dir: DataDir = None,
    like: Annotated[
        bool, typer.Option("--like", help="Open data of the same structure, not the paper's.")
    ] = False,
    seeds: Annotated[int, typer.Option(min=1, help="How many seeds each study has.")] = 5,
    jobs: Annotated[int, typer.Option(min=1, help="Seeds that run at once.")] = 1,
    dataset: Annotated[
        str | None, typer.Option(help="One data set of LeWiDi, as Paraphrase; by default all.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run the paper's tables and figures, and print ours beside the paper's.

    Or enter the shared task Learning With Disagreements: its splits, measures and submission files.

    Studies that several need are run once; a run that was stopped goes on where it was. A row whose
    data are missing says what to get, and the rest goes on.
    """
    from mcstl.reproduce import reproduce as reproduce_paper

    with display(quiet) as progress:
        for outcome in reproduce_paper(
            name,
            out,
            data_dir=data_dir,
            like=like,
            seeds=seeds,
            jobs=jobs,
            dataset=dataset,
            progress=progress,
        ):
            typer.echo(f"\n{outcome.text}\n")
            for path in outcome.files:
                typer.echo(f"Written to {path}")
