"""Texts to vectors: those of sentence-transformers, once per text, whatever befalls the cache."""

import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mcstl._support.errors import InputError
from mcstl.encoding import encoders
from mcstl.encoding.encoders import Encoder, cache_info, clear_cache, load_encoder

TEXTS = [
    "The library opens at nine.",
    "Tea",
    "A bridge of ropes and planks crosses the river below the mill, and nobody ever counted it.",
    "word " * 600,  # more tokens than the encoder reads
    "Überraschung — naïve café 🎈",
    "tea",
]


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> tuple[Encoder, Path]:
    """An encoder that has seen TEXTS, and its cache folder."""
    folder = tmp_path_factory.mktemp("cache")
    encoder = load_encoder(cache_dir=folder)
    encoder.encode(TEXTS)
    return encoder, folder


@pytest.fixture
def used_cache(warm: tuple[Encoder, Path], tmp_path: Path) -> Path:
    """A copy of the cache file with the vectors of TEXTS, for the test to spoil."""
    (file,) = cache_info(warm[1])
    copy = tmp_path / "embeddings" / file.path.name
    copy.parent.mkdir()
    copy.write_bytes(file.path.read_bytes())
    return copy


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def python() -> Iterator[Start]:
    """Start other Python processes, none of which outlives the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(code: str, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, **environment},
        )
        processes.append(process)
        return process

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def kill_after(line: str, process: subprocess.Popen[str]) -> None:
    """Kill a process, as a power cut would, once it has printed `line`."""
    assert process.stdout is not None
    assert f"{line}\n" in process.stdout, process.communicate()[1]
    os.kill(process.pid, signal.SIGKILL)


def test_vectors_are_those_of_sentence_transformers(warm: tuple[Encoder, Path]) -> None:
    from sentence_transformers import SentenceTransformer

    original = SentenceTransformer(str(encoders._paper_folder()), device="cpu")
    ours = warm[0].encode(TEXTS)
    assert ours.shape == (len(TEXTS), warm[0].dimension)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, original.encode(TEXTS), rtol=0, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(ours, axis=1), 1, rtol=0, atol=1e-6)


def test_rows_follow_the_texts_as_given(warm: tuple[Encoder, Path]) -> None:
    encoder, _ = warm
    order = [2, 0, 0, 1, 2]
    expected = encoder.encode(TEXTS)[order]
    np.testing.assert_array_equal(encoder.encode([TEXTS[i] for i in order]), expected)
    assert encoder.encode([]).shape == (0, 384)


def test_a_vector_does_not_depend_on_its_batch(warm: tuple[Encoder, Path], tmp_path: Path) -> None:
    together = warm[0].encode(TEXTS)
    encoder = load_encoder(cache_dir=tmp_path)
    alone = np.vstack([encoder.encode([text]) for text in TEXTS])
    np.testing.assert_allclose(alone, together, rtol=0, atol=1e-6)


def test_texts_too_long_are_counted_once_each_also_from_the_cache(
    warm: tuple[Encoder, Path],
) -> None:
    encoder, folder = warm
    assert encoder.truncated == 1
    again = load_encoder(cache_dir=folder)
    assert again.truncated == 0
    again.encode([TEXTS[3], TEXTS[0]])
    again.encode([TEXTS[3]])
    assert again.truncated == 1


def test_only_texts_that_are_new_are_encoded(warm: tuple[Encoder, Path], tmp_path: Path) -> None:
    said: list[tuple[str, int, int]] = []
    encoder = load_encoder(cache_dir=tmp_path)
    encoder.encode(["one", "two", "one"], lambda *what: said.append(what))
    encoder.encode(["two", "three", "one"], lambda *what: said.append(what))
    encoder.encode(["three", "one"], lambda *what: said.append(what))
    assert said == [("encoding texts", *n) for n in [(0, 2), (2, 2), (0, 1), (1, 1)]]


def test_a_cached_run_gives_the_same_bits_and_loads_no_network(
    warm: tuple[Encoder, Path], python: Start
) -> None:
    encoder, folder = warm
    code = f"""
import hashlib, sys
from mcstl.encoding.encoders import load_encoder
vectors = load_encoder(cache_dir={str(folder)!r}).encode({TEXTS!r})
print(hashlib.sha256(vectors.tobytes()).hexdigest(), "torch" in sys.modules)
"""
    process = python(code)
    out, err = process.communicate(timeout=120)
    fresh = load_encoder(cache_dir=folder).encode(TEXTS)
    np.testing.assert_array_equal(fresh, encoder.encode(TEXTS))
    assert out.split() == [hashlib.sha256(fresh.tobytes()).hexdigest(), "False"]
    assert err == ""


def test_fresh_vectors_are_those_that_the_cache_gives_later(tmp_path: Path) -> None:
    first = load_encoder(cache_dir=tmp_path).encode(TEXTS)
    np.testing.assert_array_equal(load_encoder(cache_dir=tmp_path).encode(TEXTS), first)


def test_processes_that_share_a_cache_and_are_killed_leave_whole_rows(
    python: Start, tmp_path: Path
) -> None:
    code = """
import sys
from pathlib import Path
from mcstl.encoding.encoders import _Cache, _Row, text_key
cache = _Cache(Path(sys.argv[1]))
for start in range(0, 4000, 20):
    numbers = range(start, start + 20)
    rows = {text_key(str(i)): _Row(i.to_bytes(4, "little") * 384, False) for i in numbers}
    cache.write(rows)
    assert cache.read(rows) == rows
    print(start, flush=True)
"""
    path = tmp_path / "vectors.sqlite"
    processes = [python(code, str(path)) for _ in range(3)]
    kill_after("40", processes[0])
    kill_after("400", processes[1])
    _, err = processes[2].communicate(timeout=300)
    assert (processes[2].returncode, err) == (0, "")
    rows = encoders._Cache(path).read(encoders.text_key(str(i)) for i in range(4000))
    assert rows == {
        encoders.text_key(str(i)): encoders._Row(i.to_bytes(4, "little") * 384, False)
        for i in range(4000)
    }


def forbidden(what: str, done: int, total: int) -> None:
    raise AssertionError(f"{what}: {total} texts were not in the cache")


def test_a_killed_run_resumes_where_it_stopped(python: Start, tmp_path: Path) -> None:
    code = """
from mcstl.encoding import encoders
encoders._TEXTS_PER_COMMIT = 4
from mcstl.encoding import backends
backends._TOKENS_PER_BATCH = backends._TOKENS_PER_STREAM = 8
encoders.load_encoder().encode(
    [f"text number {i}" for i in range(2000)], lambda *what: print(what[1], flush=True)
)
"""
    process = python(code, MCSTL_CACHE=str(tmp_path))
    kill_after("20", process)
    process.wait(60)
    (file,) = cache_info(tmp_path)
    assert 16 <= file.entries < 2000
    with pytest.raises(AssertionError, match=f": {2000 - file.entries} texts were not"):
        load_encoder(cache_dir=tmp_path).encode(
            [f"text number {i}" for i in range(2000)], forbidden
        )


def spoil_all(file: Path) -> None:
    file.write_bytes(b"this is no database" * 100)


def spoil_half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def spoil_inside(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[4096 : len(content) - 4096 : 7] = b"\xa5" * len(range(4096, len(content) - 4096, 7))
    file.write_bytes(content)


@pytest.mark.parametrize("spoil", [spoil_all, spoil_half, spoil_inside])
def test_a_damaged_cache_is_made_again(
    warm: tuple[Encoder, Path], used_cache: Path, spoil: Any
) -> None:
    spoil(used_cache)
    folder = used_cache.parents[1]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        vectors = load_encoder(cache_dir=folder).encode(TEXTS)
    np.testing.assert_allclose(vectors, warm[0].encode(TEXTS), rtol=0, atol=1e-6)
    assert all("was damaged" in str(warning.message) for warning in caught)
    np.testing.assert_array_equal(load_encoder(cache_dir=folder).encode(TEXTS, forbidden), vectors)
    assert cache_info(folder)[0].entries == len(TEXTS)


def test_one_wrong_byte_in_one_vector_is_noticed(
    warm: tuple[Encoder, Path], used_cache: Path
) -> None:
    with sqlite3.connect(used_cache) as connection:
        key, vector = connection.execute("SELECT key, vector FROM vectors LIMIT 1").fetchone()
        wrong = vector[:100] + bytes([vector[100] ^ 1]) + vector[101:]
        connection.execute("UPDATE vectors SET vector = ? WHERE key = ?", (wrong, key))
    connection.close()
    said: list[int] = []
    encoder = load_encoder(cache_dir=used_cache.parents[1])
    vectors = encoder.encode(TEXTS, lambda _, done, total: said.append(total))
    assert said[0] == 1
    np.testing.assert_allclose(vectors, warm[0].encode(TEXTS), rtol=0, atol=1e-6)


def test_an_empty_cache_file_is_filled(used_cache: Path) -> None:
    used_cache.write_bytes(b"")
    folder = used_cache.parents[1]
    load_encoder(cache_dir=folder).encode(TEXTS[:2])
    assert cache_info(folder)[0].entries == 2


def test_without_a_usable_cache_the_work_goes_on_with_one_warning(
    warm: tuple[Encoder, Path], tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    encoder = load_encoder(cache_dir=tmp_path / "file")
    with pytest.warns(UserWarning, match="MCSTL_CACHE") as caught:
        vectors = encoder.encode(TEXTS[:2])
    assert len(caught) == 1
    encoder.encode(TEXTS[:2])  # a second warning would be an error
    np.testing.assert_allclose(vectors, warm[0].encode(TEXTS[:2]), rtol=0, atol=1e-6)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_read_only_cache_is_read(used_cache: Path) -> None:
    used_cache.chmod(0o444)
    used_cache.parent.chmod(0o555)
    try:
        encoder = load_encoder(cache_dir=used_cache.parents[1])
        encoder.encode(TEXTS, forbidden)
        with pytest.warns(UserWarning, match="not cached"):
            assert encoder.encode(["a new one"]).shape == (1, 384)
    finally:
        used_cache.parent.chmod(0o755)


def test_a_cache_that_another_process_deletes_meanwhile_is_made_again(used_cache: Path) -> None:
    folder = used_cache.parents[1]
    encoder = load_encoder(cache_dir=folder)
    encoder.encode(TEXTS, forbidden)
    size = used_cache.stat().st_size
    assert clear_cache(folder) == size
    assert cache_info(folder) == []
    encoder.encode(["one more"])
    (file,) = cache_info(folder)
    assert file.model.removesuffix(f"-{encoder.backend}") == encoders.PAPER_ENCODER
    assert file.entries == 1


@pytest.mark.parametrize("content", [None, b"", b"other weights"])
def test_weights_that_are_not_the_original_are_refused(
    content: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if content is not None:
        (tmp_path / "model.safetensors").write_bytes(content)
    monkeypatch.setattr(encoders, "_paper_folder", lambda: tmp_path)
    with pytest.raises(InputError, match=r"not the original all-MiniLM-L6-v2.*force-reinstall"):
        load_encoder()


@pytest.mark.parametrize(
    "name", ["mcstl-tests/there-is-no-such-encoder", "no/such/folder", "/no/such/folder", "."]
)
def test_a_name_that_cannot_be_had_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="encoder") as caught:
        load_encoder(name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_that_cannot_be_loaded_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    encoder = load_encoder(str(tmp_path), cache_dir=tmp_path)
    with pytest.raises(InputError, match="cannot be loaded"):
        encoder.encode(["a text"])


def test_a_folder_of_ones_own(tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    tokenizer = Tokenizer(WordLevel({"?": 0, "tea": 1, "bread": 2}, unk_token="?"))
    tokenizer.pre_tokenizer = Whitespace()
    for folder, scale in (("a", 1), ("b", 2)):
        weights = scale * np.arange(12, dtype=np.float32).reshape(3, 4)
        module = StaticEmbedding(tokenizer, embedding_weights=weights)
        SentenceTransformer(modules=[module], device="cpu").save(str(tmp_path / folder))
    first, second = (load_encoder(str(tmp_path / f), cache_dir=tmp_path) for f in "ab")
    assert first.dimension == 4
    np.testing.assert_allclose(first.encode(["tea bread", "bread"]), [[6, 7, 8, 9], [8, 9, 10, 11]])
    np.testing.assert_allclose(second.encode(["bread"]), [[16, 18, 20, 22]])
    assert first.fingerprint != second.fingerprint
    assert load_encoder(str(tmp_path / "a")).fingerprint == first.fingerprint
    assert first.truncated == 0


def test_the_full_name_of_the_default_is_the_default(warm: tuple[Encoder, Path]) -> None:
    full = load_encoder(f"sentence-transformers/{encoders.PAPER_ENCODER}")
    assert (full.name, full.fingerprint) == (warm[0].name, warm[0].fingerprint)


def test_text_that_is_half_a_character_is_encoded(tmp_path: Path) -> None:
    encoder = load_encoder(cache_dir=tmp_path)
    assert np.isfinite(encoder.encode(["broken \ud83c"])).all()
