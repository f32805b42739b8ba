"""The words that set groups of texts apart, by class-based TF-IDF."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.arrays import BoolArray, FloatArray

_MORE_STOP_WORDS = frozenset({"argument", "arguments", "did", "does", "just", "really"})
_PHRASES_RANKED = 40
_WORDS_IN_NAME = 3


class Terms(NamedTuple):
    """Class-based TF-IDF: `scores` (K, m) of the m `words`, which are words and pairs of them.

    `typical` (K, m) marks the terms that are more frequent in the group than in all groups.
    """

    words: list[str]
    scores: FloatArray
    typical: BoolArray

    def phrases(self) -> list[list[str]]:
        """Return per group the terms that set it apart, the best first."""
        return [
            [self.words[i] for i in np.argsort(-row, kind="stable")[:_PHRASES_RANKED] if row[i] > 0]
            for row in self.scores * self.typical
        ]

    def overlaps(self) -> FloatArray:
        """(K, K) cosines of the groups' scores: 1 where two groups say the same."""
        norms = np.linalg.norm(self.scores, axis=1, keepdims=True)
        unit = self.scores / np.maximum(norms, 1e-12)
        return np.asarray(unit @ unit.T)


def terms(texts: Sequence[str], weights: csr_matrix) -> Terms:
    """Weigh the terms of `texts` (m,) in groups, `weights` (K, m) saying how often each is where.

    The score of a term in a group is its share of the group's terms times log(1 + A / f), f its
    count in all groups together and A the mean count of terms a group (Grootendorst 2022,
    BERTopic, Eq. 2; the share instead of the count makes groups of any size comparable).
    """
    from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS, CountVectorizer

    vectorizer = CountVectorizer(
        stop_words=sorted(ENGLISH_STOP_WORDS | _MORE_STOP_WORDS),
        ngram_range=(1, 2),
        token_pattern=r"(?u)\b[^\W\d_]{2,}\b(?!['’])",  # noqa: S106
    )
    try:
        counted = vectorizer.fit_transform(texts)
    except ValueError:  # nothing but stop words
        none = np.zeros((weights.shape[0], 0))
        return Terms([], none, none > 0)
    per_group = (weights @ counted).toarray()
    share = per_group / np.maximum(per_group.sum(axis=1, keepdims=True), 1)
    overall = per_group.sum(axis=0)
    rarity = np.log1p(per_group.sum() / len(per_group) / np.maximum(overall, 1e-12))
    typical = share > overall / max(overall.sum(), 1e-12)
    return Terms(list(vectorizer.get_feature_names_out()), share * rarity, typical)


def short(phrases: Sequence[str]) -> list[str]:
    """Pick the words of a name: single ones, and none that is a form of another."""
    chosen: list[str] = []
    for phrase in phrases:
        stem = phrase[:4]
        if " " not in phrase and not any(word.startswith(stem) for word in chosen):
            chosen.append(phrase)
    return chosen[:_WORDS_IN_NAME]
