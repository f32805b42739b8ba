"""The command that gives rationales their values: label."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from mcstl._support.errors import InputError, need_names
from mcstl.cli.app import Quiet, app, display, plain_console

if TYPE_CHECKING:
    from mcstl.labelling.cases import Cases
    from mcstl.labelling.llm import Client, Count
    from mcstl.labelling.tables import Labelled

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
    table: Annotated[Path, typer.Argument(help="CSV, TSV, JSON Lines or Parquet.")],
    by: Annotated[By, typer.Option(help="Who gives the values.")],
    out: Annotated[Path | None, typer.Option(help="CSV to write, with a column values.")] = None,
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
    from mcstl.data.tables import read_table
    from mcstl.encoding.encoders import PAPER_ENCODER, load_encoder
    from mcstl.labelling import tables, taxonomies
    from mcstl.labelling.cases import cases_from
    from mcstl.labelling.llm import Template
    from mcstl.labelling.trained import Labeller

    rows = read_table(table)
    need_names(filter(None, (rationale, text, explanation)), rows.columns, table.name)
    cases = cases_from(rows, rationale, text, explanation)
    client = make_client(model, base_url, api_key, workers) if by == "llm" else None
    if dry_run:
        _count(client, cases, taxonomy, prompt)
        return
    if soft and by != "trained":
        raise InputError(f"--soft needs probabilities, which --by {by} has none of; use trained")
    if fine_tune and (by != "trained" or train is None):
        raise InputError("--fine-tune trains an encoder on --train TABLE, with --by trained")
    if out is None and save is None and "values" not in rows.columns:
        raise InputError("where to? Give --out labelled.csv")
    with display(quiet) as progress:
        if client is not None:
            words = (taxonomies.load(taxonomy), client, Template("label", prompt))
            found = tables.with_llm(cases, *words, progress)
        elif by == "embedding":
            used = load_encoder(encoder or PAPER_ENCODER)
            found = tables.with_embedding(cases, taxonomies.load(taxonomy), used, progress)
        else:
            if (train is None) == (labeller is None):
                raise InputError("--by trained learns from --train TABLE, or takes --labeller DIR")
            used = load_encoder(encoder or PAPER_ENCODER)
            learned = (
                tables.learn(train, rationale, used, progress, fine_tune=fine_tune)
                if train is not None
                else Labeller.load(labeller or "")
            )
            if save is not None:
                learned.save(save)
            found = tables.with_labeller(cases, learned, used, soft, progress)
    if out is not None:
        tables.write(out, rows, found)
        typer.echo(f"Written: {out}")
    _print_labelled(found, client)
    if out is None and "values" in rows.columns:
        _print_scores(found, tables.values_of(rows, table.name))


def _count(client: "Client | None", cases: "Cases", taxonomy: str, prompt: Path | None) -> None:
    from mcstl.labelling import taxonomies
    from mcstl.labelling.by_llm import label_prompts
    from mcstl.labelling.llm import Template

    if client is None:
        raise InputError("--dry-run counts what a language model would be asked; use --by llm")
    asked = label_prompts(cases, taxonomies.load(taxonomy), Template("label", prompt))
    print_count(client.count(asked))


def print_count(count: "Count") -> None:
    """Print what asking would cost."""
    typer.echo(
        f"{count.requests:,} requests of about {count.tokens:,} tokens in all; {count.kept:,} "
        "replies are kept from before. Nothing was asked."
    )


def _print_labelled(found: "Labelled", client: "Client | None") -> None:
    from collections import Counter

    given = found.membership.getnnz(axis=0)
    for name, count in zip(found.names, given, strict=True):
        typer.echo(f"{count:>8,}  {name}")
    without = int((found.membership.getnnz(axis=1) == 0).sum())
    typer.echo(f"{without:>8,}  without a value")
    for why, count in Counter(found.unlabelled.values()).most_common(5):
        typer.echo(f"          {count:,} of them: {why}")
    if client is not None:
        typer.echo(f"{client.tokens_used:,} tokens were used.")


def _print_scores(found: "Labelled", gold: "list[list[str]]") -> None:
    from rich.table import Table

    from mcstl.labelling.tables import f1_scores

    scores = f1_scores(found, gold)
    shown = Table(title="Compared with the table's own values", title_justify="left")
    shown.add_column("value", no_wrap=True)
    for title in ("n", "precision", "recall", "F1"):
        shown.add_column(title, justify="right")
    for row in scores.to_dict("records"):
        figures = (f"{row[title]:.3f}" for title in ("precision", "recall", "f1"))
        shown.add_row(row["value"], f"{row['n']:,}", *figures)
    plain_console().print(shown)
    typer.echo(f"Macro-F1 over {len(scores)} values: {scores['f1'].mean():.3f}")


def make_client(
    model: str | None, base_url: str | None, api_key: str | None, workers: int
) -> "Client":
    """Return a client for the options of the command line."""
    from mcstl.labelling.llm import Client

    return Client(model, base_url=base_url, api_key=api_key, workers=workers)
