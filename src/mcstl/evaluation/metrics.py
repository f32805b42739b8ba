"""The paper's metrics (§3.2 and A.6), their summary over seeds and their table; no torch.

Everywhere `p` is (n, L) class probabilities, `labels` (n,) class indices, and a value that does
not exist is NaN in the functions and None in what `evaluate` and `summarise` return (JSON).
All are exact under ties: rows with equal predictions count as equal, whatever their order.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.data.labels import Task

Run = Mapping[str, Any]
Summary = dict[str, dict[str, dict[str, Any]]]

#: Probabilities are clipped to this in `nll`: about what 32-bit floats resolve below 1, so that no
#: method wins or loses by the precision in which it stores its predictions.
EPSILON = 1e-7
#: The paper bins by deciles.
BINS = 10
#: Bin means closer together than this differ by rounding, and a line through them means nothing.
LEAST_SPREAD = 1e-6


def macro_auc(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean over classes of the one-vs-rest AUC (§3.2); equal predictions count half.

    A class that is absent, or the only one, has no AUC and is left out of the mean; NaN if none is
    left. With two classes both AUCs are the same, and that of class 1 is taken.

    >>> macro_auc([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]], [0, 0, 1])
    0.75
    """
    p, labels = _arrays(p, labels)
    return _macro_auc([ranked(p[:, c])[1] for c in auc_classes(p)], auc_classes(p), labels)


def pairwise_accuracy(p_a: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the share of pairs whose preferred text has the higher score (§3.2).

    `p_a` is (n,) P(A preferred) and a label of 1 means that A is; p = 0.5 counts half.

    >>> pairwise_accuracy([0.8, 0.5, 0.4], [1, 1, 1])
    0.5
    """
    return _mean(correct_rows(np.asarray(p_a, dtype=np.float64), np.asarray(labels)))


def nll(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean negative log-likelihood in nats, probabilities clipped at `EPSILON`."""
    return _mean(nll_rows(*_arrays(p, labels)))


def brier(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return the mean squared distance to the one-hot label, summed over classes (0 to 2)."""
    return _mean(brier_rows(*_arrays(p, labels)))


def emd(p: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Return (n,) earth mover's distances to the one-hot label, in [0, L - 1] (A.6).

    >>> emd([[0.2, 0.5, 0.3]], [1]), emd([[0.7, 0.3]], [1])
    (array([0.5]), array([0.7]))
    """
    p, labels = _arrays(p, labels)
    one_hot = np.arange(p.shape[1]) == labels[:, None]
    distance: FloatArray = np.abs(np.cumsum(p - one_hot, axis=1)[:, :-1]).sum(axis=1)
    return distance


def one_minus_emd(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Return 1 - mean EMD / (L - 1) over the rows given, which the paper's are minority rows (A.6).

    >>> one_minus_emd([[0.2, 0.5, 0.3]], [1])
    0.75
    """
    largest = np.shape(p)[1] - 1
    return float(1 - _mean(emd(p, labels)) / largest)


class Curve(NamedTuple):
    """Points of a calibration plot, one per bin that is not empty, by rising prediction."""

    bin: IntArray  # which decile, 0 to 9
    predicted: FloatArray  # mean prediction
    observed: FloatArray  # mean outcome
    n: IntArray  # rows


def calibration_curve(p: npt.ArrayLike, y: npt.ArrayLike) -> Curve:
    """Bin (n,) probabilities `p` of a 0/1 outcome `y` by deciles (§3.2).

    Equal predictions stay together: all go to the decile of their middle rank, so the result does
    not depend on the order of rows, and fewer distinct predictions give fewer bins.

    >>> calibration_curve([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 0]).observed
    array([0. , 0.5])
    """
    values, codes = ranked(np.asarray(p, dtype=float))
    return _curve(values, codes, np.asarray(y, dtype=float))


def calibration_line(p: npt.ArrayLike, y: npt.ArrayLike) -> tuple[float, float]:
    """Return slope and bias of the unweighted line through the bins of `calibration_curve` (§3.2).

    Calibrated predictions have slope 1 and bias 0. NaN, NaN if there are fewer than two bins.
    """
    return _line(calibration_curve(p, y))


def exceedance(p: npt.ArrayLike) -> FloatArray:
    """Return (n, L - 1) probabilities that the label is above class t, for t = 0 ... L - 2.

    These are the paper's levels: P(y^(1) = 1), P(y^(2) = 1), ...; with two classes P(class 1).
    """
    tail: FloatArray = np.cumsum(np.asarray(p, dtype=float)[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return tail


def evaluate(
    p: npt.ArrayLike,
    labels: npt.ArrayLike,
    members: npt.ArrayLike,
    minority: npt.ArrayLike,
    task: Task,
    names: Sequence[str],
) -> dict[str, Any]:
    """Return `metrics` and `groups` of one run, as in results.json (§3.2; DESIGN: Contracts).

    `members` (n, K) says which rows are in which group of `names`, `minority` (n,) which differ
    from their item's majority. Group means and population sds run over the groups that have the
    value, those of slope and bias over groups and thresholds; how many have none is counted in
    ``groups_without_auc`` (or ``_accuracy``) and ``lines_without_slope``. In `groups` the
    threshold t is about the label being above class t.

    Raises InputError if there are no rows or a probability is not a number.

    >>> run = evaluate([[0.75, 0.25], [0.25, 0.75]], [0, 1], [[1], [1]], [0, 0], "binary", ["all"])
    >>> run["metrics"]["auc"], run["groups"][0]["thresholds"]
    (1.0, [{'threshold': 0, 'slope': 2.0, 'bias': -0.5, 'n_bins': 2}])
    """
    p, labels = _arrays(p, labels)
    inside = np.asarray(members, dtype=bool)
    minority = np.asarray(minority, dtype=bool)
    if not len(p):
        raise InputError("there are no rows to evaluate")
    if bad := int((~np.isfinite(p)).any(axis=1).sum()):
        raise InputError(f"{bad} of {len(p)} predictions have a probability that is not a number")
    score = "accuracy" if task == "preference" else "auc"
    per_row = {name: measure(p, labels) for name, measure in PER_ROW.items()}
    if task == "preference":
        per_row["accuracy"] = correct_rows(p[:, 1], labels)
    distances = emd(p, labels) / (p.shape[1] - 1)
    classes = auc_classes(p)
    class_codes = [] if task == "preference" else [ranked(p[:, c])[1] for c in classes]
    levels = [ranked(level) for level in exceedance(p).T]

    def of_rows(rows: IntArray | slice) -> dict[str, Any]:
        values: dict[str, Any] = {name: _mean(each[rows]) for name, each in per_row.items()}
        if task != "preference":
            values["auc"] = _macro_auc(
                [codes[rows] for codes in class_codes], classes, labels[rows]
            )
        values["one_minus_emd"] = 1 - _mean(distances[rows][minority[rows]])
        values["n_minority"] = int(minority[rows].sum())
        return {score: values[score], **values}

    groups: list[dict[str, Any]] = []
    for k, name in enumerate(names):
        rows = np.flatnonzero(inside[:, k])
        curves = [
            _curve(values, codes[rows], (labels[rows] > t).astype(float))
            for t, (values, codes) in enumerate(levels)
        ]
        thresholds = [
            {"threshold": t, "slope": line[0], "bias": line[1], "n_bins": len(curve.bin)}
            for t, (curve, line) in enumerate(zip(curves, map(_line, curves), strict=True))
        ]
        groups.append({"group": name, "n": len(rows), **of_rows(rows), "thresholds": thresholds})

    scores = np.array([group[score] for group in groups], dtype=float)
    lines = [line for group in groups for line in group["thresholds"]]
    slopes = np.array([line["slope"] for line in lines], dtype=float)
    biases = np.array([line["bias"] for line in lines], dtype=float)
    metrics = of_rows(slice(None))
    for name, each in ((f"group_{score}", scores), ("slope", slopes), ("bias", biases)):
        found = each[~np.isnan(each)]
        metrics[f"{name}_mean"] = _mean(found)
        metrics[f"{name}_sd"] = float(found.std()) if len(found) else np.nan
    metrics[f"groups_without_{score}"] = int(np.isnan(scores).sum())
    metrics["lines_without_slope"] = int(np.isnan(slopes).sum())
    result: dict[str, Any] = jsonable({"metrics": metrics, "groups": groups})
    return result


def summarise(runs: Iterable[Run]) -> Summary:
    """Return per method and metric the mean over seeds, sd (ddof 1) and 95% t interval.

    A seed without the value is left out. With one seed there is no sd and no interval: None.

    >>> runs = [{"method": "none", "seed": s, "metrics": {"auc": 0.7 + s / 10}} for s in (0, 1)]
    >>> summarise(runs)["none"]["auc"]["mean"]
    0.75
    """
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        of_method = values.setdefault(run["method"], {})
        for metric, value in run["metrics"].items():
            of_metric = of_method.setdefault(metric, [])
            if value is not None:
                of_metric.append(value)
    return {
        method: {metric: _interval(found) for metric, found in metrics.items()}
        for method, metrics in values.items()
    }


def paired(runs: Sequence[Run], method_a: str, method_b: str) -> dict[str, dict[str, Any]]:
    """Return per metric the summary of the differences A - B over the seeds that both have.

    Raises InputError for a method without runs.
    """
    a, b = _by_seed(runs, method_a), _by_seed(runs, method_b)
    seeds = [seed for seed in a if seed in b]
    differences: dict[str, list[float]] = {}
    for seed in seeds:
        for metric in [metric for metric in a[seed] if metric in b[seed]]:
            left, right = a[seed][metric], b[seed][metric]
            of_metric = differences.setdefault(metric, [])
            if left is not None and right is not None:
                of_metric.append(left - right)
    return {metric: _interval(found) for metric, found in differences.items()}


def summarise_groups(runs: Sequence[Run], method: str) -> list[dict[str, Any]]:
    """Return per group the means over seeds of its metrics; slope and bias also over thresholds.

    Raises InputError for a method without runs.
    """
    _by_seed(runs, method)
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if run["method"] == method:
            for group in run["groups"]:
                of_group = values.setdefault(group["group"], {})
                for key, value in group.items():
                    if key not in ("group", "thresholds"):
                        of_group.setdefault(key, []).append(_nan(value))
                for key in ("slope", "bias"):
                    of_group.setdefault(key, []).extend(_nan(t[key]) for t in group["thresholds"])
    means = [
        {"group": name, **{key: _mean_of_numbers(found) for key, found in keys.items()}}
        for name, keys in values.items()
    ]
    rows: list[dict[str, Any]] = jsonable(means)
    return rows


class Column(NamedTuple):
    """A column of the paper's Table 1: what its cells are, and what is best."""

    metric: str  # whose mean over seeds is printed
    title: str
    over: str  # what the printed sd runs over: "seeds", "groups" or "groups and thresholds"
    sd_metric: str  # whose mean over seeds is that sd; "" for the sd over seeds itself
    best: Literal["highest", "lowest", "nearest 1", "nearest 0"]


class Cell(NamedTuple):
    """A cell of the table; `mark` is "best" or "tied" as told by paired differences, or ""."""

    mean: float | None
    sd: float | None
    mark: str
    low: float | None = None  # 95% interval, over what the summary's `interval` says
    high: float | None = None

    @property
    def text(self) -> str:
        """``0.895 ± 0.004``, without the sd where there is none, or ``-``."""
        return rounded(self.mean) + ("" if self.sd is None else f" ± {rounded(self.sd)}")


class Table(NamedTuple):
    """The columns and, per method, its cells."""

    columns: list[Column]
    rows: list[tuple[str, list[Cell]]]


def table(summary: Summary, runs: Sequence[Run]) -> Table:
    """Return the rows and columns of the paper's Table 1, with NLL added, for any renderer.

    The sd of group columns runs over groups (mean over seeds), the others' over seeds; each column
    says which. A cell is "best" if its method's paired difference over seeds from every other
    method has a 95% t interval without 0, else the best and all that it does not beat are "tied";
    where the summary has marks, from resampled items, they are taken instead. Slope counts by its
    distance from 1, bias from 0. Nothing is marked with one seed (unless resampled) or one method.
    """
    score = "accuracy" if any("accuracy" in metrics for metrics in summary.values()) else "auc"
    shown = columns(score)
    audited = any("mark" in value for found in summary.values() for value in found.values())
    marks = [{} if audited else _marks(runs, column, list(summary)) for column in shown]
    rows = []
    for method, metrics in summary.items():
        cells = []
        for column, mark in zip(shown, marks, strict=True):
            value = metrics[column.metric]
            sd = metrics[column.sd_metric]["mean"] if column.sd_metric else value["sd"]
            told = value.get("mark", "") if audited else mark.get(method, "")
            cells.append(Cell(value["mean"], sd, told, value["low"], value["high"]))
        rows.append((method, cells))
    return Table(shown, rows)


def columns(score: str) -> list[Column]:
    """Return the columns of `table`, whose first is the `score`: "auc" or "accuracy"."""
    title = "AUC" if score == "auc" else "Accuracy"
    lines = "groups and thresholds"
    return [
        Column(score, title, "seeds", "", "highest"),
        Column("nll", "NLL", "seeds", "", "lowest"),
        Column(
            f"group_{score}_mean",
            f"Group {title if score == 'auc' else title.lower()}",
            "groups",
            f"group_{score}_sd",
            "highest",
        ),
        Column("slope_mean", "Slope", lines, "slope_sd", "nearest 1"),
        Column("bias_mean", "Bias", lines, "bias_sd", "nearest 0"),
        Column("one_minus_emd", "1-EMD", "seeds", "", "highest"),
    ]


def rounded(value: float | None, digits: int = 3) -> str:
    """Return a number for a table, ``-`` for None and never ``-0.000``.

    >>> rounded(0.8951), rounded(-0.0001), rounded(None)
    ('0.895', '0.000', '-')
    """
    return "-" if value is None else f"{round(value, digits) + 0.0:.{digits}f}"


def group_means(
    values: npt.ArrayLike, items: npt.ArrayLike, members: npt.ArrayLike, n_items: int
) -> tuple[FloatArray, IntArray]:
    """Return (I, K) means of the (n,) `values` per item and group, NaN where none, and the counts.

    `items` is (n,) codes 0 ... I - 1 of the I = `n_items`, `members` (n, K) as in `evaluate`.
    """
    values, items = np.asarray(values, dtype=float), np.asarray(items, dtype=np.int64)
    inside = np.asarray(members, dtype=bool)
    shape = (n_items, inside.shape[1])
    sums, counts = np.zeros(shape), np.zeros(shape, dtype=np.int64)
    for k in range(shape[1]):
        rows = inside[:, k]
        sums[:, k] = np.bincount(items[rows], weights=values[rows], minlength=n_items)
        counts[:, k] = np.bincount(items[rows], minlength=n_items)
    return np.where(counts > 0, sums / np.maximum(counts, 1), np.nan), counts


class Gap(NamedTuple):
    """How far apart two groups are on the items that both have."""

    a: int
    b: int
    mean: float
    by_item: FloatArray  # (I,), NaN where one has none


def pair_gaps(means: npt.ArrayLike, least_items: int = 10) -> list[Gap]:
    """Return the pairs of groups by falling mean absolute gap between their means.

    `means` is (S, I, K), those of `group_means` for each of S seeds: a gap is taken within a seed
    and then averaged over seeds, since two seeds' models differ without any group's doing. Pairs
    that share fewer than `least_items` items are left out: their gap would be chance.
    """
    means = np.asarray(means, dtype=float)
    pairs = []
    for a in range(means.shape[2]):
        for b in range(a + 1, means.shape[2]):
            gaps = np.abs(means[:, :, a] - means[:, :, b])
            n_seeds = (~np.isnan(gaps)).sum(axis=0)
            shared = n_seeds > 0
            if shared.sum() >= max(least_items, 1):
                by_item = np.where(shared, np.nansum(gaps, axis=0) / np.maximum(n_seeds, 1), np.nan)
                pairs.append(Gap(a, b, float(by_item[shared].mean()), by_item))
    return sorted(pairs, key=lambda pair: -pair.mean)


def _arrays(p: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, IntArray]:
    return np.asarray(p, dtype=np.float64), np.asarray(labels, dtype=np.int64)


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def nll_rows(p: FloatArray, labels: IntArray) -> FloatArray:
    """Return (n,) negative log-likelihoods, whose mean is `nll`."""
    chosen = p[np.arange(len(p)), labels]
    rows: FloatArray = -np.log(np.maximum(chosen, EPSILON))
    return rows


def brier_rows(p: FloatArray, labels: IntArray) -> FloatArray:
    """Return (n,) squared distances, whose mean is `brier`."""
    one_hot = np.arange(p.shape[1]) == labels[:, None]
    rows: FloatArray = np.square(p - one_hot).sum(axis=1)
    return rows


#: What is measured of each annotation, from (n, L) probabilities and (n,) labels; its mean is a
#: metric of results.json, over all annotations and over each group's, with intervals.
PER_ROW: dict[str, Callable[[FloatArray, IntArray], FloatArray]] = {
    "nll": nll_rows,
    "brier": brier_rows,
}


def correct_rows(p_a: FloatArray, labels: npt.NDArray[Any]) -> FloatArray:
    """Return (n,) ones, zeros and halves, whose mean is `pairwise_accuracy`."""
    right: FloatArray = 0.5 + 0.5 * np.sign(p_a - 0.5) * np.where(labels == 1, 1.0, -1.0)
    return right


def ranked(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """Return the distinct values, rising, and (n,) positions among them: sorted once for all."""
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct, codes.astype(np.int64)


def auc_classes(p: FloatArray) -> list[int]:
    """Return the classes whose AUCs `macro_auc` averages."""
    return [1] if p.shape[1] == 2 else list(range(p.shape[1]))


def _macro_auc(class_codes: list[IntArray], classes: list[int], labels: IntArray) -> float:
    pairs = zip(class_codes, classes, strict=True)
    aucs = [_auc(codes, labels == c) for codes, c in pairs]
    return _mean_of_numbers(aucs)


def _auc(codes: IntArray, positive: BoolArray) -> float:
    """Share of (positive, negative) pairs in the right order, by counts per distinct prediction."""
    size = int(codes.max(initial=0)) + 1
    ups = np.bincount(codes[positive], minlength=size).astype(float)
    downs = np.bincount(codes[~positive], minlength=size).astype(float)
    n_pairs = ups.sum() * downs.sum()
    if n_pairs == 0:
        return float("nan")
    return float((ups * (np.cumsum(downs) - downs / 2)).sum() / n_pairs)


def decile_codes(counts: IntArray) -> IntArray:
    """Return the decile, 0 to 9, of each of (V,) rising predictions that occur `counts` times."""
    # The middle rank in whole numbers, so that rounding never decides a bin.
    twice_middle = 2 * np.cumsum(counts) - counts
    bins: IntArray = BINS * twice_middle // (2 * max(int(counts.sum()), 1))
    return bins


def _curve(values: FloatArray, codes: IntArray, y: FloatArray) -> Curve:
    """`calibration_curve` of rows given by their codes among the rising `values`."""
    counts = np.bincount(codes, minlength=len(values))
    ups = np.bincount(codes, weights=y, minlength=len(values))
    here = np.flatnonzero(counts)
    values, counts, ups = values[here], counts[here], ups[here]
    bins = decile_codes(counts)
    size = np.bincount(bins, minlength=BINS)
    found = np.flatnonzero(size)
    if not len(found):
        return Curve(found, np.zeros(0), np.zeros(0), found)
    per_bin = np.bincount(bins, weights=counts, minlength=BINS)[found]
    predicted = np.bincount(bins, weights=counts * values, minlength=BINS)[found] / per_bin
    observed = np.bincount(bins, weights=ups, minlength=BINS)[found] / per_bin
    return Curve(found, predicted, observed, per_bin.astype(np.int64))


def _line(curve: Curve) -> tuple[float, float]:
    x, y = curve.predicted, curve.observed
    if len(x) < 2 or np.ptp(x) < LEAST_SPREAD:
        return float("nan"), float("nan")
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())


def _interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean, sd and 95% t interval of one value per seed."""
    n = len(values)
    mean = float(np.mean(values)) if n else None
    if mean is None or n < 2:
        return {"mean": mean, "sd": None, "low": None, "high": None, "interval": "seeds"}
    sd = float(np.std(values, ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * sd / n**0.5
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "interval": "seeds"}


def _by_seed(runs: Iterable[Run], method: str) -> dict[int, Mapping[str, float | None]]:
    runs = list(runs)
    found = {run["seed"]: run["metrics"] for run in runs if run["method"] == method}
    if not found:
        methods = list(dict.fromkeys(str(run["method"]) for run in runs))
        raise InputError(
            f"there is no run of method {method!r}; found: {listed(methods)}."
            f"{did_you_mean(method, methods)}"
        )
    return found


def _marks(runs: Sequence[Run], column: Column, methods: list[str]) -> dict[str, str]:
    """Per method "best" or "tied"; methods that are beaten, or cannot be told, are absent."""
    good: dict[str, dict[int, float]] = {}
    for method in methods:
        for seed, metrics in _by_seed(runs, method).items():
            value = metrics[column.metric]
            if value is not None:
                good.setdefault(method, {})[seed] = goodness(value, column.best)
    if len(good) < 2:
        return {}
    first = max(good, key=lambda method: float(np.mean(list(good[method].values()))))
    tied = []
    for method, other in good.items():
        if method != first:
            seeds = [seed for seed in good[first] if seed in other]
            low = _interval([good[first][seed] - other[seed] for seed in seeds])["low"]
            if low is None:
                return {}
            if low <= 0:
                tied.append(method)
    return dict.fromkeys([first, *tied], "tied") if tied else {first: "best"}


def goodness(value: Any, best: str) -> Any:
    """Return a value, or an array of them, such that more is better (`Column.best`)."""
    match best:
        case "highest":
            return value
        case "lowest":
            return -value
        case "nearest 1":
            return -abs(value - 1)
        case _:
            return -abs(value)


def _nan(value: float | None) -> float:
    return float("nan") if value is None else value


def _mean_of_numbers(values: Sequence[float]) -> float:
    return _mean(np.array([value for value in values if not np.isnan(value)], dtype=float))


def jsonable(value: Any) -> Any:
    """Return a value with None for NaN, at any depth, as JSON has it."""
    if isinstance(value, dict):
        return {key: jsonable(each) for key, each in value.items()}
    if isinstance(value, list):
        return [jsonable(each) for each in value]
    if isinstance(value, float):
        return None if np.isnan(value) else value
    return value
