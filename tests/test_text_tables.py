"""Tables for a terminal: they fit it, and nothing in them is cut."""

from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from mcstl._support.text_tables import terminal_table, wrapped

words = st.text(alphabet="abcdefgh[].,-=日é", min_size=1, max_size=12)
names = st.lists(words, min_size=1, max_size=4).map(" ".join)
tables = st.integers(2, 8).flatmap(
    lambda n: st.tuples(
        st.lists(words, min_size=n, max_size=n),
        st.lists(
            st.tuples(names, st.lists(words, min_size=n - 1, max_size=n - 1)),
            min_size=1,
            max_size=4,
        ),
    )
)


@given(tables, st.integers(20, 200))
def test_a_table_fits_the_terminal_and_holds_every_cell(
    table: tuple[list[str], list[tuple[str, list[str]]]], width: int
) -> None:
    header, named = table
    rows = [[name, *cells] for name, cells in named]
    lines = terminal_table(header, rows, width=width).splitlines()
    assert "…" not in "".join(lines)
    text = " ".join(lines)
    for word in (*header[1:], *(cell for row in rows for cell in row[1:])):
        assert word in text
    if "┏" in text:
        assert max(map(cell_len, lines)) <= width


def test_without_a_width_every_row_is_one_line() -> None:
    row = ["a name of many words", *(["0.123 [0.100, 0.200]"] * 30)]
    table = terminal_table(["method", *(["figure"] * 30)], [row], title="t " * 90)
    (line,) = [line for line in table.splitlines() if row[0] in line]
    assert line.count(row[1]) == 30


def test_columns_that_do_not_fit_come_in_tables_of_about_the_same_width() -> None:
    header = ["method", "AUC", "NLL", "Slope", "Bias"]
    rows = [["mc-stl", *(["0.123 [0.100, 0.200]"] * 4)]]
    tables = terminal_table(header, rows, width=100).split("┏")[1:]
    assert len({len(line) for line in tables[0].splitlines() if "│" in line}) == 1
    parts = terminal_table(header, rows, width=90).splitlines()
    assert [line.count("0.123") for line in parts if "mc-stl" in line] == [2, 2]


def test_where_no_column_fits_each_row_is_a_block() -> None:
    table = terminal_table(["method", "AUC"], [["mc-stl", "0.5\n[0.4, 0.6]"]], width=20)
    assert table == "mc-stl\n  AUC  0.5 [0.4, 0.6]"


@given(st.lists(words).map(" ".join), st.integers(10, 80), st.integers(0, 4))
def test_wrapping_breaks_between_words_only(text: str, width: int, indent: int) -> None:
    assert wrapped(text, width, indent).split() == text.split()
    assert wrapped(text, None, indent) == text
