"""Texts that training knew, by a hash: a model can tell them again and does not hold them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mcstl._support.arrays import IntArray
from mcstl.data.parts import split_rationale
from mcstl.encoding.encoders import with_whole_letters


def hashes(texts: Sequence[str]) -> IntArray:
    """Hash texts to 64 bits, the same in every session; a rationale that is read with one is not.

    Args:
        texts: n texts.

    Returns:
        Their hashes, (n,).
    """
    alone = np.array([with_whole_letters(split_rationale(text)[0]) for text in texts], dtype=object)
    values = pd.util.hash_array(alone, categorize=False)
    return np.asarray(values).view(np.int64)


def codes(of_texts: IntArray, known: IntArray) -> IntArray:
    """Find texts among those that are known.

    Args:
        of_texts: The hashes of n texts.
        known: The hashes of the known texts, ascending.

    Returns:
        Each text's place among the known ones, -1 for a new one, (n,).

    Example:
        >>> known = np.sort(hashes(["It rains.", "It snows."]))
        >>> codes(hashes(["It rains.", "It is sunny."]), known) >= 0
        array([ True, False])
    """
    if not len(known):
        return np.full(len(of_texts), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, of_texts), len(known) - 1)
    return np.where(known[place] == of_texts, place, -1).astype(np.int64)
