"""The text alone: the empty set of groups (§3.3)."""

from mcstl.methods.base import Prepared
from mcstl.methods.network import NetworkMethod
from mcstl.models.examples import Examples


class TextAlone(NetworkMethod):
    """The paper's network on texts without groups."""

    name = "none"

    def _examples(self, prepared: Prepared, seed: int) -> Examples:
        return prepared.examples.without_groups()


METHOD = TextAlone()
