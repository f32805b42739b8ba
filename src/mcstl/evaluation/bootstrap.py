"""Intervals: whole items or people are drawn with replacement, never single annotations."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.evaluation.metrics import BINS
from mcstl.evaluation.rows import LEVEL, RESAMPLES, Rows, in_blocks, nanmean, ratio

#: Whole numbers, half as wide as usual where moving them is what takes time.
Counts = npt.NDArray[np.integer[Any]]
By = Literal["items", "annotators", "items and annotators"]
#: What a bootstrap yields of one method: per metric the values, those as observed first.
Values = dict[str, FloatArray]


class Draws:
    """How often each resample draws every cluster, the same for all runs."""

    def __init__(self, runs: Sequence[Rows], by: By, seed: int) -> None:
        factors = {
            "items": ["items"],
            "annotators": ["annotators"],
            "items and annotators": ["items", "annotators"],
        }[by]
        self.seed, self.sizes, self.levels = seed, list[int](), list[list[IntArray]]()
        self.units: list[IntArray] = []
        codes = []
        for name in factors:
            found, of_row = np.unique(
                np.concatenate([getattr(run, name) for run in runs]), return_inverse=True
            )
            self.sizes.append(len(found))
            codes.append(np.split(of_row, np.cumsum([len(run.items) for run in runs])[:-1]))
        for of_run in zip(*codes, strict=True):
            distinct, units = np.unique(np.stack(of_run), axis=1, return_inverse=True)
            self.units.append(units.ravel())
            self.levels.append(list(distinct))

    def weights(self, resamples: range, as_counts: bool = True) -> Iterator[Counts]:
        """Yield per run (b, U) counts (or signs); resample 0 is the data as they are."""
        of_factor = [np.ones((len(resamples), size), dtype=np.int32) for size in self.sizes]
        for i, resample in enumerate(resamples):
            if resample:
                random = np.random.default_rng([self.seed, resample])
                for size, weights in zip(self.sizes, of_factor, strict=True):
                    if as_counts:
                        weights[i] = np.bincount(random.integers(size, size=size), minlength=size)
                    else:
                        weights[i] = 2 * random.integers(2, size=size) - 1
        for levels in self.levels:
            taken = [np.take(w, level, axis=1) for w, level in zip(of_factor, levels, strict=True)]
            yield taken[0] if len(taken) == 1 else taken[0] * taken[1]


def bootstrap(
    methods: Mapping[str, Sequence[Rows]],
    by: By = "items",
    *,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Values]:
    """Draw clusters with replacement and return what `metrics.evaluate` gives, per method.

    A method has one `Rows` per seed of a study. Each value is (1 + resamples, ...), as
    `Reweighted` returns it, its first row the data as they are.

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
    fitted models; what differs between seeds is told by the sd over seeds.

    The draws of a resample depend on `seed` and its number alone.
    """
    runs = [run for seeds in methods.values() for run in seeds]
    draws = Draws(runs, by, seed)
    reweighted = [Reweighted(run, units) for run, units in zip(runs, draws.units, strict=True)]

    def block(resamples: range) -> list[Values]:
        return [each(own) for each, own in zip(reweighted, draws.weights(resamples), strict=True)]

    blocks = in_blocks(block, 1 + resamples, max(len(run.items) for run in runs))
    of_run = [
        {name: np.concatenate([found[i][name] for found in blocks]) for name in blocks[0][i]}
        for i in range(len(runs))
    ]
    found, start = {}, 0
    for method, seeds in methods.items():
        own = of_run[start : start + len(seeds)]
        found[method] = {
            name: nanmean(np.stack([each[name] for each in own]), axis=0) for name in own[0]
        }
        start += len(seeds)
    return found


def interval(values: FloatArray, name: str) -> tuple[FloatArray, FloatArray]:
    """Return the 95% intervals of one metric of a bootstrap, for each of its columns.

    The 2.5% and 97.5% quantiles of the resamples. A standard deviation over groups (a name that
    ends in ``_sd``) is larger in nearly every resample, since resampling adds noise to each group:
    there the quantiles are reflected about what was observed, and cut off at 0. NaN where more than
    one resample in twenty lacks the value.
    """
    observed, resampled = values[0], values[1:]
    lacking = np.isnan(resampled).mean(axis=0) > 1 - LEVEL
    tails = [(1 - LEVEL) / 2, (1 + LEVEL) / 2]
    low, high = np.nanquantile(np.where(lacking, 0.0, resampled), tails, axis=0)
    if name.endswith("_sd"):
        low, high = np.maximum(2 * observed - high, 0), np.maximum(2 * observed - low, 0)
    lacking = lacking | np.isnan(observed)
    return np.where(lacking, np.nan, low), np.where(lacking, np.nan, high)


class Reweighted:
    """`metrics.evaluate` of the same rows under many weights at once.

    Rows of one unit share their weight. Whole-number weights give what repeating the rows would
    give, deciles included: they are binned anew under every weight. Called with (b, U) weights of
    the units, it returns per metric (b,), per group ``group NAME`` (b, K), and ``line slope`` and
    ``line bias`` (b, K, L - 1); NaN where `evaluate` has none. Counts are left out.
    """

    def __init__(self, rows: Rows, units: IntArray) -> None:
        """`units` is (n,) codes 0 ... U - 1; every code has a row."""
        p, labels = np.asarray(rows.p, dtype=float), rows.labels
        self.score = "accuracy" if rows.task == "preference" else "auc"
        n_units = int(units.max()) + 1
        groups = [np.arange(len(p)), *(np.flatnonzero(inside) for inside in rows.members.T)]
        self.n_groups = len(groups) - 1

        # Means are ratios of sums, and sums over rows are sums over units: one matrix product.
        minority = rows.minority.astype(float)
        every = np.ones(len(p))
        columns = {
            **{name: (measure(p, labels), every) for name, measure in metrics.PER_ROW.items()},
            "one_minus_emd": (
                minority * (1 - metrics.emd(p, labels) / (p.shape[1] - 1)),
                minority,
            ),
        }
        if rows.task == "preference":
            columns["accuracy"] = (metrics.correct_rows(p[:, 1], labels), every)
        self.means = list(columns)
        self.sums = np.stack(
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
        self.n_levels = last = levels.shape[1]
        classes = [] if rows.task == "preference" else metrics.auc_classes(p)
        together = {last: last - 1}
        down, up = metrics.ranked(p[:, 0])[1], metrics.ranked(levels[:, 0])[1]
        if last > 1 and np.array_equal(down.max() - down, up):
            together[0] = 0
        ways: list[tuple[int | None, int | None]] = [(c, together.get(c)) for c in classes]
        paired = [t for _, t in ways]
        ways += [(None, t) for t in range(last) if t not in paired]
        self.rankings = []
        for c, t in ways:
            outcome = labels == c if t is None else labels > t
            values, codes = metrics.ranked(p[:, c] if t is None else levels[:, t])
            cells = [Cells.of(values, codes[g], units[g], outcome[g], n_units) for g in groups]
            self.rankings.append((c, t, cells))

    def __call__(self, weights: Counts) -> Values:
        """Return the metrics under each of the (b, U) weights."""
        b, per_group = len(weights), self.n_groups + 1
        sums = (weights.astype(float) @ self.sums).reshape(b, per_group, len(self.means), 2)
        means = ratio(sums[..., 0], sums[..., 1])
        found = {name: means[:, :, m] for m, name in enumerate(self.means)}
        aucs = np.full((len(self.rankings), b, per_group), np.nan)
        lines = np.full((2, self.n_levels, b, self.n_groups), np.nan)  # slopes and biases
        for i, (c, t, cells) in enumerate(self.rankings):
            for g, of_group in enumerate(cells):
                if c is None and not g:
                    continue  # `evaluate` draws no line through all rows
                drawn = of_group.drawn(weights)
                if c is not None:
                    aucs[i, :, g] = drawn.auc()
                if t is not None and g:
                    lines[:, t, :, g - 1] = drawn.line()
        if self.score == "auc":
            found["auc"] = nanmean(aucs, axis=0)
        slopes, biases = lines.transpose(0, 2, 3, 1)
        groups = {f"group {name}": each[:, 1:] for name, each in found.items()}
        found = {name: each[:, 0] for name, each in found.items()}
        over = {
            f"group_{self.score}": groups[f"group {self.score}"],
            "slope": slopes.reshape(b, -1),
            "bias": biases.reshape(b, -1),
        }
        for name, each in over.items():
            found[f"{name}_mean"] = mean = nanmean(each, axis=1)
            found[f"{name}_sd"] = np.sqrt(nanmean((each - mean[:, None]) ** 2, axis=1))
        return found | groups | {"line slope": slopes, "line bias": biases}


class Cells(NamedTuple):
    """Rows merged by prediction and unit, by rising prediction."""

    values: FloatArray  # (V,) distinct predictions
    units: IntArray  # (C,) unit of each cell
    starts: IntArray  # (V,) first cell of each prediction
    ups: Counts  # (C,) rows of the cell whose outcome is 1
    n: Counts  # (C,) rows of the cell

    @classmethod
    def of(
        cls, values: FloatArray, codes: IntArray, units: IntArray, up: BoolArray, n_units: int
    ) -> "Cells":
        """Merge rows given by the place of their prediction in `values`, unit, and outcome."""
        keys, cell = np.unique(codes * n_units + units, return_inverse=True)
        by_code, unit = np.divmod(keys, n_units)
        starts = np.flatnonzero(np.diff(by_code, prepend=-1))
        ups, n = (
            np.bincount(which, minlength=len(keys)).astype(np.int32) for which in (cell[up], cell)
        )
        return cls(values[by_code[starts]], unit, starts, ups, n)

    def merged(self, products: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(b, V) sums per prediction of (b, C) values per cell."""
        if len(self.starts) == len(self.units):
            return products
        return np.add.reduceat(products, self.starts, axis=1)

    def drawn(self, weights: Counts) -> "Drawn":
        """Return the cells as the (b, U) weights draw them."""
        taken = np.take(weights, self.units, axis=1)  # far faster than weights[:, self.units]
        ups = self.merged(taken * self.ups)
        counts = self.merged(taken if (self.n == 1).all() else taken * self.n)
        # One running count over all weights: it rises throughout, so that one search finds all.
        running = np.zeros(counts.size + 1, dtype=np.int64)
        np.cumsum(counts.ravel(), out=running[1:])
        return Drawn(self.values, counts, ups, running)


class Drawn(NamedTuple):
    """How often b weights draw each distinct prediction; whole numbers, so that sums are exact."""

    values: FloatArray  # (V,)
    counts: IntArray  # (b, V)
    ups: IntArray  # (b, V) of which the outcome is 1
    running: IntArray  # (1 + b * V,) sums of the counts before each and after the last

    def auc(self) -> FloatArray:
        """(b,) AUCs: `metrics.macro_auc` of one class, by the sum of the ranks of its rows."""
        b, size = self.counts.shape
        if not size:
            return np.full(b, np.nan)
        running, starts = self.running, self.running[::size]
        twice_middle = (running[:-1] + running[1:]).reshape(b, size)
        n_ups, total = self.ups.sum(axis=1), np.diff(starts)
        won = np.einsum("bv,bv->b", self.ups, twice_middle) - n_ups * (n_ups + 2 * starts[:-1])
        return ratio(won / 2, n_ups * (total - n_ups))

    def line(self) -> FloatArray:
        """(2, b) slopes and biases of `metrics.calibration_line`."""
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
        y = ratio(per_bin(self.ups), n)
        mean_x, mean_y = nanmean(x, axis=1), nanmean(y, axis=1)
        centred = np.where(n > 0, x - mean_x[:, None], 0.0)
        slope = ratio((centred * np.where(n > 0, y, 0.0)).sum(axis=1), (centred**2).sum(axis=1))
        slope[np.ptp(centred, axis=1) < metrics.LEAST_SPREAD] = np.nan
        return np.stack([slope, mean_y - slope * mean_x])
