"""A preference model as a reward function in TRL's signature."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from mcstl import equations
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, brief, listed
from mcstl.data.importers import conversation_text
from mcstl.models.model import Model

#: The column of a TRL dataset that chooses a perspective row by row.
COLUMN = "perspective"


class RewardFunction:
    """A reward function for TRL's trainers: ``GRPOTrainer(reward_funcs=RewardFunction(model))``.

    The reward of a prompt with its completion is r = o(e + V) / t (§2.4) from one `perspective`, a
    list of group names whose embeddings add (Eq. 1); or from a `mixture`, which gives names of
    groups weights that are made to sum to 1, the mean reward; or else from the population's view,
    the mean over the training memberships. A dataset's column ``perspective`` (a name, a list of
    names, or nothing) chooses for its row and goes before both.

    A text is read as `mcstl.data.importers` reads TRL's preference data. Raises InputError if the
    model is none of preference, or for a name that is no group.
    """

    def __init__(
        self,
        model: Model,
        perspective: Sequence[str] | None = None,
        *,
        mixture: Mapping[str, float] | None = None,
    ) -> None:
        self.model = model
        self.patterns, self.weights = views(model, perspective, mixture)
        named = "-".join(perspective or mixture or ["population"])
        self.__name__ = f"mcstl-{named}"  # TRL's name for its logged mean

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float]:
        """Return a reward per completion; prompts and completions are texts or conversations."""
        texts = [
            conversation_text(prompt, completion)
            for prompt, completion in zip(prompts, completions, strict=True)
        ]
        rewards = self._rewards(texts, self.patterns, self.weights)
        asked = columns.get(COLUMN) or [None] * len(texts)
        chosen = [(one,) if isinstance(one, str) else tuple(one or ()) for one in asked]
        for names in dict.fromkeys(filter(None, chosen)):
            rows = [row for row, its in enumerate(chosen) if its == names]
            patterns, weights = views(self.model, names, None)
            rewards[rows] = self._rewards([texts[row] for row in rows], patterns, weights)
        return [float(reward) for reward in rewards]

    def _rewards(self, texts: list[str], patterns: csr_matrix, weights: FloatArray) -> FloatArray:
        return np.asarray(_scores(self.model, texts, patterns) @ weights)


def score_texts(
    model: Model, texts: Sequence[str], perspectives: Sequence[Sequence[str]]
) -> FloatArray:
    """Return r = o(e + V) / t of every text from every perspective: (n, P), in logits (§2.4).

    Raises InputError if the model is none of preference, or for a name that is no group.
    """
    need_preference(model)
    return _scores(model, texts, model.membership(perspectives))


def views(
    model: Model, perspective: Sequence[str] | None, mixture: Mapping[str, float] | None
) -> tuple[csr_matrix, FloatArray]:
    """Return the memberships (P, K) that a reward is a mean over, and their weights (P,).

    Raises InputError as `RewardFunction` does.
    """
    need_preference(model)
    if perspective is not None and mixture is not None:
        raise InputError("give a perspective or a mixture, not both")
    if perspective is not None:
        return model.membership([perspective]), np.ones(1)
    if mixture is None:
        patterns, counts = model.population
        return patterns, counts / counts.sum()
    patterns = model.membership([[name] for name in mixture])
    weights = np.array([float(weight) for weight in mixture.values()])
    if not (np.isfinite(weights).all() and (weights >= 0).all() and weights.sum() > 0):
        raise InputError(
            f"a mixture has weights from 0 that are not all 0; got {brief(dict(mixture), 80)}"
        )
    return patterns, weights / weights.sum()


def need_preference(model: Model) -> None:
    """Raise InputError if a model does not compare two texts."""
    if model.task != "preference":
        raise InputError(
            f"a reward needs a model of preference; this one is {model.task} "
            f"({listed(model.classes)})"
        )


def _scores(model: Model, texts: Sequence[str], patterns: csr_matrix) -> FloatArray:
    """(n, P) rewards under memberships (P, K), of an average person where people are learnt."""
    network = model.network.eval()
    with torch.inference_mode():
        e = torch.from_numpy(model.encoder.encode(list(texts)))
        S = torch.from_numpy(patterns.toarray().astype(np.float32))
        scores = network.score(network.project(e)[:, None], network.shift(S)[None])
        return (scores / equations.temperature(S, network.log_t)).double().numpy()
