"""How long work says how far it is, without knowing who listens."""

from collections.abc import Callable

#: Called as ``progress(what, done, total)``; `what` is a short phrase such as "encoding texts".
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Report to nobody."""
