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
from mcstl.groups import number_of_groups, rationale
from mcstl.groups.label_leakage import label_auc, leakage_message
from mcstl.groups.number_of_groups import Candidate
from mcstl.groups.rationale import RationaleConfig
from mcstl.groups.review import forms, summaries
from mcstl.groups.review.summaries import Summariser, Summary
from mcstl.groups.small_groups import not_shown
from mcstl.labelling.llm import Prompt

PAGE, FORM, FIGURES, RECORD = "choose-k.html", "choose-k.csv", "candidates.json", "choices.json"
COLUMNS = ("k", "chosen", "who", "why")


class Option(NamedTuple):
    """One K on the page.

    Attributes:
        candidate: What speaks for it.
        summary_overlap: Largest cosine between a language model's summaries of two groups; NaN
            without such summaries.
        label_auc: AUC of the label from the groups alone.
        groups: Summaries of its groups.
    """

    candidate: Candidate
    summary_overlap: float
    label_auc: float
    groups: list[Summary]

    def figures(self) -> dict[str, float | None]:
        """Collect the figures as candidates.json has them.

        Returns:
            The figures by name, None where there is none.
        """
        figures = {
            "k": self.candidate.k,
            "silhouette": self.candidate.silhouette,
            "stability": self.candidate.stability,
            "overlap": self.candidate.overlap,
            "said_overlap": self.summary_overlap,
            "told": self.label_auc,
        }
        return {name: None if np.isnan(value) else value for name, value in figures.items()}


class Choice(NamedTuple):
    """What an expert has chosen.

    Attributes:
        k: The number of groups.
        who: Who chose it.
        why: The reason.
    """

    k: int
    who: str
    why: str


def compare_options(
    config: RationaleConfig,
    annotations: Annotations,
    encoder: Encoder,
    ks: Sequence[int] = number_of_groups.RANGE,
    summariser: Summariser | None = None,
    progress: Progress = silent,
) -> list[Option]:
    """Form the groups of each K and measure what speaks for it.

    Args:
        config: How the groups are formed; its `k` does not matter.
        annotations: The training rows.
        encoder: Embeds rationales.
        ks: Numbers of groups to try.
        summariser: A language model that summarises the groups, too; None for no such summaries.
        progress: Called with the step, how far it is and how far it goes.

    Returns:
        One option per K, without those for which there are too few rationales.

    Raises:
        InputError: The table has no rationales, or too few for any K.
    """
    side_neutral = config.neutralises(annotations)
    rationales = rationale.distinct_rationales(annotations, side_neutral)
    vectors = encoder.encode(rationales.texts, progress)
    candidates = number_of_groups.compare_ks(
        rationales.texts, vectors, rationales.counts, config.algorithm, ks, progress
    )
    options = []
    for candidate in candidates:
        config_of_k = config.model_copy(update={"k": candidate.k, "names": None})
        scheme = rationale.fit(config_of_k, annotations, encoder)
        S = scheme.assign(annotations, encoder)
        groups = summaries.summarise(
            scheme.groups, S, annotations, encoder, side_neutral=side_neutral, progress=progress
        )
        if summariser is not None:
            prompts = summaries.summary_prompts(scheme.groups, S, annotations, encoder, summariser)
            groups = summaries.add_llm_summaries(groups, prompts, summariser.client, progress)
        overlap = _summary_overlap(groups, encoder)
        options.append(Option(candidate, overlap, label_auc(S, annotations), groups))
    if not options:
        raise InputError(
            f"the training rows of {annotations.source} have only {len(rationales.texts)} distinct "
            f"rationales, too few for any of K = {listed(ks)}"
        )
    return options


def suggested_k(options: Sequence[Option]) -> int:
    """Choose the K that ``k: auto`` takes.

    Args:
        options: What `compare_options` returned.

    Returns:
        K.
    """
    return number_of_groups.choose_k([option.candidate for option in options])


def prompts_for(
    config: RationaleConfig,
    annotations: Annotations,
    encoder: Encoder,
    ks: Sequence[int],
    summariser: Summariser,
) -> list[Prompt]:
    """Write the prompts that `compare_options` would send to a language model.

    Args:
        config: How the groups are formed; its `k` does not matter.
        annotations: The training rows.
        encoder: Embeds rationales.
        ks: Numbers of groups.
        summariser: Whom the prompts are for.

    Returns:
        One prompt per group of each K.

    Raises:
        InputError: The table has no rationales, or too few for a K.
    """
    prompts: list[Prompt] = []
    for k in ks:
        config_of_k = config.model_copy(update={"k": k, "names": None})
        scheme = rationale.fit(config_of_k, annotations, encoder)
        S = scheme.assign(annotations, encoder)
        prompts += summaries.summary_prompts(scheme.groups, S, annotations, encoder, summariser)
    return prompts


def write_page(folder: Path, options: Sequence[Option], name: str) -> Path:
    """Write the page, the form as CSV and the figures.

    Args:
        folder: Where they are written.
        options: What `compare_options` returned.
        name: Name of the study.

    Returns:
        The page.
    """
    rows = ([option.candidate.k, *[""] * (len(COLUMNS) - 1)] for option in options)
    csv_files.write_csv(folder / FORM, COLUMNS, rows)
    figures = [option.figures() for option in options]
    files.write_text(folder / FIGURES, json.dumps(figures, indent=1))
    text = forms.render_page(
        "choose_k.html.j2",
        name=name,
        options=options,
        suggested=suggested_k(options),
        leakage_message=leakage_message,
        not_shown=not_shown,
        has_llm=any(group.llm_summary for option in options for group in option.groups),
        stable=number_of_groups.MIN_STABILITY,
        distinct=number_of_groups.MAX_OVERLAP,
        form={"file": FORM, "columns": list(COLUMNS)},
    )
    files.write_text(folder / PAGE, text)
    return folder / PAGE


def read_choice(path: Path) -> Choice:
    """Read a form that was filled in.

    Args:
        path: The form.

    Returns:
        What was chosen, by whom and why.

    Raises:
        InputError: The file is no such form, or does not say which one K, by whom and why.
    """
    marked = [row for row in forms.read_csv(path, COLUMNS) if row["chosen"]]
    if len(marked) != 1:
        raise InputError(
            f"{path}: {len(marked)} rows are marked in the column chosen; mark the one K"
        )
    row = marked[0]
    if not row["k"].isdigit() or int(row["k"]) < 2:
        raise InputError(f"{path}: k is {brief(row['k'])!r}; expected a whole number from 2")
    for column in ("who", "why"):
        if not row[column]:
            raise InputError(f"{path}: say {column} in the row of the K that is chosen")
    return Choice(int(row["k"]), row["who"], row["why"])


def record_choice(path: Path, choice: Choice) -> Path:
    """Add who chose what and why to choices.json beside the form.

    Args:
        path: The form.
        choice: What was chosen.

    Returns:
        The file with the choices.

    Raises:
        InputError: The K is not on the page.
    """
    folder = path.parent
    figures: list[dict[str, Any]] = []
    if (folder / FIGURES).exists():
        figures = json.loads((folder / FIGURES).read_text(encoding="utf-8"))
        if choice.k not in [each["k"] for each in figures]:
            raise InputError(
                f"{path}: K = {choice.k} is not on the page; it has "
                f"{listed(each['k'] for each in figures)}"
            )
    out = folder / RECORD
    choices = json.loads(out.read_text(encoding="utf-8")) if out.exists() else []
    when = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    figures_of_k = next((each for each in figures if each["k"] == choice.k), None)
    choices.append({**choice._asdict(), "when": when, "figures": figures_of_k})
    files.write_text(out, json.dumps(choices, indent=1, ensure_ascii=False))
    return out


def _summary_overlap(groups: Sequence[Summary], encoder: Encoder) -> float:
    if not groups or not all(group.llm_summary for group in groups):
        return float("nan")
    v = encoder.encode([group.llm_summary for group in groups])
    v = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12)
    return float((v @ v.T - 2 * np.eye(len(v))).max())
