"""Recalibration of a network on rows that it did not learn from, careful where they are few.

One slope and one offset per level are fitted to the rows' logits, as Platt (1999) does.
How much of them is taken, from nothing to all, is what predicts the labels of held-out folds best:
where there is little to learn from, or nothing to mend, nothing is changed.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.models.examples import Examples
from mcstl.models.stack import StackNetwork, level_logits

#: The shares of the fitted change that are compared.
_SHARES = np.linspace(0, 1, 11)
FOLDS = 5


def recalibrate(network: StackNetwork, p: FloatArray, rows: Examples, seed: int = 0) -> None:
    """Recalibrate a stack, in place, on rows that its members did not learn from.

    Args:
        network: The stack.
        p: What it predicts of the rows, without recalibration, (n, L).
        rows: The n rows; those of one text (and in preference of one pair) are held out together.
        seed: Decides the folds.
    """
    z = level_logits(torch.from_numpy(p)).numpy()
    y = (rows.y[:, None] > np.arange(z.shape[1])).astype(float)
    w = np.asarray(rows.w, dtype=float)
    if network.preference:  # A and B are the same but for their names
        z, y = np.concatenate([z, -z]), np.concatenate([y, 1 - y])
        w = np.concatenate([w, w]) / 2
    texts = np.tile(rows.positions[:, 0], len(z) // max(1, len(rows)))
    change, _ = shrunk(
        lambda rows: _fit(z[rows], y[rows], w[rows], network.preference),
        lambda change, rows: _losses(change, z[rows], y[rows], w[rows]),
        folds_of(texts, seed),
    )
    slope, offsets = float(np.exp(change[0])), change[1:]
    gaps = slope * (z[:, :-1] - z[:, 1:]).min(axis=0, initial=np.inf)
    for t, gap in enumerate(gaps):  # levels stay in order, so that no class becomes impossible
        offsets[t + 1] = min(offsets[t + 1], offsets[t] + 0.99 * gap)
    with torch.no_grad():
        network.slope.fill_(slope)
        network.offsets.copy_(torch.from_numpy(offsets))


def folds_of(texts: IntArray, seed: int = 0) -> IntArray:
    """Deal texts out to folds.

    Args:
        texts: The number of each row's text, (n,).
        seed: Decides which text is in which fold.

    Returns:
        The fold of each row, (n,).
    """
    distinct, place = np.unique(texts, return_inverse=True)
    folds = np.arange(len(distinct)) % FOLDS
    folds = np.random.default_rng(seed).permutation(folds)[place]
    return np.asarray(folds, dtype=np.int64)


def shrunk(
    fit: Callable[[BoolArray], FloatArray],
    loss: Callable[[FloatArray, BoolArray], FloatArray],
    folds: IntArray,
) -> tuple[FloatArray, FloatArray]:
    """Take as much of a fitted change, from nothing to all, as predicts held-out folds best.

    Args:
        fit: From a mask of the rows to learn from to the change of each parameter.
        loss: From a change and a mask of rows to the loss of each of these.
        folds: The fold of each row, (n,).

    Returns:
        The share that is taken of the change fitted to all rows, and the loss of each row with that
        share of the change fitted to the other folds, (n,).
    """
    losses = np.zeros((len(_SHARES), len(folds)))
    for fold in range(FOLDS):
        inside = folds == fold
        if inside.any() and not inside.all():
            change = fit(~inside)
            for i, share in enumerate(_SHARES):
                losses[i, inside] = loss(share * change, inside)
    best = int(losses.sum(axis=1).argmin())
    return _SHARES[best] * fit(np.ones(len(folds), dtype=bool)), losses[best]


def _fit(z: FloatArray, y: FloatArray, w: FloatArray, symmetric: bool) -> FloatArray:
    """Fit the logarithm of the slope, and an offset per level; both 0 change nothing.

    A normal prior with sd 1 keeps them finite where a level is never seen.
    """
    bounds = [(-3.0, 3.0)] + [(0.0, 0.0) if symmetric else (-5.0, 5.0)] * z.shape[1]

    def loss(change: FloatArray) -> tuple[float, FloatArray]:
        slope = np.exp(change[0])
        off = w[:, None] * (expit(slope * z + change[1:]) - y)
        gradient = np.concatenate([[(off * z).sum() * slope], off.sum(0)]) + change
        return float(_losses(change, z, y, w).sum()) + float(change @ change) / 2, gradient

    start = np.zeros(1 + z.shape[1])
    found: FloatArray = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found


def _losses(change: FloatArray, z: FloatArray, y: FloatArray, w: FloatArray) -> FloatArray:
    new = np.exp(change[0]) * z + change[1:]
    return np.asarray(w * (np.logaddexp(0, new) - y * new).sum(axis=1))
