"""One label per item, from annotators who are right more or less often (Dawid and Skene, 1979)."""

from dataclasses import replace

import numpy as np
import pandas as pd

from mcstl._support.arrays import FloatArray, IntArray
from mcstl.data.annotations import Annotations, items_and_labels
from mcstl.methods.base import Prepared
from mcstl.methods.none import TextAlone
from mcstl.models.examples import Examples

_MOST_STEPS = 100
_SMALLEST_GAIN = 1e-7  # of the log-likelihood per annotation, below which EM ends


def label_probabilities(annotations: Annotations) -> FloatArray:
    """Estimate the true label of each annotation's item.

    By expectation maximisation from the shares of votes, every annotator having a confusion matrix
    (Dawid and Skene, 1979). Annotations without an annotator count as one annotator's. In
    preference the probabilities are those of the annotation's own orientation.

    Args:
        annotations: n annotations of L classes.

    Returns:
        (n, L) the probabilities of the true label.
    """
    items, labels = items_and_labels(annotations)
    people = pd.factorize(annotations.frame["annotator"], use_na_sentinel=False)[0]
    n_classes = len(annotations.classes)
    p = np.zeros((items.max() + 1, n_classes))
    np.add.at(p, (items, labels), 1.0)
    p /= p.sum(axis=1, keepdims=True)
    before = -np.inf
    for _ in range(_MOST_STEPS):
        confusion = np.full((people.max() + 1, n_classes, n_classes), 1e-10)  # (who, given, true)
        np.add.at(confusion, (people, labels), p[items])
        confusion /= confusion.sum(axis=1, keepdims=True)
        joint = np.tile(np.log(p.mean(axis=0) + 1e-10), (len(p), 1))
        np.add.at(joint, items, np.log(confusion[people, labels]))
        likelihood = np.logaddexp.reduce(joint, axis=1)
        p = np.exp(joint - likelihood[:, None])
        now = likelihood.sum() / len(items)
        if now - before < _SMALLEST_GAIN:
            break
        before = now
    flipped = annotations.frame["flipped"].to_numpy(dtype=bool)
    return np.where(flipped[:, None], p[items, ::-1], p[items])


class DawidSkene(TextAlone):
    """The text alone, trained on estimates of the items' true labels."""

    name = "dawid-skene"
    needs = "annotator"

    def training_examples(self, prepared: Prepared, seed: int) -> tuple[Examples, Examples]:
        """Make of each training row one per class, weighted by the estimated probability.

        The estimate is made of the training rows. Validation rows keep their own labels, as in
        `mcstl.methods.majority`.

        Args:
            prepared: The seed's data.
            seed: The seed.

        Returns:
            Examples to train on and examples to validate on, without groups.

        Raises:
            InputError: If there are no annotators.
        """
        examples, train = self.examples(prepared, seed), prepared.parts.train
        p = label_probabilities(prepared.annotations.take(train))
        return _weighted(examples, train, p), examples.take(prepared.parts.validation)


def _weighted(examples: Examples, rows: IntArray, p: FloatArray) -> Examples:
    """Repeat `rows` once for each class that is possible there, with its probability as weight."""
    n_classes = p.shape[1]
    repeated = examples.take(np.repeat(rows, n_classes))
    labels = np.tile(np.arange(n_classes), len(rows))
    weights = p.ravel().astype(np.float32)
    return replace(repeated, y=labels, w=weights).take(weights > 0)


METHOD = DawidSkene()
