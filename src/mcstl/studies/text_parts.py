"""How texts meet the encoders: what of their parts is read, and by which; chosen by a probe."""

from collections.abc import Sequence
from typing import get_args

import numpy as np
from scipy.sparse import csr_matrix
from threadpoolctl import threadpool_limits

from mcstl._support.arrays import IntArray
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.data.annotations import Annotations
from mcstl.data.parts import number_of_parts, split_rationale
from mcstl.data.splits import Split
from mcstl.encoding.encoders import Encoder
from mcstl.encoding.ngrams import NgramEncoder
from mcstl.encoding.parts import PartsEncoder, Reading
from mcstl.encoding.side_by_side import SideBySideEncoder
from mcstl.models.examples import Examples

#: So many training rows, and so many validation rows, are looked at.
_MOST_ROWS = 5_000


def encoder_of_texts(
    encoders: Sequence[Encoder],
    annotations: Annotations,
    S: csr_matrix,
    parts: Split,
    reading: Reading | None = None,
    *,
    seed: int = 0,
    progress: Progress = silent,
) -> Encoder:
    """Make the encoder of texts that may be in parts, of one encoder or several side by side.

    What is left open is chosen by a logistic regression on the vectors and the groups: fitted to
    training rows, it shall have the lowest NLL on validation rows. First the reading of parts, with
    the first encoder; then each further encoder is put beside those before, or in their place,
    where that is better. It takes seconds, and says the same as a network does (LOG.md, 24).

    Args:
        encoders: The encoders of whole texts and of parts.
        annotations: n annotations.
        S: (n, K) their membership.
        parts: The positions of training and validation rows.
        reading: How parts are read; None chooses.
        seed: Decides which rows are looked at where there are many.
        progress: Called with how many texts are encoded and how many there are.

    Returns:
        The encoder; an only one as it is, where texts have neither parts nor rationales to read.

    Raises:
        InputError: A part shall be read by itself, and texts have none or differ in their number.
    """
    texts, positions = annotations.distinct_texts()
    n_parts, first = number_of_parts(texts), encoders[0]
    if first.parts > 1 or first.rationale:
        return first
    if n_parts == 1 and reading not in (None, "joined"):
        raise InputError(
            f"parts: {reading} needs texts that are all in as many parts, and those of "
            f"{annotations.source} are not; name the columns of the parts, as in "
            "columns: {text: [post, reply]}, or leave `parts` out"
        )
    has_rationales = split_rationale(texts[0])[1] is not None

    def made(members: Sequence[Encoder], read: Reading) -> Encoder:
        is_alone = len(members) == 1 and not isinstance(members[0], NgramEncoder)
        base = members[0] if is_alone else SideBySideEncoder(members)
        if read == "joined" and not has_rationales:
            return base
        return PartsEncoder(base, n_parts, read, has_rationales)

    train, validation = (
        _sample(rows, annotations.labels, seed) for rows in (parts.train, parts.validation)
    )
    rows = np.concatenate([train, validation])
    seen, codes = np.unique(positions[rows], return_inverse=True)
    codes = codes.reshape(-1, positions.shape[1])

    def probe_nll(encoder: Encoder) -> float:
        vectors = encoder.encode([texts[i] for i in seen], progress)
        examples = Examples(
            vectors, codes, S[rows], annotations.labels[rows], annotations.weights[rows]
        )
        return _probe_nll(examples, len(train), len(annotations.classes), seed)

    def best(options: Sequence[tuple[Sequence[Encoder], Reading]]) -> int:
        if len(options) == 1 or not len(validation):
            return 0
        return int(np.argmin([probe_nll(made(*option)) for option in options]))

    readings: Sequence[Reading] = [reading or "joined"]
    if n_parts > 1 and reading is None:
        readings = get_args(Reading)
    read = readings[best([([first], each) for each in readings])]
    members = [first]
    for another in encoders[1:]:
        options = [members, [*members, another], [another]]
        members = options[best([(each, read) for each in options])]
    return made(members, read)


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
