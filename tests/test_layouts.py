"""A table is the same annotations in whatever layout and container it comes."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcstl._support import csv_files
from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.layouts import Layout, parts_of, to_long
from mcstl.data.parts import readable
from mcstl.data.row_numbers import Source
from mcstl.data.tables import chunks, read_table

CLASSES = {"calm": ["calm"], "mixed": ["mixed"], "angry": ["angry"]}
PEOPLE = ("Ann1", "Ann 2", "person-3", "4")

LAYOUTS: dict[str, Any] = {
    "long": None,
    "wide": {"wide": [*PEOPLE]},
    "lists": "lists",
    "mapping": "lists",
    "counts": {"counts": [*CLASSES]},
    "one-hot": {"one-hot": [*CLASSES]},
}


def lay_out(long: pd.DataFrame, layout: str) -> pd.DataFrame:
    """Write a long table in another layout, as people do."""
    items = long[["item", "text"]].drop_duplicates("item").set_index("item")
    by_item = long.groupby("item", sort=False)
    match layout:
        case "wide":
            wide = long.pivot_table(
                index="item", columns="annotator", values="label", aggfunc="first", sort=False
            )
            table = items.join(wide.reindex(columns=[*PEOPLE]))
            return table.astype(object).where(table.notna(), None).reset_index()
        case "lists":
            lists = {name: by_item[name].agg(list) for name in ("label", "annotator", "age")}
            return items.assign(**lists).reset_index()
        case "mapping":
            answers = {
                item: dict(zip(rows["annotator"], rows["label"], strict=True))
                for item, rows in by_item
            }
            labels = pd.Series([answers[item] for item in items.index], items.index, dtype=object)
            return items.assign(label=labels).reset_index()
        case "counts":
            votes = pd.crosstab(long["item"], long["label"]).reindex(columns=[*CLASSES])
            return items.join(votes.fillna(0).astype(int)).reset_index()
        case "one-hot":
            marks = {name: (long["label"] == name).astype(int) for name in CLASSES}
            return long.drop(columns="label").assign(**marks)
    return long


def written_as_text(table: pd.DataFrame) -> list[list[object]]:
    return [
        [json.dumps(cell) if isinstance(cell, list | dict) else cell for cell in row]
        for row in table.to_numpy(dtype=object)
    ]


def by_separator(separator: str, encoding: str = "utf-8") -> Callable[[pd.DataFrame, Path], None]:
    def write(table: pd.DataFrame, path: Path) -> None:
        with path.open("w", encoding=encoding, newline="") as file:
            csv_files.write_rows(file, [table.columns], separator=separator)
            csv_files.write_rows(file, written_as_text(table), separator=separator)

    return write


def as_json(form: Callable[[list[dict[str, Any]]], str]) -> Callable[[pd.DataFrame, Path], None]:
    def write(table: pd.DataFrame, path: Path) -> None:
        records = [dict(zip(table.columns, row, strict=True)) for row in table.to_numpy(object)]
        path.write_text(form(records), encoding="utf-8")

    return write


def dumped(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=1, default=int)


def lines(records: list[dict[str, Any]]) -> str:
    return "\n".join(json.dumps(record, default=int) for record in records)


def parquet(table: pd.DataFrame, path: Path) -> None:
    # Arrow has no mappings with keys of their own for each row.
    cells = {
        name: [dumped(cell) if isinstance(cell, dict) else cell for cell in column]
        for name, column in table.items()
    }
    pd.DataFrame(cells, index=table.index).to_parquet(path)


CONTAINERS: dict[str, Callable[[pd.DataFrame, Path], None]] = {
    "comma.csv": by_separator(","),
    "semicolon.csv": by_separator(";"),
    "tab.csv": by_separator("\t"),
    "bar.csv": by_separator("|"),
    "marked.csv": by_separator(";", "utf-8-sig"),
    "utf16.csv": by_separator("\t", "utf-16"),
    "table.tsv": by_separator("\t"),
    "table.jsonl": as_json(lines),
    "lines.json": as_json(lines),
    "list.json": as_json(dumped),
    "list.jsonl": as_json(dumped),
    "inside.json": as_json(lambda records: dumped({"version": 1, "data": records})),
    "columns.json": as_json(
        lambda records: dumped({name: [each[name] for each in records] for name in records[0]})
    ),
    "pandas.json": as_json(
        lambda records: dumped(
            {name: {str(i): each[name] for i, each in enumerate(records)} for name in records[0]}
        )
    ),
    "table.parquet": parquet,
    "index.parquet": lambda table, path: parquet(table.set_index("item"), path),
}


def excel(table: pd.DataFrame, path: Path) -> None:
    pytest.importorskip("openpyxl")
    pd.DataFrame(written_as_text(table), columns=table.columns).to_excel(path, index=False)


texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs")), min_size=1).filter(
    str.strip
)


@st.composite
def long_tables(draw: st.DrawFn) -> pd.DataFrame:
    shown = draw(st.lists(texts, min_size=2, max_size=4, unique=True))
    ages = draw(st.lists(st.sampled_from(["18-29", "30, or more"]), min_size=4, max_size=4))
    rows = []
    for i, text in enumerate(shown):
        who = draw(st.lists(st.sampled_from(PEOPLE), min_size=1, unique=True))
        rows += [
            {
                "item": f"item {i}",
                "text": text,
                "annotator": person,
                "label": draw(st.sampled_from([*CLASSES])),
                "age": ages[PEOPLE.index(person)],
            }
            for person in sorted(who, key=PEOPLE.index)
        ]
    return pd.DataFrame(rows)


def annotations(data: Annotations, *columns: str) -> list[tuple[str, ...]]:
    named = data.frame.assign(label=[data.classes[label] for label in data.labels])
    return sorted(named[[*columns]].itertuples(index=False, name=None))


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(long_tables(), st.sampled_from([*LAYOUTS]), st.sampled_from([*CONTAINERS]), st.booleans())
def test_one_table_in_every_layout_and_container(
    tmp_path: Path, long: pd.DataFrame, layout: str, container: str, packed: bool
) -> None:
    path = tmp_path / container
    CONTAINERS[container](lay_out(long, layout), path)
    if packed:
        whole = tmp_path / f"{container}.gz"
        whole.write_bytes(gzip.compress(path.read_bytes()))
        path = whole
    check(path, long, layout)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data(), long_tables(), st.sampled_from([*LAYOUTS]))
def test_rows_without_text_are_dropped_and_named_as_the_file_counts_them(
    tmp_path: Path, data: st.DataObject, long: pd.DataFrame, layout: str
) -> None:
    table = lay_out(long, layout).reset_index(drop=True)
    lacking = data.draw(
        st.lists(st.integers(0, len(table) - 1), unique=True, max_size=len(table) - 1).map(sorted)
    )
    table.loc[lacking, "text"] = ""
    read = {"layout": LAYOUTS[layout], "labels": CLASSES, "task": "ordinal"}
    kept = Annotations.from_frame(table.drop(index=lacking), **read)
    found_by = {0: Annotations.from_frame(table, **read)}
    for first, container in ((1, "table.jsonl"), (2, "semicolon.csv")):
        CONTAINERS[container](table, tmp_path / container)
        found_by[first] = Annotations.read(tmp_path / container, **read)
    for first, found in found_by.items():
        reason = f"no text: {Source('t', first).rows(lacking)}"
        assert found.dropped == ({reason: len(lacking)} if lacking else {})
        assert annotations(found, "text", "label") == annotations(kept, "text", "label")


@pytest.mark.parametrize("marker", ["n/a", "NA", "-", "?", "No answer", " N/A "])
@pytest.mark.parametrize("shape", ["wide", "counts", "one-hot"])
def test_a_cell_that_says_there_is_no_answer_is_an_empty_one(shape: str, marker: str) -> None:
    cells = {
        "wide": [["hide", None], ["keep", "hide"], [None, None]],
        "counts": [["2", None], ["1", "1"], [None, None]],
        "one-hot": [["1", None], ["0", "1"], [None, None]],
    }[shape]
    table = pd.DataFrame({"text": ["a", "b", "c"]}).join(
        pd.DataFrame(cells, columns=["keep", "hide"], dtype=object)
    )
    form = {shape: ["keep", "hide"]}
    labels = {"keep": ["keep"], "hide": ["hide"]}
    empty = Annotations.from_frame(table, layout=form, labels=labels)
    marked = Annotations.from_frame(table.fillna(marker), layout=form, labels=labels)
    pd.testing.assert_frame_equal(marked.frame, empty.frame)
    assert marked.dropped == empty.dropped


def test_a_marker_that_a_class_names_is_an_answer() -> None:
    table = pd.DataFrame({"text": ["a", "b"], "x": ["?", "yes"], "y": ["n/a", "?"]})
    data = Annotations.from_frame(
        table, layout={"wide": ["x", "y"]}, labels={"yes": ["yes"], "unsure": ["?"]}
    )
    assert list(data.labels) == [1, 0, 1]


@pytest.mark.parametrize("layout", [*LAYOUTS])
def test_a_workbook_is_a_table(tmp_path: Path, layout: str) -> None:
    long = pd.DataFrame(
        {
            "item": ["a", "a", "b"],
            "text": ["One; two", "One; two", "- 3"],
            "annotator": ["Ann1", "4", "4"],
            "label": ["calm", "angry", "mixed"],
            "age": ["18-29", "40", "40"],
        }
    )
    excel(lay_out(long, layout), tmp_path / "a.xlsx")
    check(tmp_path / "a.xlsx", long, layout)


def check(path: Path, long: pd.DataFrame, layout: str) -> None:
    data = Annotations.read(path, layout=LAYOUTS[layout], labels=CLASSES)
    expected = Annotations.from_frame(long, labels=CLASSES)
    known = {"counts": ("item", "text", "label")}
    columns = known.get(layout, ("item", "text", "annotator", "label"))
    if layout in ("long", "lists", "one-hot"):
        columns = (*columns, "age")
    assert annotations(data, *columns) == annotations(expected, *columns)
    assert data.frame["row"].is_unique
    pieces = pd.concat([chunk.frame for chunk in chunks(path)], ignore_index=True)
    pd.testing.assert_frame_equal(pieces, read_table(path))


def test_names_of_columns_beside_cells(tmp_path: Path) -> None:
    """As pandas writes with orient="split"."""
    table = pd.DataFrame({"text": ["Hi", "Ho"], "label": [0, 1]})
    table.to_json(tmp_path / "a.json", orient="split")
    pd.testing.assert_frame_equal(read_table(tmp_path / "a.json"), table, check_dtype=False)


def test_objects_by_id(tmp_path: Path) -> None:
    entries = {
        "7": {"text": "Hi", "label": {"Ann1": "0", "Ann2": "1"}, "soft": {"0": 0.5, "1": 0.5}},
        "8": {"text": "Ho", "label": {"Ann2": "1"}, "soft": {"0": 0, "1": 1}},
    }
    (tmp_path / "a.json").write_text("\ufeff" + json.dumps(entries), encoding="utf-8")
    data = Annotations.read(tmp_path / "a.json", columns={"item": "id"}, layout="lists")
    assert annotations(data, "item", "annotator", "label") == [
        ("7", "Ann1", "0"),
        ("7", "Ann2", "1"),
        ("8", "Ann2", "1"),
    ]
    assert data.attributes == ()  # shares of labels are no answer of a person


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("3", "is no table; expected a list of objects"),
        ("{}", "is no table"),
        ('[{"text": "a"}, 3]', "entry 2 of .* is '?3'?, not an object"),
        ('{"version": 1, "name": "x"}', "is an object with version, name, and none of it"),
        ('[{"text": "a"}', "is not JSON"),
    ],
)
def test_json_that_is_no_table(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(InputError, match=why):
        read_table(tmp_path / "a.json")


def test_decimal_commas(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text;label;two\nHi, you;1,0;1,5\nNo;0,5;12\n\nHm;-1,0;\n")
    table = read_table(path)
    assert list(table["label"]) == ["1.0", "0.5", "-1.0"]
    assert list(table["two"].fillna("")) == ["1.5", "12", ""]
    assert list(table["text"]) == ["Hi, you", "No", "Hm"]
    # Between commas a comma in a number is somebody's list.
    path.write_text('text,label\na,"1,0"\n')
    assert list(read_table(path)["label"]) == ["1,0"]
    # So it is beside a list of people.
    path.write_text("text;label;who\na;1,0;Ann1,Ann2\nb;0,0;Ann1,Ann3\n")
    columns = {"annotator": "who"}
    data = Annotations.read(path, columns=columns, layout="lists")
    assert annotations(data, "text", "annotator", "label")[0] == ("a", "Ann1", "1")


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_separator_is_what_cuts_the_lines_like_the_header(
    tmp_path: Path, separator: str
) -> None:
    rows = [("text", "label"), ("Well, I; think | so\tno", "1"), ("two\nlines; a, b", "0")]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv_files.write_rows(file, rows, separator=separator)
    table = read_table(tmp_path / "a.csv")
    assert [tuple(table.columns), *table.itertuples(index=False, name=None)] == rows


def test_a_text_alone_is_one_column(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('text\n"a, b"\nplain\n')
    assert list(read_table(tmp_path / "a.csv")["text"]) == ["a, b", "plain"]


@pytest.mark.parametrize("index", [["x", "y", "z"], pd.RangeIndex(5, 11, 2)])
def test_an_index_that_has_a_name_is_a_column(tmp_path: Path, index: Any) -> None:
    table = pd.DataFrame({"text": ["a", "b", "c"], "label": [0, 1, 1]}, index=index)
    table.index.name = "annotator"
    table.to_parquet(tmp_path / "a.parquet")
    read = read_table(tmp_path / "a.parquet")
    assert list(read["annotator"]) == list(index)
    who = [str(each) for each in index]
    assert list(Annotations.read(tmp_path / "a.parquet").frame["annotator"]) == who
    assert list(Annotations.from_frame(table).frame["annotator"]) == who
    table.index.name = None
    table.to_parquet(tmp_path / "a.parquet")
    assert list(read_table(tmp_path / "a.parquet").columns) == ["text", "label"]


def test_texts_in_parts() -> None:
    table = pd.DataFrame(
        {
            "post": ["Hello", "Go", None],
            "reply": ["Hi\nyou", None, "Yes"],
            "turns": ['{"agent": "Hm?", "user": {"text": "No"}}', "", '{"agent": "So"}'],
            "label": [0, 1, 1],
        }
    )
    data = Annotations.from_frame(table, columns={"text": ["post", "reply"]})
    assert list(map(readable, data.frame["text"])) == ["Hello\n\nHi\nyou", "Go", "Yes"]
    assert data.attributes == ("turns",)
    columns = {"text": ["turns.agent", "turns.user.text"]}
    data = Annotations.from_frame(table, columns=columns)
    assert data.dropped == {"no text: row 1 (counted from 0)": 1}
    assert list(map(readable, data.frame["text"])) == ["Hm?\n\nNo", "So"]
    assert data.attributes == ("post", "reply")
    with pytest.raises(InputError, match=r"entry 'agnet' is not in 'turns'.*Did you mean 'agent'"):
        Annotations.from_frame(table, columns={"text": "turns.agnet"})
    with pytest.raises(InputError, match="label is one column, got post, reply"):
        Annotations.from_frame(table, columns={"text": "post", "label": ["post", "reply"]})


def wide_table() -> pd.DataFrame:
    return pd.DataFrame(
        {"text": ["a", "b"], "US": [1, None], "UK": [0, 1], "why_1": ["x", ""], "why_2": ["y", "z"]}
    )


def long_of(form: Any, table: pd.DataFrame | None = None) -> pd.DataFrame:
    table = wide_table() if table is None else table
    return to_long(table, Layout.parse(form), "t.csv")[0]


def test_what_the_columns_of_a_wide_table_are() -> None:
    beside = {"labels": ["US", "UK"], "rationale": ["why_1", "why_2"]}
    long = long_of({"wide": beside})
    assert list(long["annotator"]) == ["US", "UK", "UK"]
    assert list(long["rationale"]) == ["x", "y", "z"]
    assert list(long_of({"wide": beside | {"names": "country"}})["country"]) == ["US", "UK", "UK"]
    assert "annotator" not in long_of({"wide": beside | {"names": "none"}})
    by_group = {"wide": {"labels": {"old": ["US"], "new": ["UK"]}, "names": "world"}}
    long = long_of(by_group)
    assert list(long["world"]) == ["old", "new", "new"]
    assert list(long["annotator"]) == ["US", "UK", "UK"]


def test_rows_without_annotations_are_counted() -> None:
    table = pd.DataFrame({"text": ["a", "b"], "no": [2, 0], "yes": [1, None]})
    data = Annotations.from_frame(table, layout={"counts": ["no", "yes"]})
    assert (list(data.labels), data.dropped) == ([0, 0, 1], {"no votes": 1})
    table = pd.DataFrame({"text": ["a", "b", "c"], "no": [1, 0, 0], "yes": [0, 1, 0]})
    data = Annotations.from_frame(table, layout={"one-hot": ["no", "yes"]})
    assert (list(data.labels), data.dropped) == ([0, 1], {"none of the labels": 1})
    table = pd.DataFrame({"text": ["a", "b", "c"], "p": [1, 0, None], "q": ["", 1.0, None]})
    data = Annotations.from_frame(table, layout={"wide": ["p", "q"]})
    # An empty cell is a person who was not asked.
    assert (list(data.labels), data.dropped) == ([1, 0, 1], {"no label in any column": 1})
    data = Annotations.from_frame(
        pd.DataFrame({"text": ["a", "b"], "label": ["[]", "[0, 1]"]}), layout="lists"
    )
    assert (list(data.labels), data.dropped) == ([0, 1], {"no label in the list": 1})


def test_several_at_once_are_asked_about_one_by_one() -> None:
    table = pd.DataFrame({"text": ["a", "b"], "joy": [1, 0], "anger": [True, False]})
    with pytest.raises(InputError, match="1 of 2 rows of a table have several of joy, anger"):
        Annotations.from_frame(table, layout={"one-hot": ["joy", "anger"]})
    data = Annotations.from_frame(
        table, layout={"one-hot": {"labels": ["joy", "anger"], "ask": "anger"}}
    )
    assert (list(data.labels), data.classes, data.attributes) == ([1, 0], ("0", "1"), ())


@pytest.mark.parametrize(
    ("form", "why"),
    [
        ("wid", "layout: 'wid' is not known.*Did you mean 'wide'"),
        ("wide", "layout: wide needs columns.*wide: \\[ann_1"),
        ({"lists": ["a"]}, "lists takes nothing beside it"),
        ({"wide": ["US"]}, "two or more columns"),
        ({"wide": ["US", "US"]}, "each once"),
        ({"counts": {"labels": ["US", "UK"], "ask": "US"}}, "counts does not know ask"),
        ({"one-hot": {"labels": ["US", "UK"], "ask": "USA"}}, "Did you mean 'US'"),
        ({"wide": {"labels": ["US", "UK"], "rationale": ["why_1"]}}, "needs 2 columns; got why_1"),
        ({"wide": ["US", "UKK"]}, "'UKK' is not in t.csv.*Did you mean 'UK'"),
        ({"counts": ["text", "UK"]}, "'a' in column 'text', row 0 .* is no count of votes"),
        ({"one-hot": ["why_2", "UK"]}, "'y' in column 'why_2', row 0 .*, is neither 1 nor 0"),
        ({}, "layout: got nothing"),
    ],
)
def test_what_is_no_layout(form: Any, why: str) -> None:
    with pytest.raises(InputError, match=why):
        long_of(form)


def test_lists_of_other_lengths_name_the_row() -> None:
    table = pd.DataFrame({"text": ["a", "b"], "label": ["1,0", "1,1,0"], "annotator": ["p,q"] * 2})
    with pytest.raises(InputError, match=r"first one row 1 .counted from 0.: 2 and 3"):
        long_of("lists", table)


@pytest.mark.parametrize(
    ("cell", "parts"),
    [
        (np.array([1, 2]), [1, 2]),
        ("['a' 'b c']", ["a", "b c"]),
        ("[0.5 1. ]", [0.5, 1]),
        ('["a", null]', ["a", None]),
        ("{'Ann1': 1}", {"Ann1": 1}),
        ("[not a list", ["[not a list"]),
        (None, []),
        (3, [3]),
    ],
)
def test_lists_are_read_as_they_are_written(cell: object, parts: object) -> None:
    assert parts_of(cell) == parts
