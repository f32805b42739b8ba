"""The command that predicts a table of texts with a saved model."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mcstl._support.words import counted
from mcstl.cli.app import Columns, MinPeople, Quiet, app, display, print_cut, say

if TYPE_CHECKING:
    from mcstl.serving.prediction import PredictionSummary


@app.command(
    epilog='Example:  mcstl predict out/model comments.csv --perspective "Security + Tradition" '
    "--mix mix.yaml --out predictions.csv"
)
def predict(
    model: Annotated[Path, typer.Argument(help="A model directory, such as out/model.")],
    data: Annotated[Path, typer.Argument(help="CSV, TSV, JSON Lines or Parquet, of any size.")],
    out: Annotated[Path, typer.Option(help="The table to write: CSV, TSV, JSON Lines or Parquet.")],
    perspective: Annotated[
        list[str] | None,
        typer.Option(
            help='A group, or several as "A + B"; may be repeated.  [default: each group]'
        ),
    ] = None,
    mix: Annotated[
        Path | None,
        typer.Option(help="A population of your own: a YAML file of perspectives and weights."),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option(
            help="The column of the text; again for each part, or for a pair.  "
            "[default: as in training]"
        ),
    ] = None,
    columns: Columns = None,
    population: Annotated[
        Path | None,
        typer.Option(
            help="Whom groups are made of, other than in training: YAML as for --mix, or a table "
            "of attributes with a column weight, as of a census."
        ),
    ] = None,
    interval: Annotated[
        float | None,
        typer.Option(help="Add intervals that hold with this probability, as 0.95."),
    ] = None,
    min_people: MinPeople = None,
    quiet: Quiet = False,
) -> None:
    """Predict every text of a table as each group sees it, and tell where groups disagree.

    A run that was stopped goes on where it was when the same command is given again.
    """
    from mcstl._support.files import read_option
    from mcstl.groups.small_groups import FEW_PEOPLE
    from mcstl.models.model import Model
    from mcstl.models.populations import read_population
    from mcstl.models.questions import QuestionsModel, answers_several
    from mcstl.serving.prediction import predict_file, read_mix
    from mcstl.serving.questions import predict_questions

    least = min_people or FEW_PEOPLE
    cells = read_population(population) if population else None

    def asked(model: Model) -> Model:
        model.level = interval
        return model if cells is None else model.for_population(cells)

    with display(quiet) as progress:
        options: dict[str, Any] = {
            "perspectives": perspective,
            "mix": read_mix(mix) if mix else None,
            "text": text,
            "columns": read_option(columns, "--columns"),
            "progress": progress,
        }
        if answers_several(model):
            loaded = QuestionsModel.load(model, min_people=least).models
            several = QuestionsModel({name: asked(each) for name, each in loaded.items()})
            classes = several.questions
            summary = predict_questions(several, data, out, **options)
        else:
            alone = asked(Model.load(model, min_people=least))
            classes = alone.classes
            summary = predict_file(alone, data, out, **options)
    typer.echo(f"Predictions, {counted(summary.rows, 'row')}: {out}")
    if summary.without_text:
        say(f"Without a text, hence without probabilities: {counted(summary.without_text, 'row')}.")
    print_cut(summary.truncated)
    if summary.disputed:
        _print_disputed(summary, classes)


def _print_disputed(summary: "PredictionSummary", classes: Sequence[str]) -> None:
    from mcstl._support.errors import brief

    say(
        "\nWhat perspectives disagree on most (some texts may be offensive), with the two furthest "
        f"apart and the class that each expects, from 0 ({classes[0]}) to 1 ({classes[-1]}):"
    )
    for each in summary.disputed:
        ends = (
            f"{each[x]['perspective']} {each[x]['expected']:.2f}" for x in ("lowest", "highest")
        )
        say(f"Row {each['row']:,}: {', '.join(ends)}", indent=4)
        say(f"    {' / '.join(brief(text, 140) for text in each['texts'])}", indent=4)
    if summary.first_row > 1:
        say("Rows are counted as a spreadsheet does: the names of the columns are row 1.")
    typer.echo(f"In full: {summary.disputed_file}")
