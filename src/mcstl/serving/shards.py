"""Sharded Parquet past one machine: Ray Data spreads the shards over workers.

On one machine Ray starts itself; with ``RAY_ADDRESS`` set, or inside a Ray job, the work is spread
over that cluster, whose machines must all see the folders. Each shard becomes one of the same name,
read and written in pieces of bounded memory and there only when it is whole. A worker that dies is
started again by Ray and its shard done again; a job that was stopped does only the shards that are
not there yet.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from mcstl._support import files
from mcstl._support.errors import InputError, listed, need_extra, need_names
from mcstl.data.tables import shards_of
from mcstl.encoding.encoders import load_encoder
from mcstl.groups.small_groups import FEW_PEOPLE
from mcstl.models.model import Model
from mcstl.serving.query import probability_columns

_ROWS_PER_PIECE = 4096
#: Takes rows and returns them with more columns; made in each worker.
_AddColumns = Callable[[pd.DataFrame], pd.DataFrame]


class Predictor:
    """Adds what a saved model says of each row: ``p(class)`` and ``p(class | perspective)``.

    Args:
        folder: The model's folder.
        text: The column of the texts, or the two of a preference.
        perspectives: P lists of group names.
        min_people: How many people a group must be of to be asked for.
    """

    def __init__(
        self,
        folder: str,
        text: Sequence[str],
        perspectives: Sequence[Sequence[str]],
        min_people: int = FEW_PEOPLE,
    ) -> None:
        self.model = Model.load(folder, min_people=min_people)
        self.text = list(text)
        self.perspectives = perspectives

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return `rows` with the columns added."""
        texts: Any = rows[self.text[0]].tolist()
        if len(self.text) == 2:
            texts = list(zip(texts, rows[self.text[1]], strict=True))
        views = self.model.views(texts, self.perspectives)
        p = np.hstack([views.population, views.p.reshape(len(rows), -1)])
        columns = probability_columns(views.classes, views.names)
        return rows.assign(**dict(zip(columns, p.T, strict=True)))


class Encoding:
    """Adds the column ``vector``, the embedding of each row's text.

    The cache is neither read nor filled.

    Args:
        encoder: The encoder's name.
        text: The column of the texts.
    """

    def __init__(self, encoder: str, text: str) -> None:
        self.encoder = load_encoder(encoder)
        self.text = text

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return `rows` with the column added."""
        positions, distinct = pd.factorize(rows[self.text])
        vectors = self.encoder.encode_uncached(distinct.tolist())
        return rows.assign(vector=list(vectors[positions]))


class _Worker:
    """What Ray keeps in each of its processes: what adds columns, and where shards go."""

    def __init__(
        self, out: str, make: Callable[..., _AddColumns], arguments: tuple[Any, ...]
    ) -> None:
        self.out = Path(out)
        self.add_columns = make(*arguments)

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Do the shards named by path and return how many rows each has."""
        return {"rows": [self.shard(Path(path)) for path in batch["path"]]}

    def shard(self, path: Path) -> int:
        """Read a shard piece by piece, write it with the columns added, and count its rows."""
        import pyarrow as pa
        from pyarrow import parquet

        writer, n = None, 0
        with files.replacing(self.out / path.name) as temporary, parquet.ParquetFile(path) as shard:
            for piece in shard.iter_batches(_ROWS_PER_PIECE):
                table = pa.Table.from_pandas(
                    self.add_columns(piece.to_pandas()), preserve_index=False
                )
                writer = writer or parquet.ParquetWriter(temporary, table.schema)
                writer.write_table(table.cast(writer.schema))
                n += len(table)
            if writer is None:  # a shard without rows
                temporary.write_bytes(path.read_bytes())
            else:
                writer.close()
        return n


def predict_shards(
    model: str | Path,
    source: str | Path,
    out: str | Path,
    *,
    text: str | tuple[str, str] = "text",
    perspectives: Sequence[Sequence[str]] = (),
    min_people: int = FEW_PEOPLE,
    workers: int = 2,
) -> int:
    """Predict every row of the Parquet files in a folder and write them to another folder.

    Rows keep their columns, order and files, and get ``p(class)`` of the training population and
    ``p(class | perspective)`` of each perspective. Shards that are in `out` already are left out.

    Args:
        model: The folder of a saved model.
        source: The folder of the Parquet files to read.
        out: The folder to write to.
        text: The column of the texts, or the two of a preference.
        perspectives: Lists of group names.
        min_people: How many people a group must be of to be asked for; 1 allows groups of fewer
            than five.
        workers: How many processes share the shards.

    Returns:
        How many rows the shards have that were done now.

    Raises:
        InputError: If `source` has no Parquet files, a column is missing, or a group is unknown.
    """
    columns = [text] if isinstance(text, str) else list(text)
    loaded = Model.load(model, min_people=min_people)
    loaded.membership(perspectives)  # refuses unknown groups before any work is done
    expected = 2 if loaded.task == "preference" else 1
    if len(columns) != expected:
        raise InputError(f"the model reads {expected} texts a row; text names {listed(columns)}")
    arguments = (str(Path(model).absolute()), columns, perspectives, min_people)
    return _spread(source, out, columns, Predictor, arguments, workers)


def encode_shards(
    source: str | Path, out: str | Path, *, encoder: str, text: str = "text", workers: int = 2
) -> int:
    """Add the column ``vector`` to every row of the Parquet files in a folder.

    The cache is neither read nor filled. Shards that are in `out` already are left out.

    Args:
        source: The folder of the Parquet files to read.
        out: The folder to write to.
        encoder: The encoder's name.
        text: The column of the texts.
        workers: How many processes share the shards.

    Returns:
        How many rows the shards have that were done now.

    Raises:
        InputError: If `source` has no Parquet files, the column is missing, or the encoder cannot
            be had.
    """
    load_encoder(encoder)  # refuses an unknown encoder before any work is done
    return _spread(source, out, [text], Encoding, (encoder, text), workers)


def _spread(
    source: str | Path,
    out: str | Path,
    columns: Sequence[str],
    make: Callable[..., _AddColumns],
    arguments: tuple[Any, ...],
    workers: int,
) -> int:
    """Have `workers` do the shards that are not in `out` yet."""
    shards = _shards(Path(source), columns)
    out = Path(out).absolute()
    if out == Path(source).absolute():
        raise InputError(
            f"{out} holds the shards themselves; choose another folder for the results"
        )
    todo = [{"path": str(path)} for path in shards if not (out / path.name).exists()]
    if not todo:
        return 0
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # it would report its use
    with need_extra("ray"):
        import ray
    if not ray.is_initialized() and "RAY_ADDRESS" not in os.environ:
        ray.init(num_cpus=workers, include_dashboard=False)
    done = ray.data.from_items(todo, override_num_blocks=len(todo)).map_batches(
        _Worker,
        fn_constructor_args=(str(out), make, arguments),
        batch_size=1,
        compute=ray.data.ActorPoolStrategy(size=min(workers, len(todo))),
    )
    return sum(row["rows"] for row in done.iter_rows())


def _shards(source: Path, columns: Sequence[str]) -> list[Path]:
    """List the Parquet files of a folder, after a check that each has the columns."""
    from pyarrow import parquet

    shards = [path.absolute() for path in shards_of(source)]
    if not shards:
        raise InputError(f"{source} holds no Parquet files (*.parquet)")
    for path in shards:
        names = parquet.read_schema(path).names
        need_names(columns, names, str(path))
    return shards
