"""Is the gain a leak? What the test part shares with the training part, and what tells the label.

Each check is a row of the report: a number, whether it should worry, and a sentence that says why.
They look at the first seed's parts, and choose nothing.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import metrics
from mcstl.groups.leakage import TELLING
from mcstl.groups.rationale import neutral
from mcstl.studies.methods import Prepared, fit_method
from mcstl.studies.study_file import MethodConfig, Study

#: Texts whose TF-IDF vectors of five-letter pieces have a larger cosine are near-duplicates.
NEAR = 0.8
#: A share of the test annotations that is worth a sentence.
_MANY = 0.05
#: Texts of the test part that are compared with all of the training part, drawn evenly.
_MOST_TEXTS = 2000


class Check(NamedTuple):
    """One check: its name, what it found, and what is to be said if it fires."""

    check: str
    value: float
    unit: str  # "share of test annotations", "AUC" or "accuracy", "gain in AUC" or "... accuracy"
    fires: bool
    said: str


def leaks(study: Study, prepared: Prepared) -> list[Check]:
    """Return what can be checked of one prepared seed; what the data lack is left out."""
    found = [*_same(prepared), _near_duplicates(prepared), _unseen_groups(prepared)]
    found.append(_groups_alone(study, prepared))
    if prepared.annotations.has("rationale"):
        found.append(_rationales(prepared))
    return found


def shuffled_gain(results: Mapping[str, Any]) -> list[Check]:
    """Return for each `shuffled` method of results.json what it gains on the one without groups.

    Groups that were dealt out anew say nothing, so a gain whose 95% interval is above zero is one
    of something else: of more parameters, or of a leak.
    """
    differences = results["differences"]
    score = "accuracy" if results["data"]["task"] == "preference" else "auc"
    found = []
    for method in results["study"]["methods"]:
        gain = differences["methods"].get(method.get("label") or method["name"], {}).get(score)
        if method["name"] == "shuffled" and gain:
            unit = f"gain in {score.replace('auc', 'AUC')} on {differences['baseline']}"
            said = "Groups dealt out at random still gain, so part of the gain is not the groups'."
            found.append(Check("shuffled groups", gain["mean"], unit, gain["low"] > 0, said))
    return found


def _share(check: str, inside: BoolArray, said: str, least: float = _MANY) -> Check:
    value = float(inside.mean()) if len(inside) else 0.0
    return Check(check, value, "share of test annotations", value > least, said)


def _same(prepared: Prepared) -> list[Check]:
    """The same texts, and the same people, on both sides of the split."""
    texts, positions = prepared.annotations.distinct_texts()
    plain = np.unique([" ".join(text.casefold().split()) for text in texts], return_inverse=True)[1]
    found = [
        _share(
            "same text",
            np.asarray(_seen(plain[positions], prepared).all(axis=1)),
            "Texts under test were seen in training with other annotations: this measures further "
            "labels of known texts. Split by item to measure new texts.",
            0.0,
        )
    ]
    if prepared.annotations.has("annotator"):
        people = prepared.annotations.frame["annotator"].astype(object)
        known = people.notna().to_numpy()[prepared.parts.test]
        codes = np.unique(people.fillna("").astype(str), return_inverse=True)[1][:, None]
        found.append(
            _share(
                "same person",
                _seen(codes, prepared)[:, 0] & known,
                "People under test were seen in training, so what is learned of a group may be "
                "the habits of its members here. Split by annotator to measure new people.",
                0.0,
            )
        )
    return found


def _seen(codes: IntArray, prepared: Prepared) -> BoolArray:
    """(test rows, ...): whether a code of the rows is one of the training rows' too."""
    return np.isin(codes[prepared.parts.test], codes[prepared.parts.train])


def _near_duplicates(prepared: Prepared) -> Check:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts, positions = prepared.annotations.distinct_texts()
    train, test = (
        np.unique(positions[rows]) for rows in (prepared.parts.train, prepared.parts.test)
    )
    new = np.setdiff1d(test, train)
    asked = new[np.linspace(0, len(new) - 1, min(len(new), _MOST_TEXTS)).astype(int)]
    near = np.zeros(len(texts), dtype=bool)
    if len(asked):
        pieces = TfidfVectorizer(analyzer="char_wb", ngram_range=(5, 5), dtype=np.float32)
        known = pieces.fit_transform([texts[i] for i in train])
        for part in np.array_split(asked, max(1, len(asked) // 200)):
            cosines = pieces.transform([texts[i] for i in part]) @ known.T
            near[part] = cosines.max(axis=1).toarray().ravel() > NEAR
    rows = positions[prepared.parts.test]
    compared = rows[~np.isin(rows, np.setdiff1d(new, asked)).any(axis=1)]
    seen = near[compared] | np.isin(compared, train)
    return _share(
        "near-duplicate text",
        np.asarray(seen.all(axis=1) & near[compared].any(axis=1)),
        "Texts under test are almost those of training (pieces of words, cosine above "
        f"{NEAR}), though not the same: as far as they go, new texts are not so new.",
        0.01,
    )


def _unseen_groups(prepared: Prepared) -> Check:
    rows = [frozenset(row.indices) for row in prepared.rows.S]
    seen = {rows[i] for i in prepared.parts.train}
    return _share(
        "unseen combination of groups",
        np.array([rows[i] not in seen for i in prepared.parts.test]),
        "Some annotations are in groups that no training annotation has together: their embeddings "
        "are added for the first time.",
    )


def _groups_alone(study: Study, prepared: Prepared) -> Check:
    p, _ = fit_method(MethodConfig(name="groups-only"), study, prepared, study.seeds[0])
    return _telling(
        "groups alone",
        prepared,
        p,
        "The groups tell the label without the text. Either people of these groups answer alike "
        "whatever the text, or membership was made from something that gives the label away.",
    )


def _rationales(prepared: Prepared) -> Check:
    """How well the words of the rationales tell the label, once a side of a pair has no name."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    data = prepared.annotations
    words = data.frame["rationale"].fillna("").astype(str)
    words = words.map(neutral) if data.task == "preference" else words
    train, _, test = prepared.parts
    model = make_pipeline(TfidfVectorizer(min_df=2), LogisticRegression(max_iter=1000))
    try:
        model.fit(words.iloc[train], data.labels[train])
    except ValueError:  # no word is there twice
        p = np.full((len(test), len(data.classes)), 1 / len(data.classes))
    else:
        p = np.zeros((len(test), len(data.classes)))
        p[:, model.classes_] = model.predict_proba(words.iloc[test])
    return _telling(
        "words of the rationale",
        prepared,
        p,
        "The words of the rationales tell the label, so groups made of rationales may tell it too: "
        "see what the groups alone do.",
    )


def _telling(check: str, prepared: Prepared, p: FloatArray, said: str) -> Check:
    labels = prepared.rows.y[prepared.parts.test]
    if prepared.annotations.task == "preference":
        value, unit = metrics.pairwise_accuracy(p[:, 1], labels), "accuracy"
    else:
        value, unit = metrics.macro_auc(p, labels), "AUC"
    return Check(check, value, unit, value > TELLING, said)
