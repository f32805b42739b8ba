"""Intervals: how far a number would move with other items, other people and other training.

An annotation shares something with all others of its item and with all others of its annotator.
The variance of a metric is therefore that of its influences summed per item, plus that of the sums
per annotator, less that of the sums per item and annotator, which both contain (Cameron, Gelbach
and Miller 2011, Journal of Business & Economic Statistics 29). Where every annotator has one item
that is the variance over items, where every item has one annotator that over annotators. A
bootstrap that draws both (the pigeonhole bootstrap; Owen 2007, Annals of Applied Statistics 1)
counts what is of single annotations three times, so that its intervals are too wide.

Seeds are other splits of the same data, whose training parts overlap: what differs between them
beyond the noise of their test parts counts 1/J + n_test/n_train times (Nadeau and Bengio 2003,
Machine Learning 52). Two or three seeds say little of that variance, and by Student's t alone an
interval would be up to ten times as wide as needed: their estimate is averaged with a guess, by
degrees of freedom (moderated variances; Smyth 2004, Statistical Applications in Genetics 3).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.special import stdtrit

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.evaluation.influence import Influence
from mcstl.evaluation.nans import nanmean, ratio
from mcstl.evaluation.predictions import Predictions

#: The confidence of every interval.
CONFIDENCE = 0.95
#: What is guessed of training, as a share of the variance of one seed's test part, and how many
#: degrees of freedom the guess counts for if test parts share nothing (docs/uncertainty.md).
_GUESSED_TRAINING, _GUESS_DF = 0.25, 2
#: How often noise is drawn for the interval of a spread, and how many spreads are tried.
_DRAWS, _GRID_SIZE = 2000, 400

#: What is taken as a sample of all that there could be.
DrawnBy = Literal["items", "annotators", "items and annotators"]


class Sample:
    """Which annotations of the runs of a study share an item or an annotator.

    A cell is an item and an annotator in the test part of one seed.

    Args:
        codes: Per method and seed the codes of the rows' items and annotators, (n,) each; all
            methods have the same seeds in the same order.
        overlap: n_test/n_train where seeds are random splits of the same data; 0 where their parts
            are the same.

    Attributes:
        by: What is taken as a sample: items alone where no annotator has several, annotators alone
            where every item has one of its own, else both.
        overlap: As given.
        seeds: The seed of each cell, (n_cells,).
        clusters: For items, annotators and pairs of both: matrices that sum cells to clusters of
            all seeds, and to clusters of each seed.
        cells: Per method and seed the matrix that sums rows to cells.
    """

    def __init__(
        self, codes: Mapping[str, Sequence[tuple[IntArray, IntArray]]], overlap: float = 0.0
    ) -> None:
        keys = {
            (method, s): np.stack([np.full(len(items), s), items, annotators])
            for method, seeds in codes.items()
            for s, (items, annotators) in enumerate(seeds)
        }
        cells, places = _distinct(np.concatenate(list(keys.values()), axis=1))
        self.clusters = [
            (_sum_by(_distinct(cells[of])[1]), _sum_by(_distinct(cells[[0, *of]])[1]))
            for of in _KINDS
        ]
        n_items, n_annotators, n_pairs = (of_all.shape[0] for of_all, _ in self.clusters)
        self.by: DrawnBy = "items and annotators"
        if n_annotators == n_pairs:
            self.by = "items"
        elif n_items == n_pairs:
            self.by = "annotators"
        self.overlap, self.seeds = overlap, cells[0]
        ends = np.cumsum([key.shape[1] for key in keys.values()])[:-1]
        self.cells = {
            key: _sum_by(of_rows, cells.shape[1])
            for key, of_rows in zip(keys, np.split(places, ends), strict=True)
        }

    @classmethod
    def of(cls, methods: Mapping[str, Sequence[Predictions]], overlap: float = 0.0) -> "Sample":
        """Take the items and annotators of predictions.

        Args:
            methods: Per method the predictions of each seed.
            overlap: As of the class.

        Returns:
            The sample.
        """
        codes = {m: [(run.items, run.annotators) for run in seeds] for m, seeds in methods.items()}
        return cls(codes, overlap)

    def estimates(self, method: str, influences: Sequence[Influence]) -> "Estimates":
        """Combine what the seeds of a method give for the same metrics.

        Args:
            method: The method.
            influences: Values and influences of each of J seeds.

        Returns:
            The metrics as means over seeds.
        """
        moves = [self.cells[method, s] @ each.rows for s, each in enumerate(influences)]
        return Estimates(
            self,
            np.stack([each.value for each in influences]),
            np.asarray(reduce(np.add, moves), dtype=float),
        )


@dataclass(frozen=True)
class Estimates:
    """C metrics of one method, or differences of two, as means over J seeds.

    Attributes:
        sample: What they were measured on.
        per_seed: The values of each seed, (J, C); NaN where there is none.
        moves: How far each cell moves the value of its seed, (n_cells, C).
    """

    sample: Sample
    per_seed: FloatArray
    moves: FloatArray

    @property
    def value(self) -> FloatArray:
        """The means over seeds, (C,)."""
        return nanmean(self.per_seed, axis=0)

    def __add__(self, other: "Estimates") -> "Estimates":
        return self._combined(other, 1)

    def __sub__(self, other: "Estimates") -> "Estimates":
        return self._combined(other, -1)

    def _combined(self, other: "Estimates", sign: int) -> "Estimates":
        return replace(
            self,
            per_seed=self.per_seed + sign * other.per_seed,
            moves=self.moves + sign * other.moves,
        )

    def shifted(self, by: float) -> "Estimates":
        """Add a constant to the metrics.

        Args:
            by: The constant.

        Returns:
            The metrics with the same influences.
        """
        return replace(self, per_seed=self.per_seed + by)

    def variance(self) -> tuple[FloatArray, FloatArray]:
        """Estimate how far the metrics move with other items, people and training.

        Returns:
            The variances, (C,), and their degrees of freedom (Satterthwaite 1946), (C,); NaN where
            there are too few items or people to tell.
        """
        sampling, uncertain = self._sampling()
        n_seeds, _ = self._shares()
        training, df_training = self._training()
        total = sampling + training
        uncertain = np.nan_to_num(uncertain) + np.nan_to_num(ratio(training**2, df_training))
        df = np.where(uncertain > 0, ratio(total**2, uncertain), np.inf)
        return np.where(n_seeds > 0, total, np.nan), np.maximum(df, 1)

    def sampling_variance(self) -> FloatArray:
        """Estimate how far the metrics move with other items and people, training left as it is.

        Returns:
            The variances, (C,).
        """
        return self._sampling()[0]

    def _sampling(self) -> tuple[FloatArray, FloatArray]:
        """The variance over items and people, and its square over its degrees of freedom."""
        moves = self.moves * self._shares()[1][self.sample.seeds]
        parts = [_cluster_variance(of_all @ moves) for of_all, _ in self.sample.clusters]
        (items, df_items), (people, df_people), (pairs, _) = parts
        sampling = np.maximum(items + people - pairs, np.maximum(items, people))
        if self.sample.by != "items and annotators":  # the other one is the pairs
            sampling, chosen = (items, 0) if self.sample.by == "items" else (people, 1)
            uncertain = ratio(sampling**2, parts[chosen][1])
        else:
            uncertain = ratio(items**2, df_items) + ratio(people**2, df_people)
        return sampling, uncertain

    def covariance(self) -> FloatArray:
        """Estimate how the metrics move together.

        Returns:
            The covariances, (C, C), without negative eigenvalues.
        """
        moves = self.moves * self._shares()[1][self.sample.seeds]
        total = np.zeros((moves.shape[1],) * 2)
        for sign, (of_all, _) in zip((1, 1, -1), self.sample.clusters, strict=True):
            sums = of_all @ moves
            total += sign * (sums.T @ sums)
        total += np.diag(self._training()[0])
        eigenvalues, vectors = np.linalg.eigh(total)
        return np.asarray(vectors * np.maximum(eigenvalues, 0) @ vectors.T)

    def interval(self) -> tuple[FloatArray, FloatArray]:
        """Compute 95% intervals by Student's t.

        Returns:
            Lower and upper ends, (C,); NaN where there are too few items or people to tell.
        """
        variance, df = self.variance()
        half = stdtrit(np.minimum(df, 1e6), (1 + CONFIDENCE) / 2) * np.sqrt(variance)
        return self.value - half, self.value + half

    def _shares(self) -> tuple[FloatArray, FloatArray]:
        """In how many seeds each metric has a value, (C,), and each seed's share, (J, C)."""
        has_value = ~np.isnan(self.per_seed)
        n_seeds = has_value.sum(axis=0).astype(float)
        return n_seeds, has_value / np.maximum(n_seeds, 1)

    def _training(self) -> tuple[FloatArray, FloatArray]:
        """The variance that training adds to the means, (C,), and its degrees of freedom, (C,).

        None is added with one seed. Where all seeds have the same test part, what they differ by is
        training alone and nothing is guessed.
        """
        n_seeds, shares = self._shares()
        deviations = np.where(shares > 0, self.per_seed - self.value, 0.0)
        single = self.moves * (shares > 0)[self.sample.seeds]
        mean = self.moves * shares[self.sample.seeds]
        of_seeds, of_mean = np.zeros((2, len(n_seeds)))
        for sign, (of_all, of_seed) in zip((1, 1, -1), self.sample.clusters, strict=True):
            of_seeds += sign * ((of_seed @ single) ** 2).sum(axis=0)
            of_mean += sign * ((of_all @ mean) ** 2).sum(axis=0)
        df = np.maximum(n_seeds, 1) - 1
        of_test_part = ratio(np.maximum(of_seeds, 0), np.maximum(n_seeds, 1))
        noise = np.maximum(of_seeds - n_seeds * of_mean, 0)  # of the sum of squares between seeds
        between = np.maximum((deviations**2).sum(axis=0) - noise, 0)
        df_guess = _GUESS_DF * np.minimum(np.nan_to_num(ratio(noise, df * of_test_part)), 1)
        guess = _GUESSED_TRAINING * of_test_part
        variance = np.nan_to_num(ratio(between + df_guess * guess, df + df_guess))
        return variance * (1 / np.maximum(n_seeds, 1) + self.sample.overlap), df + df_guess


class Spread(NamedTuple):
    """How far apart groups are, without what chance adds.

    Attributes:
        value: The standard deviation over groups (and thresholds) of the means over seeds, with
            the variance of their noise taken off; 0 where that is larger.
        low: Lower end of its 95% interval.
        high: Upper end of the interval.
    """

    value: float
    low: float
    high: float

    def minus(self, other: "Spread") -> "Spread":
        """Subtract another method's spread (Zou and Donner 2008, Statistics in Medicine 27).

        Args:
            other: The other method's spread on the same rows.

        Returns:
            The difference, with an interval that is right were the two independent; what they
            share makes it too wide.
        """
        value = self.value - other.value
        below = np.hypot(self.value - self.low, other.high - other.value)
        above = np.hypot(self.high - self.value, other.value - other.low)
        return Spread(value, float(value - below), float(value + above))


def spread(estimates: Estimates, seed: int = 0) -> Spread:
    """Estimate how far apart the metrics are beyond chance.

    The values of C groups around their mean are true deviations plus noise, of which the covariance
    is estimated. The interval holds the spreads under which the observed one is neither among the
    2.5% smallest nor the 2.5% largest, as noise is drawn.

    Args:
        estimates: The same metric of C groups.
        seed: Decides the noise.

    Returns:
        The spread and its interval; NaN with fewer than two groups.
    """
    has_value = np.flatnonzero(~np.isnan(estimates.value))
    size = len(has_value)
    if size < 2:
        return Spread(np.nan, np.nan, np.nan)
    deviations = estimates.value[has_value] - estimates.value[has_value].mean()
    covariance = estimates.covariance()[np.ix_(has_value, has_value)]
    centring = np.eye(size) - 1 / size
    eigenvalues, vectors = np.linalg.eigh(centring @ covariance @ centring)
    drawn = np.random.default_rng(seed).standard_normal((_DRAWS, size))
    noise = drawn * np.sqrt(np.maximum(eigenvalues, 0)) @ vectors.T
    observed = float((deviations**2).mean())
    expected = float(np.maximum(eigenvalues, 0).mean())
    direction = deviations / max(np.sqrt(observed), 1e-300)
    # |τ d + e|² = τ² + 2 τ d·e + |e|², as means over groups
    along, squares = (noise * direction).mean(axis=1), (noise**2).mean(axis=1)
    largest = 2 * np.sqrt(observed) + 6 * np.sqrt(expected)
    tried = np.linspace(0, largest, _GRID_SIZE)
    simulated = tried[:, None] ** 2 + 2 * tried[:, None] * along + squares
    below = np.quantile(simulated, (1 - CONFIDENCE) / 2, axis=1) <= observed
    above = np.quantile(simulated, (1 + CONFIDENCE) / 2, axis=1) >= observed
    inside = tried[below & above]
    value = float(np.sqrt(max(observed - expected, 0)))
    low, high = (float(inside[0]), float(inside[-1])) if len(inside) else (0.0, 0.0)
    return Spread(value, min(low, value), max(high, value))


_KINDS: tuple[list[int], ...] = ([1], [2], [1, 2])  # items, annotators, both, as rows of cells


def _distinct(keys: IntArray) -> tuple[IntArray, IntArray]:
    """The distinct columns in their order, and the place of each column among them."""
    # One number for a column: numbers are sorted ten times as fast as columns.
    numbers = np.ravel_multi_index(tuple(keys), tuple(keys.max(axis=1) + 1))
    _, first, codes = np.unique(numbers, return_index=True, return_inverse=True)
    return keys[:, first], codes


def _sum_by(codes: IntArray, n_codes: int | None = None) -> csr_array:
    """The matrix that sums what has the same code."""
    shape = (int(codes.max()) + 1 if n_codes is None else n_codes, len(codes))
    return csr_array((np.ones(len(codes)), (codes, np.arange(len(codes)))), shape=shape)


def _cluster_variance(sums: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The variance of a sum over clusters, (C,), and its degrees of freedom, (C,)."""
    squares = sums**2
    total, n = squares.sum(axis=0), (squares > 0).sum(axis=0).astype(float)
    variance = np.where(n == 1, np.nan, total)
    df = np.minimum(n - 1, 3 * ratio(total**2, (squares**2).sum(axis=0)))
    return variance, np.where(n > 1, np.maximum(df, 1), np.nan)
