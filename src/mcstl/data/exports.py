"""Tables that leave: CSV that no spreadsheet runs, JSON Lines and Parquet that hold what came."""

import base64
import csv
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from mcstl._support import files
from mcstl._support.arrays import FloatArray
from mcstl.data.cells import comparable
from mcstl.data.tables import kind_of

Kind = Literal["csv", "tsv", "jsonl", "parquet"]

#: What a spreadsheet takes for the start of a formula, full-width forms included, or skips before
#: one (OWASP, "CSV Injection").
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


def inert(text: str) -> str:
    """Return a cell of CSV that no spreadsheet runs: ``'`` goes before what starts a formula.

    A number stays one, whatever its sign.

    >>> inert("=1+1"), inert("-5"), inert("- a point"), inert("plain")
    ("'=1+1", '-5', "'- a point", 'plain')
    """
    starts = text.startswith(_FORMULA)
    return f"'{text}" if starts and isinstance(comparable(text), str) else text


def write_part(
    path: Path,
    kind: str,
    carried: Mapping[str, Sequence[object]],
    new: Mapping[str, FloatArray],
    arrow: Any = None,
) -> None:
    """Write rows of a table without its header: columns `carried` over, then `new` numbers.

    Numbers are written with eight digits, in Parquet as they are; one that is not finite is the
    empty cell, or null. `arrow` is the table that holds the carried columns with their types;
    without it they are text in Parquet.
    """
    if kind == "parquet":
        _write_parquet(path, carried, new, arrow)
        return
    numbers = [[_digits(x) for x in column.tolist()] for column in new.values()]
    with path.open("w", encoding="utf-8", newline="") as file:
        if kind == "jsonl":
            names = [*carried, *new]
            cells = [*([plain(cell) for cell in column] for column in carried.values()), *numbers]
            for row in zip(*cells, strict=True):
                record = dict(zip(names, row, strict=True))
                file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            return
        texts = [[inert(as_text(cell) or "") for cell in column] for column in carried.values()]
        _csv(file, kind).writerows(zip(*texts, *numbers, strict=True))


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write a table whole or not at all, of the kind that the file's name says.

    Lists are written as ``values`` are read, with ``|`` between. Raises InputError for another kind
    of file.
    """
    kind = kind_of(path)
    cells = {str(name): list(map(_as_cell, column)) for name, column in table.items()}
    with files.replacing(path) as whole:
        part = whole.with_suffix(".part")
        try:
            write_part(part, kind, cells, {})
            join([part], whole, kind, list(cells))
        finally:
            part.unlink(missing_ok=True)


def _as_cell(cell: object) -> object:
    return "|".join(map(str, cell)) if isinstance(cell, list) else cell


def join(parts: Sequence[Path], path: Path, kind: str, names: Sequence[str]) -> None:
    """Put parts together under their header; `names` are the columns."""
    if kind == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, pq.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
        return
    with path.open("wb") as whole:
        if kind != "jsonl":
            with path.open("w", encoding="utf-8", newline="") as file:
                _csv(file, kind).writerow(map(inert, names))
            whole.seek(path.stat().st_size)
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole)


def _csv(file: Any, kind: str) -> Any:
    # The line end of RFC 4180: with another one Python leaves a lone "\r" in a cell unquoted.
    return csv.writer(file, delimiter="," if kind == "csv" else "\t", lineterminator="\r\n")


def _write_parquet(
    path: Path, carried: Mapping[str, Sequence[object]], new: Mapping[str, FloatArray], arrow: Any
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if arrow is None:
        texts = [pa.array(map(as_text, column), pa.string()) for column in carried.values()]
        arrow = pa.table(texts, names=list(carried))
    table = arrow.select(list(carried)).replace_schema_metadata(None)
    for name, column in new.items():
        table = table.append_column(name, pa.array(column, pa.float64(), from_pandas=True))
    pq.write_table(table, path)


def _digits(x: float) -> float | None:
    return float(f"{x:.8g}") if math.isfinite(x) else None


def plain(cell: Any) -> Any:
    """Return a cell as JSON can hold it: numbers that are not finite become null, dates text."""
    match cell:
        case None | bool() | int() | str():
            return cell
        case float():
            return cell if math.isfinite(cell) else None
        case bytes():
            return base64.b64encode(cell).decode()
        case dict():
            return {str(key): plain(value) for key, value in cell.items()}
        case list() | tuple():
            return [plain(value) for value in cell]
    return str(cell)


def as_text(cell: Any) -> str | None:
    """Return a cell as text, lists and objects as JSON; None if it is missing."""
    value = plain(cell)
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)
