"""The command that serves a saved model."""

from pathlib import Path
from typing import Annotated

import typer

from mcstl._support.errors import need_extra
from mcstl.cli.app import MinPeople
from mcstl.cli.app import app as commands


@commands.command(epilog="Example:  mcstl serve out/model --port 8000")
def serve(
    model: Annotated[Path, typer.Argument(help="A model directory, such as out/model.")],
    host: Annotated[
        str, typer.Option(help="Address to listen on; the default is reached from here alone.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on.")] = 8000,
    root_path: Annotated[
        str,
        typer.Option(help="Prefix under which a proxy shows the server, as /town."),
    ] = "",
    min_people: MinPeople = None,
) -> None:
    """Serve a model over HTTP: an API (/docs), a page (/page), health and metrics.

    It ends on Ctrl-C or SIGTERM, after what is in flight. Nothing is kept of any text.
    """
    with need_extra("serve"):
        from mcstl.serving.api import create_app
        from mcstl.serving.api import serve as serve_app
        from mcstl.serving.several import create_app_of_questions
    from mcstl.groups.small_groups import FEW_PEOPLE
    from mcstl.models.model import Model
    from mcstl.models.questions import QuestionsModel, answers_several

    least = min_people or FEW_PEOPLE
    here = f"http://{host}:{port}{root_path.rstrip('/')}"
    if answers_several(model):
        several = QuestionsModel.load(model, min_people=least)
        for each in several.models.values():
            each.encoder = each.encoder.forgetful()
        app = create_app_of_questions(several, root_path=root_path)
        typer.echo(f"A page for each question: {here}/   the API of all: {here}/docs")
    else:
        loaded = Model.load(model, min_people=least)
        loaded.encoder = loaded.encoder.forgetful()
        app = create_app(loaded, root_path=root_path)
        typer.echo(f"The page: {here}/page   the API: {here}/docs")
    serve_app(app, host, port)
