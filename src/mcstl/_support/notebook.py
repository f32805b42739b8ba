"""What an object shows of itself: a line in a terminal, a small table in a notebook."""

import abc
import html
from collections.abc import Mapping


class Shown(abc.ABC):
    """An object that says in a few facts what it is."""

    @abc.abstractmethod
    def shown_facts(self) -> Mapping[str, str]:
        """List what a reader wants to know first.

        Returns:
            Facts by their short names.
        """

    def __repr__(self) -> str:
        facts = ", ".join(f"{name}: {fact}" for name, fact in self.shown_facts().items())
        return f"<{type(self).__name__} {facts}>"

    def _repr_html_(self) -> str:
        """A small table, as notebooks show it."""
        rows = "".join(
            f'<tr><th style="text-align:left">{html.escape(name)}</th>'
            f'<td style="text-align:left">{html.escape(fact)}</td></tr>'
            for name, fact in self.shown_facts().items()
        )
        return f"<table><caption>{type(self).__name__}</caption>{rows}</table>"
