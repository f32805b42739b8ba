"""Backends, which compute an encoder's vectors: torch, or OpenVINO where it is installed.

Each backend has a cache of its own, since vectors differ in their last bits between them (and, in
half precision, before those), and the vector of a text shall never change.
"""

import contextlib
import json
import logging
import math
import os
import sys
import tempfile
import threading
import warnings
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, wraps
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, Self, get_args

import numpy as np

from mcstl._support import files
from mcstl._support.arrays import BoolArray, Float32Array, IntArray
from mcstl._support.errors import InputError, did_you_mean, first_line, need_extra

#: How vectors are computed: in fp32 by torch (half precision on a GPU), in fp32 by OpenVINO, or by
#: OpenVINO with the processor's bfloat16 units.
BackendName = Literal["torch", "openvino", "openvino-bf16"]
BACKENDS: tuple[BackendName, ...] = get_args(BackendName)

#: How many texts are sorted by length and held as tokens at once.
WINDOW = 16384
# More do not fit a laptop's CPU cache and are slower; OpenVINO has two batches at once.
_TOKENS_PER_BATCH = 1024
_TOKENS_PER_STREAM = 384
_TOKENS_PER_GPU_BATCH = 65536
#: Encoders that OpenVINO gets unless torch is asked for: those that were tried.
_CONVERTED = ("bert",)
#: A converted network must give these as torch does, or it is not used.
_PROBES = ("Tea", "  Two  spaces, CAPITALS and naïve café 🎈", "word " * 600, "tea and bread " * 9)
_LEAST_COSINE = 0.999


class Batch(NamedTuple):
    """The vectors of some of the texts that are encoded.

    Attributes:
        positions: (b,) positions of the texts.
        vectors: (b, d) float32 vectors.
        truncated: (b,) whether a text was longer than the encoder can read.
    """

    positions: IntArray
    vectors: Float32Array
    truncated: BoolArray


class Backend(Protocol):
    """What turns texts into vectors.

    Attributes:
        key: What computes the vectors and how precisely, such as ``openvino-f32``.
    """

    key: str

    @property
    def dimension(self) -> int:
        """The length of a vector."""

    def batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        """Compute vectors in batches of texts of similar length.

        Args:
            texts: The texts.

        Yields:
            The batches, in any order.
        """


def find_backend(
    backend: str | None, name: str, folder: Path, device: str | None, converted: Path
) -> Backend:
    """Choose the backend of an encoder.

    Args:
        backend: The name of a backend; by default what MCSTL_BACKEND says, else OpenVINO in fp32
            where it is installed, no GPU is, and the encoder's architecture was tried with it;
            else torch. bfloat16 is never chosen by default.
        name: The encoder's name, for messages.
        folder: The folder of its files.
        device: torch's name of a device; by default a GPU where there is one.
        converted: The folder that keeps the network converted for OpenVINO.

    Returns:
        The backend, which loads its weights when a text first needs them.

    Raises:
        InputError: There is no backend of that name, or it is not installed.
    """
    backend = backend or os.environ.get("MCSTL_BACKEND")
    if backend is None:
        convertible = device in (None, "cpu") and _model_type(folder) in _CONVERTED
        use_openvino = convertible and find_spec("openvino") is not None and not _has_gpu()
        backend = "openvino" if use_openvino else "torch"
    if backend == "torch":
        return _Torch(name, folder, device or ("cuda" if _has_gpu() else None))
    if backend not in BACKENDS:
        near = did_you_mean(backend, BACKENDS) or f" Choose one of {', '.join(BACKENDS)}"
        raise InputError(f"{backend!r} is no backend of an encoder.{near}")
    return _OpenVINO(name, folder, converted, bf16=backend == "openvino-bf16")


def _model_type(folder: Path) -> str:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        return str(config.get("model_type"))
    except (OSError, ValueError, AttributeError):
        return ""


def _has_gpu() -> bool:
    """Say whether torch has a GPU; torch, slow to load, is loaded only where there may be one."""
    drivers = ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")
    if os.name == "posix" and not any(Path(driver).exists() for driver in drivers):
        return False
    import torch

    return torch.cuda.is_available()


class _Torch:
    """Sentence-transformers as it is, loaded at the first need; half precision on a GPU."""

    def __init__(self, name: str, folder: Path, device: str | None) -> None:
        self._name = name
        self._folder = folder
        self._device = device
        self._on_gpu = (device or "").startswith("cuda")
        self.key = "torch-f16" if self._on_gpu else "torch-f32"
        # A tokenizer can serve one thread at a time.
        self._lock = threading.Lock()

    @cached_property
    def _model(self) -> Any:
        model = load_sentence_transformer(self._name, self._folder, self._device)
        return model.half() if self._on_gpu else model

    @property
    def dimension(self) -> int:
        with self._lock:
            return int(self._model.get_embedding_dimension())

    def batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        for start in range(0, len(texts), WINDOW):
            part = texts[start : start + WINDOW]
            with self._lock:
                model = self._model
                lengths = _token_counts(model, part)
            limit = min(model.max_seq_length or math.inf, int(lengths.max()))
            truncated = lengths > limit
            budget = _TOKENS_PER_GPU_BATCH if self._on_gpu else _TOKENS_PER_BATCH
            for rows in batches_by_length(np.minimum(lengths, limit), budget):
                with self._lock:
                    vectors = model.encode(
                        [part[row] for row in rows],
                        batch_size=len(rows),
                        show_progress_bar=False,
                    )
                yield Batch(start + rows, vectors.astype("<f4", copy=False), truncated[rows])


class _OpenVINO:
    """The network converted to OpenVINO, with a stream of batches per core.

    It is converted from sentence-transformers' once and kept on disk with its tokenizer, after
    which texts are encoded without loading torch.
    """

    def __init__(self, name: str, folder: Path, converted: Path, bf16: bool) -> None:
        self._name = name
        self._folder = folder
        self._converted = converted
        self._precision = "bf16" if bf16 else "f32"
        self.key = f"openvino-{self._precision}"
        self._lock = threading.Lock()
        self._loaded: _Converted | None = None

    @property
    def dimension(self) -> int:
        with self._lock:
            return int(self._load().facts["dimension"])

    def batches(self, texts: Sequence[str]) -> Iterator[Batch]:
        with self._lock, ThreadPoolExecutor(1) as ahead:
            parts = self._load()
            tokens = ahead.submit(parts.tokens, texts[:WINDOW])
            for start in range(0, len(texts), WINDOW):
                ids, truncated = tokens.result()
                # The next window's tokens are made while this one's vectors are.
                following = texts[start + WINDOW : start + 2 * WINDOW]
                tokens = ahead.submit(parts.tokens, following)
                for rows, vectors in parts.vectors(ids):
                    yield Batch(start + rows, vectors, truncated[rows])

    def _load(self) -> "_Converted":
        if self._loaded is None:
            import_openvino()  # a missing package is an error before any work
            self._loaded = self._read_or_convert()
        return self._loaded

    def _read_or_convert(self) -> "_Converted":
        """Read the converted network, or convert it."""
        if not self._converted.exists():
            try:
                _convert(self._name, self._folder, self._converted)
            except OSError:  # no room to keep it
                with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                    _convert(self._name, self._folder, Path(folder) / "model")
                    return _Converted.read(Path(folder) / "model", self._precision)
        return _Converted.read(self._converted, self._precision)


class _Converted(NamedTuple):
    """A compiled network, its tokenizer and its facts: the padding, the prompt, the dimension."""

    network: Any
    tokenizer: Any
    facts: dict[str, Any]

    @classmethod
    def read(cls, folder: Path, precision: str) -> Self:
        """Read what `_convert` wrote."""
        from joblib import cpu_count
        from tokenizers import Tokenizer

        # A stream per core: two that share the work of a batch would wait for each other.
        streams = cpu_count(only_physical_cores=True)
        settings = {"INFERENCE_PRECISION_HINT": precision, "NUM_STREAMS": streams}
        try:
            facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            network = import_openvino().compile_model(folder / "model.xml", "CPU", settings)
        except Exception as error:  # tokenizers have no exception of their own
            raise InputError(
                f"the converted encoder in {folder} cannot be read ({first_line(error)}); "
                "type: mcstl cache clear"
            ) from error
        return cls(network, tokenizer, facts)

    def tokens(self, texts: Sequence[str]) -> tuple[list[list[int]], BoolArray]:
        """Return the tokens of each text, and whether they had to be cut."""
        encoded = self.tokenizer.encode_batch([self.facts["prompt"] + text for text in texts])
        return [each.ids for each in encoded], np.array(
            [bool(each.overflowing) for each in encoded]
        )

    def vectors(self, ids: Sequence[Sequence[int]]) -> Iterator[tuple[IntArray, Float32Array]]:
        """Yield rows of `ids` and their vectors, in the order in which they were started."""
        # No callback into Python: a network that is freed while one ends waits for it for ever.
        waiting = int(self.network.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")) + 1
        idle = [self.network.create_infer_request() for _ in range(waiting)]
        running: deque[tuple[Any, IntArray]] = deque()

        def finished() -> tuple[IntArray, Float32Array]:
            request, rows = running.popleft()
            request.wait()
            idle.append(request)
            return rows, request.get_output_tensor(0).data.copy()

        for rows in batches_by_length(np.array([len(each) for each in ids]), _TOKENS_PER_STREAM):
            width = len(ids[rows[0]])
            padded = np.full((len(rows), width), self.facts["padding"], dtype=np.int64)
            mask = np.zeros((len(rows), width), dtype=np.int64)
            for i, row in enumerate(rows):
                padded[i, : len(ids[row])] = ids[row]
                mask[i, : len(ids[row])] = 1
            if not idle:
                yield finished()
            request = idle.pop()
            request.start_async({0: padded, 1: mask})
            running.append((request, rows))
        while running:
            yield finished()


def import_openvino() -> Any:
    """Import OpenVINO without the package by which it reports its use over the internet.

    Returns:
        The module.

    Raises:
        InputError: It is not installed.
    """
    # It does without a package that cannot be imported. Reports are sent by processes of their own,
    # which also take seconds of the cores.
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    with need_extra("fast"):
        import openvino
    return openvino


def batches_by_length(lengths: IntArray, budget: int) -> Iterator[IntArray]:
    """Put texts of similar length into batches, so that little is computed for padding.

    Args:
        lengths: (n,) tokens of each text.
        budget: The most tokens of a batch, padding included; a longer text is a batch by itself.

    Yields:
        The positions of each batch, longest texts first.

    >>> [batch.tolist() for batch in batches_by_length(np.array([1, 5, 2, 2]), budget=6)]
    [[1], [2, 3, 0]]
    """
    order = np.argsort(-lengths, kind="stable")
    while len(order):
        most = max(1, budget // max(1, int(lengths[order[0]])))
        yield order[:most]
        order = order[most:]


def _convert(name: str, folder: Path, converted: Path) -> None:
    """Write the network of sentence-transformers, in OpenVINO's form, and its tokenizer."""
    import torch
    from tokenizers import Tokenizer

    openvino = import_openvino()
    original = load_sentence_transformer(name, folder, "cpu").eval().requires_grad_(False)

    class SentenceVector(torch.nn.Module):
        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            tokens = {"input_ids": input_ids, "attention_mask": attention_mask}
            return original(tokens)["sentence_embedding"]  # type: ignore[no-any-return]

    tokenizer = Tokenizer.from_str(original.tokenizer.backend_tokenizer.to_str())
    tokenizer.no_padding()
    if original.max_seq_length:
        side = original.tokenizer.truncation_side
        tokenizer.enable_truncation(original.max_seq_length, direction=side)
    facts = {
        "dimension": original.get_embedding_dimension(),
        "padding": original.tokenizer.pad_token_id,
        "prompt": original.prompts.get(original.default_prompt_name) or "",
    }
    # Two texts of unlike length, so that what is traced holds for all.
    ids = torch.tensor([tokenizer.encode("a" * n).ids[:4] for n in (1, 1)])
    with files.new_folder(converted) as temporary:
        with quiet(), torch.no_grad():
            ones = torch.ones_like(ids)
            model = openvino.convert_model(
                SentenceVector(), example_input={"input_ids": ids, "attention_mask": ones}
            )
        with files.writing(temporary):
            openvino.save_model(model, temporary / "model.xml", compress_to_fp16=False)
            tokenizer.save(str(temporary / "tokenizer.json"))
        (temporary / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        _check_converted(name, original, _OpenVINO(name, folder, temporary, bf16=False))


def _check_converted(name: str, original: Any, converted: Backend) -> None:
    """Raise InputError unless the converted network gives some texts as the original does."""
    expected = original.encode(list(_PROBES), show_progress_bar=False)
    computed = np.empty_like(expected)
    for batch in converted.batches(_PROBES):
        computed[batch.positions] = batch.vectors
    norms = np.linalg.norm(expected, axis=1) * np.linalg.norm(computed, axis=1)
    least = ((expected * computed).sum(1) / norms).min()
    if not least >= _LEAST_COSINE:
        raise InputError(
            f"OpenVINO gives other vectors for encoder {name!r} than torch does (cosine "
            f"{least:.4f}); set MCSTL_BACKEND=torch"
        )


def _token_counts(model: Any, texts: Sequence[str]) -> IntArray:
    """Return (n,) tokens of each text before it is cut, the model's prompt included."""
    prompt = model.prompts.get(model.default_prompt_name) or ""
    if not callable(model.tokenizer):  # static embeddings read texts of any length
        return np.array([len(text) for text in texts], dtype=np.int64)
    counts: list[int] = []
    for start in range(0, len(texts), 10_000):
        part = [prompt + text for text in texts[start : start + 10_000]]
        tokens = model.tokenizer(part, verbose=False, return_attention_mask=False)["input_ids"]
        counts += map(len, tokens)
    return np.array(counts, dtype=np.int64)


def _refuse_code(name: str, folder: Path) -> None:
    """Raise InputError if a model names code to run that is not sentence-transformers' own.

    That library imports any module that modules.json names, and an encoder is named by a model
    directory that may come from anybody.
    """
    path = folder / "modules.json"
    try:
        modules = json.loads(path.read_text(encoding="utf-8")) if path.exists() else []
        types = [str(module["type"]) for module in modules]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"encoder {name!r}: {path} cannot be read ({error!r})") from error
    if strange := [each for each in types if not each.startswith("sentence_transformers.")]:
        raise InputError(
            f"encoder {name!r} wants to run code of its own ({', '.join(strange)}), which is not "
            "done; choose one that sentence-transformers loads without code"
        )


def load_sentence_transformer(name: str, folder: Path, device: str | None) -> Any:
    """Load an encoder with sentence-transformers.

    Args:
        name: The encoder's name, for messages.
        folder: The folder of its files.
        device: torch's name of a device; by default a GPU where there is one.

    Returns:
        A `SentenceTransformer`.

    Raises:
        InputError: It cannot be read, or names code of its own to run.
    """
    # Unset, it makes tokenizers warn in every process that is forked later on.
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    from sentence_transformers import SentenceTransformer

    _refuse_code(name, folder)
    try:
        with quiet():
            model = SentenceTransformer(str(folder), device=device, local_files_only=True)
    except Exception as error:  # torch, safetensors and transformers each have their own
        raise InputError(
            f"encoder {name!r} in {folder} cannot be loaded: {first_line(error)}"
        ) from error
    attend_from_first(getattr(model[0], "auto_model", None))
    return model


def attend_from_first(transformer: Any) -> None:
    """Give a Longformer's first token global attention, as its authors do to classify a text.

    Beltagy et al. (2020, §3.1): the other tokens see a window of neighbours, [CLS] sees and is seen
    by all. transformers leaves that to the caller.

    Args:
        transformer: A model of transformers, changed in place; any other model than a Longformer
            is left as it is.
    """
    if getattr(getattr(transformer, "config", None), "model_type", "") != "longformer":
        return
    import torch

    forward = transformer.forward

    # Not a hook: sentence-transformers calls `forward` itself.
    @wraps(forward)
    def with_mask(*positional: Any, attention_mask: Any, **named: Any) -> Any:
        mask = torch.zeros_like(attention_mask)
        mask[:, 0] = 1
        named |= {"attention_mask": attention_mask, "global_attention_mask": mask}
        return forward(*positional, **named)

    transformer.forward = with_mask


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Keep the libraries' progress bars, log lines and warnings off the terminal.

    Returns:
        A context manager.
    """
    from transformers.utils import logging as transformers_logging

    bars = transformers_logging.is_progress_bar_enabled()
    loggers = [logging.getLogger(name) for name in ("transformers", "sentence_transformers")]
    levels = [logger.level for logger in loggers]
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
