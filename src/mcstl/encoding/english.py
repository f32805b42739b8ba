"""Whether texts are English, where the encoder reads nothing else.

Of the words of English texts, forum posts and tweets included, some 30% are those listed here; of
German, Dutch, French, Italian, Spanish, Portuguese, Hindi and Arabic ones, up to 3%. Words that
other languages write alike, as *a*, *in*, *was*, *die*, are not among them.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np

from mcstl.encoding.encoders import PAPER_ENCODER

_ENGLISH_ENCODERS = (PAPER_ENCODER, "all-mpnet-base-v2")
_COMMON = (
    "about and any are because been being but can could did don't few for from had has have he her "
    "his how i if i'm is it it's its just my not of only our out over she should some than that "
    "that's the their them then there these they this those to very we were what when where which "
    "who why will with would you your"
)
_WORD = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")
#: Shorter texts say too little, and so do fewer words.
_LEAST_WORDS_OF_A_TEXT, _LEAST_WORDS = 5, 50
_TEXTS_LOOKED_AT = 500
#: Where less of the words is common English, most texts are in another language.
_LEAST_COMMON = 0.15


def not_english(texts: Sequence[str], encoders: Iterable[str]) -> str:
    """Warn where texts are not English and encoders read nothing else.

    Args:
        texts: Distinct texts; some hundred, drawn evenly, are looked at.
        encoders: The names of all encoders of these texts.

    Returns:
        A sentence without a full stop; "" where the texts are English, too short to tell, or read
        by an encoder that is not known to be English.

    >>> not_english(["The weather is fine, and we are going out"] * 9, ["all-MiniLM-L6-v2"])
    ''
    """
    names = [name.rsplit("/", 1)[-1] for name in encoders]
    if not {*names} <= {*_ENGLISH_ENCODERS}:
        return ""
    places = np.linspace(0, len(texts) - 1, min(len(texts), _TEXTS_LOOKED_AT)).astype(int)
    found = [_WORD.findall(texts[i].casefold().replace("\u2019", "'")) for i in places]
    words = [word for each in found if len(each) >= _LEAST_WORDS_OF_A_TEXT for word in each]
    common = {*_COMMON.split()}
    share = sum(word in common for word in words) / max(len(words), 1)
    if len(words) < _LEAST_WORDS or share >= _LEAST_COMMON:
        return ""
    return (
        f"the texts seem not to be English ({share:.0%} of their words are common English ones; in "
        f"English it is about 30%), and the encoder {' and '.join(names)} reads English: "
        "docs/multilingual.md says which to take instead"
    )
