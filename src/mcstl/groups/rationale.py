"""Groups from the reasons that people give: clusters of the embeddings of rationales (§2.1)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import AfterValidator, BeforeValidator, model_validator
from pydantic_core import PydanticCustomError
from scipy.sparse import csr_matrix

from mcstl._support.arrays import IntArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.encoding.encoders import Encoder
from mcstl.groups import clustering, number_of_groups
from mcstl.groups.base import (
    Arrays,
    Config,
    Groups,
    LeftOut,
    Scheme,
    make_groups,
    need_column,
    without_sizes_of_few,
)
from mcstl.groups.class_tfidf import class_tfidf, words_for_name
from mcstl.groups.given_names import check_names, read_names, renamed
from mcstl.groups.side_neutral import neutralise_sides

_PHRASES_IN_DESCRIPTION = 8


def _check_k(k: int | str) -> int | str:
    if k != "auto" and (isinstance(k, str) or k < 2):
        raise PydanticCustomError("k", "Input should be auto or greater than or equal to 2")
    return k


def _read_names(names: object) -> object:
    if isinstance(names, str):
        return read_names(names)
    if isinstance(names, dict) and all(isinstance(name, str) for name in names.values()):
        return check_names(names)
    return names


class RationaleConfig(Config):
    """``{by: rationale}``: one group per cluster of rationales.

    Attributes:
        by: ``rationale``.
        k: Number of groups; ``auto`` chooses it by `number_of_groups.choose_k`. HDBSCAN finds the
            number itself.
        algorithm: What finds the clusters.
        soft: Give each annotation its posteriors, which only a Gaussian mixture has.
        side_neutral: Replace the words for either side of a pair before clustering; None does so
            in preference.
        names: Names for the clusters by their automatic ones, or a table of them as ``mcstl groups
            name`` writes it.
    """

    by: Literal["rationale"] = "rationale"
    k: Annotated[int | str, AfterValidator(_check_k)] = 5
    algorithm: clustering.Algorithm = "k-means"
    soft: bool = False
    side_neutral: bool | None = None
    names: Annotated[dict[str, str] | None, BeforeValidator(_read_names)] = None

    @model_validator(mode="after")
    def _has_posteriors(self) -> Self:
        if self.soft and self.algorithm != "gaussian-mixture":
            raise ValueError("soft needs algorithm: gaussian-mixture")
        if self.k == "auto" and self.algorithm == "hdbscan":
            raise ValueError("hdbscan finds the number of groups itself; leave k out")
        return self

    def neutralises(self, annotations: Annotations) -> bool:
        """Say whether the words for either side of a pair are replaced before clustering.

        Args:
            annotations: What the groups are made from.

        Returns:
            `side_neutral` where it is given, else whether the task is preference.
        """
        if self.side_neutral is None:
            return annotations.task == "preference"
        return self.side_neutral


@dataclass(frozen=True, eq=False)
class RationaleScheme(Scheme):
    """Clusters of rationales in the space of one encoder.

    Attributes:
        clusters: The clusters.
        side_neutral: Whether the words for either side of a pair are replaced.
        soft: Whether memberships may be between 0 and 1.
        encoder: Name of the encoder.
        fingerprint: Fingerprint of the encoder.
    """

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
        """See `Scheme.assign`; an annotation without a rationale is in no group.

        Args:
            annotations: n annotations.
            encoder: The encoder that the scheme was fitted with.
            progress: Called with the step, how many texts are encoded and how many there are.

        Returns:
            S, the (n, K) membership of `Clusters.membership`.

        Raises:
            InputError: There are no rationales, or the encoder is another one.
        """
        encoder = _need_encoder(encoder)
        if encoder.fingerprint != self.fingerprint:
            raise InputError(
                f"these rationale groups were fitted with the encoder {self.encoder} "
                f"({self.fingerprint}), not with {encoder.name} ({encoder.fingerprint}); "
                "use that encoder, or fit the groups again"
            )
        rationales = distinct_rationales(annotations, self.side_neutral)
        vectors = encoder.encode(rationales.texts, progress)
        return rationales.to_annotations(self.clusters.membership(vectors, self.soft))

    def named_like(self, other: Scheme) -> Scheme:
        """See `Scheme.named_like`; clusters are matched by their centroids, each to one."""
        if not isinstance(other, RationaleScheme) or len(other.groups) != len(self.groups):
            return self
        from scipy.optimize import linear_sum_assignment

        centroids, targets = self.clusters.centroids, other.clusters.centroids
        distances = np.linalg.norm(targets[:, None] - centroids[None], axis=2)
        order = linear_sum_assignment(distances)[1]
        groups = tuple(
            replace(self.groups[k], name=like.name)
            for k, like in zip(order, other.groups, strict=True)
        )
        return replace(self, groups=groups, clusters=self.clusters.reordered(order))

    def _extra_state(self) -> tuple[dict[str, Any], dict[str, npt.NDArray[Any]]]:
        state = {
            "side_neutral": self.side_neutral,
            "soft": self.soft,
            "encoder": self.encoder,
            "fingerprint": self.fingerprint,
        }
        return state, self.clusters.arrays()

    @classmethod
    def _from_state(
        cls, groups: Groups, left_out: LeftOut, state: Mapping[str, Any], arrays: Arrays
    ) -> Self:
        return cls(
            groups,
            left_out,
            clustering.Clusters.from_arrays(arrays),
            state["side_neutral"],
            state.get("soft", False),
            state["encoder"],
            state["fingerprint"],
        )


def fit(
    config: RationaleConfig,
    annotations: Annotations,
    encoder: Encoder | None,
    progress: Progress = silent,
) -> RationaleScheme:
    """Fit clusters to the embeddings of the distinct rationales, each weighted by its count.

    The groups come by falling size, named by the words that set them apart, as ``1: evidence,
    facts, sources``, unless the section names them. The paper (§3) has K-means and leaves starts
    and seed open. We take the best of a few starts from a fixed seed, on rationales in alphabetical
    order, so that neither the order of the rows nor the seed of a run changes the groups.

    Args:
        config: The section of the study file.
        annotations: The training rows.
        encoder: Embeds the rationales.
        progress: Called with the step, how far it is and how far it goes.

    Returns:
        The fitted scheme.

    Raises:
        InputError: There are no rationales, or fewer distinct ones than clusters.
    """
    encoder = _need_encoder(encoder)
    side_neutral = config.neutralises(annotations)
    rationales = distinct_rationales(annotations, side_neutral)
    vectors = encoder.encode(rationales.texts, progress)
    k = config.k
    try:
        if isinstance(k, str):
            candidates = number_of_groups.compare_ks(
                rationales.texts, vectors, rationales.counts, config.algorithm, progress=progress
            )
            k = number_of_groups.choose_k(candidates)
        clusters = clustering.find_clusters(vectors, rationales.counts, k, config.algorithm)
    except clustering.ClusterError:
        wanted = "dense groups" if config.algorithm == "hdbscan" else f"k is {k}"
        raise InputError(
            f"groups: {wanted}, but the training rows of {annotations.source} have only "
            f"{len(rationales.texts)} distinct rationales; choose a smaller k"
        ) from None
    membership = clusters.membership(vectors, config.soft)
    tfidf = class_tfidf(rationales.texts, rationales.counts_per_group(membership))
    names, descriptions = _names_and_descriptions(tfidf.phrases())
    names = renamed(names, config.names or {})
    groups = make_groups(rationales.to_annotations(membership), names, descriptions, annotations)
    return RationaleScheme(
        groups=without_sizes_of_few(groups),
        left_out=(),
        clusters=clusters,
        side_neutral=side_neutral,
        soft=config.soft,
        encoder=encoder.name,
        fingerprint=encoder.fingerprint,
    )


def _names_and_descriptions(phrases_per_group: list[list[str]]) -> tuple[list[str], list[str]]:
    names = [
        f"{k}: {', '.join(words_for_name(phrases))}" if phrases else str(k)
        for k, phrases in enumerate(phrases_per_group, start=1)
    ]
    descriptions = [
        f"annotations whose rationales say {', '.join(phrases[:_PHRASES_IN_DESCRIPTION])}"
        if phrases
        else "annotations whose rationales have no word in common"
        for phrases in phrases_per_group
    ]
    return names, descriptions


class DistinctRationales(NamedTuple):
    """The m distinct rationales of n annotations, in alphabetical order.

    Attributes:
        texts: (m,) the rationales.
        rows: (r,) positions of the annotations that have one.
        positions: (r,) position of their rationale in `texts`.
        counts: (m,) how many annotations have each rationale.
        n: Number of all annotations.
    """

    texts: list[str]
    rows: IntArray
    positions: IntArray
    counts: IntArray
    n: int

    def to_annotations(self, membership: csr_matrix) -> csr_matrix:
        """Give annotations the membership of their rationale.

        Args:
            membership: (m, K) membership of the distinct rationales.

        Returns:
            (n, K) membership; an annotation without a rationale is in no group.
        """
        entries = (np.ones(len(self.rows), dtype=np.float32), (self.rows, self.positions))
        return csr_matrix(csr_matrix(entries, shape=(self.n, len(self.texts))) @ membership)

    def counts_per_group(self, membership: csr_matrix) -> csr_matrix:
        """Count the annotations of each rationale in each group.

        Args:
            membership: (m, K) membership of the distinct rationales.

        Returns:
            (K, m) counts, weighted by membership.
        """
        return csr_matrix(membership.multiply(self.counts[:, None]).T)


def distinct_rationales(annotations: Annotations, side_neutral: bool) -> DistinctRationales:
    """Collect the rationales of annotations as they are clustered.

    Args:
        annotations: n annotations.
        side_neutral: Replace the words for either side of a pair.

    Returns:
        The distinct rationales.

    Raises:
        InputError: The table has no rationales.
    """
    need_column(annotations, "rationale", "Groups by rationale need")
    clean = neutralise_sides if side_neutral else str.strip
    cleaned = [clean(text) for text in annotations.frame["rationale"]]
    cells = np.array([*cleaned, ""], dtype=object)[:-1]  # an array of objects, even of none
    rows = np.flatnonzero(cells != "")
    texts, positions, counts = np.unique(cells[rows], return_inverse=True, return_counts=True)
    return DistinctRationales(list(texts), rows, positions, counts, len(cells))


def _need_encoder(encoder: Encoder | None) -> Encoder:
    if encoder is None:
        raise InputError("Groups by rationale need an encoder: pass load_encoder()")
    return encoder
