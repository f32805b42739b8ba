"""One label per item, from annotators who are right more or less often."""

import numpy as np
import pandas as pd

from mcstl._support.arrays import FloatArray
from mcstl.data.annotations import Annotations, items_and_labels

_MOST_STEPS = 100
_SMALLEST_GAIN = 1e-7  # of the log-likelihood per annotation, below which EM ends


def label_probabilities(annotations: Annotations) -> FloatArray:
    """Return (n, L): per annotation the probabilities of its item's true label.

    By expectation maximisation from the shares of votes (Dawid and Skene, 1979): every annotator
    has a confusion matrix. Annotations without an annotator count as one annotator's. In preference
    the probabilities are those of the annotation's own orientation.
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
