"""The words for either side of a pair in a rationale, and the one phrase that replaces them.

Otherwise clusters of rationales would encode which side was named, hence the label.
"""

import re
from functools import lru_cache

#: What replaces the words for either side of a pair.
NEUTRAL = "this argument"
_ARGUMENT = r"a[a-z]{0,3}g[a-z]{0,3}m[a-z]*nt?s?|args?"  # also misspelt, which workers do a lot
_SIDE = (
    rf"(?:{_ARGUMENT}|answer|assistant|author|candidate|choice|comment|completion|conversation|"
    r"dialogue|essay|message|model|opinion|option|output|person|post|poster|reply|response|side|"
    r"speaker|statement|summary|text|writer)s?"
)
_GAP = r"[\s(\"'#:–-]{0,3}"
_ORDINAL = r"(?:first|second|1st|2nd|former|latter)"
_VERB = (
    r"(?:(?:is|was|has|does|did|ca|could|would)n['’]?t|is|was|has|had|does|did|can|cannot|could|"
    r"would|should|might|must|seems|seemed|appears|looks|sounds|feels|reads|gives|gave|makes|made|"
    r"uses|used|goes|went|shows|showed|lists|states|stated|provides|provided|explains|explained|"
    r"offers|offered|presents|says|said|tells|talks|brings|backs|supports|sticks|stays|gets|takes|"
    r"lacks|needs|contains|includes|mentions|addresses|argues|claims|points|cites|focuses|relies|"
    r"comes|contradicts|agrees|disagrees|rambles|relates|asks|attacks|answers|describes|discusses|"
    r"expresses|refers|repeats|assumes)"
)
_ADVERB = r"(?:just|only|also|actually|really|simply)"
_LINK = r"(?:and|or|but|because|while|whereas|than)"
_CLAUSE_START = (
    r"(?:^|(?<=[.;:!?,] )|(?<=\band )|(?<=\bor )|(?<=\bbut )|(?<=\bwhile )|(?<=\bwhereas )|"
    r"(?<=\bbecause )|(?<=\bthat )|(?<=& ))"
)
_SIDES = re.compile(
    "|".join(
        (
            # A1, a-2, "argument (A2)", A1s, andA2, and a! or a@ where shift was held too long
            rf"(?:\bthe\s+)?(?:\b{_SIDE}{_GAP})?(?:\ba+|(?<=[a-z])(?-i:A))[-.#]?[12!@](?!\d)"
            r"(?:['’]?s\b)?[\"')]*",
            r"(?-i:\bA)\s[12]\b(?!\W?(?:year|yr|hour|minute))(?:['’]s\b)?",
            # argument 2, Response B, option one; not "the argument one would make"
            rf"(?:\bthe\s+)?\b{_SIDE}{_GAP}(?:[12]|two|(?-i:[AB])|b|"
            r"one(?!\s+(?:of|that|which|who|can|would|should|must|might)\b))\b(?:['’]s\b)?[\"')]*",
            r"\b(?:no\.?|number|nr\.?)\s?[12]\b|#[12]\b",
            # the first argument, 2nd one; not "the first person", which is also a way of writing
            rf"(?:\bthe\s+)?\b{_ORDINAL}\s+(?:(?!person|text|post\b){_SIDE}|one|guy)\b(?:['’]s\b)?",
            # the second is, than the latter.
            rf"\bthe\s+{_ORDINAL}\b"
            rf"(?=['’]s\b|\s*(?:[.,;:!?)]|$)|\s+(?:{_VERB}|{_LINK}|{_ADVERB})\b)",
            rf"(?:\bthe\s+)?\b{_SIDE}\s+(?:on|at|to)\s+the\s+(?:left|right|top|bottom)\b",
            # 2 gives, while two just; not "gives 2 reasons"
            rf"{_CLAUSE_START}(?:[12]|one|two|first|second)(?=\s+(?:{_VERB}|{_ADVERB})\b)",
            # better than 2; not "more than 2"
            r"(?<=\bthan )(?<!\bmore than )(?:[12]|two)\b(?=\W|$)(?!\s+\w+s\b)",
            # B is, better than A; capitals only, since "a" is an article
            rf"\b(?-i:[AB])(?=\s+{_VERB}\b)|(?<=\bthan )(?-i:[AB])\b(?!\s)",
        )
    ),
    re.IGNORECASE,
)
#: The rest of "argument 1 and 2".
_SECOND_SIDE = re.compile(
    rf"(?<={NEUTRAL})(\s*(?:,|/|&|and|or|nor|than|over|vs\.?|versus)\s*)(?:[12]|two|(?-i:[AB]))\b"
    r"(?!\s+(?:of|other)\b)",
    re.IGNORECASE,
)


@lru_cache(maxsize=1 << 20)
def neutralise_sides(rationale: str) -> str:
    """Replace the words for either side of a pair ("A1", "the second one") by one neutral phrase.

    Args:
        rationale: A rationale.

    Returns:
        The rationale with single spaces, which names no side.

    Examples:
        >>> neutralise_sides("A1 gives 2 reasons, argument two is just a rant.")
        'this argument gives 2 reasons, this argument is just a rant.'
        >>> neutralise_sides("The second one is better than 1")
        'this argument is better than this argument'
    """
    text = " ".join(_SIDES.sub(f" {NEUTRAL} ", rationale).split())
    text = re.sub(r"\s+([.,;:!?)])", r"\1", text)
    return _SECOND_SIDE.sub(rf"\1{NEUTRAL}", text)
