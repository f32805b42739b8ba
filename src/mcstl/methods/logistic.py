"""Logistic regression on the text's vector and the groups."""

from mcstl.methods.base import Predictor
from mcstl.methods.features import FeatureMethod, fit_logistic, texts_and_groups
from mcstl.models.examples import Examples


def fit(train: Examples, validation: Examples, *, n_classes: int, seed: int = 0) -> Predictor:
    """Fit multinomial logistic regression on [text, groups], its penalty by the validation NLL.

    Args:
        train: Examples to train on.
        validation: Examples to choose the penalty by.
        n_classes: How many classes there are.
        seed: What decides all that is drawn.

    Returns:
        A function from n examples to their class probabilities, (n, n_classes).
    """
    return fit_logistic(
        train, validation, n_classes=n_classes, seed=seed, features=texts_and_groups
    )


METHOD = FeatureMethod("logistic", fit)
