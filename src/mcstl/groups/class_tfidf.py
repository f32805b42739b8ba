"""The words that set groups of texts apart, by class-based TF-IDF (Grootendorst 2022)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.arrays import BoolArray, FloatArray

_MORE_STOP_WORDS = frozenset({"argument", "arguments", "did", "does", "just", "really"})
_PHRASES_RANKED = 40
_WORDS_IN_NAME = 3


class ClassTfidf(NamedTuple):
    """Class-based TF-IDF of m terms in K groups.

    Attributes:
        terms: (m,) words and pairs of words.
        scores: (K, m) score of each term in each group.
        is_typical: (K, m) whether a term is more frequent in the group than in all groups.
    """

    terms: list[str]
    scores: FloatArray
    is_typical: BoolArray

    def phrases(self) -> list[list[str]]:
        """Rank the terms that set each group apart.

        Returns:
            (K,) the typical terms of each group, at most 40, the best first.
        """
        return [
            [self.terms[i] for i in np.argsort(-row, kind="stable")[:_PHRASES_RANKED] if row[i] > 0]
            for row in self.scores * self.is_typical
        ]

    def overlaps(self) -> FloatArray:
        """Compare the groups by their scores.

        Returns:
            (K, K) cosines: 1 where two groups say the same.
        """
        norms = np.linalg.norm(self.scores, axis=1, keepdims=True)
        unit = self.scores / np.maximum(norms, 1e-12)
        return np.asarray(unit @ unit.T)


def class_tfidf(texts: Sequence[str], counts: csr_matrix) -> ClassTfidf:
    """Score the terms of texts in each group.

    The score of a term in a group is its share of the group's terms times log(1 + A / f), where f
    is its count in all groups and A the mean count of terms per group (Grootendorst 2022, BERTopic,
    Eq. 2). We take the share instead of the count, which makes groups of any size comparable.

    Args:
        texts: (m,) distinct texts.
        counts: (K, m) how often each text occurs in each group.

    Returns:
        The scores.
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    vectorizer = CountVectorizer(
        stop_words=sorted(ENGLISH_STOP_WORDS | _MORE_STOP_WORDS),
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b[^\W\d_]{2,}\b(?!['’])",  # noqa: S106
    )
    try:
        terms_per_text = vectorizer.fit_transform(texts)
    except ValueError:  # nothing but stop words
        none = np.zeros((counts.shape[0], 0))
        return ClassTfidf([], none, none > 0)
    per_group = (counts @ terms_per_text).toarray()
    share = per_group / np.maximum(per_group.sum(axis=1, keepdims=True), 1)
    overall = per_group.sum(axis=0)
    rarity = np.log1p(per_group.sum() / len(per_group) / np.maximum(overall, 1e-12))
    is_typical = share > overall / max(overall.sum(), 1e-12)
    return ClassTfidf(list(vectorizer.get_feature_names_out()), share * rarity, is_typical)


def words_for_name(phrases: Sequence[str]) -> list[str]:
    """Pick the words that name a group: no pairs, and none that is a form of another.

    Args:
        phrases: The terms that set it apart, the best first.

    Returns:
        At most three words.
    """
    words: list[str] = []
    for phrase in phrases:
        stem = phrase[:4]
        if " " not in phrase and not any(word.startswith(stem) for word in words):
            words.append(phrase)
    return words[:_WORDS_IN_NAME]
