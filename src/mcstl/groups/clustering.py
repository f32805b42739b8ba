"""Clusters of vectors: how they are found, and which vectors belong to which (§2.1).

Whichever algorithm finds the clusters, membership is a rule for any vector, so that new rationales
are treated as those of training: the nearest centroid, or the posterior of a Gaussian mixture.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mcstl._support.arrays import BoolArray, Float32Array, FloatArray, IntArray
from mcstl.labelling.value_notation import round_to_tenths

Algorithm = Literal["k-means", "gaussian-mixture", "agglomerative", "hdbscan"]

_STARTS = 4  # of K-means, of which the best is kept
#: Dimensions in which densities are estimated; in more, all vectors are far from each other.
_DENSITY_DIMENSIONS = 16
#: Distinct vectors that algorithms of quadratic cost look at, drawn evenly.
_MAX_VECTORS = 3000
#: HDBSCAN: a cluster has at least this share of the vectors it looks at.
_SMALLEST_SHARE = 0.02
#: HDBSCAN: a vector farther from the centroid than this share of the cluster is in no group.
_RADIUS_QUANTILE = 0.95
#: A soft membership below this becomes 0, unless it is the largest.
_MIN_POSTERIOR = 0.2


class ClusterError(ValueError):
    """There are no such clusters in the vectors."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """K clusters of vectors.

    Attributes:
        centroids: (K, d) means of the clusters.
        radii: (K,) distances from the centroid beyond which a vector does not belong.
        mixture: Arrays of a Gaussian mixture by name, empty for other clusters: ``origin`` (d,) and
            ``axes`` (p, d) of its space, and of its components ``weights`` (K,), ``means`` (K, p)
            and ``precisions`` (K, p, p, Cholesky factors).
    """

    centroids: Float32Array
    radii: Float32Array
    mixture: Mapping[str, Float32Array]

    def __len__(self) -> int:
        return len(self.centroids)

    def membership(self, vectors: Float32Array, soft: bool = False) -> csr_matrix:
        """Give vectors their membership.

        Args:
            vectors: (n, d) vectors.
            soft: Use the posteriors of a Gaussian mixture, in tenths: the largest and any of at
                least 0.2.

        Returns:
            (n, K) membership: 1 in the vector's cluster, or its posteriors.
        """
        if soft:
            p = self._posterior(vectors)
            kept = (p >= _MIN_POSTERIOR) | (p == p.max(axis=1, keepdims=True))
            return csr_matrix(round_to_tenths(p * kept))
        nearest, inside = self.nearest(vectors)
        rows = np.flatnonzero(inside)
        ones = np.ones(len(rows), dtype=np.float32)
        return csr_matrix((ones, (rows, nearest[rows])), shape=(len(vectors), len(self)))

    def nearest(self, vectors: Float32Array) -> tuple[IntArray, BoolArray]:
        """Find the nearest cluster of each vector.

        Args:
            vectors: (n, d) vectors.

        Returns:
            (n,) the cluster of each, and (n,) whether it is near enough to belong to it.
        """
        if self.mixture:
            clusters = np.argmax(self._posterior(vectors), axis=1)
            return clusters.astype(np.int64), np.ones(len(vectors), dtype=bool)
        squares = (self.centroids**2).sum(axis=1) - 2 * vectors @ self.centroids.T
        clusters = np.argmin(squares, axis=1).astype(np.int64)
        if np.isinf(self.radii).all():
            return clusters, np.ones(len(vectors), dtype=bool)
        distances = np.linalg.norm(vectors - self.centroids[clusters], axis=1)
        return clusters, distances <= self.radii[clusters]

    def reordered(self, order: IntArray) -> Self:
        """Put the clusters in another order.

        Args:
            order: (K,) positions.

        Returns:
            The same clusters in that order.
        """
        per_cluster = ("weights", "means", "precisions")
        mixture = {k: v[order] if k in per_cluster else v for k, v in self.mixture.items()}
        return replace(
            self, centroids=self.centroids[order], radii=self.radii[order], mixture=mixture
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Describe the clusters for saving.

        Returns:
            Arrays by name.
        """
        # A model directory holds finite numbers only; without radii they are infinite.
        radii = {} if np.isinf(self.radii).all() else {"radii": self.radii}
        return {"centroids": self.centroids, **radii, **self.mixture}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Restore clusters from what `arrays` returned.

        Args:
            arrays: Arrays by name.

        Returns:
            The clusters.
        """
        mixture = {name: np.asarray(each, dtype=np.float32) for name, each in arrays.items()}
        centroids = mixture.pop("centroids")
        # Schemes that were saved before there were radii have none.
        radii = mixture.pop("radii", np.full(len(centroids), np.inf, dtype=np.float32))
        return cls(centroids, radii, mixture)

    def _posterior(self, vectors: Float32Array) -> FloatArray:
        from sklearn.mixture import GaussianMixture

        model = GaussianMixture(len(self))
        model.weights_ = self.mixture["weights"].astype(np.float64)
        model.means_ = self.mixture["means"].astype(np.float64)
        model.precisions_cholesky_ = self.mixture["precisions"].astype(np.float64)
        inside = (vectors - self.mixture["origin"]) @ self.mixture["axes"].T
        posterior: FloatArray = model.predict_proba(inside.astype(np.float64))
        return posterior


def find_clusters(
    vectors: Float32Array, counts: IntArray, k: int, algorithm: Algorithm
) -> Clusters:
    """Find clusters of vectors.

    ``k-means`` is the paper's. ``gaussian-mixture`` is fitted in 16 principal components and can
    give soft membership. ``agglomerative`` (Ward) and ``hdbscan``, which finds their number itself,
    look at 3,000 vectors at most. The seed is fixed, so the same vectors have the same clusters.

    Args:
        vectors: (m, d) distinct vectors.
        counts: (m,) how often each occurs.
        k: Number of clusters, except for ``hdbscan``.
        algorithm: What finds them.

    Returns:
        The clusters, the largest first.

    Raises:
        ClusterError: There are fewer distinct vectors than clusters, or no clusters are found.
    """
    from threadpoolctl import threadpool_limits

    if len(vectors) < k and algorithm != "hdbscan":
        raise ClusterError(f"{len(vectors)} distinct vectors")
    # Several threads sum in any order, and on a busy machine they are slower than one.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct vectors than clusters: checked below
        clusters = _ALGORITHMS[algorithm](vectors, counts, k)
    nearest, inside = clusters.nearest(vectors)
    sizes = np.bincount(nearest, weights=counts * inside, minlength=len(clusters))
    if (sizes == 0).any():
        raise ClusterError("an empty cluster")
    return clusters.reordered(np.argsort(-sizes, kind="stable"))


def _k_means(vectors: Float32Array, counts: IntArray, k: int) -> Clusters:
    from sklearn.cluster import KMeans

    means = KMeans(k, n_init=_STARTS, random_state=0).fit(vectors, sample_weight=counts)
    return _unbounded(means.cluster_centers_)


def _mixture(vectors: Float32Array, counts: IntArray, k: int) -> Clusters:
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    repeated = np.repeat(vectors, counts, axis=0)
    axes = PCA(min(_DENSITY_DIMENSIONS, *vectors.shape), random_state=0).fit(repeated)
    model = GaussianMixture(k, n_init=2, random_state=0, reg_covar=1e-4)
    weights = model.fit(axes.transform(repeated)).predict_proba(axes.transform(vectors))
    weights *= counts[:, None]
    centroids = (weights.T @ vectors) / weights.sum(axis=0)[:, None]
    mixture = {
        "origin": axes.mean_,
        "axes": axes.components_,
        "weights": model.weights_,
        "means": model.means_,
        "precisions": model.precisions_cholesky_,
    }
    small = {name: np.asarray(each, dtype=np.float32) for name, each in mixture.items()}
    return replace(_unbounded(centroids), mixture=small)


def _agglomerative(vectors: Float32Array, counts: IntArray, k: int) -> Clusters:
    from sklearn.cluster import AgglomerativeClustering

    drawn = sample_positions(len(vectors), _MAX_VECTORS)
    labels = AgglomerativeClustering(k).fit_predict(vectors[drawn])
    return _unbounded(_means(vectors[drawn], counts[drawn], labels))


def _hdbscan(vectors: Float32Array, counts: IntArray, k: int) -> Clusters:
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    drawn = sample_positions(len(vectors), _MAX_VECTORS)
    axes = PCA(min(_DENSITY_DIMENSIONS, len(drawn), vectors.shape[1]), random_state=0)
    smallest = max(5, round(_SMALLEST_SHARE * len(drawn)))
    if len(drawn) < 2 * smallest:
        raise ClusterError(f"{len(drawn)} distinct vectors")
    labels = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(
        axes.fit_transform(vectors[drawn])
    )
    if labels.max() < 1:
        raise ClusterError("no two dense clusters")
    centroids = _means(vectors[drawn], counts[drawn], labels)
    distances = np.linalg.norm(vectors[drawn] - centroids[labels], axis=1)
    radii = [np.quantile(distances[labels == c], _RADIUS_QUANTILE) for c in range(len(centroids))]
    return Clusters(centroids, np.array(radii, dtype=np.float32), {})


_ALGORITHMS = {
    "k-means": _k_means,
    "gaussian-mixture": _mixture,
    "agglomerative": _agglomerative,
    "hdbscan": _hdbscan,
}


def sample_positions(n: int, size: int, seed: int = 0) -> IntArray:
    """Draw positions from 0 to n - 1 without replacement.

    Args:
        n: How many there are.
        size: Most positions to draw.
        seed: Seed of the draw.

    Returns:
        (min(n, size),) positions, sorted.
    """
    if n <= size:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:size])


def _unbounded(centroids: npt.NDArray[Any]) -> Clusters:
    radii = np.full(len(centroids), np.inf, dtype=np.float32)
    return Clusters(centroids.astype(np.float32), radii, {})


def _means(vectors: Float32Array, counts: IntArray, labels: IntArray) -> Float32Array:
    """(K, d) mean of each cluster, each vector weighted by its count; label -1 is noise."""
    rows = np.flatnonzero(labels >= 0)
    weights = csr_matrix(
        (counts[rows], (labels[rows], rows)), shape=(labels.max() + 1, len(labels))
    )
    means = (weights @ vectors) / np.asarray(weights.sum(axis=1))
    return np.asarray(means, dtype=np.float32)
