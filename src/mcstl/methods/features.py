"""What methods share that are scikit-learn's models of an array of features, or functions as these.

So are the methods of other packages: a function of examples to train on, examples to validate on,
``n_classes`` and ``seed`` that returns a function from examples to class probabilities.
"""

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_limits

from mcstl._support.arrays import FloatArray
from mcstl.methods.base import FittedMethod, Method, Predictor, Prepared, RunSettings
from mcstl.models.examples import Examples

#: From n examples to (n, features), and for pairs the same with the texts exchanged.
Features = Callable[[Examples], list[FloatArray]]

#: The inverse penalties from which `fit_logistic` takes the best on validation.
_PENALTIES = (0.001, 0.01, 0.1, 1.0)


class FitFunction(Protocol):
    """A function that fits a method which needs no more than the examples."""

    def __call__(
        self, train: Examples, validation: Examples, *, n_classes: int, seed: int
    ) -> Predictor:
        """Fit to examples.

        Args:
            train: Examples to train on.
            validation: Examples to choose or stop by.
            n_classes: How many classes there are, whether or not all occur.
            seed: What decides all that is drawn.

        Returns:
            A function from n examples to their class probabilities, (n, n_classes).
        """


class FeatureMethod(Method):
    """A method that a function fits to examples with the study's groups.

    Args:
        name: The name in the registry.
        function: What fits it.
    """

    def __init__(self, name: str, function: FitFunction) -> None:
        self.name = name
        self._function = function

    def fit(self, prepared: Prepared, settings: RunSettings) -> FittedMethod:
        """See `Method.fit`."""
        examples = self.examples(prepared, settings.seed)
        progress = settings.session.progress
        progress("training", 0, 1)
        # On products this small a second thread waits more than it works.
        with threadpool_limits(1):
            predict = self._function(
                examples.take(prepared.parts.train),
                examples.take(prepared.parts.validation),
                n_classes=prepared.problem.n_classes,
                seed=settings.seed,
            )
        progress("training", 1, 1)
        return FittedMethod(predict)


def texts_and_groups(examples: Examples) -> list[FloatArray]:
    """Put the vector of the text and the groups side by side.

    Args:
        examples: n examples of texts, or of pairs of texts.

    Returns:
        (n, d + K) features; for pairs those of the difference of the two vectors, and as a second
        array those of the pair the other way round.
    """
    groups = examples.S.toarray()
    first, *second = np.moveaxis(examples.vectors[examples.positions], 1, 0)  # each (n, d)
    texts = [first - second[0], second[0] - first] if second else [first]
    return [np.hstack([text, groups]) for text in texts]


def groups_alone(examples: Examples) -> list[FloatArray]:
    """Take the groups as the only features.

    Args:
        examples: n examples.

    Returns:
        One array of features, (n, K); without groups a constant, (n, 1), as models need one.
    """
    return [examples.S.toarray() if examples.S.shape[1] else np.zeros((len(examples), 1))]


def predictor(model: Any, n_classes: int, features: Features) -> Predictor:
    """Make a predictor of a fitted classifier, the same for a pair whichever text comes first.

    Args:
        model: A classifier as scikit-learn has them.
        n_classes: How many classes there are, whether or not the classifier saw them all.
        features: What the classifier was fitted on.

    Returns:
        A function from n examples to their class probabilities, (n, n_classes).
    """

    def predict(examples: Examples) -> FloatArray:
        shown, *turned = (_all_classes(model, each, n_classes) for each in features(examples))
        # A model of a pair must not care which text comes first: average over both orders.
        return (shown + turned[0][:, ::-1]) / 2 if turned else shown

    return predict


def fit_logistic(
    train: Examples, validation: Examples, *, n_classes: int, seed: int = 0, features: Features
) -> Predictor:
    """Fit multinomial logistic regression, its penalty chosen by the validation NLL.

    Args:
        train: Examples to train on.
        validation: Examples to choose the penalty by.
        n_classes: How many classes there are.
        seed: What decides all that is drawn.
        features: What the regression is on.

    Returns:
        A function from n examples to their class probabilities, (n, n_classes).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    best, best_nll = None, np.inf
    for penalty in _PENALTIES:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=penalty, max_iter=1000, random_state=seed)
        )
        model.fit(
            features(train)[0],
            train.y,
            standardscaler__sample_weight=train.w,
            logisticregression__sample_weight=train.w,
        )
        p = predictor(model, n_classes, features)(validation)
        p_label = np.maximum(p[np.arange(len(validation)), validation.y], 1e-12)
        nll = -float(validation.w @ np.log(p_label))
        if nll < best_nll:
            best, best_nll = model, nll
    return predictor(best, n_classes, features)


def _all_classes(model: Any, features: FloatArray, n_classes: int) -> FloatArray:
    p = np.zeros((len(features), n_classes))
    p[:, model.classes_] = model.predict_proba(features)
    # In 32 bits, as the features are, logistic's sum to 1 only within 1e-7.
    p /= p.sum(axis=1, keepdims=True)
    return p
