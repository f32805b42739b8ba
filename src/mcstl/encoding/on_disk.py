"""More texts than fit in memory: encoded to a memory-mapped file; a killed run can be resumed."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mcstl._support import files
from mcstl._support.arrays import Float32Array, IntArray, distinct
from mcstl._support.errors import InputError
from mcstl._support.progress import Progress, silent
from mcstl.encoding.backends import WINDOW
from mcstl.encoding.encoders import Encoder, text_key


class Encoded(NamedTuple):
    """Vectors of texts on disk, memory-mapped, as `mcstl.models.examples.Examples` takes them.

    Attributes:
        vectors: (m, d) float32 vectors of the distinct texts.
        positions: (n,) the position of each text among the distinct ones.
    """

    vectors: Float32Array
    positions: IntArray


def encode_to_disk(
    texts: Callable[[], Iterable[str]],
    folder: str | Path,
    encoder: Encoder,
    progress: Progress = silent,
) -> Encoded:
    """Encode texts to files, in bounded memory.

    A call with the same texts, encoder and folder goes on after the last window of texts that was
    written. The cache of the encoder is neither read nor filled.

    Args:
        texts: Called twice, and has to give the same texts both times: first to find the distinct
            ones, for which some 60 bytes a text are held in memory, then to encode those.
        folder: Where to write; it is made where it is missing.
        encoder: The encoder.
        progress: Called with how many texts are read, then with how many are encoded.

    Returns:
        The vectors, memory-mapped.

    Raises:
        InputError: The folder holds the vectors of other texts or of another encoder.
    """
    folder = Path(folder)
    first, positions, digest = _read(texts(), progress)
    made_of = {
        "texts": digest,
        "encoder": encoder.fingerprint,
        "backend": encoder.backend,
        "distinct": len(first),
    }
    paths = folder / "vectors.npy", folder / "positions.npy", folder / "progress.json"
    done = _vectors_done(folder, made_of)
    if done is None:
        done = 0
        folder.mkdir(parents=True, exist_ok=True)
        with files.replacing(paths[1]) as temporary, temporary.open("wb") as file:
            np.save(file, positions)
        shape = (len(first), encoder.dimension)
        np.lib.format.open_memmap(paths[0], "w+", np.float32, shape).flush()
        files.write_text(paths[2], json.dumps(made_of | {"done": 0}))
    if done < len(first):
        vectors = np.load(paths[0], mmap_mode="r+")
        for window in _windows(texts(), first, done):
            progress("encoding texts", done, len(first))
            vectors[done : done + len(window)] = encoder.encode_uncached(window)
            vectors.flush()
            done += len(window)
            # What is noted as done is on disk before.
            files.write_text(paths[2], json.dumps(made_of | {"done": done}))
        del vectors
    progress("encoding texts", len(first), len(first))
    return Encoded(np.load(paths[0], mmap_mode="r"), np.load(paths[1], mmap_mode="r"))


def _read(texts: Iterable[str], progress: Progress) -> tuple[IntArray, IntArray, str]:
    """Return where each distinct text comes first, each text's place among them, and a hash."""
    whole, parts, n = hashlib.sha256(), [], 0
    for window in _in_windows(texts):
        joined = b"".join(map(text_key, window))
        whole.update(joined)
        parts.append(np.frombuffer(joined, dtype=np.uint64).reshape(-1, 2))
        n += len(window)
        progress("reading texts", n, n + 1)  # how many there are is seen at the end
    progress("reading texts", n, n)
    keys = np.concatenate([np.empty((0, 2), np.uint64), *parts])
    first, codes = distinct(keys[:, 0], keys[:, 1])
    return first, codes, whole.hexdigest()


def _vectors_done(folder: Path, made_of: dict[str, Any]) -> int | None:
    """Return how many of the texts' vectors `folder` holds; None if it is new."""
    path = folder / "progress.json"
    if not path.exists():
        if folder.exists() and any(folder.glob("*.npy")):
            raise InputError(f"{folder} holds arrays but no progress.json; choose another folder")
        return None
    written = json.loads(path.read_text(encoding="utf-8"))
    for what, value in made_of.items():
        if written.get(what) != value:
            raise InputError(
                f"{folder} holds the vectors of other {what} ({written.get(what)}, now {value}); "
                "choose another folder"
            )
    return int(written["done"])


def _windows(texts: Iterable[str], first: IntArray, done: int) -> Iterator[list[str]]:
    """Yield the distinct texts from number `done` on, by windows."""
    wanted = iter(first[done:])

    def wanted_texts() -> Iterator[str]:
        coming = next(wanted, None)
        for position, text in enumerate(texts):
            if position == coming:
                yield text
                coming = next(wanted, None)

    return _in_windows(wanted_texts())


def _in_windows(texts: Iterable[str]) -> Iterator[list[str]]:
    texts = iter(texts)
    while window := list(islice(texts, WINDOW)):
        yield window
