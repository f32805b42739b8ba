"""MC-STL with groups that say nothing: what it gains comes from more parameters, or from a leak."""

from dataclasses import replace

import numpy as np

from mcstl.methods.base import Prepared
from mcstl.methods.network import NetworkMethod
from mcstl.models.examples import Examples


class Shuffled(NetworkMethod):
    """The paper's network on memberships that are dealt out anew among all annotations."""

    name = "shuffled"
    saves_model = False

    def _examples(self, prepared: Prepared, seed: int) -> Examples:
        order = np.random.default_rng(seed).permutation(len(prepared.examples))
        return replace(prepared.examples, S=prepared.examples.S[order])


METHOD = Shuffled()
