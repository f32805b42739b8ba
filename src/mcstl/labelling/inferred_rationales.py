"""Rationales where none were collected: what a language model makes of a person's labels (§2.1).

As value profiles of Sorensen et al. (2025): from some texts that a person has labelled a model says
what matters to that person, and that stands as the rationale of their remaining annotations. It has
seen labels, so the annotations it was shown are left out of what comes out: a label must not be
predicted from a rationale that was made from it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd

from mcstl._support.arrays import BoolArray
from mcstl._support.errors import InputError, need_names
from mcstl._support.progress import Progress, silent
from mcstl.data.cells import cell_text
from mcstl.labelling.llm import Client, Prompt, Template, text_of

_MAX_LENGTH = 600


@dataclass(frozen=True)
class LabelColumns:
    """The columns of a table that a language model is shown.

    Attributes:
        text: Column of the texts.
        label: Column of the labels.
        annotator: Column of the people.
    """

    text: str = "text"
    label: str = "label"
    annotator: str = "annotator"


class ShownLabels(NamedTuple):
    """What a language model is shown of each person.

    Attributes:
        rows: By person, the positions of the rows that it is shown.
        prompts: By person, the prompt that shows them.
    """

    rows: dict[str, list[int]]
    prompts: dict[str, Prompt]


class InferredTable(NamedTuple):
    """A table with inferred rationales.

    Attributes:
        table: The table without the rows that were shown. Its column ``inferred`` is true where
            the rationale is a language model's.
        n_shown: How many rows were shown.
        failures: By person without a usable reply, the reason.
    """

    table: pd.DataFrame
    n_shown: int
    failures: Mapping[str, str]


def draw_labels(
    table: pd.DataFrame,
    source: str,
    template: Template,
    columns: LabelColumns | None = None,
    *,
    examples: int = 10,
    seed: int = 0,
) -> ShownLabels:
    """Draw some labelled rows of each person and write the prompts that show them.

    Only rows without a rationale are drawn, at most half of those that a person has, so a person
    with a single one is left out.

    Args:
        table: One annotation per row.
        source: What errors call the table.
        template: The prompt to fill.
        columns: The columns to show; None for text, label and annotator.
        examples: Most rows to draw of a person.
        seed: Seed of the draw.

    Returns:
        The rows drawn and the prompt, by person.

    Raises:
        InputError: A column is missing, or nobody has two rows without a rationale.
    """
    columns = columns or LabelColumns()
    need_names((columns.text, columns.label, columns.annotator), table.columns, source)
    random = np.random.default_rng(seed)
    rows: dict[str, list[int]] = {}
    prompts: dict[str, Prompt] = {}
    without = np.flatnonzero(~_has_rationale(table))
    people = [cell_text(cell) for cell in table[columns.annotator].iloc[without]]
    for person, positions in pd.Series(without).groupby(people, sort=True):
        n_drawn = min(examples, len(positions) // 2)
        if not n_drawn:
            continue
        drawn = sorted(int(i) for i in random.permutation(positions.to_numpy())[:n_drawn])
        rows[str(person)] = drawn
        shown = table.iloc[drawn]
        pairs = zip(shown[columns.text].astype(str), shown[columns.label].astype(str), strict=True)
        prompts[str(person)] = template.fill(
            examples=[{"text": text, "label": label} for text, label in pairs]
        )
    if not rows:
        raise InputError(
            f"nobody in {source} has two rows without a rationale; there is nothing to infer from"
        )
    return ShownLabels(rows, prompts)


def infer_rationales(
    table: pd.DataFrame,
    shown: ShownLabels,
    client: Client,
    annotator: str = "annotator",
    progress: Progress = silent,
) -> InferredTable:
    """Ask a language model about each person and fill in the rationales that are missing.

    Rationales that people gave stay as they are.

    Args:
        table: One annotation per row.
        shown: What `draw_labels` returned for it.
        client: Sends the prompts.
        annotator: Column of the people.
        progress: Called with the step, how many prompts are answered and how many there are.

    Returns:
        The table with inferred rationales.

    Raises:
        InputError: The language model cannot be used; see `Client.ask`.
    """
    prompts = list(shown.prompts.values())
    replies = client.ask(prompts, text_of(_MAX_LENGTH), progress)
    answers = dict(zip(shown.prompts, replies, strict=True))
    people = [cell_text(cell) or "" for cell in table[annotator]]
    given = _has_rationale(table)
    filled = table.copy()
    if "rationale" not in filled.columns:
        filled["rationale"] = ""
    if "inferred" not in filled.columns:
        filled["inferred"] = False
    profiles = {person: answer.value for person, answer in answers.items() if answer.value}
    is_filled = [not has and person in profiles for has, person in zip(given, people, strict=True)]
    filled["rationale"] = [
        profiles[person] if fill else before
        for fill, person, before in zip(is_filled, people, filled["rationale"], strict=True)
    ]
    filled["inferred"] = np.where(is_filled, True, filled["inferred"])
    shown_rows = [row for rows in shown.rows.values() for row in rows]
    failures = {person: answer.reason for person, answer in answers.items() if answer.value is None}
    return InferredTable(filled.drop(filled.index[shown_rows]), len(shown_rows), failures)


def _has_rationale(table: pd.DataFrame) -> BoolArray:
    if "rationale" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return np.array([cell_text(cell) is not None for cell in table["rationale"]], dtype=bool)
