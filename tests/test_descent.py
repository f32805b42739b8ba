"""Adam and the average over all parameters at once are torch's for each of them."""

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mcstl.models.descent import Descent


def a_network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 1, bias=False))


def test_steps_are_those_of_torch() -> None:
    ours, theirs = a_network(), a_network()
    descent = Descent(ours, 0.01, 0.9)
    adam = torch.optim.Adam(theirs.parameters(), lr=0.01)
    average = AveragedModel(theirs, multi_avg_fn=get_ema_multi_avg_fn(0.9))
    for _ in range(20):
        x = torch.randn(5, 3)
        for network in (ours, theirs):
            network(x).square().sum().backward()
        descent.step(lambda gradient: gradient)
        adam.step()
        adam.zero_grad()
        average.update_parameters(theirs)
    assert all(parameter.grad is None for parameter in ours.parameters())
    for pair in ((ours, theirs), (descent.average, average.module)):
        for found, expected in zip(*(network.parameters() for network in pair), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_it_goes_on_where_it_was() -> None:
    whole = a_network()
    descent = Descent(whole, 0.01, 0.9)
    state = {}
    for step in range(4):
        if step == 2:
            state = {
                "network": {name: x.clone() for name, x in whole.state_dict().items()},
                "average": {name: x.clone() for name, x in descent.average.state_dict().items()},
                "descent": {name: x.clone() for name, x in descent.state_dict().items()},
            }
        whole(torch.full((2, 3), 1.0 + step)).sum().backward()
        descent.step(lambda gradient: gradient)
    again = a_network()
    later = Descent(again, 0.01, 0.9)
    again.load_state_dict(state["network"])
    later.average.load_state_dict(state["average"])
    later.load_state_dict(state["descent"])
    for step in (2, 3):
        again(torch.full((2, 3), 1.0 + step)).sum().backward()
        later.step(lambda gradient: gradient)
    for pair in ((whole, again), (descent.average, later.average)):
        for found, expected in zip(*(network.parameters() for network in pair), strict=True):
            assert torch.equal(found, expected)
