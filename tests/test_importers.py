"""Exports of annotation tools, key for key as Label Studio 2.1, Argilla 2.8 and potato 2.12 write
them (made with their own exporters), and TRL's preference formats."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from datasets import Dataset, DatasetDict
from hypothesis import given
from hypothesis import strategies as st

from mcstl._support.errors import InputError
from mcstl.data import importers
from mcstl.data.annotations import Annotations
from mcstl.data.conversations import conversation_text
from mcstl.data.exports import write_table
from mcstl.data.tables import read_table

TEXT = "Tea is fine."
TIMES = {"created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z"}


def result(name: str, kind: str, value: dict[str, Any]) -> dict[str, Any]:
    return {
        "id": f"x-{name}",
        "from_name": name,
        "to_name": "text",
        "type": kind,
        "origin": "manual",
        "value": value,
    }


def annotation(number: int, person: int, results: list[Any], cancelled: bool) -> dict[str, Any]:
    return {
        "id": number,
        "completed_by": {"id": person, "email": f"{person}@example.org", "first_name": ""},
        "was_cancelled": cancelled,
        "ground_truth": False,
        "lead_time": 3.2,
        "result": results,
        **TIMES,
    }


LABEL_STUDIO = [
    {
        "id": 7,
        "data": {"text": TEXT, "left": "Tea", "right": "Coffee"},
        "annotations": [
            annotation(
                21,
                3,
                [
                    result("mood", "choices", {"choices": ["good"]}),
                    result("why", "textarea", {"text": ["It is warm"]}),
                    result("stars", "rating", {"rating": 4}),
                    result("topics", "choices", {"choices": ["food", "comfort"]}),
                    result("better", "pairwise", {"selected": "left"}),
                ],
                False,
            ),
            annotation(
                22,
                4,
                [
                    result("mood", "choices", {"choices": ["bad"]}),
                    result("stars", "rating", {"rating": 1}),
                    result("better", "pairwise", {"selected": "right"}),
                ],
                False,
            ),
            annotation(23, 5, [], True),
        ],
    }
]
_DATA = {"text": TEXT, "left": "Tea", "right": "Coffee", "id": 7}
LABEL_STUDIO_MIN = [
    {
        **_DATA,
        "mood": "good",
        "why": "It is warm",
        "stars": [{"rating": 4}],
        "topics": {"choices": ["food", "comfort"]},
        "better": [{"selected": "left"}],
        "annotator": "3",
        "annotation_id": 21,
        "lead_time": 3.2,
        **TIMES,
    },
    {
        **_DATA,
        "mood": "bad",
        "stars": [{"rating": 1}],
        "better": [{"selected": "right"}],
        "annotator": "4",
        "annotation_id": 22,
        "lead_time": 2.0,
        **TIMES,
    },
]


@pytest.mark.parametrize("export", [LABEL_STUDIO, LABEL_STUDIO_MIN])
def test_label_studio(tmp_path: Path, export: list[Any]) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(export))
    table = importers.label_studio(path, label="mood", rationale="why", values="topics")
    assert table.to_dict("records") == [
        {
            "item": "7",
            "text": TEXT,
            "label": "good",
            "rationale": "It is warm",
            "values": ["food", "comfort"],
            "annotator": "3",
        },
        {
            "item": "7",
            "text": TEXT,
            "label": "bad",
            "rationale": None,
            "values": None,
            "annotator": "4",
        },
    ]
    assert importers.label_studio(path, label="stars")["label"].tolist() == [4, 1]
    data = Annotations.from_frame(table, labels={"bad": ["bad"], "good": ["good"]})
    assert data.labels.tolist() == [1, 0]
    assert data.frame["values"].tolist() == [["food", "comfort"], []]
    pairs = importers.label_studio(path, label="better", text=("left", "right"))
    both = Annotations.from_frame(pairs)
    assert both.task == "preference"
    assert both.labels.tolist() == [1, 0]
    assert both.frame[["text_a", "text_b"]].to_numpy().tolist() == [["Tea", "Coffee"]] * 2


def user(number: int) -> str:
    return f"00000000-0000-0000-0000-{number:012d}"


ARGILLA_NESTED = [
    {
        "id": "r1",
        "fields": {"text": TEXT, "left": "Tea", "right": "Coffee"},
        "metadata": {"topic": "food"},
        "suggestions": {"mood": {"value": "good", "score": 0.9, "agent": "m"}},
        "responses": {
            "mood": [{"value": "good", "user_id": user(1)}, {"value": "bad", "user_id": user(2)}],
            "why": [{"value": "It is warm", "user_id": user(1)}],
            "topics": [{"value": ["food", "comfort"], "user_id": user(1)}],
            "better": [{"value": ["left", "right"], "user_id": user(1)}],
        },
        "vectors": {},
        "status": "pending",
        "_server_id": None,
    }
]
ARGILLA_FLAT = [
    {
        "id": "r1",
        "status": "pending",
        "_server_id": None,
        "text": TEXT,
        "left": "Tea",
        "right": "Coffee",
        "topic": "food",
        "mood.responses": ["good", "bad", "bad"],
        "mood.responses.users": [user(1), user(2), user(3)],
        "mood.responses.status": ["submitted", "submitted", "draft"],
        "why.responses": ["It is warm"],
        "why.responses.users": [user(1)],
        "why.responses.status": ["submitted"],
        "topics.responses": [["food", "comfort"]],
        "topics.responses.users": [user(1)],
        "topics.responses.status": ["submitted"],
        "better.responses": [["left", "right"]],
        "better.responses.users": [user(1)],
        "better.responses.status": ["submitted"],
        "mood.suggestion": "good",
        "mood.suggestion.score": 0.9,
        "mood.suggestion.agent": "m",
    }
]


@pytest.mark.parametrize("form", ["nested file", "flat file", "flat dataset"])
def test_argilla(tmp_path: Path, form: str) -> None:
    records: Any = ARGILLA_NESTED if "nested" in form else ARGILLA_FLAT
    if "file" in form:
        path = tmp_path / "records.json"
        path.write_text(json.dumps(records))
        records = path
    elif "dataset" in form:
        records = Dataset.from_list(records)
    table = importers.argilla(records, label="mood", rationale="why", values="topics")
    assert table["label"].tolist() == ["good", "bad"]  # a draft is no answer
    assert table["annotator"].tolist() == [user(1), user(2)]
    assert table["rationale"].tolist() == ["It is warm", None]
    assert table["values"].tolist() == [["food", "comfort"], None]
    assert set(table["item"]) == {"r1"}
    pairs = importers.argilla(records, label="better", text=("left", "right"))
    assert pairs["label"].tolist() == ["a"]
    assert importers.argilla(records, label="better", text=("right", "left"))["label"][0] == "b"


POTATO = [
    {
        "instance_id": "i1",
        "user_id": "ann",
        "labels": {
            "mood": {"good": "good"},
            "stars": {"scale_4": "4"},
            "topics": {"food": "food", "comfort": "comfort"},
            "why": {"text_box": "It is warm"},
        },
        "spans": {},
        "links": {},
    },
    {
        "instance_id": "i1",
        "user_id": "bob",
        "labels": {"mood": {"bad": "true", "good": "false"}, "stars": {"scale_1": "1"}},
        "spans": {},
        "links": {},
    },
]


def test_potato(tmp_path: Path) -> None:
    export, items = tmp_path / "annotations.jsonl", tmp_path / "items.json"
    export.write_text("\n".join(map(json.dumps, POTATO)))
    items.write_text(json.dumps([{"id": "i1", "text": TEXT}]))
    table = importers.potato(export, items, label="mood", rationale="why", values="topics")
    assert table.to_dict("records") == [
        {
            "item": "i1",
            "text": TEXT,
            "label": "good",
            "rationale": "It is warm",
            "values": ["food", "comfort"],
            "annotator": "ann",
        },
        {
            "item": "i1",
            "text": TEXT,
            "label": "bad",
            "rationale": None,
            "values": None,
            "annotator": "bob",
        },
    ]
    by_dicts = importers.potato(export, [{"id": "i1", "text": TEXT}], label="stars")
    assert by_dicts["label"].tolist() == ["4", "1"]
    with pytest.raises(InputError, match=r"item 'i1' .* is not among the items"):
        importers.potato(export, [{"id": "i2", "text": TEXT}], label="mood")


def lines(records: list[Any]) -> bytes:
    return "\n".join(map(json.dumps, records)).encode()


#: The same records in every container.
CONTAINERS: dict[str, Callable[[list[Any]], bytes]] = {
    "export.json": lambda records: json.dumps(records).encode(),
    "bom.json": lambda records: b"\xef\xbb\xbf" + json.dumps(records).encode(),
    "lines.json": lines,
    "export.jsonl": lines,
    "export.ndjson": lines,
    "bom.jsonl": lambda records: b"\xef\xbb\xbf" + lines(records),
    "export.jsonl.gz": lambda records: gzip.compress(lines(records)),
    "export.json.gz": lambda records: gzip.compress(json.dumps(records).encode()),
}
UNLABELLED: dict[str, Any] = {
    "label studio": {"id": 8, "data": {"text": "Rain"}},
    "argilla": {"id": "r2", "fields": {"text": "Rain"}},
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_the_same_records_in_any_container_give_the_same_table(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    questions = {"label": "mood", "rationale": "why", "values": "topics"}
    path.write_bytes(CONTAINERS[name]([*LABEL_STUDIO, UNLABELLED["label studio"]]))
    table = importers.label_studio(path, **questions)
    assert table["annotator"].tolist() == ["3", "4"]
    assert table["values"].tolist() == [["food", "comfort"], None]
    assert table.attrs["left_out"] == {
        "annotations that were cancelled": 1,
        "items that nobody annotated": 1,
    }
    path.write_bytes(CONTAINERS[name]([*ARGILLA_NESTED, UNLABELLED["argilla"]]))
    table = importers.argilla(path, **questions)
    assert table["annotator"].tolist() == [user(1), user(2)]
    assert table["rationale"].tolist() == ["It is warm", None]
    assert table.attrs["left_out"] == {"items that nobody annotated": 1}
    path.write_bytes(CONTAINERS[name](POTATO))
    assert importers.potato(path, [{"id": "i1", "text": "Tea"}], label="mood").shape == (2, 4)


def test_records_in_memory_give_the_same_table(tmp_path: Path) -> None:
    records: list[dict[str, Any]] = [*ARGILLA_FLAT, {"id": "r2", "text": "Rain"}]
    whole = importers.argilla(records, label="mood", values="topics")
    frame = pd.DataFrame(records)
    frame.to_parquet(tmp_path / "export.parquet")
    forms: list[Any] = [frame, Dataset.from_list(records), tmp_path / "export.parquet"]
    for form in forms:
        table = importers.argilla(form, label="mood", values="topics")
        assert table.to_dict("records") == whole.to_dict("records")
    with pytest.raises(InputError, match=r"DatasetDict with the splits train; pass one"):
        importers.argilla(DatasetDict(train=Dataset.from_list(records)), label="mood")


def span(name: str, start: int, labels: list[str], kind: str = "labels") -> dict[str, Any]:
    return result(name, kind, {"start": start, "end": start + 3, "text": TEXT[:3], kind: labels})


@pytest.mark.parametrize("kind", ["labels", "hypertextlabels", "paragraphlabels"])
@pytest.mark.parametrize("small", [False, True])
def test_spans_are_read_as_their_labels(tmp_path: Path, kind: str, small: bool) -> None:
    spans = [span("vals", 0, ["Care"], kind), span("vals", 5, ["Order", "Care"], kind)]
    why = result("why", "textarea", {"text": ["It is safe", "It is kind"]})
    mood = result("mood", "choices", {"choices": ["good"]})
    task: dict[str, Any] = {"id": 1, "data": {"text": TEXT}}
    task["annotations"] = [annotation(1, 3, [mood, *spans, why], False)]
    if small:
        values = [each["value"] for each in spans]
        task = {"id": 1, "text": TEXT, "mood": "good", "vals": values, "annotator": 3}
        task["why"] = ["It is safe", "It is kind"]
    path = tmp_path / "export.json"
    path.write_text(json.dumps([task]))
    table = importers.label_studio(path, label="mood", rationale="why", values="vals")
    assert table["values"].tolist() == [["Care", "Order"]]
    assert table["rationale"].tolist() == ["It is safe\nIt is kind"]


def test_argilla_1_and_spans_and_rankings() -> None:
    def record(**answers: Any) -> dict[str, Any]:
        values = {name: {"value": value} for name, value in answers.items()}
        response = {"user_id": user(1), "status": "submitted", "values": values}
        draft = {"user_id": user(2), "status": "discarded", "values": {"mood": {"value": "bad"}}}
        return {"fields": {"text": TEXT, "b": "Coffee"}, "responses": [response, draft]}

    spans = [{"label": "Care", "start": 0, "end": 3}, {"label": "Order", "start": 4, "end": 6}]
    table = importers.argilla([record(mood="good", vals=spans)], label="mood", values="vals")
    assert table["values"].tolist() == [["Care", "Order"]]
    assert "item" not in table  # the record has no name, and gets none
    ranks = [{"value": "text", "rank": 2}, {"value": "b", "rank": 1}]
    tied = [{"value": "text", "rank": 1}, {"value": "b", "rank": 1}]
    pairs = importers.argilla(
        [record(better=ranks), record(better=tied)], label="better", text=("text", "b")
    )
    assert pairs["label"].tolist() == ["b"]
    assert pairs.attrs["left_out"] == {
        "responses that were not submitted": 2,
        "annotations without an answer to 'better'": 1,
    }


def test_nobody_and_nothing_is_made_up(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    task = {"data": {"text": TEXT}, "annotations": [{"result": []}]}
    mood = result("mood", "choices", {"choices": ["good"]})
    task["annotations"] = [{"result": [mood]}, {"result": [mood], "completed_by": {"id": 0}}]
    path.write_text(json.dumps([task]))
    table = importers.label_studio(path, label="mood")
    assert table.to_dict("records") == [
        {"text": TEXT, "label": "good", "annotator": None},
        {"text": TEXT, "label": "good", "annotator": "0"},
    ]
    path.write_text(json.dumps([{"id": 1, "data": {"text": TEXT}}]))
    with pytest.raises(InputError, match="holds no annotation; found: 1 items that nobody"):
        importers.label_studio(path, label="mood")
    box = result("mood", "brush", {"rle": [1, 2]})
    path.write_text(json.dumps([{**task, "annotations": [{"result": [box]}]}]))
    with pytest.raises(InputError, match=r"answer to 'mood' about .* cannot be the label"):
        importers.label_studio(path, label="mood")
    with pytest.raises(InputError, match="field 'id' is not in the items"):
        importers.potato(path, [{"text": TEXT}], label="mood")


@pytest.mark.parametrize(
    ("given", "answer"),
    [
        *(({"slider": n}, n) for n in (0, 1, 2, 50, 0.5)),
        *(({"slider": n}, n) for n in ("0", "1")),
        *(({"good": tick}, "good") for tick in (True, "true", "good")),
        *(({"good": blank, "bad": True}, "bad") for blank in (False, "false", "", None)),
        *((number, number) for number in (0, 1, "0")),
    ],
)
def test_zero_one_false_and_empty_are_told_apart(
    tmp_path: Path, given: object, answer: object
) -> None:
    path = tmp_path / "export.jsonl"
    path.write_bytes(lines([{"instance_id": 1, "user_id": 0, "labels": {"score": given}}]))
    table = importers.potato(path, [{"id": "1", "text": TEXT}], label="score")
    (row,) = table.to_dict("records")
    assert (row["label"], type(row["label"])) == (answer, type(answer))
    assert row["annotator"] == "0"


@given(st.lists(st.text(st.characters(codec="utf-8"), min_size=1).filter(str.strip), min_size=1))
def test_what_an_import_writes_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("written")
    cells = ["-", "+1", "=SUM(A1)", "@home", "'-", "a\rb\r\nc", *cells]
    table = pd.DataFrame({"text": cells, "label": cells[::-1]}, dtype=object)
    for name in ("t.csv", "t.tsv", "t.jsonl", "t.parquet"):
        write_table(table, folder / name)
        assert read_table(folder / name).to_dict("list") == table.to_dict("list")


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "export.json"
    path.write_text(json.dumps(LABEL_STUDIO))
    with pytest.raises(
        InputError, match=r"answer 'mod' is not in .*; found: mood, .*Did you mean 'mood'"
    ):
        importers.label_studio(path, label="mod")
    with pytest.raises(InputError, match=r"field 'txt' is not in .*; found: text"):
        importers.label_studio(path, label="mood", text="txt")
    with pytest.raises(InputError, match=r"no file .*Did you mean 'export.json'"):
        importers.label_studio(tmp_path / "exprt.json", label="mood")
    for text in ("", "{", '{"a": 1}', "[1]", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(InputError, match=r"is not JSON|expected a list of objects"):
            importers.label_studio(path, label="mood")


def say(role: str, content: Any) -> dict[str, Any]:
    return {"role": role, "content": content}


STANDARD = {"prompt": "Sky?", "chosen": " Blue.", "rejected": " Green."}
ASKED = [say("user", "Sky?")]
BLUE, GREEN = [say("assistant", "Blue.")], [say("assistant", "Green.")]
CONVERSATION = "user: Sky?\n\nassistant: {}."


@pytest.mark.parametrize(
    ("row", "texts"),
    [
        (STANDARD, ["Sky? Blue.", "Sky? Green."]),
        ({"chosen": "Sky? Blue.", "rejected": "Sky? Green."}, ["Sky? Blue.", "Sky? Green."]),
        (
            {"prompt": ASKED, "chosen": BLUE, "rejected": GREEN},
            [CONVERSATION.format("Blue"), CONVERSATION.format("Green")],
        ),
        *(
            (row, [CONVERSATION.format("Blue"), CONVERSATION.format("Green")])
            for row in (
                {"chosen": ASKED + BLUE, "rejected": ASKED + GREEN},
                {"prompt": "Sky?", "chosen": ASKED + BLUE, "rejected": ASKED + GREEN},
                {"prompt": ASKED, "chosen": ASKED + BLUE, "rejected": ASKED + GREEN},
                {
                    "prompt": [say("user", [{"type": "text", "text": "Sky?"}])],
                    "chosen": BLUE,
                    "rejected": GREEN,
                },
            )
        ),
    ],
)
def test_trl_preferences(row: dict[str, Any], texts: list[str]) -> None:
    """Standard and conversational, the prompt explicit and implicit, from a Dataset too."""
    for source in ([row], Dataset.from_list([row]), pd.DataFrame([row])):
        table = importers.trl_preferences(source)
        assert table[["chosen", "rejected"]].to_numpy().tolist() == [texts]
    data = Annotations.from_frame(importers.trl_preferences([row] * 2))
    assert data.task == "preference"
    shown = data.frame[["text_a", "text_b"]].to_numpy()[0]
    assert shown[1 - data.labels[0]] == texts[0]


def test_trl_rows_keep_their_other_columns_and_lack_no_text() -> None:
    table = importers.trl_preferences([STANDARD | {"annotator": "a", "values": ["Care"]}])
    assert table["annotator"].tolist() == ["a"]
    parts = [{"type": "image"}, {"type": "text", "text": "Sky?"}]
    assert conversation_text([say("user", parts)], []) == "user: Sky?"
    with pytest.raises(InputError, match="row 1 has no rejected"):
        importers.trl_preferences([STANDARD, {"prompt": "x", "chosen": "y"}])
    with pytest.raises(InputError, match="both texts or both lists"):
        conversation_text("Sky?", BLUE)
    for prompt, expected in (
        ("Sky?", "row 1: .* the prompt is the text 'Sky.'.*Drop the prompt"),
        ([{"author": "me", "body": "Sky?"}], "row 1: a message has a role and a content"),
    ):
        with pytest.raises(InputError, match=expected):
            importers.trl_preferences(
                [STANDARD, {"prompt": prompt, "chosen": BLUE, "rejected": GREEN}]
            )
    with pytest.raises(InputError, match=r"DatasetDict with the splits train; pass one, as"):
        importers.trl_preferences(DatasetDict(train=Dataset.from_list([STANDARD])))
