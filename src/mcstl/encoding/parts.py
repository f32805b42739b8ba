"""Texts in parts, and texts with a rationale: what of them is encoded, and how parts differ.

What an entailment or a paraphrase depends on is how two texts differ, which one vector of both
hardly tells. The features [u, v, |u - v|, u * v] are those of InferSent (Conneau et al., 2017,
§3.1).
"""

import copy
import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from mcstl._support.arrays import BoolArray, Float32Array
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.data.parts import readable, split_parts, split_rationale
from mcstl.encoding.encoders import Encoder, text_key

#: How texts in parts are encoded: ``joined`` as one text, ``apart`` with how the last two differ,
#: or their ``last`` part alone.
Reading = Literal["joined", "apart", "last"]


class PartsEncoder(Encoder):
    """An encoder of texts in parts or with rationales, by way of an encoder of their parts.

    The vector of a text that is read ``apart`` is [e_1, ..., e_n, |e_{n-1} - e_n|,
    sqrt(d) e_{n-1} * e_n]; the last two parts are compared: post and reply, premise and
    hypothesis, the last two turns. The product is over the root of the two vectors' lengths, so
    that all features grow alike with the length of vectors; the sqrt(d) makes it about as long as
    they are. Read as ``last`` it is e_n, where the label is about a reply or a turn and the rest
    is its context; as ``joined``, that of the whole text. A rationale's vector follows. A missing
    part or rationale is a vector of zeros.

    Args:
        base: What encodes a part, and keeps its vector in its cache.
        parts: The number n of parts of a text.
        reading: How the parts are read.
        rationale: Whether texts have a rationale, which is read, too.

    Attributes:
        name: The name of `base`.
        folder: The folder of `base`.
        fingerprint: That of `base`, and how texts are read.
        parts: n where parts are read apart or the last of them alone, else 1.
        reading: As given.
        rationale: As given.
    """

    # Not Encoder's: it has neither weights nor a cache of its own.
    def __init__(
        self, base: Encoder, parts: int, reading: Reading = "apart", rationale: bool = False
    ) -> None:
        self.name = base.name
        self.folder = base.folder
        self.reading = reading
        self.rationale = rationale
        self.parts = 1 if reading == "joined" else parts
        marks = {"joined": "", "apart": f"-{parts}-parts", "last": f"-last-of-{parts}"}[reading]
        self.fingerprint = f"{base.fingerprint}{marks}{'-rationale' * rationale}"
        self._n_parts = parts
        self._base = copy.copy(base)
        # Both count their own texts: the base's are parts.
        self._base._truncated = set()
        self._truncated: set[bytes] = set()
        self._keep = base._keep

    def __reduce__(self) -> tuple[Any, ...]:
        return PartsEncoder, (self._base, self._n_parts, self.reading, self.rationale)

    def forgetful(self) -> "PartsEncoder":
        """See `Encoder.forgetful`.

        Returns:
            An encoder that keeps nothing of any text.
        """
        return PartsEncoder(self._base.forgetful(), self._n_parts, self.reading, self.rationale)

    @property
    def dimension(self) -> int:
        """The length of a vector."""
        of_text = self.parts + 2 if self.reading == "apart" else 1
        return (of_text + self.rationale) * self._base.dimension

    @property
    def backend(self) -> str:
        """See `Encoder.backend`."""
        return self._base.backend

    def encode_with_cuts(
        self, texts: Sequence[str], progress: Progress = silent
    ) -> tuple[Float32Array, BoolArray]:
        """Encode texts, and tell which of them have a part that was not read whole.

        Args:
            texts: The texts, each with as many parts.
            progress: As in `encode`, of parts.

        Returns:
            (number of texts, length of a vector) float32 vectors, and whether each text was cut.

        Raises:
            InputError: A text has another number of parts, or no rationale where one is read.
        """
        table = self._split(texts)
        # The same parts recur: a post has many replies.
        distinct = list(dict.fromkeys(part for row in table for part in row if part))
        vectors, cut = self._base.encode_with_cuts(distinct, progress)
        is_cut = dict(zip(distinct, cut, strict=True))
        truncated = np.array([any(is_cut.get(p, False) for p in row) for row in table], dtype=bool)
        if self._keep:
            self._truncated.update(
                text_key(text) for text, is_long in zip(texts, truncated, strict=True) if is_long
            )
        return self._combined(table, distinct, vectors), truncated

    def encode_uncached(self, texts: Sequence[str]) -> Float32Array:
        """See `Encoder.encode_uncached`; the texts as in `encode_with_cuts`."""
        table = self._split(texts)
        distinct = list(dict.fromkeys(part for row in table for part in row if part))
        return self._combined(table, distinct, self._base.encode_uncached(distinct))

    def _split(self, texts: Sequence[str]) -> list[list[str]]:
        """List what is encoded of each text, the rationale last."""
        return [self._pieces(text) for text in texts]

    def _pieces(self, text: str) -> list[str]:
        alone, rationale = split_rationale(text)
        if self.rationale and rationale is None:
            raise InputError(
                "a text with its rationale is needed, got one without; give the rationale as the "
                "last part of the text"
            )
        reasons = [rationale or ""] if self.rationale else []
        if self.reading == "joined":
            return [readable(alone), *reasons]
        parts = split_parts(alone)
        if len(parts) != self.parts:
            raise InputError(
                f"a text of {self.parts} parts is needed, got one of {len(parts)}; name the "
                "columns of its parts, as in columns: {text: [post, reply]}"
            )
        return [*(parts[-1:] if self.reading == "last" else parts), *reasons]

    def _combined(
        self, table: Sequence[Sequence[str]], distinct: Sequence[str], vectors: Float32Array
    ) -> Float32Array:
        """Put the vectors of the parts of each text together."""
        # The last row, of zeros, is that of a missing part.
        known = np.vstack([vectors, np.zeros((1, self._base.dimension), dtype=np.float32)])
        place = {part: i for i, part in enumerate(distinct)}
        codes = np.array([[place.get(part, -1) for part in row] for row in table], dtype=np.int64)
        n_parts = self.parts if self.reading == "apart" else 1
        columns = codes.reshape(len(table), n_parts + self.rationale).T
        features = [known[column] for column in columns[:n_parts]]
        if self.reading == "apart":
            first, second = features[-2:]
            lengths = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
            scale = math.sqrt(first.shape[1]) / np.sqrt(np.where(lengths > 0, lengths, 1))[:, None]
            features += [np.abs(first - second), scale * first * second]
        features += [known[column] for column in columns[n_parts:]]
        return np.hstack(features).astype(np.float32, copy=False)
