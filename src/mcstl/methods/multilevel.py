"""Multilevel regression on texts, groups and people, post-stratified (docs/people.md)."""

from dataclasses import replace

import numpy as np

from mcstl._support.arrays import IntArray
from mcstl.methods.base import FittedMethod, Method, Prepared, RunSettings
from mcstl.models import training
from mcstl.models.examples import Examples
from mcstl.models.multilevel import MultilevelNetwork


class Multilevel(Method):
    """The regression on all training and validation rows: nothing of it is stopped or chosen."""

    name = "multilevel"
    saves_model = True

    def _examples(self, prepared: Prepared, seed: int) -> Examples:
        return replace(
            prepared.examples, annotators=prepared.annotators, known=prepared.known_texts
        )

    def fit(self, prepared: Prepared, settings: RunSettings) -> FittedMethod:
        """See `Method.fit`."""
        rows = np.concatenate([prepared.parts.train, prepared.parts.validation])
        examples = self.examples(prepared, settings.seed)
        network = fitted(examples.take(rows), prepared, settings)
        return FittedMethod(lambda rows: training.predict(network, rows), network)


def fitted(
    train: Examples,
    prepared: Prepared,
    settings: RunSettings,
    like: MultilevelNetwork | None = None,
) -> MultilevelNetwork:
    """Fit the regression to some rows.

    Args:
        train: The rows.
        prepared: The seed's data.
        settings: The run's seed, and how it is followed.
        like: A network fitted to these rows and more.

    Returns:
        The network.
    """
    return MultilevelNetwork.fitted(
        train,
        prepared.problem.n_classes,
        preference=prepared.problem.preference,
        like=like,
        seed=settings.seed,
        progress=settings.session.progress,
    )


def only_known(examples: Examples, rows: IntArray) -> Examples:
    """Forget the annotators and texts that some rows do not have.

    Args:
        examples: n examples.
        rows: The rows that are learnt from.

    Returns:
        The examples; whoever and whatever has none of these rows is unknown, -1.
    """
    if examples.annotators is None or examples.known is None:
        raise ValueError("the examples have no codes of annotators and texts")
    people = np.unique(examples.annotators[rows])
    texts = np.unique(examples.known[examples.positions[rows]])
    return replace(
        examples,
        annotators=np.where(np.isin(examples.annotators, people), examples.annotators, -1),
        known=np.where(np.isin(examples.known, texts), examples.known, -1),
    )


METHOD = Multilevel()
