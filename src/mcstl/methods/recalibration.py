"""Post-hoc recalibration: a fitted model's probabilities mapped to the labels, group by group.

Guo et al. (2017) compare temperature, Platt and isotonic maps for one population; here every value
group has its own, and an annotation in several groups, which may overlap, has the mean of theirs on
the logit scale. MCGrad (Tax et al., 2025) boosts trees on the logit and the groups instead.
"""

import logging
import warnings
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl._support.errors import Notice, need_extra
from mcstl.evaluation import metrics
from mcstl.methods.base import Recalibration

#: From logits (n,) to recalibrated logits.
_Map = Callable[[FloatArray], FloatArray]
_Fit = Callable[[FloatArray, BoolArray], _Map]
_MARGIN = 1e-6
#: Labels above and below a threshold that a map needs: MCGrad's are in five folds.
_LEAST = {"mcgrad": 5}


def recalibrate(
    how: Recalibration,
    p_validation: FloatArray,
    labels: IntArray,
    groups_validation: BoolArray,
    p: FloatArray,
    groups: BoolArray,
    *,
    symmetric: bool = False,
    seed: int = 0,
) -> FloatArray:
    """Map class probabilities to the labels, as the validation rows teach.

    Every threshold P(y > t) is mapped by itself, and they are kept in order. One with too few
    validation labels above or below it stays as it is; a `Notice` says so.

    Args:
        how: temperature, platt, isotonic or mcgrad.
        p_validation: (m, L) the class probabilities of the validation rows.
        labels: (m,) their labels.
        groups_validation: (m, K) whether each is in each group.
        p: (n, L) the class probabilities that are mapped.
        groups: (n, K) whether each of these rows is in each group.
        symmetric: Whether P(A preferred) and P(B preferred) are mapped alike, for preference.
        seed: What decides all that is drawn.

    Returns:
        (n, L) the recalibrated class probabilities, never exactly 0 or 1.

    Raises:
        InputError: If mcgrad is to be used and not installed.
    """
    above_validation, above = (metrics.exceedance(each) for each in (p_validation, p))  # (rows, T)
    mapped = np.empty_like(above)
    for t in range(above.shape[1]):
        z, y, inside = _logit(above_validation[:, t]), labels > t, groups_validation
        if symmetric:
            z, y, inside = np.r_[z, -z], np.r_[y, ~y], np.r_[inside, inside]
        least, fewest = _LEAST.get(how, 1), min(y.sum(), len(y) - y.sum())
        if fewest < least:
            mapped[:, t] = above[:, t]
            warnings.warn(
                f"recalibration by {how} leaves threshold {t + 1} of {above.shape[1]} as it is: of "
                f"{len(y):,} validation labels {fewest} are on one side of it, and {least} have to "
                "be",
                Notice,
                stacklevel=2,
            )
            continue
        if how == "mcgrad":
            predict = _fit_mcgrad(z, y, inside, seed)
        else:
            predict = _fit_by_group(_FITS[how], z, y, inside)
        new = predict(_logit(above[:, t]), groups)
        if symmetric:
            new = (new - predict(-_logit(above[:, t]), groups)) / 2
        mapped[:, t] = expit(new)
    edges = np.ones((len(p), mapped.shape[1] + 2))
    edges[:, 1:-1] = np.minimum.accumulate(mapped, axis=1)
    edges[:, -1] = 0
    # Validation rows, which are few, do not tell that a class is impossible.
    p = np.maximum(-np.diff(edges, axis=1), _MARGIN)
    return np.asarray(p / p.sum(axis=1, keepdims=True))


def _logit(p: FloatArray) -> FloatArray:
    return np.asarray(logit(np.clip(p, _MARGIN, 1 - _MARGIN)))


def _fit_by_group(
    fit: _Fit, z: FloatArray, y: BoolArray, groups: BoolArray
) -> Callable[[FloatArray, BoolArray], FloatArray]:
    """Fit a map for everybody and, from what it gives, one for every group with both labels."""
    everybody = fit(z, y)
    by_group: dict[int, _Map] = {}
    for k, inside in enumerate(groups.T):
        if 0 < y[inside].sum() < inside.sum():
            by_group[k] = fit(everybody(z[inside]), y[inside])

    def predict(z: FloatArray, groups: BoolArray) -> FloatArray:
        z = everybody(z)
        counts = groups.sum(axis=1)
        total = np.where(counts == 0, z, 0.0)
        for k, inside in enumerate(groups.T):
            total[inside] += by_group[k](z[inside]) if k in by_group else z[inside]
        return np.asarray(total / np.maximum(counts, 1))

    return predict


def _temperature(z: FloatArray, y: BoolArray) -> _Map:
    slope, _ = _line(z, y, with_intercept=False)
    return lambda z: slope * z


def _platt(z: FloatArray, y: BoolArray) -> _Map:
    slope, intercept = _line(z, y, with_intercept=True)
    return lambda z: slope * z + intercept


def _line(z: FloatArray, y: BoolArray, with_intercept: bool) -> tuple[float, float]:
    """Return the slope and intercept of P(y) = sigma(slope z + intercept).

    Both have a normal prior with sd 1 around no change, which matters in small groups only.
    """

    def loss(line: FloatArray) -> tuple[float, FloatArray]:
        new = line[0] * z + line[1]
        off = expit(new) - y
        away = line - [1, 0]
        value = np.logaddexp(0, np.where(y, -new, new)).sum() + away @ away / 2
        return float(value), np.array([off @ z, off.sum()]) + away

    bounds = [(0.01, None), (None, None) if with_intercept else (0.0, 0.0)]
    slope, intercept = minimize(loss, [1.0, 0.0], jac=True, bounds=bounds, method="L-BFGS-B").x
    return float(slope), float(intercept)


def _isotonic(z: FloatArray, y: BoolArray) -> _Map:
    from sklearn.isotonic import IsotonicRegression

    # As close to 0 and 1 as one more row either way would allow.
    margin = 1 / (len(y) + 2)
    steps = IsotonicRegression(y_min=margin, y_max=1 - margin, out_of_bounds="clip").fit(z, y)
    return lambda z: _logit(steps.predict(z))


_FITS: dict[str, _Fit] = {"temperature": _temperature, "platt": _platt, "isotonic": _isotonic}


def _fit_mcgrad(
    z: FloatArray, y: BoolArray, groups: BoolArray, seed: int
) -> Callable[[FloatArray, BoolArray], FloatArray]:
    import pandas as pd

    with need_extra("mcgrad"):
        from mcgrad.methods import MCGrad

    columns = [f"group {k}" for k in range(groups.shape[1])]

    def table(z: FloatArray, groups: BoolArray) -> pd.DataFrame:
        return pd.DataFrame(groups.astype(int), columns=columns).assign(p=expit(z))

    # It warns where it finds nothing to mend, which is not ours to say.
    logging.getLogger("mcgrad").setLevel(logging.ERROR)
    model = MCGrad(random_state=seed)
    model.fit(table(z, groups).assign(y=y.astype(int)), "p", "y", None, columns)
    return lambda z, groups: _logit(model.predict(table(z, groups), "p", columns))
