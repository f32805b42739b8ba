"""The HTTP API of a model of several questions: all at once, and each under its own path."""

import contextlib
from collections.abc import AsyncIterator

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from fastapi_offline import FastAPIOffline
from markupsafe import escape
from pydantic import BaseModel

from mcstl import __version__
from mcstl.data.questions import folder_names
from mcstl.models.questions import QuestionsModel
from mcstl.serving.api import PROBLEMS, Health, Question, add_error_handlers, create_app
from mcstl.serving.batching import Limits
from mcstl.serving.prefix import Prefixed, checked


class SeveralAnswers(BaseModel):
    """How likely each question about one text is answered with yes, in the order of `questions`.

    Attributes:
        population: Q probabilities of the training population.
        mix: Q probabilities of the stated population, if there is one.
        perspectives: Q probabilities of each of the P perspectives.
    """

    population: list[float]
    mix: list[float] | None
    perspectives: list[list[float]]


class SeveralPredictions(BaseModel):
    """One answer per text.

    Attributes:
        questions: The Q questions.
        perspectives: The names of the P perspectives.
        answers: The answers, in the order of the texts.
    """

    questions: list[str]
    perspectives: list[str]
    answers: list[SeveralAnswers]


def create_app_of_questions(
    model: QuestionsModel,
    limits: Limits | None = None,
    *,
    page: bool = True,
    root_path: str = "",
) -> FastAPI:
    """Make the server of a model of several questions as an ASGI app.

    ``/predict`` answers all questions; the whole server of each, with its page, is at its name.

    Args:
        model: The model that answers.
        limits: As in `create_app`.
        page: As in `create_app`.
        root_path: As in `create_app`.

    Returns:
        The app.

    Raises:
        InputError: As `create_app`.
    """
    root = checked(root_path)
    names = folder_names(model.questions)
    apps = {
        name: create_app(each, limits, page=page, root_path=f"{root}/{name}")
        for name, each in zip(names, model.models.values(), strict=True)
    }

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            for each in apps.values():
                await stack.enter_async_context(each.router.lifespan_context(each))
            yield

    app = FastAPIOffline(
        title="mcstl",
        version=__version__,
        description="What each value group says of a text, for several questions (MC-STL).",
        lifespan=lifespan,
        redoc_url=None,
        docs_url="/docs",
    )
    add_error_handlers(app)
    batchers = [each.state.batcher for each in apps.values()]

    @app.post("/predict", responses=PROBLEMS)
    async def predict(question: Question) -> SeveralPredictions:
        """Return how likely each question is answered with yes, by each perspective."""
        texts, query = batchers[0].check(question.texts, question.perspectives, question.mix)
        views = [await batcher.views(texts, query.perspectives) for batcher in batchers]
        shown = [each.first_perspectives(query.n_shown) for each in views]
        population = np.stack([each.population[:, 1] for each in shown], axis=-1)
        p = np.stack([each.p[..., 1] for each in shown], axis=-1)
        mixes = [each.mixture(query.mix)[:, 1] for each in views] if query.mix else []
        return SeveralPredictions(
            questions=list(model.questions),
            perspectives=list(shown[0].names),
            answers=[
                SeveralAnswers(
                    population=population[i].tolist(),
                    mix=[float(mix[i]) for mix in mixes] or None,
                    perspectives=p[i].tolist(),
                )
                for i in range(len(texts))
            ],
        )

    @app.get("/health")
    async def health() -> Health:
        """Say that the server is up."""
        return Health(status="ok", version=__version__)

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    async def front(request: Request) -> str:
        here = request.scope.get("root_path", "")
        links = "".join(
            f'<li><a href="{escape(here)}/{name}/page">{escape(question)}</a></li>'
            for name, question in zip(names, model.questions, strict=True)
        )
        return (
            '<!doctype html><html lang="en"><title>mcstl</title><h1>Several questions</h1>'
            f'<p>A page for each; all at once: <a href="{escape(here)}/docs">the API</a>.</p>'
            f"<ul>{links}</ul></html>"
        )

    for name, each in apps.items():
        app.mount(f"/{name}", each)
    app.add_middleware(Prefixed, root_path=root)
    return app
