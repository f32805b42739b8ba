"""Adam, and a running average of the weights, on all parameters of a network as one vector.

It is the function behind torch.optim.Adam. That class calls more for every tensor, and its first
use imports torch's compiler, which takes longer than many a training.
"""

import copy
from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

_ALIGNMENT = 64  # numbers: at least the 64 bytes to which torch aligns

Net = TypeVar("Net", bound=nn.Module)


class Descent(Generic[Net]):
    """Adam (Kingma and Ba, 2015, Algorithm 1) on `network`, in place.

    `average` is a network like it whose parameters are their running average over steps, `decay`
    of what it was. From now on the parameters of both are parts of one vector each.
    """

    def __init__(self, network: Net, rate: float, decay: float) -> None:
        self.average = copy.deepcopy(network)
        self._parameters = list(network.parameters())
        self._rate, self._decay = rate, decay
        self._values, self._averages = _as_one(network), _as_one(self.average)
        self._gradient, self._mean, self._square = (
            torch.zeros_like(self._values) for _ in range(3)
        )
        self._gradients = _parts(self._gradient, self._parameters)
        self._steps = torch.zeros((), device=self._values.device)

    def step(self, summed: Callable[[Tensor], Tensor]) -> None:
        """Move the parameters against their gradients, and the average towards them.

        The gradients, of which `summed` makes the sum over processes, are then cleared.
        """
        for parameter, part in zip(self._parameters, self._gradients, strict=True):
            if parameter.grad is None:
                part.zero_()
            else:
                part.copy_(parameter.grad)
            parameter.grad = None
        started = bool(self._steps)
        adam(
            [self._values],
            [summed(self._gradient)],
            [self._mean],
            [self._square],
            [],
            [self._steps],
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self._rate,
            weight_decay=0,
            eps=1e-8,
            maximize=False,
        )
        # The start is not averaged.
        self._averages.lerp_(self._values, 1 - self._decay if started else 1.0)

    def state_dict(self) -> dict[str, Tensor]:
        """Return what `step` needs to go on, beside the parameters of both networks."""
        return {"mean": self._mean, "square": self._square, "steps": self._steps}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state_dict` returned."""
        for name, tensor in self.state_dict().items():
            tensor.copy_(state[name])


def _as_one(network: nn.Module) -> Tensor:
    """Make the parameters parts of one vector, and return it."""
    parameters = list(network.parameters())
    values = parameters[0].new_zeros(sum(map(_room, parameters)), requires_grad=False)
    for parameter, part in zip(parameters, _parts(values, parameters), strict=True):
        part.copy_(parameter.detach())
        parameter.data = part
    return values


def _parts(whole: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    """Return the parts of a vector that have the shapes of the parameters."""
    parts = zip(whole.split([_room(each) for each in parameters]), parameters, strict=True)
    return [part[: each.numel()].view_as(each) for part, each in parts]


def _room(parameter: nn.Parameter) -> int:
    """Say how many numbers to leave for a parameter, so that the next begins where torch would.

    On another alignment products round otherwise.
    """
    return -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
