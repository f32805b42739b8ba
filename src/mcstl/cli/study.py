"""The commands around a study: demo, init, check, run, report, evaluate, cache."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcstl._support.errors import InputError, listed
from mcstl._support.words import counted
from mcstl.cli.app import (
    Columns,
    DataDir,
    Quiet,
    app,
    display,
    print_cut,
    print_table,
    say,
)

if TYPE_CHECKING:
    from mcstl.studies.results import Results
    from mcstl.studies.study_file import Study

cache_app = typer.Typer(
    help="The cache of encoded texts: where it is, how big, clear it.",
    epilog="Example:  mcstl cache",
)
app.add_typer(cache_app, name="cache")

Jobs = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Seeds that run at once; otherwise as many as there are cores, and one on a GPU.",
    ),
]
SplitBy = Annotated[
    str | None,
    typer.Option("--split", help="annotation, item or annotator, instead of the study's."),
]


@app.command(epilog="Example:  mcstl demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("demo"),
    quiet: Quiet = False,
) -> None:
    """Run the main job on simulated annotations that come with mcstl."""
    from mcstl.studies.demo import demo_study, expected_seconds
    from mcstl.studies.parallel import default_jobs

    say(
        "Simulated data: made-up people with known values judge made-up sentences. It shows what "
        "mcstl does and needs no download; it says nothing about real people."
    )
    if not (out / "results.json").exists():
        say(f"On this machine it takes about {expected_seconds(default_jobs())} seconds.")
    _run(demo_study(), out, None, None, quiet)
    typer.echo(
        "\nNext, on a table of your own (columns such as text, label, annotator, reason):\n"
        "  mcstl init reviews.csv             writes reviews.yaml, a study to look over\n"
        "  mcstl check reviews.yaml           shows what would happen\n"
        "  mcstl run reviews.yaml --out out   runs it and writes out/report.html"
    )


@app.command(epilog="Example:  mcstl init reviews.csv")
def init(
    file: Annotated[Path, typer.Argument(help="CSV, TSV, JSON Lines or Parquet.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write the study.  [default: beside FILE, .yaml]")
    ] = None,
) -> None:
    """Write a study for a table of your own, guessing which column is what."""
    from mcstl.studies.first_study import write_first_study

    out = out or file.with_suffix(".yaml")
    text = write_first_study(file, out)
    typer.echo(f"{text}\nWritten to {out}. Look it over, then: mcstl check {out}")


@app.command(epilog="Example:  mcstl check studies/popquorn.yaml --data-dir data")
def check(
    study: Annotated[Path, typer.Argument(help="A study file.")],
    split: SplitBy = None,
    data_dir: DataDir = None,
) -> None:
    """Read and split a study's data without training, and print what would happen."""
    from mcstl.studies.describe import describe
    from mcstl.studies.study_file import Study

    for name, text in describe(Study.read(study, split=split), data_dir):
        say(f"{name:<12}{text}", indent=14)
    options = ["--split", split] if split else []
    options += ["--data-dir", str(data_dir)] if data_dir else []
    typer.echo(f"\nTo run it: {shlex.join(['mcstl', 'run', str(study), *options, '--out', 'out'])}")


@app.command(epilog="Example:  mcstl run studies/popquorn.yaml --data-dir data --out out")
def run(
    study: Annotated[Path, typer.Argument(help="A study file.")],
    out: Annotated[Path, typer.Option(help="Folder for the results.")],
    split: SplitBy = None,
    data_dir: DataDir = None,
    jobs: Jobs = None,
    reuse: Annotated[
        Path | None,
        typer.Option(
            help="What an earlier run wrote: methods and seeds that are in it are not run again."
        ),
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Run a study: split, group, train every method with every seed, evaluate, report.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from mcstl.studies.study_file import Study

    _run(Study.read(study, split=split), out, data_dir, jobs, quiet, reuse)


@app.command(epilog="Example:  mcstl report out  or  mcstl report out/a out/b --out compared.html")
def report(
    folders: Annotated[list[Path], typer.Argument(help="What `mcstl run` wrote; one or more.")],
    out: Annotated[
        Path | None, typer.Option(help="The page of several studies.  [default: compared.html]")
    ] = None,
) -> None:
    """Write a finished study's report and figures again, or a page that compares several studies.

    Nothing is needed but the folders: no data and no model.
    """
    from mcstl import reporting

    if len(folders) > 1:
        typer.echo(f"Comparison: {reporting.compare(folders, out or Path('compared.html'))}")
    elif out is not None:
        raise InputError("--out names the page of several studies; a report is in its own folder")
    else:
        typer.echo(f"Report: {reporting.render(folders[0])}")


#: How many groups of the same warning are named; the report has all.
_WARNED_SHOWN = 5
#: What `evaluate --json` prints.
_EVALUATION = ("metrics", "groups", "interval", "intervals", "groups_not_shown")


@app.command(epilog="Example:  mcstl evaluate out/model new.csv --out judged")
def evaluate(
    model: Annotated[Path, typer.Argument(help="A model directory, such as out/model.")],
    data: Annotated[str, typer.Argument(help="A file of annotations, or a registered data set.")],
    columns: Columns = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help='The raw labels of each class: "low: [1, 2], high: [3]".  '
            "[default: as in training]"
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for a report with intervals, figures and all predictions."),
    ] = None,
    data_dir: DataDir = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
    quiet: Quiet = False,
) -> None:
    """Measure a saved model on new annotations, each predicted under its own groups."""
    import json

    from mcstl._support.files import read_option
    from mcstl.models.model import Model
    from mcstl.models.questions import answers_several
    from mcstl.studies import one_model

    if answers_several(model):
        told = read_option(columns, "--columns"), read_option(labels, "--labels")
        _evaluate_questions(model, data, data_dir, *told, out=out, as_json=as_json, quiet=quiet)
        return
    loaded = Model.load(model)
    annotations = one_model.load_for(
        loaded,
        data,
        data_dir,
        columns=read_option(columns, "--columns"),
        labels=read_option(labels, "--labels"),
    )
    with display(quiet) as progress:
        if out is None:
            evaluation = one_model.evaluate(loaded, annotations, progress)
        else:
            from mcstl import reporting
            from mcstl.studies.new_table import evaluate_into

            (evaluation,) = evaluate_into(loaded, annotations, out, progress).results["runs"]
            reporting.render(out)
    if as_json:
        typer.echo(
            json.dumps(
                {key: evaluation[key] for key in _EVALUATION},
                indent=1,
            )
        )
        return
    _print_evaluation(evaluation, len(annotations))
    _print_dropped(annotations.dropped)
    if absent := one_model.absent_classes(annotations):
        say(f"No annotation has the label {', '.join(absent)}; what needs it is -.")
    if annotations.about_weights:
        say(annotations.about_weights)
    print_cut(loaded.encoder.truncated)
    if out is not None:
        _print_where(out)


def _evaluate_questions(
    model: Path,
    data: str,
    data_dir: Path | None,
    columns: Any,
    labels: Any,
    *,
    out: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    import json

    from mcstl.models.questions import QuestionsModel
    from mcstl.studies import one_model

    loaded = QuestionsModel.load(model)
    annotations = one_model.load_for_questions(
        loaded, data, data_dir, columns=columns, labels=labels
    )
    with display(quiet) as progress:
        evaluations = {
            question: one_model.evaluate(loaded[question], annotations.question(question), progress)
            for question in loaded.questions
        }
        if out is not None:
            from mcstl import reporting
            from mcstl.studies.new_table import evaluate_questions_into

            evaluate_questions_into(loaded, annotations, out, progress)
            reporting.render(out)
    if as_json:
        shown = {
            question: {key: evaluation[key] for key in _EVALUATION}
            for question, evaluation in evaluations.items()
        }
        typer.echo(json.dumps(shown, indent=1, ensure_ascii=False))
        return
    for question, evaluation in evaluations.items():
        typer.echo(f"\n{question}")
        _print_evaluation(evaluation, len(annotations))
    _print_dropped(annotations.dropped)
    if out is not None:
        _print_where(out)


@cache_app.callback(invoke_without_command=True)
def cache(context: typer.Context) -> None:
    """Show what is kept between runs, where, and how much room it takes."""
    from mcstl._support import files
    from mcstl.encoding import encoders
    from mcstl.labelling import llm

    if context.invoked_subcommand is None:
        cached = encoders.cache_info()
        for each in cached:
            typer.echo(
                f"{each.model}: {counted(each.entries, 'text')}, {_mib(each.bytes)}, {each.path}"
            )
        if not cached:
            typer.echo(f"The cache is empty; it will be in {encoders.cache_folder()}")
        for content, folder in (
            ("encoders trained further or unpacked", encoders.fine_tuned_folder()),
            ("replies of language models", llm.replies_folder()),
        ):
            if size := files.folder_size(folder):
                typer.echo(f"{content}: {_mib(size)}, {folder}")


@cache_app.command(epilog="Example:  mcstl cache clear")
def clear() -> None:
    """Delete encoded texts and encoders trained further; they are made again when needed.

    Replies of language models stay, since they were paid for.
    """
    from mcstl.encoding import encoders

    typer.echo(f"Deleted {_mib(encoders.clear_cache())}.")


def _mib(size: int) -> str:
    return f"{size / 2**20:,.1f} MiB"


def _run(
    study: "Study",
    out: Path,
    data_dir: Path | None,
    jobs: int | None,
    quiet: bool,
    reuse: Path | None = None,
) -> None:
    from mcstl import reporting
    from mcstl.studies.parallel import default_jobs
    from mcstl.studies.run import run as run_study

    jobs = jobs or default_jobs()
    with display(quiet) as progress:
        results = run_study(
            study, out=out, data_dir=data_dir, jobs=jobs, progress=progress, reuse=reuse
        )
        report_file = reporting.render(out)
    _print_results(results)
    typer.echo(f"\nReport: {report_file}\nFigures and predictions: {out}")
    if use := results.results.get("use"):
        typer.echo(f"Model, that of {use['method']}: {out / 'model'}")
    elif results.model:
        typer.echo(f"Model: {out / 'model'}")


def _print_dropped(dropped: Mapping[str, int]) -> None:
    for reason, count in dropped.items():
        say(f"Dropped: {counted(count, 'annotation')}, {reason}.", indent=4)


def _print_where(out: Path) -> None:
    """Print the verdict of a new table, and where its report is."""
    from mcstl.studies.results import read_results

    _print_verdict(read_results(out))
    typer.echo(f"\nReport: {out / 'report.html'}\nFigures and predictions: {out}")


def _print_verdict(results: Mapping[str, Any]) -> None:
    from mcstl.evaluation.verdict import ANSWERS

    if verdict := results.get("verdict"):
        say(f"\nMay these probabilities be used? {ANSWERS[verdict['answer']]}.")
        for sentence in verdict["sentences"]:
            say(f"- {sentence}", indent=2)


def _print_results(results: "Results") -> None:
    from mcstl.data.annotations import repeats_message
    from mcstl.evaluation.tables import question_table, results_table
    from mcstl.groups.small_groups import left_out_words

    found = results.results
    data, seeds = found["data"], {each["seed"] for each in found["runs"]}
    summary = found["summary"]
    table = results_table(summary)
    over = summary[table.rows[0][0]][table.columns[0].metric]["interval"]
    has_groups = any(column.metric == "slope_mean" for column in table.columns)
    about_groups = (
        " Group, Slope and Bias are means over "
        f"{'questions' if 'questions' in data else 'groups'}. A calibrated model has slope 1 and "
        "bias 0."
    )
    print_table(
        table.header,
        [
            [method, *(cell.text.replace(" [", "\n[") for cell in cells)]
            for method, cells in table.rows
        ],
        title=f"{found['study'].get('name') or data['source']}: {data['split']['by']} split, "
        f"{counted(len(seeds), 'seed')}, {counted(data['split']['test'], 'test annotation')}",
        caption=f"Mean [95% interval, over {over} and training]." + about_groups * has_groups,
    )
    if "questions" in data:
        header, rows = question_table(found["runs"])
        print_table(header, rows, title="Each question: AUC (bias)")
    _print_verdict(found)
    _print_dropped(data["dropped"])
    if repeated := repeats_message(data.get("repeated", 0)):
        say(f"{repeated}.", indent=4)
    if left_out := left_out_words(data["groups_left_out"], most=3):
        say(f"Left out: {left_out}.", indent=4)
    warned = dict[str, list[str]]()
    for group in found["groups"]:
        warned.setdefault(group["warning"], []).append(group["name"])
    for warning, names in warned.items():
        if warning:
            say(f"{listed(names, _WARNED_SHOWN)}: {warning}.", indent=4)
    if about_weights := data.get("about_weights"):
        say(about_weights)
    print_cut(data["truncated_texts"])


def _print_evaluation(found: dict[str, Any], n: int) -> None:
    from mcstl.evaluation.tables import Cell, group_table
    from mcstl.groups.small_groups import not_shown

    header, rows = group_table(found, n)
    print_table(header, rows, title=counted(n, "annotation"))
    slope, bias = (
        Cell(found["metrics"][name], *found["intervals"][name]).text
        for name in ("slope_mean", "bias_mean")
    )
    say(f"Calibration over groups: slope {slope}, bias {bias} (ideal 1, 0)")
    say(f"In brackets: 95% intervals over {found['interval']}.")
    if hidden := found["groups_not_shown"]:
        say(not_shown(len(hidden)))
