"""Comments of a study file, in lines that an editor shows whole."""

import re
import textwrap
from collections.abc import Iterable

#: The longest line of a sentence; what may be copied into the study, as YAML, stays on one.
WIDTH = 100
#: Where YAML begins in a sentence: ``groups: {by: ...``, ``task: binary, labels: {...``.
_YAML = re.compile(r"(?<!\S)[a-z]+: (?:\w+, [a-z]+: )?\{")


def comment(sentences: Iterable[str], indent: str = "") -> list[str]:
    """Write sentences as comments.

    Args:
        sentences: The sentences; each begins a line.
        indent: What stands before each line.

    Returns:
        The lines.

    >>> comment(["Short.", "Or: groups: {by: rationale, k: 2}"])
    ['# Short.', '# Or: groups: {by: rationale, k: 2}']
    """
    return [f"{indent}# {line}" for each in sentences for line in _lines(each, WIDTH - len(indent))]


def with_comment(line: str, sentence: str) -> list[str]:
    """Write a line with a comment behind it, or above it where both are too long for one.

    Args:
        line: The line of the study.
        sentence: What the comment says.

    Returns:
        The lines.
    """
    both = f"{line}  # {sentence}"
    indent = line[: len(line) - len(line.lstrip())]
    return [both] if len(both) <= WIDTH else [*comment([sentence], indent), line]


def _lines(sentence: str, width: int) -> list[str]:
    sentence = " ".join(sentence.split())
    if len(sentence) + 2 <= width:
        return [sentence]
    start = match.start() if (match := _YAML.search(sentence)) else len(sentence)
    # A long word, as an address, is not cut.
    words = textwrap.wrap(
        sentence[:start], width - 2, break_long_words=False, break_on_hyphens=False
    )
    # Indented, so that it is no key of the study that waits for its # to be taken away.
    return [*words, *([f"  {sentence[start:]}"] if sentence[start:] else [])]
