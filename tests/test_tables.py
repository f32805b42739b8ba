"""Tables in pieces are the whole table, in bounded memory; what never ends is refused."""

import contextlib
import gzip
import itertools
import json
import tracemalloc
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from mcstl._support.errors import InputError
from mcstl.data import tables
from mcstl.data.tables import chunks, read_table, table_format

KINDS = ("csv", "tsv", "jsonl", "parquet")


def write(path: Path, table: pd.DataFrame) -> Path:
    match path.suffix:
        case ".csv" | ".tsv":
            table.to_csv(path, index=False, sep="," if path.suffix == ".csv" else "\t")
        case ".jsonl":
            table.to_json(path, orient="records", lines=True, force_ascii=False)
        case _:
            table.to_parquet(path)
    return path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("limit", ["_ROWS_PER_CHUNK", "_LETTERS_PER_CHUNK"])
def test_pieces_make_the_whole(
    tmp_path: Path, kind: str, limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = [f'text, "{i}"\tof\nmany ' + "é" * (i % 7) for i in range(50)]
    table = pd.DataFrame({"text": texts, "label": [str(i) for i in range(50)]})
    path = write(tmp_path / f"a.{kind}", table)
    whole = read_table(path)
    monkeypatch.setattr(tables, limit, 7)
    pieces = [chunk.frame for chunk in chunks(path)]
    assert len(pieces) > 1 or (kind == "parquet" and limit == "_LETTERS_PER_CHUNK")
    joined = pd.concat(pieces, ignore_index=True)
    assert_frame_equal(joined.astype(object), whole.astype(object))
    assert list(joined["text"]) == texts


def test_a_table_without_rows_is_one_piece_with_its_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\n")
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), tmp_path / "a.parquet")
    assert [list(c.frame.columns) for c in chunks(tmp_path / "a.csv")] == [["text", "label"]]
    assert [list(c.frame.columns) for c in chunks(tmp_path / "a.parquet")] == [["text"]]


def test_kinds_by_name() -> None:
    assert [table_format(Path(name)) for name in ("A.CSV.GZ", "b.ndjson", "c.d.tsv")] == [
        *("csv", "jsonl", "tsv")
    ]


@pytest.mark.parametrize("name", ["a.csv", "a.tsv", "a.jsonl", "a.csv.gz", "a.jsonl.gz"])
@pytest.mark.parametrize("quoted", [True, False])
def test_a_text_that_never_ends_is_refused_in_bounded_memory(
    tmp_path: Path, name: str, quoted: bool
) -> None:
    start, letter = ('{"text": "', "x") if "json" in name else ("text\n" + '"' * quoted, "x")
    piece = (letter * 2**16 + "\n" * (quoted and "json" not in name)).encode() * 16
    path = tmp_path / name
    with gzip.open(path, "wb", 1) if name.endswith("gz") else path.open("wb") as file:
        file.write(start.encode())
        for _ in range(200):  # 200 MB
            file.write(piece)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match=r"longer than 16,777,216|larger than field limit"):
            read_table(path)
        assert tracemalloc.get_traced_memory()[1] < 150e6
    finally:
        tracemalloc.stop()


def test_parquet_that_says_it_holds_endless_cells_is_refused_unread(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": ["x" * 2**24, "y"]}), tmp_path / "ok.parquet")
    assert len(read_table(tmp_path / "ok.parquet")) == 2
    pq.write_table(pa.table({"text": ["x" * 2**25]}), tmp_path / "a.parquet", compression="none")
    with pytest.raises(InputError, match="more than 16,777,216 letters in the column 'text'"):
        read_table(tmp_path / "a.parquet")


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 30), max_size=4))
def test_parquet_files_of_a_folder_are_one_table(
    cuts: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    table = pd.DataFrame({"text": [f"text {i}" for i in range(30)], "label": range(30)})
    write(folder.with_suffix(".parquet"), table)
    ends = [0, *sorted(cuts), 30]
    for number, (start, end) in enumerate(itertools.pairwise(ends)):
        write(folder / f"part-{number}.parquet", table[start:end])
    (folder / "_SUCCESS").touch()
    (folder / ".part-9.parquet").touch()  # one that is being written
    assert_frame_equal(read_table(folder), read_table(folder.with_suffix(".parquet")))
    assert table_format(folder) == "parquet"


def test_a_folder_that_is_no_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a folder without Parquet files; is it the right one\?"):
        read_table(tmp_path)
    write(tmp_path / "a.parquet", pd.DataFrame({"text": ["a"], "label": [1]}))
    write(tmp_path / "b.parquet", pd.DataFrame({"text": ["a"], "rating": [1]}))
    with pytest.raises(InputError, match=r"b.parquet has other columns than a.parquet: label, rat"):
        read_table(tmp_path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ('text,label\n"a" b,1\n', "expected after"),
        ('text,label\n"a,1\n', "unexpected end of data"),
        ("\n\n", "no line with the names"),
    ],
)
def test_csv_that_would_be_guessed_at_is_refused(tmp_path: Path, content: str, why: str) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=why):
        read_table(tmp_path / "a.csv")


TABLE = pd.DataFrame({"text": ["one, 'two'", 'say "x"', "漢字\nline"], "label": ["1", "2", ""]})


@settings(max_examples=60)
@given(
    st.sampled_from(KINDS),
    st.lists(st.tuples(st.integers(0, 10**6), st.binary(max_size=3)), min_size=1, max_size=4),
)
def test_spoilt_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, kind: str, changes: list[tuple[int, bytes]]
) -> None:
    """Whatever happens to a file's bytes, there is a table or an InputError."""
    path = write(tmp_path_factory.mktemp("spoilt") / f"a.{kind}", TABLE)
    raw = bytearray(path.read_bytes())
    for place, new in changes:
        at = place % (len(raw) + 1)
        raw[at : at + 1] = new
    path.write_bytes(raw)
    with contextlib.suppress(InputError):
        whole = read_table(path)
        assert len(pd.concat([chunk.frame for chunk in chunks(path)])) == len(whole)


def test_deep_and_odd_json_is_refused(tmp_path: Path) -> None:
    for line in ("[" * 10**5, '{"text": ' + "9" * 5000 + "}", '{"a":' * 10**5):
        (tmp_path / "a.jsonl").write_text(line + "\n")
        with pytest.raises(InputError):
            read_table(tmp_path / "a.jsonl")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a", "deep": [[[1]]]}) + "\n")
    assert read_table(tmp_path / "a.jsonl")["deep"][0] == [[[1]]]
