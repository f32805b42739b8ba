"""Texts in parts: a post and its reply, a premise and a hypothesis, the turns of a dialogue.

A text in parts is one text with a mark between its parts, so that tables, splits and caches treat
it as any other. People and encoders of whole texts read it with blank lines instead (`readable`).
Where models read an annotation's rationale, too, it follows the text after another mark; the text
before it is still what the annotation is about.
"""

from collections.abc import Iterable, Sequence

from mcstl.data.cells import is_usable_text

#: Unicode's "information separator two", which no keyboard has.
_MARK = "\x1e"
_BETWEEN = f"\n{_MARK}\n"
#: "Information separator three", between a text and the rationale that is read with it.
_RATIONALE_MARK = "\x1d"
_BEFORE_RATIONALE = f"\n{_RATIONALE_MARK}\n"


def join_parts(parts: Sequence[object]) -> str | None:
    r"""Make one text of its parts, which `split_parts` takes apart again.

    Args:
        parts: The parts in order. One that is missing, blank or no text is empty, and keeps its
            place.

    Returns:
        The text; None where all parts are empty.

    >>> join_parts(["Nice weather!", None])
    'Nice weather!\n\x1e\n'
    """
    texts = [_without_marks(str(part)) if is_usable_text(part) else "" for part in parts]
    return _BETWEEN.join(texts) if any(texts) else None


def split_parts(text: str) -> list[str]:
    """Take a text apart.

    Args:
        text: A text.

    Returns:
        Its parts, of which missing ones are empty, without a rationale; the text alone where it has
        no parts.
    """
    return text.split(_BEFORE_RATIONALE)[0].split(_BETWEEN)


def with_rationale(text: str, rationale: str) -> str:
    r"""Put a rationale after a text, in the place of one that is there.

    Args:
        text: A text, which may be in parts.
        rationale: The rationale, "" where none was given.

    Returns:
        Both, which `split_rationale` takes apart again.

    >>> with_rationale("Nice weather!", "It rains.")
    'Nice weather!\n\x1d\nIt rains.'
    """
    return f"{split_rationale(text)[0]}{_BEFORE_RATIONALE}{_without_marks(rationale)}"


def split_rationale(text: str) -> tuple[str, str | None]:
    """Take a text and the rationale that is read with it apart.

    Args:
        text: A text.

    Returns:
        The text without the rationale, and the rationale; None where the text has none.
    """
    before, mark, rationale = text.partition(_BEFORE_RATIONALE)
    return before, rationale if mark else None


def readable(text: str) -> str:
    r"""Turn the marks between the parts of a text into blank lines.

    Args:
        text: A text.

    Returns:
        Its parts, without those that are missing, joined by blank lines; a text without parts as it
        is.

    >>> readable("Nice weather!\n\x1e\nSure, if you are a duck.")
    'Nice weather!\n\nSure, if you are a duck.'
    """
    if _BETWEEN not in text and _BEFORE_RATIONALE not in text:
        return text
    rationale = split_rationale(text)[1]
    return "\n\n".join(filter(None, [*split_parts(text), rationale]))


def number_of_parts(texts: Iterable[str]) -> int:
    """Count the parts that each of many texts has.

    Args:
        texts: Texts.

    Returns:
        The number that all have, counting missing parts; 1 where texts differ in it.
    """
    counts = {text.count(_BETWEEN) + 1 for text in texts}
    return counts.pop() if len(counts) == 1 else 1


def _without_marks(text: str) -> str:
    return text.replace(_MARK, " ").replace(_RATIONALE_MARK, " ")
