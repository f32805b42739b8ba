"""Checks for leaks: each fires on data that have the leak, and is silent on data that have not."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from mcstl._support.errors import Notice
from mcstl.data.annotations import Annotations
from mcstl.data.splits import SplitBy
from mcstl.encoding.encoders import load_encoder
from mcstl.evaluation.leak_checks import LeakCheck, check_leaks, check_shuffled_groups
from mcstl.groups import AttributesConfig, fit_scheme
from mcstl.groups.label_leakage import leakage_of
from mcstl.studies.preparation import prepare
from mcstl.studies.run import seed_data
from mcstl.studies.study_file import Study

WORDS = np.array(
    [
        "river",
        "market",
        "school",
        "garden",
        "winter",
        "letter",
        "doctor",
        "engine",
        "summer",
        "bridge",
    ]
)


def table(seed: int = 0, n: int = 300) -> pd.DataFrame:
    """Made-up texts, each judged twice by two of 20 people who toss a coin, with values."""
    random = np.random.default_rng(seed)
    texts = [f"{i} " + " ".join(random.permutation(WORDS)) for i in range(n // 2)]
    return pd.DataFrame(
        {
            "text": np.repeat(texts, 2),
            "annotator": [f"person {i}" for i in random.integers(20, size=n)],
            "label": random.integers(2, size=n),
            "values": random.choice(["care", "order", "care|order"], size=n),
            "rationale": [" ".join(words) for words in random.choice(WORDS, (n, 5))],
        }
    )


def checks(frame: pd.DataFrame, by: SplitBy = "item", **fields: Any) -> dict[str, LeakCheck]:
    study = Study(
        data={"file": "unused"},
        groups=fields.get("groups", {"by": "taxonomy", "min_size": 1}),
        split={"by": by},
        seeds=1,
    )
    data = Annotations.from_frame(frame, task=fields.get("task", "binary"))
    prepared = prepare(study, data, load_encoder(), 0)
    return {check.check: check for check in check_leaks(seed_data(study, prepared))}


def test_nothing_fires_where_nothing_leaks() -> None:
    found = checks(table())
    assert set(found) == {
        *("same text", "same person", "near-duplicate text", "unseen combination of groups"),
        *("groups alone", "words of the rationale"),
    }
    fires = {name for name, check in found.items() if check.fires}
    assert fires == {"same person"}  # as they must where items are split
    assert found["same text"].value == 0
    assert found["same person"].value == 1


def test_the_same_text_is_seen_whatever_its_case_and_spaces() -> None:
    frame = table()
    assert checks(frame, "annotation")["same text"].value > 0.5
    assert not checks(frame, "annotator")["same person"].fires
    shouted = frame.assign(text=frame["text"].str.upper() + "  ")
    assert checks(pd.concat([frame, shouted]))["same text"].value > 0.5


def test_a_near_duplicate_is_seen() -> None:
    frame = table().assign(text=lambda rows: rows["text"].str.replace(r"^\d+ ", "", regex=True))
    frame["text"] = frame["text"] + [f", {i // 2}" for i in range(len(frame))]
    altered = frame.assign(text=frame["text"] + " indeed")
    found = checks(pd.concat([frame, altered]))["near-duplicate text"]
    assert found.fires
    assert found.value > 0.5


def test_groups_and_rationales_that_tell_the_label_are_seen() -> None:
    frame = table()
    told = frame.assign(values=np.where(frame["label"] == 1, "care", "order"))
    with pytest.warns(Notice, match="mostly encode the label"):
        alone = checks(told)["groups alone"]
    assert alone.value == pytest.approx(1)
    assert alone.fires
    said = frame.assign(rationale=np.where(frame["label"] == 1, "I like it", "I hate it"))
    assert checks(said)["words of the rationale"].fires


@pytest.mark.parametrize("of_people", [True, False])
def test_people_who_answer_differently_are_no_leak(of_people: bool) -> None:
    random = np.random.default_rng(0)
    frame = table(n=600)
    numbers = frame["annotator"].str.split().str[1].astype(int)
    strict = (numbers < 10 if of_people else pd.Series(random.random(600) < 0.5)).to_numpy()
    frame["label"] = (random.random(600) < np.where(strict, 0.7, 0.35)).astype(int)
    frame["role"] = np.where(strict, "strict", "mild")
    groups = {"by": "attributes", "attributes": ["role"], "min_size": 1}
    alone = checks(frame, groups=groups)["groups alone"]
    assert 0.6 < alone.value < 0.75
    assert alone.fires != of_people
    assert ("Groups differ in how often they say 1" in alone.explanation) == of_people
    data = Annotations.from_frame(frame, task="binary")
    scheme = fit_scheme(AttributesConfig(attributes=("role",), min_size=1), data)
    message = leakage_of(scheme.assign(data), data)
    expected = (
        "groups differ in how often they say 1; the group alone ranks"
        if of_people
        else ("the groups tell something of the label")
    )
    assert message.startswith(expected)


def test_people_who_always_answer_the_same_are_told() -> None:
    frame = table()
    numbers = frame["annotator"].str.split().str[1].astype(int)
    frame["label"] = (numbers < 10).astype(int)
    frame["role"] = np.where(numbers < 10, "strict", "mild")
    groups = {"by": "attributes", "attributes": ["role"], "min_size": 1}
    with pytest.warns(Notice, match="mostly encode the label"):
        alone = checks(frame, groups=groups)["groups alone"]
    assert alone.fires


def test_a_side_named_in_a_rationale_is_no_leak_where_pairs_are_neutralised() -> None:
    frame = table().rename(columns={"text": "text_a"})
    frame["text_b"] = frame["text_a"].iloc[::-1].to_numpy()
    side = np.where(frame["label"] == 1, "argument 1 is better: ", "A2 is better: ")
    frame["rationale"] = side + frame["rationale"]
    found = checks(frame, "annotation", task="preference", groups={"by": "rationale", "k": 2})
    assert found["words of the rationale"].unit == "accuracy"
    assert not found["words of the rationale"].fires


def test_a_combination_of_groups_that_training_lacks_is_seen() -> None:
    frame = table()
    parts = prepare(
        Study(data={"file": "unused"}, groups={"by": "taxonomy", "min_size": 1}, seeds=1),
        Annotations.from_frame(frame, task="binary"),
        load_encoder(),
        0,
    ).parts
    frame.loc[:, "values"] = "care"
    frame.loc[frame.index[::2], "values"] = "order"
    frame.loc[frame.index[parts.test], "values"] = "care|order"
    assert checks(frame, "annotation")["unseen combination of groups"].value == 1


def test_a_gain_of_shuffled_groups_is_told_where_its_interval_says_so() -> None:
    methods = [{"name": "none"}, {"name": "shuffled", "label": "dealt"}]
    for low, fires in ((-0.01, False), (0.01, True)):
        gain = {"auc": {"mean": 0.02, "low": low, "high": 0.03}}
        results = {
            "study": {"methods": methods},
            "data": {"task": "binary"},
            "differences": {"baseline": "none", "methods": {"dealt": gain}},
        }
        (check,) = check_shuffled_groups(results)
        assert (check.value, check.unit, check.fires) == (0.02, "gain in AUC on none", fires)
