"""Conversations: lists of messages, which are read as one text, in tables and as rewards."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from mcstl._support.errors import InputError, brief
from mcstl.data.cells import literal

_BOTH_ALIKE = "a prompt and its completion are both texts or both lists of messages"
#: What the author and the words of a message go by: OpenAI's names, and ShareGPT's.
_NAMES = (("role", "content"), ("from", "value"))


def whole_conversation(cell: object) -> object:
    r"""Write a cell that is a conversation as one text.

    Args:
        cell: Any cell: a list of messages, the same written as JSON or by Python, or anything else.

    Returns:
        The conversation as `conversation_text` writes it; another cell as it is.

    >>> whole_conversation('[{"from": "human", "value": "Sky?"}]'), whole_conversation("[sic] Sky?")
    ('human: Sky?', '[sic] Sky?')
    """
    messages: Any = cell
    if isinstance(cell, str):
        text = cell.strip()
        if not (text[:1] == "[" and text[1:].lstrip()[:1] == "{" and text[-1] == "]"):
            return cell
        messages = literal(text)
    if not isinstance(messages, list | tuple | np.ndarray) or not len(messages):
        return cell
    return "\n\n".join(_paragraphs(messages)) if all(map(_is_message, messages)) else cell


def conversation_text(prompt: object, completion: object = "") -> str:
    """Write a prompt and its completion as one text, the same in training and as a reward.

    Args:
        prompt: A text, or a list of messages.
        completion: Like the prompt, or empty. Messages that begin with the prompt hold it already.

    Returns:
        Texts joined as they are, or messages as a paragraph each, ``role: content``; parts of a
        message that are no text are left out.

    Raises:
        InputError: Prompt and completion are anything else.

    >>> print(conversation_text([{"role": "user", "content": "Sky?"}],
    ...                         [{"role": "assistant", "content": "Blue."}]))
    user: Sky?
    <BLANKLINE>
    assistant: Blue.
    """
    parts = [part for part in (prompt, completion) if not is_empty(part)]
    if all(isinstance(part, str) for part in parts):
        return "".join(map(str, parts))
    if isinstance(prompt, str) and len(parts) == 2:
        messages = _paragraphs(completion)
        asked = messages[0].partition(": ")[2]
        if asked.strip() != prompt.strip():
            raise InputError(
                f"{_BOTH_ALIKE}; the prompt is the text {brief(prompt)!r}, and the messages do not "
                "begin with it. Drop the prompt if they are whole without it, or make it messages, "
                'as [{"role": "user", "content": "..."}]'
            )
        return "\n\n".join(messages)
    if any(isinstance(part, str) for part in parts):
        raise InputError(
            f"{_BOTH_ALIKE}; the prompt is messages and the completion a text. Make the completion "
            'messages, as [{"role": "assistant", "content": "..."}]'
        )
    first, *rest = map(_paragraphs, parts)
    continued = rest[0] if rest else []
    return "\n\n".join(continued if continued[: len(first)] == first else first + continued)


def _paragraphs(messages: object) -> list[str]:
    """Write each of some messages as ``role: content``."""
    if not isinstance(messages, list | tuple | np.ndarray):
        raise InputError(f"{_BOTH_ALIKE}; got {type(messages).__name__}")
    paragraphs = []
    for message in messages:
        if not _is_message(message):
            raise InputError(
                'a message has a role and a content, as {"role": "user", "content": "..."}; got '
                f"{brief(message)}"
            )
        who, what = next(names for names in _NAMES if {*names} <= message.keys())
        paragraphs.append(f"{message[who]}: {_content(message[what])}")
    return paragraphs


def _content(content: object) -> str:
    """Return the text of a message, whose content may be a text or parts, some of them texts."""
    if isinstance(content, Mapping):
        return str(content["text"]) if isinstance(content.get("text"), str) else ""
    if isinstance(content, list | tuple | np.ndarray):
        return " ".join(filter(None, map(_content, content)))
    return content if isinstance(content, str) else ""


def is_empty(value: object) -> bool:
    """Say whether a text or a list of messages is missing or holds nothing.

    Args:
        value: A text, a list of messages, or what stands for a missing one.

    Returns:
        True if there is nothing to read.
    """
    if isinstance(value, str | list | tuple | np.ndarray):
        return len(value) == 0
    return value is None or (isinstance(value, float) and np.isnan(value))


def _is_message(value: object) -> bool:
    return isinstance(value, Mapping) and any({*names} <= value.keys() for names in _NAMES)
