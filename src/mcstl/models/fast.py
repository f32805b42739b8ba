"""What a training step computes most, with gradients by hand: the printed forms, in fewer calls.

`scores` is the network up to its biases; `slope` is the derivative of the printed loss in
the logits. Both equal what autograd makes of the plain forms (tests/test_fast.py).
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.nn import LayerNorm, Linear

from mcstl import equations
from mcstl.equations import GroupTargets, KLForm

_where_positive = torch.ops.aten.threshold_backward


def scores(
    vectors: Tensor,
    positions: Tensor,
    S: Tensor,
    v: Tensor,
    more: Tensor | None,
    layers: tuple[Linear, LayerNorm, Linear],
    kept: Tensor | None,
    factor: float,
) -> Tensor:
    """Return o(e + V) of rows as the network's `layers` give it, without their activation: (n, s).

    `positions` (n, s) are the rows' one or two texts among the `vectors` (m, d), `S` (n, K) their
    groups and `v` (K, d) these groups' embeddings. `more` (n, hidden) is added to the first layer.
    `kept` (n, s, hidden) is 0 where dropout drops a unit and else 1, and `factor` makes up for it.
    All but `vectors` and `S` have a gradient.
    """
    first, norm, last = layers
    found: Tensor = _Scores.apply(  # type: ignore[no-untyped-call]
        vectors, positions, S, v, more, first.weight, first.bias, norm.weight, norm.bias, norm.eps,
        last.weight, kept, factor,
    )  # fmt: skip
    return found


class _Scores(Function):
    """`scores`: factor last (kept * relu(norm(W e + c + S (v W'))))."""

    @staticmethod
    def forward(
        ctx: Any,
        vectors: Tensor,
        positions: Tensor,
        S: Tensor,
        v: Tensor,
        more: Tensor | None,
        weight: Tensor,
        bias: Tensor,
        gamma: Tensor,
        beta: Tensor,
        eps: float,
        last: Tensor,
        kept: Tensor | None,
        factor: float,
    ) -> Tensor:
        n, sides = positions.shape
        places, S = positions.flatten(), S.repeat_interleave(sides, dim=0) if sides > 1 else S
        projected = torch.addmm(bias, vectors, weight.T)
        x = projected.index_select(0, places).addmm_(S, v @ weight.T)
        if more is not None:
            x.view(n, sides, -1).add_(more[:, None])
        units, mean, rsd = torch.native_layer_norm(x, gamma.shape, gamma, beta, eps)
        units.relu_()
        if kept is not None:
            units *= kept.view_as(units)
        out = factor * last[0]
        ctx.save_for_backward(vectors, places, S, v, weight, x, gamma, beta, mean, rsd, units, out)
        ctx.factor = factor
        return (units @ out).view_as(positions)

    @staticmethod
    def backward(ctx: Any, d_score: Tensor) -> tuple[Tensor | None, ...]:
        vectors, places, S, v, weight, x, gamma, beta, mean, rsd, units, out = ctx.saved_tensors
        by_row = d_score.flatten()
        # A unit that is dropped is 0, as one that is off is; of the others it is by_row out'.
        d_units = _where_positive(by_row[:, None].expand_as(units), units, 0).mul_(out)
        d_x, d_gamma, d_beta = torch.ops.aten.native_layer_norm_backward(
            d_units, x, gamma.shape, mean, rsd, gamma, beta, [True, True, True]
        )
        d_projected = d_x.new_zeros(len(vectors), d_x.shape[1]).index_add_(0, places, d_x)
        d_table = S.T @ d_x
        d_more = None
        if ctx.needs_input_grad[4]:
            d_more = d_x.view(*d_score.shape, -1).sum(1)
        return (
            None,
            None,
            None,
            d_table @ weight,
            d_more,
            torch.addmm(d_table.T @ v, d_projected.T, vectors),
            d_projected.sum(0),
            d_gamma,
            d_beta,
            None,
            ctx.factor * (by_row @ units)[None],
            None,
            None,
        )


def slope(
    logits: Tensor,
    levels: Tensor,
    S: Tensor,
    w: Tensor,
    lambda_1: float,
    targets: GroupTargets | None,
    kl: KLForm,
    sharpness: float,
) -> Tensor:
    """Eq. 2 and 4, the derivative of cross-entropy and KL term in the logits (n, T): (n, T).

    It is that of the weighted `equations.cross_entropy` plus `lambda_1` times `equations.kl_term`
    over all rows at hand; without `targets` there is no KL term. A share that is cut at 0 or 1 has
    no derivative.
    """
    p = torch.sigmoid(logits)
    found = p - levels
    if targets is not None and kl != "none":
        by_p = _kl_slope(p, S, w, targets, kl, sharpness)
        found.add_(torch.ops.aten.sigmoid_backward(by_p, p), alpha=lambda_1)
    return found.mul_(w[:, None])


def _kl_slope(
    p: Tensor, S: Tensor, w: Tensor, targets: GroupTargets, kl: KLForm, sharpness: float
) -> Tensor:
    """The derivative of the KL term in p, per unit of weight: (n, T).

    n_k falls out: it is a factor of KL(P_k || Q_k), whose derivative in the share q is n_k
    (q - y-bar_k) / (q (1 - q)), and a share is a sum over n_k rows divided by it.
    """
    y_bar, alpha = targets
    counts = (w @ S).clamp_(min=1e-12)[:, None]
    if kl == "paper":
        inside = S[:, :, None]
        above = (p * sharpness)[:, None].sub(y_bar * sharpness).tanh_()  # (n, K, T)
        masked = inside * above
        share = (w @ masked.flatten(1)).view_as(y_bar).div_(counts).add_(1).mul_(0.5)
    else:
        share = (S.T @ (w[:, None] * p)).div_(counts)
    q = share.clamp(equations.SHARE_MARGIN, 1 - equations.SHARE_MARGIN)
    # But for a constant, the divergence is the cross-entropy of y-bar_k and q.
    by_share = torch.ops.aten.binary_cross_entropy_backward(
        alpha[:, None].expand_as(q), q, y_bar, None, 0
    ).mul_(q == share)
    if kl == "paper":
        by_above = torch.ops.aten.tanh_backward(inside * by_share, above)
        by_p: Tensor = by_above.sum(1).mul_(sharpness / 2)
    else:
        by_p = S @ by_share
    return by_p
