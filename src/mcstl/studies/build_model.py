"""A model made of a trained network and of what the study knows around it."""

from typing import Any

import numpy as np

from mcstl import methods
from mcstl._support.errors import InputError, listed
from mcstl.encoding.encoders import Encoder
from mcstl.methods.base import BaseMethodConfig, Prepared, RunSettings
from mcstl.models.model import Model
from mcstl.models.networks import BaseNetwork
from mcstl.studies.study_file import Study


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


def method_of_model(study: Study) -> BaseMethodConfig | None:
    """Choose the method whose model a study saves.

    Args:
        study: The study.

    Returns:
        The one that it names as its `model`; else ``best``, which recommends itself on validation
        rows; else the first that leaves a model; None where no method does.

    Raises:
        InputError: If the method that it names leaves no model.
    """
    leave = [
        method
        for method in study.methods
        if method.recalibrate is None and methods.find(method.name).saves_model
    ]
    if study.model is None:
        recommended = [method for method in leave if method.name == "best"]
        return next(iter(recommended or leave), None)
    for method in leave:
        if method.title == study.model:
            return method
    raise InputError(
        f"model: {study.model} leaves no model; of the study's methods these do: "
        f"{listed(method.title for method in leave) or 'none'}"
    )
