"""A model made of a trained network and of what the study knows around it."""

from typing import Any

import numpy as np

from mcstl import methods
from mcstl.encoding.encoders import Encoder
from mcstl.methods.base import Prepared, RunSettings
from mcstl.models.model import Model
from mcstl.models.networks import BaseNetwork


def build_model(
    network: BaseNetwork,
    prepared: Prepared,
    settings: RunSettings,
    group_encoder: Encoder | None,
    facts: dict[str, Any],
) -> Model:
    """Put a trained network together with its groups, its encoders and its training population.

    Args:
        network: The network.
        prepared: The data that it was trained on.
        settings: The run that trained it.
        group_encoder: What forms the groups from rationales, None where nothing does.
        facts: Settings and figures that travel with the model.

    Returns:
        The model, whose groups are those that the method sees.
    """
    examples = methods.find(settings.config.name).examples(prepared, settings.seed)
    train = examples.take(prepared.parts.train)
    memberships, codes = train.patterns
    with_groups = memberships.shape[1] > 0
    text_encoder = prepared.encoder
    return Model(
        network,
        prepared.annotations.task,
        prepared.annotations.classes,
        prepared.scheme if with_groups else None,
        text_encoder,
        (memberships, np.bincount(codes, weights=train.w).astype(float)),
        facts,
        group_encoder=group_encoder if with_groups and group_encoder is not text_encoder else None,
        people=prepared.people if network.n_annotators else (),
        texts=prepared.texts if network.n_texts else np.empty(0, dtype=np.int64),
        text_parts=prepared.text_parts,
    )
