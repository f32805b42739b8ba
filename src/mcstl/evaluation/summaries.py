"""The runs of a study summarised over its seeds: means, standard deviations and t intervals."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from scipy.special import stdtrit

from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.data.splits import SplitBy
from mcstl.evaluation.nans import mean_of_numbers, nan_to_none

#: A run of results.json: one method with one seed.
Run = Mapping[str, Any]
#: Per method and metric ``mean``, ``sd``, ``low``, ``high`` and ``interval``.
Summary = dict[str, dict[str, dict[str, Any]]]


def summarise(runs: Iterable[Run], overlap: float = 0.0) -> Summary:
    """Summarise the metrics of runs over seeds, per method.

    Args:
        runs: Runs as in results.json; a seed that lacks a value is left out.
        overlap: What `split_overlap` says of their data.

    Returns:
        Per method and metric the mean over seeds, the standard deviation (ddof 1) and the 95%
        interval. With one seed there is no sd and no interval: None.

    Example:
        >>> runs = [{"method": "none", "seed": s, "metrics": {"auc": 0.7 + s / 10}} for s in (0, 1)]
        >>> summarise(runs)["none"]["auc"]["mean"]
        0.75
    """
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        by_metric = values.setdefault(run["method"], {})
        for metric, value in run["metrics"].items():
            per_seed = by_metric.setdefault(metric, [])
            if value is not None:
                per_seed.append(value)
    return {
        method: {metric: t_interval(per_seed, overlap) for metric, per_seed in by_metric.items()}
        for method, by_metric in values.items()
    }


def paired(
    runs: Sequence[Run], method_a: str, method_b: str, overlap: float = 0.0
) -> dict[str, dict[str, Any]]:
    """Summarise the differences A - B of two methods over the seeds that both have.

    Args:
        runs: Runs as in results.json.
        method_a: The method whose metrics are subtracted from.
        method_b: The method whose metrics are subtracted.
        overlap: What `split_overlap` says of their data.

    Returns:
        Per metric the summary of the differences, as `summarise` makes it.

    Raises:
        InputError: If a method has no runs.
    """
    a, b = metrics_by_seed(runs, method_a), metrics_by_seed(runs, method_b)
    differences: dict[str, list[float]] = {}
    for seed in [seed for seed in a if seed in b]:
        for metric in [metric for metric in a[seed] if metric in b[seed]]:
            left, right = a[seed][metric], b[seed][metric]
            per_seed = differences.setdefault(metric, [])
            if left is not None and right is not None:
                per_seed.append(left - right)
    return {metric: t_interval(per_seed, overlap) for metric, per_seed in differences.items()}


def summarise_groups(runs: Sequence[Run], method: str) -> list[dict[str, Any]]:
    """Average the metrics of each group over seeds; slope and bias also over thresholds.

    Args:
        runs: Runs as in results.json.
        method: The method whose runs are averaged.

    Returns:
        Per group its name as ``group``, and the means by metric, None where no seed has the value.

    Raises:
        InputError: If the method has no runs.
    """
    metrics_by_seed(runs, method)
    values: dict[str, dict[str, list[float]]] = {}
    for run in runs:
        if run["method"] == method:
            for group in run["groups"]:
                by_metric = values.setdefault(group["group"], {})
                for metric, value in group.items():
                    if metric not in ("group", "thresholds", "intervals"):
                        by_metric.setdefault(metric, []).append(_none_to_nan(value))
                for metric in ("slope", "bias"):
                    lines = [_none_to_nan(line[metric]) for line in group["thresholds"]]
                    by_metric.setdefault(metric, []).extend(lines)
    means: list[dict[str, Any]] = nan_to_none(
        [
            {"group": name, **{metric: mean_of_numbers(each) for metric, each in metrics.items()}}
            for name, metrics in values.items()
        ]
    )
    return means


def group_names(results: Mapping[str, Any]) -> list[str]:
    """List every group of any seed: one near the minimum size is left out of some seeds.

    Args:
        results: The content of results.json.

    Returns:
        The names, those of the first seed first, without those of too few people to be shown.
    """
    names = [group["name"] for group in results["groups"]]
    names += [group["group"] for run in results["runs"] for group in run["groups"]]
    hidden = set(results.get("data", {}).get("groups_not_shown", ()))
    return [name for name in dict.fromkeys(names) if name not in hidden]


def metrics_by_seed(runs: Iterable[Run], method: str) -> dict[int, Mapping[str, float | None]]:
    """Look up the metrics of one method's runs.

    Args:
        runs: Runs as in results.json.
        method: The method.

    Returns:
        The metrics by seed.

    Raises:
        InputError: If the method has no runs.
    """
    runs = list(runs)
    by_seed = {run["seed"]: run["metrics"] for run in runs if run["method"] == method}
    if not by_seed:
        methods = list(dict.fromkeys(str(run["method"]) for run in runs))
        raise InputError(
            f"there is no run of method {method!r}; found: {listed(methods)}."
            f"{did_you_mean(method, methods)}"
        )
    return by_seed


def split_overlap(data: Mapping[str, Any]) -> float:
    """Compute how strongly the splits of a study's seeds depend on each other.

    Args:
        data: The ``data`` of results.json.

    Returns:
        n_test/n_train where every seed has a random split of its own; 0 where all have the parts
        that the data came with.
    """
    parts = data["split"]
    is_random = parts["by"] in get_args(SplitBy)
    return float(parts["test"] / parts["train"]) if is_random else 0.0


def t_interval(values: Sequence[float], overlap: float = 0.0) -> dict[str, Any]:
    """Summarise one value per seed by its mean and a corrected Student's t.

    Splits of the same data share most of their training rows, so that their values differ less than
    those of independent data would: the variance of the mean of J is not 1/J of theirs but 1/J +
    n_test/n_train of it (Nadeau and Bengio 2003, Machine Learning 52).

    Args:
        values: A value per seed.
        overlap: n_test/n_train; 0 where seeds do not split data.

    Returns:
        ``mean``, ``sd`` (ddof 1), ``low`` and ``high`` of the 95% interval, and ``interval``, which
        says that it is over seeds. What too few values do not tell is None.

    Example:
        >>> t_interval([0.7, 0.8, 0.9], overlap=0.25)["low"], t_interval([0.7, 0.8, 0.9])["low"]
        (0.471..., 0.551...)
    """
    n = len(values)
    mean = float(np.mean(values)) if n else None
    if mean is None or n < 2:
        return {"mean": mean, "sd": None, "low": None, "high": None, "interval": "seeds"}
    sd = float(np.std(values, ddof=1))
    half = float(stdtrit(n - 1, 0.975)) * sd * (1 / n + overlap) ** 0.5
    return {"mean": mean, "sd": sd, "low": mean - half, "high": mean + half, "interval": "seeds"}


def _none_to_nan(value: float | None) -> float:
    return float("nan") if value is None else value
