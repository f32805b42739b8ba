"""The commands around value groups: show, compare, choose, name, review, agreement, infer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mcstl._support.errors import InputError
from mcstl._support.words import counted
from mcstl.cli.app import DataDir, Quiet, app, display, print_table, say
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
    from mcstl.groups.review.choose_k import Option

groups_app = typer.Typer(
    help="Value groups: what they are about, how many there should be, whether experts agree.",
    epilog="Example:  mcstl groups compare studies/ukpconvarg1.yaml --data-dir data --out review",
    no_args_is_help=True,
)
app.add_typer(groups_app, name="groups")

StudyFile = Annotated[Path, typer.Argument(help="A study file.")]
WithLLM = Annotated[bool, typer.Option("--llm", help="Summaries by a language model, too (A.3).")]
Brief = Annotated[
    bool,
    typer.Option("--brief", help="From the 60 most typical reasons, in 40 words at most (llm)."),
]


@groups_app.command(epilog="Example:  mcstl groups show studies/valueeval23.yaml --out groups.html")
def show(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("groups.html"),
    llm: WithLLM = False,
    brief: Brief = False,
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
    from mcstl.groups.label_leakage import leakage_of
    from mcstl.groups.review import summaries
    from mcstl.groups.small_groups import not_shown, shown_size
    from mcstl.labelling.llm import Template
    from mcstl.studies.study_file import Study
    from mcstl.studies.study_groups import form_groups

    client = make_client(model, base_url, api_key, workers) if llm or dry_run else None
    summariser = None
    if client is not None:
        summariser = summaries.Summariser(client, Template("summary", prompt), brief)
    read = Study.read(study)
    with display(quiet) as progress:
        formed = form_groups(read, data_dir, progress)
        scheme, S, data, encoder = formed
        summarised = formed.summaries(progress)
        if summariser is not None:
            prompts = summaries.summary_prompts(scheme.groups, S, data, encoder, summariser)
            if dry_run:
                print_count(summariser.client.count(prompts))
                return
            summarised = summaries.add_llm_summaries(
                summarised, prompts, summariser.client, progress
            )
    leakage = leakage_of(S, data)
    summaries.write_page(out, read.name, scheme, summarised, leakage)
    for each in summarised:
        rates = ", ".join(f"{name} {rate:.0%}" for name, rate in each.rates.items())
        typer.echo(f"{each.name}: {shown_size(each.size, each.annotators)}; {rates}")
    if hidden := len(scheme.groups) - len(summarised):
        typer.echo(not_shown(hidden))
    if leakage:
        typer.echo(f"Note: {leakage}.")
    typer.echo(f"Page: {out}")


@groups_app.command(
    epilog="Example:  mcstl groups compare studies/ukpconvarg1.yaml --k 2-6 --out review"
)
def compare(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="Folder for the page and the form.")],
    k: Annotated[str, typer.Option(help="Numbers of groups, as 2-6.")] = "2-6",
    llm: WithLLM = False,
    brief: Brief = False,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    prompt: Prompt = None,
    workers: Workers = 8,
    dry_run: DryRun = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Write one page with the groups of every K side by side, and a form for the choice (A.8)."""
    from mcstl.groups import RationaleConfig
    from mcstl.groups.review import choose_k
    from mcstl.groups.review.summaries import Summariser
    from mcstl.labelling.llm import Template
    from mcstl.studies.study_file import Study, rationale_config
    from mcstl.studies.study_groups import training_data

    ks = _range(k)
    with display(quiet) as progress:
        read = Study.read(study)
        data, encoder = training_data(read, data_dir)
        config = rationale_config(read.groups_for(data)) or RationaleConfig()
        client = make_client(model, base_url, api_key, workers) if llm or dry_run else None
        summariser = None
        if client is not None:
            summariser = Summariser(client, Template("summary", prompt), brief)
        if summariser is not None and dry_run:
            prompts = choose_k.prompts_for(config, data, encoder, ks, summariser)
            print_count(summariser.client.count(prompts))
            return
        options = choose_k.compare_options(config, data, encoder, ks, summariser, progress)
        page = choose_k.write_page(out, options, read.name)
    _print_options(options)
    typer.echo(f"k: auto takes {choose_k.suggested_k(options)}.")
    typer.echo(f"Page: {page}\nThen: mcstl groups choose {out / choose_k.FORM}")


@groups_app.command(epilog="Example:  mcstl groups choose review/choose-k.csv")
def choose(form: Annotated[Path, typer.Argument(help="The form, filled in.")]) -> None:
    """Read back which K was chosen, and record by whom and why."""
    from mcstl.groups.review import choose_k

    choice = choose_k.read_choice(form)
    record = choose_k.record_choice(form, choice)
    typer.echo(f"K = {choice.k}, chosen by {choice.who}: {choice.why}")
    typer.echo(f"Recorded in {record}. In the study: groups: {{by: rationale, k: {choice.k}}}")


@groups_app.command(
    epilog="Example:  mcstl groups name studies/ukpconvarg1.yaml --name 1=Evidence --out names.csv"
)
def name(
    study: StudyFile,
    out: Annotated[Path, typer.Option(help="The table of names to write, or to fill further.")],
    name: Annotated[
        list[str] | None, typer.Option(help="Name of a group by its number, as 1=Care; repeatable.")
    ] = None,
    llm: Annotated[bool, typer.Option("--llm", help="Names by a language model.")] = False,
    model: Model = None,
    base_url: BaseUrl = None,
    api_key: ApiKey = None,
    prompt: Prompt = None,
    workers: Workers = 8,
    dry_run: DryRun = False,
    data_dir: DataDir = None,
    quiet: Quiet = False,
) -> None:
    """Give clusters of reasons names, by hand or by a language model, in a table that studies read.

    Without --name and --llm the table is written for people to fill in. Names in a table that is
    there already stay, unless they are given anew.
    """
    from mcstl.groups.review import naming
    from mcstl.labelling.llm import Template
    from mcstl.studies.study_file import Study
    from mcstl.studies.study_groups import form_clusters

    client = make_client(model, base_url, api_key, workers) if llm or dry_run else None
    template = Template("name", prompt)
    with display(quiet) as progress:
        clusters = form_clusters(Study.read(study), data_dir, progress)
        by_hand = naming.name_by_hand(name or [], clusters.scheme.groups)
        by_llm: dict[str, str] = {}
        if client is not None:
            summarised = clusters.summaries(progress)
            if dry_run:
                print_count(client.count([naming.name_prompt(summarised, template)]))
                return
            by_llm = naming.name_by_llm(summarised, template, client, progress)
    given = naming.write_names(out, clusters.scheme.groups, {**by_llm, **by_hand})
    for group in clusters.scheme.names:
        typer.echo(f"{group}  ->  {given.get(group, '(no name yet)')}")
    typer.echo(f"Written: {out}. In the study, under groups: names: {out.name} (relative to it)")


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
    from mcstl.groups.review import expert_sheets
    from mcstl.studies.study_file import Study
    from mcstl.studies.study_groups import form_groups

    read = Study.read(study)
    with display(quiet) as progress:
        formed = form_groups(read, data_dir, progress)
    sheets = expert_sheets.draw_sheets(
        formed.scheme.groups,
        formed.S,
        formed.data,
        experts=experts,
        per_class=per_class,
        shared=shared,
        seed=seed,
    )
    pages = expert_sheets.write_sheets(out, sheets, read.name)
    for page, sheet in zip(pages, sheets, strict=True):
        typer.echo(f"{page}: {counted(len(sheet), 'instance')}")
    typer.echo(
        f"Fill in the pages or the CSV files beside them, then: mcstl groups agreement {out}"
    )


@groups_app.command(epilog="Example:  mcstl groups agreement sheets")
def agreement(folder: Annotated[Path, typer.Argument(help="The folder of the sheets.")]) -> None:
    """Read the sheets back: how often experts agree with each class, and with each other."""
    from mcstl.groups.review import expert_sheets

    result = expert_sheets.read_agreement(folder)
    rows = [
        (
            row["class"],
            f"{row['n']:,}",
            f"{row['correct']:.0%}" if row["n"] else "",
            f"{row['low']:.0%} to {row['high']:.0%}" if row["n"] else "",
        )
        for row in result.table.to_dict("records")
    ]
    header = ("class", "judged", "correct", "95% interval")
    print_table(header, rows, title=counted(result.experts, "expert"))
    if result.unanswered:
        typer.echo(f"Not judged yet: {counted(result.unanswered, 'instance')}.")
    if result.alpha is not None:
        shared = counted(result.shared, "shared instance")
        typer.echo(f"Krippendorff's alpha over {shared}: {result.alpha:.2f}")
    elif result.shared:
        typer.echo(
            f"All answers to {counted(result.shared, 'shared instance')} are the same: no alpha."
        )


@groups_app.command(
    epilog="Example:  mcstl groups infer reviews.csv --out with-reasons.csv --dry-run"
)
def infer(
    table: Annotated[Path, typer.Argument(help="CSV, TSV, JSON Lines or Parquet.")],
    out: Annotated[Path, typer.Option(help="CSV, TSV, JSON Lines or Parquet to write.")],
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

    The rows that it is shown are left out of what is written: their labels are in the rationale.
    """
    from mcstl.data.exports import write_table
    from mcstl.data.tables import read_table, written_format
    from mcstl.labelling import inferred_rationales
    from mcstl.labelling.llm import Template

    written_format(out)
    rows = read_table(table)
    columns = inferred_rationales.LabelColumns(text, label, annotator)
    template = Template("infer", prompt)
    shown = inferred_rationales.draw_labels(rows, table.name, template, columns, examples=examples)
    client = make_client(model, base_url, api_key, workers)
    if dry_run:
        print_count(client.count(list(shown.prompts.values())))
        return
    with display(quiet) as progress:
        result = inferred_rationales.infer_rationales(rows, shown, client, annotator, progress)
    write_table(result.table, out)
    n_inferred = int(result.table["inferred"].sum())
    typer.echo(
        f"Written: {out}, {counted(len(result.table), 'row')}, {n_inferred:,} with an inferred "
        f"rationale; shown to {client.model} and left out: {counted(result.n_shown, 'row')}."
    )
    if result.failures:
        reason = next(iter(result.failures.values()))
        people = counted(len(result.failures), "person", "people")
        say(f"Without one: {people}, the first one because {reason}")


def _range(text: str) -> range:
    first, _, last = text.partition("-")
    if not (first.isdigit() and (last or first).isdigit()):
        raise InputError(f"--k is {text!r}; expected a range, as 2-6")
    ks = range(int(first), int(last or first) + 1)
    if not ks or ks[0] < 2:
        raise InputError(f"--k is {text!r}; expected a range from 2 up, as 2-6")
    return ks


def _print_options(options: "list[Option]") -> None:
    header = ("K", "same words", "same summaries", "stability", "silhouette", "label from groups")
    rows = []
    for option in options:
        candidate = option.candidate
        figures = (
            candidate.overlap,
            option.summary_overlap,
            candidate.stability,
            candidate.silhouette,
            option.label_auc,
        )
        rows.append([str(candidate.k), *("–" if x != x else f"{x:.2f}" for x in figures)])
    print_table(header, rows)
