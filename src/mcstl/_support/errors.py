"""The one error that users cause and the one warning, and how they are worded."""

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
    """Around imports of what an extra of mcstl brings: say how to get it where it is missing.

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
    """Return ``" Did you mean 'x'?"`` for the nearest of `choices`, or nothing if none is near.

    >>> did_you_mean("lable", ["id", "text", "label"])
    " Did you mean 'label'?"
    >>> did_you_mean("zzz", ["id", "text", "label"])
    ''
    """
    by_folded = {choice.casefold(): choice for choice in choices}
    near = difflib.get_close_matches(word.casefold(), list(by_folded), n=1, cutoff=0.6)
    return f" Did you mean {by_folded[near[0]]!r}?" if near else ""


def brief(word: object, most: int = 40) -> str:
    r"""Return `word` on one line and no longer than `most`, since a cell may hold a whole page.

    >>> brief("a page\nof text", most=8)
    'a page …'
    """
    line = "".join(c if c.isprintable() else "�" for c in " ".join(str(word).split()))
    return line if len(line) <= most else f"{line[: most - 1]}…"


def listed(words: Iterable[object], most: int = 12) -> str:
    """Join `words` by commas for a message, each made brief, the rest as a count.

    >>> listed(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    all_words = [brief(word) for word in words]
    shown = ", ".join(all_words[:most])
    return shown if len(all_words) <= most else f"{shown} and {len(all_words) - most} more"


def first_line(error: Exception) -> str:
    """Return the first line of another library's error, to be put into one of ours."""
    lines = str(error).strip().splitlines()
    return lines[0].rstrip(".") if lines else type(error).__name__
