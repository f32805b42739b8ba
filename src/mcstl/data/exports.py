"""Tables on the way out: CSV, TSV, JSON Lines and Parquet, whole or in parts put together."""

import base64
import json
import math
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mcstl._support import csv_files, files
from mcstl._support.arrays import FloatArray
from mcstl.data.tables import SEPARATORS, written_format


def write_table(table: pd.DataFrame, path: Path, *, guard: bool = False) -> None:
    """Write a table whole or not at all, in the format that the file's name says.

    Lists are written as ``values`` are read, with ``|`` between.

    Args:
        table: Any cells; those that JSON cannot hold become text.
        path: A .csv, .tsv, .jsonl or .parquet file.
        guard: Whether CSV and TSV are for people to open in a spreadsheet: a text that it would
            run as a formula gets a ``'`` in front.

    Raises:
        InputError: The file's name has another ending.

    """
    file_format = written_format(path)
    columns = {str(name): list(map(_joined, column)) for name, column in table.items()}
    with files.replacing(path) as whole:
        part = whole.with_suffix(".part")
        try:
            write_part(part, file_format, columns, {}, guard=guard)
            join([part], whole, file_format, list(columns), guard=guard)
        finally:
            part.unlink(missing_ok=True)


def write_part(
    path: Path,
    file_format: str,
    carried: Mapping[str, Sequence[object]],
    new: Mapping[str, FloatArray],
    arrow: Any = None,
    *,
    guard: bool = False,
) -> None:
    """Write some rows of a table without their header, to be put together by `join`.

    Numbers are written with eight digits, in Parquet as they are; one that is not finite is the
    empty cell, or null.

    Args:
        path: The file to write.
        file_format: The format: csv, tsv, jsonl or parquet.
        carried: Columns of any cells, taken over from another table.
        new: Columns of numbers, (n,) each, that follow them.
        arrow: The pyarrow table that holds the carried columns with their types; without it they
            are text in Parquet.
        guard: Whether to guard carried texts in CSV and TSV, as in `write_table`.

    """
    if file_format == "parquet":
        _write_parquet(path, carried, new, arrow)
        return
    numbers = [[_digits(x) for x in column.tolist()] for column in new.values()]
    with path.open("w", encoding="utf-8", newline="") as file:
        if file_format == "jsonl":
            names = [*carried, *new]
            cells = [*([plain(cell) for cell in column] for column in carried.values()), *numbers]
            for row in zip(*cells, strict=True):
                record = dict(zip(names, row, strict=True))
                file.write(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
            return
        texts = [map(as_text, column) for column in carried.values()]
        rows = zip(*texts, *numbers, strict=True)
        csv_files.write_rows(file, rows, separator=SEPARATORS[file_format], guard=guard)


def join(
    parts: Sequence[Path],
    path: Path,
    file_format: str,
    names: Sequence[str],
    *,
    guard: bool = False,
) -> None:
    """Put parts of a table together under their header.

    Args:
        parts: Files that `write_part` wrote, in order.
        path: The file to write.
        file_format: The format of all of them: csv, tsv, jsonl or parquet.
        names: The columns.
        guard: Whether to guard the names in CSV and TSV, as in `write_table`.

    """
    if file_format == "parquet":
        import pyarrow.parquet as pq

        with pq.ParquetWriter(path, pq.read_schema(parts[0])) as writer:
            for part in parts:
                writer.write_table(pq.read_table(part))
        return
    with path.open("wb") as whole:
        if file_format != "jsonl":
            with path.open("w", encoding="utf-8", newline="") as file:
                csv_files.write_rows(file, [names], separator=SEPARATORS[file_format], guard=guard)
            whole.seek(path.stat().st_size)
        for part in parts:
            with part.open("rb") as piece:
                shutil.copyfileobj(piece, whole)


def plain(cell: Any) -> Any:
    """Make a cell what JSON can hold.

    Args:
        cell: Any object.

    Returns:
        The cell itself, or null for what is missing and for numbers that are not finite, Base64
        for bytes, and text for dates and the like; the same inside lists and objects.

    """
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
    return None if cell is pd.NA or cell is pd.NaT else str(cell)


def as_text(cell: Any) -> str | None:
    """Make a cell text.

    Args:
        cell: Any object.

    Returns:
        Its text, JSON for numbers, lists and objects, or None for what is missing.

    """
    value = plain(cell)
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _joined(cell: object) -> object:
    return "|".join(map(str, cell)) if isinstance(cell, list) else cell


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
