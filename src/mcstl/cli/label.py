"""The command that gives rationales their values: label."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mcstl._support.words import counted
from mcstl.cli.app import Quiet, app, display, print_table, say

if TYPE_CHECKING:
    import pandas as pd

    from mcstl.labelling.labelled_tables import Labelled
    from mcstl.labelling.llm import Client, Count

By = Literal["llm", "embedding", "trained"]
Model = Annotated[
    str | None, typer.Option(help="Language model.", envvar="MCSTL_LLM_MODEL", show_default=False)
]
BaseUrl = Annotated[
    str | None,
    typer.Option(help="Its OpenAI-compatible server.", envvar="OPENAI_BASE_URL"),
]
ApiKey = Annotated[
    str | None,
    typer.Option(
        help="Its key; safer in the environment. Never printed or stored.",
        envvar="OPENAI_API_KEY",
        show_default=False,
    ),
]
Prompt = Annotated[
    Path | None, typer.Option(help="A prompt of your own instead of mcstl's (docs/groups.md).")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only count requests and tokens.")]
Workers = Annotated[int, typer.Option(min=1, help="Requests that run at once.")]


@app.command(
    epilog="Example:  mcstl label reviews.csv --by llm --taxonomy schwartz --out labelled.csv "
    "--dry-run"
)
def label(
    table: Annotated[
        Path, typer.Argument(help="CSV, TSV, JSON Lines, Parquet; or a data set's folder.")
    ],
    by: Annotated[By, typer.Option(help="Who gives the values.")],
    out: Annotated[
        Path | None,
        typer.Option(help="Table to write, with a column values: CSV, TSV, JSON Lines or Parquet."),
    ] = None,
    taxonomy: Annotated[
        str, typer.Option(help="schwartz, valueimprint, valueeval, or a YAML file.")
    ] = "schwartz",
    rationale: Annotated[str, typer.Option(help="Column of the reasons.")] = "rationale",
    text: Annotated[str, typer.Option(help="Column of what they are about (llm).")] = "",
    explanation: Annotated[str, typer.Option(help="Column of explanations (llm).")] = "",
    train: Annotated[
        Path | None, typer.Option(help="A table with a column values to learn from (trained).")
    ] = None,
    save: Annotated[
        Path | None, typer.Option(help="Folder to save what was learned (trained).")
    ] = None,
    fine_tune: Annotated[
        int,
        typer.Option(
            min=0, help="Epochs of training the encoder further: better, but slow (trained)."
        ),
    ] = 0,
    labeller: Annotated[
        Path | None, typer.Option(help="Folder of a saved labeller, instead of --train.")
    ] = None,
    soft: Annotated[
        bool, typer.Option("--soft", help="Write calibrated memberships, as Power=0.7 (trained).")
    ] = False,
    encoder: Annotated[
        str | None, typer.Option(help="Encoder (not llm).  [default: the paper's]")
    ] = None,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    prompt: Prompt = None,
    workers: Workers = 8,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Give every row of a table the human values that its rationale appeals to.

    By a language model, by similarity to the values' definitions, or by a labeller that learns from
    a table with values. A table that has values already is compared with what it is given.
    """
    from mcstl.labelling import labelled_tables

    request = labelled_tables.LabellingRequest(
        table=table,
        by=by,
        taxonomy=taxonomy,
        rationale=rationale,
        text=text,
        explanation=explanation,
        train=train,
        save=save,
        fine_tune=fine_tune,
        labeller=labeller,
        soft=soft,
        encoder=encoder,
        prompt=prompt,
    )
    client = make_client(model, base_url, api_key, workers) if by == "llm" else None
    if dry_run:
        print_count(labelled_tables.count_requests(request, client))
        return
    with display(quiet) as progress:
        labelled, scores = labelled_tables.label_table(request, client, out, progress)
    if out is not None:
        typer.echo(f"Written: {out}")
    _print_labelled(labelled, client)
    if scores is not None:
        _print_scores(scores)


def make_client(
    model: str | None, base_url: str | None, api_key: str | None, workers: int
) -> "Client":
    """Make a client from the options of the command line.

    Args:
        model: Name of the language model; None for the environment's.
        base_url: Address of its server; None for the environment's.
        api_key: Key of the server; None for the environment's.
        workers: How many requests run at once.

    Returns:
        The client.

    Raises:
        InputError: No model is named, or neither a server nor a key.
    """
    from mcstl.labelling.llm import Client

    return Client(model, base_url=base_url, api_key=api_key, workers=workers)


def print_count(count: "Count") -> None:
    """Print what sending prompts would cost.

    Args:
        count: What `Client.count` returned.
    """
    say(
        f"{counted(count.requests, 'request')} of about {counted(count.tokens, 'token')} in all; "
        f"kept from before: {counted(count.kept, 'reply', 'replies')}. Nothing was asked."
    )


def _print_labelled(labelled: "Labelled", client: "Client | None") -> None:
    from collections import Counter

    counts = labelled.membership.getnnz(axis=0)
    for name, count in zip(labelled.names, counts, strict=True):
        typer.echo(f"{count:>8,}  {name}")
    without = int((labelled.membership.getnnz(axis=1) == 0).sum())
    typer.echo(f"{without:>8,}  without a value")
    for reason, count in Counter(labelled.unlabelled.values()).most_common(5):
        say(f"          {count:,} of them: {reason}", indent=10)
    if client is not None:
        typer.echo(f"Used: {counted(client.tokens_used, 'token')}.")


def _print_scores(scores: "pd.DataFrame") -> None:
    rows = [
        (
            row["value"],
            f"{row['n']:,}",
            *(f"{row[name]:.3f}" for name in ("precision", "recall", "f1")),
        )
        for row in scores.to_dict("records")
    ]
    header = ("value", "n", "precision", "recall", "F1")
    title = "Compared with the table's own values"
    print_table(header, rows, title=title)
    typer.echo(f"Macro-F1 over {counted(len(scores), 'value')}: {scores['f1'].mean():.3f}")
