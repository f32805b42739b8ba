"""Logistic regression on the groups alone: what membership tells of the label without the text."""

from mcstl.methods.base import Predictor
from mcstl.methods.features import FeatureMethod, fit_logistic, groups_alone
from mcstl.models.examples import Examples


def fit(train: Examples, validation: Examples, *, n_classes: int, seed: int = 0) -> Predictor:
    """Fit multinomial logistic regression on the groups, its penalty by the validation NLL.

    In preference either text may be shown first, so groups that tell the label have learned it from
    something else, as rationales that name the preferred side.

    Args:
        train: Examples to train on.
        validation: Examples to choose the penalty by.
        n_classes: How many classes there are.
        seed: What decides all that is drawn.

    Returns:
        A function from n examples to their class probabilities, (n, n_classes).
    """
    return fit_logistic(train, validation, n_classes=n_classes, seed=seed, features=groups_alone)


METHOD = FeatureMethod("groups-only", fit)
