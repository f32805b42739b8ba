"""What a labeller sees of an annotation: its rationale, the text it is about, an explanation."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from mcstl.data.annotations import Annotations
from mcstl.data.cells import cell_text
from mcstl.data.parts import readable


class Cases(NamedTuple):
    """What a labeller sees of n annotations; "" where something is missing.

    Attributes:
        rationales: (n,) reasons that people gave.
        texts: (n,) texts that the rationales are about.
        explanations: (n,) explanations of the context, for a language model.
    """

    rationales: list[str]
    texts: list[str]
    explanations: list[str]

    def take(self, positions: Sequence[int]) -> "Cases":
        """Select cases by position.

        Args:
            positions: Positions from 0 to n - 1, in the order wanted.

        Returns:
            The cases at those positions.
        """
        return Cases(*([column[i] for i in positions] for column in self))


def cases_of_annotations(annotations: Annotations) -> Cases:
    """Collect the rationales of annotations and the texts that they are about, never the labels.

    Groups must not be made from what is to be predicted, so a case has no label. In preference its
    text is both texts of the pair in alphabetical order, which does not reveal which came first.

    Args:
        annotations: Annotations with a column ``rationale``, and perhaps ``explanation``.

    Returns:
        One case per annotation, in their order.
    """
    frame = annotations.frame
    columns = [frame[name].tolist() for name in annotations.text_columns]
    texts = ["\n\n".join(sorted(map(readable, row))) for row in zip(*columns, strict=True)]
    explained = annotations.has("explanation")
    explanations = frame["explanation"].tolist() if explained else [""] * len(frame)
    return Cases(frame["rationale"].tolist(), texts, explanations)


def cases_of_table(
    table: pd.DataFrame, rationale: str, text: str = "", explanation: str = ""
) -> Cases:
    """Collect the cases in the named columns of a table.

    Args:
        table: Any table, one case per row.
        rationale: Column of the rationales.
        text: Column of the texts that they are about; "" for none.
        explanation: Column of the explanations; "" for none.

    Returns:
        One case per row, in their order.
    """
    columns = (
        [cell_text(cell) or "" for cell in table[name]] if name else [""] * len(table)
        for name in (rationale, text, explanation)
    )
    return Cases(*columns)
