"""Is the gain a leak? What the test part shares with the training part, and what gives the label.

Each check is a row of the report: a number, whether it should worry, and a sentence that says why.
They look at the first seed's parts, and choose nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_matrix

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.data.annotations import Annotations
from mcstl.data.splits import Split
from mcstl.evaluation import metrics
from mcstl.evaluation.nans import nan_to_none
from mcstl.groups.label_leakage import (
    ENCODING_AUC,
    INFORMATIVE_AUC,
    are_of_people,
    people_differ,
)
from mcstl.groups.side_neutral import neutralise_sides

#: Texts whose TF-IDF vectors of five-letter pieces have a larger cosine are near-duplicates.
NEAR_DUPLICATE_COSINE = 0.8
#: A share of the test annotations that is worth a sentence.
_LARGE_SHARE = 0.05
#: Texts of the test part that are compared with all of the training part, drawn evenly.
_MAX_TEXTS = 2000


@dataclass(frozen=True)
class SeedData:
    """The data of one seed, as the checks look at them.

    Attributes:
        annotations: All annotations.
        parts: The positions of the training, validation and test annotations.
        membership: Which annotations are in which group, sparse (n, K).
        group_probabilities: Class probabilities of the test annotations by a method that knows the
            groups and not the text (`groups-only`), (n_test, L).
    """

    annotations: Annotations
    parts: Split
    membership: csr_matrix
    group_probabilities: FloatArray

    @property
    def test_labels(self) -> IntArray:
        """Class indices of the test annotations, (n_test,)."""
        return self.annotations.labels[self.parts.test]


class LeakCheck(NamedTuple):
    """The result of one check.

    Attributes:
        check: The name of the check.
        value: What was measured, NaN where it does not exist.
        unit: "share of test annotations", "AUC" or "accuracy", or "gain in ... on ...".
        fires: Whether it should worry.
        explanation: What it means, where it fires or says what groups of people differ in.
    """

    check: str
    value: float
    unit: str
    fires: bool
    explanation: str

    def to_json(self) -> dict[str, Any]:
        """Return the check as it stands in ``controls`` of results.json.

        Returns:
            The fields by their keys.
        """
        fields: dict[str, Any] = nan_to_none(self._asdict())
        fields["said"] = fields.pop("explanation")
        return fields


def check_leaks(data: SeedData) -> list[LeakCheck]:
    """Check one seed's data for leaks; a check whose column the data lack is left out.

    Args:
        data: The data of the seed.

    Returns:
        The checks in the order of the report.
    """
    checks = [_same_text(data)]
    if data.annotations.has("annotator"):
        checks.append(_same_person(data))
    checks += [_near_duplicates(data), _unseen_combinations(data), _groups_alone(data)]
    if data.annotations.has("rationale"):
        checks.append(_rationales(data))
    return checks


def check_shuffled_groups(results: Mapping[str, Any]) -> list[LeakCheck]:
    """Check what each `shuffled` method gains on the method without groups.

    Groups that were dealt out anew say nothing, so a gain whose 95% interval is above zero is one
    of something else: of more parameters, or of a leak.

    Args:
        results: The content of results.json.

    Returns:
        A check per `shuffled` method.
    """
    differences = results["differences"]
    score = metrics.score_of(results["data"]["task"])
    checks = []
    for method in results["study"]["methods"]:
        gain = differences["methods"].get(method.get("label") or method["name"], {}).get(score)
        if method["name"] == "shuffled" and gain:
            unit = f"gain in {score.replace('auc', 'AUC')} on {differences['baseline']}"
            why = "Groups dealt out at random still gain, so part of the gain is not the groups'."
            mean, low = (np.nan if gain[key] is None else gain[key] for key in ("mean", "low"))
            checks.append(LeakCheck("shuffled groups", mean, unit, low > 0, why))
    return checks


def _share(
    check: str, inside: BoolArray, explanation: str, least: float = _LARGE_SHARE
) -> LeakCheck:
    """A check that fires where more than `least` of the test annotations are inside."""
    value = float(inside.mean()) if len(inside) else 0.0
    return LeakCheck(check, value, "share of test annotations", value > least, explanation)


def _score(
    check: str, data: SeedData, p: FloatArray, explanation: str, most: float = INFORMATIVE_AUC
) -> LeakCheck:
    """A check that fires where probabilities made without the text predict the label too well."""
    if data.annotations.task == "preference":
        value, unit = metrics.pairwise_accuracy(p[:, 1], data.test_labels), "accuracy"
    else:
        value, unit = metrics.macro_auc(p, data.test_labels), "AUC"
    return LeakCheck(check, value, unit, value > most, explanation)


def _same_text(data: SeedData) -> LeakCheck:
    texts, positions = data.annotations.distinct_texts()
    plain = np.unique([" ".join(text.casefold().split()) for text in texts], return_inverse=True)[1]
    return _share(
        "same text",
        np.asarray(_in_training(plain[positions], data).all(axis=1)),
        "Texts under test were seen in training with other annotations: this measures further "
        "labels of known texts. Split by item to measure new texts.",
        0.0,
    )


def _same_person(data: SeedData) -> LeakCheck:
    people = data.annotations.frame["annotator"].astype(object)
    is_known = people.notna().to_numpy()[data.parts.test]
    codes = np.unique(people.fillna("").astype(str), return_inverse=True)[1][:, None]
    return _share(
        "same person",
        _in_training(codes, data)[:, 0] & is_known,
        "People under test were seen in training, so what is learned of a group may be "
        "the habits of its members here. Split by annotator to measure new people.",
        0.0,
    )


def _in_training(codes: IntArray, data: SeedData) -> BoolArray:
    """(n_test, ...): whether a code of the test annotations is a training annotation's too."""
    return np.isin(codes[data.parts.test], codes[data.parts.train])


def _near_duplicates(data: SeedData) -> LeakCheck:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, positions = data.annotations.distinct_texts()
    train, test = (np.unique(positions[rows]) for rows in (data.parts.train, data.parts.test))
    new = np.setdiff1d(test, train)
    sample = new[np.linspace(0, len(new) - 1, min(len(new), _MAX_TEXTS)).astype(int)]
    near = np.zeros(len(texts), dtype=bool)
    if len(sample):
        pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(5, 5), dtype=np.float32)
        trained = pieces.fit_transform([texts[i] for i in train])
        for part in np.array_split(sample, max(1, len(sample) // 200)):
            cosines = pieces.transform([texts[i] for i in part]) @ trained.T
            near[part] = cosines.max(axis=1).toarray().ravel() > NEAR_DUPLICATE_COSINE
    rows = positions[data.parts.test]
    compared = rows[~np.isin(rows, np.setdiff1d(new, sample)).any(axis=1)]
    seen = near[compared] | np.isin(compared, train)
    return _share(
        "near-duplicate text",
        np.asarray(seen.all(axis=1) & near[compared].any(axis=1)),
        "Texts under test are almost those of training (pieces of words, cosine above "
        f"{NEAR_DUPLICATE_COSINE}), though not the same: as far as they go, new texts are not so "
        "new.",
        0.01,
    )


def _unseen_combinations(data: SeedData) -> LeakCheck:
    groups = csr_matrix(data.membership, copy=True)
    groups.sort_indices()
    combinations = [groups.indices[a:b].tobytes() for a, b in pairwise(groups.indptr)]
    trained = {combinations[i] for i in data.parts.train}
    return _share(
        "unseen combination of groups",
        np.array([combinations[i] not in trained for i in data.parts.test]),
        "Some annotations are in groups that no training annotation has together: their embeddings "
        "are added for the first time.",
    )


def _groups_alone(data: SeedData) -> LeakCheck:
    """How well groups tell the label; that people differ is no leak, unless it tells most of it."""
    p, of_people = data.group_probabilities, are_of_people(data.membership, data.annotations)
    check = _score(
        "groups alone",
        data,
        p,
        "The groups tell the label without the text. Either people of these groups answer alike "
        "whatever the text, or membership was made from something that gives the label away.",
        ENCODING_AUC if of_people else INFORMATIVE_AUC,
    )
    if check.fires or not of_people:
        return check
    differ = people_differ(data.annotations)
    said = f"{differ[0].upper()}{differ[1:]}: the group alone ranks annotations with {check.unit}"
    return check._replace(explanation=f"{said} {check.value:.2f}.")


def _rationales(data: SeedData) -> LeakCheck:
    """How well the words of the rationales tell the label, once a side of a pair has no name."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    annotations = data.annotations
    words = annotations.frame["rationale"].fillna("").astype(str)
    words = words.map(neutralise_sides) if annotations.task == "preference" else words
    train, _, test = data.parts
    model = make_pipeline(TfidfVectorizer(min_df=2), LogisticRegression(max_iter=1000))
    n_classes = len(annotations.classes)
    try:
        model.fit(words.iloc[train], annotations.labels[train])
    except ValueError:  # no word occurs twice
        p = np.full((len(test), n_classes), 1 / n_classes)
    else:
        p = np.zeros((len(test), n_classes))
        p[:, model.classes_] = model.predict_proba(words.iloc[test])
    return _score(
        "words of the rationale",
        data,
        p,
        "The words of the rationales tell the label, so groups made of rationales may tell it too: "
        "see what the groups alone do.",
    )
