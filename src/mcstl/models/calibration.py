"""Recalibration of a network on rows that it did not learn from, careful where they are few.

One slope and one offset per level are fitted to the rows' logits, as Platt (1999) does.
How much of them is taken, from nothing to all, is what predicts the labels of held-out folds best:
where there is little to learn from, or nothing to mend, nothing is changed.
"""

import numpy as np
import torch
from scipy.optimize import minimize
from scipy.special import expit

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.models.examples import Examples
from mcstl.models.stack import StackNetwork

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
    above = np.cumsum(p[:, ::-1], axis=1)[:, ::-1][:, 1:].clip(1e-9, 1 - 1e-9)
    z = np.log(above / (1 - above))
    y = (rows.y[:, None] > np.arange(z.shape[1])).astype(float)
    w = np.asarray(rows.w, dtype=float)
    if network.preference:  # A and B are the same but for their names
        z, y = np.concatenate([z, -z]), np.concatenate([y, 1 - y])
        w = np.concatenate([w, w]) / 2
    texts = np.tile(rows.positions[:, 0], len(z) // max(1, len(rows)))
    folds = folds_of(texts, seed)
    held_out = np.zeros(len(_SHARES))
    for fold in range(FOLDS):
        inside = folds == fold
        if inside.any() and not inside.all():
            change = _fit(z[~inside], y[~inside], w[~inside], network.preference)
            for i, share in enumerate(_SHARES):
                held_out[i] += _nll(share * change, z[inside], y[inside], w[inside])
    change = float(_SHARES[held_out.argmin()]) * _fit(z, y, w, network.preference)
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


def _fit(z: FloatArray, y: FloatArray, w: FloatArray, symmetric: bool) -> FloatArray:
    """Fit the logarithm of the slope, and an offset per level; both 0 change nothing.

    A normal prior with sd 1 keeps them finite where a level is never seen.
    """
    bounds = [(-3.0, 3.0)] + [(0.0, 0.0) if symmetric else (-5.0, 5.0)] * z.shape[1]

    def loss(change: FloatArray) -> tuple[float, FloatArray]:
        slope = np.exp(change[0])
        off = w[:, None] * (expit(slope * z + change[1:]) - y)
        gradient = np.concatenate([[(off * z).sum() * slope], off.sum(0)]) + change
        return _nll(change, z, y, w) + float(change @ change) / 2, gradient

    start = np.zeros(1 + z.shape[1])
    found: FloatArray = minimize(loss, start, jac=True, bounds=bounds, method="L-BFGS-B").x
    return found


def _nll(change: FloatArray, z: FloatArray, y: FloatArray, w: FloatArray) -> float:
    new = np.exp(change[0]) * z + change[1:]
    return float((w[:, None] * (np.logaddexp(0, new) - y * new)).sum())
