"""The recipe of a training where it is left open: chosen on the validation rows, in two fits."""

import copy
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor

from mcstl.models import training
from mcstl.models.examples import Examples
from mcstl.models.networks import BaseNetwork, Network
from mcstl.models.training import Fitted, OnEpoch, Problem, Session, TrainingConfig

#: The recipes that are compared: careful steps, or much dropout with larger ones (LOG.md, 23).
_RECIPES: tuple[Mapping[str, Any], ...] = (
    {"learning_rate": 0.001, "dropout": 0.5, "batch_size": 512},
    {"learning_rate": 0.003, "dropout": 0.8, "batch_size": 512},
)
#: Beyond so many training rows batches are four times as large and, as noise falls with the root of
#: their size, steps twice as large: the same quality in a third of the time.
_MANY_ROWS = 20_000
#: How much memory the networks of a training's epochs may take until the recipe is chosen.
_BYTES_OF_HISTORY = 2**28


def fit(
    train: Examples,
    validation: Examples,
    problem: Problem,
    config: TrainingConfig,
    *,
    network: type[Network] = Network,
    seed: int = 0,
    session: Session | None = None,
) -> Fitted:
    """Fit a network by the recipe of the lowest validation NLL, where `config` leaves it open.

    Args:
        train: The rows to learn from.
        validation: The rows to stop on and to choose by.
        problem: What is to be learnt.
        config: The network's form and how it is trained; what it was given is kept.
        network: The class of the network.
        seed: Decides the initial weights, the order of rows and dropout.
        session: How the training is followed, and where it goes on. Epochs are followed of the
            chosen recipe alone.

    Returns:
        The network and how its training went, with the whole recipe as its `config`.

    Raises:
        InputError: As `mcstl.models.training.fit`.
    """
    session = session or Session()
    recipes = _open_recipes(config, len(train))
    fit_with = partial(training.fit, train, validation, problem, network=network, seed=seed)
    if len(recipes) == 1:
        return fit_with(config, session=session)
    sessions = [session.part(i, len(recipes)) for i in range(len(recipes))]
    histories = [_History() for _ in recipes]
    if session.on_epoch is not None:
        sessions = [
            replace(each, on_epoch=history)
            for each, history in zip(sessions, histories, strict=True)
        ]
    tried = [fit_with(recipe, session=each) for recipe, each in zip(recipes, sessions, strict=True)]
    best, history = min(zip(tried, histories, strict=True), key=lambda pair: pair[0].validation_nll)
    if session.on_epoch is not None:
        if len(history.weights) == best.epochs:
            history.tell(session.on_epoch, best.network)
        else:  # the same again, followed
            best = fit_with(best.config, session=replace(session, progress=sessions[-1].progress))
    if not session.keep:
        for each in sessions:
            each.forget()
    return best


class _History:
    """The networks of a training's epochs, as long as they are few and small.

    Attributes:
        weights: The network's tensors by its epoch.
    """

    def __init__(self) -> None:
        self.weights: dict[int, dict[str, Tensor]] = {}

    def __call__(self, epoch: int, network: BaseNetwork) -> None:
        tensors = {name: tensor.clone() for name, tensor in network.state_dict().items()}
        if epoch * sum(tensor.nbytes for tensor in tensors.values()) <= _BYTES_OF_HISTORY:
            self.weights[epoch] = tensors

    def tell(self, on_epoch: OnEpoch, network: BaseNetwork) -> None:
        """Call `on_epoch` for every epoch, with a copy of a network of the same form."""
        network = copy.deepcopy(network)
        for epoch, tensors in self.weights.items():
            network.load_state_dict(tensors)
            on_epoch(epoch, network)


def chosen(config: TrainingConfig) -> dict[str, Any]:
    """Return what can be chosen of a recipe.

    Args:
        config: The recipe of a fitted network.

    Returns:
        Its values by the keys of `mcstl.models.training.CHOSEN`.
    """
    return config.model_dump(include=set(training.CHOSEN))


def _open_recipes(config: TrainingConfig, n_rows: int) -> list[TrainingConfig]:
    """List the recipes that agree with what was given, each once."""
    given = config.model_dump(exclude_unset=True)
    recipes = []
    for recipe in _RECIPES:
        values = dict(recipe)
        if n_rows > _MANY_ROWS and "batch_size" not in given:
            values["batch_size"] *= 4
            values["learning_rate"] *= 2
        recipes.append(TrainingConfig(**{**values, **given}))
    return [recipe for i, recipe in enumerate(recipes) if recipe not in recipes[:i]]
