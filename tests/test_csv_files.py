"""The writer of CSV and the reader of tables are each other's inverse, whatever the cells hold."""

import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcstl._support.csv_files import guarded, unguarded, write_csv, write_rows
from mcstl.data.exports import write_table
from mcstl.data.tables import read_table

#: What separates cells and rows, quotes, blanks, and what spreadsheets run: all in any place.
AWKWARD = st.text(st.sampled_from("\r\n\t\v\f\x00\x1c\x85\u2028\ufeff,;|\"'=+-@ a1é🎈"), max_size=8)
#: UTF-8 has no halves of surrogate pairs, and the empty cell is the missing one.
TEXTS = (AWKWARD | st.text(st.characters(exclude_categories=["Cs"]))).map(lambda t: t or None)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), max_size=6)
)


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "parquet"])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=TABLES)
def test_a_table_of_texts_is_read_back_as_it_was_written(
    tmp_path: Path, kind: str, rows: list[list[str | None]]
) -> None:
    width = len(rows[0]) if rows else 2
    table = pd.DataFrame(rows, columns=[f"c{i}" for i in range(width)], dtype="str")
    write_table(table, tmp_path / f"t.{kind}")
    found = read_table(tmp_path / f"t.{kind}")
    if len(rows) or kind != "jsonl":  # JSON Lines without a line have no columns
        assert list(found.columns) == list(table.columns)
    cells = found.astype(object).where(found.notna(), None).to_numpy().tolist()
    assert cells == rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=TABLES)
def test_what_people_open_is_guarded_and_the_guard_can_be_undone(
    tmp_path: Path, rows: list[list[str | None]]
) -> None:
    names = [f"c{i}" for i in range(len(rows[0]) if rows else 2)]
    write_csv(tmp_path / "t.csv", names, rows, guard=True)
    found = read_table(tmp_path / "t.csv")
    cells = found.astype(object).where(found.notna(), None).to_numpy().tolist()
    assert cells == [[cell and guarded(cell) for cell in row] for row in rows]
    assert [[cell and unguarded(cell) for cell in row] for row in cells] == rows


@given(AWKWARD)
def test_no_guarded_text_starts_a_formula(text: str) -> None:
    cell = guarded(text)
    assert unguarded(cell) == text
    if cell[:1] in set("=+-@\t\r") - {""}:
        float(cell)  # a number with a sign


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        ("=1+1", "'=1+1"),
        ("+cmd|' /C calc'!A0", "'+cmd|' /C calc'!A0"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'\t=1"),
        ("＝1+1", "'＝1+1"),
        ("'=1+1", "''=1+1"),
        ("-5", "-5"),
        ("'-5", "'-5"),
        ("+1.5e3", "+1.5e3"),
        ("-inf", "'-inf"),
        ("a=1", "a=1"),
        ("", ""),
    ],
)
def test_formulas(cell: str, expected: str) -> None:
    assert guarded(cell) == expected


def test_numbers_are_not_texts_and_an_error_leaves_no_file(tmp_path: Path) -> None:
    stream = io.StringIO(newline="")
    write_rows(stream, [["a\rb", -1.5, None, "-"]], separator="\t", guard=True)
    assert stream.getvalue() == '"a\rb"\t-1.5\t\t\'-\r\n'
    with pytest.raises(ZeroDivisionError):
        write_csv(tmp_path / "t.csv", ["a"], ([1 / n] for n in (1, 0)))
    assert not list(tmp_path.iterdir())
