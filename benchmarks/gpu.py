"""The same code on one GPU: python benchmarks/gpu.py; where there is none it says so.

Encoding is in half precision there and in fp32 on the CPU; training is the simulation of
benchmarks/training.py. The profile of a training epoch counts copies from the GPU to the host, of
which the loop should have none.
"""

import argparse
import time
from collections.abc import Callable

import torch
from training import dices, ours

from mcstl import datasets
from mcstl.encoding.backends import BackendName
from mcstl.encoding.encoders import load_encoder


def seconds(work: Callable[[], object]) -> float:
    """Return the time of a call, all that it started on the GPU included."""
    torch.cuda.synchronize()
    start = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    """Print one Markdown row per kind of work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=2000)
    chosen = parser.parse_args()
    if not torch.cuda.is_available():
        print("No GPU here: nothing was measured.")
        return
    texts = datasets.load("simulated").frame["text"].drop_duplicates().tolist()[: chosen.texts]
    print(f"{torch.cuda.get_device_name()}\n\n| work | seconds |\n| --- | --- |")
    ways: tuple[tuple[str, BackendName | None], ...] = (("cuda", "torch"), ("cpu", None))
    for device, backend in ways:
        encoder = load_encoder(device=device, backend=backend)
        encoder.encode_uncached(texts[:2])
        spent = seconds(lambda: encoder.encode_uncached(texts))  # noqa: B023
        print(f"| encoding {len(texts):,} texts, {encoder.backend} | {spent:.2f} |")
    task = dices()
    ours(task, 0)
    with torch.profiler.profile() as profile:
        spent = seconds(lambda: ours(task, 0))
    copies = sum(event.count for event in profile.key_averages() if "Memcpy DtoH" in event.key)
    print(f"| training, {len(task.train):,} rows | {spent:.2f} |")
    print(f"| copies to the host while training | {copies:,} |")


if __name__ == "__main__":
    main()
