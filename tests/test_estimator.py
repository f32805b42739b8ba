"""The scikit-learn estimator against scikit-learn's own checks, and with texts and groups."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GroupKFold, cross_val_score, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from mcstl._support.errors import InputError, Notice
from mcstl.models.estimator import MCSTLClassifier

SMALL: dict[str, Any] = {
    "hidden": 32,
    "epochs": 40,
    "batch_size": 64,
    "learning_rate": 0.01,
    "dropout": 0.1,
}
#: What does not apply, and why; docs/estimator.md says so too.
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": "which rows are held out and in which order "
    "they are seen is drawn by row, so a weight of 2 is two rows in the loss but not in the draw",
}


@pytest.mark.filterwarnings("ignore")
def test_scikit_learns_checks() -> None:
    """All of them, but for those named above and the one that needs SCIPY_ARRAY_API."""
    found = check_estimator(
        MCSTLClassifier(**SMALL), expected_failed_checks=EXPECTED, on_skip=None, on_fail="raise"
    )
    status = {each["check_name"]: each["status"] for each in found}
    assert sum(value == "passed" for value in status.values()) >= 50
    other = {name for name, value in status.items() if value != "passed"}
    assert other <= {*EXPECTED, "check_array_api_input"}


def sample(n: int = 400) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Two groups that read the same number the other way round."""
    random = np.random.default_rng(1)
    X = random.normal(size=(n, 4)).astype(np.float32)
    groups = [["A"] if each else ["B"] for each in random.random(n) < 0.5]
    signs = np.array([1 if row == ["A"] else -1 for row in groups])
    return X, np.where(X[:, 0] * signs > 0, "yes", "no"), groups


def test_groups_are_told_apart() -> None:
    X, y, groups = sample()
    model = MCSTLClassifier(**SMALL | {"epochs": 150, "patience": 30}, random_state=0)
    model.fit(X, y, groups=groups)
    assert model.group_names_ == ("A", "B")
    assert (model.predict(X, groups) == y).mean() > 0.9
    others = [["B"] if row == ["A"] else ["A"] for row in groups]
    assert (model.predict(X, others) == y).mean() < 0.2
    unknown = model.predict_proba(X, [["C"]] * len(X))
    np.testing.assert_array_equal(unknown, model.predict_proba(X))


def test_texts_are_encoded(cache: object) -> None:
    texts = ["Lovely warm tea", "Wonderful day", "Terrible cold rain", "Horrible noise"] * 10
    y = [1, 1, 0, 0] * 10
    model = MCSTLClassifier(**SMALL, random_state=0).fit(texts, y)
    assert model.predict(["A wonderful cup of tea", "Such horrible rain"]).tolist() == [1, 0]
    np.testing.assert_allclose(model.predict_proba(texts).sum(axis=1), 1)


TEXTS = ["Lovely warm tea", "Terrible cold rain", "Wonderful day", "Horrible noise"] * 5
MOODS = ["good", "bad", "good", "bad"] * 5


@pytest.mark.parametrize(
    "form",
    [
        list,
        tuple,
        np.array,
        pd.Series,
        lambda texts: pd.Series(texts, dtype="category"),
        lambda texts: pd.Series(texts, dtype="string", index=range(5, 5 + len(texts))),
        lambda texts: pd.DataFrame({"text": texts}),
        lambda texts: np.array(texts, dtype=object)[:, None],
        lambda texts: [[text] for text in texts],
    ],
)
def test_texts_are_texts_in_any_form(cache: object, form: Any) -> None:
    expected = MCSTLClassifier(**SMALL, random_state=0).fit(TEXTS, MOODS).predict_proba(TEXTS)
    model = MCSTLClassifier(**SMALL, random_state=0).fit(form(TEXTS), pd.Series(MOODS))
    assert model.classes_.tolist() == ["bad", "good"]
    np.testing.assert_array_equal(model.predict_proba(form(TEXTS)), expected)


def test_groups_are_names_in_any_form() -> None:
    X, y, groups = sample(100)
    alone = [name for (name,) in groups]
    model = MCSTLClassifier(**SMALL, random_state=0).fit(X, y, groups=groups)
    expected = model.predict_proba(X, groups)
    assert not np.array_equal(expected, model.predict_proba(X))
    otherwise = [f" {name.lower()}" for name in alone]
    for form in (alone, pd.Series(alone, index=range(3, 103)), np.array(alone), otherwise):
        np.testing.assert_array_equal(model.predict_proba(X, form), expected)
    frame = pd.DataFrame({"one": alone, "other": None})
    np.testing.assert_array_equal(model.predict_proba(X, frame), expected)
    np.testing.assert_array_equal(model.predict_proba(X, [None] * 100), model.predict_proba(X))


def test_groups_are_routed_as_metadata() -> None:
    X, y, groups = sample(200)
    names = np.array([name for (name,) in groups])
    with sklearn.config_context(enable_metadata_routing=True):
        model = MCSTLClassifier(**SMALL | {"epochs": 100, "patience": 30}, random_state=0)
        model.set_fit_request(groups=True).set_score_request(groups=True)
        model.set_predict_request(groups=True)
        pipeline = make_pipeline(StandardScaler(), model)
        found = cross_validate(pipeline, X, y, cv=2, params={"groups": names})
        assert found["test_score"].mean() > 0.8
        fitted = pipeline.fit(X, y, groups=names)
        assert (fitted.predict(X, groups=names) == y).mean() > 0.8
        assert fitted.score(X, y, groups=names) == (fitted.predict(X, groups=names) == y).mean()
        by_group = cross_validate(
            model, X, y, cv=GroupKFold(2).set_split_request(groups=True), params={"groups": names}
        )
        assert len(by_group["test_score"]) == 2


def test_in_a_pipeline_and_in_cross_validation() -> None:
    X, _, _ = sample(200)
    y = (X[:, 1] > 0).astype(int)
    pipeline = make_pipeline(StandardScaler(), MCSTLClassifier(**SMALL, random_state=0))
    assert cross_val_score(clone(pipeline), X, y, cv=2).mean() > 0.85


def test_bad_input() -> None:
    X, y, groups = sample(20)
    with pytest.raises(InputError, match="there are 20 rows and groups of 3"):
        MCSTLClassifier(**SMALL).fit(X, y, groups=groups[:3])
    with pytest.raises(ValueError, match="only 1 class"):
        MCSTLClassifier(**SMALL).fit(X, np.zeros(20))
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        MCSTLClassifier(**SMALL).fit(TEXTS, MOODS[1:])
    for missing in (None, float("nan"), pd.NA):
        labels = [*MOODS[1:], missing]
        for rows in (X, TEXTS):
            with pytest.raises(InputError, match="y: 1 labels are missing, row 19"):
                MCSTLClassifier(**SMALL).fit(rows, labels)
        with pytest.raises(InputError, match=r"X: 2 texts are missing.*row 1, 2"):
            MCSTLClassifier(**SMALL).fit(["Tea", missing, " "], ["a", "b", "a"])
    with pytest.raises(InputError, match=r"texts in 2 columns; give one, as X\['a'\]"):
        MCSTLClassifier(**SMALL).fit(pd.DataFrame({"a": ["Tea"], "b": ["Rain"]}), ["x"])
    with pytest.raises(ValueError, match="at least one non-zero"):
        MCSTLClassifier(**SMALL).fit(X, y, sample_weight=np.zeros(20))
    model = MCSTLClassifier(**SMALL).fit(X, y)
    with pytest.raises(InputError, match="was fitted on numbers; X is texts"):
        model.predict(TEXTS)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["low", "medium", "high"], "usual order: low, medium, high"),
        (["sports", "arts", "politics"], "they have no known one"),
    ],
)
def test_words_that_do_not_sort_in_their_order_are_warned_about(
    words: list[str], said: str
) -> None:
    X = np.random.default_rng(0).normal(size=(30, 2))
    with pytest.warns(Notice, match=f"ordered as they sort, .*{said}"):
        MCSTLClassifier(**SMALL | {"epochs": 1}).fit(X, words * 10)
    MCSTLClassifier(**SMALL | {"epochs": 1}).fit(X, ["bad", "fair", "good"] * 10)
