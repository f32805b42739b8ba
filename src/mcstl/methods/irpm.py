"""The individual rating prediction module of Fleisig et al. (2023), the paper's A.12.

A transformer reads who speaks and what about: "[t_j] [SEP] x_i", the annotator's descriptors, the
model's separator and the text. It is trained further with the task's head by cross-entropy.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field

from mcstl._support.arrays import FloatArray
from mcstl._support.progress import Progress
from mcstl.data.annotations import Annotations
from mcstl.encoding import finetuning
from mcstl.encoding.finetuning import Classifier, Reader, ReaderConfig, Side
from mcstl.methods.base import (
    BaseMethodConfig,
    FittedMethod,
    Method,
    Predictor,
    Prepared,
    RunSettings,
)
from mcstl.models.examples import Examples
from mcstl.models.training import Problem, Session


class IrpmConfig(BaseMethodConfig, ReaderConfig):
    """What irpm takes in a study file: which transformer, trained for how long, and how.

    Attributes:
        name: irpm.
        model: The transformer, by its name or folder.
        epochs: How many times it sees the training rows at most.
    """

    name: Literal["irpm"] = "irpm"
    model: str = "roberta-base"
    epochs: Annotated[int, Field(ge=1)] = 3


@dataclass(frozen=True)
class Inputs:
    """What the transformer reads of examples: the words of their groups, and their texts.

    Attributes:
        texts: The texts at the examples' positions.
        group_names: The names of the K groups.
    """

    texts: Sequence[str]
    group_names: Sequence[str]

    def of(self, examples: Examples) -> list[tuple[Side, ...]]:
        """Put the descriptors of each example's annotator before its text or texts.

        Args:
            examples: n examples.

        Returns:
            For each example the one or two sides that are read, each a descriptor and a text.
        """
        names = self.group_names
        people = [profile([names[k] for k in sorted(row.indices)]) for row in examples.S]
        pairs = zip(people, examples.positions, strict=True)
        return [tuple((person, self.texts[at]) for at in positions) for person, positions in pairs]


def profile(groups: Sequence[str]) -> str:
    """Put into words what is known of somebody: the descriptors t_j.

    Args:
        groups: The names of the groups that somebody is in.

    Returns:
        The descriptors, separated by commas.

    Example:
        >>> profile(["gender=Woman", "race=Asian & age=25-29"])
        'gender: Woman, race: Asian, age: 25-29'
        >>> profile([])
        'nothing known'
    """
    return ", ".join(groups).replace(" & ", ", ").replace("=", ": ") or "nothing known"


def fit(
    train: Examples,
    validation: Examples,
    inputs: Inputs,
    problem: Problem,
    config: IrpmConfig,
    *,
    seed: int,
    session: Session,
) -> Predictor:
    """Train IRPM, and stop at the epoch with the lowest validation NLL.

    The descriptors are the names of an example's groups, so IRPM sees what every other method
    sees. In preference each text is read after the descriptors, and class 1 has the difference of
    the two scores.

    Args:
        train: Examples to train on.
        validation: Examples to stop by.
        inputs: What is read of an example.
        problem: The classes.
        config: The transformer, and how it is trained.
        seed: What decides the head's start and the order.
        session: Where training goes on after a stop, and what is told of it.

    Returns:
        A function from n examples to their class probabilities, (n, L).

    Raises:
        InputError: If the model cannot be had or trained, and as `finetuning.fit` does.
    """

    def count_labels(examples: Examples) -> finetuning.LabelCounts:
        return finetuning.count_labels(inputs.of(examples), examples.y, problem.n_classes)

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        classifier = Classifier(
            Reader(config.model, config), problem.n_classes, preference=problem.preference
        )
        finetuning.fit(
            classifier,
            count_labels(train),
            count_labels(validation),
            config,
            finetuning.FitOptions(config.epochs, seed=seed, checkpoint=session.checkpoint),
            session.progress,
        )
    return _predictor(classifier, inputs, session.progress)


def _predictor(classifier: Classifier, inputs: Inputs, progress: Progress) -> Predictor:
    def predict(examples: Examples) -> FloatArray:
        rows = inputs.of(examples)
        place = {row: i for i, row in enumerate(dict.fromkeys(rows))}
        return classifier.predict_proba(list(place), progress)[[place[row] for row in rows]]

    return predict


class Irpm(Method):
    """A transformer trained further on the text and the names of the groups."""

    name = "irpm"
    config = IrpmConfig

    def check(self, config: BaseMethodConfig, annotations: Annotations) -> None:
        """See `Method.check`; the transformer is loaded."""
        assert isinstance(config, IrpmConfig)  # noqa: S101 (for the type checker)
        Reader(config.model, config)

    def fit(self, prepared: Prepared, settings: RunSettings) -> FittedMethod:
        """See `Method.fit`."""
        assert isinstance(settings.config, IrpmConfig)  # noqa: S101 (for the type checker)
        examples = self.examples(prepared, settings.seed)
        inputs = Inputs(prepared.annotations.distinct_texts()[0], prepared.scheme.names)
        predict = fit(
            examples.take(prepared.parts.train),
            examples.take(prepared.parts.validation),
            inputs,
            prepared.problem,
            settings.config,
            seed=settings.seed,
            session=settings.session,
        )
        return FittedMethod(predict)


METHOD = Irpm()
