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

import pandas as pd

from mcstl._support import files
from mcstl._support.errors import InputError, listed, need_extra, need_names
from mcstl.encoding.encoders import load_encoder
from mcstl.models.model import Model

_ROWS_PER_PIECE = 4096
#: Rows in, rows with more columns out; made in each worker.
_Work = Callable[[pd.DataFrame], pd.DataFrame]


class Predictor:
    """Adds what a saved model says of each row: ``p(class)`` and ``p(class | perspective)``."""

    def __init__(
        self, folder: str, text: Sequence[str], perspectives: Sequence[Sequence[str]]
    ) -> None:
        self.model = Model.load(folder)
        self.text = list(text)
        self.perspectives = perspectives

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return `rows` with the columns added."""
        texts: Any = rows[self.text[0]].tolist()
        if len(self.text) == 2:
            texts = list(zip(texts, rows[self.text[1]], strict=True))
        whole = self.model.predict_proba(texts)[:, 0]
        new = {f"p({name})": whole[:, i] for i, name in enumerate(self.model.classes)}
        if self.perspectives:
            p = self.model.predict_proba(texts, self.perspectives)
            for j, perspective in enumerate(self.perspectives):
                for i, name in enumerate(self.model.classes):
                    new[f"p({name} | {' + '.join(perspective)})"] = p[:, j, i]
        return rows.assign(**new)


class Encoding:
    """Adds the column ``vector``, around the cache."""

    def __init__(self, encoder: str, text: str) -> None:
        self.encoder = load_encoder(encoder)
        self.text = text

    def __call__(self, rows: pd.DataFrame) -> pd.DataFrame:
        """Return `rows` with the column added."""
        places, distinct = pd.factorize(rows[self.text])
        vectors = self.encoder.encode_uncached(distinct.tolist())
        return rows.assign(vector=list(vectors[places]))


class _Worker:
    """What Ray keeps in each of its processes: the work, and where shards go."""

    def __init__(self, out: str, make: Callable[..., _Work], arguments: tuple[Any, ...]) -> None:
        self.out = Path(out)
        self.work = make(*arguments)

    def __call__(self, shards: dict[str, Any]) -> dict[str, Any]:
        """Do the shards named by path and return how many rows each has."""
        return {"rows": [self.shard(Path(path)) for path in shards["path"]]}

    def shard(self, path: Path) -> int:
        """Read a shard piece by piece and write it with the columns that the work adds."""
        import pyarrow as pa
        from pyarrow import parquet

        writer, n = None, 0
        with files.replacing(self.out / path.name) as temporary, parquet.ParquetFile(path) as shard:
            for piece in shard.iter_batches(_ROWS_PER_PIECE):
                table = pa.Table.from_pandas(self.work(piece.to_pandas()), preserve_index=False)
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
    workers: int = 2,
) -> int:
    """Predict every row of the Parquet files in `source`, write them to `out`, and count the rows.

    ``p(class)`` is the training population's answer and ``p(class | perspective)`` that of each of
    `perspectives`, lists of group names. `model` is a model's folder, `text` the column of the
    texts, or the two of a preference. Rows keep their columns, order and files. Counted are the
    rows of the shards that were done now.

    Raises InputError for a folder without Parquet files, a column that is not there, or an unknown
    group.
    """
    columns = [text] if isinstance(text, str) else list(text)
    loaded = Model.load(model)
    loaded.membership(perspectives)  # an unknown group is said before any work is done
    expected = 2 if loaded.task == "preference" else 1
    if len(columns) != expected:
        raise InputError(f"the model reads {expected} texts a row; text names {listed(columns)}")
    arguments = (str(Path(model).absolute()), columns, perspectives)
    return _spread(source, out, columns, Predictor, arguments, workers)


def encode_shards(
    source: str | Path, out: str | Path, *, encoder: str, text: str = "text", workers: int = 2
) -> int:
    """Add the column ``vector`` to every row of the Parquet files in `source`, as `predict_shards`.

    The cache is neither read nor filled. Raises InputError as `predict_shards` does.
    """
    load_encoder(encoder)  # a name that cannot be had is said before any work is done
    return _spread(source, out, [text], Encoding, (encoder, text), workers)


def _spread(
    source: str | Path,
    out: str | Path,
    columns: Sequence[str],
    make: Callable[..., _Work],
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
    """Return the Parquet files of a folder; what would stop the work is said before it."""
    from pyarrow import parquet

    shards = sorted(path.absolute() for path in source.glob("*.parquet"))
    if not shards:
        raise InputError(f"{source} holds no Parquet files (*.parquet)")
    for path in shards:
        names = parquet.read_schema(path).names
        need_names(columns, names, str(path))
    return shards
