"""Reading tables: text, JSON, Parquet and Excel, whole or in pieces of bounded memory."""

import csv
import gzip
import io
import json
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from mcstl._support.errors import InputError, Notice, brief, did_you_mean, listed, need_extra
from mcstl.data.json_records import parsed, records_of
from mcstl.data.row_numbers import Source

_T = TypeVar("_T")

#: What stands between the cells of text tables, by format.
SEPARATORS = {"csv": ",", "tsv": "\t"}
#: The formats that are written; the others are only read.
WRITTEN = ("csv", "tsv", "jsonl", "parquet")
#: What may stand between the cells of a file named .csv, the most usual first.
_ANY_SEPARATOR = (",", ";", "\t", "|")

#: A longer line or cell is refused while it is read: it is no text that anybody labelled, and a
#: file that is one line of many gigabytes would fill the memory.
LONGEST = 2**24
_ROWS_PER_CHUNK = 4096
_LETTERS_PER_CHUNK = 2**24
#: How much of a text table is looked at to tell what stands between its cells.
_LETTERS_TO_SNIFF = 2**16
_NUMBER_WITH_COMMA = re.compile(r"\s*[+-]?\d+,\d+\s*")
_NUMBER = re.compile(r"\s*[+-]?\d+([,.]\d+)?\s*")
#: Names of index levels that pandas made up.
_INDEX_LEVEL = re.compile(r"__index_level_\d+__")


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
        path: The file, whose ending ``.gz`` does not count, or a folder of Parquet files.

    Returns:
        csv, tsv, jsonl, json, parquet or xlsx.

    Raises:
        InputError: The name has another ending.
    """
    if path.is_dir():
        if not shards_of(path):
            raise InputError(
                f"{path} is a folder without Parquet files; is it the right one? Expected a table, "
                "or a folder of .parquet files that are one table"
            )
        return "parquet"
    ending = path.name.lower().removesuffix(".gz").rsplit(".", 1)[-1]
    ending = "jsonl" if ending == "ndjson" else ending
    if ending not in (*WRITTEN, "json", "xlsx"):
        old = " Save it as .xlsx." if ending in ("xls", "ods") else ""
        raise InputError(
            f"{path.name} is not a table that can be read; expected .csv, .tsv, .jsonl, .json, "
            f".parquet or .xlsx, each also with .gz behind.{old}"
        )
    return ending


def shards_of(folder: Path) -> list[Path]:
    """List the Parquet files that together are one table.

    Args:
        folder: The folder that they lie in.

    Returns:
        The files, in the order of their names, which is that of the table's rows.
    """
    return sorted(path for path in folder.glob("*.parquet") if not path.name.startswith("."))


def is_table(path: Path) -> bool:
    """Say whether a file is a table, by its name.

    Args:
        path: The file.

    Returns:
        True if `read_table` reads such files.
    """
    try:
        table_format(path)
    except InputError:
        return False
    return True


def first_row(path: Path) -> int:
    """Say what number a file gives to its first row of data.

    Args:
        path: The file.

    Returns:
        2 where the names of the columns are row 1, as a spreadsheet shows CSV, TSV and Excel; else
        1.

    Example:
        >>> first_row(Path("reviews.csv")), first_row(Path("reviews.jsonl"))
        (2, 1)
    """
    return 2 if table_format(path) in (*SEPARATORS, "xlsx") else 1


def named_by(path: Path) -> Source:
    """Name a table by its file, whose rows are counted as `first_row` says.

    Args:
        path: The file.

    Returns:
        The name for messages.
    """
    return Source(path.name, first_row(path))


def written_format(path: Path) -> str:
    """Tell in which format a table is written by its file's name.

    Args:
        path: The file.

    Returns:
        csv, tsv, jsonl or parquet.

    Raises:
        InputError: The name has another ending.
    """
    file_format = table_format(path)
    if file_format not in WRITTEN:
        raise InputError(
            f"{path.name} is no table that is written; expected .csv, .tsv, .jsonl or .parquet"
        )
    return file_format


def read_table(path: str | Path, *, quotes: bool = True) -> pd.DataFrame:
    """Read a table, in the format that the file's name says.

    In CSV and TSV all cells are text, the empty cell is missing, and a column without a name in
    the header is named "". In CSV the cells may be separated by ``,``, ``;``, tab or ``|``; where
    it is not the comma, numbers with a decimal comma get a point. JSON is a list of objects, an
    object of objects by id (which becomes the column ``id``), an object of columns, or one object
    per line. Parquet keeps an index that has a name as a column. Of a workbook the first sheet
    that is not empty is read. The Parquet files of a folder are one table, in the order of their
    names.

    Args:
        path: A .csv, .tsv, .jsonl, .json, .parquet or .xlsx file, also with ``.gz`` behind; or a
            folder of .parquet files.
        quotes: Whether ``"`` in CSV and TSV quotes a cell. In files that were written without
            quoting it is an ordinary character, and a cell that starts with it would swallow
            the lines that follow.

    Returns:
        The table.

    Raises:
        InputError: The file cannot be read; the message says why.
    """
    frames = [chunk.frame for chunk in chunks(path, quotes=quotes)]
    return pd.concat(frames, ignore_index=True) if len(frames) > 1 else frames[0]


def chunks(path: str | Path, *, quotes: bool = True) -> Iterator[Chunk]:
    """Read a table some thousand rows at a time, in bounded memory.

    Memory holds one chunk (4,096 rows or 16 million letters), in Parquet a row group of the file.
    JSON that is one document, and Excel, are read whole.

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
    if path.is_dir():
        yield from _sharded(path)
        return
    readers: dict[str, Callable[[], Iterator[Chunk]]] = {
        "csv": lambda: _cells(path, _separator(path, quotes), quotes),
        "tsv": lambda: _cells(path, SEPARATORS["tsv"], quotes),
        "jsonl": lambda: _json_lines(path),
        "json": lambda: _json_document(path),
        "parquet": lambda: _batches(path),
        "xlsx": lambda: _sheet(path),
    }
    reader = _explained(path, file_format, readers[file_format])
    while (chunk := _explained(path, file_format, lambda: next(reader, None))) is not None:
        yield chunk


def _sharded(folder: Path) -> Iterator[Chunk]:
    first: tuple[Path, set[str]] | None = None
    for path in shards_of(folder):
        for chunk in chunks(path):
            names = set(map(str, chunk.frame.columns))
            first = first or (path, names)
            if different := sorted(names ^ first[1]):
                raise InputError(
                    f"{path} has other columns than {first[0].name}: {listed(different)} "
                    "are in one of them; the files of a folder must be parts of one table"
                )
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


def _separator(path: Path, quotes: bool) -> str:
    """Tell what stands between cells: what cuts the first lines like the header."""
    with _text(path) as file:
        start = file.read(_LETTERS_TO_SNIFF)
    # What may be cut in its middle is not looked at.
    start = start if len(start) < _LETTERS_TO_SNIFF else start.rpartition("\n")[0] or start
    best, best_fit = ",", (0.0, 1)
    for separator in _ANY_SEPARATOR:
        reader = csv.reader(
            io.StringIO(start, newline=""),
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
        )
        try:
            widths = [len(cells) for cells in reader if cells]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            fit = (float(np.mean(np.array(widths) == widths[0])), widths[0])
            best, best_fit = max((best, best_fit), (separator, fit), key=lambda each: each[1])
    return best


def _cells(path: Path, separator: str, quotes: bool) -> Iterator[Chunk]:
    """Read the cells of CSV or TSV; `NA` and `None` are answers, so only "" is missing."""
    if path.is_file() and not path.stat().st_size:
        raise InputError(f"{path} is empty")
    csv.field_size_limit(LONGEST)
    with _text(path) as file:
        # Strict: else a file cut inside a quoted cell would end in silence.
        reader = csv.reader(
            _lines(file, path),
            delimiter=separator,
            quoting=csv.QUOTE_MINIMAL if quotes else csv.QUOTE_NONE,
            strict=True,
        )
        names: list[str] | None = None
        decimals: list[int] | None = None if separator != "," else []
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
                decimals = _with_decimal_commas(rows, len(names)) if decimals is None else decimals
                yield Chunk(_frame(rows, names, decimals))
                done += len(rows)
                rows, letters = [], 0
        if names is None:
            raise csv.Error("no line with the names of the columns")
        if rows or not done:
            decimals = _with_decimal_commas(rows, len(names)) if decimals is None else decimals
            yield Chunk(_frame(rows, names, decimals))


def _with_decimal_commas(rows: Sequence[Sequence[str | None]], width: int) -> list[int]:
    """Find the columns of numbers, whose commas are decimal ones.

    ``1,0`` is a list of two where another column has lists of two texts.
    """
    columns = [[cell for row in rows if (cell := row[i])] for i in range(width)]
    numbers = [i for i, column in enumerate(columns) if all(_NUMBER.fullmatch(c) for c in column)]
    lists_of_two = any(
        column and all(c.count(",") == 1 and not re.search(r", |\d,\d", c) for c in column)
        for i, column in enumerate(columns)
        if i not in numbers
    )
    return [] if lists_of_two else numbers


def _frame(
    rows: Sequence[Sequence[str | None]], names: list[str], decimals: Collection[int]
) -> pd.DataFrame:
    if decimals:
        rows = [
            [
                cell.replace(",", ".")
                if i in decimals and cell and _NUMBER_WITH_COMMA.fullmatch(cell)
                else cell
                for i, cell in enumerate(row)
            ]
            for row in rows
        ]
    return pd.DataFrame(rows, columns=pd.Index(names, dtype=object), dtype="str")


def _json_lines(path: Path) -> Iterator[Chunk]:
    records: list[dict[str, Any]] = []
    letters = done = 0
    with _text(path) as file:
        for number, line in enumerate(_lines(file, path), 1):
            if not line.strip():
                continue
            if number == 1 and line.lstrip().startswith("["):  # a list under the name of lines
                yield from _json_document(path)
                return
            records.append(_record(line, number, path))
            letters += len(line)
            if len(records) == _ROWS_PER_CHUNK or letters > _LETTERS_PER_CHUNK:
                yield Chunk(pd.DataFrame(records, dtype=object))
                done += len(records)
                records, letters = [], 0
    if records or not done:
        yield Chunk(pd.DataFrame(records, dtype=object))


def _record(text: str, number: int, path: Path) -> dict[str, Any]:
    record = parsed(text, f"line {number} of {path}")
    if not isinstance(record, dict):
        raise InputError(
            f"line {number} of {path} is not an object; expected one per line, "
            'as {"text": "...", "label": 1}'
        )
    return record


def _json_document(path: Path) -> Iterator[Chunk]:
    with _text(path) as file:
        text = file.read()
    # Many call JSON Lines .json, too; then the first line is whole.
    first, _, rest = text.strip().partition("\n")
    if first.startswith("{") and first.rstrip().endswith("}") and rest.lstrip().startswith("{"):
        yield from _json_lines(path)
        return
    yield Chunk(pd.DataFrame(records_of(parsed(text, str(path)), path), dtype=object))


def _sheet(path: Path) -> Iterator[Chunk]:
    with need_extra("excel"):
        import openpyxl as openpyxl
    with _opened(path) as file:
        sheets = pd.read_excel(
            io.BytesIO(file.read()), sheet_name=None, dtype=object, keep_default_na=False
        )
    filled = {name: sheet for name, sheet in sheets.items() if len(sheet.columns)}
    if not filled:
        raise InputError(f"{path} is empty")
    (name, frame), *others = filled.items()
    if others:
        left = listed(name for name, _ in others)
        message = f"{path.name}: the sheet {brief(name)!r} is read; the others are not: {left}"
        warnings.warn(message, Notice, stacklevel=2)
    yield Chunk(frame.replace("", None))


def _parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    with _opened(path) as packed:
        source = io.BytesIO(packed.read()) if _is_packed(path) else path
    file = pq.ParquetFile(source)
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
        yield _unpacked(pa.Table.from_batches([batch]), done)
        done += batch.num_rows
    if not done:
        yield _unpacked(file.schema_arrow.empty_table(), 0)


def _unpacked(table: Any, start: int) -> Chunk:
    """Make a chunk of rows from `start` on; an index that has a name is a column like others."""
    table = table.drop_columns([name for name in table.column_names if _INDEX_LEVEL.match(name)])
    described = json.loads((table.schema.metadata or {}).get(b"pandas", b"{}"))
    for level in described.get("index_columns", []):
        if isinstance(level, dict) and level.get("name"):  # a range, which has no column
            first, step = level["start"] + start * level["step"], level["step"]
            numbers = [first + step * i for i in range(table.num_rows)]
            table = table.add_column(0, level["name"], [numbers])
    # As floats, whole numbers beside a missing one would change where they are long.
    return Chunk(table.to_pandas(integer_object_nulls=True, ignore_metadata=True), table)


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


def _is_packed(path: Path) -> bool:
    return path.name.lower().endswith(".gz")


def _opened(path: Path) -> IO[bytes]:
    return gzip.open(path) if _is_packed(path) else path.open("rb")  # type: ignore[return-value]


def _text(path: Path) -> IO[str]:
    """Open a text file: UTF-8, or UTF-16 where its first bytes say so."""
    with _opened(path) as file:
        mark = file.read(2)
    encoding = "utf-16" if mark in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return io.TextIOWrapper(_opened(path), encoding=encoding, newline="")


def _not_utf8(path: Path) -> str:
    """Say where the first byte stands that is not UTF-8, and how to mend it."""
    with _opened(path) as file:
        for number, line in enumerate(_lines(file, path), 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return (
                    f"{path} is not UTF-8 (byte 0x{line[error.start]:02x} in line {number}); save "
                    "it as UTF-8, "
                    f"or: iconv -f latin1 -t utf-8 {path.name} > utf8-{path.name}"
                )
    return f"{path} is not UTF-8; save it as UTF-8"
