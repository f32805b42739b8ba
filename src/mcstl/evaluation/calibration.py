"""Calibration of overlapping groups: errors, bands, and a test that respects items."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, idct
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import false_discovery_control

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.bootstrap import Cells, Draws
from mcstl.evaluation.metrics import BINS
from mcstl.evaluation.rows import LEVEL, RESAMPLES, Rows, in_blocks, nanmean, ratio

#: The smallest detectable error is one that the test finds this often.
POWER = 0.8
#: Cells on [0, 1] of the smoothed calibration error.
_GRID = 1000


def ecce(p: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return the estimated cumulative calibration error of (n,) probabilities of a 0/1 outcome.

    The range of the running sum of y - p by rising p, over n: the largest mean error of any run of
    neighbouring predictions (Arrieta-Ibarra et al. 2022, JMLR 23). Equal predictions are one step,
    so that the order of rows does not matter.

    >>> ecce([0.5, 0.5, 0.5, 0.5], [0, 0, 1, 1])
    0.0
    """
    p, y = np.asarray(p, dtype=float), np.asarray(y, dtype=float)
    if not len(p):
        return float("nan")
    codes = metrics.ranked(p)[1]
    steps = np.cumsum(np.bincount(codes, weights=y - p)) / len(p)
    return float(max(steps.max(), 0) - min(steps.min(), 0))


def ece(p: npt.ArrayLike, y: npt.ArrayLike, bins: int = 10) -> float:
    """Return the mean gap between prediction and outcome over bins of equal width.

    Noise alone makes it larger than 0, the more so the fewer rows there are.
    """
    p, y = np.asarray(p, dtype=float), np.asarray(y, dtype=float)
    bin_of = np.minimum((p * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(bin_of, weights=y - p)).sum() / len(p)) if len(p) else np.nan


def smooth_ece(p: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Return the smooth calibration error: no bins, and continuous in the predictions.

    Residuals are smoothed by a Gaussian that is reflected at 0 and 1, whose width is the error
    itself (Błasiok and Nakkiran 2024, "Smooth ECE"). The reflected Gaussian is heat that cannot
    leave [0, 1], hence a product in cosine space.
    """
    p, y = np.asarray(p, dtype=float), np.asarray(y, dtype=float)
    if not len(p):
        return float("nan")
    cell = np.clip((p * _GRID).astype(np.int64), 0, _GRID - 1)
    residuals = dct(np.bincount(cell, weights=y - p, minlength=_GRID) / len(p))
    frequency = np.pi * np.arange(_GRID)

    def excess(width: float) -> float:
        smoothed = idct(residuals * np.exp(-((frequency * width) ** 2) / 2))
        return float(np.abs(smoothed).sum()) - width

    # The error falls with the width and is at most 1, so that there is exactly one crossing.
    least = 1 / _GRID
    if excess(least) <= 0:
        return float(excess(least) + least)
    return float(brentq(excess, least, 1.1, xtol=1e-6))


class Reliability(NamedTuple):
    """Points of a reliability diagram and where they would lie if the model were calibrated."""

    bin: IntArray
    predicted: FloatArray
    observed: FloatArray
    low: FloatArray  # 95% band around `predicted`
    high: FloatArray
    n: FloatArray  # rows per seed


def reliability(seeds: Sequence[tuple[FloatArray, BoolArray, IntArray]]) -> Reliability:
    """Return the deciles of `metrics.calibration_curve`, averaged over seeds, with 95% bands.

    Each seed gives (n,) probabilities, outcomes and item codes. The band is around the diagonal:
    were the model calibrated, the dot would lie in it 95 of 100 times (consistency bars; Bröcker
    and Smith 2007), with items as the clusters, which the seeds share.
    """
    n_items = max((int(items.max(initial=-1)) + 1 for *_, items in seeds), default=0)
    shape = (len(seeds), BINS)
    n, predicted, observed = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    pull = np.zeros((BINS, n_items))  # each item's part of observed - predicted
    for s, (p, y, items) in enumerate(seeds):
        codes = metrics.ranked(p)[1]
        bins = metrics.decile_codes(np.bincount(codes))[codes]
        n[s] = np.bincount(bins, minlength=BINS)
        predicted[s] = np.bincount(bins, weights=p, minlength=BINS)
        observed[s] = np.bincount(bins, weights=y, minlength=BINS)
        np.add.at(pull, (bins, items), (y - p) / n[s][bins])
    seeds_with = (n > 0).sum(axis=0)
    here = np.flatnonzero(seeds_with)
    centre = nanmean(ratio(predicted, n), axis=0)[here]
    half = ndtri((1 + LEVEL) / 2) * np.sqrt((pull**2).sum(axis=1)[here]) / seeds_with[here]
    return Reliability(
        here,
        centre,
        nanmean(ratio(observed, n), axis=0)[here],
        np.maximum(centre - half, 0),
        np.minimum(centre + half, 1),
        n.sum(axis=0)[here] / seeds_with[here],
    )


class Multicalibration(NamedTuple):
    """What `multicalibration` finds: G = 1 + K groups, the first one all rows; T thresholds."""

    ecce: FloatArray  # (G, T), mean over seeds; NaN for a group without rows
    sigma: FloatArray  # (G, T) noise of the error with items as clusters
    sigma_rows: FloatArray  # (G, T) noise if every row were independent of all others
    p: FloatArray  # (G, T) chance of such an error in a calibrated model, each by itself
    p_adjusted: FloatArray  # (G, T) the same for the largest of all groups: familywise
    p_discovery: FloatArray  # (G, T) Benjamini-Hochberg
    detectable: FloatArray  # (G, T) smallest error that the familywise test finds 4 of 5 times

    @property
    def in_sigmas(self) -> FloatArray:
        """(G, T) errors in units of their noise."""
        return ratio(self.ecce, self.sigma)

    @property
    def error(self) -> float:
        """The multicalibration error: the largest of all groups and thresholds, in sigmas."""
        return float(np.nanmax(self.in_sigmas, initial=0.0))

    @property
    def p_value(self) -> float:
        """Chance of a multicalibration error as large as this in a model without any."""
        return float(np.nanmin(self.p_adjusted, initial=1.0))


def multicalibration(
    seeds: Sequence[Rows], *, draws: int = RESAMPLES, seed: int = 0
) -> Multicalibration:
    """Measure and test the cumulative calibration error of every group and threshold at once.

    The multicalibration error is the largest ECCE over overlapping groups in units of its noise
    (Guy et al. 2025, arXiv 2506.11251). There the noise is that of independent rows, Σ p(1 - p);
    here it is that of items, Σ over items of their summed residual squared, since annotations of
    one item err together. The two are equal in expectation where every row is an item of its own.

    An error cannot be negative, so an interval around it would never contain 0; it gets a test. Of
    a calibrated model, the residuals of an item are as likely as their opposites: every draw gives
    each item a random sign and computes all errors anew (the wild cluster bootstrap; Cameron,
    Gelbach and Miller 2008). ``p_adjusted`` compares each error with the largest of each draw
    (Westfall and Young 1993), which keeps the chance of any false alarm at 5% however many groups
    there are and however they overlap; Holm's correction would be stricter for nothing, because
    it knows nothing of the overlap. Several seeds are averaged under the same signs.
    """
    signs = Draws(seeds, "items", seed)
    n_levels = seeds[0].p.shape[1] - 1
    shape = (len(seeds), 1 + seeds[0].members.shape[1], n_levels)
    sigma, independent = np.full(shape, np.nan), np.full(shape, np.nan)
    paths: list[tuple[tuple[int, int, int], Cells, FloatArray]] = []
    for s, (run, units) in enumerate(zip(seeds, signs.units, strict=True)):
        n_units = int(units.max()) + 1
        groups = [np.arange(len(units)), *(np.flatnonzero(inside) for inside in run.members.T)]
        for t, level in enumerate(metrics.exceedance(run.p).T):
            values, codes = metrics.ranked(level)
            for g, rows in enumerate(groups):
                if len(rows):
                    up, p = run.labels[rows] > t, level[rows]
                    by_item = np.bincount(units[rows], weights=up - p, minlength=n_units)
                    sigma[s, g, t] = np.sqrt((by_item**2).sum()) / len(rows)
                    independent[s, g, t] = np.sqrt((p * (1 - p)).sum()) / len(rows)
                    cells = Cells.of(values, codes[rows], units[rows], up, n_units)
                    repeats = np.diff(cells.starts, append=len(cells.units))
                    of_cell = np.repeat(cells.values, repeats)
                    paths.append(((s, g, t), cells, (cells.ups - cells.n * of_cell) / len(rows)))

    def block(resamples: range) -> FloatArray:
        drawn, errors = (
            list(signs.weights(resamples, as_counts=False)),
            np.full((len(resamples), *shape), np.nan),
        )
        for (s, g, t), cells, residuals in paths:
            steps = cells.merged(np.take(drawn[s], cells.units, axis=1) * residuals)
            path = np.cumsum(steps, axis=1)
            highest, lowest = path.max(axis=1), path.min(axis=1)
            errors[:, s, g, t] = np.maximum(highest, 0) - np.minimum(lowest, 0)
        return nanmean(errors, axis=1)

    errors = np.concatenate(in_blocks(block, 1 + draws, max(len(run.items) for run in seeds)))
    noise = nanmean(sigma, axis=0)
    scaled = ratio(errors, noise)  # (1 + draws, G, T)
    there = np.isfinite(scaled[0])
    largest = np.where(there, scaled[1:], 0.0).max(axis=(1, 2))

    def chance(reference: FloatArray) -> FloatArray:
        # Equal up to rounding counts: a sign for every item alike gives the same error again.
        as_large = (reference >= scaled[0] * (1 - 1e-9)).sum(axis=0)
        return np.where(there, (1 + as_large) / (1 + draws), np.nan)

    p = chance(scaled[1:])
    discovery = np.full_like(p, np.nan)
    discovery[there] = false_discovery_control(p[there]) if there.any() else []
    critical = float(np.quantile(largest, LEVEL)) if draws else np.nan
    return Multicalibration(
        errors[0],
        noise,
        nanmean(independent, axis=0),
        p,
        chance(largest[:, None, None]),
        discovery,
        np.where(there, (critical + ndtri(POWER)) * noise, np.nan),
    )
