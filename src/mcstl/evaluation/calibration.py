"""Calibration of one group: errors, and the points of a reliability diagram with bands."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, idct
from scipy.optimize import brentq
from scipy.special import ndtri

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.influence import Influence
from mcstl.evaluation.intervals import CONFIDENCE, Sample
from mcstl.evaluation.metrics import BINS
from mcstl.evaluation.nans import nanmean, ratio

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


def reliability(
    seeds: Sequence[tuple[FloatArray, BoolArray, IntArray, IntArray]],
) -> ReliabilityDiagram:
    """Compute the deciles of `metrics.calibration_curve`, averaged over seeds, with 95% bands.

    The band is around the diagonal: were the model calibrated, the point would lie in it 95 of 100
    times (consistency bars; Bröcker and Smith 2007), with other items and people.

    Args:
        seeds: Per seed the probabilities of an outcome, the outcomes, and codes of the items and
            the annotators, (n,) each.

    Returns:
        A point per decile that any seed fills.
    """
    if not seeds:
        return ReliabilityDiagram(*(np.zeros(0, dtype=np.int64), *np.zeros((5, 0))))
    shape = (len(seeds), BINS)
    n, predicted, observed = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    residuals = []  # of each row to the bin that it is in, (n, BINS)
    for s, (p, y, _, _) in enumerate(seeds):
        codes = metrics.ranked(p)[1]
        bins = metrics.decile_codes(np.bincount(codes))[codes]
        n[s] = np.bincount(bins, minlength=BINS)
        predicted[s] = np.bincount(bins, weights=p, minlength=BINS)
        observed[s] = np.bincount(bins, weights=y, minlength=BINS)
        residuals.append((bins[:, None] == np.arange(BINS)) * (y - p)[:, None] / n[s][bins, None])
    n_seeds = (n > 0).sum(axis=0)
    filled = np.flatnonzero(n_seeds)
    sample = Sample({"m": [(items, annotators) for *_, items, annotators in seeds]})
    gaps = ratio(observed - predicted, n)
    estimates = sample.estimates(
        "m", [Influence(g, r) for g, r in zip(gaps, residuals, strict=True)]
    )
    half = ndtri((1 + CONFIDENCE) / 2) * np.sqrt(estimates.sampling_variance()[filled])
    centre = nanmean(ratio(predicted, n), axis=0)[filled]
    return ReliabilityDiagram(
        filled,
        centre,
        nanmean(ratio(observed, n), axis=0)[filled],
        np.maximum(centre - half, 0),
        np.minimum(centre + half, 1),
        n.sum(axis=0)[filled] / n_seeds[filled],
    )
