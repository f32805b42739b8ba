"""How a study fits a method: it predicts the test rows, recalibrated if the study says so."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from mcstl import methods
from mcstl._support.arrays import FloatArray
from mcstl.methods.base import Part, Prepared, RunSettings
from mcstl.models.networks import BaseNetwork
from mcstl.models.prediction import never_certain


class FittedRun(NamedTuple):
    """One method, fitted with one seed.

    Attributes:
        p: The class probabilities of the test rows, (n, L).
        network: The network, None for a method without one and for one that is recalibrated.
        recipe: What was chosen on the validation rows of how it is trained.
    """

    p: FloatArray
    network: BaseNetwork | None
    recipe: Mapping[str, Any]


def fit_method(prepared: Prepared, settings: RunSettings) -> FittedRun:
    """Fit a method and predict the test rows.

    A method with `recalibrate` is fitted as without it, then its probabilities are mapped to the
    labels of the validation rows, group by group.

    Args:
        prepared: The seed's data; what a method predicts is remembered there for the methods that
            recalibrate it.
        settings: The method as it stands in the study, its training and its seed.

    Returns:
        The predictions of the test rows, and what made them.

    Raises:
        InputError: If the data lack a column that the method needs, or if it cannot be fitted.
    """
    config = settings.config
    if config.recalibrate is not None:
        return FittedRun(_recalibrated(prepared, settings), None, {})
    method = methods.find(config.name)
    session = settings.session

    def progress(_: str, done: int, total: int) -> None:
        session.progress(f"training {config.title}", done, total)

    fitted = method.fit(prepared, settings._replace(session=replace(session, progress=progress)))
    examples = method.examples(prepared, settings.seed)
    parts: tuple[Part, ...] = ("validation", "test")
    p = {
        part: never_certain(fitted.predict(examples.take(getattr(prepared.parts, part))))
        for part in parts
    }
    prepared.predicted[config.plain.model_dump_json()] = p
    return FittedRun(p["test"], fitted.network, fitted.recipe)


def _recalibrated(prepared: Prepared, settings: RunSettings) -> FloatArray:
    # scikit-learn takes a second to import, which other methods need not pay.
    from mcstl.methods.recalibration import recalibrate

    config = settings.config
    assert config.recalibrate is not None  # noqa: S101 (for the type checker)
    key = config.plain.model_dump_json()
    if key not in prepared.predicted:
        session = replace(settings.session, on_epoch=None)
        fit_method(prepared, settings._replace(config=config.plain, session=session))
    p = prepared.predicted[key]
    p_test = recalibrate(
        config.recalibrate,
        p["validation"],
        prepared.part("validation").y,
        prepared.groups("validation"),
        p["test"],
        prepared.groups("test"),
        symmetric=prepared.problem.preference,
        seed=settings.seed,
    )
    return never_certain(p_test)
