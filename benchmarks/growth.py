"""How time and memory grow: python benchmarks/growth.py.

Annotations are integer codes (item, which groups, label) of items with ready vectors in a
memory-mapped file; they are simulated and reduced to weighted rows in chunks of items, so that all
annotations are never in memory at once. Annotations, items, groups and classes are doubled one at a
time, each training in a process of its own, and the exponent of growth is the slope of a line
through all sizes on logarithmic axes. Seconds are processor seconds of an epoch (validation
included), memory is the process's peak; its exponent is of what is beyond the peak before the rows
were made, which is libraries.

``--once ANNOTATIONS ITEMS`` trains one size instead: ``--once 100000000 1000000`` is 100 million
annotations of a million items.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from phases import peak_gib
from scipy.sparse import csr_matrix
from scipy.special import expit

from mcstl._support.arrays import Float32Array, IntArray
from mcstl.models.examples import Examples
from mcstl.models.training import Problem, Session, TrainingConfig, fit

DIMENSION = 384
_ITEMS_PER_CHUNK = 20_000
_PATTERNS = 24


class Size(NamedTuple):
    """What is doubled."""

    annotations: int = 100_000
    items: int = 2_000
    groups: int = 12
    classes: int = 2


def vectors_of(items: int, path: Path) -> Float32Array:
    """Write random unit vectors by chunks and return them memory-mapped."""
    vectors = np.lib.format.open_memmap(path, "w+", np.float32, (items, DIMENSION))
    random = np.random.default_rng(0)
    for start in range(0, items, _ITEMS_PER_CHUNK):
        part = vectors[start : start + _ITEMS_PER_CHUNK]
        drawn = random.standard_normal(part.shape, dtype=np.float32)
        part[:] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    vectors.flush()
    found: Float32Array = np.load(path, mmap_mode="r")
    return found


def rows_of(size: Size, vectors: Float32Array) -> tuple[Examples, Examples]:
    """Draw annotations by chunks of items and keep how often each kind of them occurs.

    A twentieth of the annotations validates.
    """
    random = np.random.default_rng(1)
    patterns = random.random((_PATTERNS, size.groups)) < 4 / size.groups
    # Every group is somebody's.
    patterns |= np.arange(size.groups) % _PATTERNS == np.arange(_PATTERNS)[:, None]
    effects = 20 * random.normal(size=DIMENSION) / math.sqrt(DIMENSION)
    leniency = patterns @ random.normal(0, 0.5, size.groups)
    cuts = np.linspace(-1, 1, size.classes + 1)[1:-1] if size.classes > 2 else np.zeros(1)
    per_item = size.annotations // size.items
    kinds = _PATTERNS * size.classes
    parts: tuple[list[IntArray], list[IntArray]] = ([], [])
    for start in range(0, size.items, _ITEMS_PER_CHUNK):
        appeal = vectors[start : start + _ITEMS_PER_CHUNK] @ effects
        item = np.repeat(np.arange(len(appeal)), per_item)
        pattern = random.integers(_PATTERNS, size=len(item))
        p = expit((appeal[item] + leniency[pattern])[:, None] - cuts)
        y = (random.random((len(item), 1)) < p).sum(axis=1)
        held_out = random.random(len(item)) < 0.05
        codes = (item * _PATTERNS + pattern) * size.classes + y
        for part, which in zip(parts, (~held_out, held_out), strict=True):
            counts = np.bincount(codes[which], minlength=len(appeal) * kinds)
            there = np.flatnonzero(counts)
            part.append(np.stack([there + start * kinds, counts[there]]))
    found = []
    for part in parts:
        codes, counts = np.concatenate(part, axis=1)
        part.clear()
        cells, y = np.divmod(codes, size.classes)
        positions, pattern = np.divmod(cells, _PATTERNS)
        S = csr_matrix(patterns, dtype=np.float32)[pattern]
        found.append(Examples(vectors, positions[:, None], S, y, counts.astype(np.float32)))
    return found[0], found[1]


def measure(size: Size, epochs: int, batch_size: int) -> dict[str, float]:
    """Train one size for some epochs."""
    libraries = peak_gib()
    with tempfile.TemporaryDirectory() as folder:
        vectors = vectors_of(size.items, Path(folder) / "vectors.npy")
        start = time.process_time()
        train, validation = rows_of(size, vectors)
        prepared = time.process_time() - start
        # `process_time` at the end of each epoch: the first has what comes before the loop.
        ends: list[float] = []
        fitted = fit(
            train,
            validation,
            Problem(size.classes, annotations_per_item=size.annotations / size.items),
            TrainingConfig(epochs=epochs, batch_size=batch_size, patience=epochs),
            session=Session(on_epoch=lambda *_: ends.append(time.process_time())),
        )
    return {
        "rows": len(train),
        "prepare": prepared,
        "seconds": (ends[-1] - ends[0]) / (len(ends) - 1) if len(ends) > 1 else ends[0] - start,
        "gib": peak_gib(),
        "own_gib": peak_gib() - libraries,
        "nll": fitted.validation_nll,
    }


def in_a_process(size: Size, epochs: int, batch_size: int) -> dict[str, float]:
    """`measure` in a new process, whose peak of memory is its own."""
    command = [
        sys.executable,
        __file__,
        "--measure",
        json.dumps(size),
        str(epochs),
        str(batch_size),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Print one Markdown row per size, and the exponents."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--doublings", type=int, default=3)
    parser.add_argument("--annotations", type=int, default=Size().annotations)
    parser.add_argument("--once", type=int, nargs=2, metavar=("ANNOTATIONS", "ITEMS"))
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--measure", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.measure:
        size, epochs, batch_size = (json.loads(word) for word in chosen.measure)
        print(json.dumps(measure(Size(*size), epochs, batch_size)))
        return
    columns = "annotations | items | groups | classes | weighted rows | s an epoch | GiB | NLL"
    print(f"| {columns} |\n|{' --- |' * 8}")

    def run(size: Size) -> dict[str, float]:
        found = in_a_process(size, chosen.epochs, chosen.batch_size)
        a, i, g, c = size
        print(
            f"| {a:,} | {i:,} | {g} | {c} | {found['rows']:,} | {found['seconds']:.2f} | "
            f"{found['gib']:.2f} | {found['nll']:.4f} |",
            flush=True,
        )
        return found

    if chosen.once:
        run(Size(*chosen.once))
        return
    start = Size(annotations=chosen.annotations)
    first = run(start)
    exponents = []
    for what in Size._fields:
        doublings = range(1, chosen.doublings + 1)
        sizes = [start._replace(**{what: getattr(start, what) * 2**n}) for n in doublings]
        found = [first, *map(run, sizes)]
        time_grows, memory_grows = (
            np.polyfit([0, *doublings], np.log2([each[key] for each in found]), 1)[0]
            for key in ("seconds", "own_gib")
        )
        exponents.append(f"| {what} | {time_grows:.2f} | {memory_grows:.2f} |")
    print("\n| doubled | exponent of time | of memory |\n| --- | --- | --- |")
    print("\n".join(exponents))


if __name__ == "__main__":
    main()
