"""Intervals, multicalibration and other people's metrics: what goes beyond the paper; no torch.

Annotations of one item share its difficulty, its wording and often its prediction, so they are not
independent. Everything here that speaks of chance therefore draws whole items (or whole people),
never single annotations: intervals by a bootstrap over clusters, the test of multicalibration by
random signs per item. How well both keep what they promise is measured by benchmarks/coverage.py
and told in docs/uncertainty.md.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt
from scipy.fft import dct, idct
from scipy.optimize import brentq
from scipy.special import ndtri
from scipy.stats import false_discovery_control

from mcstl import metrics
from mcstl.annotations import Task
from mcstl.errors import InputError, did_you_mean, listed
from mcstl.metrics import BINS, BoolArray, FloatArray, IntArray

By = Literal["items", "annotators", "items and annotators"]
#: What a bootstrap yields of one method: per metric the values, those as observed first.
Values = dict[str, FloatArray]

T = TypeVar("T")

LEVEL = 0.95
RESAMPLES = 1000
#: The smallest detectable error is one that the test finds this often.
POWER = 0.8
#: Numbers in one block of resamples: few enough to stay in a processor's cache.
_BLOCK = 1_000_000
#: Each thread holds a block or two in memory.
_MOST_THREADS = 4
#: Cells on [0, 1] of the smoothed calibration error.
_GRID = 1000


@dataclass(frozen=True)
class Rows:
    """Test rows of one run; `items` and `annotators` have the same codes in all runs compared."""

    p: FloatArray  # (n, L)
    labels: IntArray  # (n,) class indices
    members: BoolArray  # (n, K)
    minority: BoolArray  # (n,)
    items: IntArray  # (n,) codes, 0 or more
    annotators: IntArray  # (n,) codes, 0 or more; who is not known is a person of their own
    task: Task

    def __post_init__(self) -> None:
        p, n = np.asarray(self.p), len(self.p)
        lengths = {name: len(getattr(self, name)) for name in self.__dataclass_fields__ if n}
        lengths.pop("task", None)
        if wrong := [f"{name} has {size}" for name, size in lengths.items() if size != n]:
            raise InputError(f"there are {n} predictions, but {listed(wrong)} rows")
        check_probabilities(p)
        if n and not (self.labels.min() >= 0 and self.labels.max() < p.shape[1]):
            raise InputError(
                f"labels run from {self.labels.min()} to {self.labels.max()}; "
                f"expected 0 to {p.shape[1] - 1}"
            )


def check_probabilities(p: npt.ArrayLike) -> None:
    """Raise InputError unless `p` is (n, L) and each row holds probabilities that sum to 1."""
    p = np.asarray(p, dtype=float)
    if p.ndim != 2 or p.shape[1] < 2:
        raise InputError(f"probabilities have shape {p.shape}; expected (rows, classes)")
    for what, bad in (
        ("a probability that is not a number", ~np.isfinite(p).all(axis=1)),
        ("a probability below 0 or above 1", ((p < -1e-6) | (p > 1 + 1e-6)).any(axis=1)),
        ("probabilities that do not sum to 1", np.abs(p.sum(axis=1) - 1) > 1e-4),
    ):
        if bad.any():
            raise InputError(
                f"{int(bad.sum())} of {len(p)} predictions have {what}, "
                f"the first one {p[int(np.argmax(bad))].tolist()}"
            )


def membership(lists: Iterable[Sequence[str]], names: Sequence[str]) -> BoolArray:
    """Return (n, K) membership from one list of group names per row (predictions.parquet).

    Raises InputError for a group that is not in `names`.

    >>> membership([["b"], [], ["a", "b"]], ["a", "b"]).astype(int).tolist()
    [[0, 1], [0, 0], [1, 1]]
    """
    lists, place = list(lists), {name: k for k, name in enumerate(names)}
    flat = [name for row in lists for name in row]
    for name in flat:
        if name not in place:
            raise InputError(
                f"predictions name a group {name!r} that the results do not have; "
                f"found: {listed(names)}.{did_you_mean(name, names)}"
            )
    members = np.zeros((len(lists), len(names)), dtype=bool)
    rows = np.repeat(np.arange(len(lists)), [len(row) for row in lists])
    members[rows, [place[name] for name in flat]] = True
    return members


# --- the bootstrap ------------------------------------------------------------------------------


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
        columns = {
            "nll": (metrics.nll_rows(p, labels), np.ones(len(p))),
            "brier": (metrics.brier_rows(p, labels), np.ones(len(p))),
            "one_minus_emd": (
                minority * (1 - metrics.emd(p, labels) / (p.shape[1] - 1)),
                minority,
            ),
        }
        if rows.task == "preference":
            columns["accuracy"] = (metrics.correct_rows(p[:, 1], labels), np.ones(len(p)))
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

        # The last class ranks rows as the last threshold does, and then is computed with it.
        self.n_levels = last = p.shape[1] - 1
        classes = [] if rows.task == "preference" else metrics.auc_classes(p)
        ways: list[tuple[int | None, int | None]] = [(c, None) for c in classes if c != last]
        ways += [(None, t) for t in range(last - 1)]
        ways.append((last if classes else None, last - 1))
        self.rankings = []
        for c, t in ways:
            score = p[:, c] if t is None else metrics.exceedance(p)[:, t]
            outcome = labels == c if t is None else labels > t
            values, codes = metrics.ranked(score)
            cells = [_Cells.of(codes[g], units[g], outcome[g], n_units) for g in groups]
            self.rankings.append((c, t, values, cells))

    def __call__(self, weights: IntArray) -> Values:
        """Return the metrics under each of the (b, U) weights."""
        b, per_group = len(weights), self.n_groups + 1
        sums = (weights.astype(float) @ self.sums).reshape(b, per_group, len(self.means), 2)
        means = _ratio(sums[..., 0], sums[..., 1])
        found = {name: means[:, :, m] for m, name in enumerate(self.means)}
        aucs = np.full((len(self.rankings), b, per_group), np.nan)
        lines = np.full((2, self.n_levels, b, self.n_groups), np.nan)  # slopes and biases
        for i, (c, t, values, cells) in enumerate(self.rankings):
            for g, each in enumerate(cells):
                drawn = each.drawn(weights)
                if c is not None:
                    aucs[i, :, g] = drawn.auc()
                if t is not None and g:
                    lines[:, t, :, g - 1] = drawn.line(values)
        if self.score == "auc":
            found["auc"] = _nanmean(aucs, axis=0)
        slopes, biases = lines.transpose(0, 2, 3, 1)
        groups = {f"group {name}": each[:, 1:] for name, each in found.items()}
        found = {name: each[:, 0] for name, each in found.items()}
        over = {
            f"group_{self.score}": groups[f"group {self.score}"],
            "slope": slopes.reshape(b, -1),
            "bias": biases.reshape(b, -1),
        }
        for name, each in over.items():
            found[f"{name}_mean"] = mean = _nanmean(each, axis=1)
            found[f"{name}_sd"] = np.sqrt(_nanmean((each - mean[:, None]) ** 2, axis=1))
        return found | groups | {"line slope": slopes, "line bias": biases}


class _Cells(NamedTuple):
    """Rows merged by prediction and unit, by rising prediction."""

    codes: IntArray  # (V,) of the distinct predictions
    units: IntArray  # (C,) unit of each cell
    starts: IntArray  # (V,) first cell of each prediction
    ups: IntArray  # (C,) rows of the cell whose outcome is 1
    n: IntArray  # (C,) rows of the cell

    @classmethod
    def of(cls, codes: IntArray, units: IntArray, up: BoolArray, n_units: int) -> "_Cells":
        keys, cell = np.unique(codes * n_units + units, return_inverse=True)
        by_code, unit = np.divmod(keys, n_units)
        starts = np.flatnonzero(np.diff(by_code, prepend=-1))
        ups = np.bincount(cell[up], minlength=len(keys))
        return cls(by_code[starts], unit, starts, ups, np.bincount(cell, minlength=len(keys)))

    def merged(self, products: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """(b, V) sums per prediction of (b, C) values per cell."""
        if len(self.starts) == len(self.units):
            return products
        return np.add.reduceat(products, self.starts, axis=1)

    def drawn(self, weights: IntArray) -> "_Drawn":
        """Return the cells as the (b, U) weights draw them."""
        taken = np.take(weights, self.units, axis=1)  # far faster than weights[:, self.units]
        ups = self.merged(taken * self.ups)
        counts = self.merged(taken if (self.n == 1).all() else taken * self.n)
        # One running count over all weights: it rises throughout, so that one search finds all.
        return _Drawn(self.codes, counts, ups, np.cumsum(counts.ravel()))


class _Drawn(NamedTuple):
    """How often b weights draw each distinct prediction; whole numbers, so that sums are exact."""

    codes: IntArray  # (V,)
    counts: IntArray  # (b, V)
    ups: IntArray  # (b, V) of which the outcome is 1
    running: IntArray  # (b * V,) sums of the counts so far

    def before(self) -> IntArray:
        """(b, 1) running count at which each weight's own begins."""
        size = self.counts.shape[1]
        return np.append(0, self.running[size - 1 : -1 : size])[:, None]

    def auc(self) -> FloatArray:
        """(b,) AUCs: `metrics.macro_auc` of one class, by the sum of the ranks of its rows."""
        b, size = self.counts.shape
        if not size:
            return np.full(b, np.nan)
        twice_middle = self.running.reshape(b, size) * 2
        twice_middle -= self.counts
        n_ups, total = self.ups.sum(axis=1), self.counts.sum(axis=1)
        won = np.einsum("bv,bv->b", self.ups, twice_middle) - n_ups * (
            n_ups + 2 * self.before()[:, 0]
        )
        return _ratio(won / 2, n_ups * (total - n_ups))

    def line(self, values: FloatArray) -> FloatArray:
        """(2, b) slopes and biases of `metrics.calibration_line`; `values` are all predictions."""
        b, size = self.counts.shape
        if not size:
            return np.full((2, b), np.nan)
        running, before = self.running, self.before()
        total = running[size - 1 :: size, None] - before
        # A bin begins at the first prediction whose middle rank is in it: the one that reaches the
        # bin's rank, or the next.
        rank = total * np.arange(1, BINS)
        first = np.searchsorted(running, before - (-rank // BINS))
        first = np.minimum(first, b * size - 1)
        twice_middle = 2 * (running[first] - before) - self.counts.ravel()[first]
        first += BINS * twice_middle < 2 * rank
        row = size * np.arange(b)[:, None]
        edges = np.hstack([row, np.clip(first, row, row + size), row + size])  # (b, BINS + 1)

        def per_bin(each: npt.NDArray[Any]) -> npt.NDArray[Any]:
            sums = np.add.reduceat(np.append(each, 0), edges[:, :-1].ravel()).reshape(b, BINS)
            return np.where(edges[:, 1:] > edges[:, :-1], sums, 0)

        n = np.diff(np.where(edges > 0, running[edges - 1], 0), axis=1)
        x = _ratio(per_bin(self.counts * values[self.codes]), n)
        y = _ratio(per_bin(self.ups), n)
        mean_x, mean_y = _nanmean(x, axis=1), _nanmean(y, axis=1)
        centred = np.where(n > 0, x - mean_x[:, None], 0.0)
        slope = _ratio((centred * np.where(n > 0, y, 0.0)).sum(axis=1), (centred**2).sum(axis=1))
        slope[np.ptp(centred, axis=1) < metrics.LEAST_SPREAD] = np.nan
        return np.stack([slope, mean_y - slope * mean_x])


class _Draws:
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

    def weights(self, resamples: range, as_counts: bool = True) -> list[IntArray]:
        """Return per run (b, U) counts (or signs); resample 0 is the data as they are."""
        of_factor = [np.ones((len(resamples), size), dtype=np.int64) for size in self.sizes]
        for i, resample in enumerate(resamples):
            if resample:
                random = np.random.default_rng([self.seed, resample])
                for size, weights in zip(self.sizes, of_factor, strict=True):
                    if as_counts:
                        weights[i] = np.bincount(random.integers(size, size=size), minlength=size)
                    else:
                        weights[i] = 2 * random.integers(2, size=size) - 1
        found = []
        for levels in self.levels:
            taken = [np.take(w, level, axis=1) for w, level in zip(of_factor, levels, strict=True)]
            found.append(taken[0] if len(taken) == 1 else taken[0] * taken[1])
        return found


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
    draws = _Draws(runs, by, seed)
    # Methods of one seed have the same rows, and share what is drawn.
    reweighted = [Reweighted(run, units) for run, units in zip(runs, draws.units, strict=True)]

    def block(resamples: range) -> list[Values]:
        weights = draws.weights(resamples)
        return [each(own) for each, own in zip(reweighted, weights, strict=True)]

    blocks = _in_blocks(block, 1 + resamples, max(len(run.items) for run in runs))
    of_run = [
        {name: np.concatenate([found[i][name] for found in blocks]) for name in blocks[0][i]}
        for i in range(len(runs))
    ]
    found, start = {}, 0
    for method, seeds in methods.items():
        own = of_run[start : start + len(seeds)]
        found[method] = {
            name: _nanmean(np.stack([each[name] for each in own]), axis=0) for name in own[0]
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


def differences(a: Values, b: Values) -> dict[str, dict[str, float]]:
    """Return per metric mean, low and high of A - B over the same resamples."""
    found = {}
    for name in a:
        if a[name].ndim == 1 and name in b:
            gaps = a[name] - b[name]
            low, high = interval(gaps, "")
            found[name] = {"mean": float(gaps[0]), "low": float(low), "high": float(high)}
    return found


# --- calibration of one group -------------------------------------------------------------------


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
    centre = _nanmean(_ratio(predicted, n), axis=0)[here]
    half = ndtri((1 + LEVEL) / 2) * np.sqrt((pull**2).sum(axis=1)[here]) / seeds_with[here]
    return Reliability(
        here,
        centre,
        _nanmean(_ratio(observed, n), axis=0)[here],
        np.maximum(centre - half, 0),
        np.minimum(centre + half, 1),
        n.sum(axis=0)[here] / seeds_with[here],
    )


# --- multicalibration ---------------------------------------------------------------------------


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
        return _ratio(self.ecce, self.sigma)

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
    signs = _Draws(seeds, "items", seed)
    n_levels = seeds[0].p.shape[1] - 1
    shape = (len(seeds), 1 + seeds[0].members.shape[1], n_levels)
    sigma, independent = np.full(shape, np.nan), np.full(shape, np.nan)
    paths: list[tuple[tuple[int, int, int], _Cells, FloatArray]] = []
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
                    cells = _Cells.of(codes[rows], units[rows], up, n_units)
                    of_cell = np.repeat(
                        values[cells.codes], np.diff(cells.starts, append=len(cells.units))
                    )
                    paths.append(((s, g, t), cells, (cells.ups - cells.n * of_cell) / len(rows)))

    def block(resamples: range) -> FloatArray:
        drawn, errors = (
            signs.weights(resamples, as_counts=False),
            np.full((len(resamples), *shape), np.nan),
        )
        for (s, g, t), cells, residuals in paths:
            steps = cells.merged(np.take(drawn[s], cells.units, axis=1) * residuals)
            path = np.cumsum(steps, axis=1)
            highest, lowest = path.max(axis=1), path.min(axis=1)
            errors[:, s, g, t] = np.maximum(highest, 0) - np.minimum(lowest, 0)
        return _nanmean(errors, axis=1)

    errors = np.concatenate(_in_blocks(block, 1 + draws, max(len(run.items) for run in seeds)))
    noise = _nanmean(sigma, axis=0)
    scaled = _ratio(errors, noise)  # (1 + draws, G, T)
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
        _nanmean(independent, axis=0),
        p,
        chance(largest[:, None, None]),
        discovery,
        np.where(there, (critical + ndtri(POWER)) * noise, np.nan),
    )


# --- other people's metrics ---------------------------------------------------------------------


def soft_label_scores(
    p: npt.ArrayLike, labels: npt.ArrayLike, items: npt.ArrayLike
) -> dict[str, float]:
    """Return how far predicted label shares are from those given, as means over items (LeWiDi).

    ``manhattan`` (0 to 2) and ``wasserstein`` (in classes; for ordered ones) of the 2025 edition
    of Learning with Disagreements, ``cross_entropy`` (nats) of the earlier ones. An item's
    predicted shares are the mean over its rows. In preference, turn every row as its item is first.

    >>> soft_label_scores([[0.75, 0.25], [0.75, 0.25]], [0, 1], [0, 0])["manhattan"]
    0.5
    """
    p, given, counts = _by_item(p, labels, items)
    predicted = p / counts[:, None]
    shares = given / counts[:, None]
    gaps = predicted - shares
    logs = np.log(np.maximum(predicted, metrics.EPSILON))
    return {
        "manhattan": float(np.abs(gaps).sum(axis=1).mean()),
        "cross_entropy": float(-(shares * logs).sum(axis=1).mean()),
        "wasserstein": float(np.abs(np.cumsum(gaps, axis=1)[:, :-1]).sum(axis=1).mean()),
    }


def personal_scores(rows: Rows) -> dict[str, float]:
    """Return how often the most probable label is the one given, as means over rows, users, ....

    ``accuracy`` over rows; ``accuracy_users``, ``_texts`` and ``_traits`` are means over
    annotators, items and groups of their own accuracy (the levels of PersEval; Lo et al. 2025);
    1 - ``accuracy_texts`` is LeWiDi's error rate, and ``distance_texts`` its normalised absolute
    distance for ordered labels (0 to 1).
    """
    guess = np.argmax(rows.p, axis=1)
    right = (guess == rows.labels).astype(float)
    far = np.abs(guess - rows.labels) / (rows.p.shape[1] - 1)
    inside, n = rows.members.astype(float), rows.members.sum(axis=0)
    traits = _ratio(inside.T @ right, n.astype(float))
    return {
        "accuracy": float(right.mean()),
        "accuracy_users": _macro(right, rows.annotators),
        "accuracy_texts": _macro(right, rows.items),
        "accuracy_traits": float(_nanmean(traits, axis=0)),
        "distance_texts": _macro(far, rows.items),
    }


def error_rates(
    p: npt.ArrayLike, labels: npt.ArrayLike, members: npt.ArrayLike
) -> dict[str, FloatArray]:
    """Return (K, T) false positive and negative rates of deciding at one half, per threshold.

    Positive is a label above class t. What the paper's limitations name as fairness measures: the
    gap is the largest rate of a group minus the smallest. NaN for a group without such labels.

    >>> error_rates([[0.2, 0.8], [0.6, 0.4]], [0, 1], [[1], [1]])["false_positive"]
    array([[1.]])
    """
    above = metrics.exceedance(p) >= 0.5  # (n, T)
    truth = np.asarray(labels)[:, None] > np.arange(above.shape[1])
    inside = np.asarray(members, dtype=float).T  # (K, n)
    return {
        "false_positive": _ratio(inside @ (above & ~truth), inside @ ~truth),
        "false_negative": _ratio(inside @ (~above & truth), inside @ truth),
    }


def krippendorff_alpha(
    labels: npt.ArrayLike,
    items: npt.ArrayLike,
    level: Literal["nominal", "ordinal", "interval"] = "nominal",
) -> float:
    """Return Krippendorff's alpha of (n,) labels: 1 is agreement, 0 what chance would give.

    `level` says how far classes are apart. Items with one label do not count; NaN if none is left
    or all labels are the same (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability").

    >>> krippendorff_alpha([0, 0, 1, 1], [0, 0, 1, 1])
    1.0
    """
    labels = np.asarray(labels, dtype=np.int64)
    _, counts, sizes = _by_item(np.zeros((len(labels), 0)), labels, items)
    counts, sizes = counts[sizes > 1], sizes[sizes > 1]
    # How often two labels meet in one item, each item counted as often as it has labels.
    met = counts.T @ (counts / (sizes - 1)[:, None]) - np.diag(
        (counts / (sizes - 1)[:, None]).sum(0)
    )
    n = counts.sum(axis=0)
    places = np.arange(len(n), dtype=float)
    if level == "nominal":
        apart = (places[:, None] != places).astype(float)
    else:
        middle = np.cumsum(n) - n / 2 if level == "ordinal" else places
        apart = (middle[:, None] - middle) ** 2
    by_chance = (np.outer(n, n) * apart).sum()
    if by_chance == 0:
        return float("nan")
    return float(1 - (n.sum() - 1) * (met * apart).sum() / by_chance)


def label_entropy(labels: npt.ArrayLike, items: npt.ArrayLike, n_classes: int) -> float:
    """Return the mean over items of their labels' entropy, from 0 (all alike) to 1 (even).

    >>> label_entropy([0, 1, 1, 1], [0, 0, 1, 1], 2)
    0.5
    """
    labels = np.asarray(labels, dtype=np.int64)
    _, counts, sizes = _by_item(np.zeros((len(labels), 0)), labels, items)
    shares = counts / sizes[:, None]
    logs = np.log(np.where(shares > 0, shares, 1.0))
    return float(np.abs((shares * logs).sum(axis=1)).mean() / np.log(n_classes))


# --- small things -------------------------------------------------------------------------------


def _in_blocks(block: Callable[[range], T], n: int, n_rows: int) -> list[T]:
    """Compute resamples 0 ... n - 1 in blocks, on a few threads."""
    size = max(1, min(n, _BLOCK // max(n_rows, 1)))
    ranges = [range(start, min(start + size, n)) for start in range(0, n, size)]
    if len(ranges) == 1:
        return [block(ranges[0])]
    with ThreadPoolExecutor(min(os.cpu_count() or 1, _MOST_THREADS)) as pool:
        return list(pool.map(block, ranges))


def _by_item(
    p: npt.ArrayLike, labels: npt.ArrayLike, items: npt.ArrayLike
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """(I, L) sums of `p`, (I, L) counts of labels and (I,) counts of rows, per item."""
    p, labels = np.asarray(p, dtype=float), np.asarray(labels, dtype=np.int64)
    codes = np.unique(np.asarray(items), return_inverse=True)[1]
    n_items, n_classes = int(codes.max()) + 1, max(p.shape[1], int(labels.max()) + 1)
    sums = np.zeros((n_items, p.shape[1]))
    np.add.at(sums, codes, p)
    counts = np.bincount(codes * n_classes + labels, minlength=n_items * n_classes)
    given = counts.reshape(n_items, n_classes).astype(float)
    return sums, given, given.sum(axis=1)


def _macro(values: FloatArray, codes: IntArray) -> float:
    """Mean over codes of the mean of their values."""
    of_row = np.unique(codes, return_inverse=True)[1]
    return float((np.bincount(of_row, weights=values) / np.bincount(of_row)).mean())


def _ratio(a: npt.NDArray[Any], b: npt.NDArray[Any]) -> FloatArray:
    """`a` / `b`, NaN where `b` is 0."""
    found: FloatArray = np.full(np.broadcast_shapes(np.shape(a), np.shape(b)), np.nan)
    np.divide(a, b, out=found, where=np.broadcast_to(np.asarray(b) != 0, found.shape))
    return found


def _nanmean(values: FloatArray, axis: int) -> FloatArray:
    """Mean of those that are numbers, NaN where none is."""
    there = ~np.isnan(values)
    return _ratio(np.where(there, values, 0.0).sum(axis=axis), there.sum(axis=axis))
