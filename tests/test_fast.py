"""Gradients by hand: they are those that autograd makes of the printed forms."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from mcstl import equations
from mcstl.equations import GroupTargets, KLForm
from mcstl.models import fast

law = settings(deadline=None, max_examples=30)


def problem(seed: int, n: int, sides: int, n_groups: int, *, plain: bool) -> dict[str, Any]:
    """Everything `scores` takes, in float64, all numbers free; the last text has no row.

    `plain` leaves out what may be None.
    """
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        drawn = torch.randn(*shape, generator=random, dtype=torch.float64)
        return drawn.requires_grad_()

    first, norm, last = nn.Linear(5, 7), nn.LayerNorm(7), nn.Linear(7, 1, bias=False)
    layers = [layer.double() for layer in (first, norm, last)]
    for layer in layers:
        for parameter in layer.parameters():
            parameter.data = normal(*parameter.shape).detach()
    kept = torch.rand(n, sides, 7, generator=random) < 0.6
    return {
        "vectors": normal(4, 5).detach(),
        "positions": torch.randint(3, (n, sides), generator=random),
        "S": normal(n, n_groups).detach(),
        "v": normal(n_groups, 5),
        "more": None if plain else normal(n, 7),
        "layers": tuple(layers),
        "kept": None if plain else kept.double(),
        "factor": 1.0 if plain else 1.7,
    }


def plainly(
    vectors: Tensor,
    positions: Tensor,
    S: Tensor,
    v: Tensor,
    more: Tensor | None,
    layers: tuple[nn.Linear, nn.LayerNorm, nn.Linear],
    kept: Tensor | None,
    factor: float,
) -> Tensor:
    """The printed o(e + V), with `more` in the hidden layer."""
    first, norm, last = layers
    V = equations.value_representation(S, v)
    x: Tensor = first(equations.value_aware_representation(vectors[positions], V[:, None]))
    units = torch.relu(norm(x if more is None else x + more[:, None]))
    score: Tensor = last(units if kept is None else units * kept)
    return factor * score[..., 0]


def learnt(given: dict[str, Any]) -> list[Tensor]:
    layers = nn.ModuleList(given["layers"]).parameters()
    return [given["v"], *layers, *([] if given["more"] is None else [given["more"]])]


@law
@given(
    st.integers(0, 10_000),
    st.integers(1, 9),
    st.sampled_from([1, 2]),
    st.integers(0, 3),
    st.booleans(),
)
def test_scores_and_their_gradient_are_the_printed_ones(
    seed: int, n: int, sides: int, n_groups: int, plain: bool
) -> None:
    given = problem(seed, n, sides, n_groups, plain=plain)
    found, expected = fast.scores(**given), plainly(**given)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    upstream = torch.randn(n, sides, dtype=torch.float64)
    pairs = zip(
        torch.autograd.grad(found, learnt(given), upstream),
        torch.autograd.grad(expected, learnt(given), upstream),
        strict=True,
    )
    for by_hand, by_torch in pairs:
        torch.testing.assert_close(by_hand, by_torch, rtol=1e-8, atol=1e-8)


@law
@given(
    st.integers(0, 10_000),
    st.integers(1, 3),
    st.sampled_from(["paper", "mean", "none"]),
    st.sampled_from([1.0, 30.0]),
    st.sampled_from([1.0, 100.0]),
)
def test_the_slope_is_that_of_the_printed_loss(
    seed: int, n_thresholds: int, kl: KLForm, sharpness: float, spread: float
) -> None:
    """With a group of no row, and predictions so far apart that shares are cut at 0 and 1."""
    random = torch.Generator().manual_seed(seed)

    def uniform(*shape: int) -> Tensor:
        return torch.rand(*shape, generator=random, dtype=torch.float64)

    S = (uniform(8, 4) < 0.5).double()
    S[:, 0] = 0
    w, levels = 1 + uniform(8), uniform(8, n_thresholds)
    targets = GroupTargets(uniform(4, n_thresholds), uniform(4))
    logits = (spread * (uniform(8, n_thresholds) - 0.5)).requires_grad_()
    printed = w @ equations.cross_entropy(levels, logits)
    printed = printed + 0.7 * equations.kl_term(S, w, torch.sigmoid(logits), targets, kl, sharpness)
    (expected,) = torch.autograd.grad(printed, logits)
    found = fast.slope(logits.detach(), levels, S, w, 0.7, targets, kl, sharpness)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-9)


def test_without_targets_there_is_no_kl_term() -> None:
    logits, levels = torch.randn(5, 2), torch.rand(5, 2)
    S, w = torch.ones(5, 1), torch.arange(1.0, 6)
    found = fast.slope(logits, levels, S, w, 1.0, None, "paper", 10.0)
    torch.testing.assert_close(found, w[:, None] * (torch.sigmoid(logits) - levels))


@pytest.mark.parametrize("kl", ["paper", "mean"])
def test_a_share_that_is_cut_does_not_move(kl: KLForm) -> None:
    """All predictions are on one side of y-bar_k, and the printed term is flat there."""
    S, w, logits = torch.ones(3, 1), torch.ones(3), torch.full((3, 1), -20.0)
    targets = GroupTargets(torch.tensor([[0.5]]), torch.ones(1))
    with_term = fast.slope(logits, torch.zeros(3, 1), S, w, 1.0, targets, kl, 10_000)
    torch.testing.assert_close(with_term, torch.sigmoid(logits))
