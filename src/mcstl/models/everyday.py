"""What a model says of itself and its groups, and the plain answer to what the label would be."""

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mcstl._support.errors import listed
from mcstl._support.notebook import Shown
from mcstl.data.labels import Task
from mcstl.groups import Scheme
from mcstl.groups.base import Group
from mcstl.models.perspectives import askable
from mcstl.models.texts import TextForm, Texts, columns_of

_ORDER = {"preference": " or ", "ordinal": " < "}


class EverydayModel(Shown):
    """A model that answers with labels, and shows itself in terminals and notebooks.

    Attributes:
        task: What it predicts.
        classes: The names of the classes, in their order.
        scheme: The rule that gives annotations their groups; None for a model without groups.
        encoder: What turns texts into vectors.
        facts: Settings and figures that travel with the model.
        min_people: How many people a group must be of for predictions to be made for it.
        text_parts: The number of parts that each of the training texts has, 1 for whole texts.
    """

    task: Task
    classes: tuple[str, ...]
    scheme: Scheme | None
    encoder: Any
    facts: dict[str, Any]
    min_people: int
    text_parts: int

    @property
    def text_form(self) -> TextForm:
        """What it is asked about: texts or pairs, and the parts of each."""
        columns = columns_of(self.facts)
        encoder = self.encoder
        return TextForm.of(
            self.task, self.text_parts, encoder.parts > 1, columns, encoder.rationale
        )

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the value groups, in the order of the embeddings."""
        return self.scheme.names if self.scheme else ()

    @property
    def groups_of_few(self) -> tuple[str, ...]:
        """The names of groups of fewer than five people."""
        groups = self.scheme.groups if self.scheme else ()
        return tuple(group.name for group in groups if group.is_of_few)

    @property
    def askable_groups(self) -> tuple[Group, ...]:
        """The groups for which predictions are made: those of `min_people` or more."""
        groups = self.scheme.groups if self.scheme else ()
        return askable(groups, self.min_people)

    @abc.abstractmethod
    def predict_proba(self, texts: Texts, perspectives: Any = None) -> Any:
        """Predict P(label | text, perspective).

        Args:
            texts: n texts, or pairs.
            perspectives: Whom the predictions are for.

        Returns:
            The class probabilities, (n, P, L).
        """

    def predict(self, texts: Texts, perspectives: Sequence[Any] | None = None) -> Any:
        """Predict the likeliest label of each text.

        Args:
            texts: n texts, or lists of their parts; in preference pairs (a, b).
            perspectives: P perspectives, as `predict_proba` takes them; by default the population.

        Returns:
            Names of classes: (n,), or (n, P) where perspectives are given. In preference the second
            class means that a is preferred.

        Raises:
            InputError: As `predict_proba` does.
        """
        likeliest = self.predict_proba(texts, perspectives).argmax(axis=-1)
        labels = np.asarray(self.classes, dtype=object)[likeliest]
        return labels[:, 0] if perspectives is None else labels

    def shown_facts(self) -> Mapping[str, str]:
        """List the task, the classes, the groups and the encoder.

        Returns:
            Facts by their names.
        """
        names = self.group_names
        return {
            "task": str(self.task),
            "classes": _ORDER.get(self.task, ", ").join(self.classes),
            "groups": f"{len(names)} ({listed(names, 6)})" if names else "none",
            "encoder": str(self.encoder.name),
        }
