"""Backends: the same vectors whatever computes them, each kept apart, and none chosen silently."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcstl._support.arrays import Float32Array
from mcstl._support.errors import InputError
from mcstl.encoding import backends, encoders
from mcstl.encoding.backends import BackendName, Batch, find_backend
from mcstl.encoding.encoders import PAPER_ENCODER, Encoder, cache_info, clear_cache, load_encoder

TEXTS = [
    "Tea",
    "A bridge of ropes crosses the river.",
    "word " * 600,
    "  Two  Naïve cafés 🎈 ",
    "tea",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder that keeps the converted network for the module."""
    return tmp_path_factory.mktemp("cache")


def cosines(a: Float32Array, b: Float32Array) -> Float32Array:
    found: Float32Array = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    return found


def test_openvino_reports_nothing_to_anybody(tmp_path: Path) -> None:
    """The number by which it would know this machine is not drawn."""
    pytest.importorskip("openvino")
    code = "from mcstl.encoding.backends import import_openvino; import_openvino()"
    environment = {**os.environ, "HOME": str(tmp_path)}
    for name in ("CI", "TF_BUILD", "JENKINS_URL"):  # there it never does
        environment.pop(name, None)
    subprocess.run([sys.executable, "-c", code], env=environment, check=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("backend", "least"), [("torch", 0.999999), ("openvino", 0.999999), ("openvino-bf16", 0.999)]
)
def test_every_backend_gives_the_vectors_of_sentence_transformers(
    backend: BackendName, least: float, folder: Path
) -> None:
    from sentence_transformers import SentenceTransformer

    original = SentenceTransformer(str(encoders._paper_folder()), device="cpu").encode(TEXTS)
    encoder = load_encoder(cache_dir=folder, backend=backend, device="cpu")
    assert cosines(encoder.encode(TEXTS), original).min() >= least
    assert cosines(encoder.encode_uncached(TEXTS), original).min() >= least
    assert (encoder.dimension, encoder.truncated) == (384, 1)


def test_backends_have_caches_of_their_own(folder: Path) -> None:
    """The weights are the same, so a model goes with either; its vectors are not mixed."""
    torch, other = (load_encoder(cache_dir=folder, backend=b) for b in ("torch", "openvino"))
    assert torch.fingerprint == other.fingerprint
    assert (torch.backend, other.backend) == ("torch-f32", "openvino-f32")
    own = "own text of this test"
    before = {file.model: file.entries for file in cache_info(folder)}
    other.encode([own])
    after = {file.model: file.entries for file in cache_info(folder)}
    changed = {model for model, entries in after.items() if entries != before.get(model)}
    assert changed == {f"{PAPER_ENCODER}-openvino-f32"}


def test_the_converted_network_goes_with_the_cache(folder: Path, tmp_path: Path) -> None:
    import shutil

    copy = tmp_path / "cache"
    shutil.copytree(folder, copy)
    kept = next((copy / "embeddings").glob("*.openvino"))
    size = sum(path.stat().st_size for path in (copy / "embeddings").rglob("*") if path.is_file())
    assert clear_cache(copy) == size
    assert not kept.exists()


def test_a_damaged_converted_network_is_an_error(folder: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(folder, tmp_path / "cache")
    for path in (tmp_path / "cache").rglob("model.xml"):
        path.write_text("no network")
    encoder = load_encoder(cache_dir=tmp_path / "cache", backend="openvino")
    with pytest.raises(InputError, match=r"cannot be read .*mcstl cache clear"):
        encoder.encode(["not seen yet"])


def chosen(monkeypatch: pytest.MonkeyPatch, **given: Any) -> str:
    monkeypatch.delenv("MCSTL_BACKEND", raising=False)
    paper = encoders._paper_folder()
    return find_backend(
        given.get("backend"), "x", given.get("folder", paper), given.get("device"), Path("x")
    ).key


def test_which_backend_is_the_default(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(backends, "_has_gpu", lambda: False)
    assert chosen(monkeypatch) == "openvino-f32"
    assert chosen(monkeypatch, device="cpu") == "openvino-f32"
    assert chosen(monkeypatch, folder=tmp_path) == "torch-f32"  # no kind that was tried
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    assert chosen(monkeypatch) == "torch-f32"
    monkeypatch.setattr(backends, "_has_gpu", lambda: True)
    assert chosen(monkeypatch) == "torch-f16"
    assert chosen(monkeypatch, device="cuda:1") == "torch-f16"
    assert chosen(monkeypatch, device="cpu") == "torch-f32"


def test_the_environment_and_the_caller_choose(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MCSTL_BACKEND", "torch")
    assert load_encoder().backend.startswith("torch")
    assert load_encoder(backend="openvino-bf16").backend == "openvino-bf16"
    monkeypatch.setenv("MCSTL_BACKEND", "openvno")
    with pytest.raises(InputError, match=r"'openvno' is no backend.*'openvino'"):
        load_encoder()


class Wrong:
    """A backend whose second vector points elsewhere."""

    key = "wrong"
    dimension = 2

    def batches(self, texts: Any) -> Any:
        vectors = np.ones((len(texts), 2), np.float32)
        vectors[1] = [1, -1]
        yield Batch(np.arange(len(texts)), vectors, np.zeros(len(texts), bool))


class Original:
    def encode(self, texts: list[str], **_: Any) -> Float32Array:
        return np.ones((len(texts), 2), np.float32)


def test_a_network_that_converts_to_something_else_is_refused() -> None:
    with pytest.raises(InputError, match=r"other vectors .*cosine 0\.0000.*MCSTL_BACKEND=torch"):
        backends._check_converted("x", Original(), Wrong())


def test_windows_and_threads_change_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder: Encoder = load_encoder(cache_dir=folder, backend="openvino")
    together = encoder.encode_uncached(TEXTS)
    monkeypatch.setattr(backends, "WINDOW", 2)
    np.testing.assert_allclose(encoder.encode_uncached(TEXTS), together, rtol=0, atol=1e-6)
    assert encoder.encode_uncached([]).shape == (0, 384)
