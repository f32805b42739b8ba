"""Bridge to the interface of training that is being built; goes when it is there."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from mcstl._support.progress import Progress, silent
from mcstl.models import training
from mcstl.models.examples import Examples
from mcstl.models.networks import Network, ProductNetwork
from mcstl.models.people import PeopleNetwork


@dataclass(frozen=True)
class Problem:
    n_classes: int
    preference: bool = False
    annotations_per_item: float | None = None


@dataclass(frozen=True)
class Session:
    checkpoint: Path | None = None
    keep: bool = False
    on_epoch: training.OnEpoch | None = None
    progress: Progress = silent


def fit(
    train: Examples,
    validation: Examples,
    problem: Problem,
    config: training.TrainingConfig,
    *,
    network: type = Network,
    seed: int = 0,
    session: Session = Session(),
) -> training.Fitted:
    form: object = Network if network is PeopleNetwork else network
    if network is ProductNetwork:
        texts = train.vectors[np.unique(train.positions)]
        width = 0.55 * (float(np.sqrt(texts.var(axis=0).sum())) or 1.0)
        form = partial(ProductNetwork, width=width)
    return training.fit(
        train,
        validation,
        config,
        network=form,
        seed=seed,
        **vars(problem),
        **vars(session),
    )
