"""The same code on a GPU where there is one: python benchmarks/gpu.py.

On a GPU it takes at most ten minutes and measures ten million annotations; without one all of it
runs on the processor, small, so that the script is known to work. Encoding, two epochs of mc-stl
and an epoch of fine-tuning run on the GPU; the multilevel model is fitted on the processor in
either case. Encoding is compared with sentence-transformers on the same card in the same run, and
with the peak of bfloat16 products of matrices there. What the processor says of the same rows is
the yardstick of predictions.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from encoding import FLOP_PER_TOKEN, tokens_of
from growth import Size, rows_of, vectors_of
from multilevel import drawn

from mcstl import datasets
from mcstl.encoding import encoders, finetuning
from mcstl.encoding.encoders import load_encoder
from mcstl.models import training
from mcstl.models.multilevel import MultilevelNetwork

HAS_GPU = torch.cuda.is_available()
DEVICE = "cuda" if HAS_GPU else "cpu"


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    """Return the seconds of a call, all that it started on the GPU included, and its result."""
    if HAS_GPU:
        torch.cuda.synchronize()
    start = time.perf_counter()
    result = work()
    if HAS_GPU:
        torch.cuda.synchronize()
    return time.perf_counter() - start, result


def matrix_peak(size: int) -> float:
    """Return the best TFLOP/s of a few products of matrices, in bfloat16 on a GPU."""
    kind = torch.bfloat16 if HAS_GPU else torch.float32
    a, b = (torch.randn(size, size, device=DEVICE, dtype=kind) for _ in range(2))
    return max(2 * size**3 / timed(lambda: a @ b)[0] / 1e12 for _ in range(8))


def encoding(n: int) -> None:
    """Encode n distinct texts, and compare with sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    told = datasets.load("simulated").frame["text"].drop_duplicates().tolist()
    texts = [f"{told[i % len(told)]} ({i})" for i in range(n)]
    ours = load_encoder(device=DEVICE, backend="torch" if HAS_GPU else None)
    theirs = SentenceTransformer(str(encoders._paper_folder()), device=DEVICE)
    for warm_up in (ours.encode_uncached, theirs.encode):
        warm_up(texts[:64])
    other, expected = timed(lambda: theirs.encode(texts, show_progress_bar=False))
    spent, vectors = timed(lambda: ours.encode_uncached(texts))
    rate = tokens_of(texts) * FLOP_PER_TOKEN / spent / 1e12
    cosine = float((vectors * expected).sum(axis=1).min())
    print(f"| encoding {n:,} texts, {ours.backend} | {spent:.2f} s, {n / spent:,.0f} texts/s |")
    print(f"| sentence-transformers | {other:.2f} s, {other / spent:.2f} times ours |")
    print(f"| least cosine to theirs | {cosine:.6f} |")
    peak, kind = matrix_peak(8192 if HAS_GPU else 1024), "bf16" if HAS_GPU else "fp32"
    print(f"| share of the {kind} peak, {peak:.2f} TFLOP/s | {rate / peak:.0%} |", flush=True)


def mc_stl(annotations: int, items: int) -> None:
    """Train two epochs, and compare what the GPU predicts with what the processor does."""
    size = Size(annotations, items)
    with tempfile.TemporaryDirectory() as folder:
        train, held_out = rows_of(size, vectors_of(items, Path(folder) / "vectors.npy"))
        problem = training.Problem(size.classes, annotations_per_item=annotations / items)
        config = training.TrainingConfig(epochs=2, batch_size=8192, patience=2)
        spent, fitted = timed(lambda: training.fit(train, held_out, problem, config))
        print(f"| mc-stl, 2 epochs of {annotations:,} annotations | {spent:.2f} s |")
        some = held_out.take(np.arange(min(len(held_out), 100_000)))
        p = training.predict(fitted.network.cpu(), some)
        spent, on_device = timed(lambda: training.predict(fitted.network.to(DEVICE), some))
        gap = np.abs(p - on_device).max()
        print(f"| predicting {len(some):,} rows | {spent:.2f} s |")
        print(f"| furthest from the processor's | {gap:.1e} |", flush=True)


def main() -> None:
    """Print a Markdown row per kind of work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.parse_args()
    print(f"{torch.cuda.get_device_name() if HAS_GPU else 'No GPU here: on the processor, small.'}")
    print("\n| work | figure |\n| --- | --- |")
    encoding(100_000 if HAS_GPU else 500)
    mc_stl(*((10_000_000, 200_000) if HAS_GPU else (20_000, 1_000)))
    n = 1_000_000 if HAS_GPU else 5_000
    rows = drawn(n)
    spent, _ = timed(lambda: MultilevelNetwork.fitted(rows, 3))
    print(f"| multilevel, {n:,} annotations, on the processor | {spent:.2f} s |", flush=True)
    data = datasets.load("simulated", annotations=20_000 if HAS_GPU else 300)
    with tempfile.TemporaryDirectory() as empty:
        plain = load_encoder(cache_dir=empty)
        config = finetuning.EncoderConfig(name=plain.name, fine_tune=1, pooling="mean")
        spent, _ = timed(lambda: finetuning.encoder_for(config, plain, data, 0))
    print(f"| fine-tuning, an epoch of {data.frame['text'].nunique():,} texts | {spent:.2f} s |")


if __name__ == "__main__":
    main()
