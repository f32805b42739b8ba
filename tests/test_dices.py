"""DICES in files of the source's columns: text, order of the classes, raters, bad files."""

import csv
from pathlib import Path

import numpy as np
import pytest

from mcstl import datasets
from mcstl._support.errors import InputError

RATER = ("rater_gender", "rater_locale", "rater_race", "rater_raw_race", "rater_age")
TAIL = (
    "context",
    "response",
    "degree_of_harm",
    "harm_type",
    "Q1_whole_conversation_evaluation",
    "Q2_harmful_content_overall",
    "Q3_bias_overall",
    "Q4_misinformation_overall",
    "Q_overall",
)
ANSWERS = ("Yes", "No", "Unsure")


def dices(root: Path, size: int, drop: str = "") -> Path:
    """Two raters of three conversations, in the columns of `size`."""
    timing = () if size == 990 else ("answer_time_ms", "answer_timestamp")
    header = ("id", "rater_id", *RATER, "rater_education", "phase", "item_id", *timing, *TAIL)
    people = {
        "296758": ("Woman", "US", "White", "White", "gen z", "College degree or higher"),
        "296759": ("Man", "India", "Asian/Asian subcontinent", "Indian", "gen x+", "Other"),
    }
    rows: list[tuple[str, ...]] = []
    for item in range(3):
        for k, (rater, about) in enumerate(people.items()):
            text = ("" if item == 2 else f"User: Hi, {item}\nBot: Yes?", f'Bot: "No", {item}')
            own = ("1", "2") if timing else ()
            harm = ("Benign", "['Health']", "In English", "No", "No", "No")
            answer = ANSWERS[(item + k) % 3]
            rows.append(
                (str(len(rows)), rater, *about, "Phase1", str(item), *own, *text, *harm, answer)
            )
    wanted = [k for k, name in enumerate(header) if name != drop]
    if size == 350:
        wanted.remove(header.index("rater_locale"))
    path = root / "dices" / str(size) / f"diverse_safety_adversarial_dialog_{size}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([row[k] for k in wanted] for row in (header, *rows))
    return root


def test_the_990(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    data = datasets.load("dices-990", data_dir=dices(tmp_path, 990))
    assert data.classes == ("unsafe", "unsure", "safe")
    assert data.labels.tolist() == [0, 2, 2, 1, 1, 0]
    assert data.frame["text"].tolist()[::2] == [
        'User: Hi, 0\nBot: Yes?\n\nBot: "No", 0',
        'User: Hi, 1\nBot: Yes?\n\nBot: "No", 1',
        'Bot: "No", 2',
    ]
    assert data.attributes == ("gender", "race", "age", "locale", "education")
    assert data.frame.iloc[0][list(data.attributes)].tolist() == [
        "Woman",
        "White",
        "gen z",
        "US",
        "College degree or higher",
    ]
    assert data.frame["annotator"].nunique() == 2
    assert "dices-990 has 6 annotations where the source has 72,103" in caplog.text


def test_the_350_has_no_locale(tmp_path: Path) -> None:
    data = datasets.load("dices-350", data_dir=dices(tmp_path, 350), task="binary")
    assert data.attributes == ("gender", "race", "age", "education")
    assert datasets.sources()["dices-350"].groups["attributes"] == ["gender", "race", "age"]
    assert np.bincount(data.labels).tolist() == [2, 2]
    assert sum(data.dropped.values()) == 2  # unsure


@pytest.mark.parametrize("column", ["Q_overall", "rater_locale", "context"])
def test_a_column_that_is_missing_is_named(tmp_path: Path, column: str) -> None:
    with pytest.raises(InputError, match=rf"column '{column}' is not in .*990.csv; found: "):
        datasets.load("dices-990", data_dir=dices(tmp_path, 990, drop=column))
