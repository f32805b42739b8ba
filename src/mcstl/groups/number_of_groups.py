"""How many groups to form: what speaks for each K, and the rule of ``k: auto`` (A.8).

The paper's expert was asked for the largest K whose summaries say distinct things. `choose_k` asks
figures for the same: the largest K whose clusters come out again from a part of the rationales
(stable) and whose groups use different words (distinct).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mcstl._support.arrays import Float32Array, FloatArray, IntArray
from mcstl._support.progress import Progress, silent
from mcstl.groups import clustering
from mcstl.groups.class_tfidf import class_tfidf
from mcstl.groups.clustering import Algorithm, Clusters

RANGE = range(2, 7)
#: Least mean adjusted Rand index between the clusters of all rationales and of a part of them.
MIN_STABILITY = 0.6
#: Largest cosine between the class-based TF-IDF of two groups that still say distinct things.
MAX_OVERLAP = 0.6
_RESAMPLES = 5
_RESAMPLE_SHARE = 0.8
#: Distinct rationales on which stability and silhouette are measured, drawn evenly.
_MAX_FOR_STABILITY = 4000
_MAX_FOR_SILHOUETTE = 1500


class Candidate(NamedTuple):
    """What speaks for one K.

    Attributes:
        k: Number of groups.
        clusters: The clusters.
        overlaps: (K, K) cosines between the class-based TF-IDF of the groups.
        overlap: The largest of two different groups.
        silhouette: Mean silhouette of the rationales.
        stability: Mean adjusted Rand index between the clusters and those of resamples.
    """

    k: int
    clusters: Clusters
    overlaps: FloatArray
    overlap: float
    silhouette: float
    stability: float


def compare_ks(
    texts: Sequence[str],
    vectors: Float32Array,
    counts: IntArray,
    algorithm: Algorithm = "k-means",
    ks: Sequence[int] = RANGE,
    progress: Progress = silent,
) -> list[Candidate]:
    """Cluster the distinct rationales for every K and measure what comes out.

    Args:
        texts: (m,) distinct rationales.
        vectors: (m, d) their embeddings.
        counts: (m,) how many annotations have each.
        algorithm: What finds the clusters.
        ks: Numbers of groups to try.
        progress: Called with the step, how many K are done and how many there are.

    Returns:
        One candidate per K, without those for which there are too few rationales.
    """
    candidates = []
    for done, k in enumerate(ks):
        progress("trying numbers of groups", done, len(ks))
        try:
            clusters = clustering.find_clusters(vectors, counts, k, algorithm)
        except clustering.ClusterError:
            continue
        membership = clusters.membership(vectors)
        overlaps = class_tfidf(texts, membership.multiply(counts[:, None]).T.tocsr()).overlaps()
        candidates.append(
            Candidate(
                k=k,
                clusters=clusters,
                overlaps=overlaps,
                overlap=float((overlaps - 2 * np.eye(len(overlaps))).max()),
                silhouette=_silhouette(vectors, clusters),
                stability=_stability(vectors, counts, clusters, k, algorithm),
            )
        )
    progress("trying numbers of groups", len(ks), len(ks))
    return candidates


def choose_k(candidates: Sequence[Candidate]) -> int:
    """Choose the largest K that is stable and distinct, or else the most stable one.

    Args:
        candidates: What `compare_ks` returned.

    Returns:
        K.

    Raises:
        ClusterError: There is no candidate.
    """
    if not candidates:
        raise clustering.ClusterError("too few rationales")
    good = [c for c in candidates if c.stability >= MIN_STABILITY and c.overlap <= MAX_OVERLAP]
    if good:
        return max(candidate.k for candidate in good)
    return max(candidates, key=lambda candidate: candidate.stability).k


def _silhouette(vectors: Float32Array, clusters: Clusters) -> float:
    from sklearn.metrics import silhouette_score

    drawn = vectors[clustering.sample_positions(len(vectors), _MAX_FOR_SILHOUETTE)]
    labels, inside = clusters.nearest(drawn)
    if len(np.unique(labels[inside])) < 2 or len(np.unique(labels[inside])) >= inside.sum():
        return float("nan")
    return float(silhouette_score(drawn[inside], labels[inside]))


def _stability(
    vectors: Float32Array,
    counts: IntArray,
    clusters: Clusters,
    k: int,
    algorithm: Algorithm,
) -> float:
    """Mean adjusted Rand index of the clusters of random parts with those of all rationales."""
    from sklearn.metrics import adjusted_rand_score

    measured = clustering.sample_positions(len(vectors), _MAX_FOR_STABILITY)
    vectors, counts = vectors[measured], counts[measured]
    labels = clusters.nearest(vectors)[0]
    scores = []
    for seed in range(1, _RESAMPLES + 1):
        size = round(_RESAMPLE_SHARE * len(vectors))
        part = clustering.sample_positions(len(vectors), size, seed)
        try:
            again = clustering.find_clusters(vectors[part], counts[part], k, algorithm)
        except clustering.ClusterError:
            scores.append(0.0)
            continue
        scores.append(adjusted_rand_score(labels, again.nearest(vectors)[0]))
    return float(np.mean(scores))
