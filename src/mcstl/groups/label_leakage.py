"""How well groups alone predict the label: the check that every scheme passes through.

Groups made from something that gives the label away make a table look better than the model is. In
a finished study `mcstl.evaluation.leak_checks` measures the same on test rows; this is on the
training rows that a scheme is fitted on, so that it is known before anything is trained.
"""

import warnings

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from mcstl._support.errors import Notice, brief
from mcstl.data.annotations import Annotations, items_and_labels

#: Cross-validated AUC of the label from the groups alone, from which on groups are informative,
INFORMATIVE_AUC = 0.6
#: and from which on they mostly encode the label.
ENCODING_AUC = 0.75
_FOLDS = 5
#: Of people with several annotations, the share that may change groups by typing errors.
_SELDOM = 0.05
#: With fewer rows of the rarest class an AUC says nothing.
_MIN_ROWS_PER_CLASS = 25


def label_auc(S: csr_matrix, annotations: Annotations) -> float:
    """Measure how well membership alone predicts the label.

    A logistic regression on the membership, cross-validated by item, since texts whose annotators
    agree would otherwise be learned by heart. In preference the label is whether the first text
    shown is preferred.

    Args:
        S: (n, K) membership of the annotations.
        annotations: The n annotations.

    Returns:
        AUC, averaged over classes; NaN with too few rows, or without groups.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import GroupKFold

    labels, items = annotations.labels, items_and_labels(annotations)[0]
    counts = np.bincount(labels)
    n_classes, rarest = (counts > 0).sum(), counts[counts > 0].min()
    too_few = rarest < _MIN_ROWS_PER_CLASS or n_classes < 2 or items.max() + 1 < _FOLDS
    if too_few or not S.shape[1]:
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


def are_of_people(S: csr_matrix, annotations: Annotations) -> bool:
    """Say whether groups are of people: whoever gave several annotations is in the same groups.

    Then groups that tell something of the label are people who answer differently, which is what a
    study is to learn. Groups made of what is known of an annotation, as its rationale, change
    within a person.

    Args:
        S: (n, K) membership of the annotations.
        annotations: The n annotations.

    Returns:
        True if next to nobody changes groups, typing errors granted; False where nobody is known to
        have given several annotations.
    """
    if not annotations.has("annotator"):
        return False
    groups = [frozenset(row.indices) for row in S]
    people = pd.Series(groups, dtype=object).groupby(annotations.frame["annotator"].to_numpy())
    several = people.size() > 1
    return bool(several.any() and (people.nunique()[several] > 1).mean() <= _SELDOM)


def leakage_of(S: csr_matrix, annotations: Annotations) -> str:
    """Measure what groups tell of the label, and say what it means.

    Args:
        S: (n, K) membership of the annotations.
        annotations: The n annotations.

    Returns:
        A sentence without a full stop; "" if there is nothing to say.
    """
    auc = label_auc(S, annotations)
    if INFORMATIVE_AUC <= auc < ENCODING_AUC and are_of_people(S, annotations):
        return f"{people_differ(annotations)}; the group alone ranks annotations with AUC {auc:.2f}"
    return leakage_message(auc)


def people_differ(annotations: Annotations) -> str:
    """Say that groups of people answer differently.

    Args:
        annotations: What they answered.

    Returns:
        A sentence without a full stop.
    """
    binary = annotations.task == "binary"
    how = f"how often they say {brief(annotations.classes[-1])}" if binary else "what they say"
    return f"groups differ in {how}"


def leakage_message(auc: float) -> str:
    """Say in words what `label_auc` means.

    Args:
        auc: What it returned.

    Returns:
        A sentence without a full stop; "" if there is nothing to worry about.

    Examples:
        >>> leakage_message(0.55)
        ''
    """
    if not auc >= INFORMATIVE_AUC:
        return ""
    if auc >= ENCODING_AUC:
        return (
            f"the groups mostly encode the label (AUC {auc:.2f} from the groups alone): a model "
            "that is given them is given the answer. Were they made from something that names it?"
        )
    return (
        f"the groups tell something of the label without the text (AUC {auc:.2f} from the groups "
        "alone): their people may answer alike, or what they were made from gives it away"
    )


def warn_of_leakage(S: csr_matrix, annotations: Annotations) -> None:
    """Warn by a `Notice` if groups mostly encode the label.

    Args:
        S: (n, K) membership of the annotations.
        annotations: The n annotations.
    """
    auc = label_auc(S, annotations)
    if auc >= ENCODING_AUC:
        warnings.warn(leakage_message(auc), Notice, stacklevel=2)
