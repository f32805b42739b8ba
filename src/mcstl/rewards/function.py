"""A preference model as a reward function in TRL's signature."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from scipy.sparse import csr_matrix

from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, listed
from mcstl.data.conversations import conversation_text
from mcstl.data.parts import join_parts
from mcstl.models.model import Model
from mcstl.models.perspectives import Groups, Jury, check_weights
from mcstl.models.texts import Text

#: The column of a TRL dataset that chooses a perspective row by row.
COLUMN = "perspective"


class RewardFunction:
    """A reward function for TRL's trainers: ``GRPOTrainer(reward_funcs=RewardFunction(model))``.

    The reward of a prompt with its completion is r = o(e + V) / t (§2.4), from a perspective or as
    the mean over a mixture; without either it is the mean over the training memberships, the
    population's view. A dataset's column ``perspective`` (a name, a list of names, or nothing)
    chooses for its row and goes before both. A prompt and its completion become one text as
    `mcstl.data.importers` reads TRL's preference data; they are the two parts of a model whose
    texts have two.

    Args:
        model: A preference model.
        perspective: Names of groups, post-stratified as in `Model.predict_proba`.
        mixture: Weights of groups by their names, which are made to sum to 1.

    Raises:
        InputError: If the model does not compare two texts, a name is no group, a weight is no
            weight, or both a perspective and a mixture are given.
    """

    def __init__(
        self,
        model: Model,
        perspective: Sequence[str] | None = None,
        *,
        mixture: Mapping[str, float] | None = None,
    ) -> None:
        self.model = model
        self.memberships, self.weights = weighted_memberships(model, perspective, mixture)
        view = "-".join(perspective or mixture or ["population"])
        self.__name__ = f"mcstl-{view}"  # TRL's name for its logged mean

    def __call__(
        self, prompts: Sequence[Any], completions: Sequence[Any], **columns: Any
    ) -> list[float]:
        """Score completions, in TRL's signature.

        Args:
            prompts: n texts or conversations.
            completions: n texts or conversations that continue them.
            **columns: The dataset's other columns, n values each; only ``perspective`` is read.

        Returns:
            n rewards, in logits.

        Raises:
            InputError: If a name in the column ``perspective`` is no group.
        """
        pairs = zip(prompts, completions, strict=True)
        texts = [_text(self.model, prompt, completion) for prompt, completion in pairs]
        column = columns.get(COLUMN) or [None] * len(texts)
        choices = [(cell,) if isinstance(cell, str) else tuple(cell or ()) for cell in column]
        rewards = np.empty(len(texts))
        for choice in dict.fromkeys(choices):
            memberships, weights = (
                weighted_memberships(self.model, choice)
                if choice
                else (self.memberships, self.weights)
            )
            rows = [row for row, each in enumerate(choices) if each == choice]
            scores = _scores(self.model, [texts[row] for row in rows], memberships)
            rewards[rows] = scores @ weights
        return [float(reward) for reward in rewards]


def score_texts(
    model: Model,
    texts: Sequence[Text],
    perspectives: Sequence[Groups],
    *,
    exactly: bool = False,
) -> FloatArray:
    """Score every text from every perspective: the mean of r = o(e + V) / t (§2.4).

    Args:
        model: A preference model.
        texts: n texts, each a list of its parts where the model's have some.
        perspectives: P lists of group names, post-stratified as in `Model.predict_proba`.
        exactly: Whether to add the embeddings of the named groups alone (Eq. 1).

    Returns:
        (n, P) rewards, in logits.

    Raises:
        InputError: If the model does not compare two texts, or if a name is no group.
    """
    _check_task(model)
    respondents = model.respondents(perspectives, exactly=exactly)
    whole = [text for (text,) in replace(model.text_form, sides=1).read_all(texts)]
    scores: FloatArray = _scores(model, whole, respondents.S) @ respondents.shares.T
    return scores


def weighted_memberships(
    model: Model,
    perspective: Groups | None = None,
    mixture: Mapping[str, float] | None = None,
) -> tuple[csr_matrix, FloatArray]:
    """Find the memberships that a reward is a weighted mean over.

    Args:
        model: A preference model.
        perspective: Names of groups, post-stratified as in `Model.predict_proba`.
        mixture: Weights of groups by their names. Without it and a perspective, the training
            population's memberships are taken.

    Returns:
        (J, K) memberships and (J,) their weights, which sum to 1.

    Raises:
        InputError: As `RewardFunction` does.
    """
    _check_task(model)
    if perspective is not None and mixture is not None:
        raise InputError("give a perspective or a mixture, not both")
    if mixture is None:
        respondents = model.respondents([perspective or ()])
    else:
        weights = list(check_weights(mixture).values())
        respondents = model.respondents([Jury([[name] for name in mixture], weights)])
    return respondents.S, respondents.shares.toarray()[0]


def _text(model: Model, prompt: object, completion: object) -> str:
    """Make of a prompt and its completion what the model reads."""
    whole, n_parts = conversation_text(prompt, completion), len(model.text_form.parts)
    if n_parts == 2:
        asked = conversation_text(prompt)
        if not whole.startswith(asked):  # the messages hold the prompt, which is a text
            asked = whole.partition("\n\n")[0]
        return join_parts([asked, whole.removeprefix(asked).removeprefix("\n\n")]) or ""
    if model.text_form.apart:
        raise InputError(
            f"this model reads texts of {n_parts} parts apart, and a prompt with its completion "
            "has two; write parts: joined in its study and train it again, or name two columns, "
            "as in columns: {chosen: [prompt, chosen], rejected: [prompt, rejected]}"
        )
    return whole


def _check_task(model: Model) -> None:
    if model.task != "preference":
        raise InputError(
            f"a reward needs a model of preference; this one is {model.task} "
            f"({listed(model.classes)})"
        )


def _scores(model: Model, texts: Sequence[str], memberships: csr_matrix) -> FloatArray:
    """(n, P) rewards under memberships (P, K), of an average person where people are learnt."""
    network = model.network.eval()
    with torch.inference_mode():
        e = torch.from_numpy(model.encoder.encode(list(texts)))
        S = torch.from_numpy(memberships.toarray().astype(np.float32))
        return network.rewards(e, S).double().numpy()
