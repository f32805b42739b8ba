"""The command that serves a saved model."""

from pathlib import Path
from typing import Annotated

import typer

from mcstl._support.errors import need_extra
from mcstl.cli.app import MinPeople, app


@app.command(epilog="Example:  mcstl serve out/model --port 8000")
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
        from mcstl.serving.api import serve as serve_model
    from mcstl.groups.small_groups import FEW_PEOPLE
    from mcstl.models.model import Model

    loaded = Model.load(model, min_people=min_people or FEW_PEOPLE)
    loaded.encoder = loaded.encoder.forgetful()
    here = f"http://{host}:{port}{root_path.rstrip('/')}"
    typer.echo(f"The page: {here}/page   the API: {here}/docs")
    serve_model(loaded, host, port, root_path=root_path)
