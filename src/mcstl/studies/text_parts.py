"""How texts in parts meet the encoder: joined as one text, or encoded apart; chosen by a probe."""

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from mcstl._support.arrays import IntArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.parts import number_of_parts
from mcstl.data.splits import Split
from mcstl.encoding.encoders import Encoder
from mcstl.encoding.parts import PartsEncoder, Reading
from mcstl.models.examples import Examples

#: So many training rows, and so many validation rows, are looked at.
_MOST_ROWS = 5_000


def encoder_of_texts(
    plain: Encoder,
    annotations: Annotations,
    S: csr_matrix,
    parts: Split,
    reading: Reading | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Encoder:
    """Make the encoder of texts that may be in parts.

    Where it is left open whether parts are joined or apart, a logistic regression on the vectors
    and the groups is fitted to training rows both ways, and what has the lower NLL on validation
    rows is taken. It takes seconds, and says the same as a network does (LOG.md, 24).

    Args:
        plain: The encoder of whole texts and of parts.
        annotations: n annotations.
        S: (n, K) their membership.
        parts: The positions of training and validation rows.
        reading: How parts are read; None chooses.
        seed: Decides which rows are looked at where there are many.
        progress: Called with how many texts are encoded and how many there are.

    Returns:
        `plain`, or a `PartsEncoder` around it.

    Raises:
        InputError: Parts shall be read apart, and texts have none or differ in their number.
    """
    texts, positions = annotations.distinct_texts()
    n_parts = number_of_parts(texts)
    if plain.parts > 1 or (n_parts == 1 and reading != "apart"):
        return plain
    if n_parts == 1:
        raise InputError(
            f"parts: apart needs texts that are all in as many parts, and those of "
            f"{annotations.source} are not; name the columns of the parts, as in "
            "columns: {text: [post, reply]}, or leave `parts` out"
        )
    apart = PartsEncoder(plain, n_parts)
    if reading is not None:
        return apart if reading == "apart" else plain
    train, validation = (
        _sample(rows, annotations.labels, seed) for rows in (parts.train, parts.validation)
    )
    if not len(validation):
        return plain

    def probe_nll(encoder: Encoder) -> float:
        seen, codes = np.unique(positions[np.concatenate([train, validation])], return_inverse=True)
        vectors = encoder.encode([texts[i] for i in seen], progress)
        codes = codes.reshape(-1, positions.shape[1])
        rows = np.concatenate([train, validation])
        examples = Examples(
            vectors, codes, S[rows], annotations.labels[rows], annotations.weights[rows]
        )
        return _probe_nll(examples, len(train), len(annotations.classes), seed)

    return apart if probe_nll(apart) < probe_nll(plain) else plain


def _sample(rows: IntArray, labels: IntArray, seed: int) -> IntArray:
    """Draw some rows, one of each label at least."""
    if len(rows) <= _MOST_ROWS:
        return rows
    drawn = np.random.default_rng(seed).choice(rows, _MOST_ROWS, replace=False)
    _, firsts = np.unique(labels[rows], return_index=True)
    return np.union1d(drawn, rows[firsts])


def _probe_nll(examples: Examples, n_train: int, n_classes: int, seed: int) -> float:
    """Fit logistic regression to the first rows and measure its NLL on the others."""
    from mcstl.methods import logistic  # scikit-learn, which few studies need

    train = examples.take(np.arange(n_train))
    validation = examples.take(np.arange(n_train, len(examples)))
    with threadpool_limits(1):
        predict = logistic.fit(train, validation, n_classes=n_classes, seed=seed)
    p = predict(validation)[np.arange(len(validation)), validation.y]
    return -float(np.average(np.log(np.maximum(p, 1e-12)), weights=validation.w))
