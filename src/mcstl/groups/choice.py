"""How many groups: what speaks for each K, and the rule of ``k: auto`` (A.8).

The paper's expert was asked for the largest K whose summaries say distinct things. `chosen` asks
numbers for the same: the largest K whose clusters come out again from other rationales (stable) and
whose groups do not say the same (distinct).
"""

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.progress import Progress, silent
from mcstl.groups import clustering, phrases
from mcstl.groups.clustering import Algorithm, Clusters

RANGE = range(2, 7)
#: Least mean adjusted Rand index between the clusters of all rationales and of a part of them.
STABLE = 0.6
#: Largest cosine between the class-based TF-IDF of two groups that still say distinct things.
DISTINCT = 0.6
_RESAMPLES = 5
_SHARE = 0.8
#: Distinct rationales on which stability and silhouette are measured, drawn evenly.
_MOST_MEASURED = 4000
_MOST_SILHOUETTE = 1500


class Figures(Protocol):
    """What the rule looks at."""

    @property
    def k(self) -> int:
        """The number of groups."""

    @property
    def overlap(self) -> float:
        """How much two of them say the same."""

    @property
    def stability(self) -> float:
        """How well they come out again."""


class Candidate(NamedTuple):
    """What speaks for one K: `clusters` found, (K, K) `overlaps`, and three figures.

    `overlap` is the largest of two different groups, `silhouette` the mean over rationales and
    `stability` the mean adjusted Rand index over resamples.
    """

    k: int
    clusters: Clusters
    overlaps: FloatArray
    overlap: float
    silhouette: float
    stability: float


def compare(
    texts: Sequence[str],
    vectors: Float32Array,
    counts: IntArray,
    algorithm: Algorithm = "k-means",
    ks: Sequence[int] = RANGE,
    progress: Progress = silent,
) -> list[Candidate]:
    """Cluster the distinct rationales for every K and measure what comes out.

    A K for which there are too few rationales is left out.
    """
    found = []
    for done, k in enumerate(ks):
        progress("trying numbers of groups", done, len(ks))
        try:
            clusters = clustering.find(vectors, counts, k, algorithm)
        except clustering.ClusterError:
            continue
        inside = clusters.membership(vectors)
        weights = inside.multiply(counts[:, None]).T.tocsr()
        overlaps = phrases.terms(texts, weights).overlaps()
        apart = overlaps - 2 * np.eye(len(overlaps))
        found.append(
            Candidate(
                k=k,
                clusters=clusters,
                overlaps=overlaps,
                overlap=float(apart.max()),
                silhouette=_silhouette(vectors, clusters),
                stability=_stability(vectors, counts, clusters, k, algorithm),
            )
        )
    progress("trying numbers of groups", len(ks), len(ks))
    return found


def chosen(candidates: Sequence[Figures]) -> int:
    """Return the largest K that is `STABLE` and `DISTINCT`, or else the most stable one.

    Raises ClusterError if there is no candidate.
    """
    if not candidates:
        raise clustering.ClusterError("too few rationales")
    good = [c for c in candidates if c.stability >= STABLE and c.overlap <= DISTINCT]
    if good:
        return max(each.k for each in good)
    return max(candidates, key=lambda each: each.stability).k


def _silhouette(vectors: Float32Array, clusters: Clusters) -> float:
    from sklearn.metrics import silhouette_score

    some = vectors[clustering.sample(len(vectors), _MOST_SILHOUETTE)]
    labels, inside = clusters.nearest(some)
    if len(np.unique(labels[inside])) < 2 or len(np.unique(labels[inside])) >= inside.sum():
        return float("nan")
    return float(silhouette_score(some[inside], labels[inside]))


def _stability(
    vectors: Float32Array,
    counts: IntArray,
    clusters: Clusters,
    k: int,
    algorithm: Algorithm,
) -> float:
    """Mean adjusted Rand index of the clusters of random parts with those of all rationales."""
    from sklearn.metrics import adjusted_rand_score

    measured = clustering.sample(len(vectors), _MOST_MEASURED)
    vectors, counts = vectors[measured], counts[measured]
    whole = clusters.nearest(vectors)[0]
    agreed = []
    for seed in range(1, _RESAMPLES + 1):
        part = clustering.sample(len(vectors), round(_SHARE * len(vectors)), seed)
        try:
            again = clustering.find(vectors[part], counts[part], k, algorithm)
        except clustering.ClusterError:
            agreed.append(0.0)
            continue
        agreed.append(adjusted_rand_score(whole, again.nearest(vectors)[0]))
    return float(np.mean(agreed))
