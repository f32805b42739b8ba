"""Which network a config.json means: one line per kind, and how it is restored."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from mcstl._support.errors import brief, listed
from mcstl.models.networks import (
    BaseNetwork,
    HeadsNetwork,
    MeanNetwork,
    Network,
    ProductNetwork,
)
from mcstl.models.people import PeopleNetwork

#: The networks that are trained, by the ``kind`` in config.json.
NETWORKS: dict[str, type[Network]] = {
    network.kind: network for network in (Network, PeopleNetwork, HeadsNetwork, ProductNetwork)
}


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
    if kind == MeanNetwork.kind:
        return MeanNetwork([_trained(member, sizes, preference) for member in config["members"]])
    return _trained(config, sizes, preference)


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
    if isinstance(network, MeanNetwork):  # version 0.1 did not recalibrate
        unchanged = {"slope": torch.ones(1), "offsets": torch.zeros(len(network.offsets))}
        weights = unchanged | dict(weights)
    network.load_state_dict(weights, assign=True)
    return network.eval()


def _trained(config: Mapping[str, Any], sizes: tuple[int, int, int], preference: bool) -> Network:
    kind = config["kind"]
    if kind not in NETWORKS:
        kinds = listed([*NETWORKS, MeanNetwork.kind])
        raise ValueError(f"its network is of the kind {brief(kind)}; expected {kinds}")
    return NETWORKS[kind].from_config(config, sizes, preference)
