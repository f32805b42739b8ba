"""The one error that users cause, the one warning, and the wording of their messages."""

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class InputError(ValueError):
    """Something the user gave cannot be used; the message is one line that says how to mend it.

    The command line prints the message and exits with code 2; from Python it is a `ValueError`.
    """

    __module__ = "mcstl"  # where users find it


class Notice(UserWarning):
    """Something a user should know although the work goes on; the command line shows it."""


@contextmanager
def need_extra(extra: str) -> Iterator[None]:
    """Wrap imports of an optional dependency, and say how to install it where it is missing.

    Args:
        extra: The extra of mcstl that brings the dependency.

    Returns:
        A context manager.

    Raises:
        InputError: An import inside the block fails.

    >>> with need_extra("fly"):
    ...     import wings
    Traceback (most recent call last):
        ...
    mcstl.InputError: fly needs wings, which is not installed; type: pip install 'mcstl[fly]'

    """
    try:
        yield
    except ImportError as error:
        raise InputError(
            f"{extra} needs {error.name}, which is not installed; "
            f"type: pip install 'mcstl[{extra}]'"
        ) from error


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """Suggest the nearest name that exists, as the end of a message.

    Args:
        word: What the user wrote.
        choices: The names that exist.

    Returns:
        ``" Did you mean 'x'?"`` with a leading blank, or "" if no choice is near.

    >>> did_you_mean("lable", ["id", "text", "label"])
    " Did you mean 'label'?"
    >>> did_you_mean("zzz", ["id", "text", "label"])
    ''

    """
    by_folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""


def need_names(
    names: Iterable[str],
    available: Iterable[object],
    source: str,
    *,
    what: str = "column",
    hint: str = "",
) -> None:
    """Raise an error for the first of some names that a table, or the like, does not have.

    Args:
        names: The columns, or other parts, that are needed.
        available: Those that there are.
        source: What has them, for the message: the name of a file, say.
        what: What is named, for the message.
        hint: A sentence without its full stop that says what to do about it.

    Raises:
        InputError: One of the names is missing.

    >>> need_names(["lable"], ["id", "label"], "t.csv")
    Traceback (most recent call last):
        ...
    mcstl.InputError: column 'lable' is not in t.csv; found: id, label. Did you mean 'label'?

    """
    choices = [str(name) for name in available]
    for name in names:
        if name not in choices:
            raise InputError(
                f"{what} {brief(name)!r} is not in {source}; found: {listed(choices) or 'none'}."
                f"{did_you_mean(name, choices)}{hint and f' {hint}'}"
            )


def brief(word: object, most: int = 40) -> str:
    r"""Cut text for a message, since a cell of a table may hold a whole page.

    Args:
        word: Any object; its text is used.
        most: The longest result, in characters.

    Returns:
        The text on one line, with "�" for what cannot be printed and "…" where it is cut.

    >>> brief("a page\nof text", most=8)
    'a page …'

    """
    line = "".join(c if c.isprintable() else "�" for c in " ".join(str(word).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def listed(words: Iterable[object], most: int = 12) -> str:
    """Join names by commas for a message.

    Args:
        words: The names; each is shortened as `brief` does.
        most: How many are written; the others are counted.

    Returns:
        The list as text.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'

    """
    names = [brief(word) for word in words]
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"


def first_line(error: Exception) -> str:
    """Shorten another library's error, to be quoted in a message.

    Args:
        error: The exception.

    Returns:
        The first line of its text, or the name of its class where it has no text.

    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
