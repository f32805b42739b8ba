"""What each group is about (A.3, A.7): always without a language model, and with one if wanted."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups import phrases
from mcstl.groups.base import Groups
from mcstl.groups.rationale import said_in
from mcstl.labelling.llm import Client, Prompt, Template, some_text

SHOWN = 4  # rationales of each kind, and answers of each attribute
_PHRASES = 10
#: Rationales that a language model reads of a group, nearest first, and how long its answer is.
_MOST_READ = 60
_LONGEST = 400


@dataclass(frozen=True)
class Summary:
    """One group: who is in it and what they say.

    `rates` are the shares of the classes among its annotations, `phrases` what sets it apart by
    class-based TF-IDF, `nearest` the rationales nearest to the mean of all of the group and
    `contrasting` those of the group that are farthest from it: the widest that it holds together.
    `people` counts per attribute its most frequent answers. `said` is a language model's summary.
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
    said: str = ""


def summarise(
    groups: Groups,
    S: csr_matrix,
    annotations: Annotations,
    encoder: Encoder,
    *,
    side_neutral: bool | None = None,
    progress: Progress = silent,
) -> list[Summary]:
    """Summarise groups of annotations, membership S (n, K), without a language model.

    `side_neutral` is as in a study's groups. Groups of annotations without rationales have their
    size, their label rates and their people.
    """
    if side_neutral is None:
        side_neutral = annotations.task == "preference"
    inside = S > 0
    has_reasons = annotations.has("rationale")
    texts: list[str] = []
    if has_reasons:
        said = said_in(annotations, side_neutral)
        texts = said.texts
        rows = inside[said.rows].astype(np.float64)
        where = (np.ones(len(said.rows)), (said.positions, np.arange(len(said.rows))))
        counts = csr_matrix(where, shape=(len(texts), len(said.rows))) @ rows  # (m, K)
        vectors = encoder.encode(texts, progress)
    typical = phrases.terms(texts, counts.T.tocsr()).phrases() if texts else [[]] * len(groups)
    found = []
    for k, group in enumerate(groups):
        members = inside[:, [k]].toarray().ravel()
        near: list[str] = []
        far: list[str] = []
        if texts:
            weights = counts[:, [k]].toarray().ravel()
            own = np.flatnonzero(weights)
            if len(own):
                centre = np.average(vectors[own], axis=0, weights=weights[own])
                apart = np.linalg.norm(vectors[own] - centre, axis=1)
                order = own[np.argsort(apart, kind="stable")]
                near = [texts[i] for i in order[:SHOWN]]
                far = [texts[i] for i in order[::-1][: min(SHOWN, len(order) - len(near))]]
        frame = annotations.frame[members]
        rates = np.bincount(annotations.labels[members], minlength=len(annotations.classes))
        found.append(
            Summary(
                name=group.name,
                size=int(members.sum()),
                annotators=group.annotators,
                share=float(members.mean()),
                rates=dict(
                    zip(annotations.classes, (rates / max(rates.sum(), 1)).tolist(), strict=True)
                ),
                phrases=typical[k][:_PHRASES],
                nearest=near,
                contrasting=far,
                people={
                    name: [
                        (str(answer), float(share))
                        for answer, share in frame[name]
                        .value_counts(normalize=True)
                        .head(SHOWN)
                        .items()
                    ]
                    for name in annotations.attributes
                },
                inferred=int(frame["inferred"].sum()) if annotations.has("inferred") else 0,
                warning=group.warning,
            )
        )
    return found


def prompts(
    groups: Groups,
    S: csr_matrix,
    annotations: Annotations,
    encoder: Encoder,
    template: Template,
) -> list[Prompt]:
    """Return one prompt per group (A.3) with the rationales nearest to its mean, without repeats.

    The paper puts all rationales of a cluster into one prompt; of a large one that is no prompt any
    model reads, so it is the 60 most typical.
    """
    said = said_in(annotations, annotations.task == "preference")
    vectors = encoder.encode(said.texts)
    asked = []
    for k in range(len(groups)):
        members = np.flatnonzero(S[said.rows][:, [k]].toarray().ravel() > 0)
        positions = said.positions[members]
        own = np.unique(positions)
        centre = vectors[positions].mean(axis=0) if len(own) else 0
        order = own[np.argsort(np.linalg.norm(vectors[own] - centre, axis=1), kind="stable")]
        asked.append(template.fill(rationales=[said.texts[i] for i in order[:_MOST_READ]]))
    return asked


def with_llm(
    found: Sequence[Summary], asked: Sequence[Prompt], client: Client, progress: Progress = silent
) -> list[Summary]:
    """Add a language model's summary to each; one without a usable reply says so."""
    answers = client.ask(asked, some_text(_LONGEST), progress)
    return [
        replace(summary, said=answer.value or f"(no summary: {answer.why})")
        for summary, answer in zip(found, answers, strict=True)
    ]
