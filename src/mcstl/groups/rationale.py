"""Groups from why people said what they said: K-means on the embeddings of rationales (§2.1)."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, ClassVar, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field
from scipy.sparse import csr_matrix

from mcstl.annotations import Annotations
from mcstl.encoders import Encoder, FloatArray
from mcstl.errors import InputError
from mcstl.groups.base import (
    Arrays,
    Config,
    Groups,
    LeftOut,
    Scheme,
    make_groups,
    need_column,
)
from mcstl.progress import Progress, silent

_STARTS = 4  # of K-means, of which the best is kept
_WORDS_IN_NAME = 3
_PHRASES_RANKED = 40
_PHRASES_IN_DESCRIPTION = 8

_MORE_STOP_WORDS = frozenset({"argument", "arguments", "did", "does", "just", "really"})

#: What the words for either side of a pair become.
NEUTRAL = "this argument"
_ARGUMENT = r"a[a-z]{0,3}g[a-z]{0,3}m[a-z]*nt?s?|args?"  # also misspelt, which workers do a lot
_SIDE = (
    rf"(?:{_ARGUMENT}|answer|assistant|author|candidate|choice|comment|completion|conversation|"
    r"dialogue|essay|message|model|opinion|option|output|person|post|poster|reply|response|side|"
    r"speaker|statement|summary|text|writer)s?"
)
_GAP = r"[\s(\"'#:–-]{0,3}"
_ORDINAL = r"(?:first|second|1st|2nd|former|latter)"
_VERB = (
    r"(?:(?:is|was|has|does|did|ca|could|would)n['’]?t|is|was|has|had|does|did|can|cannot|could|"
    r"would|should|might|must|seems|seemed|appears|looks|sounds|feels|reads|gives|gave|makes|made|"
    r"uses|used|goes|went|shows|showed|lists|states|stated|provides|provided|explains|explained|"
    r"offers|offered|presents|says|said|tells|talks|brings|backs|supports|sticks|stays|gets|takes|"
    r"lacks|needs|contains|includes|mentions|addresses|argues|claims|points|cites|focuses|relies|"
    r"comes|contradicts|agrees|disagrees|rambles|relates|asks|attacks|answers|describes|discusses|"
    r"expresses|refers|repeats|assumes)"
)
_ADVERB = r"(?:just|only|also|actually|really|simply)"
_LINK = r"(?:and|or|but|because|while|whereas|than)"
_CLAUSE_START = (
    r"(?:^|(?<=[.;:!?,] )|(?<=\band )|(?<=\bor )|(?<=\bbut )|(?<=\bwhile )|(?<=\bwhereas )|"
    r"(?<=\bbecause )|(?<=\bthat )|(?<=& ))"
)
_SIDES = re.compile(
    "|".join(
        (
            # A1, a-2, "argument (A2)", A1s, andA2, and a! or a@ where shift was held too long
            rf"(?:\bthe\s+)?(?:\b{_SIDE}{_GAP})?(?:\ba+|(?<=[a-z])(?-i:A))[-.#]?[12!@](?!\d)"
            r"(?:['’]?s\b)?[\"')]*",
            r"(?-i:\bA)\s[12]\b(?!\W?(?:year|yr|hour|minute))(?:['’]s\b)?",
            # argument 2, Response B, option one; not "the argument one would make"
            rf"(?:\bthe\s+)?\b{_SIDE}{_GAP}(?:[12]|two|(?-i:[AB])|b|"
            r"one(?!\s+(?:of|that|which|who|can|would|should|must|might)\b))\b(?:['’]s\b)?[\"')]*",
            r"\b(?:no\.?|number|nr\.?)\s?[12]\b|#[12]\b",
            # the first argument, 2nd one; not "the first person", which is also a way of writing
            rf"(?:\bthe\s+)?\b{_ORDINAL}\s+(?:(?!person|text|post\b){_SIDE}|one|guy)\b(?:['’]s\b)?",
            # the second is, than the latter.
            rf"\bthe\s+{_ORDINAL}\b"
            rf"(?=['’]s\b|\s*(?:[.,;:!?)]|$)|\s+(?:{_VERB}|{_LINK}|{_ADVERB})\b)",
            rf"(?:\bthe\s+)?\b{_SIDE}\s+(?:on|at|to)\s+the\s+(?:left|right|top|bottom)\b",
            # 2 gives, while two just; not "gives 2 reasons"
            rf"{_CLAUSE_START}(?:[12]|one|two|first|second)(?=\s+(?:{_VERB}|{_ADVERB})\b)",
            # better than 2; not "more than 2"
            r"(?<=\bthan )(?<!\bmore than )(?:[12]|two)\b(?=\W|$)(?!\s+\w+s\b)",
            # B is, better than A; capitals only, since "a" is an article
            rf"\b(?-i:[AB])(?=\s+{_VERB}\b)|(?<=\bthan )(?-i:[AB])\b(?!\s)",
        )
    ),
    re.IGNORECASE,
)
#: The rest of "argument 1 and 2".
_SECOND_SIDE = re.compile(
    rf"(?<={NEUTRAL})(\s*(?:,|/|&|and|or|nor|than|over|vs\.?|versus)\s*)(?:[12]|two|(?-i:[AB]))\b"
    r"(?!\s+(?:of|other)\b)",
    re.IGNORECASE,
)


class RationaleConfig(Config):
    """``{by: rationale}``: `k` clusters; `side_neutral` is on for preference unless it is given."""

    by: Literal["rationale"] = "rationale"
    k: int = Field(default=5, ge=2)
    side_neutral: bool | None = None


@dataclass(frozen=True, eq=False)
class RationaleScheme(Scheme):
    """Clusters of rationales; `centroids` is (K, d) in the space of one encoder."""

    centroids: FloatArray
    side_neutral: bool
    encoder: str
    fingerprint: str
    kind: ClassVar[str] = "rationale"

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`; a rationale is in the group of the nearest centroid.

        An annotation without a rationale is in no group. Raises InputError if `encoder` is not the
        one that the scheme was fitted with.
        """
        encoder = _needed(encoder)
        if encoder.fingerprint != self.fingerprint:
            raise InputError(
                f"these rationale groups were fitted with the encoder {self.encoder} "
                f"({self.fingerprint}), not with {encoder.name} ({encoder.fingerprint}); "
                "use that encoder, or fit the groups again"
            )
        rationales = _rationales(annotations, self.side_neutral)
        rows = np.flatnonzero(rationales != "")
        clusters = _nearest(encoder.encode(list(rationales[rows]), progress), self.centroids)
        return _membership(rows, clusters, len(rationales), len(self.groups))

    def named_like(self, other: Scheme) -> Scheme:
        """See `Scheme.named_like`; clusters are matched by their centroids, each to one."""
        if not isinstance(other, RationaleScheme) or len(other.groups) != len(self.groups):
            return self
        from scipy.optimize import linear_sum_assignment

        apart = np.linalg.norm(other.centroids[:, None] - self.centroids[None], axis=2)
        order = linear_sum_assignment(apart)[1]
        groups = tuple(
            replace(self.groups[k], name=like.name)
            for k, like in zip(order, other.groups, strict=True)
        )
        return replace(self, groups=groups, centroids=self.centroids[order])

    def _own_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        own = {
            "side_neutral": self.side_neutral,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
        }
        return own, {"centroids": self.centroids}

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, own: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        return cls(
            groups,
            left_out,
            np.asarray(arrays["centroids"], dtype=np.float32),
            own["side_neutral"],
            own["encoder"],
            own["fingerprint"],
        )


def fit(
    config: RationaleConfig,
    annotations: Annotations,
    encoder: Encoder | None,
    progress: Progress = silent,
) -> RationaleScheme:
    """Fit K-means to the embeddings of the distinct rationales, each weighted by its count.

    The groups come by falling size, named by the words that set them apart, as ``1: evidence,
    facts, sources``. The paper (§3) leaves starts and seed open: the best of a few starts from a
    fixed seed, on rationales in alphabetical order, so that neither the order of the rows nor the
    seed of a run changes the groups.

    In preference the words for either side ("A1", "the second argument") become one neutral word
    first, or the clusters would encode the label; `side_neutral` does so for other tasks.

    Raises InputError if there are no rationales, or fewer distinct ones than clusters.
    """
    from sklearn.cluster import KMeans
    from threadpoolctl import threadpool_limits

    encoder = _needed(encoder)
    side_neutral = config.side_neutral
    if side_neutral is None:
        side_neutral = annotations.task == "preference"
    rationales = _rationales(annotations, side_neutral)
    rows = np.flatnonzero(rationales != "")
    texts, positions, counts = np.unique(rationales[rows], return_inverse=True, return_counts=True)
    if len(texts) >= config.k:
        vectors = encoder.encode(list(texts), progress)
        # Several threads add up in any order, and on a busy machine they are slower than one.
        with threadpool_limits(1), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # fewer distinct vectors than clusters: checked below
            means = KMeans(config.k, n_init=_STARTS, random_state=0)
            centroids = means.fit(vectors, sample_weight=counts).cluster_centers_
        clusters = _nearest(vectors, centroids)
        sizes = np.bincount(clusters, weights=counts, minlength=config.k)
    if len(texts) < config.k or (sizes == 0).any():
        raise InputError(
            f"groups: k is {config.k}, but the training rows of {annotations.source} have only "
            f"{len(texts)} distinct rationales; choose a smaller k"
        )
    order = np.argsort(-sizes, kind="stable")
    clusters = np.argsort(order)[clusters]
    phrases = _phrases(list(texts), clusters, counts, config.k)
    names = [
        f"{k}: {', '.join(_short(words))}" if words else str(k)
        for k, words in enumerate(phrases, start=1)
    ]
    descriptions = [
        f"annotations whose rationales say {', '.join(words[:_PHRASES_IN_DESCRIPTION])}"
        if words
        else "annotations whose rationales have no word in common"
        for words in phrases
    ]
    membership = _membership(rows, clusters[positions], len(rationales), config.k)
    return RationaleScheme(
        groups=make_groups(membership, names, descriptions, annotations),
        left_out=(),
        centroids=centroids[order].astype(np.float32),
        side_neutral=side_neutral,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
    )


@lru_cache(maxsize=1 << 20)
def neutral(rationale: str) -> str:
    """Replace the words for either side of a pair by one neutral phrase.

    Otherwise clusters of rationales encode which side was named, hence the label.

    >>> neutral("A1 gives 2 reasons, argument two is just a rant.")
    'this argument gives 2 reasons, this argument is just a rant.'
    >>> neutral("The second one is better than 1")
    'this argument is better than this argument'
    """
    text = " ".join(_SIDES.sub(f" {NEUTRAL} ", rationale).split())
    text = re.sub(r"\s+([.,;:!?)])", r"\1", text)
    return _SECOND_SIDE.sub(rf"\1{NEUTRAL}", text)


def _needed(encoder: Encoder | None) -> Encoder:
    if encoder is None:
        raise InputError("groups by rationale need an encoder: pass load_encoder()")
    return encoder


def _rationales(annotations: Annotations, side_neutral: bool) -> npt.NDArray[np.object_]:
    """(n,) rationales as they are clustered, "" where there is none."""
    need_column(annotations, "rationale", "groups by rationale need")
    texts = annotations.frame["rationale"].tolist()
    clean = neutral if side_neutral else str.strip
    return np.array([clean(text) for text in texts], dtype=object)


def _nearest(vectors: FloatArray, centroids: FloatArray) -> npt.NDArray[np.int64]:
    """(n,) index of the nearest centroid of each vector."""
    distances = (centroids**2).sum(axis=1) - 2 * vectors @ centroids.T
    return np.asarray(np.argmin(distances, axis=1), dtype=np.int64)


def _membership(
    rows: npt.NDArray[np.int64], clusters: npt.NDArray[np.int64], n: int, k: int
) -> csr_matrix:
    return csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, clusters)), shape=(n, k))


def _phrases(
    texts: Sequence[str], clusters: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], k: int
) -> list[list[str]]:
    """Return per cluster the words and word pairs that set it apart, the best first.

    A term counts by its part of the Kullback-Leibler divergence of the cluster's terms from all
    terms: it is frequent here and less so elsewhere.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    vectorizer = CountVectorizer(
        stop_words=sorted(ENGLISH_STOP_WORDS | _MORE_STOP_WORDS),
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b[^\W\d_]{2,}\b(?!['’])",  # noqa: S106
    )
    try:
        terms = vectorizer.fit_transform(texts)
    except ValueError:  # nothing but stop words
        return [[] for _ in range(k)]
    weights = csr_matrix((counts, (clusters, np.arange(len(texts)))), shape=(k, len(texts)))
    per_cluster = (weights @ terms).toarray()
    share = per_cluster / np.maximum(per_cluster.sum(axis=1, keepdims=True), 1)
    overall = per_cluster.sum(axis=0) / per_cluster.sum()
    scores = share * np.log(np.maximum(share, 1e-300) / overall)
    words = vectorizer.get_feature_names_out()
    return [
        [words[i] for i in np.argsort(-row, kind="stable")[:_PHRASES_RANKED] if row[i] > 0]
        for row in scores
    ]


def _short(phrases: list[str]) -> list[str]:
    """Pick the words of a name: single ones, and none that is a form of another."""
    chosen: list[str] = []
    for phrase in phrases:
        stem = phrase[:4]
        if " " not in phrase and not any(word.startswith(stem) for word in chosen):
            chosen.append(phrase)
    return chosen[:_WORDS_IN_NAME]
