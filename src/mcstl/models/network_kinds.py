"""Which network a config.json means: one line per kind, and how it is restored."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mcstl._support.errors import brief, listed
from mcstl.models.multilevel import MultilevelNetwork
from mcstl.models.networks import BaseNetwork, HeadsNetwork, Network
from mcstl.models.stack import StackNetwork

#: The networks that are fitted, by the ``kind`` in config.json.
NETWORKS: dict[str, type[Network] | type[MultilevelNetwork]] = {
    network.kind: network for network in (Network, HeadsNetwork, MultilevelNetwork)
}
#: Kinds of version 0.1 that are no more, and the method that replaces them.
_GONE = {"people": "multilevel", "product": "best", "mean": "best"}


def build(config: Mapping[str, Any], sizes: tuple[int, int, int], preference: bool) -> BaseNetwork:
    """Make a network, with random weights, from its entry in config.json.

    Args:
        config: What the network's `config` returned.
        sizes: The dimension d, the number of groups K and of thresholds T.
        preference: Whether two texts are compared.

    Returns:
        The network; its weights are to be loaded.

    Raises:
        KeyError: If an entry is missing.
        TypeError: If an entry is of another type.
        ValueError: If the kind or the layer does not exist.
    """
    kind = config["kind"]
    if kind == StackNetwork.kind:
        members = [build(member, sizes, preference) for member in config["members"]]
        return StackNetwork(members, sizes[2])
    if kind in NETWORKS:
        return NETWORKS[kind].from_config(config, sizes, preference)
    kinds = listed([*NETWORKS, StackNetwork.kind])
    again = f"; train it again, with the method {_GONE[kind]}" if kind in _GONE else ""
    raise ValueError(f"its network is of the kind {brief(kind)}; expected {kinds}{again}")


def restore(
    config: Mapping[str, Any],
    weights: Mapping[str, Tensor],
    sizes: tuple[int, int, int],
    preference: bool,
) -> BaseNetwork:
    """Make the network of a config.json with its weights.

    No weight is drawn, and no memory is taken before a weight is known to be there.

    Args:
        config: What the network's `config` returned.
        weights: The network's state, as `state_dict` names it.
        sizes: The dimension d, the number of groups K and of thresholds T.
        preference: Whether two texts are compared.

    Returns:
        The network as it was saved, ready to predict.

    Raises:
        KeyError: As `build` does.
        RuntimeError: If weights are missing, too many or of another shape.
        TypeError: As `build` does.
        ValueError: As `build` does.
    """
    with torch.device("meta"):
        network = build(config, sizes, preference)
    network.load_state_dict(weights, assign=True)
    return network.eval()
