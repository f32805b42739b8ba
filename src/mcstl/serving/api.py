"""The HTTP API: /predict, /groups, /health, /metrics, and the page on top."""

import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Annotated, Any

from mcstl import __version__
from mcstl._support.errors import InputError, brief, need_extra
from mcstl.models.model import Model
from mcstl.serving.answers import Answers, BusyError, Limits

with need_extra("serve"):
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, RedirectResponse
    from fastapi_offline import FastAPIOffline

    from mcstl.serving.watch import Counts, Watch

from pydantic import BaseModel, ConfigDict, Field

#: Seconds a client may take to send its request.
_PATIENCE = 20.0


class Question(BaseModel):
    """Texts, or pairs of texts for a preference, and from which perspectives to look at them."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"texts": ["The library opens at nine."]}]},
    )
    texts: Annotated[
        list[Annotated[str, Field(min_length=1)] | Annotated[list[str], Field(max_length=2)]],
        Field(min_length=1, description="Texts; for a preference, pairs [a, b]."),
    ]
    perspectives: list[str] | None = Field(
        None, description='Groups, or several as "A + B"; each group if left out.'
    )
    mix: dict[str, float] | None = Field(
        None, description="A population of your own: weights of perspectives."
    )


class Answer(BaseModel):
    """Class probabilities of one text, in the order of `classes` and `perspectives`."""

    population: list[float]
    mix: list[float] | None
    perspectives: list[list[float]]
    disagreement: float = Field(description="From 0, all agree, to 1.")


class Predictions(BaseModel):
    """One answer per text."""

    classes: list[str]
    perspectives: list[str]
    answers: list[Answer]


class GroupFacts(BaseModel):
    """One value group, and how many annotations and people it was learnt from."""

    name: str
    size: int
    annotators: int | None
    description: str
    warning: str


class ModelFacts(BaseModel):
    """What the model was made for, and what a request may ask."""

    task: str
    classes: list[str]
    encoder: str
    groups: list[GroupFacts]
    limits: dict[str, float]


class Health(BaseModel):
    """That the server is up."""

    status: str
    version: str


class Problem(BaseModel):
    """What is wrong with a request."""

    detail: str


_PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": what}
    for status, what in {
        400: "The body is not JSON.",
        408: "The body took too long.",
        413: "The body is too large.",
        422: "The request cannot be used.",
        503: "Too many requests wait.",
    }.items()
}


def create_app(model: Model, limits: Limits | None = None, *, page: bool = True) -> FastAPI:
    """Return the server of a model as an ASGI app, for uvicorn or a test's client.

    Raises InputError if the extra ``serve`` is not installed.
    """
    limits = limits or Limits()
    answers, counts = Answers(model, limits), Counts()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await answers.warm_up()
        yield
        answers.close()

    app = FastAPIOffline(  # its /docs come with it, FastAPI's own are loaded from elsewhere
        title="mcstl",
        version=__version__,
        description="What each value group says of a text (MC-STL). Groups are estimates from "
        "annotations; they are not what any person thinks.",
        lifespan=lifespan,
        redoc_url=None,
        docs_url="/docs",
    )

    @app.exception_handler(InputError)
    async def wrong(_: Request, error: InputError) -> JSONResponse:
        return _problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        # Where and what, but not what was sent: it may be a text, or no Unicode.
        told = [f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors()[:5]]
        return _problem(422, brief("; ".join(told), 500))

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> JSONResponse:
        return _problem(503, str(error), {"Retry-After": "1"})

    @app.post("/predict", responses=_PROBLEMS)
    async def predict(question: Question) -> Predictions:
        """Return what each perspective, the population and a mix of your own say of texts."""
        rows, asked, weights, n = answers.check(question.texts, question.perspectives, question.mix)
        views = await answers.views(rows, asked)
        counts.texts.inc(len(rows))
        mixed = views.mixture(weights).tolist() if weights else [None] * len(rows)
        views = views.first(n)
        return Predictions(
            classes=list(views.classes),
            perspectives=list(views.names),
            answers=[
                Answer(population=whole, mix=mix, perspectives=each, disagreement=score)
                for whole, mix, each, score in zip(
                    views.population.tolist(),
                    mixed,
                    views.p.tolist(),
                    views.disagreement.tolist(),
                    strict=True,
                )
            ],
        )

    @app.get("/groups")
    async def groups() -> ModelFacts:
        """Return the model's classes and groups, and what a request may ask."""
        return ModelFacts(
            task=model.task,
            classes=list(model.classes),
            encoder=model.encoder.name,
            groups=[
                GroupFacts(
                    name=group.name,
                    size=group.size,
                    annotators=group.annotators,
                    description=group.description,
                    warning=group.warning,
                )
                for group in (model.scheme.groups if model.scheme else ())
            ],
            limits={
                "letters": limits.letters,
                "batch": limits.batch,
                "perspectives": limits.perspectives,
                "body": limits.body,
                "timeout": limits.timeout,
            },
        )

    @app.get("/health")
    async def health() -> Health:
        """Say that the server is up."""
        return Health(status="ok", version=__version__)

    @app.get("/metrics", response_class=Response, include_in_schema=False)
    async def metrics() -> Response:
        return Response(counts.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    if page:
        from mcstl.serving.page import mount

        @app.get("/", include_in_schema=False)
        async def front() -> RedirectResponse:
            return RedirectResponse("/page")

        mount(app, answers)
    app.add_middleware(Watch, counts=counts, most=limits.body, patience=_PATIENCE)
    return app


def _problem(status: int, why: str, headers: dict[str, str] | None = None) -> JSONResponse:
    # Half a surrogate pair in a key or a name would not be UTF-8.
    detail = why.encode(errors="replace").decode()
    return JSONResponse({"detail": detail}, status, headers)


def serve(model: Model, host: str, port: int, limits: Limits | None = None) -> None:
    """Serve a model until SIGTERM or Ctrl-C; what is in flight is finished first.

    Raises InputError if the extra ``serve`` is not installed.
    """
    import uvicorn

    from mcstl.serving.watch import log_to_stderr

    limits = limits or Limits()
    app = create_app(model, limits)
    log_to_stderr()
    # When all is finished uvicorn raises SIGTERM again, which would end the process as if killed.
    signal.signal(signal.SIGTERM, lambda *_: None)
    uvicorn.run(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,  # ours has no texts in it; a query could
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=int(limits.timeout) + 5,
        limit_concurrency=4 * limits.waiting,
    )
