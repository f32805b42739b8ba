"""Reports of progress by work that takes long, whoever shows them."""

from collections.abc import Callable

#: Called as ``progress(what, done, total)``; `what` is a short phrase such as "encoding texts".
Progress = Callable[[str, int, int], None]


def silent(what: str, done: int, total: int) -> None:
    """Ignore a report of progress, as work does by default.

    Args:
        what: What is being done.
        done: How many steps are finished.
        total: How many there are.
    """
