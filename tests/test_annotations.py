"""Annotations: what is read, what is refused and how."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from datasets import Dataset
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from mcstl._support.errors import InputError
from mcstl.data.annotations import (
    Annotations,
    items_and_labels,
    majority_rows,
    minority_weights,
)
from mcstl.data.joining import joined
from mcstl.data.labels import Task
from mcstl.data.splits import split
from mcstl.data.tables import read_table
from mcstl.datasets import load
from mcstl.evaluation import metrics
from tiny import weighted_table

ROWS: dict[str, list[Any]] = {
    "item": ["1", "1", "2", "2"],
    "text": ["Hi, there", "Hi, there", 'Über "that" 🙂\nand more', 'Über "that" 🙂\nand more'],
    "label": ["1", "2", "3", "1"],
    "annotator": ["NA", "No", "None", "w2"],
    "rationale": ["kind", None, "null", "n/a"],
    "values": ["Care|Honesty", None, "Care", " Care | | Care|Honesty "],
    "gender": ["Woman", "Man", None, "NA"],
}


def rows(**columns: list[Any]) -> pd.DataFrame:
    """A table of the given columns, with texts and labels where none are given."""
    n = len(next(iter(columns.values()), [0, 1]))
    base: dict[str, list[Any]] = {}
    if not {"text", "text_a", "chosen"} & columns.keys():
        base["text"] = [f"text {i}" for i in range(n)]
    if not {"label", "chosen"} & columns.keys():
        base["label"] = [i % 2 for i in range(n)]
    return pd.DataFrame({**base, **columns})


def complaint(call: Callable[[], object]) -> str:
    """The message of the InputError that `call` raises, one line that fits a screen."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500
    return message


def refused(table: pd.DataFrame, **options: Any) -> str:
    return complaint(lambda: Annotations.from_frame(table, source="reviews.csv", **options))


def write(path: Path, table: pd.DataFrame) -> Path:
    """Write a table as its users would, by the ending of the name."""
    kind = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    if kind == "parquet":
        table.to_parquet(path)
    elif kind == "jsonl":
        table.to_json(path, orient="records", lines=True, force_ascii=False)
    else:
        table.to_csv(path, sep="," if kind == "csv" else "\t", index=False)
    return path


# Reading


@pytest.mark.parametrize(
    "name", ["a.csv", "A.CSV", "a.tsv", "a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet"]
)
def test_every_kind_of_file_gives_the_same_annotations(tmp_path: Path, name: str) -> None:
    table = pd.DataFrame(ROWS)
    found = Annotations.read(write(tmp_path / name, table))
    assert_frame_equal(found.frame, Annotations.from_frame(table).frame)
    assert found.source == name
    assert (found.task, found.classes) == ("ordinal", ("1", "2", "3"))
    assert found.attributes == ("gender",)


def test_words_that_look_missing_are_kept_and_empty_cells_are_missing(tmp_path: Path) -> None:
    frame = Annotations.read(write(tmp_path / "a.csv", pd.DataFrame(ROWS))).frame
    assert list(frame["annotator"]) == ["NA", "No", "None", "w2"]
    assert list(frame["rationale"]) == ["kind", "", "null", "n/a"]
    assert list(frame["gender"]) == ["Woman", "Man", None, "NA"]
    assert list(frame["values"]) == [["Care", "Honesty"], [], ["Care"], ["Care", "Honesty"]]


def test_columns_of_the_frame_are_as_documented() -> None:
    data = Annotations.from_frame(pd.DataFrame(ROWS).iloc[::-1])
    frame = data.frame
    assert list(frame.columns) == [
        *("row", "item", "text", "label", "flipped", "annotator", "rationale", "values"),
        "gender",
    ]
    assert list(frame.index) == [0, 1, 2, 3]
    assert list(frame["row"]) == [0, 1, 2, 3]
    assert list(frame["label"]) == [0, 2, 1, 0]
    assert not frame["flipped"].any()
    for name in ("item", "text", "annotator", "rationale", "gender"):
        assert frame[name].dtype == object
        assert {type(cell) for cell in frame[name]} <= {str, type(None)}
    assert data.text_columns == ("text",)
    assert data.n_thresholds == 2
    assert data.has("gender")
    assert not data.has("age")


def test_csv_of_windows_with_mark_line_ends_quoted_newlines_and_blank_lines(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufefftext, label\r\n"a ""b""\r\nc",1\r\n\r\nعربي 漢字,0\r\n'.encode())
    data = Annotations.read(path)
    assert list(data.frame["text"]) == ['a "b"\r\nc', "عربي 漢字"]
    assert list(data.labels) == [1, 0]


def test_json_lines_of_windows_with_mark_blank_lines_and_line_separators(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes('\ufeff{"text": "a\u2028b", "label": 1}\r\n\r\n{"text": "c"}\r\n'.encode())
    table = read_table(path)
    assert list(table["text"]) == ["a\u2028b", "c"]
    data = Annotations.from_frame(table, labels={"x": [0], "y": [1]})
    assert len(data) == 1
    assert sum(data.dropped.values()) == 1


def test_quotes_can_be_ordinary_characters(tmp_path: Path) -> None:
    path = tmp_path / "a.tsv"
    path.write_text('text\tlabel\n"Why" she asked\t1\n"Because\t0\n')
    assert list(read_table(path, quotes=False)["text"]) == ['"Why" she asked', '"Because']


def test_saved_index_is_no_attribute(tmp_path: Path) -> None:
    table = rows(gender=["x", "y"])
    path = tmp_path / "a.csv"
    table.to_csv(path)
    assert Annotations.read(path).attributes == ("gender",)
    assert Annotations.from_frame(pd.read_csv(path)).attributes == ("gender",)


@pytest.mark.parametrize("name", ["a.jsonl", "a.parquet", "a.csv"])
def test_long_ids_beside_missing_ones_keep_every_digit(tmp_path: Path, name: str) -> None:
    ids = pd.array([2**60 + 1, None, 2**60 + 3], dtype="Int64")
    path = write(tmp_path / name, rows(label=[0, 1, 1]).assign(annotator=ids))
    found = Annotations.read(path).frame["annotator"]
    assert list(found) == [str(2**60 + 1), None, str(2**60 + 3)]


def test_huge_cells_and_many_columns_are_read(tmp_path: Path) -> None:
    table = rows(text=["x" * 3_000_000, "y"])
    table = table.assign(**{f"c{i}": ["p", "q"] for i in range(300)})
    data = Annotations.read(write(tmp_path / "a.csv", table))
    assert len(data.frame["text"][0]) == 3_000_000
    assert len(data.attributes) == 300


def test_missing_file_suggests_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "reviews.csv").touch()
    message = complaint(lambda: read_table(tmp_path / "review.csv"))
    assert "there is no file" in message
    assert "Did you mean 'reviews.csv'?" in message
    complaint(lambda: read_table(tmp_path / "nowhere" / "reviews.csv"))


@pytest.mark.parametrize("name", ["a.xls", "a.docx", "a", "a.csv.zip"])
def test_other_kinds_of_file_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("text,label\na,1\n")
    assert "expected .csv, .tsv, .jsonl, .json, .parquet or .xlsx" in complaint(
        lambda: read_table(tmp_path / name)
    )


@pytest.mark.parametrize(
    "name", ["a.csv.gz", "a.jsonl", "a.jsonl.gz", "a.parquet", "quoted.csv", "folder.csv"]
)
def test_truncated_and_unreadable_files(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    table = rows(text=[f"text, {i}" for i in range(500)])
    if name == "folder.csv":
        path.mkdir()
    else:
        whole = write(path, table).read_bytes()
        cut = whole.rindex(b",") if name == "quoted.csv" else len(whole) - 20
        if name == "quoted.csv":
            cut = whole.rindex(b'"')
        path.write_bytes(whole[:cut])
    message = complaint(lambda: read_table(path))
    assert name in message
    assert ("whole?" in message) or ("is it" in message)


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.parquet", "a.csv.gz"])
def test_empty_files(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    message = complaint(lambda: Annotations.read(tmp_path / name))
    assert name in message


def test_header_alone_has_no_rows(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n")
    assert complaint(lambda: Annotations.read(tmp_path / "a.csv")) == "a.csv has no rows"


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.jsonl"])
def test_latin1_names_byte_and_line_and_how_to_convert(tmp_path: Path, name: str) -> None:
    lines = ["text,label", *["hello,1"] * 30_000, "café,0"]
    if name == "a.jsonl":
        lines = [json.dumps({"text": "hello"})] * 30_001 + ['{"text": "café"}']
    raw = "\n".join(lines).encode("latin-1")
    path = tmp_path / name
    path.write_bytes(gzip.compress(raw) if name.endswith(".gz") else raw)
    message = complaint(lambda: read_table(path))
    assert "is not UTF-8 (byte 0xe9 in line 30002)" in message
    assert f"iconv -f latin1 -t utf-8 {name}" in message


def test_utf16_of_spreadsheets_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes("text;label\ncafé;1\n".encode("utf-16"))
    assert list(read_table(tmp_path / "a.csv")["text"]) == ["café"]


@pytest.mark.parametrize("first", ["a,1,x", "a,1"])
def test_rows_longer_than_the_header_name_the_line(tmp_path: Path, first: str) -> None:
    # With pandas' defaults the first cells would silently become an index.
    (tmp_path / "a.csv").write_text(f"text,label\n{first}\nb,1,y\n")
    message = complaint(lambda: read_table(tmp_path / "a.csv"))
    assert f"Expected 2 fields in line {2 if first == 'a,1,x' else 3}, saw 3" in message
    assert "in double quotes?" in message


def test_rows_shorter_than_the_header_are_missing_cells(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,gender\na,1,x\nb,0\nc\n")
    data = Annotations.read(tmp_path / "a.csv")
    assert list(data.frame["gender"]) == ["x", None]
    assert data.dropped == {"label missing or outside `labels`": 1}


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ('{"text": "b", "la', "Unterminated string"),
        ('["b", 1]', "is not an object; expected one per line"),
        ('{"text": "b \\ud83d"}', "half of a surrogate pair"),
    ],
)
def test_json_lines_name_the_bad_line(tmp_path: Path, line: str, why: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a \\ud83d\\ude42", "label": 1}\n' + line)
    message = complaint(lambda: read_table(tmp_path / "a.jsonl"))
    assert message.startswith("line 2 of ")
    assert why in message


# Columns


def test_misspelt_column_is_named_with_the_nearest() -> None:
    table = rows().rename(columns={"label": "lable"})
    assert refused(table) == (
        "column 'label' is not in reviews.csv; found: text, lable. "
        "Did you mean 'lable'? Map it with columns: {label: ...} for task ordinal."
    )
    assert "Map it with columns: {text: ...} for task" in refused(
        rows().rename(columns={"text": "zzz"})
    )
    half = refused(rows(text_a=["a", "b"]))
    assert "'text_b' is not in reviews.csv" in half
    assert "{text_b: ...} for task preference" in half
    assert "'rejected' is not in reviews.csv" in refused(pd.DataFrame({"chosen": ["a", "b"]}))
    both = chosen_and_rejected(2)
    assert "'text' is not in reviews.csv" in refused(both, task="ordinal")
    mapped_away = refused(rows(), columns={"rationale": "label"})
    assert "column 'label' is not in reviews.csv; found: text." in mapped_away


def test_misspelt_mapping_is_named_with_the_nearest() -> None:
    message = refused(rows(), columns={"text": "txet"})
    assert (
        message == "column 'txet' is not in reviews.csv; found: text, label. Did you mean 'text'?"
    )
    message = refused(rows(), columns={"anotator": "text"})
    assert "'anotator' is not a column that mcstl knows" in message
    assert "Did you mean 'annotator'?" in message


def test_file_without_header_and_with_other_separators(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"{'A long text ' * 300},1\nAnother text,2\n")
    assert "Is the row with the names of the columns missing?" in complaint(
        lambda: Annotations.read(path)
    )
    path = path.with_suffix(".tsv")
    path.write_text("text;label\na;1\nb;2\n")
    assert "separated by ';': save it as CSV with commas" in complaint(
        lambda: Annotations.read(path)
    )
    assert "separated by ';'" in complaint(lambda: Annotations.read(path, columns={"text": "text"}))


def test_repeated_column_names(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,text\na,1,b\n")
    assert complaint(lambda: Annotations.read(tmp_path / "a.csv")) == (
        "a.csv has more than one column named text; rename all but one"
    )


def test_mapped_columns_may_serve_twice_and_have_any_name() -> None:
    table = pd.DataFrame([["a", 1, "x"], ["b", 0, "y"]])  # names are the numbers 0, 1, 2
    mapped = {"item": "0", "text": "0", "label": "1"}
    data = Annotations.from_frame(table, columns=mapped)
    assert list(data.frame["item"]) == list(data.frame["text"]) == ["a", "b"]
    assert data.attributes == ("2",)


def test_item_names_that_differ_in_a_blank_are_two_items() -> None:
    table = rows(text=["a", "a "])
    assert list(Annotations.from_frame(table, columns={"item": "text"}).frame["item"]) == [
        "a",
        "a ",
    ]


def test_own_columns_named_row_and_flipped_are_left_out_unless_mapped() -> None:
    table = rows(row=["x", "y"], flipped=["p", "q"])
    data = Annotations.from_frame(table)
    assert data.attributes == ()
    assert list(data.frame["row"]) == [0, 1]
    assert list(Annotations.from_frame(table, columns={"item": "row"}).frame["item"]) == ["x", "y"]


def test_duplicate_and_missing_annotation_ids() -> None:
    message = refused(rows(annotation_id=["a", "b", "a", "a"]))
    assert "2 rows of reviews.csv repeat an annotation_id, the first one 'a' in row 2" in message
    assert "1 rows of reviews.csv have no annotation_id: row 1" in refused(
        rows(annotation_id=["a", None])
    )
    assert len(Annotations.from_frame(rows(annotation_id=["a", "b"]))) == 2


@pytest.mark.parametrize("bad", ["", "  \n", None, float("nan"), pd.NA, 5, ["a"]])
def test_text_that_is_empty_missing_or_no_text(bad: object) -> None:
    table = rows(text=pd.Series(["a", bad, "c", bad], dtype=object).tolist()).astype(
        {"text": object}
    )
    table["label"] = [0, 0, 1, 1]
    data = Annotations.from_frame(table)
    assert data.dropped == {"no text: row 1, 3 (counted from 0)": 2}
    assert list(data.frame["text"]) == ["a", "c"]
    assert list(data.frame["row"]) == [0, 2]
    assert refused(table.iloc[[1, 3]]) == (
        "no row of reviews.csv has text (all are empty, missing or not text); is that the right "
        "column? Map it with columns: {text: ...}"
    )


def test_empty_text_of_a_dropped_row_does_not_matter() -> None:
    table = rows(text=["a", None, "c"], label=[0, 9, 1])
    data = Annotations.from_frame(table, labels={"x": [0], "y": [1]})
    assert list(data.frame["row"]) == [0, 2]


def test_missing_items_and_items_with_two_texts() -> None:
    assert "1 rows of reviews.csv have no item: row 1 " in refused(rows(item=["a", " "]))
    assert "the first one item 'a'; an item is one text" in refused(rows(item=["a", "a"]))


def test_items_without_names_are_named_by_their_text_alone() -> None:
    here = Annotations.from_frame(rows(text=["a", "b", "a"], label=[0, 1, 1])).frame["item"]
    there = Annotations.from_frame(rows(text=["b", "a"])).frame["item"]
    assert here[0] == here[2] == there[1]
    assert here[1] == there[0] != here[0]


def test_numbers_as_names_lose_the_point_of_a_float() -> None:
    table = rows(item=[1.0, 2.0], annotator=[7.0, float("nan")])
    frame = Annotations.from_frame(table).frame
    assert list(frame["item"]) == ["1", "2"]
    assert list(frame["annotator"]) == ["7", None]


def test_lists_in_an_attribute_are_read_as_text() -> None:
    table = rows().assign(moods=pd.Series([np.array(["a"]), np.array([])]))
    assert Annotations.from_frame(table).frame["moods"][0] == "['a']"


# Labels


@pytest.mark.parametrize(
    "raw",
    [
        ["1", "2", "3"],
        ["1.0", " 2 ", "3.00"],
        [1, 2, 3],
        [1.0, 2.0, 3.0],
        pd.array([1, 2, 3], dtype="Int64"),
        pd.Categorical(["1", "2", "3"]),
        [np.int8(1), "2", 3.0],
    ],
)
@pytest.mark.parametrize(("low", "high"), [([1], [2, 3]), (["1"], ["2.0", " 3"])])
def test_labels_compare_as_numbers(raw: Any, low: list[object], high: list[object]) -> None:
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": raw})
    data = Annotations.from_frame(table, labels={"low": low, "high": high})
    assert list(data.labels) == [0, 1, 1]
    assert list(Annotations.from_frame(table).labels) == [0, 1, 2]
    assert Annotations.from_frame(table).classes == ("1", "2", "3")


def test_labels_compare_as_stripped_text() -> None:
    data = Annotations.from_frame(
        rows(label=[" No", "Yes ", "NA", "nan", "1_0", "10"]),
        labels={"no": ["No"], "yes": ["Yes"], "other": ["NA", " nan ", "1_0"]},
    )
    assert list(data.labels) == [0, 1, 2, 2, 2]
    assert data.dropped == {"label missing or outside `labels`": 1}


@pytest.mark.parametrize("raw", [[False, True], ["False", "True"], ["false", "TRUE"]])
def test_true_is_true_however_it_is_written(raw: list[object]) -> None:
    table = rows(label=raw)
    assert list(Annotations.from_frame(table, labels={"t": [True], "f": [False]}).labels) == [1, 0]
    assert list(Annotations.from_frame(table).labels) == [0, 1]


@pytest.mark.parametrize(
    ("raw", "task", "classes"),
    [
        (["yes", "no"], "binary", ("no", "yes")),
        (["Yes", "Yes"], "binary", ("no", "Yes")),
        ([3, 1, 10, 2], "ordinal", ("1", "2", "3", "10")),
        ([0.5, 1, 1.5], "ordinal", ("0.5", "1", "1.5")),
        (["1", "1.0", "2"], "binary", ("1", "2")),
    ],
)
def test_inferred_classes(raw: list[object], task: str, classes: tuple[str, ...]) -> None:
    data = Annotations.from_frame(rows(label=raw))
    assert (data.task, data.classes) == (task, classes)


def test_labels_outside_are_dropped_and_counted() -> None:
    table = rows(label=[1, 9, None, 2, 9])
    data = Annotations.from_frame(table, labels={"low": [1], "high": [2]})
    assert list(data.frame["row"]) == [0, 3]
    assert list(data.frame.index) == [0, 1]
    assert data.dropped == {"label missing or outside `labels`": 3}
    assert refused(table, labels={"low": ["a"], "high": ["b", "c"]}) == (
        "no label in reviews.csv is among the raw values in `labels`; found: 1, 2, 9, nan; "
        "`labels` has: a, b, c"
    )


def test_values_as_lists_and_numbers() -> None:
    table = rows(label=[0, 1, 0, 1, 0])
    cells = [np.array(["a", "b"], dtype=object), ["b", None, "b"], "a|b", None, 3.0]
    table["values"] = pd.Series(cells, dtype=object)
    found = Annotations.from_frame(table).frame["values"]
    assert list(found) == [["a", "b"], ["b"], ["a", "b"], [], ["3"]]


@pytest.mark.parametrize(
    ("raw", "options", "parts"),
    [
        (["joy", "anger", "fear"], {}, ["words without a known order", "anger, fear, joy"]),
        (["a|b", "a", "b"], {}, ["hold several values each (multi-label), as 'a|b'"]),
        (["e,n", "e", "n", "c"], {}, ["hold several values each (multi-label), as 'e,n'"]),
        (["['e', 'n']", "['e']"], {}, ["hold several values each (multi-label)"]),
        ([["e", "n"], ["e"]], {}, ["are lists (multi-label)", "`values`"]),
        ([{"e": 0.5}, {"e": 1}], {}, ["are lists (multi-label)"]),
        ([i / 7 for i in range(30)], {}, ["30 distinct numbers", "look continuous", "Cut them"]),
        ([0, 1], {"task": "nominal"}, ["task 'nominal' is not known"]),
    ],
)
def test_other_forms_of_labels_are_refused_with_the_forms_there_are(
    raw: list[object], options: dict[str, Any], parts: list[str]
) -> None:
    message = refused(rows(label=raw), **options)
    assert "The task forms are binary (two classes), ordinal (ordered classes), " in message
    for part in parts:
        assert part in message


def test_labels_that_are_whole_texts_still_make_one_short_line() -> None:
    message = refused(rows(label=[f"Because\nof {'reasons ' * 500}{i}" for i in range(30)]))
    assert "have 30 distinct texts, as 'Because of reasons" in message
    assert "Map another column" in message


@pytest.mark.parametrize(
    ("raw", "options", "parts"),
    [
        ([1, 1], {}, ["task binary needs exactly two classes", "are: 1."]),
        ([1, 2, 3], {"task": "binary"}, ["needs exactly two classes", "are: 1, 2, 3."]),
        ([1, 2], {"labels": {"a": [1]}}, ["needs two or more classes; `labels` has: a."]),
        ([None, float("nan")], {}, ["every label in reviews.csv is missing"]),
        ([1, 2], {"labels": {"a": 1, "b": [2]}}, ["labels: a needs a list of raw values"]),
        ([1, 2], {"labels": {"a": "1", "b": [2]}}, ["labels: a needs a list of raw values"]),
        ([1, 2], {"labels": {"a": [1], "b": ["1.0"]}}, ["raw value '1.0' is in two classes"]),
    ],
)
def test_classes_that_make_no_task(
    raw: list[object], options: dict[str, Any], parts: list[str]
) -> None:
    message = refused(rows(label=raw), **options)
    for part in parts:
        assert part in message


# Preference


def pairs(*shown: tuple[str, str, object], **columns: list[Any]) -> pd.DataFrame:
    a, b, label = (list(cells) for cells in zip(*shown, strict=True))
    return pd.DataFrame({"text_a": a, "text_b": b, "label": label, **columns})


def test_pair_shown_both_ways_is_one_item_under_its_first_name() -> None:
    table = pairs(("p", "q", 1), ("q", "p", 0), ("p", "r", 1), item=["one", "two", "three"])
    data = Annotations.from_frame(table)
    assert data.task == "preference"
    assert data.classes == ("0", "1")
    assert data.n_thresholds == 1
    assert list(data.frame["item"]) == ["one", "one", "three"]
    assert list(data.frame["flipped"]) == [False, True, False]
    expected = pd.DataFrame(
        {"item": ["one", "three"], "text_a": ["p", "p"], "text_b": ["q", "r"]}, dtype=object
    )
    assert_frame_equal(data.items(), expected)
    # The unflipped order is the same where a part lacks the first row.
    assert_frame_equal(data.take([1, 2]).items(), expected)
    texts, positions = data.distinct_texts()
    assert [[texts[i] for i in row] for row in positions] == [["p", "q"], ["q", "p"], ["p", "r"]]


@pytest.mark.parametrize(
    ("raw", "labels"), [(["A", "B"], [1, 0]), ([True, False], [1, 0]), (["0", "1"], [0, 1])]
)
def test_inferred_preference_has_a_as_class_one(raw: list[object], labels: list[int]) -> None:
    data = Annotations.from_frame(pairs(("p", "q", raw[0]), ("r", "s", raw[1])))
    assert list(data.labels) == labels


@pytest.mark.parametrize("raw", [[1, 2], [-1, 1], ["first", "second"], [0, 1, 2]])
def test_preference_labels_that_do_not_say_which_text(raw: list[object]) -> None:
    # 1 and 2 would mean "first" and "second" to most, and the sorted order says the opposite.
    message = refused(pairs(*((f"p{i}", f"q{i}", label) for i, label in enumerate(raw))))
    assert "do not say which text is preferred" in message
    assert f"as in labels: {{b: [{raw[-1]}], a: [{raw[0]}]}}" in message


def chosen_and_rejected(n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {"chosen": [f"reply {i}" for i in range(n)], "rejected": [f"answer {i}" for i in range(n)]}
    )


def test_chosen_and_rejected_are_recoverable_and_balanced() -> None:
    table = chosen_and_rejected(2000)
    frame = Annotations.from_frame(table).frame
    a_wins = frame["label"] == 1
    assert (frame["text_a"].where(a_wins, frame["text_b"]) == table["chosen"]).all()
    assert (frame["text_b"].where(a_wins, frame["text_a"]) == table["rejected"]).all()
    assert 0.45 < a_wins.mean() < 0.55
    assert not frame["flipped"].any()
    # Alphabetical order would say as much as the order chosen, rejected does.
    first = frame["text_a"] < frame["text_b"]
    assert 0.45 < first.mean() < 0.55


def test_contested_pairs_are_shown_one_way_round_and_count_as_one_item() -> None:
    table = chosen_and_rejected(100)
    back = table.rename(columns={"chosen": "rejected", "rejected": "chosen"})
    frame = Annotations.from_frame(pd.concat([table, back, table.iloc[:1]])).frame
    there, again, once_more = frame[:100], frame[100:200], frame[200:]
    assert list(there["text_a"]) == list(again["text_a"])
    assert list(there["item"]) == list(again["item"])
    assert (there["label"].to_numpy() == 1 - again["label"].to_numpy()).all()
    assert once_more["text_a"].iloc[0] == there["text_a"].iloc[0]
    assert once_more["label"].iloc[0] == there["label"].iloc[0]


def test_orientation_is_the_same_on_every_machine() -> None:
    frame = Annotations.from_frame(chosen_and_rejected(8)).frame
    assert list(frame["label"]) == [1, 0, 1, 0, 0, 1, 0, 1]


def test_empty_chosen_and_missing_rejected() -> None:
    data = Annotations.from_frame(
        pd.DataFrame({"chosen": ["a", "b", None], "rejected": ["c", "", "d"]})
    )
    assert data.dropped == {"no chosen or rejected: row 1, 2 (counted from 0)": 2}
    assert len(data) == 1


def test_rows_that_repeat_another_are_counted_and_kept() -> None:
    table = rows(
        text=["a", "a", "a", "b"],
        label=[0, 0, 1, 0],
        annotator=["x", "x", "x", None],
        rationale=["r"] * 4,
    )
    again = pd.concat([table, table.iloc[[3]]], ignore_index=True)
    data = Annotations.from_frame(again)
    assert data.repeats == 1  # b twice may be two people's
    assert len(data) == 5
    assert Annotations.from_frame(again.assign(rationale=list("rstuv"))).repeats == 0
    assert Annotations.from_frame(again.drop(columns="annotator")).repeats == 0


def test_names_of_a_pair_that_has_one_already_are_counted() -> None:
    pairs = {"text_a": ["a", "b", "c"], "text_b": ["b", "a", "d"], "label": [0, 1, 1]}
    table = pd.DataFrame(pairs | {"item": ["1", "2", "3"]})
    assert Annotations.from_frame(table).merged_items == 1
    assert Annotations.from_frame(table.drop(columns="item")).merged_items == 0


# Hugging Face datasets


def test_dataset_with_class_labels_by_name() -> None:
    hf = pytest.importorskip("datasets")
    features = hf.Features(
        {
            "text": hf.Value("string"),
            "label": hf.ClassLabel(names=["ham", "spam"]),
            "tags": hf.List(hf.ClassLabel(names=["Care", "Honesty"])),
        }
    )
    columns = {"text": ["a", "b", "c"], "label": [1, None, 0], "tags": [[0], [], [1, 0]]}
    dataset = hf.Dataset.from_dict(columns, features=features)
    options: dict[str, Any] = {
        "labels": {"fine": ["ham"], "bad": ["spam"]},
        "columns": {"values": "tags"},
    }
    data = Annotations.from_dataset(dataset, **options)
    assert list(data.labels) == [1, 0]
    assert list(data.frame["values"]) == [["Care"], ["Honesty", "Care"]]
    assert data.dropped == {"label missing or outside `labels`": 1}
    assert data.source == "the Dataset"
    assert list(Annotations.from_dataset(dataset.select([2, 0]), **options).labels) == [0, 1]
    whole = hf.DatasetDict({"train": dataset, "test": dataset})
    message = complaint(lambda: Annotations.from_dataset(whole))
    assert message == (
        "this is a DatasetDict with the splits train, test; pass one, as dataset['train']"
    )
    streamed = dataset.to_iterable_dataset()
    assert "without streaming=True" in complaint(lambda: Annotations.from_dataset(streamed))


# Any table at all

CELLS = st.one_of(
    st.none(),
    st.integers(-2, 5),
    st.floats(),
    st.booleans(),
    st.text(),
    st.sampled_from(["a", "b", "yes", "No", "1", "2.0"]),
    st.lists(st.text(), max_size=2),
    st.dictionaries(st.text(), st.integers(), max_size=1),
)


@given(st.data())
def test_any_table_is_annotated_or_refused_with_one_line(data: st.DataObject) -> None:
    texts = st.sampled_from([("text",), ("text_a", "text_b"), ("chosen", "rejected")])
    others = ("annotation_id", "item", "annotator", "rationale", "values", "gender", "row")
    names = {*data.draw(texts), "label", *data.draw(st.sets(st.sampled_from(others), max_size=3))}
    n = data.draw(st.integers(1, 6))
    columns = {}
    for name in sorted(names):
        tame = st.integers(0, 1) if name == "label" else st.sampled_from("pqrst")
        kind = data.draw(st.sampled_from([tame, tame, tame, CELLS]))
        columns[name] = data.draw(st.lists(kind, min_size=n, max_size=n))
    table = pd.DataFrame({name: pd.Series(cells, dtype=object) for name, cells in columns.items()})
    message, found = "", None
    try:
        found = Annotations.from_frame(table, source="reviews.csv")
    except InputError as error:
        message = str(error)
    assert "\n" not in message
    assert len(message) < 1000
    if found is not None:
        assert set(found.labels) <= set(range(len(found.classes)))
        for name in ("item", *found.text_columns):
            assert all(text.strip() for text in found.frame[name])
        assert len(found.items()) == found.frame["item"].nunique()
        weights, items = minority_weights(found), found.frame["item"]
        clear = pd.Series(weights == 0).groupby(items).transform("any").to_numpy()
        assert (majority_rows(found)[clear] == (weights[clear] == 0)).all()
        # One label of every item is the majority, tied or not.
        labels = items_and_labels(found)[1][majority_rows(found)]
        kept = pd.Series(labels).groupby(items[majority_rows(found)].to_numpy()).nunique()
        assert (kept == 1).all()
        assert len(kept) == items.nunique()


# The frame that is passed


def test_inputs_are_not_modified() -> None:
    table = pd.DataFrame({**ROWS, "values": [["Care"], None, ["Care", "Honesty"], []]})
    before = table.copy(deep=True)
    labels = {"low": [1], "high": [2, 3]}
    data = Annotations.from_frame(table, labels=labels)
    data.frame["values"][0].append("more")
    assert_frame_equal(table, before)
    assert labels == {"low": [1], "high": [2, 3]}
    data = Annotations.from_frame(table, labels=labels)
    frame = data.frame.copy(deep=True)
    for function in (
        minority_weights,
        majority_rows,
        Annotations.items,
        Annotations.distinct_texts,
    ):
        function(data)
    part = data.take([1, 0]).frame
    part["label"] = 7
    assert_frame_equal(data.frame, frame)
    preferences = chosen_and_rejected(5)
    before = preferences.copy(deep=True)
    Annotations.from_frame(preferences)
    assert_frame_equal(preferences, before)


def test_tables_with_other_indexes_and_column_types() -> None:
    table = pd.DataFrame(ROWS)
    expected = Annotations.from_frame(table).frame
    odd = table.astype({"text": "category", "gender": "category", "label": "string"})
    odd.index = pd.Index([5, 5, 0, 0])
    assert_frame_equal(Annotations.from_frame(odd).frame, expected)


def test_take_by_rows_mask_and_none() -> None:
    data = Annotations.from_frame(rows(label=[0, 1, 0, 1]))
    assert list(data.take([3, 1]).frame["row"]) == [3, 1]
    assert list(data.take(data.labels == 1).frame["row"]) == [1, 3]
    assert len(data.take([])) == 0
    assert list(data.take([3, 1]).frame.index) == [0, 1]
    assert not minority_weights(data.take([])).size


def test_distinct_texts_are_each_once() -> None:
    data = Annotations.from_frame(rows(text=["b", "a", "b"], label=[0, 1, 1]))
    texts, positions = data.distinct_texts()
    assert texts == ["b", "a"]
    assert positions.tolist() == [[0], [1], [0]]


# Majority and minority


def test_minority_and_majority_by_hand() -> None:
    labels = {"one": [0, 0, 1], "tied": [0, 1], "alone": [2], "three": [2, 1, 2, 0, 2]}
    labels |= {"all tie": [0, 1, 2], "two of three": [0, 0, 1, 1, 2]}
    table = pd.DataFrame(
        [(item, item, label) for item, all_ in labels.items() for label in all_],
        columns=["item", "text", "label"],
    )
    data = Annotations.from_frame(table)
    # fmt: off
    assert minority_weights(data).tolist() == [
        0, 0, 1,  0.5, 0.5,  0,  0, 1, 0, 1, 0,  1 - 1 / 3, 1 - 1 / 3, 1 - 1 / 3,
        0.5, 0.5, 0.5, 0.5, 1,
    ]
    kept = majority_rows(data).tolist()
    assert kept[:3] == [True, True, False]
    assert sum(kept[3:5]) == 1
    assert kept[5:11] == [True,  True, False, True, False, True]
    assert sum(kept[11:14]) == 1
    assert kept[14:] in ([True, True, False, False, False], [False, False, True, True, False])
    # fmt: on


def test_a_tie_is_the_average_over_which_label_is_called_the_majority() -> None:
    """By hand: a pair judged once each way, as the paper's 74, and a text with a clear majority."""
    data = Annotations.from_frame(
        pairs(("p", "q", 1), ("q", "p", 1), ("r", "s", 1), ("r", "s", 1), ("r", "s", 0))
    )
    p = np.array([[0.3, 0.7], [0.6, 0.4], [0.2, 0.8], [0.2, 0.8], [0.2, 0.8]])
    weights = minority_weights(data)
    assert weights.tolist() == [0.5, 0.5, 0, 0, 1]
    # p wins: the second row is the minority's, far by 0.6. q wins: the first, far by 0.3.
    minority = np.ones((5, 1), dtype=bool)
    found = metrics.evaluate(p, data.labels, minority, weights, "preference", ["all"])["metrics"]
    assert found["one_minus_emd"] == pytest.approx(1 - (0.5 * 0.6 + 0.5 * 0.3 + 0.8) / 2)
    assert found["n_minority"] == 3


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans()), max_size=20))
def test_the_majority_of_a_pair_is_the_same_text_in_any_order_of_rows(
    votes: list[tuple[int, bool, bool]],
) -> None:
    """Which text of a tied pair wins does not depend on the row that comes first."""
    judged = [
        (f"a{i}", f"z{i}", int(won)) if a_first else (f"z{i}", f"a{i}", int(not won))
        for i, won, a_first in votes
    ]
    if not judged:
        return

    def winners(rows_: list[tuple[str, str, int]]) -> set[str]:
        named = pairs(*rows_).assign(item=lambda t: t[["text_a", "text_b"]].min(axis=1))
        frame = Annotations.from_frame(named).frame
        kept = frame[majority_rows(Annotations.from_frame(named))]
        return set(kept["text_a"].where(kept["label"] == 1, kept["text_b"]))

    assert winners(judged) == winners(judged[::-1])
    assert len(winners(judged)) == len({i for i, _, _ in votes})


def test_ties_are_settled_evenly() -> None:
    table = pd.DataFrame(
        {"text": np.repeat([f"t{i}" for i in range(400)], 2), "label": [0, 1] * 400}
    )
    kept = majority_rows(Annotations.from_frame(table))
    assert kept.sum() == 400
    assert 150 < kept[::2].sum() < 250


def test_minority_of_pairs_counts_votes_for_a_text_not_for_a_side() -> None:
    # p against q: p wins twice and q once, though A and B are named 1 and 2 times.
    data = Annotations.from_frame(
        pairs(("p", "q", 1), ("q", "p", 0), ("q", "p", 1), ("r", "s", 1), ("s", "r", 1))
    )
    assert minority_weights(data).tolist() == [0, 0, 1, 0.5, 0.5]
    kept = majority_rows(data).tolist()
    assert kept[:3] == [True, True, False]
    assert sum(kept[3:]) == 1


# Real data


def test_popquorn_as_a_users_own_table(data_dir: Path) -> None:
    path = data_dir / "popquorn" / "raw_data.csv"
    if not path.exists():
        pytest.skip("popquorn is not in the data folder")
    data = Annotations.read(
        path,
        columns={
            "item": "instance_id",
            "text": "text",
            "label": "offensiveness",
            "annotator": "user_id",
        },
        labels={"benign": [1], "mild": [2], "offensive": [3, 4, 5]},
    )
    assert len(data) == 13_036
    assert not data.dropped
    assert data.attributes == ("gender", "race", "age", "occupation", "education")
    assert data.frame["item"].nunique() == 1500
    assert data.frame["annotator"].nunique() == 262
    for by in ("annotation", "item", "annotator"):
        parts = split(data, by)
        assert abs(len(parts.test) / len(data) - 0.2) < 0.01


def test_weights_are_spoken_of_where_there_are_any() -> None:
    assert Annotations.from_frame(weighted_table([1.0] * 10)).about_weights == ""
    weighted = Annotations.from_frame(weighted_table([1.0] * 9 + [2.0]))
    assert "Measures, intervals and tests take every annotation once" in weighted.about_weights


@pytest.mark.parametrize("task", [None, "ordinal"])
def test_nominal_labels_are_ordered_only_by_the_user(task: Task | None) -> None:
    labels = ["entailment", "neutral", "contradiction"]
    table = pd.DataFrame({"text": list("abcdef"), "label": labels * 2})
    with pytest.raises(InputError, match=r"labels: \{other: \[entailment, neutral\], contr"):
        Annotations.from_frame(table, task=task)
    stated = {name: [name] for name in ("contradiction", "neutral", "entailment")}
    assert Annotations.from_frame(table, task=task, labels=stated).classes == tuple(stated)


@pytest.mark.parametrize("bad", [0, -1, float("nan"), float("inf"), "much", None])
def test_weights_that_are_none(bad: Any) -> None:
    table = weighted_table([1, 1, 1]).astype({"weight": object})
    table.loc[1, "weight"] = bad
    with pytest.raises(InputError, match=r"1 rows of a table have a weight .* in row 1"):
        Annotations.from_frame(table)


@pytest.mark.parametrize("task", ["binary", "ordinal", "preference"])
def test_a_dataset_comes_back_as_it_went(task: Task) -> None:
    table = load("simulated", annotations=60, task=task)
    dataset = table.to_dataset()
    assert isinstance(dataset, Dataset)
    labels = {name: [name] for name in table.classes}
    again = Annotations.from_dataset(dataset, task=task, labels=labels)
    assert (again.task, again.classes) == (table.task, table.classes)
    assert again.attributes == table.attributes
    pd.testing.assert_frame_equal(
        again.frame.drop(columns="row"), table.frame.drop(columns="row"), check_like=True
    )


def test_two_tables_become_one_as_if_read_together() -> None:
    first = pairs(("p", "q", 1), ("p", "r", 0)).assign(annotator="w1")
    second = pd.DataFrame(
        {"text_a": first["text_b"], "text_b": first["text_a"], "label": 1 - first["label"]}
    )
    both = joined(Annotations.from_frame(first), Annotations.from_frame(second))
    whole = Annotations.from_frame(pd.concat([first, second], ignore_index=True))
    assert_frame_equal(both.frame, whole.frame)
    assert both.frame["flipped"].tolist() == [False] * len(first) + [True] * len(second)
    with pytest.raises(InputError, match="they need the same task and classes"):
        joined(Annotations.from_frame(first), Annotations.from_frame(rows()))


def test_what_stands_for_no_answer_is_missing() -> None:
    answers = ["Woman", "Prefer not to say", "DATA_EXPIRED", "-", "n/a", "na", "NA", "None"]
    table = pd.DataFrame({"text": [*"abcdefgh"], "label": [0, 1] * 4, "gender": answers})
    genders = list(Annotations.from_frame(table).frame["gender"])
    assert genders == ["Woman", None, None, None, None, None, "NA", "None"]
