"""Data sets that tell what their annotators value: AwA and CADE; and LiveNLI's explanations."""

import logging
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.parts import split_parts
from mcstl.groups import fit_scheme
from mcstl.studies.study_file import Study

ATTITUDES = (
    "altruism",
    "empathy",
    "freeSpeech",
    "harmHateSpeech",
    "lingPurism",
    "racism",
    "traditionalism",
)
FOUNDATIONS = ("care", "fairness", "loyalty", "authority", "purity")


def awa(root: Path) -> Path:
    """Write ten tweets, rated by six people each."""
    rows = [
        {
            "postId": tweet,
            "tweet": f"Tweet {tweet}",
            "annId": who,
            "annotatorAge": 25.0 if who else np.nan,
            "annotatorGender": ("na", "woman", "man")[who % 3],
            "annotatorPolitics": (-1.0, 0.0, 0.5)[who % 3],
            "annotatorRace": "na" if who == 1 else "white",
            **{name: 1 + (who + k) % 5 for k, name in enumerate(ATTITUDES)},
            "toyou": 1 + (tweet + who) % 5,
            "racist": 1 + tweet % 5,
        }
        for tweet in range(10)
        for who in range(6)
    ]
    (root / "awa").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(root / "awa" / "largeScale.csv")
    return root


def cade(root: Path, second_text: str) -> Path:
    """Write six comments by four people each; one comment has another text once."""
    rows = [
        {
            "text_id": f"Ug{comment}",
            "text": f"Good for  them! {comment}" if (comment, who) != (3, 2) else second_text,
            "annotator_id": f"p{who}",
            "stakeholder": ("student", "activist")[who % 2],
            "stance": float(who % 3 - 1),
            "acceptability": np.nan if comment == who == 1 else float(1 + (comment + who) % 4),
            "Gender identity": "Prefer not to say" if who == 0 else "Female",
            **{name: (who + k) / 6 for k, name in enumerate(FOUNDATIONS)},
        }
        for comment in range(6)
        for who in range(4)
    ]
    (root / "cade").mkdir(parents=True)
    pd.DataFrame(rows).to_parquet(root / "cade" / "cade.parquet")
    return root


def livenli(root: Path) -> Path:
    answers = ["true | either", "either", "false", "true | either | false"]
    rows = [
        {
            "uid": f"{item}n",
            "premise": f'It "rains" {item}.',
            "hypothesis": "It is wet.",
            "worker_id": f"w{who}",
            "multilabel": answer,
            "explanation": f"Because of {who}",
        }
        for item in range(5)
        for who, answer in enumerate(answers)
    ]
    (root / "livenli").mkdir(parents=True)
    pd.DataFrame(rows).to_csv(root / "livenli" / "livenli.csv", index=False)
    return root


def names_of_default_groups(name: str, data: Annotations) -> list[str]:
    config = Study(data={"dataset": name}).groups_for(data).model_copy(update={"min_size": 1})
    return [group.name for group in fit_scheme(config, data).groups]


def test_awa_has_attitudes_as_groups_in_bands(tmp_path: Path) -> None:
    data = datasets.load("awa", data_dir=awa(tmp_path))
    assert (data.task, data.classes) == ("ordinal", ("1", "2", "3", "4", "5"))
    assert data.frame["item"].nunique() == 10
    assert data.labels[:6].tolist() == [0, 1, 2, 3, 4, 0]
    first = data.frame.iloc[0]
    assert first[["gender", "age"]].tolist() == [None, None]
    assert data.frame["race"].iloc[1] is None
    names = names_of_default_groups("awa", data)
    assert "politics=0 to below 0.5" in names
    assert {name.split("=")[0] for name in names} == {
        "altruism",
        "empathy",
        "free speech",
        "harm of hate speech",
        "linguistic purism",
        "racist beliefs",
        "traditionalism",
        "politics",
    }


def test_another_rating_of_awa_is_named_as_the_label(tmp_path: Path) -> None:
    data = datasets.load("awa", data_dir=awa(tmp_path), columns={"label": "racist"})
    assert data.labels.tolist() == [tweet % 5 for tweet in range(10) for _ in range(6)]
    with pytest.raises(InputError, match=r"'rasist' is not in .*largeScale.csv.*'racist'"):
        datasets.load("awa", data_dir=tmp_path, columns={"label": "rasist"})


def test_a_comment_of_cade_in_two_spellings_is_one_item(tmp_path: Path) -> None:
    data = datasets.load("cade", data_dir=cade(tmp_path, " Good for them!\n3"))
    assert data.frame["item"].nunique() == data.frame["text"].nunique() == 6
    assert data.dropped == {"label missing or outside `labels`": 1}
    assert data.frame["gender"].iloc[0] is None
    assert {name.split("=")[0] for name in names_of_default_groups("cade", data)} == {*FOUNDATIONS}


def test_a_row_of_cade_with_the_text_of_nothing_is_left_out(tmp_path: Path) -> None:
    root = cade(tmp_path, ",")
    data = datasets.load(
        "cade",
        data_dir=root,
        columns={"label": "stance"},
        labels={"for": [-1], "neutral": [0], "against": [1]},
    )
    assert len(data) == 23
    assert data.dropped == {"text is another than its id's": 1}
    assert data.labels[:4].tolist() == [0, 1, 2, 0]


def test_every_answer_of_livenli_is_an_annotation_with_its_explanation(tmp_path: Path) -> None:
    data = datasets.load("livenli", data_dir=livenli(tmp_path))
    assert data.classes == ("false", "either", "true")
    assert data.labels[:7].tolist() == [2, 1, 1, 0, 2, 1, 0]
    assert data.frame["rationale"].iloc[:2].tolist() == ["Because of 0"] * 2
    assert split_parts(data.frame["text"].iloc[0]) == ['It "rains" 0.', "It is wet."]


def test_single_answers_of_livenli_leave_the_others_out(tmp_path: Path) -> None:
    data = datasets.load("livenli-single", data_dir=livenli(tmp_path))
    assert data.classes == ("false", "either", "true")
    assert data.labels[:4].tolist() == [1, 0, 1, 0]
    assert data.dropped == {"label missing or outside `labels`": 10}


def test_real_single_answers_of_livenli(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("livenli-single", data_dir=data_dir)
    assert caplog.text == ""
    assert np.bincount(data.labels).tolist() == [322, 412, 434]
    assert data.dropped == {"label missing or outside `labels`": 237}


def test_real_awa(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("awa", data_dir=data_dir)
    assert caplog.text == ""
    assert np.bincount(data.labels).tolist() == [1068, 522, 426, 427, 1020]
    assert (data.frame["item"].nunique(), data.frame["annotator"].nunique()) == (627, 184)
    assert data.dropped == {}
    assert data.frame["gender"].value_counts().to_dict() == {
        "man": 1934,
        "woman": 1464,
        "nonBinary": 26,
    }
    assert data.frame["age"].isna().sum() == data.frame["race"].isna().sum() == 41
    names = names_of_default_groups("awa", data)
    assert [name for name in names if name.startswith("altruism")] == [
        "altruism=below 4",
        "altruism=4 to below 5",
        "altruism=5 and above",
    ]


def test_real_cade(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("cade", data_dir=data_dir)
    assert caplog.text == ""
    assert np.bincount(data.labels).tolist() == [4592, 3532, 1990, 1477]
    assert (data.frame["item"].nunique(), data.frame["annotator"].nunique()) == (2094, 57)
    assert data.dropped == {
        "text is another than its id's": 1,
        "label missing or outside `labels`": 343,
    }
    people = data.frame.drop_duplicates("annotator")
    assert people["gender"].value_counts(dropna=False).to_dict() == {
        "Female": 34,
        "Male": 20,
        "Non-binary": 2,
        None: 1,
    }
    assert len(names_of_default_groups("cade", data)) == 15


def test_real_livenli(data_dir: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, logger="mcstl"):
        data = datasets.load("livenli", data_dir=data_dir)
    assert caplog.text == ""
    assert np.bincount(data.labels).tolist() == [441, 627, 585]
    assert (data.frame["item"].nunique(), data.frame["annotator"].nunique()) == (122, 48)
    assert data.frame["rationale"].nunique() == 1405
    assert {len(split_parts(text)) for text in data.frame["text"]} == {2}
