"""Encoding against sentence-transformers' default: python benchmarks/encoding.py --data-dir DATA.

The texts are popquorn's comments and 5,000 reasons of ukpconvarg1, as they come. Each round runs
every contender on one sample, one after the other, with all cores and an empty cache, and measures
the machine's matrix peak between them; printed are medians over rounds of the ratio within a round,
so that other work on the machine weighs on all alike. Seconds are the clock's; beside them stand
processor seconds, which say what the work costs when others use the cores. Without --data-dir the
texts are the simulation's proposals.
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mcstl import datasets
from mcstl._support.arrays import Float32Array
from mcstl.encoding import encoders
from mcstl.encoding.backends import BACKENDS, BackendName
from mcstl.encoding.encoders import load_encoder

#: Multiplications and additions of the paper's encoder for a token, without attention's.
FLOP_PER_TOKEN = 6 * 2 * (4 * 384 * 384 + 2 * 384 * 1536)


class Spent(NamedTuple):
    """What one run of a contender took."""

    clock: float
    processor: float


def timed(work: Callable[[], Float32Array]) -> tuple[Spent, Float32Array]:
    """Return what `work` took and what it returned."""
    clock, processor = time.perf_counter(), time.process_time()
    found = work()
    return Spent(time.perf_counter() - clock, time.process_time() - processor), found


def matrix_peak(size: int = 1024, times: int = 8) -> float:
    """Return the best GFLOP/s of a few products of fp32 matrices, with all cores."""
    import torch

    a, b = torch.randn(size, size), torch.randn(size, size)
    return max(2 * size**3 / timed(lambda: (a @ b).numpy())[0].clock / 1e9 for _ in range(times))


def texts_of(data_dir: str | None, most: int) -> dict[str, list[str]]:
    """Return the texts to encode, by what they are."""
    if data_dir is None:
        made_up = datasets.load("simulated").frame["text"].drop_duplicates()
        return {"simulated proposals": made_up.tolist()[:most]}
    comments = datasets.load("popquorn", data_dir=data_dir).frame["text"].drop_duplicates()
    reasons = datasets.load("ukpconvarg1", data_dir=data_dir).frame["rationale"].dropna()
    return {
        "popquorn comments": comments.tolist()[:most],
        "ukpconvarg1 reasons": reasons.tolist()[: min(most, 5000)],
    }


def tokens_of(texts: Sequence[str]) -> int:
    """Return how many tokens the encoder reads of `texts`."""
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(encoders._paper_folder() / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    return sum(len(one.ids) for one in tokenizer.encode_batch(list(texts)))


def main() -> None:
    """Print one Markdown row per kind of text and contender."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", help="folder of the real data sets")
    parser.add_argument("--texts", type=int, default=5000, help="at most so many of a kind")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--backends", nargs="+", default=BACKENDS, choices=BACKENDS)
    chosen = parser.parse_args()
    from sentence_transformers import SentenceTransformer

    original = SentenceTransformer(str(encoders._paper_folder()), device="cpu")
    names: list[BackendName] = list(chosen.backends)
    print(
        "| texts | contender | texts/s | ratio | in processor time | least cosine "
        "| share of peak |\n| --- | --- | --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as empty:
        ours = {name: load_encoder(cache_dir=empty, backend=name, device="cpu") for name in names}
        for encoder in ours.values():
            encoder.encode_uncached(["loads and converts"])
        for kind, texts in texts_of(chosen.data_dir, chosen.texts).items():
            distinct = list(dict.fromkeys(texts))
            tokens: dict[str, int] = {"default": tokens_of(texts)}
            tokens |= dict.fromkeys(names, tokens_of(distinct))
            spent: dict[str, list[Spent]] = {name: [] for name in ["default", *names]}
            least: dict[str, float] = dict.fromkeys(names, 1.0)
            peaks = []
            for _ in range(chosen.rounds):
                took, expected = timed(lambda: original.encode(texts, show_progress_bar=False))  # noqa: B023
                spent["default"].append(took)
                row = dict(zip(texts, expected, strict=True))
                reference = np.stack([row[text] for text in distinct])
                for name, encoder in ours.items():
                    took, found = timed(lambda: encoder.encode_uncached(distinct))  # noqa: B023
                    spent[name].append(took)
                    least[name] = min(least[name], float((found * reference).sum(1).min()))
                peaks.append(matrix_peak())
            for contender, runs in spent.items():
                pairs = list(zip(spent["default"], runs, strict=True))
                clock = statistics.median(a.clock / b.clock for a, b in pairs)
                processor = statistics.median(a.processor / b.processor for a, b in pairs)
                share = statistics.median(
                    tokens[contender] * FLOP_PER_TOKEN / one.clock / 1e9 / peak
                    for one, peak in zip(runs, peaks, strict=True)
                )
                title = "sentence-transformers" if contender == "default" else contender
                rate = len(texts) / statistics.median(one.clock for one in runs)
                cosine = f"{least[contender]:.6f}" if contender in least else ""
                each = tokens["default"] / len(texts)
                print(
                    f"| {len(texts):,} {kind}, {len(distinct):,} distinct, {each:.0f} tokens each "
                    f"| {title} | {rate:.0f} | {clock:.2f} | "
                    f"{processor:.2f} | {cosine} | {share:.0%} |",
                    flush=True,
                )
            print(f"| {kind} | matrix peak | {statistics.median(peaks):.0f} GFLOP/s | | | | |")


if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    main()
