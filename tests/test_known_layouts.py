"""Studies drafted for tables laid out as published data sets are; all texts are made up."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML

from mcstl.studies.first_study import guess_study
from mcstl.studies.study_file import Study

N_ITEMS, N_PEOPLE, PER_ITEM = 60, 12, 5


def texts(kind: str = "remark", n: int = N_ITEMS) -> list[str]:
    return [f"A {kind} {i} about the old garden with tall green trees." for i in range(n)]


def long_table(*names: str) -> pd.DataFrame:
    """Items judged by five of twelve people each; a column per name, of the person."""
    random = np.random.default_rng(0)
    who = np.concatenate([random.permutation(N_PEOPLE)[:PER_ITEM] for _ in range(N_ITEMS)])
    item = np.repeat(np.arange(N_ITEMS), PER_ITEM)
    table = pd.DataFrame({"i": item, "who": who, "text": np.array(texts(), dtype=object)[item]})
    table["label"] = (item + (random.random(len(item)) < 0.4) + (who % 3 == 0)) % 3
    return table


def person(table: pd.DataFrame, answers: list[Any]) -> list[Any]:
    return [answers[w % len(answers)] for w in table["who"]]


def goemotions() -> pd.DataFrame:
    t = long_table()
    random = np.random.default_rng(1)
    out = pd.DataFrame({"text": t["text"], "id": [f"ed{i}" for i in t["i"]]})
    out["author"] = [f"user{i % 20}" for i in t["i"]]
    out["subreddit"] = [["gardens", "trees"][i % 2] for i in t["i"]]
    out["created_utc"] = [1.5e9 + i for i in t["i"]]
    out["rater_id"] = t["who"]
    out["example_very_unclear"] = False
    for name in ("admiration", "amusement", "anger", "joy", "sadness", "neutral"):
        out[name] = (random.random(len(t)) < 0.3).astype(int)
    return out


def sbic() -> pd.DataFrame:
    t = long_table()
    out = pd.DataFrame({"whoTarget": [[1.0, 0.0, None][y] for y in t["label"]]})
    out["intentYN"] = [[0.0, 0.33, 1.0][(y + 1) % 3] for y in t["label"]]
    out["sexYN"] = 0.0
    out["offensiveYN"] = [[0.0, 0.5, 1.0][y] for y in t["label"]]
    out["annotatorGender"] = person(t, ["woman", "man"])
    out["annotatorMinority"] = person(t, [None, "queer", None])
    out["WorkerId"] = [f"W{w:04x}" for w in t["who"]]
    out["HITId"] = [f"H{k // 3}" for k in range(len(t))]
    out["annotatorPolitics"] = person(t, ["liberal", "mod-liberal", "conservative"])
    out["annotatorRace"] = person(t, ["white", "black", "asian"])
    out["annotatorAge"] = person(t, [22.0, 31.0, 38.0, 45.0, 27.0, 60.0])
    out["post"] = t["text"]
    out["targetCategory"] = [["race", None][i % 2] for i in t["i"]]
    out["dataSource"] = [["a", "b", "c"][i % 3] for i in t["i"]]
    return out


def mhs() -> pd.DataFrame:
    t = long_table()
    random = np.random.default_rng(2)
    out = pd.DataFrame({"comment_id": t["i"], "annotator_id": t["who"]})
    out["platform"] = [i % 4 for i in t["i"]]
    for name in ("sentiment", "respect", "insult", "humiliate", "violence"):
        out[name] = random.integers(0, 5, len(t)).astype(float)
    out["hatespeech"] = t["label"].astype(float)
    out["hate_speech_score"] = [i / 7 - 3 for i in t["i"]]
    out["text"] = t["text"]
    for name in ("race", "religion", "gender"):
        out[f"target_{name}"] = random.random(len(t)) < 0.3
    out["annotator_gender"] = person(t, ["female", "male"])
    out["annotator_educ"] = person(t, ["college", "masters", "high_school"])
    out["annotator_age"] = person(t, [24.0, 31.0, 44.0, 52.0, 67.0])
    return out


def crehate() -> pd.DataFrame:
    random = np.random.default_rng(3)
    out = pd.DataFrame({"ID": range(N_ITEMS), "Text": texts(), "Source": ["X", "Y"] * 30})
    for name in ("US", "AU", "UK", "SA", "SG"):
        out[f"{name}_Hate"] = random.choice(["Hate", "Non-hate"], N_ITEMS)
    return out


def davidson() -> pd.DataFrame:
    random = np.random.default_rng(4)
    votes = np.array([random.multinomial(3, [0.2, 0.5, 0.3]) for _ in range(N_ITEMS)])
    out = pd.DataFrame({"": range(N_ITEMS), "count": 3})
    for k, name in enumerate(("hate_speech", "offensive_language", "neither")):
        out[name] = votes[:, k]
    return out.assign(**{"class": votes.argmax(axis=1), "tweet": texts()})


def exist() -> list[dict[str, Any]]:
    random = np.random.default_rng(5)
    records = []
    for i, text in enumerate(texts()):
        who = sorted(random.permutation(N_PEOPLE)[:6].tolist())
        records.append(
            {
                "id_EXIST": str(100 + i),
                "lang": "en",
                "tweet": text,
                "number_annotators": 6,
                "annotators": [f"Annotator_{w}" for w in who],
                "gender_annotators": ["FM"[w % 2] for w in who],
                "age_annotators": [["18-22", "23-45", "46+"][w % 3] for w in who],
                "labels_task1": random.choice(["YES", "NO"], 6).tolist(),
                "labels_task2": random.choice(["REPORTED", "DIRECT", "-"], 6).tolist(),
                "split": ["TRAIN_EN", "TRAIN_EN", "DEV_EN"][i % 3],
            }
        )
    return records


def lewidi_2025() -> dict[str, Any]:
    random = np.random.default_rng(6)
    entries = {}
    for i, text in enumerate(texts()):
        who = sorted(random.permutation(N_PEOPLE)[:4].tolist())
        answers = {f"Ann{w}": str(random.integers(1, 7)) for w in who}
        entries[str(i)] = {
            "annotation task": "sarcasm detection",
            "text": {"context": f"Somebody speaks, number {i}.", "response": text},
            "number of annotations": 4,
            "annotators": ",".join(answers),
            "annotations": answers,
            "soft_label": {str(k): 0.0 for k in range(1, 7)},
            "split": "dev",
            "lang": "en",
        }
    return entries


def lewidi_2023() -> dict[str, Any]:
    random = np.random.default_rng(7)
    views = {"Ann1": "Moderate", "Ann2": "Liberal", "Ann3": "Conservative"}
    return {
        str(i): {
            "text": text,
            "annotations": ",".join(map(str, (labels := random.integers(0, 2, 3)))),
            "annotators": "Ann1,Ann2,Ann3",
            "hard_label": str(int(labels.sum() > 1)),
            "soft_label": {"0": 1 - labels.mean(), "1": labels.mean()},
            "split": "dev",
            "other_info": views,
        }
        for i, text in enumerate(texts())
    }


def hs_brexit() -> pd.DataFrame:
    random = np.random.default_rng(8)
    out = pd.DataFrame({"tweet_id": range(N_ITEMS), "tweet": texts()})
    for group in ("target", "control"):
        for k in (1, 2, 3):
            out[f"{group}_{k}"] = random.integers(0, 2, N_ITEMS)
    return out


def awa() -> pd.DataFrame:
    t = long_table()
    random = np.random.default_rng(9)
    out = pd.DataFrame({"postId": t["i"], "tweet": t["text"]})
    out["ogLabelToxic"] = [i % 2 == 0 for i in t["i"]]
    out["altruism"] = person(t, [2, 3, 4, 5, 1])
    out["annotatorAge"] = person(t, [40.0, 35.0, 22.0, 61.0, 54.0, 29.0, 33.0])
    out["annotatorGender"] = person(t, ["woman", "man", "na"])
    out["harmHateSpeech"] = person(t, [5, 4, 3, 1])
    for name in ("intent", "racist", "toany"):
        out[name] = random.integers(1, 6, len(t))
    out["toyou"] = t["label"] + 1
    out["off_avg"] = out["toyou"] + 0.5
    out["annId"] = t["who"] + 1000
    return out


def cade() -> pd.DataFrame:
    t = long_table()
    random = np.random.default_rng(10)
    out = pd.DataFrame({"text_id": [f"Ug{i}" for i in t["i"]], "text": t["text"]})
    out["annotator_id"] = [f"{w:08x}" for w in t["who"]]
    out["stakeholder"] = person(t, ["researcher", "journalist"])
    out["stance"] = random.choice([-1.0, 0.0, 1.0], len(t))
    out["acceptability"] = random.choice([1.0, 2.0, 3.0, 4.0], len(t))
    for k, name in enumerate(("care", "fairness", "purity")):
        out[name] = person(t, [(j * (k + 2)) % 11 / 2 for j in range(11)])
    out["Gender identity"] = person(t, ["Female", "Male", "Prefer not to say"])
    out["annotation_id"] = [f"annotation_{k}" for k in range(len(t))]
    return out


def livenli() -> pd.DataFrame:
    t = long_table()
    answers = ["true", "either", "false", "true | either", "either", "false"]
    out = pd.DataFrame({"uid": [f"{i}n" for i in t["i"]], "premise": t["text"]})
    out["hypothesis"] = [f"There is a garden {i} somewhere." for i in t["i"]]
    out["chaos_dist"] = [f"{{'c': {i}, 'e': 14, 'n': 75}}" for i in t["i"]]
    out["mnli_labels"] = [f"['neutral', 'entailment', '{'ab'[i % 2]}']" for i in t["i"]]
    out["worker_id"] = [f"w{w}" for w in t["who"]]
    out["multilabel"] = [answers[k % len(answers)] for k in range(len(t))]
    out["explanation"] = texts("reason", len(t))
    out["highlight_p"] = [f"{{'entities': [{{'text': 'the old garden {i}'}}]}}" for i in t["i"]]
    return out


def popquorn() -> pd.DataFrame:
    t = long_table()
    out = pd.DataFrame({"instance_id": t["i"], "user_id": t["who"], "text": t["text"]})
    out["offensiveness"] = t["label"] + 1.0
    out["gender"] = person(t, ["Man", "Woman"])
    out["occupation"] = person(t, ["Employed", "Student", "Prefer not to disclose"])
    return out


ATTRIBUTES = "attributes"
EXPECTED: dict[Callable[[], Any], dict[str, Any]] = {
    goemotions: {
        "columns": {"item": "id", "text": "text", "annotator": "rater_id"},
        "layout": "one-hot",
        "groups": "none",
        "task": "multilabel",
        "says": "each row may have several of admiration",
    },
    sbic: {
        "columns": {"text": "post", "label": "offensiveYN", "annotator": "WorkerId"},
        "groups": ["annotatorGender", "annotatorPolitics", "annotatorRace", "annotatorAge"],
    },
    mhs: {
        "columns": {
            "item": "comment_id",
            "text": "text",
            "label": "hatespeech",
            "annotator": "annotator_id",
        },
        "groups": ["annotator_gender", "annotator_educ", "annotator_age"],
    },
    crehate: {
        "columns": {"item": "ID", "text": "Text"},
        "layout": "wide",
        "groups": ["country"],
        "says": "each of 5 countries",
    },
    davidson: {
        "columns": {"text": "tweet"},
        "layout": "counts",
        "groups": "none",
        "says": "LEAK, gives the label away: class",
    },
    exist: {
        "columns": {
            "item": "id_EXIST",
            "text": "tweet",
            "label": "labels_task1",
            "annotator": "annotators",
        },
        "layout": "lists",
        "groups": ["gender_annotators", "age_annotators"],
        "split": {"column": "split"},
    },
    lewidi_2025: {
        "columns": {
            "item": "id",
            "text": ["text.context", "text.response"],
            "label": "annotations",
            "annotator": "annotators",
        },
        "layout": "lists",
        "groups": "none",
        "says": "annotations holds the labels of a text's annotators beside annotators",
    },
    lewidi_2023: {
        "columns": {
            "item": "id",
            "text": "text",
            "label": "annotations",
            "annotator": "annotators",
        },
        "layout": "lists",
        "groups": ["other_info"],
        "says": "LEAK, gives the label away: hard_label, soft_label",
    },
    hs_brexit: {
        "columns": {"item": "tweet_id", "text": "tweet"},
        "layout": "wide",
        "groups": ["group"],
    },
    awa: {
        "columns": {"item": "postId", "text": "tweet", "label": "toyou", "annotator": "annId"},
        "groups": ["altruism", "annotatorAge", "annotatorGender", "harmHateSpeech"],
        "says": "LEAK, gives the label away: off_avg",
    },
    cade: {
        "columns": {
            "annotation_id": "annotation_id",
            "item": "text_id",
            "text": "text",
            "label": "acceptability",
            "annotator": "annotator_id",
        },
        "groups": ["stakeholder", "care", "fairness", "purity", "Gender identity"],
        "says": "or: stance",
    },
    livenli: {
        "columns": {
            "item": "uid",
            "text": ["premise", "hypothesis"],
            "label": "multilabel",
            "annotator": "worker_id",
            "rationale": "explanation",
        },
        "groups": "rationale",
        "task": "multilabel",
        "says": "3 questions, each answered yes or no",
    },
    popquorn: {
        "columns": {
            "item": "instance_id",
            "text": "text",
            "label": "offensiveness",
            "annotator": "user_id",
        },
        "groups": ["gender", "occupation"],
    },
}


@pytest.mark.parametrize("make", EXPECTED, ids=lambda make: make.__name__)
def test_init_guesses_what_the_columns_are(tmp_path: Path, make: Callable[[], Any]) -> None:
    expected, made = EXPECTED[make], make()
    path = tmp_path / ("a.csv" if isinstance(made, pd.DataFrame) else "a.json")
    if isinstance(made, pd.DataFrame):
        made.to_csv(path, index=False)
    else:
        path.write_text(json.dumps(made))
    out = tmp_path / "a.yaml"
    text = guess_study(path, out)
    study = YAML(typ="safe", pure=True).load(text)
    assert study["data"]["columns"] == expected["columns"]
    layout = study["data"].get("layout", "long")
    assert (layout if isinstance(layout, str) else next(iter(layout))) == expected.get(
        "layout", "long"
    )
    assert study["task"] == expected.get("task", study["task"])
    groups = study["groups"]
    if isinstance(expected["groups"], list):
        assert groups["attributes"] == expected["groups"]
    else:
        assert expected["groups"] == (groups if isinstance(groups, str) else groups["by"])
    assert expected.get("says", "") in text
    assert study["split"] == expected.get("split", study["split"])
    # The order of classes is all that is left to the reader.
    out.write_text(text.replace("\n# labels:", "\nlabels:"))
    checked = Study.read(out)
    data = checked.load()
    assert len(data.classes) > 1
    assert not any(answer in ("na", "Prefer not to say") for answer in data.frame.to_numpy().flat)
