"""A view of texts by the words or letters they are made of, fitted to the training texts.

Beside an embedding it tells what that was never taught: the wording of explanations, slang,
a language that the encoder does not read. N-grams are hashed, weighted by how rare they are
(TF-IDF) and brought to a hundred dimensions by latent semantic analysis (Deerwester et al., 1990);
nothing of a text can be read from what is kept.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mcstl._support.arrays import BoolArray, Float32Array
from mcstl._support.errors import InputError, brief
from mcstl._support.progress import Progress, silent
from mcstl.data.parts import readable, split_parts, split_rationale
from mcstl.encoding.encoders import Encoder

#: The names of these encoders, and what scikit-learn's vectorizer takes for them.
NGRAMS: dict[str, dict[str, Any]] = {
    "word-ngrams": {"analyzer": "word", "ngram_range": (1, 2)},
    "char-ngrams": {"analyzer": "char_wb", "ngram_range": (2, 5)},
}
#: Columns that n-grams are hashed to, and dimensions of a vector.
_HASHES, _DIMENSIONS = 2**15, 100


class NgramEncoder(Encoder):
    """The n-grams of a text as a vector of length 1; one without known n-grams is of zeros.

    Args:
        name: One of `NGRAMS`.
        directions: (d, `_HASHES`) what each hashed n-gram adds to the vector, as `fit` finds it.

    Attributes:
        name: As given.
        directions: As given.
    """

    # Not Encoder's: it is made here, so that there are no files, and too quick for a cache.
    def __init__(self, name: str, directions: Float32Array) -> None:
        self.name = name
        self.directions = directions
        self.folder = Path(name)
        content = name.encode() + directions.tobytes()
        self.fingerprint = hashlib.sha256(content).hexdigest()[:32]
        self._truncated: set[bytes] = set()
        self._keep = False

    def __reduce__(self) -> tuple[Any, ...]:
        return NgramEncoder, (self.name, self.directions)

    @classmethod
    def fit(cls, name: str, texts: Sequence[str]) -> "NgramEncoder":
        """Find the directions along which texts differ most in their n-grams.

        Args:
            name: One of `NGRAMS`.
            texts: The training texts; of texts in parts each part is a text of its own.

        Returns:
            The encoder.

        Raises:
            InputError: The texts have too few n-grams.
        """
        from sklearn.decomposition import TruncatedSVD
        from sklearn.feature_extraction.text import TfidfTransformer

        pieces = dict.fromkeys(
            piece
            for text in texts
            for piece in (*split_parts(text), split_rationale(text)[1])
            if piece
        )
        counts = _counts(name, list(pieces))
        width = min(_DIMENSIONS, *(size - 1 for size in counts.shape), len(set(counts.indices)) - 1)
        if width < 1:
            raise InputError(f"encoder {name!r} needs more texts than {len(pieces)}")
        weights = TfidfTransformer(sublinear_tf=True).fit(counts)
        found = TruncatedSVD(width, random_state=0).fit(weights.transform(counts)).components_
        return cls(name, np.ascontiguousarray(found * weights.idf_, dtype=np.float32))

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        return len(self.directions)

    @property
    def backend(self) -> str:
        """See `Encoder.backend`."""
        return "scikit-learn"

    def forgetful(self) -> "NgramEncoder":
        """See `Encoder.forgetful`.

        Returns:
            This encoder, which keeps nothing of any text.
        """
        return self

    def encode_with_cuts(
        self, texts: Sequence[str], progress: Progress = silent
    ) -> tuple[Float32Array, BoolArray]:
        """See `Encoder.encode_with_cuts`; no text is cut."""
        return self.encode_uncached(texts), np.zeros(len(texts), dtype=bool)

    def encode_uncached(self, texts: Sequence[str]) -> Float32Array:
        """See `Encoder.encode_uncached`."""
        if not texts:
            return np.empty((0, self.dimension), dtype=np.float32)
        counts = _counts(self.name, [readable(text) for text in texts])
        counts.data = 1 + np.log(counts.data)
        vectors = counts @ self.directions.T
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors / np.where(lengths > 0, lengths, 1), dtype=np.float32)


def check_directions(name: str, directions: Float32Array) -> None:
    """Check what was read of an encoder.

    Args:
        name: Its name.
        directions: Its directions.

    Raises:
        InputError: They are none of an encoder of n-grams.
    """
    fits = name in NGRAMS and directions.ndim == 2 and directions.shape[1] == _HASHES
    if not fits or directions.dtype != np.float32 or not np.isfinite(directions).all():
        raise InputError(f"the encoder {brief(name)!r} that was saved with the model is damaged")


def _counts(name: str, texts: Sequence[str]) -> Any:
    """(n, `_HASHES`) how often each hashed n-gram is in each text."""
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        **NGRAMS[name], n_features=_HASHES, alternate_sign=False, norm=None, dtype=np.float32
    )
    return vectorizer.transform(texts)
