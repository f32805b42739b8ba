"""Texts to a memory-mapped file: those of `encode`, each once, and on from where it was killed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mcstl._support.errors import InputError
from mcstl.encoding import on_disk
from mcstl.encoding.encoders import Encoder, load_encoder
from mcstl.encoding.on_disk import encode_to_disk

TEXTS = [f"text number {i % 30}" for i in range(50)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load_encoder(cache_dir=tmp_path_factory.mktemp("cache"), backend="torch")


@pytest.fixture(autouse=True)
def small_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_disk, "WINDOW", 8)


def test_vectors_are_those_of_encode(encoder: Encoder, tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    found = encode_to_disk(lambda: TEXTS, tmp_path, encoder, lambda *what: said.append(what))
    assert isinstance(found.vectors, np.memmap)
    assert found.vectors.shape == (30, 384)
    np.testing.assert_array_equal(found.positions, np.arange(50) % 30)
    expected = encoder.encode(TEXTS)
    np.testing.assert_allclose(found.vectors[found.positions], expected, rtol=0, atol=1e-6)
    assert said[-1] == ("encoding texts", 30, 30)


def test_nothing_is_done_twice(
    encoder: Encoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = encode_to_disk(lambda: TEXTS, tmp_path, encoder)
    monkeypatch.setattr(encoder, "encode_uncached", None)  # a call would be an error
    again = encode_to_disk(lambda: TEXTS, tmp_path, encoder)
    np.testing.assert_array_equal(first.vectors, again.vectors)
    with pytest.raises(InputError, match="other texts"):
        encode_to_disk(lambda: TEXTS[:20], tmp_path, encoder)


def test_a_folder_of_somebody_elses_arrays_is_left_alone(encoder: Encoder, tmp_path: Path) -> None:
    np.save(tmp_path / "vectors.npy", np.ones(3))
    with pytest.raises(InputError, match=r"no progress\.json"):
        encode_to_disk(lambda: TEXTS, tmp_path, encoder)
    np.testing.assert_array_equal(np.load(tmp_path / "vectors.npy"), np.ones(3))


def test_no_texts(encoder: Encoder, tmp_path: Path) -> None:
    found = encode_to_disk(list, tmp_path, encoder)
    assert (found.vectors.shape, found.positions.shape) == ((0, 384), (0,))


def test_a_killed_run_goes_on(encoder: Encoder, tmp_path: Path) -> None:
    code = """
import sys
from mcstl.encoding import on_disk
from mcstl.encoding.encoders import load_encoder
on_disk.WINDOW = 8
texts = [f"text number {i % 30}" for i in range(50)]
on_disk.encode_to_disk(lambda: texts, sys.argv[1], load_encoder(backend="torch"),
                    lambda *what: print(*what[1:], flush=True))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert "16 30\n" in process.stdout  # two windows are written, the third is being made
        os.kill(process.pid, signal.SIGKILL)
    done = json.loads((tmp_path / "progress.json").read_text())["done"]
    assert 16 <= done < 30
    said: list[int] = []
    found = encode_to_disk(lambda: TEXTS, tmp_path, encoder, lambda _, n, total: said.append(n))
    assert done in said
    assert not {0, 8} & set(said[said.index(50) + 1 :])  # 50 are read, then encoding goes on
    expected = encoder.encode(TEXTS)
    np.testing.assert_allclose(found.vectors[found.positions], expected, rtol=0, atol=1e-6)
