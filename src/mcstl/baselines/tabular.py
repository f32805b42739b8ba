"""What a practitioner would write instead: scikit-learn on [embedding, groups]."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mcstl.training import Examples

FloatArray = npt.NDArray[np.float64]
#: Rows to (n, L) probabilities.
Predictor = Callable[[Examples], FloatArray]

#: The inverse penalties from which `logistic` takes the best on validation.
_PENALTIES = (0.001, 0.01, 0.1, 1.0)


def gbm(train: Examples, validation: Examples, *, n_classes: int, seed: int = 0) -> Predictor:
    """Fit histogram gradient boosting on [embedding, groups], stopped on the validation rows.

    The rest is as scikit-learn sets it, which is what a practitioner would try, but for 63 bins a
    feature instead of 255: as good, in a fifth of the time (LOG.md, 3).
    """
    model = HistGradientBoostingClassifier(
        max_iter=1000, early_stopping=True, max_bins=63, random_state=seed
    )
    model.fit(
        _features(train),
        train.y,
        sample_weight=train.w,
        X_val=_features(validation),
        y_val=validation.y,
        sample_weight_val=validation.w,
    )
    return _predictor(model, n_classes)


def logistic(train: Examples, validation: Examples, *, n_classes: int, seed: int = 0) -> Predictor:
    """Fit multinomial logistic regression on [embedding, groups], its penalty by validation NLL."""
    best, best_nll = None, np.inf
    for penalty in _PENALTIES:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=penalty, max_iter=1000, random_state=seed)
        )
        model.fit(
            _features(train),
            train.y,
            standardscaler__sample_weight=train.w,
            logisticregression__sample_weight=train.w,
        )
        p = _predictor(model, n_classes)(validation)
        own = np.maximum(p[np.arange(len(validation)), validation.y], 1e-12)
        nll = -float(validation.w @ np.log(own))
        if nll < best_nll:
            best, best_nll = model, nll
    return _predictor(best, n_classes)


def _features(rows: Examples, turned: bool = False) -> npt.NDArray[np.float32]:
    """[embedding, groups], the embedding of a pair being the difference of its texts'."""
    first, *second = np.moveaxis(rows.vectors[rows.positions], 1, 0)  # each (n, d)
    text = first - second[0] if second else first
    return np.hstack([-text if turned else text, rows.S.toarray()])


def _predictor(model: Any, n_classes: int) -> Predictor:
    def predict(rows: Examples) -> FloatArray:
        p = _all_classes(model, _features(rows), n_classes)
        if rows.positions.shape[1] == 2:
            # A model of a pair must not care which text comes first: average over both orders.
            p = (p + _all_classes(model, _features(rows, turned=True), n_classes)[:, ::-1]) / 2
        return p

    return predict


def _all_classes(model: Any, features: npt.NDArray[np.float32], n_classes: int) -> FloatArray:
    p = np.zeros((len(features), n_classes))
    p[:, model.classes_] = model.predict_proba(features)
    # In 32 bits, as the features are, logistic's sum to 1 only within 1e-7.
    p /= p.sum(axis=1, keepdims=True)
    return p
