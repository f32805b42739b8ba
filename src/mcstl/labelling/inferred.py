"""Rationales where none were collected: what a language model makes of a person's labels (§2.1).

As value profiles of Sorensen et al. (2025): from some texts that a person has labelled a model says
what matters to that person, and that stands as the rationale of their other annotations. It has
seen labels, so the annotations it was shown are no part of what comes out: a label that has told a
rationale must not be predicted from it.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pandas as pd

from mcstl._support.errors import InputError, need_names
from mcstl._support.progress import Progress, silent
from mcstl.data.cells import cell_text
from mcstl.labelling.llm import Client, Prompt, Template, some_text

_LONGEST = 600


class Shown(NamedTuple):
    """Per person, the rows that a language model is shown, and the prompt that shows them."""

    rows: dict[str, list[int]]
    prompts: dict[str, Prompt]


class Inferred(NamedTuple):
    """The table without the rows that were shown, and who has no usable reply, with the reason.

    Its column ``inferred`` is true where the rationale is a language model's.
    """

    table: pd.DataFrame
    shown: int
    without: Mapping[str, str]


def show(
    table: pd.DataFrame,
    source: str,
    template: Template,
    *,
    examples: int = 10,
    text: str = "text",
    label: str = "label",
    annotator: str = "annotator",
    seed: int = 0,
) -> Shown:
    """Draw some labelled rows of each person, at most half of them, and make the prompts.

    Only rows without a rationale are drawn and only people who have such rows are asked about; a
    person with a single one has none to be shown and is left out. Raises InputError for a missing
    column.
    """
    need_names((text, label, annotator), table.columns, source)
    random = np.random.default_rng(seed)
    rows: dict[str, list[int]] = {}
    prompts: dict[str, Prompt] = {}
    without = np.flatnonzero(~_has_rationale(table))
    people = [cell_text(cell) for cell in table[annotator].iloc[without]]
    for person, own in pd.Series(without).groupby(people, sort=True):
        few = min(examples, len(own) // 2)
        if not few:
            continue
        drawn = sorted(int(i) for i in random.permutation(own.to_numpy())[:few])
        rows[str(person)] = drawn
        shown = table.iloc[drawn]
        pairs = zip(shown[text].astype(str), shown[label].astype(str), strict=True)
        prompts[str(person)] = template.fill(
            examples=[{"text": one, "label": its} for one, its in pairs]
        )
    if not rows:
        raise InputError(
            f"nobody in {source} has two rows without a rationale; there is nothing to infer from"
        )
    return Shown(rows, prompts)


def infer(
    table: pd.DataFrame,
    shown: Shown,
    client: Client,
    annotator: str = "annotator",
    progress: Progress = silent,
) -> Inferred:
    """Ask about each person and fill in the rationales that are missing.

    Rationales that people gave stay as they are. Raises InputError as `Client.ask` does.
    """
    answers = dict(
        zip(
            shown.prompts,
            client.ask(list(shown.prompts.values()), some_text(_LONGEST), progress),
            strict=True,
        )
    )
    people = [cell_text(cell) or "" for cell in table[annotator]]
    given = _has_rationale(table)
    found = table.copy()
    if "rationale" not in found.columns:
        found["rationale"] = ""
    if "inferred" not in found.columns:
        found["inferred"] = False
    profiles = {person: answer.value for person, answer in answers.items() if answer.value}
    filled = [not has and person in profiles for has, person in zip(given, people, strict=True)]
    found["rationale"] = [
        profiles[person] if fill else old
        for fill, person, old in zip(filled, people, found["rationale"], strict=True)
    ]
    found["inferred"] = np.where(filled, True, found["inferred"])
    spent = [row for rows in shown.rows.values() for row in rows]
    kept = found.drop(found.index[spent])
    why = {person: answer.why for person, answer in answers.items() if answer.value is None}
    return Inferred(kept, len(spent), why)


def _has_rationale(table: pd.DataFrame) -> np.ndarray:
    if "rationale" not in table.columns:
        return np.zeros(len(table), dtype=bool)
    return np.array([cell_text(cell) is not None for cell in table["rationale"]], dtype=bool)
