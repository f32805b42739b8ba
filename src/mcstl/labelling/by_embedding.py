"""Values without any example: how near a rationale is to each value's definition (zero-shot)."""

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
_ABOVE = 0.75


@dataclass(frozen=True, eq=False)
class ZeroShot:
    """The similarity (K,) that each value must have, from rationales without labels.

    Some definitions are near to everything that is said on a matter, so a value's similarity is
    compared with its own mean over the rationales that `fit` saw.
    """

    taxonomy: Taxonomy
    means: Float32Array
    sds: Float32Array

    def membership(
        self, rationales: Sequence[str], encoder: Encoder, progress: Progress = silent
    ) -> csr_matrix:
        """Return (n, K): 1 at the values that stand out, and at the one that does most."""
        rows = [row for row, text in enumerate(rationales) if text.strip()]
        inside = np.zeros((len(rationales), len(self.means)), dtype=np.float32)
        if rows:
            near = similarities([rationales[r] for r in rows], self.taxonomy, encoder, progress)
            above = (near - self.means) / self.sds
            inside[rows] = (above >= _ABOVE) | (above == above.max(axis=1, keepdims=True))
        return csr_matrix(inside)


def fit(
    rationales: Sequence[str], taxonomy: Taxonomy, encoder: Encoder, progress: Progress = silent
) -> ZeroShot:
    """Take the mean and standard deviation of each value's similarity; no label is looked at."""
    near = similarities([r for r in rationales if r.strip()] or [""], taxonomy, encoder, progress)
    return ZeroShot(taxonomy, near.mean(axis=0), near.std(axis=0) + 1e-6)


def similarities(
    rationales: Sequence[str], taxonomy: Taxonomy, encoder: Encoder, progress: Progress = silent
) -> Float32Array:
    """Return (n, K) cosines of rationales with each value's name, definition and keywords."""
    said = [
        f"{value.name}: {value.definition}. {', '.join(value.keywords)}"
        for value in taxonomy.values
    ]
    pair = (encoder.encode(rationales, progress), encoder.encode(said))
    left, right = (v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-12) for v in pair)
    return np.asarray(left @ right.T, dtype=np.float32)
