"""The commands around value groups: groups show, compare, choose, review, agreement, infer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from mcstl._support.errors import InputError
from mcstl.cli.app import DataDir, Quiet, app, display, plain_console
from mcstl.cli.label import (
    ApiKey,
    BaseUrl,
    DryRun,
    Model,
    Prompt,
    Workers,
    make_client,
    print_count,
)

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

    from mcstl._support.progress import Progress
    from mcstl.data.annotations import Annotations
    from mcstl.encoding.encoders import Encoder
    from mcstl.groups import Scheme
    from mcstl.groups.review.choosing import Option
    from mcstl.studies.study_file import Study

groups_app = typer.Typer(
    help="Value groups: what they are about, how many there should be, whether experts agree.",
    epilog="Example:  mcstl groups compare studies/ukpconvarg1.yaml --data-dir data --out review",
    no_args_is_help=True,
)
app.add_typer(groups_app, name="groups")

StudyFile = Annotated[Path, typer.Argument(help="A study file.")]
WithLLM = Annotated[bool, typer.Option("--llm", help="Summaries by a language model, too (A.3).")]


@groups_app.command(epilog="Example:  mcstl groups show studies/valueeval23.yaml --out groups.html")
def show(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("groups.html"),
    llm: WithLLM = False,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    prompt: Prompt = None,
    workers: Workers = 8,
    dry_run: DryRun = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Say what each group of a study is about: its words, typical reasons, labels and people."""
    from mcstl._support import files
    from mcstl.groups import leakage
    from mcstl.groups.review import forms, summaries
    from mcstl.labelling.llm import Template

    with display(quiet) as progress:
        formed = _formed(study, data_dir, progress)
        groups, S, data, encoder = formed.scheme.groups, formed.S, formed.data, formed.encoder
        client = make_client(model, base_url, api_key, workers) if llm or dry_run else None
        asked = (
            summaries.prompts(groups, S, data, encoder, Template("summary", prompt))
            if client
            else []
        )
        if client is not None and dry_run:
            print_count(client.count(asked))
            return
        found = summaries.summarise(groups, S, data, encoder, progress=progress)
        if client is not None:
            found = summaries.with_llm(found, asked, client, progress)
    leak = leakage.said(leakage.told(S, data))
    page = forms.page(
        "groups.html.j2",
        name=formed.study.name,
        groups=found,
        leak=leak,
        left_out=formed.scheme.left_out,
    )
    files.write_text(out, page)
    for each in found:
        people = "" if each.annotators is None else f" by {each.annotators:,} people"
        rates = ", ".join(f"{name} {rate:.0%}" for name, rate in each.rates.items())
        typer.echo(f"{each.name}: {each.size:,}{people}; {rates}")
    if leak:
        typer.echo(f"Warning: {leak}.")
    typer.echo(f"Page: {out}")


@groups_app.command(
    epilog="Example:  mcstl groups compare studies/ukpconvarg1.yaml --k 2-6 --out review"
)
def compare(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="Folder for the page and the form.")],
    k: Annotated[str, typer.Option(help="Numbers of groups, as 2-6.")] = "2-6",
    llm: WithLLM = False,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    workers: Workers = 8,
    dry_run: DryRun = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write one page with the groups of every K side by side, and a form for the choice (A.8)."""
    from mcstl.groups import RationaleConfig
    from mcstl.groups.review import choosing
    from mcstl.studies.study_file import Study, rationale_config

    ks = _range(k)
    with display(quiet) as progress:
        read = Study.read(study)
        data, encoder = _training(read, data_dir)
        config = rationale_config(read.groups_for(data)) or RationaleConfig()
        client = make_client(model, base_url, api_key, workers) if llm or dry_run else None
        if client is not None and dry_run:
            print_count(client.count(choosing.prompts_of(config, data, encoder, ks)))
            return
        found = choosing.options(config, data, encoder, ks, client, progress)
        page = choosing.write(out, found, read.name)
    _print_options(found)
    typer.echo(f"k: auto takes {choosing.suggested(found)}.")
    typer.echo(f"Page: {page}\nThen: mcstl groups choose {out / choosing.FORM}")


@groups_app.command(epilog="Example:  mcstl groups choose review/choose-k.csv")
def choose(form: Annotated[Path, typer.Argument(help="The form, filled in.")]) -> None:
    """Read back which K was chosen, and record by whom and why."""
    from mcstl.groups.review import choosing

    chosen = choosing.read(form)
    held = choosing.record(form, chosen)
    typer.echo(f"K = {chosen.k}, chosen by {chosen.who}: {chosen.why}")
    typer.echo(f"Recorded in {held}. In the study: groups: {{by: rationale, k: {chosen.k}}}")


@groups_app.command(
    epilog="Example:  mcstl groups review studies/valueeval23.yaml --experts 3 --shared 20 "
    "--out sheets"
)
def review(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="Folder for the sheets.")],
    experts: Annotated[int, typer.Option(min=1, help="How many sheets.")] = 1,
    per_class: Annotated[int, typer.Option(min=1, help="Instances drawn of each class.")] = 100,
    shared: Annotated[
        int, typer.Option(min=0, help="Instances of each class that every expert judges.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the draw.")] = 0,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write sheets on which experts say whether each instance is in the right class (A.5)."""
    from mcstl.groups.review import experts as sheets

    with display(quiet) as progress:
        formed = _formed(study, data_dir, progress)
    drawn = sheets.draw(
        formed.scheme.groups,
        formed.S,
        formed.data,
        experts=experts,
        per_class=per_class,
        shared=shared,
        seed=seed,
    )
    for page, sheet in zip(sheets.write(out, drawn, formed.study.name), drawn, strict=True):
        typer.echo(f"{page}: {len(sheet):,} instances")
    typer.echo(
        f"Fill in the pages or the CSV files beside them, then: mcstl groups agreement {out}"
    )


@groups_app.command(epilog="Example:  mcstl groups agreement sheets")
def agreement(folder: Annotated[Path, typer.Argument(help="The folder of the sheets.")]) -> None:
    """Read the sheets back: how often experts agree with each class, and with each other."""
    from rich.table import Table

    from mcstl.groups.review import experts as sheets

    found = sheets.read(folder)
    shown = Table(title=f"{found.experts} experts", title_justify="left")
    shown.add_column("class")
    for title in ("judged", "correct", "95% interval"):
        shown.add_column(title, justify="right", no_wrap=True)
    for row in found.table.to_dict("records"):
        if not row["n"]:
            shown.add_row(row["class"], "0", "", "")
            continue
        ends = f"{row['low']:.0%} to {row['high']:.0%}"
        shown.add_row(row["class"], f"{row['n']:,}", f"{row['correct']:.0%}", ends)
    plain_console().print(shown)
    if found.unanswered:
        typer.echo(f"{found.unanswered:,} instances are not judged yet.")
    if found.alpha is not None:
        typer.echo(
            f"Krippendorff's alpha over {found.shared:,} shared instances: {found.alpha:.2f}"
        )
    elif found.shared:
        typer.echo(f"All answers to the {found.shared:,} shared instances are the same: no alpha.")


@groups_app.command(
    epilog="Example:  mcstl groups infer reviews.csv --out with-reasons.csv --dry-run"
)
def infer(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, JSON Lines or Parquet.")],
    out: Annotated[Path, typer.Option(help="CSV to write.")],
    examples: Annotated[int, typer.Option(min=1, help="Labelled rows shown of each person.")] = 10,
    text: Annotated[str, typer.Option(help="Column of the texts.")] = "text",
    label: Annotated[str, typer.Option(help="Column of the labels.")] = "label",
    annotator: Annotated[str, typer.Option(help="Column of the people.")] = "annotator",
    model: Model = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    prompt: Prompt = None,
    workers: Workers = 8,
    dry_run: DryRun = False,
    quiet: Quiet = False,
) -> None:
    """Infer rationales by a language model from some labels of each person, marked as inferred.

    The rows that it is shown are left out of what is written: their labels have told the rationale.
    """
    from mcstl.data.exports import write_table
    from mcstl.data.tables import read_table
    from mcstl.labelling import inferred
    from mcstl.labelling.llm import Template

    if out.suffix != ".csv":
        raise InputError(f"{out} is not a CSV file; name one that ends in .csv")
    rows = read_table(table)
    template = Template("infer", prompt)
    shown = inferred.show(
        rows, table.name, template, text=text, label=label, annotator=annotator, examples=examples
    )
    client = make_client(model, base_url, api_key, workers)
    if dry_run:
        print_count(client.count(list(shown.prompts.values())))
        return
    with display(quiet) as progress:
        found = inferred.infer(rows, shown, client, annotator, progress)
    write_table(found.table, out)
    marked = int(found.table["inferred"].sum())
    typer.echo(
        f"Written: {out}, {len(found.table):,} rows, {marked:,} with an inferred rationale; "
        f"{found.shown:,} rows were shown to {client.model} and are left out."
    )
    if found.without:
        why = next(iter(found.without.values()))
        typer.echo(f"{len(found.without):,} people have none, the first one because {why}")


class _Formed(NamedTuple):
    study: "Study"
    data: "Annotations"
    encoder: "Encoder"
    scheme: "Scheme"
    S: "csr_matrix"


def _formed(path: Path, data_dir: Path | None, progress: "Progress") -> _Formed:
    """Form a study's groups on the training rows of its first seed."""
    from mcstl.groups import fit_scheme
    from mcstl.studies.study_file import Study

    study = Study.read(path)
    data, encoder = _training(study, data_dir)
    scheme = fit_scheme(study.groups_for(data), data, encoder, progress)
    return _Formed(study, data, encoder, scheme, scheme.assign(data, encoder, progress))


def _training(study: "Study", data_dir: Path | None) -> "tuple[Annotations, Encoder]":
    from mcstl.encoding.encoders import load_encoder
    from mcstl.studies.preparation import training_rows

    return training_rows(study, study.load(data_dir)), load_encoder(study.encoder_name)


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise InputError(f"--k is {text!r}; expected a range, as 2-6")
    ks = range(int(first), int(last or first) + 1)
    if not ks or ks[0] < 2:
        raise InputError(f"--k is {text!r}; expected a range from 2 up, as 2-6")
    return ks


def _print_options(found: "list[Option]") -> None:
    from rich.table import Table

    table = Table()
    titles = ("K", "same words", "same summaries", "stability", "silhouette", "label from groups")
    for title in titles:
        table.add_column(title, justify="right", no_wrap=True)
    for each in found:
        figures = (
            each.overlap,
            each.said_overlap,
            each.stability,
            each.silhouette,
            each.told,
        )
        table.add_row(str(each.k), *("–" if x != x else f"{x:.2f}" for x in figures))
    plain_console().print(table)
