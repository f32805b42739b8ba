"""Reading tables: CSV, TSV, JSON Lines and Parquet, whole or in pieces of bounded memory."""

import csv
import gzip
import io
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import pandas as pd

from mcstl._support.errors import InputError, brief, did_you_mean

_T = TypeVar("_T")

#: What stands between the cells of text tables, by format.
SEPARATORS = {"csv": ",", "tsv": "\t"}

#: A longer line or cell is refused while it is read: it is no text that anybody labelled, and a
#: file that is one line of many gigabytes would fill the memory.
LONGEST = 2**24
_ROWS_PER_CHUNK = 4096
_LETTERS_PER_CHUNK = 2**24
_HALF_OF_A_PAIR = re.compile(r"[\ud800-\udfff]")


class Chunk(NamedTuple):
    """Some consecutive rows of a table.

    Attributes:
        frame: The rows.
        arrow: The rows as a pyarrow table, which keeps their types, if the file is Parquet.
    """

    frame: pd.DataFrame
    arrow: Any = None


def table_format(path: Path) -> str:
    """Tell the format of a table by its file's name.

    Args:
        path: The file; an ending ``.gz`` does not count.

    Returns:
        csv, tsv, jsonl or parquet.

    Raises:
        InputError: The name has another ending.
    """
    ending = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    ending = "jsonl" if ending == "ndjson" else ending
    if ending not in ("csv", "tsv", "jsonl", "parquet"):
        raise InputError(
            f"{path.name} is not a table that can be read; expected .csv, .tsv, .jsonl or .parquet"
        )
    return ending


def read_table(path: str | Path, *, quotes: bool = True) -> pd.DataFrame:
    """Read a table, in the format that the file's name says.

    In CSV and TSV all cells are text, the empty cell is missing, and a column without a name in
    the header is named "".

    Args:
        path: A .csv, .tsv, .jsonl or .parquet file; all but Parquet also with ``.gz`` behind.
        quotes: Whether ``"`` in CSV and TSV quotes a cell. In files that were written without
            quoting it is an ordinary character, and a cell that starts with it would swallow
            the lines that follow.

    Returns:
        The table.

    Raises:
        InputError: The file cannot be read; the message says why.
    """
    path = _existing(path)
    file_format = table_format(path)
    if file_format == "parquet":
        return _explained(path, file_format, lambda: _unpacked(_parquet(path).read()).frame)
    frames = [chunk.frame for chunk in chunks(path, quotes=quotes)]
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def chunks(path: str | Path, *, quotes: bool = True) -> Iterator[Chunk]:
    """Read a table some thousand rows at a time, in bounded memory.

    Memory holds one chunk (4,096 rows or 16 million letters), in Parquet a row group of the file.

    Args:
        path: As in `read_table`.
        quotes: As in `read_table`.

    Yields:
        The chunks in order; at least one, which has no rows if the table has none.

    Raises:
        InputError: As `read_table` does, once reading comes to what is wrong.
    """
    path = _existing(path)
    file_format = table_format(path)
    readers: dict[str, Callable[[], Iterator[Chunk]]] = {
        "csv": lambda: _cells(path, SEPARATORS["csv"], quotes),
        "tsv": lambda: _cells(path, SEPARATORS["tsv"], quotes),
        "jsonl": lambda: _json_lines(path),
        "parquet": lambda: _batches(path),
    }
    reader = _explained(path, file_format, readers[file_format])
    while (chunk := _explained(path, file_format, lambda: next(reader, None))) is not None:
        yield chunk


def _existing(path: str | Path) -> Path:
    path = Path(path)
    if not path.exists():
        near = did_you_mean(path.name, [p.name for p in path.parent.glob("*")])
        raise InputError(f"there is no file {path}.{near}")
    return path


def _explained(path: Path, file_format: str, read: Callable[[], _T]) -> _T:
    """Return what `read` returns; what it raises becomes an InputError that says what is wrong."""
    try:
        return read()
    except InputError:
        raise
    except UnicodeDecodeError as error:
        raise InputError(_not_utf8(path)) from error
    except Exception as error:  # whatever csv, pyarrow, gzip or the disk says is the user's news
        hint = (
            "is it whole, and is every cell that holds a comma, tab or quote in double quotes?"
            if isinstance(error, csv.Error)
            else "is it whole?"
        )
        why = brief(error, 120) or type(error).__name__
        raise InputError(f"{path} cannot be read as {file_format}: {why}; {hint}") from error


def _cells(path: Path, separator: str, quotes: bool) -> Iterator[Chunk]:
    """Read the cells of CSV or TSV; `NA` and `None` are answers, so only "" is missing."""
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty")
    csv.field_size_limit(LONGEST)
    with io.TextIOWrapper(_opened(path), encoding="utf-8-sig", newline="") as file:
        # Strict: else a file cut inside a quoted cell would end in silence.
        reader = csv.reader(
            _lines(file, path),
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            strict=True,
        )
        names: list[str] | None = None
        rows: list[list[str | None]] = []
        letters = done = 0
        for cells in reader:
            if not cells:  # a blank line
                continue
            if names is None:
                names = [cell.strip() for cell in cells]
                continue
            if len(cells) > len(names):
                raise csv.Error(
                    f"Expected {len(names)} fields in line {reader.line_num}, saw {len(cells)}"
                )
            rows.append([cell or None for cell in cells] + [None] * (len(names) - len(cells)))
            letters += sum(map(len, cells))
            if len(rows) == _ROWS_PER_CHUNK or letters > _LETTERS_PER_CHUNK:
                yield Chunk(_frame(rows, names))
                done += len(rows)
                rows, letters = [], 0
        if names is None:
            raise csv.Error("no line with the names of the columns")
        if rows or not done:
            yield Chunk(_frame(rows, names))


def _frame(rows: Sequence[Sequence[str | None]], names: list[str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=pd.Index(names, dtype=object), dtype="str")


def _json_lines(path: Path) -> Iterator[Chunk]:
    records: list[dict[str, Any]] = []
    letters = done = 0
    with _opened(path) as file:
        for number, line in enumerate(_lines(file, path), 1):
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            records.append(_record(text, number, path))
            letters += len(text)
            if len(records) == _ROWS_PER_CHUNK or letters > _LETTERS_PER_CHUNK:
                yield Chunk(pd.DataFrame(records, dtype=object))
                done += len(records)
                records, letters = [], 0
    if records or not done:
        yield Chunk(pd.DataFrame(records, dtype=object))


def _record(text: str, number: int, path: Path) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(
            f"line {number} of {path} is not JSON ({error.msg} at character {error.pos}); "
            "is the file whole?"
        ) from error
    if not isinstance(record, dict):
        raise InputError(
            f"line {number} of {path} is not an object; expected one per line, "
            'as {"text": "...", "label": 1}'
        )
    # Only an escape can bring one in: UTF-8 has none.
    escaped = "\\ud" in text.lower()
    if escaped and _HALF_OF_A_PAIR.search(json.dumps(record, ensure_ascii=False)):
        raise InputError(
            f"line {number} of {path} holds half of a surrogate pair (a cut emoji), which "
            "is no text; drop it or write the file anew as UTF-8"
        )
    return record


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    file = pq.ParquetFile(path)
    for number in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(number)
        for column in range(group.num_columns):
            # The file says how much there is before it is unpacked.
            if group.column(column).total_uncompressed_size > LONGEST * max(1, group.num_rows):
                raise InputError(
                    f"{path} has cells of more than {LONGEST:,} letters in the column "
                    f"{brief(group.column(column).path_in_schema)!r}; cut them first"
                )
    return file


def _batches(path: Path) -> Iterator[Chunk]:
    import pyarrow as pa

    file = _parquet(path)
    done = 0
    for batch in file.iter_batches(batch_size=_ROWS_PER_CHUNK):
        yield _unpacked(pa.Table.from_batches([batch]))
        done += 1
    if not done:
        yield _unpacked(file.schema_arrow.empty_table())


def _unpacked(table: Any) -> Chunk:
    # As floats, whole numbers beside a missing one would change where they are long.
    return Chunk(table.to_pandas(integer_object_nulls=True), table)


def _lines(file: IO[Any], path: Path) -> Iterator[Any]:
    """Yield the lines of a file of text or bytes; raise InputError for one that never ends."""
    number = 1
    while line := file.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise InputError(
                f"line {number} of {path} is longer than {LONGEST:,} letters; "
                "is it a table? Cut its longest text first"
            )
        yield line
        number += 1


def _opened(path: Path) -> IO[bytes]:
    named_so = path.name.lower().endswith(".gz")
    return gzip.open(path) if named_so else path.open("rb")  # type: ignore[return-value]


def _not_utf8(path: Path) -> str:
    """Say where the first byte stands that is not UTF-8, and how to mend it."""
    with _opened(path) as file:
        for number, line in enumerate(_lines(file, path), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                byte = line[error.start]
                # Spreadsheets save "Unicode text" as UTF-16, which starts with one of these.
                old = (
                    "utf-16" if number == 1 and line[:2] in (b"\xff\xfe", b"\xfe\xff") else "latin1"
                )
                return (
                    f"{path} is not UTF-8 (byte 0x{byte:02x} in line {number}); save it as UTF-8, "
                    f"or: iconv -f {old} -t utf-8 {path.name} > utf8-{path.name}"
                )
    return f"{path} is not UTF-8; save it as UTF-8"
