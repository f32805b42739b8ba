"""A head for each group on one network of the text (Davani et al., 2022)."""

from mcstl.methods.network import NetworkMethod
from mcstl.models.networks import HeadsNetwork


class Heads(NetworkMethod):
    """One network of the text with a head for each group, an annotation taking its groups' mean."""

    name = "heads"
    saves_model = False
    network = HeadsNetwork


METHOD = Heads()
