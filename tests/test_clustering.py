"""Clusters: what finds them, how they are chosen, and that membership is a rule for any vector."""

import numpy as np
import pytest

from mcstl.groups import clustering, number_of_groups
from mcstl.groups.class_tfidf import class_tfidf
from mcstl.groups.clustering import ClusterError, Clusters, find_clusters

RNG = np.random.default_rng(0)
CENTRES = 4 * np.eye(5, 20)[:3]


def clouds(n: int = 60, spread: float = 0.3) -> tuple[np.ndarray, np.ndarray]:
    """Three clouds of 3n, 2n and n vectors, and which is whose."""
    whose = np.repeat([0, 1, 2], [3 * n, 2 * n, n])
    noise = np.random.default_rng(1).normal(scale=spread, size=(len(whose), 20))
    return (CENTRES[whose] + noise).astype(np.float32), whose


@pytest.mark.parametrize("algorithm", ["k-means", "gaussian-mixture", "agglomerative", "hdbscan"])
def test_each_algorithm_finds_the_clouds_the_largest_first(
    algorithm: clustering.Algorithm,
) -> None:
    vectors, whose = clouds()
    clusters = find_clusters(vectors, np.ones(len(vectors), dtype=np.int64), 3, algorithm)
    nearest, inside = clusters.nearest(vectors)
    np.testing.assert_array_equal(nearest, whose)
    assert inside.mean() > 0.9
    assert inside.all() or algorithm == "hdbscan"
    np.testing.assert_allclose(clusters.centroids, CENTRES, atol=0.15)
    S = clusters.membership(vectors)
    np.testing.assert_array_equal(S.toarray().argmax(axis=1)[inside], whose[inside])
    again = Clusters.from_arrays(clusters.arrays())
    np.testing.assert_array_equal(again.membership(vectors).toarray(), S.toarray())
    turned = clusters.reordered(np.array([2, 0, 1]))
    np.testing.assert_array_equal(turned.membership(vectors).toarray(), S.toarray()[:, [2, 0, 1]])
    # Nothing of the kind is far from every cloud but to HDBSCAN, which calls it noise.
    far = np.full((1, 20), 9, dtype=np.float32)
    assert clusters.membership(far).nnz == (0 if algorithm == "hdbscan" else 1)


def test_a_vector_that_is_there_twice_is_as_two() -> None:
    vectors, _ = clouds(10, spread=1.0)
    counts = RNG.integers(1, 4, len(vectors))
    once = find_clusters(vectors, counts, 3, "k-means")
    repeated = np.repeat(vectors, counts, axis=0)
    nearest, _ = once.nearest(vectors)
    means = [
        np.average(vectors[nearest == k], axis=0, weights=counts[nearest == k]) for k in range(3)
    ]
    np.testing.assert_allclose(once.centroids, means, atol=1e-5)
    sizes = np.bincount(once.nearest(repeated)[0])
    assert (np.diff(sizes) <= 0).all()


def test_soft_membership_is_the_posterior_in_tenths() -> None:
    vectors, whose = clouds(spread=1.6)
    clusters = find_clusters(vectors, np.ones(len(vectors), dtype=np.int64), 3, "gaussian-mixture")
    S = clusters.membership(vectors, soft=True).toarray()
    assert (S.max(axis=1) > 0).all()
    assert ((S > 0).sum(axis=1) > 1).any()
    np.testing.assert_allclose(S * 10, np.round(S * 10), atol=1e-5)
    assert (S[S > 0] >= 0.2 - 1e-6).all()
    np.testing.assert_array_equal(S.argmax(axis=1), clusters.nearest(vectors)[0])
    # Whoever is said to be in a cloud by p is in it that often.
    sure, unsure = S.max(axis=1) >= 0.95, S.max(axis=1) < 0.75
    right = clusters.nearest(vectors)[0] == whose
    assert right[sure].mean() > right[unsure].mean()


@pytest.mark.parametrize("algorithm", ["k-means", "gaussian-mixture", "agglomerative", "hdbscan"])
def test_too_few_vectors_are_an_error(algorithm: clustering.Algorithm) -> None:
    with pytest.raises(ClusterError):
        find_clusters(np.ones((2, 20), dtype=np.float32), np.ones(2, dtype=np.int64), 3, algorithm)
    same = np.ones((30, 20), dtype=np.float32)
    with pytest.raises(ClusterError):
        find_clusters(same, np.ones(30, dtype=np.int64), 3, "hdbscan")


WORDS = ("soup bread butter", "boat sail harbour", "queen rook bishop")


def test_auto_takes_the_number_of_clouds() -> None:
    vectors, whose = clouds(30)
    texts = [f"{WORDS[k]} {'abcdefghij'[i % 10] * 3}" for i, k in enumerate(whose)]
    found = number_of_groups.compare_ks(texts, vectors, np.ones(len(texts), dtype=np.int64))
    assert [each.k for each in found] == [2, 3, 4, 5, 6]
    three = found[1]
    assert three.stability == pytest.approx(1)
    assert three.silhouette == max(each.silhouette for each in found)
    # A cloud was split: the same words.
    assert three.overlap < number_of_groups.MAX_OVERLAP < found[2].overlap
    assert number_of_groups.choose_k(found) == 3


def test_the_rule_of_auto() -> None:
    vectors, _ = clouds(5)
    clusters = find_clusters(vectors, np.ones(len(vectors), dtype=np.int64), 2, "k-means")

    def each(k: int, overlap: float, stability: float) -> number_of_groups.Candidate:
        return number_of_groups.Candidate(k, clusters, np.eye(k), overlap, 0.1, stability)

    assert number_of_groups.choose_k([each(2, 0.1, 0.9), each(3, 0.1, 0.9), each(4, 0.9, 0.9)]) == 3
    assert number_of_groups.choose_k([each(2, 0.1, 0.9), each(3, 0.1, 0.3), each(4, 0.1, 0.8)]) == 4
    assert number_of_groups.choose_k([each(2, 0.9, 0.5), each(3, 0.9, 0.7)]) == 3
    with pytest.raises(ClusterError):
        number_of_groups.choose_k([])


def test_phrases_by_a_worked_example() -> None:
    from scipy.sparse import csr_matrix

    texts = ["tea tea cake", "wine cake"]
    found = class_tfidf(texts, csr_matrix(np.array([[1.0, 0.0], [0.0, 2.0]])))
    # Group 1: tea 2, cake 1, pairs 2, of 5. Group 2, twice: wine 2, cake 2, pair 2, of 6.
    a = (5 + 6) / 2
    column = dict(zip(found.terms, found.scores.T, strict=True))
    assert column["tea"] == pytest.approx([2 / 5 * np.log(1 + a / 2), 0])
    assert column["cake"] == pytest.approx([1 / 5 * np.log(1 + a / 3), 2 / 6 * np.log(1 + a / 3)])
    first, second = found.phrases()
    assert first[0] == "tea"
    assert "cake" not in first  # it is more frequent in the other group
    assert set(second) == {"wine", "cake", "wine cake"}
    overlaps = found.overlaps()
    np.testing.assert_allclose(np.diag(overlaps), 1)
    assert 0 < overlaps[0, 1] < 0.5
    assert class_tfidf(["the of"], csr_matrix([[1.0]])).phrases() == [[]]
