"""What is labelled: why somebody said what they said, about which text, with what explanation."""

from collections.abc import Sequence
from typing import NamedTuple

import pandas as pd

from mcstl.data.annotations import Annotations
from mcstl.data.cells import cell_text


class Cases(NamedTuple):
    """(n,) rationales, and texts and explanations, which may be empty; "" where one is missing."""

    rationales: list[str]
    texts: list[str]
    explanations: list[str]

    def take(self, rows: Sequence[int]) -> "Cases":
        """Return the cases at the given positions."""
        return Cases(*([column[i] for i in rows] for column in self))


def cases_of(annotations: Annotations) -> Cases:
    """Return the rationales of annotations and the texts that they are about, never the labels.

    Membership in groups must not be made from what is to be predicted, so the label is no part of
    a case. In preference a text is both texts of a pair, in alphabetical order, so that the case
    does not tell which came first.
    """
    frame = annotations.frame
    columns = [frame[name].tolist() for name in annotations.text_columns]
    texts = ["\n\n".join(sorted(row)) for row in zip(*columns, strict=True)]
    return Cases(frame["rationale"].tolist(), texts, [""] * len(frame))


def cases_from(table: pd.DataFrame, rationale: str, text: str = "", explanation: str = "") -> Cases:
    """Return the cases in the named columns of a table; a column "" is empty."""
    columns = (
        [cell_text(cell) or "" for cell in table[name]] if name else [""] * len(table)
        for name in (rationale, text, explanation)
    )
    return Cases(*columns)
