"""Is any group off? A test of all groups and thresholds at once that respects items and people."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from scipy.special import eval_hermitenorm, factorial, ndtri
from scipy.stats import false_discovery_control

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.intervals import CONFIDENCE
from mcstl.evaluation.nans import nanmean, ratio
from mcstl.evaluation.predictions import Predictions

#: How many sets of labels the test draws.
DRAWS = 1000
#: The smallest detectable error is one that the test finds this often.
POWER = 0.8
#: Numbers in one block of draws: few enough to stay in a processor's cache.
_BLOCK_SIZE = 1_000_000
#: Each thread holds a block or two in memory.
_MAX_THREADS = 4
#: Terms of the series that turns a correlation of scores into one of labels.
_TERMS = 24
#: The largest share of a score that items and people may have between them.
_LARGEST_CORRELATION = 0.95
#: With fewer items or people than this, nothing is said of what would be detected.
_FEWEST_CLUSTERS = 5
#: Errors that are tried for the smallest detectable one.
_SHIFTS = np.geomspace(1e-4, 1, 300)
_SINGLE = np.float32


class Multicalibration(NamedTuple):
    """The result of `multicalibration` for G = 1 + K groups, the first one all rows.

    Attributes:
        ecce: Cumulative calibration errors, means over seeds, (G, T); NaN for a group without rows.
        sigma: Noise of a group's mean residual if the model is calibrated, (G, T).
        sigma_rows: The same if every row were independent of all others, (G, T).
        p: Chance of such an error in a calibrated model, each by itself, (G, T).
        p_adjusted: Chance that the largest error of all groups is as large: familywise, (G, T).
        p_discovery: The chances adjusted by Benjamini and Hochberg, (G, T).
        detectable: Smallest errors that the familywise test finds four times of five, (G, T); NaN
            for groups of fewer than five items or people, whose errors pass for theirs.
        correlations: How alike the labels of an item, and of an annotator, are beyond what is
            predicted: latent correlations, (2,).
    """

    ecce: FloatArray
    sigma: FloatArray
    sigma_rows: FloatArray
    p: FloatArray
    p_adjusted: FloatArray
    p_discovery: FloatArray
    detectable: FloatArray
    correlations: FloatArray

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


class _Path(NamedTuple):
    """The rows of one seed, group and threshold by rising prediction.

    `rows` are their places in the run, `ends` where the predictions that are equal end.
    """

    rows: IntArray
    p: FloatArray
    ends: IntArray

    def error(self, outcomes: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        """The cumulative errors of a run's outcomes (b, n), and the mean residuals: (b,) each."""
        steps = np.take(outcomes, self.rows, axis=1)
        steps -= self.p.astype(steps.dtype)
        path = np.cumsum(steps, axis=1, out=steps)
        total = path[:, -1].copy()
        if len(self.ends) < len(self.rows):
            path = np.take(path, self.ends, axis=1)
        errors = np.maximum(path.max(axis=1), 0) - np.minimum(path.min(axis=1), 0)
        return errors / len(self.rows), total / len(self.rows)


def multicalibration(
    seeds: Sequence[Predictions], *, draws: int = DRAWS, seed: int = 0
) -> Multicalibration:
    """Measure and test the cumulative calibration error of every group and threshold at once.

    The multicalibration error is the largest ECCE over overlapping groups in units of its noise
    (Guy et al. 2025, arXiv 2506.11251). There the noise is that of independent rows; here labels of
    one item go together, and so do those of one person.

    An error cannot be negative, so an interval around it would never contain 0; it gets a test.
    Every draw makes labels from the model's own probabilities, as if it were calibrated, through a
    Gaussian copula: a score per annotation, of which one part is its item's, one its annotator's
    and the rest its own, falls into the class that the probabilities give (`_Correlations` says how
    large the parts are). All errors are computed anew, each in units of the noise that its own draw
    shows, since what the data show is an estimate, too. ``p_adjusted`` compares each error with the
    largest of each draw (Westfall and Young 1993), which keeps the chance of any false alarm at 5%
    however many groups there are and however they overlap. Several seeds are averaged over the same
    draws. New people are drawn each time: the question is whether the model is calibrated for
    people like these, not whether these few were met.

    Args:
        seeds: Predictions of one method, per seed.
        draws: How many sets of labels are drawn.
        seed: Decides the draws.

    Returns:
        Errors, noise and chances of every group and threshold.
    """
    shape = (1 + seeds[0].membership.shape[1], seeds[0].p.shape[1] - 1)
    levels = [metrics.exceedance(run.p) for run in seeds]
    cuts = [(-ndtri(np.clip(level, 0, 1))).astype(_SINGLE) for level in levels]
    groups = [np.column_stack([np.ones(len(run.p), bool), run.membership]) for run in seeds]
    paths = {
        (s, g, t): _path(levels[s][:, t], rows)
        for s, run in enumerate(seeds)
        for g, rows in enumerate(groups[s].T)
        for t in range(shape[1])
        if rows.any()
    }
    between = _Correlations(seeds, groups)
    sigma_rows = np.full((len(seeds), *shape), np.nan)
    for (s, g, t), path in paths.items():
        sigma_rows[s, g, t] = np.sqrt((path.p * (1 - path.p)).sum()) / len(path.rows)

    def measured(
        outcomes: Callable[[int, int], npt.NDArray[Any]], size: int
    ) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Errors and mean residuals of sets of labels, (G, T, b), and their correlations (b, 2)."""
        errors, means = (np.full((len(seeds), *shape, size), np.nan) for _ in range(2))
        products = np.zeros((size, 2))
        for s, t in np.ndindex(len(seeds), shape[1]):
            drawn = outcomes(s, t)
            products += between.products(s, drawn - levels[s][:, t].astype(drawn.dtype))
            for g in range(shape[0]):
                if (s, g, t) in paths:
                    errors[s, g, t], means[s, g, t] = paths[s, g, t].error(drawn)
        return nanmean(errors, axis=0), nanmean(means, axis=0), between.solved(products)

    observed, mean, [correlations] = measured(
        lambda s, t: (seeds[s].labels[None] > t).astype(float), size=1
    )
    scores = _Scores(seeds, correlations, seed)

    def block(number: int, size: int) -> tuple[FloatArray, FloatArray]:
        drawn = scores.draw(number, size)
        errors, means, shown = measured(
            lambda s, t: (drawn[s] > cuts[s][:, t]).astype(_SINGLE), size
        )
        return ratio(errors, between.noise(shown, correlations)), means

    blocks = _in_blocks(block, draws, scores.size)
    errors, means = (np.concatenate(each, axis=2) for each in zip(*blocks, strict=True))
    squares = means**2
    noise = np.sqrt(squares.mean(axis=2))
    # What is observed is in units of the noise of all draws; so is each draw, in its place.
    total = squares.sum(axis=2, keepdims=True) + mean**2
    of_others = np.sqrt((total - squares) / draws)
    enough = [
        all(
            len(np.unique(getattr(run, name)[inside[:, g]])) >= _FEWEST_CLUSTERS
            for name in ("items", "annotators")
            for run, inside in zip(seeds, groups, strict=True)
        )
        for g in range(shape[0])
    ]
    levels_of = {
        (g, t): np.concatenate([paths[s, g, t].p for s in range(len(seeds)) if (s, g, t) in paths])
        for _, g, t in paths
    }
    return _compared(
        observed[..., 0],
        ratio(errors, of_others),
        noise,
        nanmean(sigma_rows, axis=0),
        lambda g, t, critical: (
            _detectable(levels_of[g, t], noise[g, t], critical) if enough[g] else np.nan
        ),
        correlations,
    )


class _Correlations:
    """How alike labels of one item, and of one annotator, are beyond their predictions.

    Residuals of two annotations with latent correlation ρ have the covariance Σ ρ^k a_k(p) a_k(p')
    (the tetrachoric series; Pearson 1900). ρ is where the products of the residuals of all pairs of
    annotations of an item (or of an annotator), over all thresholds and seeds, are as large as
    expected.
    """

    def __init__(self, seeds: Sequence[Predictions], groups: Sequence[BoolArray]) -> None:
        n_groups, n_levels = groups[0].shape[1], seeds[0].p.shape[1] - 1
        self._of_rows = np.zeros((n_groups, n_levels))
        self._of_pairs = np.zeros((2, n_groups, n_levels, _TERMS))
        of_all = np.zeros((2, _TERMS))
        self._sums: list[list[csr_array | None]] = []
        for run, inside in zip(seeds, groups, strict=True):
            self._sums.append([_sums_of_several(run.items), _sums_of_several(run.annotators)])
            squares = np.maximum(inside.sum(axis=0), 1)[:, None] ** 2
            level = np.clip(metrics.exceedance(run.p), 1e-6, 1 - 1e-6)
            self._of_rows += inside.T.astype(float) @ (level * (1 - level)) / squares
            cut = ndtri(level)
            density = np.exp(-(cut**2) / 2) / np.sqrt(2 * np.pi)
            for k, t in np.ndindex(_TERMS, n_levels):
                term = eval_hermitenorm(k, cut[:, t]) * density[:, t] / np.sqrt(factorial(k + 1))
                of_groups = inside.T * term
                for i, sums in enumerate(self._sums[-1]):
                    pairs = _over_pairs(of_groups, sums)
                    self._of_pairs[i, :, t, k] += pairs / squares[:, 0]
                    of_all[i, k] += pairs[0]
        self._tried = np.linspace(0, _LARGEST_CORRELATION, 500)
        powers = self._tried[:, None] ** np.arange(1, _TERMS + 1)
        self._expected = np.maximum.accumulate(of_all @ powers.T, axis=1)

    def products(self, s: int, residuals: npt.NDArray[Any]) -> FloatArray:
        """The sums over pairs of an item, and of an annotator, of residuals (b, n): (b, 2)."""
        return np.stack([_over_pairs(residuals, sums) for sums in self._sums[s]], axis=1)

    def solved(self, products: FloatArray) -> FloatArray:
        """The correlations, each 0 or more, at which the products (b, 2) are expected: (b, 2)."""
        solved = np.zeros(products.shape)
        for i, expected in enumerate(self._expected):
            if expected[-1] > 0:
                solved[:, i] = np.interp(products[:, i], expected, self._tried)
        total = np.maximum(solved.sum(axis=1, keepdims=True), 1e-9)
        return np.asarray(solved * np.minimum(1, _LARGEST_CORRELATION / total))

    def noise(self, correlations: FloatArray, to: FloatArray) -> FloatArray:
        """The noise of mean residuals under correlations (b, 2), relative to others: (G, T, b)."""
        powers = np.arange(1, _TERMS + 1)
        variances = self._of_rows[..., None] + sum(
            of_pairs @ (np.append(correlations[:, i], to[i])[None] ** powers[:, None])
            for i, of_pairs in enumerate(self._of_pairs)
        )
        relative = ratio(variances[..., :-1], variances[..., -1:])
        return np.asarray(np.sqrt(np.maximum(relative, 0)))


def _sums_of_several(codes: IntArray) -> csr_array | None:
    """The matrix that sums rows with the same code, None where no two have it."""
    places = np.unique(codes, return_inverse=True)[1]
    shape = (int(places.max()) + 1, len(places))
    if shape[0] == shape[1]:
        return None
    ones = np.ones(len(places), dtype=_SINGLE)
    return csr_array((ones, (places, np.arange(len(places)))), shape=shape)


def _over_pairs(values: npt.NDArray[Any], sums: csr_array | None) -> FloatArray:
    """The sums over pairs of different rows that go together of the products of values (b, n)."""
    if sums is None:
        return np.zeros(len(values))
    of_all = ((sums @ values.T) ** 2).sum(axis=0, dtype=float)
    return np.asarray(of_all - (values**2).sum(axis=1, dtype=float))


class _Scores:
    """Draws of the scores that decide labels: normal, with a part of the item's and the person's.

    An annotation has the same score in every seed that tests it.
    """

    def __init__(self, seeds: Sequence[Predictions], correlations: FloatArray, seed: int) -> None:
        self._seed = seed
        self._shares = np.sqrt([*correlations, 1 - correlations.sum()]).astype(_SINGLE)
        keys = [np.stack([run.items, run.annotators, _occurrences(run)]) for run in seeds]
        ends = np.cumsum([key.shape[1] for key in keys])[:-1]
        together = np.concatenate(keys, axis=1)
        sources = (together[:1], together[1:2], together)
        self._codes, self._sizes = list[list[IntArray]](), list[int]()
        for source in sources:
            distinct, codes = np.unique(source, axis=1, return_inverse=True)
            self._sizes.append(distinct.shape[1])
            self._codes.append(np.split(codes.ravel(), ends))
        self.size = self._sizes[-1]

    def draw(self, number: int, size: int) -> list[npt.NDArray[np.float32]]:
        """Per seed the scores of its rows, (size, n), of the block with this number."""
        random = np.random.default_rng([self._seed, number])
        scores = [np.zeros((size, len(codes)), dtype=_SINGLE) for codes in self._codes[0]]
        for share, n, per_seed in zip(self._shares, self._sizes, self._codes, strict=True):
            if share:
                drawn = random.standard_normal((size, n), dtype=_SINGLE) * share
                for total, codes in zip(scores, per_seed, strict=True):
                    total += np.take(drawn, codes, axis=1)
        return scores


def _occurrences(run: Predictions) -> IntArray:
    """Count the rows before each that have the same item and annotator, (n,)."""
    codes = np.unique(np.stack([run.items, run.annotators]), axis=1, return_inverse=True)[1].ravel()
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], codes[order])
    occurrences = np.empty(len(codes), dtype=np.int64)
    occurrences[order] = np.arange(len(codes)) - starts
    return occurrences


def _path(level: FloatArray, inside: BoolArray) -> _Path:
    rows = np.flatnonzero(inside)
    rows = rows[np.argsort(level[rows], kind="stable")]
    ends = np.flatnonzero(np.append(np.diff(level[rows]) > 0, True))
    return _Path(rows, level[rows], ends)


def _in_blocks(
    block: Callable[[int, int], tuple[FloatArray, FloatArray]], draws: int, n_rows: int
) -> list[tuple[FloatArray, FloatArray]]:
    """Compute draws in blocks, on a few threads; how many there are does not change the first."""
    size = max(16, min(200, _BLOCK_SIZE // max(n_rows, 1)))
    sizes = [min(size, draws - start) for start in range(0, draws, size)]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS)) as pool:
        return list(pool.map(block, range(len(sizes)), sizes))


def _compared(
    observed: FloatArray,
    drawn: FloatArray,
    noise: FloatArray,
    noise_of_rows: FloatArray,
    detectable: Callable[[int, int, float], float],
    correlations: FloatArray,
) -> Multicalibration:
    """Compare errors (G, T) with those of the draws in units of their noise, (G, T, draws)."""
    in_sigmas = ratio(observed, noise)
    is_tested = np.isfinite(in_sigmas)
    largest = np.where(is_tested[..., None], drawn, 0.0).max(axis=(0, 1))

    def chance(reference: FloatArray) -> FloatArray:
        # Single precision: equal but for rounding counts.
        as_large = (reference >= in_sigmas[..., None] * (1 - 1e-5)).sum(axis=-1)
        return np.where(is_tested, (1 + as_large) / (1 + drawn.shape[-1]), np.nan)

    p = chance(drawn)
    discovery = np.full_like(p, np.nan)
    discovery[is_tested] = false_discovery_control(p[is_tested]) if is_tested.any() else []
    critical = float(np.quantile(largest, CONFIDENCE))
    return Multicalibration(
        observed,
        noise,
        noise_of_rows,
        p,
        chance(largest),
        discovery,
        np.array(
            [
                [
                    detectable(g, t, critical) if is_tested[g, t] else np.nan
                    for t in range(observed.shape[1])
                ]
                for g in range(observed.shape[0])
            ]
        ),
        correlations,
    )


def _detectable(p: FloatArray, noise: float, critical: float) -> float:
    """The smallest error of a group that is found four times of five, whichever way it goes.

    Were every chance in truth higher (or lower) by s, the mean residual would be m, with the noise
    of those chances. The error is found where it is above the critical one. Where no error of one
    sign can be found, because chances near 0 cannot be much lower, all are smaller than the one
    named.
    """
    smallest = []
    for sign in (1, -1):
        moved = np.clip(p + sign * _SHIFTS[:, None], 0, 1).astype(float)
        mean = np.abs(moved - p).mean(axis=1)
        ratio_of_noise = (moved * (1 - moved)).mean(axis=1) / max((p * (1 - p)).mean(), 1e-12)
        margin = ndtri(POWER) * noise * np.sqrt(ratio_of_noise)
        is_found = mean - margin > critical * noise
        smallest.append(float(mean[np.argmax(is_found)] if is_found.any() else mean[-1]))
    return max(smallest)
