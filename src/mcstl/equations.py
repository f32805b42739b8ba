"""The paper: every equation one pure function, in the paper's order and symbols.

Shapes: n rows (annotations), d dimensions, K value groups, T levels (thresholds), L = T + 1
classes. ``S`` (n, K) is the membership, 1 where a row is in a group. ``w`` (n,) are row weights:
a weight of two is the row twice. All functions work on `torch` tensors of any float type.

Binary is the ordinal case with one threshold, and a preference is one threshold on a difference,
so no function asks which task it serves: Eq. 2 is Eq. 4 with T = 1.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

#: How the KL term takes Q_k from the predictions: the paper's Eq. 3, their plain mean, or no term.
KLForm = Literal["paper", "mean", "none"]
#: The divisor of the paper's lambda_1 (A.2).
PAPER_DIVISOR = 7.4
#: A share of predictions is kept this far from 0 and 1, where the printed KL is infinite.
SHARE_MARGIN = 1e-6


def value_representation(S: Tensor, v: Tensor) -> Tensor:
    """Sum the embeddings of each row's groups: V of Eq. 1.

    Args:
        S: Membership, (n, K).
        v: The groups' embeddings, (K, d).

    Returns:
        V, (n, d); 0 for a row in no group.

    Example:
        >>> v = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
        >>> value_representation(torch.tensor([[1.0, 1.0], [0.0, 0.0]]), v)
        tensor([[1., 2.],
                [0., 0.]])
    """
    return S @ v


def value_aware_representation(e: Tensor, V: Tensor) -> Tensor:
    """Move the texts' embeddings by their groups': f = e + V (§2.2).

    Args:
        e: Embeddings of the texts, (n, d).
        V: What `value_representation` returned, (n, d).

    Returns:
        f, (n, d).
    """
    return e + V


def levels(y: Tensor, n_thresholds: int) -> Tensor:
    """Write classes as cumulative 0/1 targets: y^(t) = 1[y > t] (§2.2).

    Args:
        y: Class indices, (n,).
        n_thresholds: The number of levels, T = L - 1.

    Returns:
        The levels, (n, T).

    Example:
        >>> levels(torch.tensor([0, 1, 2]), 2)
        tensor([[0., 0.],
                [1., 0.],
                [1., 1.]])
    """
    return (y[:, None] > torch.arange(n_thresholds, device=y.device)).to(torch.get_default_dtype())


def ordered_biases(first: Tensor, gaps: Tensor) -> Tensor:
    """Make ordered biases b_1 > b_2 > ... > b_T of free numbers (§2.2).

    Cao et al. (2020, Theorem 1) prove the order only at the optimum; taking each bias as the last
    one minus a softplus keeps it throughout, so no class probability is ever negative.

    Args:
        first: b_1, (..., 1).
        gaps: Numbers whose softplus is the distance between neighbours, (..., T - 1).

    Returns:
        The biases, (..., T).
    """
    return torch.cat([first, first - functional.softplus(gaps).cumsum(-1)], dim=-1)


def level_logits(score: Tensor, b: Tensor) -> Tensor:
    """Add the biases to the score: the logits of p^(t) = sigma(o(f) + b_t) (§2.2).

    The paper prints b inside o(.); the text around it says that o(.) excludes it and that the
    levels differ only in their bias, which is what this does.

    Args:
        score: o(f), (...).
        b: The biases, (T,) or (..., T).

    Returns:
        The logits, (..., T).
    """
    return score[..., None] + b


def class_probabilities(logits: Tensor) -> Tensor:
    """Turn level logits into class probabilities: P_1 = 1 - p^(1), ..., P_L = p^(T) (§2.2).

    Args:
        logits: Level logits, which fall in t, (..., T).

    Returns:
        The probabilities, (..., L).

    Example:
        >>> class_probabilities(torch.logit(torch.tensor([[0.75, 0.25]])))
        tensor([[0.2500, 0.5000, 0.2500]])
    """
    p = torch.sigmoid(logits)
    # 1 - p is taken as sigma(-z), which keeps its digits where p is near 1.
    inner = p[..., :-1] - p[..., 1:]
    return torch.cat([torch.sigmoid(-logits[..., :1]), inner, p[..., -1:]], dim=-1)


def cross_entropy(y_levels: Tensor, logits: Tensor) -> Tensor:
    """Sum the binary cross-entropy over levels (Eq. 2 and 4).

    Args:
        y_levels: The targets, 0 to 1, (n, T).
        logits: Level logits, (n, T).

    Returns:
        The cross-entropy of each row in nats, (n,).
    """
    # Left to itself, torch answers in the less precise type of the two.
    targets = y_levels.to(logits.dtype)
    return functional.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)


def group_counts(S: Tensor, w: Tensor) -> Tensor:
    """Sum the weights of each group's annotations: n_k (§2.3).

    Args:
        S: Membership, (n, K).
        w: Row weights, (n,).

    Returns:
        n_k, (K,).
    """
    return S.T @ w


def group_means(S: Tensor, w: Tensor, values: Tensor) -> Tensor:
    """Average values over each group, as y-bar_k averages levels (§2.3).

    Args:
        S: Membership, (n, K).
        w: Row weights, (n,).
        values: What is averaged, (n, T).

    Returns:
        The means, (K, T); NaN for a group without rows.
    """
    return (S.T @ (w[:, None] * values)) / group_counts(S, w)[:, None]


class GroupTargets(NamedTuple):
    """What the KL term compares with, computed once on the whole training set (§2.3).

    Attributes:
        y_bar: P_k, the share of each group's annotations above each threshold, (K, T).
        alpha: The weight of each group's term, (K,).
    """

    y_bar: Tensor
    alpha: Tensor


def soft_share(S: Tensor, w: Tensor, p: Tensor, y_bar: Tensor, sharpness: float) -> Tensor:
    """Compute the share of each group's predictions above y-bar_k, softly: p'_k of Eq. 3.

    Args:
        S: Membership, (n, K).
        w: Row weights, (n,).
        p: The rows' probabilities p^(t), (n, T).
        y_bar: The thresholds, (K, T).
        sharpness: The paper's l: 10^4 there, where almost no gradient passes except at the
            threshold itself.

    Returns:
        The shares, (K, T).
    """
    above = 1 + torch.tanh(sharpness * (p[:, None, :] - y_bar))  # (n, K, T)
    total = ((S * w[:, None])[:, :, None] * above).sum(0)
    # A group without rows at hand has n_k = 0, which removes its term whatever the share is.
    return 0.5 * total / group_counts(S, w).clamp(min=1e-12)[:, None]


def binomial_kl(y_bar: Tensor, share: Tensor, n: Tensor) -> Tensor:
    """Compute KL(P_k || Q_k) between binomials of n_k draws (§2.3).

    0 ln 0 is 0. The share is kept `SHARE_MARGIN` from 0 and 1, where the printed form is infinite.

    Args:
        y_bar: The probability of P_k, (K, T).
        share: The probability of Q_k, (K, T).
        n: The number of draws n_k, (K,).

    Returns:
        The divergences in nats, (K, T).
    """
    q = share.clamp(SHARE_MARGIN, 1 - SHARE_MARGIN)
    divergence = (
        torch.xlogy(y_bar, y_bar)
        + torch.xlogy(1 - y_bar, 1 - y_bar)
        - torch.xlogy(y_bar, q)
        - torch.xlogy(1 - y_bar, 1 - q)
    )
    return n[:, None] * divergence


def label_divergence(S: Tensor, w: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Measure how each group's labels differ: alpha_k = KL(labels in C_k || in D_train) (§2.3).

    Args:
        S: Membership, (n, K).
        w: Row weights, (n,).
        y: Class indices, (n,).
        n_classes: The number of classes, L.

    Returns:
        alpha_k in nats, (K,).
    """
    onehot = functional.one_hot(y, n_classes).to(w.dtype)
    inside = group_means(S, w, onehot)
    overall = (w @ onehot) / w.sum()
    return (torch.xlogy(inside, inside) - torch.xlogy(inside, overall)).sum(1)


def group_targets(S: Tensor, w: Tensor, y: Tensor, n_classes: int) -> GroupTargets:
    """Compute y-bar_k and alpha_k on the training set (§2.3).

    Args:
        S: Membership, (n, K). A group without rows, as where a part of the training set is held
            out, has no term: its alpha_k is 0.
        w: Row weights, (n,).
        y: Class indices, (n,).
        n_classes: The number of classes, L.

    Returns:
        What the KL term compares with.
    """
    y_bar = group_means(S, w, levels(y, n_classes - 1).to(w.dtype))
    empty = group_counts(S, w) == 0
    alpha = label_divergence(S, w, y, n_classes)
    return GroupTargets(y_bar.masked_fill(empty[:, None], 0.5), alpha.masked_fill(empty, 0.0))


def kl_term(
    S: Tensor,
    w: Tensor,
    p: Tensor,
    targets: GroupTargets,
    kl: KLForm,
    sharpness: float,
) -> Tensor:
    """Sum KL(P_k || Q_k) over groups, weighted by alpha_k, and levels (Eq. 2 and 4).

    Args:
        S: Membership of the rows at hand, (n, K).
        w: Row weights, (n,).
        p: The rows' probabilities p^(t), (n, T).
        targets: P_k and alpha_k of the training set.
        kl: How Q_k is taken: ``paper`` from Eq. 3; ``mean``, the plain mean of the group's
            probabilities, which has a useful gradient everywhere (Eq. 3 with l = 10^4 has almost
            none); ``none`` for no term.
        sharpness: The l of Eq. 3.

    Returns:
        A scalar in nats.
    """
    if kl == "none":
        return p.new_zeros(())
    n = group_counts(S, w)
    if kl == "paper":
        share = soft_share(S, w, p, targets.y_bar, sharpness)
    else:
        share = (S.T @ (w[:, None] * p)) / n.clamp(min=1e-12)[:, None]
    return targets.alpha @ binomial_kl(targets.y_bar, share, n).sum(1)


def lambda_1(n_thresholds: int, annotations_per_item: float) -> float:
    """Compute the paper's weight of the KL term, 1 / (7.4 T m) (A.2).

    The paper prints m_i, the annotations of item i in the data set, but lambda_1 multiplies a sum
    over groups. Here m is their mean over all items of the data set; ``lambda_1: per-item`` in a
    study weighs a group's term with the mean of 1 / (7.4 T m_i) over its annotations.

    Args:
        n_thresholds: The number of levels, T.
        annotations_per_item: m.

    Returns:
        lambda_1.

    Example:
        >>> lambda_1(1, 10)
        0.013513513513513514
    """
    return 1 / (PAPER_DIVISOR * n_thresholds * annotations_per_item)


def l2(v: Tensor) -> Tensor:
    """Sum ||v_k||^2 over groups (Eq. 2).

    Args:
        v: The groups' embeddings, (K, d).

    Returns:
        A scalar.
    """
    return v.square().sum()


def temperature(S: Tensor, log_t: Tensor) -> Tensor:
    """Compute the temperature t_k of each row (§2.4).

    The paper has one group per pair; a row in several has their geometric mean, and a row in none
    has 1. The logarithm keeps t_k > 0.

    Args:
        S: Membership, (n, K).
        log_t: The logarithms of the groups' temperatures, (K,).

    Returns:
        The temperatures, (n,).

    Example:
        >>> log_t = torch.log(torch.tensor([1.0, 4.0]))
        >>> temperature(torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]), log_t)
        tensor([4., 2., 1.])
    """
    return torch.exp(S @ log_t / S.sum(1).clamp(min=1))


def preference_logits(r_a: Tensor, r_b: Tensor, t: Tensor) -> Tensor:
    """Compute the logit of P(A preferred) = sigma((r_a - r_b) / t_k) (§2.4).

    L_pl is `cross_entropy` on it, which is the Bradley-Terry loss.

    Args:
        r_a: The rewards of the first texts, (...).
        r_b: The rewards of the second texts, (...).
        t: The temperatures, of a shape that broadcasts with them.

    Returns:
        The logits, (..., 1).
    """
    return ((r_a - r_b) / t)[..., None]
