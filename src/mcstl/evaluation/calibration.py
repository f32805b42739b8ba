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
from mcstl.evaluation.intervals import (
    CONFIDENCE,
    RESAMPLES,
    ClusterWeights,
    OutcomeCounts,
    in_blocks,
)
from mcstl.evaluation.metrics import BINS
from mcstl.evaluation.nans import nanmean, ratio
from mcstl.evaluation.predictions import Predictions

#: The smallest detectable error is one that the test finds this often.
POWER = 0.8
#: Points on [0, 1] of the smoothed calibration error.
_GRID_SIZE = 1000


def ecce(p: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Estimate the cumulative calibration error of probabilities of a 0/1 outcome.

    The range of the running sum of y - p by rising p, over n: the largest mean error of any run of
    neighbouring predictions (Arrieta-Ibarra et al. 2022, JMLR 23). Equal predictions are one step,
    so that the order of rows does not matter.

    Args:
        p: Probabilities of the outcome 1, (n,).
        y: Outcomes, 0 or 1, (n,).

    Returns:
        The error, from 0 to 1; NaN without rows.

    Example:
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
    """Compute the mean gap between prediction and outcome over bins of equal width.

    Noise alone makes it larger than 0, the more so the fewer rows there are.

    Args:
        p: Probabilities of the outcome 1, (n,).
        y: Outcomes, 0 or 1, (n,).
        bins: The number of bins.

    Returns:
        The expected calibration error, from 0 to 1; NaN without rows.
    """
    p, y = np.asarray(p, dtype=float), np.asarray(y, dtype=float)
    codes = np.minimum((p * bins).astype(np.int64), bins - 1)
    return float(np.abs(np.bincount(codes, weights=y - p)).sum() / len(p)) if len(p) else np.nan


def smooth_ece(p: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Compute the smooth calibration error: no bins, and continuous in the predictions.

    Residuals are smoothed by a Gaussian that is reflected at 0 and 1, whose width is the error
    itself (Błasiok and Nakkiran 2024, "Smooth ECE"). The reflected Gaussian is heat that cannot
    leave [0, 1], hence a product in cosine space.

    Args:
        p: Probabilities of the outcome 1, (n,).
        y: Outcomes, 0 or 1, (n,).

    Returns:
        The error, from 0 to 1; NaN without rows.
    """
    p, y = np.asarray(p, dtype=float), np.asarray(y, dtype=float)
    if not len(p):
        return float("nan")
    points = np.clip((p * _GRID_SIZE).astype(np.int64), 0, _GRID_SIZE - 1)
    residuals = dct(np.bincount(points, weights=y - p, minlength=_GRID_SIZE) / len(p))
    frequency = np.pi * np.arange(_GRID_SIZE)

    def excess(width: float) -> float:
        smoothed = idct(residuals * np.exp(-((frequency * width) ** 2) / 2))
        return float(np.abs(smoothed).sum()) - width

    # The error falls with the width and is at most 1, so that there is exactly one crossing.
    least = 1 / _GRID_SIZE
    if excess(least) <= 0:
        return float(excess(least) + least)
    return float(brentq(excess, least, 1.1, xtol=1e-6))


class ReliabilityDiagram(NamedTuple):
    """The points of a reliability diagram and where they would lie if the model were calibrated.

    Attributes:
        bin: Deciles that are not empty, 0 to 9, (B,).
        predicted: Mean predictions, (B,).
        observed: Mean outcomes, (B,).
        low: Lower ends of the 95% band around `predicted`, (B,).
        high: Upper ends of the band, (B,).
        n: Mean numbers of rows per seed, (B,).
    """

    bin: IntArray
    predicted: FloatArray
    observed: FloatArray
    low: FloatArray
    high: FloatArray
    n: FloatArray


def reliability(seeds: Sequence[tuple[FloatArray, BoolArray, IntArray]]) -> ReliabilityDiagram:
    """Compute the deciles of `metrics.calibration_curve`, averaged over seeds, with 95% bands.

    The band is around the diagonal: were the model calibrated, the point would lie in it 95 of 100
    times (consistency bars; Bröcker and Smith 2007), with items as the clusters, which the seeds
    share.

    Args:
        seeds: Per seed the probabilities of an outcome, the outcomes and codes of the items, (n,)
            each.

    Returns:
        A point per decile that any seed fills.
    """
    n_items = max((int(items.max(initial=-1)) + 1 for *_, items in seeds), default=0)
    shape = (len(seeds), BINS)
    n, predicted, observed = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    gap_by_item = np.zeros((BINS, n_items))  # each item's part of observed - predicted
    for s, (p, y, items) in enumerate(seeds):
        codes = metrics.ranked(p)[1]
        bins = metrics.decile_codes(np.bincount(codes))[codes]
        n[s] = np.bincount(bins, minlength=BINS)
        predicted[s] = np.bincount(bins, weights=p, minlength=BINS)
        observed[s] = np.bincount(bins, weights=y, minlength=BINS)
        np.add.at(gap_by_item, (bins, items), (y - p) / n[s][bins])
    n_seeds = (n > 0).sum(axis=0)
    filled = np.flatnonzero(n_seeds)
    centre = nanmean(ratio(predicted, n), axis=0)[filled]
    noise = np.sqrt((gap_by_item**2).sum(axis=1)[filled]) / n_seeds[filled]
    half = ndtri((1 + CONFIDENCE) / 2) * noise
    return ReliabilityDiagram(
        filled,
        centre,
        nanmean(ratio(observed, n), axis=0)[filled],
        np.maximum(centre - half, 0),
        np.minimum(centre + half, 1),
        n.sum(axis=0)[filled] / n_seeds[filled],
    )


class Multicalibration(NamedTuple):
    """The result of `multicalibration` for G = 1 + K groups, the first one all rows.

    Attributes:
        ecce: Cumulative calibration errors, means over seeds, (G, T); NaN for a group without rows.
        sigma: Noise of the errors with items as clusters, (G, T).
        sigma_rows: Noise of the errors if every row were independent of all others, (G, T).
        p: Chance of such an error in a calibrated model, each by itself, (G, T).
        p_adjusted: Chance that the largest error of all groups is as large: familywise, (G, T).
        p_discovery: The chances adjusted by Benjamini and Hochberg, (G, T).
        detectable: Smallest errors that the familywise test finds four times of five, (G, T).
    """

    ecce: FloatArray
    sigma: FloatArray
    sigma_rows: FloatArray
    p: FloatArray
    p_adjusted: FloatArray
    p_discovery: FloatArray
    detectable: FloatArray

    @property
    def in_sigmas(self) -> FloatArray:
        """The errors in units of their noise, (G, T)."""
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
    seeds: Sequence[Predictions], *, draws: int = RESAMPLES, seed: int = 0
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

    Args:
        seeds: Predictions of one method, per seed.
        draws: How many times signs are drawn.
        seed: Decides the signs.

    Returns:
        Errors, noise and chances of every group and threshold.
    """
    weights = ClusterWeights(seeds, "items", seed)
    n_levels = seeds[0].p.shape[1] - 1
    shape = (len(seeds), 1 + seeds[0].membership.shape[1], n_levels)
    sigma, sigma_rows = np.full(shape, np.nan), np.full(shape, np.nan)
    paths: list[tuple[tuple[int, int, int], OutcomeCounts, FloatArray]] = []
    for s, (run, units) in enumerate(zip(seeds, weights.units, strict=True)):
        n_units = int(units.max()) + 1
        groups = [np.arange(len(units)), *(np.flatnonzero(inside) for inside in run.membership.T)]
        for t, level in enumerate(metrics.exceedance(run.p).T):
            values, codes = metrics.ranked(level)
            for g, rows in enumerate(groups):
                if len(rows):
                    outcome, p = run.labels[rows] > t, level[rows]
                    by_item = np.bincount(units[rows], weights=outcome - p, minlength=n_units)
                    sigma[s, g, t] = np.sqrt((by_item**2).sum()) / len(rows)
                    sigma_rows[s, g, t] = np.sqrt((p * (1 - p)).sum()) / len(rows)
                    counts = OutcomeCounts.from_rows(
                        values, codes[rows], units[rows], outcome, n_units
                    )
                    repeats = np.diff(counts.starts, append=len(counts.units))
                    expected = counts.n * np.repeat(counts.values, repeats)
                    paths.append(((s, g, t), counts, (counts.positives - expected) / len(rows)))

    def block(resamples: range) -> FloatArray:
        signs = list(weights.signs(resamples))
        errors = np.full((len(resamples), *shape), np.nan)
        for (s, g, t), counts, residuals in paths:
            signed = np.take(signs[s], counts.units, axis=1) * residuals
            path = np.cumsum(counts.per_prediction(signed), axis=1)
            highest, lowest = path.max(axis=1), path.min(axis=1)
            errors[:, s, g, t] = np.maximum(highest, 0) - np.minimum(lowest, 0)
        return nanmean(errors, axis=1)

    errors = np.concatenate(in_blocks(block, 1 + draws, max(len(run.items) for run in seeds)))
    noise = nanmean(sigma, axis=0)
    in_sigmas = ratio(errors, noise)  # (1 + draws, G, T)
    is_tested = np.isfinite(in_sigmas[0])
    largest = np.where(is_tested, in_sigmas[1:], 0.0).max(axis=(1, 2))

    def chance(reference: FloatArray) -> FloatArray:
        # Equal up to rounding counts: a sign for every item alike gives the same error again.
        as_large = (reference >= in_sigmas[0] * (1 - 1e-9)).sum(axis=0)
        return np.where(is_tested, (1 + as_large) / (1 + draws), np.nan)

    p = chance(in_sigmas[1:])
    discovery = np.full_like(p, np.nan)
    discovery[is_tested] = false_discovery_control(p[is_tested]) if is_tested.any() else []
    critical = float(np.quantile(largest, CONFIDENCE)) if draws else np.nan
    return Multicalibration(
        errors[0],
        noise,
        nanmean(sigma_rows, axis=0),
        p,
        chance(largest[:, None, None]),
        discovery,
        np.where(is_tested, (critical + ndtri(POWER)) * noise, np.nan),
    )
