"""Drafted studies: what is guessed for tables of well-known shapes, and for awkward ones."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.scales import usual_order
from mcstl.data.splits import split
from mcstl.encoding.english import not_english
from mcstl.groups import fit_scheme
from mcstl.studies.first_study import guess_study
from mcstl.studies.first_study.comments import WIDTH, comment
from mcstl.studies.study_file import Study


def sentences(n: int, kind: str = "note", words: int = 8) -> list[str]:
    """Made-up texts about gardens, each different."""
    filler = "the old garden has tall green trees and a pond near every gate"
    return [f"A {kind} {i}: {' '.join(filler.split()[:words])}." for i in range(n)]


def dices() -> pd.DataFrame:
    """Every rater judges every conversation; columns as in the 990 file."""
    random = np.random.default_rng(0)
    n_items, n_raters = 30, 40
    people = pd.DataFrame({"rater_id": [f"29{i:03}" for i in range(n_raters)]})
    people["rater_gender"] = random.choice(["Man", "Woman"], n_raters)
    people["rater_locale"] = random.choice(["US", "IN"], n_raters)
    people["rater_race"] = random.choice(["Asian/Asian subcontinent", "White", "Other"], n_raters)
    people["rater_raw_race"] = [f"{race}, self-described" for race in people["rater_race"]]
    people["rater_age"] = random.choice(["gen z", "millenial", "gen x+"], n_raters)
    people["rater_education"] = random.choice(["College degree or higher", "High school"], n_raters)
    people["phase"] = random.choice(["Phase1", "Phase2"], n_raters)
    items = pd.DataFrame({"item_id": range(n_items)})
    items["context"] = sentences(n_items, "long talk", 13)
    items["response"] = sentences(n_items, "reply", 4)
    items["degree_of_harm"] = random.choice(["Benign", "Extreme", "Moderate"], n_items)
    items["harm_type"] = random.choice(["Legal", "Health", "Other"], n_items)
    table = items.merge(people, how="cross")
    for name in (
        "Q1_whole_conversation_evaluation",
        "Q2_harmful_content_overall",
        "Q3_bias_overall",
        "Q4_misinformation_overall",
        "Q_overall",
    ):
        table[name] = random.choice(["Yes", "No", "Unsure"], len(table), p=[0.3, 0.6, 0.1])
    table.insert(0, "id", range(len(table)))
    return table


def d3code() -> pd.DataFrame:
    """Items, raters and ratings joined into one table."""
    random = np.random.default_rng(1)
    n_items, n_raters = 60, 50
    items = pd.DataFrame({"item_id": range(n_items), "text": sentences(n_items)})
    items["category"] = random.choice(["random", "moral", "social"], n_items)
    raters = pd.DataFrame({"rater_id": [f"R_{i:x}" for i in range(n_raters)]})
    raters["Age"] = random.choice(["18-30", "30-50", "50+"], n_raters)
    raters["Gender"] = random.choice(["Man", "Woman"], n_raters)
    raters["Region"] = random.choice(["Arab Culture", "Sinosphere", "Western Europe"], n_raters)
    raters["SES"] = random.integers(1, 11, n_raters)
    raters["care"] = random.integers(10, 60, n_raters) / 12
    table = items.merge(raters, how="cross").sample(1500, random_state=0)
    table["rating_raw"] = random.choice([-1, 0, 1, 2, 3, 4], len(table))
    table["rating_binary"] = [["na", "0", "0", "1", "1", "1"][r + 1] for r in table["rating_raw"]]
    return table


def valueprism() -> pd.DataFrame:
    random = np.random.default_rng(2)
    n = 600
    table = pd.DataFrame({"situation": [sentences(80, "situation", 6)[i // 8] for i in range(n)]})
    table["vrd"] = random.choice(["Value", "Right", "Duty"], n)
    table["text"] = [f"Duty to garden {i}" for i in random.integers(0, 90, n)]
    table["explanation"] = sentences(n, "reason why", 12)
    table["valence"] = random.choice(["Supports", "Either", "Opposes"], n)
    return table


def write(folder: Path, table: pd.DataFrame, name: str = "table.csv") -> Path:
    path = folder / name
    if path.suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    else:
        table.to_csv(path, index=False)
    return path


def drafted(path: Path) -> tuple[dict[str, Any], str]:
    """The study as it is read, and its text; what is drafted has to be usable as it stands."""
    text = guess_study(path)
    study = YAML(typ="safe", pure=True).load(text)
    checked = Study(**study)
    data = Annotations.read(
        path,
        columns=checked.data.columns,
        layout=checked.data.layout,
        labels=checked.labels,
        task=checked.task,
    )
    if checked.split.column is not None:
        return study, text
    training = split(data, **study["split"]).train
    if study["groups"] != "none" and study["groups"]["by"] in ("attributes", "taxonomy"):
        scheme = fit_scheme(checked.groups_for(data), data.take(training))
        assert len(scheme.groups) > 1
    return study, text


def test_dices(tmp_path: Path) -> None:
    study, text = drafted(write(tmp_path, dices()))
    assert study == {
        "data": {
            "file": "table.csv",
            "columns": {
                "annotation_id": "id",
                "item": "item_id",
                "text": ["context", "response"],
                "label": "Q_overall",
                "annotator": "rater_id",
            },
        },
        "task": "ordinal",
        "labels": {"No": ["No"], "Unsure": ["Unsure"], "Yes": ["Yes"]},
        "groups": {
            "by": "attributes",
            "attributes": [
                "rater_gender",
                "rater_locale",
                "rater_race",
                "rater_raw_race",
                "rater_age",
                "rater_education",
            ],
            "min_size": 20,
        },
        "split": {"by": "item", "test": 0.2, "validation": 0.1},
    }
    assert "text: [context, response]  # by their names, the parts of the text" in text
    assert "of how the study was run or too thin to make groups: phase" in text
    # An expert's label is the same for all raters of an item, hence a late choice.
    others = "Q2_harmful_content_overall, Q3_bias_overall, Q4_misinformation_overall"
    whole = " ".join(text.replace("\n    #", "").split())
    assert f"by its name, 3 distinct values; or: {others}, Q1_whole" in whole


def test_d3code(tmp_path: Path) -> None:
    study, text = drafted(write(tmp_path, d3code()))
    assert study["data"]["columns"] == {
        "item": "item_id",
        "text": "text",
        "label": "rating_raw",
        "annotator": "rater_id",
    }
    assert study["labels"] == {str(n): [n] for n in range(5)}
    assert "Left out, as they look like no answer: -1" in text
    assert study["groups"]["attributes"] == ["Age", "Gender", "Region", "SES", "care"]
    assert study["groups"]["bands"] == {"SES": 3, "care": 3}
    assert "LEAK, gives the label away: rating_binary" in text


def test_popquorn(data_dir: Path) -> None:
    path = data_dir / "popquorn" / "raw_data.csv"
    if not path.exists():
        pytest.skip("popquorn is not in the data folder")
    study, _ = drafted(path)
    assert study["data"] == {
        "file": "raw_data.csv",
        "columns": {
            "item": "instance_id",
            "text": "text",
            "label": "offensiveness",
            "annotator": "user_id",
        },
    }
    assert study["labels"] == {str(n): [n] for n in range(1, 6)}
    assert study["groups"] == {
        "by": "attributes",
        "attributes": ["gender", "race", "age", "occupation", "education"],
        "min_size": 100,
    }


def test_valueprism(tmp_path: Path) -> None:
    study, _ = drafted(write(tmp_path, valueprism()))
    assert study["data"]["columns"] == {
        "text": "situation",
        "label": "valence",
        "rationale": "explanation",
    }
    assert list(study["labels"]) == ["Opposes", "Either", "Supports"]
    assert study["groups"] == {"by": "rationale", "k": 5}


def test_values_come_before_rationales_and_attributes(tmp_path: Path) -> None:
    table = d3code()
    table["values"] = [["Care|Honesty", "Care", "Fairness"][i % 3] for i in range(len(table))]
    table["reason"] = sentences(len(table), "reason")
    study, text = drafted(write(tmp_path, table))
    assert study["groups"] == {"by": "taxonomy", "source": "column", "min_size": 50}
    assert study["data"]["columns"]["values"] == "values"
    assert study["data"]["columns"]["rationale"] == "reason"
    # The alternatives are ready to be copied.
    others = [
        YAML(typ="safe", pure=True).load(line)
        for line in re.findall(r"^# (?:Or.* |  )groups: (\{.*\})", text, re.M)
    ]
    assert {other["by"] for other in others} == {"rationale", "attributes"}


# Preference


def pairs(n: int = 60) -> pd.DataFrame:
    return pd.DataFrame({"chosen": sentences(n, "reply"), "rejected": sentences(n, "answer", 5)})


def test_chosen_and_rejected_need_no_label(tmp_path: Path) -> None:
    study, text = drafted(write(tmp_path, pairs(), "table.jsonl"))
    assert study["data"]["columns"] == {"chosen": "chosen", "rejected": "rejected"}
    assert study["task"] == "preference"
    assert "labels" not in study
    assert study["groups"] == "none"
    assert "NO GROUPS: no column says whose view a label is" in text


def test_chosen_and_rejected_under_other_names_with_prompt_and_values(tmp_path: Path) -> None:
    table = pairs().rename(columns={"chosen": "responseChosen", "rejected": "responseRejected"})
    table["prompt"] = sentences(60, "question")
    table["human_values"] = [["Care|Honesty", "Fairness", "Care"][i % 3] for i in range(60)]
    study, _ = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {
        "chosen": ["prompt", "responseChosen"],
        "rejected": ["prompt", "responseRejected"],
        "values": "human_values",
    }
    assert study["groups"] == {"by": "taxonomy", "source": "column", "min_size": 2}


@pytest.mark.parametrize(
    ("names", "winner", "labels"),
    [
        (("text_a", "text_b"), ["A", "B", "tie"], {"b": ["B"], "a": ["A"]}),
        (
            ("response_a", "response_b"),
            ["model_a", "model_b", "both bad"],
            {"b": ["model_b"], "a": ["model_a"]},
        ),
        (("argument1", "argument2"), ["a1", "a2", "equal"], {"b": ["a2"], "a": ["a1"]}),
        (("left_text", "right_text"), [1, 2, 2], {"b": [2], "a": [1]}),
        (("a", "b"), [0, 1, 1], {"b": [0], "a": [1]}),
        (("text_1", "text_2"), [-1, 0, 1], {"b": [-1], "a": [1]}),
    ],
)
def test_sides_of_a_pair(
    tmp_path: Path, names: tuple[str, str], winner: list[Any], labels: dict[str, list[object]]
) -> None:
    table = pairs().set_axis(list(names), axis=1)
    table["model_a"], table["model_b"] = ["x1", "x2"] * 30, ["x3", "x4"] * 30
    table["worker"] = [f"w{i % 9}" for i in range(60)]
    table["winner"] = [winner[i % 3] for i in range(60)]
    study, text = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {
        "text_a": names[0],
        "text_b": names[1],
        "label": "winner",
        "annotator": "worker",
    }
    assert study["labels"] == labels
    assert study["task"] == "preference"
    assert "The first class means that text_b is preferred" in text


def test_preference_that_cannot_be_told_is_left_to_the_reader(tmp_path: Path) -> None:
    table = pairs().set_axis(["text_a", "text_b"], axis=1)
    table["preference"] = ["great", "poor", "same"] * 20
    text = guess_study(write(tmp_path, table))
    assert '# labels: {b: ["?"], a: ["?"]}' in text
    assert "(great, poor, same)" in text


# Labels


@pytest.mark.parametrize(
    ("answers", "task", "labels"),
    [
        (["never", "Often", "rarely"], "ordinal", [["never"], ["rarely"], ["Often"]]),
        (
            ["Agree", "Strongly disagree", "Neutral", "disagree"],
            "ordinal",
            [["Strongly disagree"], ["disagree"], ["Neutral"], ["Agree"]],
        ),
        (
            ["high", "medium", "moderate", "low"],
            "ordinal",
            [["low"], ["medium", "moderate"], ["high"]],
        ),
        (["yes", "no", "not_sure"], "ordinal", [["no"], ["not_sure"], ["yes"]]),
        (["Unsafe", "Safe", "unsure"], "ordinal", [["Safe"], ["unsure"], ["Unsafe"]]),
        (["toxic", "non-toxic"], "binary", [["non-toxic"], ["toxic"]]),
        (["offensive", "Not offensive"], "binary", [["Not offensive"], ["offensive"]]),
        (["pear", "apple"], "binary", [["apple"], ["pear"]]),
        (["True", "False"], "binary", [["False"], ["True"]]),
        ([5, 4, 3], "ordinal", [[3], [4], [5]]),
        ([0.5, 1, 1.5], "ordinal", [[0.5], [1], [1.5]]),
        ([0, 1, "na"], "binary", [[0], [1]]),
        ([-1, 0, 1], "ordinal", [[-1], [0], [1]]),
        ([0, 1, 2, 3, 99], "ordinal", [[0], [1], [2], [3]]),
    ],
)
def test_order_of_labels(
    tmp_path: Path, answers: list[object], task: str, labels: list[list[object]]
) -> None:
    n = 120
    table = pd.DataFrame(
        {"text": sentences(n), "rating": [answers[i % len(answers)] for i in range(n)]}
    )
    study, _ = drafted(write(tmp_path, table))
    assert study["task"] == task
    assert list(study["labels"].values()) == labels


def test_words_without_an_order_are_left_to_the_reader(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": sentences(60), "label": ["joy", "anger", "fear"] * 20})
    path = write(tmp_path, table)
    text = guess_study(path)
    study = YAML(typ="safe", pure=True).load(text)
    assert "labels" not in study
    assert "CLASSES: put them in order, lowest first" in text
    # As it stands the study is refused, and the line has only to be put in order.
    with pytest.raises(InputError, match="words without a known order"):
        Annotations.read(path, columns=study["data"]["columns"], task=study["task"])
    study = YAML(typ="safe", pure=True).load(text.replace("# labels:", "labels:"))
    assert sorted(study["labels"]) == ["anger", "fear", "joy"]


def test_continuous_labels_are_refused(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": sentences(60), "toxicity": [i / 61 for i in range(60)]})
    with pytest.raises(
        InputError, match=r"'toxicity', .* has 60 distinct numbers and looks contin"
    ):
        guess_study(write(tmp_path, table))


# Awkward tables


def test_names_in_another_language_are_guessed_by_content(tmp_path: Path) -> None:
    n = 200
    table = pd.DataFrame(
        {
            "wer": [f"p{i % 20}" for i in range(n)],
            "Beitrag": [sentences(20)[i // 10] for i in range(n)],
            "Urteil": np.random.default_rng(0).integers(1, 6, n),
        }
    )
    table["Alter"] = [["18-30", "31-50"][int(who[1:]) % 2] for who in table["wer"]]
    study, text = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {"text": "Beitrag", "label": "Urteil", "annotator": "wer"}
    assert study["groups"]["attributes"] == ["Alter"]
    assert "each value comes with many texts, with each text once" in text


def test_texts_without_blanks(tmp_path: Path) -> None:
    table = pd.DataFrame({"文": [f"この庭には木が{i}本あります" for i in range(60)]})
    table["点"] = [1, 2, 3] * 20
    study, _ = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {"text": "文", "label": "点"}


def test_a_review_and_its_stars(tmp_path: Path) -> None:
    table = pd.DataFrame({"id": range(90), "review": sentences(90), "stars": [1, 2, 3, 4, 5] * 18})
    study, text = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {"item": "id", "text": "review", "label": "stars"}
    assert "NO GROUPS" in text


def test_groups_of_what_is_left_are_called_a_guess(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": sentences(90), "label": [0, 1, 1] * 30})
    table["platform"] = ["forum", "chat"] * 45
    study, text = drafted(write(tmp_path, table))
    assert study["groups"] == {"by": "attributes", "attributes": ["platform"], "min_size": 2}
    assert "# A GUESS: a group for each value" in text


def test_who_wrote_the_text_is_not_who_judged_it(tmp_path: Path) -> None:
    table = d3code().assign(user_id=lambda t: [f"author {i % 7}" for i in t["item_id"]])
    study, _ = drafted(write(tmp_path, table[["user_id", *d3code().columns]]))
    assert study["data"]["columns"]["annotator"] == "rater_id"


def test_comment_is_the_text_or_the_rationale(tmp_path: Path) -> None:
    n = 100
    table = pd.DataFrame({"post": [sentences(20)[i // 5] for i in range(n)], "rating": [0, 1] * 50})
    table["comment"] = sentences(n, "remark", 13)
    study, _ = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {"text": "post", "label": "rating", "rationale": "comment"}
    assert study["groups"] == {"by": "rationale", "k": 5}
    study, _ = drafted(write(tmp_path, table.drop(columns="post")))
    assert study["data"]["columns"] == {"text": "comment", "label": "rating"}


def test_item_that_has_several_texts_is_not_the_item(tmp_path: Path) -> None:
    table = d3code().assign(item_id=lambda t: t["item_id"] // 2)
    study, _ = drafted(write(tmp_path, table))
    assert "item" not in study["data"]["columns"]


def test_an_id_of_which_few_have_several_texts_is_named(tmp_path: Path) -> None:
    table = d3code()
    ids = table["item_id"].unique()
    table.loc[table["item_id"] == ids[1], "item_id"] = ids[0]
    study, text = drafted(write(tmp_path, table))
    assert "item" not in study["data"]["columns"]
    assert f"item_id looks like the item, but 1 of {len(ids) - 1} have several texts" in text


def test_words_of_inference_are_put_in_an_order_that_is_left_to_the_reader(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": sentences(60)})
    table["label"] = ["entailment", "neutral", "contradiction"] * 20
    text = guess_study(write(tmp_path, table))
    said = (
        "# labels: {contradiction: [contradiction], neutral: [neutral], entailment: [entailment]}"
    )
    assert said in text
    assert "each can be a question of its own: task: multilabel" in text


def test_lists_of_values_in_json_lines(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": sentences(90), "label": [0, 1, 1] * 30})
    table["tags"] = [[["Care"], ["Care", "Honesty"], []][i % 3] for i in range(90)]
    study, _ = drafted(write(tmp_path, table, "table.jsonl"))
    assert study["data"]["columns"]["values"] == "tags"
    assert study["groups"]["by"] == "taxonomy"


def test_lists_with_other_separators_are_pointed_out(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": sentences(90), "label": [0, 1, 1] * 30})
    table["values"] = ["Care;Honesty", "Care", "Fairness;Care"] * 30
    _, text = drafted(write(tmp_path, table))
    assert "values seems to hold lists separated by ';': write | instead" in text


def test_numbers_about_people_need_bands(tmp_path: Path) -> None:
    table = d3code().drop(columns=["Gender", "Region", "SES", "Age"])
    table["age"] = [18 + int(who[2:], 16) for who in table["rater_id"]]
    study, _ = drafted(write(tmp_path, table))
    assert study["groups"]["bands"] == {"care": 3, "age": 3}


def test_names_that_yaml_would_misread(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {
            "text: raw #1": sentences(90),
            "label {x}": [["No", "Yes"][i % 2] for i in range(90)],
            "rater, 'id'": [f"w{i % 9}" for i in range(90)],
            "gender\nof rater": ["a", "b", "c"] * 30,
        }
    )
    study, _ = drafted(write(tmp_path, table, "it's: mine.csv"))
    assert study["data"] == {
        "file": "it's: mine.csv",
        "columns": {
            "text": "text: raw #1",
            "label": "label {x}",
            "annotator": "rater, 'id'",
        },
    }
    assert study["labels"] == {"No": ["No"], "Yes": ["Yes"]}
    assert study["groups"]["attributes"] == ["gender\nof rater"]


def test_what_has_to_be_mended_first_is_said(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": [*sentences(20), ""], "label": [0, 1, 1] * 7})
    text = guess_study(write(tmp_path, table))
    assert "# 1 row dropped: no text: row 22 (row 1 has the names of the columns)." in text
    tiny = pd.DataFrame({"text": sentences(3), "label": [0, 1, 1]})
    assert "# MEND FIRST: split by annotation: no rows left" in guess_study(write(tmp_path, tiny))


def test_split_by_annotation_where_texts_cannot_be_kept_apart(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": sentences(2) * 50, "label": [0, 1, 1, 0, 1] * 20})
    study, _ = drafted(write(tmp_path, table))
    assert study["split"]["by"] == "annotation"


@pytest.mark.parametrize(
    ("table", "what", "type_this"),
    [
        ({"id": [1, 2], "label": [0, 1]}, "a text", "columns: {text: THE_COLUMN"),
        ({"text": ["a b c", "d e f", "g h i"]}, "labels (two or more", "{label: THE_COLUMN"),
        ({"text": sentences(30), "rater_id": range(30)}, "labels", "{label: THE_COLUMN"),
        ({"text": sentences(30), "label": [1] * 30}, "labels", "{label: THE_COLUMN"),
    ],
)
def test_no_usable_text_or_label(
    tmp_path: Path, table: dict[str, list[object]], what: str, type_this: str
) -> None:
    with pytest.raises(InputError) as caught:
        guess_study(write(tmp_path, pd.DataFrame(table)))
    message = str(caught.value)
    assert f"no column of table.csv looks like {what}" in message
    assert f"found: {', '.join(table)}" in message
    assert type_this in message


def test_no_rows_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has no rows"):
        guess_study(write(tmp_path, pd.DataFrame({"text": [], "label": []})))
    with pytest.raises(InputError, match="there is no file"):
        guess_study(tmp_path / "nowhere.csv")


def test_file_is_named_from_the_folder_of_the_study(tmp_path: Path) -> None:
    (tmp_path / "tables").mkdir()
    path = write(tmp_path / "tables", d3code())
    assert "  file: table.csv\n" in guess_study(path)
    assert "  file: tables/table.csv\n" in guess_study(path, tmp_path / "study.yaml")
    assert "  file: ../tables/table.csv\n" in guess_study(path, tmp_path / "studies" / "s.yaml")


def test_draft_is_the_same_every_time(tmp_path: Path) -> None:
    path = write(tmp_path, dices())
    assert guess_study(path) == guess_study(path)


WORDS = (
    *("text", "comment", "label", "rating", "worker", "id", "gender", "reason", "values"),
    *("chosen", "rejected", "a", "b", "score"),
)
CELLS = st.one_of(
    st.none(), st.integers(-2, 9), st.floats(), st.booleans(), st.text(), st.sampled_from(WORDS)
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_table_is_drafted_or_refused_with_one_line(tmp_path: Path, data: st.DataObject) -> None:
    words = st.lists(st.one_of(st.sampled_from(WORDS), st.text()), min_size=1, max_size=2)
    names = data.draw(st.lists(words.map("_".join), min_size=1, max_size=5, unique=True))
    n = data.draw(st.integers(1, 12))
    records = [{name: data.draw(CELLS) for name in names} for _ in range(n)]
    path = tmp_path / "table.jsonl"
    path.write_text("\n".join(json.dumps(record) for record in records))
    refusal = ""
    try:
        study = YAML(typ="safe", pure=True).load(guess_study(path))
    except InputError as error:
        refusal = str(error)
    assert "\n" not in refusal
    if not refusal:
        assert study["data"]["file"] == "table.jsonl"
        assert set(study["data"]["columns"].values()) <= {*names}


def test_prose_that_may_be_a_rationale_is_pointed_out(tmp_path: Path) -> None:
    table = pd.DataFrame({"conclusion": sentences(20) * 5, "stance": ["for", "against"] * 50})
    table["premise"] = sentences(100, "premise", 5)
    study, text = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {"text": "conclusion", "label": "stance"}
    assert "says why a label was given, it is a rationale: premise" in text


# Tables as people have them.


def judged(n: int = 60, people: int = 12) -> list[dict[str, Any]]:
    """Records of n texts, each with the annotations of four people and what is known of them."""
    random = np.random.default_rng(0)
    return [
        {
            "id": f"p{i}",
            "body": text,
            "annotations": [
                {
                    "annotator": f"w{w}",
                    "rating": int(random.integers(1, 5)),
                    "reason": f"I find that the gate {w} of garden {i} is too tall.",
                    "gender": ["woman", "man"][w % 2],
                    "age": 20 + 3 * int(w),
                }
                for w in random.permutation(people)[:4]
            ],
        }
        for i, text in enumerate(sentences(n))
    ]


def test_lists_of_annotations_are_taken_apart(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(json.dumps(judged()))
    study, text = drafted(file)
    assert study["data"]["layout"] == "lists"
    assert study["data"]["columns"] == {
        "item": "id",
        "text": "body",
        "label": "annotations.rating",
        "annotator": "annotations.annotator",
        "rationale": "annotations.reason",
    }
    assert "annotations.gender, annotations.age" in text
    data = Annotations.read(file, **{k: study["data"][k] for k in ("columns", "layout")})
    first = judged()[0]["annotations"][0]
    row = data.frame.iloc[0]
    assert (row["annotator"], row["rationale"]) == (first["annotator"], first["reason"])
    assert row["annotations.gender"] == first["gender"]
    assert len(data) == 240


def test_objects_about_the_annotator_are_attributes(tmp_path: Path) -> None:
    rows = [
        {"text": each["body"], "label": a["rating"], "annotator": {"id": a["annotator"], **a}}
        for each in judged()
        for a in each["annotations"]
    ]
    for row in rows:
        del row["annotator"]["rating"], row["annotator"]["annotator"], row["annotator"]["reason"]
    study, _ = drafted(write(tmp_path, pd.DataFrame(rows), "table.jsonl"))
    assert study["data"]["columns"]["annotator"] == "annotator.id"
    assert study["groups"]["attributes"] == ["annotator.gender", "annotator.age"]
    assert study["groups"]["bands"] == {"annotator.age": 2}  # of six people each


@pytest.mark.parametrize(
    "names",
    [("Anna", "Björn", "Chloé"), ("Maria Lopez", "J. Smith", "Oleg"), ("AB", "CD", "EF", "GH")],
)
def test_columns_called_as_people_are_wide(tmp_path: Path, names: tuple[str, ...]) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"Kommentar": sentences(60)})
    for name in names:
        table[name] = random.integers(1, 5, 60)
    table["Datum"] = [f"0{1 + i % 9}.03.2024" for i in range(60)]
    study, text = drafted(write(tmp_path, table))
    assert study["data"]["layout"] == {"wide": [*names]}
    assert "A GUESS" in text
    assert "Not used: Datum." in text
    assert study["groups"] == "none"


def test_labels_and_reasons_by_name_are_wide(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"comment": sentences(60)})
    people = ("Anna", "Ben", "Cleo")
    for name in people:
        table[f"label_{name}"] = random.choice(["ok", "rude"], 60)
        table[f"reason_{name}"] = [f"because of gate {i} there" for i in range(60)]
    study, _ = drafted(write(tmp_path, table))
    wide = study["data"]["layout"]["wide"]
    assert wide["labels"] == [f"label_{name}" for name in people]
    assert wide["rationale"] == [f"reason_{name}" for name in people]


def test_words_of_other_languages(tmp_path: Path) -> None:
    """Ages that name the annotators one by one are neither the label nor the annotators."""
    random = np.random.default_rng(0)
    rows = [
        (text, random.choice(["oui", "non"]), f"w{w}", ["femme", "homme"][w % 2], 20 + 3 * w)
        for text in sentences(60)
        for w in random.permutation(12)[:4]
    ]
    names = ["texte", "étiquette", "annotateur", "genre", "âge"]
    for columns in (names, ["a", "b", "c", "d", "e"]):
        table = pd.DataFrame(rows, columns=columns)
        study, _ = drafted(write(tmp_path, table))
        label, annotator, *attributes = columns[1:]
        assert study["data"]["columns"] == {
            "text": columns[0],
            "label": label,
            "annotator": annotator,
        }
        assert study["labels"] == {"non": ["non"], "oui": ["oui"]}
        assert study["groups"]["attributes"] == attributes


def test_several_labels_are_never_made_ordinal(tmp_path: Path) -> None:
    """However few rows have two, words without an order are questions then."""
    one = ["entailment", "neutral", "contradiction"]
    labels = [one[i % 3] for i in range(119)] + ["entailment,neutral"]
    study, _ = drafted(write(tmp_path, pd.DataFrame({"text": sentences(120), "label": labels})))
    assert study["task"] == "multilabel"
    assert {*study["labels"]} == {*one}


def test_a_prompt_stands_before_both_texts_unless_they_hold_it(tmp_path: Path) -> None:
    table = pairs().assign(prompt=sentences(60, "question"))
    study, _ = drafted(write(tmp_path, table, "a.jsonl"))
    assert study["data"]["columns"] == {
        "chosen": ["prompt", "chosen"],
        "rejected": ["prompt", "rejected"],
    }
    for name in ("chosen", "rejected"):
        table[name] = table["prompt"] + " " + table[name]
    study, _ = drafted(write(tmp_path, table, "b.jsonl"))
    assert study["data"]["columns"] == {"chosen": "chosen", "rejected": "rejected"}


def test_conversations_are_texts(tmp_path: Path) -> None:
    """As lists of messages, and as what Python or JSON writes of them."""
    talks = [[{"role": "user", "content": text}] for text in sentences(60)]
    for cells in (talks, [*map(json.dumps, talks)], [*map(str, talks)]):
        table = pd.DataFrame({"messages": cells, "harmful": ["Yes", "No", "No"] * 20})
        file = write(tmp_path, table, "table.jsonl")
        study, _ = drafted(file)
        assert study["data"]["columns"] == {"text": "messages", "label": "harmful"}
        data = Annotations.read(file, columns=study["data"]["columns"])
        assert data.frame["text"][0] == f"user: {sentences(60)[0]}"


def test_answers_that_begin_with_numbers_are_no_texts(tmp_path: Path) -> None:
    scale = ["1 - not at all", "2 - a little", "10 - very"]
    table = pd.DataFrame({"remark": sentences(60), "how_offensive": [*scale] * 20})
    study, _ = drafted(write(tmp_path, table))
    assert study["data"]["columns"] == {"text": "remark", "label": "how_offensive"}
    assert [*study["labels"]] == scale


@pytest.mark.parametrize("marks", [(True, False), ("x", "")])
def test_marks_that_are_no_numbers_are_one_hot(tmp_path: Path, marks: tuple[Any, Any]) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame(
        {"remark": [*sentences(30)] * 4, "judge": [f"w{i % 9}" for i in range(120)]}
    )
    for name in ("insult", "threat", "spam"):
        table[name] = [marks[random.integers(2)] for _ in range(120)]
    study, _ = drafted(write(tmp_path, table))
    assert study["task"] == "multilabel"
    assert study["data"]["layout"] == {"one-hot": ["insult", "threat", "spam"]}


def test_counts_called_n_of_a_label(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    table = pd.DataFrame({"headline": sentences(60)})
    table["n_yes"], table["n_no"] = random.integers(0, 8, 60), random.integers(1, 6, 60)
    table["n_total"] = table["n_yes"] + table["n_no"]
    study, _ = drafted(write(tmp_path, table))
    assert study["data"]["layout"] == {"counts": ["n_yes", "n_no"]}


# What a newcomer reads


@pytest.mark.parametrize(
    "harm", ["hide", "remove", "Toxic", "löschen", "supprimer", "borrar", "spam"]
)
@pytest.mark.parametrize("fine", ["keep", "ok", "zzz"])
def test_the_word_for_harm_is_the_class_looked_for(tmp_path: Path, harm: str, fine: str) -> None:
    table = pd.DataFrame({"text": sentences(20), "label": [harm, fine] * 10})
    for each in (table, table.iloc[::-1]):
        text = guess_study(write(tmp_path, each))
        assert list(YAML().load(text)["labels"]) == [fine, harm]
        assert f"# The second class, {harm}, is the one whose probability is given" in text
        assert f"labels: {{{harm}: [{harm}], {fine}: [{fine}]}}" in text


def test_known_orders_stand_before_words_of_harm() -> None:
    assert usual_order(["reject", "accept"]) == [["reject"], ["accept"]]
    assert usual_order(["not toxic", "toxic"]) == [["not toxic"], ["toxic"]]
    assert usual_order(["toxic", "hateful"]) is None


@given(st.lists(st.text("ab {}:,", min_size=1, max_size=30).filter(str.strip), min_size=1))
def test_comments_are_no_wider_than_an_editor(words: list[str]) -> None:
    sentence = " ".join(" ".join(words).split())
    lines = comment([sentence])
    assert " ".join(line.removeprefix("# ") for line in lines).split() == sentence.split()
    assert all(len(line) <= WIDTH for line in lines if "{" not in line and " " in line[2:])


def test_a_draft_has_no_long_comments(tmp_path: Path) -> None:
    table = dices()
    names = {name: f"{name} {'of the long survey ' * 4}".strip() for name in table.columns}
    for each in (table, table.rename(columns=names)):
        for line in guess_study(write(tmp_path, each)).splitlines():
            assert len(line) <= WIDTH or "{" in line or not line.lstrip().startswith("#")


_OTHER_LANGUAGES = {
    "German": "Die Leute sagen oft, dass das Wetter in diesem Jahr wirklich schlecht gewesen ist",
    "French": "Les gens disent souvent que le temps est vraiment mauvais cette ann\u00e9e ici",
    "Spanish": "La gente dice a menudo que el tiempo no ha sido bueno este a\u00f1o por aqu\u00ed",
    "Arabic": "\u064a\u0642\u0648\u0644 \u0627\u0644\u0646\u0627\u0633 \u0625\u0646 "
    "\u0627\u0644\u0637\u0642\u0633 \u0633\u064a\u0621 \u062c\u062f\u0627",
}


@pytest.mark.parametrize("language", [*_OTHER_LANGUAGES])
def test_texts_in_another_language_are_told(tmp_path: Path, language: str) -> None:
    texts = [f"{_OTHER_LANGUAGES[language]} {i}" for i in range(40)]
    assert "seem not to be English" in not_english(
        texts, ["sentence-transformers/all-MiniLM-L6-v2"]
    )
    for others in (["some-multilingual-encoder"], ["all-MiniLM-L6-v2", "char-ngrams"]):
        assert not_english(texts, others) == ""
    table = pd.DataFrame({"text": texts, "label": [0, 1] * 20})
    text = guess_study(write(tmp_path, table))
    assert "# LANGUAGE: the texts seem not to be English" in text
    assert "docs/multilingual.md" in text


def test_english_of_any_kind_is_not_alarmed() -> None:
    informal = "lol ur so wrong about this @user #fail https://t.co/x smh tbh I can't even"
    for text in (informal, "Nice!", "What is the weather like there today?", "ok then"):
        assert not_english([f"{text} {i}" for i in range(60)], ["all-MiniLM-L6-v2"]) == ""


@pytest.mark.parametrize("name", ["popquorn", "ukpconvarg1", "awa", "cade", "livenli"])
def test_the_sources_in_english_are_not_alarmed(data_dir: Path, name: str) -> None:
    if not (data_dir / name).is_dir():
        pytest.skip(f"{name} is not there")
    texts = datasets.load(name, data_dir=data_dir).distinct_texts()[0]
    assert not_english(texts, ["all-MiniLM-L6-v2"]) == ""
