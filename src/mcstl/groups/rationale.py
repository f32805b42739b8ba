"""Groups from why people said what they said: clusters of the embeddings of rationales (§2.1)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, model_validator
from pydantic_core import PydanticCustomError
from scipy.sparse import csr_matrix

from mcstl._support.arrays import IntArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups import choice, clustering, phrases
from mcstl.groups.base import Arrays, Config, Groups, LeftOut, Scheme, make_groups, need_column

_PHRASES_IN_DESCRIPTION = 8

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


def _number(k: int | str) -> int | str:
    if k != "auto" and (isinstance(k, str) or k < 2):
        raise PydanticCustomError("k", "Input should be auto or greater than or equal to 2")
    return k


class RationaleConfig(Config):
    """``{by: rationale}``: `k` clusters; `side_neutral` is on for preference unless it is given.

    ``k: auto`` chooses K by `choice.chosen`. HDBSCAN finds the number itself, whatever `k` is.
    `soft` gives each annotation its posteriors, which only a Gaussian mixture has.
    """

    by: Literal["rationale"] = "rationale"
    k: Annotated[int | str, AfterValidator(_number)] = 5
    algorithm: clustering.Algorithm = "k-means"
    soft: bool = False
    side_neutral: bool | None = None

    @model_validator(mode="after")
    def _has_posteriors(self) -> Self:
        if self.soft and self.algorithm != "gaussian-mixture":
            raise ValueError("soft needs algorithm: gaussian-mixture")
        if self.k == "auto" and self.algorithm == "hdbscan":
            raise ValueError("hdbscan finds the number of groups itself; leave k out")
        return self


@dataclass(frozen=True, eq=False)
class RationaleScheme(Scheme):
    """Clusters of rationales in the space of one encoder."""

    clusters: clustering.Clusters
    side_neutral: bool
    soft: bool
    encoder: str
    fingerprint: str
    kind: ClassVar[str] = "rationale"

    def assign(
        self,
        annotations: Annotations,
        encoder: Encoder | None = None,
        progress: Progress = silent,
    ) -> csr_matrix:
        """See `Scheme.assign`; a rationale is in the cluster that `Clusters.membership` says.

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
        said = said_in(annotations, self.side_neutral)
        inside = self.clusters.membership(encoder.encode(said.texts, progress), self.soft)
        return said.spread(inside)

    def named_like(self, other: Scheme) -> Scheme:
        """See `Scheme.named_like`; clusters are matched by their centroids, each to one."""
        if not isinstance(other, RationaleScheme) or len(other.groups) != len(self.groups):
            return self
        from scipy.optimize import linear_sum_assignment

        mine, theirs = self.clusters.centroids, other.clusters.centroids
        apart = np.linalg.norm(theirs[:, None] - mine[None], axis=2)
        order = linear_sum_assignment(apart)[1]
        groups = tuple(
            replace(self.groups[k], name=like.name)
            for k, like in zip(order, other.groups, strict=True)
        )
        return replace(self, groups=groups, clusters=self.clusters.reordered(order))

    def _own_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        own = {
            "side_neutral": self.side_neutral,
            "soft": self.soft,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
        }
        return own, self.clusters.arrays()

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, own: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        return cls(
            groups,
            left_out,
            clustering.Clusters.from_arrays(arrays),
            own["side_neutral"],
            own.get("soft", False),
            own["encoder"],
            own["fingerprint"],
        )


def fit(
    config: RationaleConfig,
    annotations: Annotations,
    encoder: Encoder | None,
    progress: Progress = silent,
) -> RationaleScheme:
    """Fit clusters to the embeddings of the distinct rationales, each weighted by its count.

    The groups come by falling size, named by the words that set them apart, as ``1: evidence,
    facts, sources``. The paper (§3) has K-means and leaves starts and seed open: the best of a few
    starts from a fixed seed, on rationales in alphabetical order, so that neither the order of the
    rows nor the seed of a run changes the groups.

    In preference the words for either side ("A1", "the second argument") become one neutral word
    first, or the clusters would encode the label; `side_neutral` does so for other tasks.

    Raises InputError if there are no rationales, or fewer distinct ones than clusters.
    """
    encoder = _needed(encoder)
    side_neutral = config.side_neutral
    if side_neutral is None:
        side_neutral = annotations.task == "preference"
    said = said_in(annotations, side_neutral)
    vectors = encoder.encode(said.texts, progress)
    k = config.k
    try:
        if isinstance(k, str):
            options = (config.algorithm, choice.RANGE, progress)
            k = choice.chosen(choice.compare(said.texts, vectors, said.counts, *options))
        clusters = clustering.find(vectors, said.counts, k, config.algorithm)
    except clustering.ClusterError:
        wanted = "dense groups" if config.algorithm == "hdbscan" else f"k is {k}"
        raise InputError(
            f"groups: {wanted}, but the training rows of {annotations.source} have only "
            f"{len(said.texts)} distinct rationales; choose a smaller k"
        ) from None
    inside = clusters.membership(vectors, config.soft)
    names, descriptions = _described(phrases.terms(said.texts, said.weighted(inside)).phrases())
    return RationaleScheme(
        groups=make_groups(said.spread(inside), names, descriptions, annotations),
        left_out=(),
        clusters=clusters,
        side_neutral=side_neutral,
        soft=config.soft,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
    )


def _described(per_group: list[list[str]]) -> tuple[list[str], list[str]]:
    """Return the names and descriptions of groups from the phrases that set them apart."""
    names = [
        f"{k}: {', '.join(phrases.short(words))}" if words else str(k)
        for k, words in enumerate(per_group, start=1)
    ]
    descriptions = [
        f"annotations whose rationales say {', '.join(words[:_PHRASES_IN_DESCRIPTION])}"
        if words
        else "annotations whose rationales have no word in common"
        for words in per_group
    ]
    return names, descriptions


class Said(NamedTuple):
    """The distinct rationales (m,) in alphabetical order, and who said which.

    `rows` (r,) are the annotations that have one and `positions` (r,) theirs among `texts`;
    `counts` (m,) is how often each occurs, `n` the number of all annotations.
    """

    texts: list[str]
    rows: IntArray
    positions: IntArray
    counts: IntArray
    n: int

    def spread(self, inside: csr_matrix) -> csr_matrix:
        """Return the membership (n, K) of annotations from that of the texts (m, K)."""
        who = (np.ones(len(self.rows), dtype=np.float32), (self.rows, self.positions))
        return csr_matrix(csr_matrix(who, shape=(self.n, len(self.texts))) @ inside)

    def weighted(self, inside: csr_matrix) -> csr_matrix:
        """Return (K, m): how often each text occurs in each group."""
        return csr_matrix(inside.multiply(self.counts[:, None]).T)


def said_in(annotations: Annotations, side_neutral: bool) -> Said:
    """Return the rationales of annotations as they are clustered.

    Raises InputError if the table has no rationales.
    """
    need_column(annotations, "rationale", "Groups by rationale need")
    clean = neutral if side_neutral else str.strip
    said = [clean(text) for text in annotations.frame["rationale"]]
    cells = np.array([*said, ""], dtype=object)[:-1]  # an array of objects, even of none
    rows = np.flatnonzero(cells != "")
    texts, positions, counts = np.unique(cells[rows], return_inverse=True, return_counts=True)
    return Said(list(texts), rows, positions, counts, len(cells))


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
        raise InputError("Groups by rationale need an encoder: pass load_encoder()")
    return encoder
