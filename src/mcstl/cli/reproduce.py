"""The command that runs the paper again."""

from pathlib import Path
from typing import Annotated

import typer

from mcstl.cli.app import DataDir, Quiet, app, display
from mcstl.cli.groups import Brief, WithLLM
from mcstl.cli.label import ApiKey, BaseUrl, Model, Prompt, Workers, make_client


@app.command(epilog="Example:  mcstl reproduce table3 --like --data-dir data --out again --seeds 3")
def reproduce(
    name: Annotated[
        str,
        typer.Argument(
            help="table1 to table8, figure1 to 3, 5 to 8, or all; or lewidi2025, lewidi2023."
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
    irpm: Annotated[
        str | None,
        typer.Option(
            help="Transformer of IRPM, a name or a folder; none leaves it out.  [default: none for "
            "all; else roberta-base, with --like all-MiniLM-L6-v2]",
            show_default=False,
        ),
    ] = None,
    llm: WithLLM = False,
    brief: Brief = False,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    prompt: Prompt = None,
    workers: Workers = 8,
    quiet: Quiet = False,
) -> None:
    """Run the paper's tables and figures, and print ours beside the paper's.

    Or enter the shared task Learning With Disagreements: its splits, measures and submission files.

    Studies that several need are run once; a run that was stopped goes on where it was. A row whose
    data are missing says what to get, and the rest goes on.
    """
    from mcstl.groups.review.summaries import Summariser
    from mcstl.labelling.llm import Template
    from mcstl.reproduce import StudyRuns, paper
    from mcstl.reproduce import reproduce as reproduce_paper

    summariser = None
    if llm:
        client = make_client(model, base_url, api_key, workers)
        summariser = Summariser(client, Template("summary", prompt), brief)
    with display(quiet) as progress:
        studies = StudyRuns(paper(), out, data_dir, seeds, jobs, progress, irpm, summariser)
        for outcome in reproduce_paper(name, studies, like, dataset):
            typer.echo(f"\n{outcome.text}\n")
            for path in outcome.files:
                typer.echo(f"Written to {path}")
