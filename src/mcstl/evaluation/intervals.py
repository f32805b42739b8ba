"""Intervals by the bootstrap: whole items or people are drawn, never single annotations."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.metrics import BINS
from mcstl.evaluation.nans import nanmean, ratio
from mcstl.evaluation.predictions import Predictions

T = TypeVar("T")

#: The confidence of every interval.
CONFIDENCE = 0.95
#: How many resamples intervals and tests are made of.
RESAMPLES = 1000
#: Numbers in one block of resamples: few enough to stay in a processor's cache.
_BLOCK_SIZE = 500_000
#: Each thread holds a block or two in memory.
_MAX_THREADS = 4

#: Whole numbers, half as wide as usual where moving them is what takes time.
Counts = npt.NDArray[np.integer[Any]]
#: What is drawn with replacement.
ClusterBy = Literal["items", "annotators", "items and annotators"]
#: Metrics of one method under resampling: per metric the values, those of the data as they are
#: first.
Resampled = dict[str, FloatArray]


class ClusterWeights:
    """How often each resample draws every cluster, the same for all runs.

    Rows that are always drawn together (those of one item, say, or of one item and annotator) are a
    unit and share their weight.

    Args:
        runs: Predictions whose items and annotators have common codes.
        by: What is drawn.
        seed: Decides the draws, together with the number of the resample.

    Attributes:
        units: Per run the units of its rows, codes 0 ... U - 1, (n,).
    """

    def __init__(self, runs: Sequence[Predictions], by: ClusterBy, seed: int) -> None:
        factors = {
            "items": ["items"],
            "annotators": ["annotators"],
            "items and annotators": ["items", "annotators"],
        }[by]
        self._seed, self._n_clusters = seed, list[int]()
        self._clusters: list[list[IntArray]] = []  # per run and factor the clusters of its units
        self.units: list[IntArray] = []
        codes = []
        for name in factors:
            clusters, rows = np.unique(
                np.concatenate([getattr(run, name) for run in runs]), return_inverse=True
            )
            self._n_clusters.append(len(clusters))
            codes.append(np.split(rows, np.cumsum([len(run.items) for run in runs])[:-1]))
        for codes_of_run in zip(*codes, strict=True):
            distinct, units = np.unique(np.stack(codes_of_run), axis=1, return_inverse=True)
            self.units.append(units.ravel())
            self._clusters.append(list(distinct))

    def counts(self, resamples: range) -> Iterator[Counts]:
        """Draw clusters with replacement: how often each unit occurs in each resample.

        Args:
            resamples: Numbers of b resamples; number 0 is the data as they are.

        Yields:
            Per run the counts, (b, U).
        """
        return self._per_unit(
            resamples,
            lambda random, n: np.bincount(random.integers(n, size=n), minlength=n),
        )

    def signs(self, resamples: range) -> Iterator[Counts]:
        """Draw a random sign for every cluster.

        Args:
            resamples: Numbers of b resamples; number 0 is the data as they are.

        Yields:
            Per run the signs of its units, 1 or -1, (b, U).
        """
        return self._per_unit(resamples, lambda random, n: 2 * random.integers(2, size=n) - 1)

    def _per_unit(
        self, resamples: range, draw: Callable[[np.random.Generator, int], Counts]
    ) -> Iterator[Counts]:
        weights = [np.ones((len(resamples), n), dtype=np.int32) for n in self._n_clusters]
        for i, resample in enumerate(resamples):
            if resample:
                random = np.random.default_rng([self._seed, resample])
                for n, drawn in zip(self._n_clusters, weights, strict=True):
                    drawn[i] = draw(random, n)
        for clusters in self._clusters:
            taken = [np.take(w, c, axis=1) for w, c in zip(weights, clusters, strict=True)]
            yield taken[0] if len(taken) == 1 else taken[0] * taken[1]


def bootstrap(
    methods: Mapping[str, Sequence[Predictions]],
    by: ClusterBy = "items",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Resampled]:
    """Draw clusters with replacement and compute what `metrics.evaluate` gives, per method.

    What is drawn says what an interval is about. ``items``: other texts of the same kind, each with
    raters of its own; all annotations of an item come together (the cluster bootstrap; Cameron and
    Miller 2015, "A Practitioner's Guide to Cluster-Robust Inference"). ``annotators``: other people
    for the same items. ``items and annotators``: both, where a row's weight is the product of the
    two (the pigeonhole bootstrap; Owen 2007, Annals of Applied Statistics 1). No bootstrap is exact
    for crossed data; that one counts the noise of single annotations up to three times, so its
    intervals are too wide rather than too narrow (Owen and Eckles 2012). It is right where people
    judge many items each and differ; where each item has raters of its own, ``items`` is.

    Seeds of a study are other splits of the same data: their test parts share items. A method's
    value is the mean over its seeds, and one draw of items serves all seeds and all methods, so
    that what they share is counted once and differences are paired. An interval is thus about the
    fitted models; what differs between seeds is shown by the sd over seeds.

    The draws of a resample depend on `seed` and its number alone.

    Args:
        methods: Per method the predictions of each seed.
        by: What is drawn.
        resamples: How many resamples are drawn, R.
        seed: Decides the draws.

    Returns:
        Per method and metric the values under every resample, (1 + R, ...) as `ReweightedMetrics`
        returns them; the first row is that of the data as they are.
    """
    runs = [run for seeds in methods.values() for run in seeds]
    weights = ClusterWeights(runs, by, seed)
    reweighted = [
        ReweightedMetrics(run, units) for run, units in zip(runs, weights.units, strict=True)
    ]

    def block(resamples: range) -> list[Resampled]:
        counts = weights.counts(resamples)
        return [metrics_of(drawn) for metrics_of, drawn in zip(reweighted, counts, strict=True)]

    blocks = in_blocks(block, 1 + resamples, max(len(run.items) for run in runs))
    per_run = [
        {name: np.concatenate([values[i][name] for values in blocks]) for name in blocks[0][i]}
        for i in range(len(runs))
    ]
    result, start = {}, 0
    for method, seeds in methods.items():
        per_seed = per_run[start : start + len(seeds)]
        result[method] = {
            name: nanmean(np.stack([values[name] for values in per_seed]), axis=0)
            for name in per_seed[0]
        }
        start += len(seeds)
    return result


def in_blocks(block: Callable[[range], T], n: int, n_rows: int) -> list[T]:
    """Compute resamples in blocks, on a few threads.

    Args:
        block: Computes the resamples of which it is given the numbers.
        n: How many resamples there are; they have the numbers 0 ... n - 1.
        n_rows: How many numbers a resample holds in memory, which decides the size of a block.

    Returns:
        What `block` returned, in the order of the resamples.
    """
    size = max(1, min(n, _BLOCK_SIZE // max(n_rows, 1)))
    ranges = [range(start, min(start + size, n)) for start in range(0, n, size)]
    if len(ranges) == 1:
        return [block(ranges[0])]
    # One thread of ours a processor; BLAS would add its own, which wait by spinning.
    threads = ThreadPoolExecutor(min(os.cpu_count() or 1, _MAX_THREADS))
    with threadpool_limits(1, "blas"), threads as pool:
        return list(pool.map(block, ranges))


def interval(values: FloatArray, name: str = "") -> tuple[FloatArray, FloatArray]:
    """Compute the 95% intervals of one metric of a bootstrap.

    The 2.5% and 97.5% quantiles of the resamples. A standard deviation over groups is larger in
    nearly every resample, since resampling adds noise to each group: there the quantiles are
    reflected about what was observed, and cut off at 0.

    Args:
        values: The metric under every resample, the data as they are first, (1 + R, ...).
        name: The metric; one whose name ends in ``_sd`` is a standard deviation over groups.

    Returns:
        Lower and upper ends, (...); NaN where more than one resample in twenty lacks the value.
    """
    observed, resampled = values[0], values[1:]
    lacking = np.isnan(resampled).mean(axis=0) > 1 - CONFIDENCE
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.nanquantile(np.where(lacking, 0.0, resampled), tails, axis=0)
    if name.endswith("_sd"):
        low, high = np.maximum(2 * observed - high, 0), np.maximum(2 * observed - low, 0)
    lacking = lacking | np.isnan(observed)
    return np.where(lacking, np.nan, low), np.where(lacking, np.nan, high)


def paired_differences(a: Resampled, b: Resampled) -> dict[str, dict[str, float]]:
    """Compute the differences A - B of two methods over the same resamples.

    Args:
        a: Metrics of a method under resampling.
        b: Metrics of another one under the same resampling.

    Returns:
        Per metric ``mean``, and ``low`` and ``high`` of the 95% interval.
    """
    differences = {}
    for name in a:
        if a[name].ndim == 1:
            gaps = a[name] - b[name]
            low, high = interval(gaps)
            differences[name] = {"mean": float(gaps[0]), "low": float(low), "high": float(high)}
    return differences


class ReweightedMetrics:
    """`metrics.evaluate` of the same rows under many weights at once.

    Rows of one unit share their weight. Whole-number weights give what repeating the rows would
    give, deciles included: they are binned anew under every weight.

    Args:
        predictions: Predictions of one run.
        units: The units of its rows, codes 0 ... U - 1 of which every one occurs, (n,).
    """

    def __init__(self, predictions: Predictions, units: IntArray) -> None:
        p, labels = np.asarray(predictions.p, dtype=float), predictions.labels
        membership, task = predictions.membership, predictions.task
        self._score = metrics.score_of(task)
        n_units = int(units.max()) + 1
        groups = [np.arange(len(p)), *(np.flatnonzero(inside) for inside in membership.T)]
        self._n_groups = len(groups) - 1

        # Means are ratios of sums, and sums over rows are sums over units: one matrix product.
        minority, every = predictions.minority.astype(float), np.ones(len(p))
        columns = {
            **{name: (measure(p, labels), every) for name, measure in metrics.PER_ROW.items()},
            "one_minus_emd": (
                minority * (1 - metrics.emd(p, labels) / (p.shape[1] - 1)),
                minority,
            ),
        }
        if task == "preference":
            columns["accuracy"] = (metrics.pairwise_accuracy_per_row(p[:, 1], labels), every)
        self._means = list(columns)
        self._sums = np.stack(
            [
                np.bincount(units[group], weights=each[group], minlength=n_units)
                for group in groups
                for pair in columns.values()
                for each in pair
            ],
            axis=1,
        )  # (U, (1 + K) * means * 2)

        # The last class ranks rows as the last threshold does, and the first one as the first, but
        # for rounding, in reverse: such a pair is computed at once.
        levels = metrics.exceedance(p)
        self._n_levels = last = levels.shape[1]
        classes = [] if task == "preference" else metrics.auc_classes(p)
        together = {last: last - 1}
        down, up = metrics.ranked(p[:, 0])[1], metrics.ranked(levels[:, 0])[1]
        if last > 1 and np.array_equal(down.max() - down, up):
            together[0] = 0
        ways: list[tuple[int | None, int | None]] = [(c, together.get(c)) for c in classes]
        paired = [t for _, t in ways]
        ways += [(None, t) for t in range(last) if t not in paired]
        self._rankings = []
        for c, t in ways:
            outcome = labels == c if t is None else labels > t
            values, codes = metrics.ranked(p[:, c] if t is None else levels[:, t])
            counts = [
                OutcomeCounts.from_rows(values, codes[g], units[g], outcome[g], n_units)
                for g in groups
            ]
            self._rankings.append((c, t, counts))

    def __call__(self, weights: Counts) -> Resampled:
        """Compute the metrics under each of b weightings.

        Args:
            weights: How often each unit counts, (b, U).

        Returns:
            Per metric the values, (b,), per group those under ``group NAME``, (b, K), and ``line
            slope`` and ``line bias``, (b, K, L - 1); NaN where `evaluate` has none. What `evaluate`
            counts is left out.
        """
        b, n_parts = len(weights), 1 + self._n_groups  # all rows, then each group
        sums = (weights.astype(float) @ self._sums).reshape(b, n_parts, len(self._means), 2)
        means = ratio(sums[..., 0], sums[..., 1])
        per_group_values = {name: means[:, :, m] for m, name in enumerate(self._means)}
        aucs = np.full((len(self._rankings), b, n_parts), np.nan)
        lines = np.full((2, self._n_levels, b, self._n_groups), np.nan)  # slopes and biases
        for i, (c, t, counts) in enumerate(self._rankings):
            for g, group_counts in enumerate(counts):
                if c is None and not g:
                    continue  # `evaluate` draws no line through all rows
                drawn = group_counts.reweighted(weights)
                if c is not None:
                    aucs[i, :, g] = drawn.auc()
                if t is not None and g:
                    lines[:, t, :, g - 1] = drawn.line()
        if self._score == "auc":
            per_group_values["auc"] = nanmean(aucs, axis=0)
        slopes, biases = lines.transpose(0, 2, 3, 1)
        groups = {f"group {name}": each[:, 1:] for name, each in per_group_values.items()}
        overall = {name: each[:, 0] for name, each in per_group_values.items()}
        over = {
            f"group_{self._score}": groups[f"group {self._score}"],
            "slope": slopes.reshape(b, -1),
            "bias": biases.reshape(b, -1),
        }
        for name, each in over.items():
            overall[f"{name}_mean"] = mean = nanmean(each, axis=1)
            overall[f"{name}_sd"] = np.sqrt(nanmean((each - mean[:, None]) ** 2, axis=1))
        return overall | groups | {"line slope": slopes, "line bias": biases}


class OutcomeCounts(NamedTuple):
    """Rows counted by distinct prediction and unit, by rising prediction.

    Attributes:
        values: The distinct predictions, (V,).
        units: The unit of each count, (C,).
        starts: Where the counts of each prediction start, (V,).
        positives: How many rows have the outcome 1, (C,).
        n: How many rows there are, (C,).
    """

    values: FloatArray
    units: IntArray
    starts: IntArray
    positives: Counts
    n: Counts

    @classmethod
    def from_rows(
        cls, values: FloatArray, codes: IntArray, units: IntArray, outcome: BoolArray, n_units: int
    ) -> "OutcomeCounts":
        """Count rows.

        Args:
            values: The distinct predictions of these and maybe other rows, rising, (V,).
            codes: The place of each row's prediction in `values`, (n,).
            units: The rows' units, codes 0 ... U - 1, (n,).
            outcome: The rows' outcomes, (n,).
            n_units: The number of units, U.

        Returns:
            The counts of predictions and units that occur together.
        """
        keys, places = np.unique(codes * n_units + units, return_inverse=True)
        by_code, unit = np.divmod(keys, n_units)
        starts = np.flatnonzero(np.diff(by_code, prepend=-1))
        positives, n = (
            np.bincount(each, minlength=len(keys)).astype(np.int32)
            for each in (places[outcome], places)
        )
        return cls(values[by_code[starts]], unit, starts, positives, n)

    def per_prediction(self, products: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Sum over the units of each prediction.

        Args:
            products: Numbers per count, (b, C).

        Returns:
            The sums, (b, V).
        """
        if len(self.starts) == len(self.units):
            return products
        return np.add.reduceat(products, self.starts, axis=1)

    def reweighted(self, weights: Counts) -> "ReweightedCounts":
        """Count the rows as weights repeat them.

        Args:
            weights: How often each unit counts, (b, U).

        Returns:
            The counts under each weighting.
        """
        taken = np.take(weights, self.units, axis=1)  # far faster than weights[:, self.units]
        positives = self.per_prediction(taken * self.positives)
        counts = self.per_prediction(taken if (self.n == 1).all() else taken * self.n)
        # One running count over all weights: it rises throughout, so that one search does for all.
        running = np.zeros(counts.size + 1, dtype=np.int64)
        np.cumsum(counts.ravel(), out=running[1:])
        return ReweightedCounts(self.values, counts, positives, running)


class ReweightedCounts(NamedTuple):
    """How often b weightings have each distinct prediction; whole numbers, so sums are exact.

    Attributes:
        values: The distinct predictions, (V,).
        counts: How often each occurs, (b, V).
        positives: How often each occurs with the outcome 1, (b, V).
        running: Sums of the counts before each and after the last, (1 + b * V,).
    """

    values: FloatArray
    counts: IntArray
    positives: IntArray
    running: IntArray

    def auc(self) -> FloatArray:
        """Compute `metrics.macro_auc` of one class, by the sum of the ranks of its rows.

        Returns:
            The AUC of each weighting, (b,).
        """
        b, size = self.counts.shape
        if not size:
            return np.full(b, np.nan)
        running, starts = self.running, self.running[::size]
        twice_middle = (running[:-1] + running[1:]).reshape(b, size)
        n_positives, total = self.positives.sum(axis=1), np.diff(starts)
        twice_ranks = np.einsum("bv,bv->b", self.positives, twice_middle)
        twice_won = twice_ranks - n_positives * (n_positives + 2 * starts[:-1])
        return ratio(twice_won / 2, n_positives * (total - n_positives))

    def line(self) -> FloatArray:
        """Fit `metrics.calibration_line`.

        Returns:
            Slopes and biases of each weighting, (2, b).
        """
        b, size = self.counts.shape
        if not size:
            return np.full((2, b), np.nan)
        running, row = self.running, size * np.arange(b)[:, None]
        before, total = running[row], running[row + size] - running[row]
        # A bin begins at the first prediction whose middle rank is in it: the one that reaches the
        # bin's rank, or the next.
        rank = total * np.arange(1, BINS)
        first = np.searchsorted(running[1:], before - (-rank // BINS))
        first = np.minimum(first, b * size - 1)
        twice_middle = running[first] + running[first + 1] - 2 * before
        first += BINS * twice_middle < 2 * rank
        edges = np.hstack([row, np.clip(first, row, row + size), row + size])  # (b, BINS + 1)

        def per_bin(each: npt.NDArray[Any]) -> npt.NDArray[Any]:
            sums = np.add.reduceat(np.append(each, 0), edges[:, :-1].ravel()).reshape(b, BINS)
            return np.where(edges[:, 1:] > edges[:, :-1], sums, 0)

        n = np.diff(running[edges], axis=1)
        x = ratio(per_bin(self.counts * self.values), n)
        y = ratio(per_bin(self.positives), n)
        mean_x, mean_y = nanmean(x, axis=1), nanmean(y, axis=1)
        centred = np.where(n > 0, x - mean_x[:, None], 0.0)
        slope = ratio((centred * np.where(n > 0, y, 0.0)).sum(axis=1), (centred**2).sum(axis=1))
        undefined = (np.ptp(centred, axis=1) < metrics.LEAST_SPREAD) | (mean_y == 0) | (mean_y == 1)
        slope[undefined] = np.nan
        return np.stack([slope, mean_y - slope * mean_x])
