"""The HTTP API: /predict, /groups, /health, /metrics, and the page on top."""

import contextlib
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict
from typing import Annotated, Any

from mcstl import __version__
from mcstl._support.errors import InputError, brief, did_you_mean, listed, need_extra
from mcstl.models.model import Model
from mcstl.models.perspectives import Views
from mcstl.serving.batching import Batcher, BusyError, Limits
from mcstl.serving.prefix import Prefixed, checked
from mcstl.serving.query import Query

with need_extra("serve"):
    from fastapi import FastAPI, Request, Response
    from fastapi.exceptions import RequestValidationError
    from fastapi.responses import JSONResponse, RedirectResponse
    from fastapi_offline import FastAPIOffline

    from mcstl.serving.monitoring import RequestGuard, ServerMetrics

from pydantic import BaseModel, ConfigDict, Field

#: What a wrong address may have meant.
_PATHS = ("/predict", "/groups", "/health", "/metrics", "/page", "/docs", "/openapi.json")
#: Two views of one thing.
_ICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32">'
    '<circle cx="12" cy="16" r="10" fill="#2563eb" fill-opacity=".8"/>'
    '<circle cx="20" cy="16" r="10" fill="#ea580c" fill-opacity=".8"/></svg>'
)
#: Seconds a client may take to send its request.
_MAX_SECONDS_TO_SEND = 20.0


class Question(BaseModel):
    """Texts, or pairs of texts for a preference, and the perspectives to predict them from.

    Attributes:
        texts: Texts; for a preference, pairs [a, b]. A text may be the list of its parts.
        perspectives: Groups, or several as "A + B"; each group if left out.
        mix: A population of your own: weights of perspectives.
        interval: The probability that intervals are to hold, as 0.95; none if left out.
    """

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"texts": ["The library opens at nine."]}]},
    )
    texts: Annotated[
        list[Annotated[str, Field(min_length=1)] | list[str | list[str]]],
        Field(
            min_length=1,
            description="Texts; for a preference, pairs [a, b]. A text may be the list of its "
            "parts, as the model's `parts` name them.",
        ),
    ]
    perspectives: list[str] | None = Field(
        None, description='Groups, or several as "A + B"; each group if left out.'
    )
    mix: dict[str, float] | None = Field(
        None, description="A population of your own: weights of perspectives."
    )
    interval: float | None = Field(
        None,
        gt=0,
        lt=1,
        description="The probability that intervals are to hold, as 0.95; none if left out.",
    )


class Answer(BaseModel):
    """Class probabilities of one text, in the order of `classes` and `perspectives`.

    Attributes:
        population: L probabilities of the training population.
        mix: L probabilities of the stated population, if there is one.
        perspectives: L probabilities of each of the P perspectives.
        population_low: The lower ends of the population's intervals, if asked for.
        population_high: The upper ends.
        low: The lower ends of the perspectives' intervals, if asked for.
        high: The upper ends.
        disagreement: How much the perspectives disagree, from 0, all agree, to 1.
        truncated: Whether the encoder did not read the text to its end.
    """

    population: list[float]
    mix: list[float] | None
    perspectives: list[list[float]]
    population_low: list[float] | None
    population_high: list[float] | None
    low: list[list[float]] | None
    high: list[list[float]] | None
    disagreement: float = Field(description="From 0, all agree, to 1.")
    truncated: bool = Field(description="Whether the text is longer than the encoder reads.")


class Predictions(BaseModel):
    """One answer per text.

    Attributes:
        classes: The names of the L classes.
        perspectives: The names of the P perspectives.
        unseen: Those perspectives that no training annotation has: for them the embeddings of
            their groups are added alone, which training never saw.
        answers: The answers, in the order of the texts.
    """

    classes: list[str]
    perspectives: list[str]
    unseen: list[str] = Field(description="Perspectives that no training annotation has.")
    answers: list[Answer]


class GroupFacts(BaseModel):
    """One value group, and how many annotations and people it was learnt from.

    Attributes:
        name: The group's name.
        size: How many training annotations it has; 0 where fewer than five people made them.
        annotators: How many people made them, if known; 0 for fewer than five.
        description: What its members share.
        warning: What to be careful of, or an empty text.
    """

    name: str
    size: int
    annotators: int | None
    description: str
    warning: str


class ModelFacts(BaseModel):
    """What the model was made for, and what a request may ask.

    Attributes:
        task: The task: binary, ordinal or preference.
        classes: The names of the L classes.
        encoder: The name of the text encoder.
        parts: The names of the parts of a text; none for whole texts.
        groups: The value groups that may be asked.
        limits: The limits of one request.
    """

    task: str
    classes: list[str]
    encoder: str
    parts: list[str]
    groups: list[GroupFacts]
    limits: dict[str, float]


class Health(BaseModel):
    """That the server is up.

    Attributes:
        status: Always "ok".
        version: The version of mcstl.
    """

    status: str
    version: str


class Problem(BaseModel):
    """What is wrong with a request.

    Attributes:
        detail: One line that says what is wrong.
    """

    detail: str


#: What a request may be answered with, for the documentation.
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": description}
    for status, description in {
        400: "The body broke off, or is no text in UTF-8.",
        408: "The body took too long.",
        413: "The body is too large.",
        422: "The body is not JSON, or cannot be used.",
        503: "Too many requests wait.",
    }.items()
}


def create_app(
    model: Model, limits: Limits | None = None, *, page: bool = True, root_path: str = ""
) -> FastAPI:
    """Make the server of a model as an ASGI app, for uvicorn or a test's client.

    Args:
        model: The model that answers.
        limits: How much a request may ask; the defaults of `Limits` if None.
        page: Whether the page is served beside the API.
        root_path: The prefix under which a proxy shows the server, as ``/town``; "" for none. A
            proxy may name it in ``X-Forwarded-Prefix``, too.

    Returns:
        The app.

    Raises:
        InputError: If the extra ``serve`` is not installed, or the prefix is none.
    """
    limits = limits or Limits()
    batcher, metrics = Batcher(model, limits), ServerMetrics()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await batcher.warm_up()
        yield
        batcher.close()

    app = FastAPIOffline(  # its /docs come with it, FastAPI's own are loaded from elsewhere
        title="mcstl",
        version=__version__,
        description="What each value group says of a text (MC-STL). Groups are estimates from "
        "annotations; they are not what any person thinks.",
        lifespan=lifespan,
        redoc_url=None,
        docs_url="/docs",
        favicon_url="favicon.ico",
    )
    app.state.batcher = batcher
    add_error_handlers(app)

    @app.post("/predict", responses=PROBLEMS)
    async def predict(question: Question) -> Predictions:
        """Return what each perspective, the population and a mix of your own say of texts."""
        texts, query = batcher.check(question.texts, question.perspectives, question.mix)
        views = await batcher.views(texts, query.perspectives, question.interval)
        metrics.texts.inc(len(texts))
        return _predictions(views, query)

    @app.get("/groups")
    async def groups() -> ModelFacts:
        """Return the model's classes and groups, and what a request may ask."""
        return _model_facts(model, limits)

    @app.get("/health")
    async def health() -> Health:
        """Say that the server is up."""
        return Health(status="ok", version=__version__)

    @app.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        return Response(_ICON, media_type="image/svg+xml")

    @app.get("/manifest.json", include_in_schema=False)
    async def manifest() -> dict[str, Any]:
        # Addresses are as seen from the manifest, so that they hold under a prefix, too.
        picture = {"src": "favicon.ico", "sizes": "any", "type": "image/svg+xml"}
        return {"name": "mcstl", "start_url": "page/", "display": "browser", "icons": [picture]}

    @app.get("/metrics", response_class=Response, include_in_schema=False)
    async def prometheus() -> Response:
        return Response(metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    if page:
        from mcstl.serving.page import mount

        @app.get("/", include_in_schema=False)
        async def front(request: Request) -> RedirectResponse:
            return RedirectResponse(f"{request.scope.get('root_path', '')}/page/")

        app.get("/page", include_in_schema=False)(front)
        mount(app, batcher)
    app.add_middleware(Prefixed, root_path=checked(root_path))
    app.add_middleware(
        RequestGuard, metrics=metrics, max_bytes=limits.body, max_seconds=_MAX_SECONDS_TO_SEND
    )
    return app


def add_error_handlers(app: FastAPI) -> None:
    """Answer every error with a status and one line.

    Args:
        app: The app.
    """

    @app.exception_handler(InputError)
    async def unusable(_: Request, error: InputError) -> JSONResponse:
        return _problem(422, str(error))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> JSONResponse:
        # Where and what, but not what was sent: it may be a text, or no Unicode.
        problems = [_said(each) for each in error.errors()[:5]]
        return _problem(422, brief("; ".join(problems), 500))

    @app.exception_handler(404)
    async def nowhere(request: Request, _: Exception) -> JSONResponse:
        path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
        near = did_you_mean(path, _PATHS)
        return _problem(404, f"there is nothing at {brief(path)}; see /docs.{near}")

    @app.exception_handler(BusyError)
    async def busy(_: Request, error: BusyError) -> JSONResponse:
        return _problem(503, str(error), {"Retry-After": "1"})


def _said(error: Mapping[str, Any]) -> str:
    """Word one problem of a request's form."""
    place = [str(part) for part in error["loc"]]
    if error["type"] == "extra_forbidden":
        known = list(Question.model_fields)
        near = did_you_mean(place[-1], known) or f" A request has {listed(known)}."
        return f"{'.'.join(map(brief, place))}: there is no such field.{near}"
    return f"{'.'.join(place)}: {error['msg']}"


def _problem(status: int, reason: str, headers: dict[str, str] | None = None) -> JSONResponse:
    # Half a surrogate pair in a key or a name would not be UTF-8.
    detail = reason.encode(errors="replace").decode()
    return JSONResponse({"detail": detail}, status, headers)


def _predictions(views: Views, query: Query) -> Predictions:
    n = len(views.population)
    mixes = views.mixture(query.mix).tolist() if query.mix else [None] * n
    shown = views.first_perspectives(query.n_shown)
    low, high = [[None] * n] * 2 if shown.ends is None else shown.ends.tolist()
    return Predictions(
        classes=list(shown.classes),
        perspectives=list(shown.names),
        unseen=list(shown.unseen),
        answers=[
            Answer(
                population=population,
                mix=mix,
                perspectives=p,
                population_low=lower and lower[0],
                population_high=upper and upper[0],
                low=lower and lower[1:],
                high=upper and upper[1:],
                disagreement=disagreement,
                truncated=truncated,
            )
            for population, mix, p, lower, upper, disagreement, truncated in zip(
                shown.population.tolist(),
                mixes,
                shown.p.tolist(),
                low,
                high,
                shown.disagreement.tolist(),
                [False] * n if shown.truncated is None else shown.truncated.tolist(),
                strict=True,
            )
        ],
    )


def _model_facts(model: Model, limits: Limits) -> ModelFacts:
    return ModelFacts(
        task=model.task,
        classes=list(model.classes),
        encoder=model.encoder.name,
        parts=list(model.text_form.parts),
        groups=[
            GroupFacts.model_validate(group, from_attributes=True) for group in model.askable_groups
        ],
        limits={name: limit for name, limit in asdict(limits).items() if name != "waiting"},
    )


def serve(app: FastAPI, host: str, port: int, limits: Limits | None = None) -> None:
    """Serve a model until SIGTERM or Ctrl-C; what is in flight is finished first.

    Args:
        app: The app of the model.
        host: The address to listen on.
        port: The port to listen on.
        limits: How much a request may ask, as given to `create_app`.
    """
    import uvicorn

    from mcstl.serving.monitoring import log_to_stderr

    limits = limits or Limits()
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
