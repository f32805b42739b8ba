"""How well groups alone tell the label: the check that every scheme passes through (DESIGN).

Groups made from something that gives the label away make a table look better than the model is. In
a finished study `controls` measures the same on test rows; here it is on the training rows that a
scheme is fitted on, so that it is known before anything is trained.
"""

import warnings

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.errors import Notice
from mcstl.data.annotations import Annotations, items_and_labels

#: Cross-validated AUC of the label from the groups alone: from here on the groups tell the label,
TELLING = 0.6
#: and from here on they mostly encode it.
ENCODING = 0.75
_FOLDS = 5
#: With fewer rows of the rarest class an AUC says nothing.
_LEAST = 25


def told(S: csr_matrix, annotations: Annotations) -> float:
    """Return the AUC, mean over classes, of the labels from membership alone; NaN with few rows.

    A logistic regression on S (n, K), cross-validated by item: texts whose annotators agree would
    else be learned by heart. In preference the label is whether the first text shown is preferred.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    labels, items = annotations.labels, items_and_labels(annotations)[0]
    counts = np.bincount(labels)
    if counts[counts > 0].min() < _LEAST or (counts > 0).sum() < 2 or items.max() + 1 < _FOLDS:
        return float("nan")
    p = np.full((len(labels), len(counts)), np.nan)
    for train, rest in GroupKFold(_FOLDS, shuffle=True, random_state=0).split(S, groups=items):
        model = LogisticRegression(max_iter=1000).fit(S[train], labels[train])
        p[np.ix_(rest, model.classes_)] = model.predict_proba(S[rest])
    scores = [
        roc_auc_score(labels == c, p[:, c])
        for c in np.flatnonzero(counts)
        if not np.isnan(p[:, c]).any()
    ]
    return float(np.mean(scores)) if scores else float("nan")


def said(auc: float) -> str:
    """Say in words what `told` found, "" if there is nothing to worry about.

    >>> said(0.55)
    ''
    """
    if not auc >= TELLING:
        return ""
    if auc >= ENCODING:
        return (
            f"the groups mostly encode the label (AUC {auc:.2f} from the groups alone): a model "
            "that is given them is given the answer. Were they made from something that names it?"
        )
    return (
        f"the groups tell something of the label without the text (AUC {auc:.2f} from the groups "
        "alone): their people may answer alike, or what they were made from gives it away"
    )


def notice(auc: float) -> None:
    """Give a `Notice` if groups mostly encode the label."""
    if auc >= ENCODING:
        warnings.warn(said(auc), Notice, stacklevel=2)
