"""What every method is: what it sees of the data, how it is fitted, and what it leaves."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal, NamedTuple

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.data.annotations import Annotations
from mcstl.data.parts import number_of_parts
from mcstl.data.splits import Split
from mcstl.encoding.encoders import Encoder
from mcstl.groups import Scheme
from mcstl.groups.base import need_column
from mcstl.models.examples import Examples
from mcstl.models.known_texts import codes, hashes
from mcstl.models.networks import BaseNetwork
from mcstl.models.training import Fitted, Problem, Session, TrainingConfig

Part = Literal["train", "validation", "test"]
Recalibration = Literal["temperature", "platt", "isotonic", "mcgrad"]
#: From n examples to their class probabilities, (n, L).
Predictor = Callable[[Examples], FloatArray]


class BaseMethodConfig(BaseModel):
    """What every method takes in a study file.

    >>> BaseMethodConfig(name="none", recalibrate="platt").title
    'none + platt'

    Attributes:
        name: The name of the method in the registry.
        label: What the method is called in the results, by default its name.
        recalibrate: How its probabilities are recalibrated on the validation rows, None: not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    label: str = ""
    recalibrate: Recalibration | None = None

    @property
    def title(self) -> str:
        """The label, or else the name and how it is recalibrated."""
        plain = f"{self.name} + {self.recalibrate}" if self.recalibrate else self.name
        return self.label or plain

    @property
    def plain(self) -> "BaseMethodConfig":
        """The same method without a label and without recalibration."""
        return self.model_copy(update={"label": "", "recalibrate": None})


class MethodConfig(BaseMethodConfig):
    """What a method takes in a study file unless it has a form of its own.

    Attributes:
        training: The keys of the study's `training` that are others for this method.
    """

    training: dict[str, Any] = {}


@dataclass(frozen=True)
class Prepared:
    """One seed of a study, ready for its methods.

    Attributes:
        annotations: All annotations of the study.
        minority: (n,) how far each counts as differing from its item's majority, 0 to 1.
        parts: The positions of training, validation and test rows.
        scheme: The groups, fitted on the training rows.
        examples: All annotations as examples, in their order.
        encoder: The encoder of the texts, the seed's own where it is trained further.
        predicted: What methods without recalibration predicted, by their configuration, for the
            methods that recalibrate them.
        trained: The networks of mc-stl, by how they were trained, for the method that builds on it.
    """

    annotations: Annotations
    minority: FloatArray
    parts: Split
    scheme: Scheme
    examples: Examples
    encoder: Encoder
    predicted: dict[str, dict[Part, FloatArray]] = field(default_factory=dict, compare=False)
    trained: dict[str, Fitted] = field(default_factory=dict, compare=False)

    def part(self, part: Part) -> Examples:
        """Take the examples of one part.

        Args:
            part: train, validation or test.

        Returns:
            Its examples, with all their groups.
        """
        return self.examples.take(getattr(self.parts, part))

    def groups(self, part: Part) -> BoolArray:
        """Look up which groups the rows of one part are in.

        Args:
            part: train, validation or test.

        Returns:
            (n, K) whether each of its n rows is in each of the K groups.
        """
        inside: BoolArray = self.examples.S[getattr(self.parts, part)].toarray() > 0
        return inside

    @cached_property
    def text_parts(self) -> int:
        """The number of parts that each text has, 1 for whole texts."""
        return number_of_parts(self.annotations.distinct_texts()[0])

    @cached_property
    def people(self) -> tuple[str, ...]:
        """The annotators who have training or validation rows, () where nobody is known."""
        if not self.annotations.has("annotator"):
            return ()
        people = self.annotations.frame["annotator"].iloc[self._rows_to_learn_from]
        return tuple(people.dropna().unique())

    @cached_property
    def texts(self) -> IntArray:
        """(I,) the hashes of the texts that have training or validation rows, ascending."""
        positions = self.annotations.distinct_texts()[1]
        return np.unique(self._hashes[np.unique(positions[self._rows_to_learn_from])])

    @cached_property
    def known_texts(self) -> IntArray:
        """(m,) each distinct text's place in `texts`, -1 for a new one."""
        return codes(self._hashes, self.texts)

    @cached_property
    def _hashes(self) -> IntArray:
        return hashes(self.annotations.distinct_texts()[0])

    @property
    def _rows_to_learn_from(self) -> IntArray:
        return np.concatenate([self.parts.train, self.parts.validation])

    @cached_property
    def annotators(self) -> IntArray:
        """(n,) each row's annotator by the place in `people`, -1 for everybody else."""
        if not self.people:
            return np.full(len(self.annotations), -1, dtype=np.int64)
        places = pd.Index(self.people).get_indexer(pd.Index(self.annotations.frame["annotator"]))
        return np.asarray(places, dtype=np.int64)

    @cached_property
    def problem(self) -> Problem:
        """What a network has to learn: the classes, and the m and m_i of the paper's lambda_1.

        Annotations are counted by weight and in the whole data set (A.2). Where several items
        have the same text, its m_i is that of one of them.
        """
        data = self.annotations
        items, weights = data.frame["item"], data.weights
        texts, positions = data.distinct_texts()
        of_text = np.ones(len(texts))
        of_text[positions.T] = pd.Series(weights).groupby(items.to_numpy()).transform("sum")
        return Problem(
            n_classes=len(data.classes),
            preference=data.task == "preference",
            annotations_per_item=float(weights.sum() / items.nunique()),
            annotations_of_text=of_text,
        )


class FittedMethod(NamedTuple):
    """A fitted method.

    Attributes:
        predict: From n examples to their class probabilities, (n, L).
        network: The network that predicts, None for a method without one.
        recipe: What was chosen on the validation rows of how it is trained, by the keys of
            `training`.
    """

    predict: Predictor
    network: BaseNetwork | None = None
    recipe: Mapping[str, Any] = {}


class RunSettings(NamedTuple):
    """How one run of a study, a method with a seed, is fitted.

    Attributes:
        config: The method as it stands in the study.
        training: The `training` part of the study, with the method's own changes.
        seed: The seed.
        session: How training is followed, and goes on after a stop.
    """

    config: BaseMethodConfig
    training: TrainingConfig
    seed: int
    session: Session = Session()


class Method(ABC):
    """A method that a study can name.

    Its file ends with ``METHOD``, an instance; `mcstl.methods` has its name. What a method sees of
    the data is changed by overriding `_examples`, how it is fitted by `fit`.

    Attributes:
        name: The name in the registry.
        config: What the method takes in a study file.
        needs: The column without which it cannot be used, None where there is none.
        is_trained: Whether the `training` part of a study trains it.
        saves_model: Whether it leaves a network that answers for the groups of the study.
    """

    name: str
    config: ClassVar[type[BaseMethodConfig]] = MethodConfig
    needs: ClassVar[str | None] = None
    is_trained: ClassVar[bool] = False
    saves_model: ClassVar[bool] = False

    def examples(self, prepared: Prepared, seed: int) -> Examples:
        """Show the data as the method sees them.

        Args:
            prepared: The seed's data.
            seed: The seed.

        Returns:
            All annotations of the study in their order, by default with the study's groups.

        Raises:
            InputError: If the data lack a column that the method needs.
        """
        if self.needs is not None:
            need_column(prepared.annotations, self.needs, f"The method {self.name} needs")
        return self._examples(prepared, seed)

    def _examples(self, prepared: Prepared, seed: int) -> Examples:
        return prepared.examples

    def check(self, config: BaseMethodConfig, annotations: Annotations) -> None:
        """Check that what the method needs can be had, before anything is fitted.

        Args:
            config: The method as it stands in the study.
            annotations: The study's annotations.

        Raises:
            InputError: It cannot.
        """
        if self.needs is not None:
            need_column(annotations, self.needs, f"The method {self.name} needs")

    @abstractmethod
    def fit(self, prepared: Prepared, settings: RunSettings) -> FittedMethod:
        """Fit the method to the training and validation rows.

        Args:
            prepared: The seed's data.
            settings: The method as it stands in the study, its training and its seed.

        Returns:
            What predicts examples such as `examples` gives.

        Raises:
            InputError: If the data cannot be used.
        """
