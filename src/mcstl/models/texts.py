"""What a model is asked about: a text, a pair of texts, or texts in parts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from mcstl._support.errors import InputError
from mcstl.data.annotations import TEXT_COLUMNS
from mcstl.data.labels import Task
from mcstl.data.parts import join_parts, split_parts, split_rationale, with_rationale

#: A text, or its parts; a missing part is "" or None.
Text = str | Sequence[str | None]
#: Texts, or pairs of texts in preference.
Texts = Sequence[Text] | Sequence[tuple[Text, Text]]

_LISTS = (list, tuple, np.ndarray)


def columns_of(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Look up the columns of the study that made a model.

    Args:
        facts: The facts of the model.

    Returns:
        The table's names by ours, empty where it was made without a study.
    """
    try:
        return dict(facts["study"]["data"]["columns"])
    except (KeyError, TypeError, ValueError):
        return {}


@dataclass(frozen=True)
class TextForm:
    """The form of what a model predicts.

    Attributes:
        sides: 2 for a pair of texts, else 1.
        parts: The names of the parts that a text was trained with, empty for whole texts; the
            rationale is the last of them where one is read.
        apart: Whether the parts are told apart, so that a text without them cannot be read.
        rationale: Whether a rationale is read beside the text.
    """

    sides: int
    parts: tuple[str, ...] = ()
    apart: bool = False
    rationale: bool = False

    @classmethod
    def of(
        cls,
        task: Task,
        parts: int,
        apart: bool,
        columns: Mapping[str, Any],
        rationale: bool = False,
    ) -> Self:
        """Make the form of a model's texts.

        Args:
            task: The model's task.
            parts: The number of parts of its training texts, 1 for whole texts.
            apart: Whether they are told apart.
            columns: The columns of its study, which may name the parts.
            rationale: Whether a rationale is read beside the text.

        Returns:
            The form.
        """
        texts = TEXT_COLUMNS[task]
        sides = [columns.get(ours) for ours in texts]
        if None in sides:
            sides = [columns.get(ours) for ours in ("chosen", "rejected")]
        named = [each for each in sides if isinstance(each, list) and len(each) == parts]
        # What two sides call differently, as chosen and rejected, has no name for both.
        names = [
            str(both[0]) if len({*both}) == 1 else f"part {k + 1}"
            for k, both in enumerate(zip(*named, strict=True))
        ] or [f"part {k + 1}" for k in range(parts)]
        names = names if parts > 1 else []
        if rationale:
            names = [*(names or ["text"]), str(columns.get("rationale", "rationale"))]
        return cls(len(texts), tuple(names), apart or rationale, rationale)

    @property
    def expected(self) -> str:
        """What an item has to be, for a message."""
        if not self.parts:
            return "a pair (text_a, text_b)" if self.sides == 2 else "one text"
        parts = f"[{', '.join(self.parts)}]"
        if self.sides == 2:
            return f"a pair (text_a, text_b), each a list of its parts {parts}"
        return f"a list of its parts {parts}" + ("" if self.apart else ", or one text")

    @property
    def boxes(self) -> tuple[str, ...]:
        """The titles of the boxes that a person fills in: a box per part of each side."""
        sides = ("First text (A)", "Second text (B)") if self.sides == 2 else ("Text",)
        if not self.parts:
            return sides
        before = [f"{side}: " for side in sides] if self.sides == 2 else [""]
        return tuple(f"{side}{part}" for side in before for part in self.parts)

    def of_boxes(self, filled: Sequence[str]) -> Sequence[str] | Sequence[Sequence[str]]:
        """Put together what a person filled in.

        Args:
            filled: The texts of the `boxes`.

        Returns:
            An item as `read` takes it.
        """
        if not self.parts:
            return filled if self.sides == 2 else filled[0]
        n = len(self.parts)
        sides = [filled[start : start + n] for start in range(0, len(filled), n)]
        return sides if self.sides == 2 else sides[0]

    def read_all(self, items: Sequence[object]) -> list[tuple[str, ...]]:
        """Read items, as `read` does.

        Args:
            items: n items.

        Returns:
            The text, or the two, of each.

        Raises:
            InputError: An item has another form or an empty text.
        """
        if isinstance(items, str):
            raise InputError("texts is a list; write [text] for a single one")
        texts = []
        for number, item in enumerate(items):
            if (read := self.read(item)) is None:
                raise InputError(
                    f"text {number} must be {self.expected}, not empty; got {item!r:.80}"
                )
            texts.append(read)
        return texts

    def read(self, item: object) -> tuple[str, ...] | None:
        """Read an item.

        Args:
            item: A text or the list of its parts; in preference a pair of these.

        Returns:
            Its text or its two, each whole with marks between its parts; None where it has another
            form or an empty text.
        """
        # A list is the parts of a single text, where it may have some.
        of_sides = self.sides == 2 or not self.parts
        sides = list(item) if of_sides and isinstance(item, _LISTS) else [item]
        texts = [text for side in sides if (text := self._text(side)) is not None]
        return tuple(texts) if len(texts) == len(sides) == self.sides else None

    def _text(self, side: object) -> str | None:
        """Read one side: the whole text, None where it cannot be read."""
        if isinstance(side, str):
            text, rationale = split_rationale(side)
            pieces = [*split_parts(text), *([] if rationale is None else [rationale])]
            if not self.rationale:
                fits = not self.apart or len(pieces) == len(self.parts)
                return side if fits and side.strip() else None
            side = pieces  # of a table: the rationale is the last of the columns
        if not isinstance(side, _LISTS) or not self.parts or len(side) != len(self.parts):
            return None
        if not all(isinstance(part, str | None) for part in side):
            return None
        *parts, last = side
        joined = join_parts(parts if self.rationale else list(side))
        return with_rationale(joined, last or "") if joined and self.rationale else joined
