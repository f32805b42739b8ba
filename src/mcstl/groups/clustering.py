"""Clusters of vectors: what finds them, and who is in which (§2.1).

Whatever finds the clusters, membership is a rule for any vector, so that new rationales go the same
way as those of training: the nearest centroid, or the components' posterior for a Gaussian mixture.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from mcstl._support.arrays import BoolArray, Float32Array, FloatArray, IntArray
from mcstl.labelling.value_cells import in_steps

Algorithm = Literal["k-means", "gaussian-mixture", "agglomerative", "hdbscan"]

_STARTS = 4  # of K-means and the mixture, of which the best is kept
#: Dimensions in which densities are estimated; in more, every vector is far from every other.
_DENSITY_DIMENSIONS = 16
#: Distinct vectors that algorithms of quadratic cost look at, drawn evenly.
_MOST_VECTORS = 3000
#: HDBSCAN: a cluster has at least this share of the vectors it looks at.
_SMALLEST_SHARE = 0.02
#: HDBSCAN: who is farther from a centroid than this share of its cluster is in no group.
_WITHIN = 0.95
#: A soft membership below this is none, unless it is the largest.
_LEAST = 0.2


class ClusterError(ValueError):
    """There are no such clusters in the vectors."""


@dataclass(frozen=True, eq=False)
class Clusters:
    """K clusters: `centroids` (K, d), `radii` (K,) beyond which nobody belongs, `mixture` arrays.

    `mixture` is empty, or has the ``origin`` (d,) and ``axes`` (p, d) of the space of the Gaussian
    components and their ``weights`` (K,), ``means`` (K, p) and ``precisions`` (K, p, p, Cholesky).
    """

    centroids: Float32Array
    radii: Float32Array
    mixture: Mapping[str, Float32Array]

    def __len__(self) -> int:
        return len(self.centroids)

    def membership(self, vectors: Float32Array, soft: bool = False) -> csr_matrix:
        """Return (n, K): 1 at each vector's cluster, or where `soft` its posteriors in tenths.

        Of those the largest stays and any of at least 0.2; whoever has less is not in the group.
        """
        if soft:
            p = self._posterior(vectors)
            kept = (p >= _LEAST) | (p == p.max(axis=1, keepdims=True))
            return csr_matrix(in_steps(p * kept))
        nearest, inside = self.nearest(vectors)
        rows = np.flatnonzero(inside)
        ones = np.ones(len(rows), dtype=np.float32)
        return csr_matrix((ones, (rows, nearest[rows])), shape=(len(vectors), len(self)))

    def nearest(self, vectors: Float32Array) -> tuple[IntArray, BoolArray]:
        """Return (n,) the cluster of each vector and whether it is near enough to belong."""
        if self.mixture:
            clusters = np.argmax(self._posterior(vectors), axis=1)
            return clusters.astype(np.int64), np.ones(len(vectors), dtype=bool)
        squares = (self.centroids**2).sum(axis=1) - 2 * vectors @ self.centroids.T
        clusters = np.argmin(squares, axis=1).astype(np.int64)
        if np.isinf(self.radii).all():
            return clusters, np.ones(len(vectors), dtype=bool)
        apart = np.linalg.norm(vectors - self.centroids[clusters], axis=1)
        return clusters, apart <= self.radii[clusters]

    def reordered(self, order: IntArray) -> Self:
        """Return the same clusters in another order."""
        own = ("weights", "means", "precisions")
        mixture = {k: v[order] if k in own else v for k, v in self.mixture.items()}
        return replace(
            self, centroids=self.centroids[order], radii=self.radii[order], mixture=mixture
        )

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all arrays by name, of which `from_arrays` makes the clusters again."""
        # A model directory holds no number that is not finite; without radii they have no end.
        radii = {} if np.isinf(self.radii).all() else {"radii": self.radii}
        return {"centroids": self.centroids, **radii, **self.mixture}

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Make the clusters again from what `arrays` returned."""
        found = {name: np.asarray(each, dtype=np.float32) for name, each in arrays.items()}
        centroids = found.pop("centroids")
        # Schemes that were saved before there were radii have none.
        radii = found.pop("radii", np.full(len(centroids), np.inf, dtype=np.float32))
        return cls(centroids, radii, found)

    def _posterior(self, vectors: Float32Array) -> FloatArray:
        from sklearn.mixture import GaussianMixture

        model = GaussianMixture(len(self))
        model.weights_ = self.mixture["weights"].astype(np.float64)
        model.means_ = self.mixture["means"].astype(np.float64)
        model.precisions_cholesky_ = self.mixture["precisions"].astype(np.float64)
        inside = (vectors - self.mixture["origin"]) @ self.mixture["axes"].T
        posterior: FloatArray = model.predict_proba(inside.astype(np.float64))
        return posterior


def find(vectors: Float32Array, counts: IntArray, k: int, algorithm: Algorithm) -> Clusters:
    """Find clusters of the distinct `vectors` (m, d), each there `counts` (m,) times, by size.

    ``k-means`` is the paper's. ``gaussian-mixture`` is fitted in 16 principal components and can
    give soft membership. ``agglomerative`` (Ward) and ``hdbscan``, which finds their number itself,
    look at 3,000 vectors at most. The seed is fixed, so the same vectors have the same clusters.

    Raises ClusterError if there are fewer distinct vectors than clusters, or none are found.
    """
    from threadpoolctl import threadpool_limits

    if len(vectors) < k and algorithm != "hdbscan":
        raise ClusterError(f"{len(vectors)} distinct vectors")
    # Several threads add up in any order, and on a busy machine they are slower than one.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fewer distinct vectors than clusters: checked below
        clusters = _FIND[algorithm](vectors, counts, k)
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

    some = sample(len(vectors), _MOST_VECTORS)
    labels = AgglomerativeClustering(k).fit_predict(vectors[some])
    return _unbounded(_means(vectors[some], counts[some], labels))


def _hdbscan(vectors: Float32Array, counts: IntArray, k: int) -> Clusters:
    from sklearn.cluster import HDBSCAN
    from sklearn.decomposition import PCA

    some = sample(len(vectors), _MOST_VECTORS)
    inside = PCA(min(_DENSITY_DIMENSIONS, len(some), vectors.shape[1]), random_state=0)
    smallest = max(5, round(_SMALLEST_SHARE * len(some)))
    if len(some) < 2 * smallest:
        raise ClusterError(f"{len(some)} distinct vectors")
    labels = HDBSCAN(min_cluster_size=smallest, copy=True).fit_predict(
        inside.fit_transform(vectors[some])
    )
    if labels.max() < 1:
        raise ClusterError("no two dense clusters")
    centroids = _means(vectors[some], counts[some], labels)
    apart = np.linalg.norm(vectors[some] - centroids[labels], axis=1)
    radii = [np.quantile(apart[labels == c], _WITHIN) for c in range(len(centroids))]
    return Clusters(centroids, np.array(radii, dtype=np.float32), {})


_FIND = {
    "k-means": _k_means,
    "gaussian-mixture": _mixture,
    "agglomerative": _agglomerative,
    "hdbscan": _hdbscan,
}


def sample(n: int, most: int, seed: int = 0) -> IntArray:
    """Return at most `most` of the positions 0 ... n - 1, drawn with a fixed seed, in order."""
    if n <= most:
        return np.arange(n)
    return np.sort(np.random.default_rng(seed).permutation(n)[:most])


def _unbounded(centroids: npt.NDArray[Any]) -> Clusters:
    radii = np.full(len(centroids), np.inf, dtype=np.float32)
    return Clusters(centroids.astype(np.float32), radii, {})


def _means(vectors: Float32Array, counts: IntArray, labels: IntArray) -> Float32Array:
    """(K, d) mean of each cluster, every vector as often as it is there; label -1 is noise."""
    rows = np.flatnonzero(labels >= 0)
    weights = csr_matrix(
        (counts[rows], (labels[rows], rows)), shape=(labels.max() + 1, len(labels))
    )
    means = (weights @ vectors) / np.asarray(weights.sum(axis=1))
    return np.asarray(means, dtype=np.float32)
