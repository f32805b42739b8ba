"""What each group is about (A.3, A.7): without a language model, and with one if wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support import files
from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups.base import Groups, Scheme
from mcstl.groups.class_tfidf import class_tfidf
from mcstl.groups.rationale import distinct_rationales
from mcstl.groups.review import forms
from mcstl.groups.small_groups import not_shown
from mcstl.labelling.llm import Client, Prompt, Template, text_of

SHOWN = 4  # nearest rationales, contrasting ones, and answers of each attribute
_PHRASES = 10
#: Rationales of a group that a language model reads for a brief summary, the nearest ones.
_BRIEF_RATIONALES = 60
#: How many characters a summary may have.
_MAX_LENGTH = 2000


class Summariser(NamedTuple):
    """A language model that summarises groups, and how it is asked.

    Attributes:
        client: Sends the prompts.
        template: The prompt to fill.
        brief: Show it the 60 nearest rationales of a group only, and ask for one sentence of at
            most 40 words.
    """

    client: Client
    template: Template
    brief: bool = False


@dataclass(frozen=True)
class Summary:
    """One group: who is in it and what they say.

    Attributes:
        name: Name of the group.
        size: Number of its annotations.
        annotators: Number of people who gave them, None if unknown.
        share: Its share of all annotations.
        rates: By class, its share of the group's annotations.
        phrases: What sets the group apart by class-based TF-IDF, the best first.
        nearest: The rationales nearest to the group's mean.
        contrasting: Those farthest from it, the widest that the group holds together.
        people: By attribute, its most frequent answers with their shares.
        inferred: Number of rationales that a language model inferred.
        warning: The group's warning; "" for none.
        llm_summary: A language model's summary; "" for none.
    """

    name: str
    size: int
    annotators: int | None
    share: float
    rates: dict[str, float]
    phrases: list[str]
    nearest: list[str]
    contrasting: list[str]
    people: dict[str, list[tuple[str, float]]]
    inferred: int
    warning: str
    llm_summary: str = ""


def summarise(
    groups: Groups,
    S: csr_matrix,
    annotations: Annotations,
    encoder: Encoder,
    *,
    side_neutral: bool | None = None,
    progress: Progress = silent,
) -> list[Summary]:
    """Summarise groups without a language model.

    Groups of annotations without rationales have their size, their label rates and their people.
    Groups of few people have no summary, since it would be what they answered.

    Args:
        groups: (K,) groups.
        S: (n, K) membership of the annotations.
        annotations: n annotations.
        encoder: Embeds rationales.
        side_neutral: Replace the words for either side of a pair; None does so in preference.
        progress: Called with the step, how many texts are encoded and how many there are.

    Returns:
        The summaries, one per group of five people or more.
    """
    if side_neutral is None:
        side_neutral = annotations.task == "preference"
    inside = S > 0
    texts: list[str] = []
    if annotations.has("rationale"):
        rationales = distinct_rationales(annotations, side_neutral)
        texts = rationales.texts
        members = inside[rationales.rows].astype(np.float64)
        entries = (
            np.ones(len(rationales.rows)),
            (rationales.positions, np.arange(len(rationales.rows))),
        )
        counts = csr_matrix(entries, shape=(len(texts), len(rationales.rows))) @ members  # (m, K)
        vectors = encoder.encode(texts, progress)
    phrases = class_tfidf(texts, counts.T.tocsr()).phrases() if texts else [[]] * len(groups)
    summaries = []
    for k, group in enumerate(groups):
        if group.is_of_few:
            continue
        nearest: list[str] = []
        contrasting: list[str] = []
        if texts:
            order = _by_distance(vectors, counts[:, [k]].toarray().ravel())
            nearest = [texts[i] for i in order[:SHOWN]]
            n_left = min(SHOWN, len(order) - len(nearest))
            contrasting = [texts[i] for i in order[::-1][:n_left]]
        is_member = inside[:, [k]].toarray().ravel()
        frame = annotations.frame[is_member]
        labels = np.bincount(annotations.labels[is_member], minlength=len(annotations.classes))
        rates = (labels / max(labels.sum(), 1)).tolist()
        summaries.append(
            Summary(
                name=group.name,
                size=int(is_member.sum()),
                annotators=group.annotators,
                share=float(is_member.mean()),
                rates=dict(zip(annotations.classes, rates, strict=True)),
                phrases=phrases[k][:_PHRASES],
                nearest=nearest,
                contrasting=contrasting,
                people={name: _frequent(frame[name]) for name in annotations.attributes},
                inferred=int(frame["inferred"].sum()) if annotations.has("inferred") else 0,
                warning=group.warning,
            )
        )
    return summaries


def summary_prompts(
    groups: Groups,
    S: csr_matrix,
    annotations: Annotations,
    encoder: Encoder,
    summariser: Summariser,
) -> list[Prompt]:
    """Write the prompts that ask what each group is about (A.3).

    As in the paper, all distinct rationales of a group are in one prompt, nearest to its mean
    first. That of a large group may be longer than a model reads: `Summariser.brief` is the way
    out.

    Args:
        groups: (K,) groups.
        S: (n, K) membership of the annotations.
        annotations: n annotations with rationales.
        encoder: Embeds rationales.
        summariser: Whom the prompts are for.

    Returns:
        The prompts, one per group that `summarise` summarises.

    Raises:
        InputError: The annotations have no rationales.
    """
    rationales = distinct_rationales(annotations, annotations.task == "preference")
    vectors = encoder.encode(rationales.texts)
    prompts = []
    for k, group in enumerate(groups):
        if group.is_of_few:
            continue
        members = S[rationales.rows][:, [k]].toarray().ravel() > 0
        counts = np.bincount(rationales.positions[members], minlength=len(rationales.texts))
        order = _by_distance(vectors, counts)
        most = _BRIEF_RATIONALES if summariser.brief else None
        texts = [rationales.texts[i] for i in order[:most]]
        prompts.append(summariser.template.fill(rationales=texts, brief=summariser.brief))
    return prompts


def add_llm_summaries(
    summaries: Sequence[Summary],
    prompts: Sequence[Prompt],
    client: Client,
    progress: Progress = silent,
) -> list[Summary]:
    """Ask a language model for a summary of each group.

    Args:
        summaries: (K,) summaries without one.
        prompts: (K,) what `summary_prompts` returned.
        client: Sends the prompts.
        progress: Called with the step, how many prompts are answered and how many there are.

    Returns:
        (K,) summaries with one; where there is no usable reply it says so.

    Raises:
        InputError: The language model cannot be used; see `Client.ask`.
    """
    answers = client.ask(prompts, text_of(_MAX_LENGTH), progress)
    return [
        replace(summary, llm_summary=answer.value or f"(no summary: {answer.reason})")
        for summary, answer in zip(summaries, answers, strict=True)
    ]


def write_page(
    out: Path, name: str, scheme: Scheme, summaries: Sequence[Summary], leakage: str
) -> None:
    """Write the page of the groups of a study.

    Args:
        out: The HTML file.
        name: Name of the study.
        scheme: The fitted groups.
        summaries: Their summaries.
        leakage: What to say about leakage of the label; "" for nothing.
    """
    page = forms.render_page(
        "groups.html.j2",
        name=name,
        groups=summaries,
        leak=leakage,
        left_out=scheme.left_out,
        not_shown=not_shown(len(scheme.groups) - len(summaries)),
    )
    files.write_text(out, page)


def _by_distance(vectors: Float32Array, counts: FloatArray | IntArray) -> IntArray:
    """Positions of the vectors with counts above 0, the nearest to their weighted mean first."""
    positions = np.flatnonzero(counts)
    if not len(positions):
        return positions
    centre = np.average(vectors[positions], axis=0, weights=counts[positions])
    distances = np.linalg.norm(vectors[positions] - centre, axis=1)
    return np.asarray(positions[np.argsort(distances, kind="stable")])


def _frequent(answers: Any) -> list[tuple[str, float]]:
    shares = answers.value_counts(normalize=True).head(SHOWN)
    return [(str(answer), float(share)) for answer, share in shares.items()]
