"""Sharded Parquet through Ray: the answers of the model, also when a worker is killed."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_matrix

from mcstl._support.errors import InputError
from mcstl.encoding.encoders import PAPER_ENCODER, load_encoder
from mcstl.models.model import Model
from mcstl.models.networks import Network
from mcstl.serving import shards as sharded


@pytest.fixture(scope="module")
def model(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved model with random weights and no groups."""
    folder = tmp_path_factory.mktemp("model") / "model"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(384, 0, 2, hidden=8)
    everybody = csr_matrix((1, 0), dtype=np.float32), np.ones(1)
    Model(network, "ordinal", ("no", "so so", "yes"), None, load_encoder(), everybody).save(folder)
    return folder


def write_shards(folder: Path, n: int = 60, shards: int = 6) -> pd.DataFrame:
    table = pd.DataFrame({"id": range(n), "text": [f"text number {i % 25}" for i in range(n)]})
    folder.mkdir()
    for number, rows in enumerate(np.array_split(np.arange(n), shards)):
        table.iloc[rows].to_parquet(folder / f"{number}.parquet")
    return table


SCRIPT = """
import os, signal, sys
from pathlib import Path
from mcstl.serving import shards as sharded

model, folder = sys.argv[1], Path(sys.argv[2])

class Dying(sharded.Predictor):
    \"\"\"A worker that is killed, as by a lack of memory, in the midst of its second shard.\"\"\"

    def __call__(self, rows):
        self.seen = getattr(self, "seen", 0) + 1
        if self.seen == 2 and not (folder / "killed").exists():
            (folder / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(rows)

sharded.Predictor = Dying
rows = sharded.predict_shards(model, folder / "in", folder / "out", workers=2)
(folder / "rows").write_text(str(rows))  # Ray's own lines are in the standard output
from ray._common.usage.usage_lib import usage_stats_enabled
assert not usage_stats_enabled(), "Ray would report its use over the internet"
"""


@pytest.mark.system
def test_two_workers_of_whom_one_is_killed_predict_all_rows(model: Path, tmp_path: Path) -> None:
    table = write_shards(tmp_path / "in")
    (tmp_path / "job.py").write_text(SCRIPT)
    # On a machine that others fill, Ray kills workers for memory and gives up on slow starts.
    patient = {"RAY_memory_monitor_refresh_ms": "0", "RAY_worker_register_timeout_seconds": "600"}
    done = subprocess.run(
        [sys.executable, str(tmp_path / "job.py"), str(model), str(tmp_path)],
        env={**os.environ, **patient, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "killed").exists()
    assert (tmp_path / "rows").read_text() == "60"
    assert not list((tmp_path / "out").glob(".*"))
    predicted = pd.read_parquet(tmp_path / "out").sort_values("id", ignore_index=True)
    pd.testing.assert_frame_equal(predicted[["id", "text"]], table)
    expected = Model.load(model).predict_proba(table["text"].tolist())[:, 0]
    p = predicted[["p(no)", "p(so so)", "p(yes)"]].to_numpy()
    np.testing.assert_allclose(p, expected, rtol=0, atol=1e-5)


def test_a_shard_is_that_of_model_and_encoder(model: Path, tmp_path: Path) -> None:
    """In pieces, with the columns it had, and whole or not there."""
    table = write_shards(tmp_path / "in", shards=1)
    shard = tmp_path / "in" / "0.parquet"
    arguments: tuple[str, list[str], list[list[str]]] = (str(model), ["text"], [[]])
    worker = sharded._Worker(str(tmp_path / "out"), sharded.Predictor, arguments)
    assert worker({"path": [str(shard)]}) == {"rows": [60]}
    predicted = pd.read_parquet(tmp_path / "out" / "0.parquet")
    pd.testing.assert_frame_equal(predicted[["id", "text"]], table)
    expected = Model.load(model).predict_proba(table["text"].tolist(), [[]])[:, 0]
    columns = ["p(no | )", "p(so so | )", "p(yes | )"]
    np.testing.assert_allclose(predicted[columns], expected, rtol=0, atol=1e-6)
    encoding = sharded._Worker(str(tmp_path / "vectors"), sharded.Encoding, (PAPER_ENCODER, "text"))
    assert encoding.shard(shard) == 60
    vectors = pd.read_parquet(tmp_path / "vectors" / "0.parquet")["vector"]
    embeddings = load_encoder().encode(table["text"].tolist())
    np.testing.assert_allclose(np.stack(vectors.to_list()), embeddings, rtol=0, atol=1e-6)


def test_pieces_and_empty_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharded, "_ROWS_PER_PIECE", 7)
    table = write_shards(tmp_path / "in", shards=1)
    worker = sharded._Worker(str(tmp_path / "out"), lambda: lambda rows: rows.assign(new=1), ())
    assert worker.shard(tmp_path / "in" / "0.parquet") == 60
    predicted = pd.read_parquet(tmp_path / "out" / "0.parquet")
    pd.testing.assert_frame_equal(predicted, table.assign(new=1))
    table.iloc[:0].to_parquet(tmp_path / "in" / "1.parquet")
    assert worker.shard(tmp_path / "in" / "1.parquet") == 0
    assert len(pd.read_parquet(tmp_path / "out" / "1.parquet")) == 0


def test_shards_that_are_there_are_not_done_again(model: Path, tmp_path: Path) -> None:
    write_shards(tmp_path / "in", shards=2)
    (tmp_path / "out").mkdir()
    for name in ("0.parquet", "1.parquet"):
        (tmp_path / "out" / name).touch()
    assert sharded.predict_shards(model, tmp_path / "in", tmp_path / "out") == 0


def test_what_would_stop_the_work_is_said_before_it(model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no Parquet"):
        sharded.predict_shards(model, tmp_path / "nowhere", tmp_path / "out")
    write_shards(tmp_path / "in")
    with pytest.raises(InputError, match=r"'txt' is not in .*Did you mean 'text'"):
        sharded.predict_shards(model, tmp_path / "in", tmp_path / "out", text="txt")
    with pytest.raises(InputError, match="reads 1 texts"):
        sharded.predict_shards(model, tmp_path / "in", tmp_path / "out", text=("text", "id"))
    with pytest.raises(InputError, match="no group"):
        sharded.predict_shards(model, tmp_path / "in", tmp_path / "out", perspectives=[["x"]])
    with pytest.raises(InputError, match="shards themselves"):
        sharded.predict_shards(model, tmp_path / "in", tmp_path / "in")
    with pytest.raises(InputError, match="encoder"):
        sharded.encode_shards(tmp_path / "in", tmp_path / "out", encoder="no/such/encoder/x")
