"""Values without any example: how similar a rationale is to each value's definition (zero-shot)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.arrays import Float32Array
from mcstl._support.progress import Progress, silent
from mcstl.encoding.encoders import Encoder
from mcstl.labelling.taxonomies import Taxonomy

#: A value is given from this many standard deviations above its mean similarity on: a choice on the
#: training arguments of valueeval23, where macro-F1 hardly differs from 0.5 to 1 (docs/groups.md).
_MIN_DEVIATIONS = 0.75


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """A rule that gives values by similarity to their definitions.

    Some definitions are similar to everything that is said on a matter, so the similarity of a
    value is compared with its mean over the rationales that the rule was fitted to.

    Attributes:
        taxonomy: The K values.
        means: (K,) mean cosine of each value.
        sds: (K,) standard deviation of the cosine of each value.
    """

    taxonomy: Taxonomy
    means: Float32Array
    sds: Float32Array

    def membership(
        self, rationales: Sequence[str], encoder: Encoder, progress: Progress = silent
    ) -> csr_matrix:
        """Give each rationale the values that stand out, at least the one that does most.

        Args:
            rationales: (n,) texts; an empty one gets no value.
            encoder: Embeds rationales and definitions.
            progress: Called with the step, how many texts are encoded and how many there are.

        Returns:
            (n, K) membership, 0 or 1.
        """
        rows = [row for row, text in enumerate(rationales) if text.strip()]
        inside = np.zeros((len(rationales), len(self.means)), dtype=np.float32)
        if rows:
            cosines = similarities([rationales[r] for r in rows], self.taxonomy, encoder, progress)
            deviations = (cosines - self.means) / self.sds
            largest = deviations.max(axis=1, keepdims=True)
            inside[rows] = (deviations >= _MIN_DEVIATIONS) | (deviations == largest)
        return csr_matrix(inside)


def fit_zero_shot(
    rationales: Sequence[str], taxonomy: Taxonomy, encoder: Encoder, progress: Progress = silent
) -> ZeroShot:
    """Measure how similar each value usually is to rationales; no label is looked at.

    Args:
        rationales: (n,) texts; empty ones are passed over.
        taxonomy: The K values.
        encoder: Embeds rationales and definitions.
        progress: Called with the step, how many texts are encoded and how many there are.

    Returns:
        The fitted rule.
    """
    texts = [text for text in rationales if text.strip()] or [""]
    cosines = similarities(texts, taxonomy, encoder, progress)
    return ZeroShot(taxonomy, cosines.mean(axis=0), cosines.std(axis=0) + 1e-6)


def similarities(
    rationales: Sequence[str], taxonomy: Taxonomy, encoder: Encoder, progress: Progress = silent
) -> Float32Array:
    """Compare rationales with the name, definition and keywords of each value.

    Args:
        rationales: (n,) texts.
        taxonomy: The K values.
        encoder: Embeds rationales and definitions.
        progress: Called with the step, how many texts are encoded and how many there are.

    Returns:
        (n, K) cosines.
    """
    definitions = [
        f"{value.name}: {value.definition}. {', '.join(value.keywords)}"
        for value in taxonomy.values
    ]
    vectors = (encoder.encode(rationales, progress), encoder.encode(definitions))
    left, right = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in vectors)
    return np.asarray(left @ right.T, dtype=np.float32)
