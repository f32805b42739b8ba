"""A model of several questions about the same text: a model for each, which share the rest."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np

from mcstl import __version__
from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.questions import folder_names
from mcstl.groups.small_groups import FEW_PEOPLE
from mcstl.models.model import Model
from mcstl.models.model_directory import SCHEMA, model_in
from mcstl.models.perspectives import Perspective
from mcstl.models.texts import Texts

_CONFIG = "questions.json"


@dataclass
class QuestionsModel:
    """What a multilabel study leaves: a binary model for each question.

    Attributes:
        models: The models by question; all have the same groups and encoder.
    """

    models: Mapping[str, Model]

    @property
    def questions(self) -> tuple[str, ...]:
        """The questions, in the order of the probabilities."""
        return tuple(self.models)

    @property
    def group_names(self) -> tuple[str, ...]:
        """The names of the value groups."""
        return self._first.group_names

    @property
    def _first(self) -> Model:
        return next(iter(self.models.values()))

    def __getitem__(self, question: str) -> Model:
        if question not in self.models:
            raise InputError(
                f"{question!r} is no question of this model; it answers {listed(self.questions)}."
                f"{did_you_mean(question, self.questions)}"
            )
        return self.models[question]

    def predict_proba(
        self,
        texts: Texts,
        perspectives: Sequence[Perspective] | None = None,
        *,
        exactly: bool = False,
        progress: Progress = silent,
    ) -> FloatArray:
        """Predict the probability that each question is answered with yes.

        Args:
            texts: n texts, as in `Model.predict_proba`.
            perspectives: Whom the predictions are for, as there.
            exactly: As there.
            progress: Called with what is being done, how many steps are finished and how many there
                are.

        Returns:
            The probabilities of yes, (n, P, Q), with P = 1 for the population. A text may be
            several things at once, so they need not sum to 1.

        Raises:
            InputError: As `Model.predict_proba`.
        """
        each = [
            model.predict_proba(texts, perspectives, exactly=exactly, progress=progress)[..., 1]
            for model in self.models.values()
        ]
        return np.stack(each, axis=-1)

    def save(self, folder: str | Path) -> None:
        """Write a model directory for each question, and which there are.

        Args:
            folder: The directory; a model of several questions that is there is replaced.

        Raises:
            InputError: If `folder` holds something else.
        """
        folder = Path(folder)
        if folder.exists() and not (folder / _CONFIG).is_file():
            raise InputError(
                f"{folder} is there and holds no model of several questions; choose another folder"
            )
        names = folder_names(self.questions)
        with files.new_folder(folder, replaces=True) as temporary:
            for name, model in zip(names, self.models.values(), strict=True):
                model.save(temporary / name)
            config = {
                "schema": SCHEMA,
                "mcstl": __version__,
                "questions": dict(zip(self.questions, names, strict=True)),
            }
            files.write_text(
                temporary / _CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n"
            )

    @classmethod
    def load(cls, folder: str | Path, *, min_people: int = FEW_PEOPLE) -> Self:
        """Read what `save` wrote.

        Args:
            folder: The directory, or the outputs of a multilabel study.
            min_people: As in `Model.load`.

        Returns:
            The model.

        Raises:
            InputError: If the folder is no model of several questions, or one of them cannot be
                read.
        """
        folder = model_in(Path(folder))
        try:
            config = json.loads((folder / _CONFIG).read_text(encoding="utf-8"))
            names = config["questions"]
            if config["schema"] != SCHEMA or [*names.values()] != folder_names([*names]):
                raise ValueError("it is of another version")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{folder} holds no model of several questions that this mcstl reads: {error}"
            ) from error
        return cls(
            {
                question: Model.load(folder / name, min_people=min_people)
                for question, name in names.items()
            }
        )


def answers_several(folder: str | Path) -> bool:
    """Say whether a folder holds a model of several questions.

    Args:
        folder: A model directory, or the outputs of a study.

    Returns:
        True if `QuestionsModel.load` is to read it.
    """
    folder = Path(folder)
    return (folder / _CONFIG).is_file() or (folder / "model" / _CONFIG).is_file()
