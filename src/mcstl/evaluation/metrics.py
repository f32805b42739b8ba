"""The paper's metrics (§3.2 and A.6); no torch.

Everywhere `p` is (n, L) class probabilities, `labels` (n,) class indices, and a value that does
not exist is NaN in the functions and None in what `evaluate` returns (JSON). All are exact under
ties: rows with equal predictions count as equal, whatever their order.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl._support.errors import InputError
from mcstl.data.labels import Task
from mcstl.evaluation.nans import mean_of_numbers, nan_to_none

#: Probabilities are clipped to this in `nll`: about what 32-bit floats resolve below 1, so that no
#: method wins or loses by the precision in which it stores its predictions.
EPSILON = 1e-7
#: The paper bins by deciles.
BINS = 10
#: Bin means closer together than this differ by rounding, and a line through them means nothing.
LEAST_SPREAD = 1e-6


def macro_auc(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute the mean over classes of the one-vs-rest AUC (§3.2); equal predictions count half.

    A class that is absent, or the only one, has no AUC and is left out of the mean. With two
    classes both AUCs are the same, and that of class 1 is taken.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).

    Returns:
        The mean AUC, from 0 to 1 with 0.5 for chance; NaN if no class has one.

    Example:
        >>> macro_auc([[0.9, 0.1], [0.4, 0.6], [0.4, 0.6]], [0, 0, 1])
        0.75
    """
    p, labels = _arrays(p, labels)
    return _macro_auc([ranked(p[:, c])[1] for c in auc_classes(p)], auc_classes(p), labels)


def pairwise_accuracy(p_a: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute the share of pairs whose preferred text has the higher score (§3.2).

    Args:
        p_a: Probabilities that text A is preferred, (n,); 0.5 counts half.
        labels: 1 where A is preferred and 0 where B is, (n,).

    Returns:
        The share, from 0 to 1; NaN without pairs.

    Example:
        >>> pairwise_accuracy([0.8, 0.5, 0.4], [1, 1, 1])
        0.5
    """
    return _mean(pairwise_accuracy_per_row(np.asarray(p_a, dtype=np.float64), np.asarray(labels)))


def nll(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute the mean negative log-likelihood, with probabilities clipped at `EPSILON`.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).

    Returns:
        The mean in nats; NaN without rows.
    """
    return _mean(nll_per_row(*_arrays(p, labels)))


def brier(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute the mean squared distance to the one-hot label, summed over classes.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).

    Returns:
        The Brier score, from 0 to 2; NaN without rows.
    """
    return _mean(brier_per_row(*_arrays(p, labels)))


def emd(p: npt.ArrayLike, labels: npt.ArrayLike) -> FloatArray:
    """Compute the earth mover's distance of each prediction to its one-hot label (A.6).

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).

    Returns:
        The distances in classes, (n,), from 0 to L - 1.

    Example:
        >>> emd([[0.2, 0.5, 0.3]], [1]), emd([[0.7, 0.3]], [1])
        (array([0.5]), array([0.7]))
    """
    p, labels = _arrays(p, labels)
    one_hot = np.arange(p.shape[1]) == labels[:, None]
    distance: FloatArray = np.abs(np.cumsum(p - one_hot, axis=1)[:, :-1]).sum(axis=1)
    return distance


def one_minus_emd(p: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Compute 1 - mean EMD / (L - 1) of the rows given, which in the paper are minority rows (A.6).

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).

    Returns:
        The closeness to the labels, from 0 to 1; NaN without rows.

    Example:
        >>> one_minus_emd([[0.2, 0.5, 0.3]], [1])
        0.75
    """
    largest = np.shape(p)[1] - 1
    return float(1 - _mean(emd(p, labels)) / largest)


class CalibrationCurve(NamedTuple):
    """The points of a calibration plot, one per bin that is not empty, by rising prediction.

    Attributes:
        bin: Deciles, 0 to 9, (B,).
        predicted: Mean predictions, (B,).
        observed: Mean outcomes, (B,).
        n: Counts of rows, (B,).
    """

    bin: IntArray
    predicted: FloatArray
    observed: FloatArray
    n: IntArray


def calibration_curve(p: npt.ArrayLike, y: npt.ArrayLike) -> CalibrationCurve:
    """Bin probabilities of a 0/1 outcome by deciles (§3.2).

    Equal predictions stay together: all go to the decile of their middle rank, so the result does
    not depend on the order of rows, and fewer distinct predictions give fewer bins.

    Args:
        p: Probabilities of the outcome 1, (n,).
        y: Outcomes, 0 or 1, (n,).

    Returns:
        A point per bin that is not empty.

    Example:
        >>> calibration_curve([0.1, 0.1, 0.9, 0.9], [0, 0, 1, 0]).observed
        array([0. , 0.5])
    """
    values, codes = ranked(np.asarray(p, dtype=float))
    return _curve(values, codes, np.asarray(y, dtype=float))


def calibration_line(p: npt.ArrayLike, y: npt.ArrayLike) -> tuple[float, float]:
    """Fit the unweighted line through the points of `calibration_curve` (§3.2).

    Args:
        p: Probabilities of the outcome 1, (n,).
        y: Outcomes, 0 or 1, (n,).

    Returns:
        Slope and bias, 1 and 0 where predictions are calibrated; NaN, NaN where there are fewer
        than two bins, or where all outcomes are the same, which tells no slope.
    """
    return _line(calibration_curve(p, y))


def exceedance(p: npt.ArrayLike) -> FloatArray:
    """Compute the probabilities that the label is above each threshold.

    These are the paper's levels: P(y^(1) = 1), P(y^(2) = 1), ...; with two classes P(class 1).

    Args:
        p: Class probabilities, (n, L).

    Returns:
        The probabilities that the label is above class t, for t = 0 ... L - 2, (n, L - 1).
    """
    tail: FloatArray = np.cumsum(np.asarray(p, dtype=float)[:, ::-1], axis=1)[:, ::-1][:, 1:]
    return tail


def evaluate(
    p: npt.ArrayLike,
    labels: npt.ArrayLike,
    membership: npt.ArrayLike,
    minority: npt.ArrayLike,
    task: Task,
    group_names: Sequence[str],
) -> dict[str, Any]:
    """Compute all metrics of one run, as they stand in results.json (§3.2).

    Group means and population sds run over the groups that have the value, those of slope and bias
    over groups and thresholds; how many have none is counted in ``groups_without_auc`` (or
    ``_accuracy``) and ``lines_without_slope``.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).
        membership: Which rows are in which group, (n, K).
        minority: How far each row counts as differing from its item's majority, 0 to 1, (n,).
        task: The task, which decides between AUC and accuracy.
        group_names: Names of the K groups.

    Returns:
        ``metrics`` of all rows, and ``groups`` with those of each group and, per threshold t,
        slope and bias of the probabilities that the label is above class t.

    Raises:
        InputError: If there are no rows or a probability is not a number.

    Example:
        >>> run = evaluate([[0.75, 0.25], [0.25, 0.75]], [0, 1], [[1], [1]], [0, 0], "binary", "A")
        >>> run["metrics"]["auc"], run["groups"][0]["thresholds"]
        (1.0, [{'threshold': 0, 'slope': 2.0, 'bias': -0.5, 'n_bins': 2}])
    """
    p, labels = _arrays(p, labels)
    inside = np.asarray(membership, dtype=bool)
    minority = np.asarray(minority, dtype=float)
    if not len(p):
        raise InputError("there are no rows to evaluate")
    if bad := int((~np.isfinite(p)).any(axis=1).sum()):
        raise InputError(f"{bad} of {len(p)} predictions have a probability that is not a number")
    score = score_of(task)
    per_row = {name: measure(p, labels) for name, measure in PER_ROW.items()}
    if task == "preference":
        per_row["accuracy"] = pairwise_accuracy_per_row(p[:, 1], labels)
    distances = emd(p, labels) / (p.shape[1] - 1)
    classes = auc_classes(p)
    class_codes = [] if task == "preference" else [ranked(p[:, c])[1] for c in classes]
    levels = [ranked(level) for level in exceedance(p).T]

    def measured(rows: IntArray | slice) -> dict[str, Any]:
        values: dict[str, Any] = {name: _mean(each[rows]) for name, each in per_row.items()}
        if task != "preference":
            codes_per_class = [codes[rows] for codes in class_codes]
            values["auc"] = _macro_auc(codes_per_class, classes, labels[rows])
        values["one_minus_emd"] = 1 - _weighted_mean(distances[rows], minority[rows])
        values["n_minority"] = int((minority[rows] > 0).sum())
        return {score: values[score], **values}

    groups: list[dict[str, Any]] = []
    for k, name in enumerate(group_names):
        rows = np.flatnonzero(inside[:, k])
        thresholds = []
        for t, (values, codes) in enumerate(levels):
            curve = _curve(values, codes[rows], (labels[rows] > t).astype(float))
            slope, bias = _line(curve)
            thresholds.append(
                {"threshold": t, "slope": slope, "bias": bias, "n_bins": len(curve.bin)}
            )
        groups.append({"group": name, "n": len(rows), **measured(rows), "thresholds": thresholds})

    scores = np.array([group[score] for group in groups], dtype=float)
    lines = [line for group in groups for line in group["thresholds"]]
    slopes = np.array([line["slope"] for line in lines], dtype=float)
    biases = np.array([line["bias"] for line in lines], dtype=float)
    metrics = measured(slice(None))
    for name, each in ((f"group_{score}", scores), ("slope", slopes), ("bias", biases)):
        numbers = each[~np.isnan(each)]
        metrics[f"{name}_mean"] = _mean(numbers)
        metrics[f"{name}_sd"] = float(numbers.std()) if len(numbers) else np.nan
    metrics[f"groups_without_{score}"] = int(np.isnan(scores).sum())
    metrics["lines_without_slope"] = int(np.isnan(slopes).sum())
    result: dict[str, Any] = nan_to_none({"metrics": metrics, "groups": groups})
    return result


def score_of(task: Task) -> str:
    """Name the metric that says how well predictions rank labels in a task (§3.2).

    Args:
        task: The task.

    Returns:
        ``accuracy`` in preference, else ``auc``.
    """
    return "accuracy" if task == "preference" else "auc"


def nll_per_row(p: FloatArray, labels: IntArray) -> FloatArray:
    """Compute the negative log-likelihoods whose mean is `nll`.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).

    Returns:
        The negative log-likelihoods in nats, (n,).
    """
    chosen = p[np.arange(len(p)), labels]
    losses: FloatArray = -np.log(np.maximum(chosen, EPSILON))
    return losses


def brier_per_row(p: FloatArray, labels: IntArray) -> FloatArray:
    """Compute the squared distances whose mean is `brier`.

    Args:
        p: Class probabilities, (n, L).
        labels: Class indices, (n,).

    Returns:
        The squared distances, (n,).
    """
    one_hot = np.arange(p.shape[1]) == labels[:, None]
    distances: FloatArray = np.square(p - one_hot).sum(axis=1)
    return distances


#: What is measured of each annotation, from (n, L) probabilities and (n,) labels; its mean is a
#: metric of results.json, over all annotations and over each group's, with intervals.
PER_ROW: dict[str, Callable[[FloatArray, IntArray], FloatArray]] = {
    "nll": nll_per_row,
    "brier": brier_per_row,
}


def pairwise_accuracy_per_row(p_a: FloatArray, labels: npt.NDArray[Any]) -> FloatArray:
    """Compute the ones, zeros and halves whose mean is `pairwise_accuracy`.

    Args:
        p_a: Probabilities that text A is preferred, (n,).
        labels: 1 where A is preferred and 0 where B is, (n,).

    Returns:
        1 where the preferred text has the higher score, 0 where the other has, else 0.5, (n,).
    """
    right: FloatArray = 0.5 + 0.5 * np.sign(p_a - 0.5) * np.where(labels == 1, 1.0, -1.0)
    return right


def ranked(values: FloatArray) -> tuple[FloatArray, IntArray]:
    """Sort predictions once, so that all that depends on their order can be counted.

    Args:
        values: Predictions, (n,).

    Returns:
        The V distinct values, rising, and the place of each prediction among them, (n,).
    """
    distinct, codes = np.unique(values, return_inverse=True)
    return distinct, codes.astype(np.int64)


def auc_classes(p: FloatArray) -> list[int]:
    """List the classes whose AUCs `macro_auc` averages.

    Args:
        p: Class probabilities, (n, L).

    Returns:
        All classes; class 1 alone where there are two.
    """
    return [1] if p.shape[1] == 2 else list(range(p.shape[1]))


def decile_codes(counts: IntArray) -> IntArray:
    """Sort distinct predictions into deciles by their middle rank, so that ties stay together.

    Args:
        counts: How often each distinct prediction occurs, by rising prediction, (V,).

    Returns:
        The decile of each distinct prediction, 0 to 9, (V,).
    """
    # The middle rank in whole numbers, so that rounding never decides a bin.
    twice_middle = 2 * np.cumsum(counts) - counts
    bins: IntArray = BINS * twice_middle // (2 * max(int(counts.sum()), 1))
    return bins


def _arrays(p: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[FloatArray, IntArray]:
    return np.asarray(p, dtype=np.float64), np.asarray(labels, dtype=np.int64)


def _mean(values: FloatArray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _weighted_mean(values: FloatArray, weights: FloatArray) -> float:
    total = float(weights.sum())
    return float(values @ weights) / total if total else float("nan")


def _macro_auc(class_codes: list[IntArray], classes: list[int], labels: IntArray) -> float:
    pairs = zip(class_codes, classes, strict=True)
    return mean_of_numbers([_auc(codes, labels == c) for codes, c in pairs])


def _auc(codes: IntArray, positive: BoolArray) -> float:
    """Share of (positive, negative) pairs in the right order, by counts per distinct prediction."""
    size = int(codes.max(initial=0)) + 1
    positives = np.bincount(codes[positive], minlength=size).astype(float)
    negatives = np.bincount(codes[~positive], minlength=size).astype(float)
    n_pairs = positives.sum() * negatives.sum()
    if n_pairs == 0:
        return float("nan")
    return float((positives * (np.cumsum(negatives) - negatives / 2)).sum() / n_pairs)


def _curve(values: FloatArray, codes: IntArray, y: FloatArray) -> CalibrationCurve:
    """`calibration_curve` of rows given by their codes among the rising `values`."""
    counts = np.bincount(codes, minlength=len(values))
    positives = np.bincount(codes, weights=y, minlength=len(values))
    occurring = np.flatnonzero(counts)
    values, counts, positives = values[occurring], counts[occurring], positives[occurring]
    bins = decile_codes(counts)
    filled = np.flatnonzero(np.bincount(bins, minlength=BINS))
    if not len(filled):
        return CalibrationCurve(filled, np.zeros(0), np.zeros(0), filled)
    per_bin = np.bincount(bins, weights=counts, minlength=BINS)[filled]
    predicted = np.bincount(bins, weights=counts * values, minlength=BINS)[filled] / per_bin
    observed = np.bincount(bins, weights=positives, minlength=BINS)[filled] / per_bin
    return CalibrationCurve(filled, predicted, observed, per_bin.astype(np.int64))


def _line(curve: CalibrationCurve) -> tuple[float, float]:
    x, y = curve.predicted, curve.observed
    if len(x) < 2 or np.ptp(x) < LEAST_SPREAD or not 0 < y.mean() < 1:
        return float("nan"), float("nan")
    centred = x - x.mean()
    slope = float(centred @ y / (centred @ centred))
    return slope, float(y.mean() - slope * x.mean())
