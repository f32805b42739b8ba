"""The choice of K by people (A.8): one page with the groups of every K side by side, and a form."""

import datetime
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcstl._support import csv_files, files
from mcstl._support.errors import InputError, brief, listed
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups import choice, leakage, rationale
from mcstl.groups.rationale import RationaleConfig
from mcstl.groups.review import forms, summaries
from mcstl.groups.review.summaries import Summary
from mcstl.labelling.llm import Client, Prompt, Template

PAGE, FORM, FIGURES, RECORD = "choose-k.html", "choose-k.csv", "candidates.json", "choices.json"
COLUMNS = ("k", "chosen", "who", "why")


class Option(NamedTuple):
    """One K on the page: its figures, and the summaries of its groups.

    `overlap` is the largest of two groups' words, `said_overlap` of two language model's summaries
    (cosine of their embeddings; NaN without), `told` the AUC of the label from the groups alone.
    """

    k: int
    silhouette: float
    stability: float
    overlap: float
    said_overlap: float
    told: float
    groups: list[Summary]

    def figures(self) -> dict[str, Any]:
        """Return all but the summaries, as JSON holds it."""
        return {
            name: None if value != value else value
            for name, value in self._asdict().items()
            if name != "groups"
        }


class Choice(NamedTuple):
    """What an expert has chosen."""

    k: int
    who: str
    why: str


def options(
    config: RationaleConfig,
    annotations: Annotations,
    encoder: Encoder,
    ks: Sequence[int] = choice.RANGE,
    client: Client | None = None,
    progress: Progress = silent,
) -> list[Option]:
    """Form the groups of each K on the training rows `annotations` and say what speaks for it.

    Raises InputError if the table has no rationales, or too few for any K.
    """
    neutral = config.side_neutral
    if neutral is None:
        neutral = annotations.task == "preference"
    said = rationale.said_in(annotations, neutral)
    vectors = encoder.encode(said.texts, progress)
    found = []
    for each in choice.compare(said.texts, vectors, said.counts, config.algorithm, ks, progress):
        of_k = config.model_copy(update={"k": each.k})
        scheme = rationale.fit(of_k, annotations, encoder)
        S = scheme.assign(annotations, encoder)
        groups = summaries.summarise(
            scheme.groups, S, annotations, encoder, side_neutral=neutral, progress=progress
        )
        if client is not None:
            asked = summaries.prompts(scheme.groups, S, annotations, encoder, Template("summary"))
            groups = summaries.with_llm(groups, asked, client, progress)
        found.append(
            Option(
                k=each.k,
                silhouette=each.silhouette,
                stability=each.stability,
                overlap=each.overlap,
                said_overlap=_said_overlap(groups, encoder),
                told=leakage.told(S, annotations),
                groups=groups,
            )
        )
    if not found:
        raise InputError(
            f"the training rows of {annotations.source} have only {len(said.texts)} distinct "
            f"rationales, too few for any of K = {listed(ks)}"
        )
    return found


def suggested(found: Sequence[Option]) -> int:
    """Return the K that ``k: auto`` takes."""
    return choice.chosen(found)


def prompts_of(
    config: RationaleConfig, annotations: Annotations, encoder: Encoder, ks: Sequence[int]
) -> list[Prompt]:
    """Return what `options` would ask a language model."""
    asked: list[Prompt] = []
    for k in ks:
        scheme = rationale.fit(config.model_copy(update={"k": k}), annotations, encoder)
        S = scheme.assign(annotations, encoder)
        asked += summaries.prompts(scheme.groups, S, annotations, encoder, Template("summary"))
    return asked


def write(folder: Path, found: Sequence[Option], name: str) -> Path:
    """Write the page, the form as CSV and the figures to `folder`, and return the page's path."""
    rows = ([option.k, *[""] * (len(COLUMNS) - 1)] for option in found)
    csv_files.write_csv(folder / FORM, COLUMNS, rows)
    figures = [option.figures() for option in found]
    files.write_text(folder / FIGURES, json.dumps(figures, indent=1))
    text = forms.page(
        "choose_k.html.j2",
        name=name,
        options=found,
        suggested=suggested(found),
        said=leakage.said,
        has_llm=any(group.said for option in found for group in option.groups),
        stable=choice.STABLE,
        distinct=choice.DISTINCT,
        form={"file": FORM, "columns": list(COLUMNS)},
    )
    files.write_text(folder / PAGE, text)
    return folder / PAGE


def read(path: Path) -> Choice:
    """Read a form that was filled in. Raises InputError unless one K is chosen, by whom and why."""
    rows = forms.read_csv(path, COLUMNS)
    chosen = [row for row in rows if row["chosen"]]
    if len(chosen) != 1:
        raise InputError(
            f"{path}: {len(chosen)} rows are marked in the column chosen; mark the one K"
        )
    row = chosen[0]
    if not row["k"].isdigit() or int(row["k"]) < 2:
        raise InputError(f"{path}: k is {brief(row['k'])!r}; expected a whole number from 2")
    for column in ("who", "why"):
        if not row[column]:
            raise InputError(f"{path}: say {column} in the row of the K that is chosen")
    return Choice(int(row["k"]), row["who"], row["why"])


def record(path: Path, chosen: Choice) -> Path:
    """Add who chose what and why to choices.json beside the form, and return its path.

    Raises InputError if the K is none of those on the page.
    """
    folder = path.parent
    figures: list[dict[str, Any]] = []
    if (folder / FIGURES).exists():
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        if chosen.k not in [each["k"] for each in figures]:
            raise InputError(
                f"{path}: K = {chosen.k} is not on the page; it has "
                f"{listed(each['k'] for each in figures)}"
            )
    held = folder / RECORD
    record = json.loads(held.read_text(encoding="utf-8")) if held.exists() else []
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    its = next((each for each in figures if each["k"] == chosen.k), None)
    record.append({**chosen._asdict(), "when": when, "figures": its})
    files.write_text(held, json.dumps(record, indent=1, ensure_ascii=False))
    return held


def _said_overlap(groups: Sequence[Summary], encoder: Encoder) -> float:
    if not all(group.said for group in groups):
        return float("nan")
    v = encoder.encode([group.said for group in groups])
    v = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12)
    return float((v @ v.T - 2 * np.eye(len(v))).max())
