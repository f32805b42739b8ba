"""MC-STL, the paper's method: one network of texts and value groups (§2)."""

from mcstl.methods.network import NetworkMethod


class McStl(NetworkMethod):
    """The paper's network on texts and value groups."""

    name = "mc-stl"


METHOD = McStl()
