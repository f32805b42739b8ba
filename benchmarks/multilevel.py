"""Time and memory of the multilevel model as annotations grow: python benchmarks/multilevel.py.

Made-up annotations of texts with vectors of 384 numbers, by people of four attributes, ten
annotations a person and twenty a text. Sizes double; the last one has a million annotations of
50,000 texts by 100,000 people. Each size runs in a process of its own.
"""

import argparse
import multiprocessing
import resource
import time

import numpy as np
from scipy.sparse import csr_matrix

from mcstl.models.examples import Examples
from mcstl.models.multilevel import MultilevelNetwork

DIMENSION = 384
OF_ATTRIBUTES = (2, 6, 5, 7)  # how many answers each attribute has


def drawn(n: int, seed: int = 0) -> Examples:
    """Draw n annotations in three ordered classes."""
    random = np.random.default_rng(seed)
    n_people, n_texts = max(1, n // 10), max(1, n // 20)
    vectors = random.normal(size=(n_texts, DIMENSION)).astype(np.float32)
    vectors *= (np.arange(1, DIMENSION + 1) ** -0.5).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    person = random.permutation(np.arange(n) % n_people)
    text = random.permutation(np.arange(n) % n_texts)
    starts = np.cumsum([0, *OF_ATTRIBUTES])[:-1]
    answers = np.stack([random.integers(k, size=n_people) for k in OF_ATTRIBUTES], axis=1)
    columns = (answers + starts)[person]
    rows = np.repeat(np.arange(n), len(OF_ATTRIBUTES))
    S = csr_matrix((np.ones(len(rows), np.float32), (rows, columns.ravel())))
    score = 4 * vectors[text] @ random.normal(size=DIMENSION).astype(np.float32)
    score = score + random.normal(size=n_people)[person] + random.normal(size=n_texts)[text]
    score = score + 0.3 * random.normal(size=S.shape[1])[columns].sum(axis=1)
    y = (random.logistic(size=n)[:, None] + score[:, None] > np.array([-1.0, 1.0])).sum(axis=1)
    w = np.ones(n, dtype=np.float32)
    return Examples(vectors, text[:, None], S, y.astype(np.int64), w, person, np.arange(n_texts))


def measure(n: int) -> None:
    """Fit n annotations, and print the seconds and the peak of memory."""
    rows = drawn(n)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    began, used = time.perf_counter(), time.process_time()
    network = MultilevelNetwork.fitted(rows, 3)
    seconds, processor = time.perf_counter() - began, time.process_time() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    people, texts = network.n_annotators, network.n_texts
    print(
        f"| {n:,} | {people:,} | {texts:,} | {seconds:,.0f} | {processor:,.0f} | {before:.1f} | "
        f"{peak:.1f} |",
        flush=True,
    )


def main() -> None:
    """Print a Markdown row per size."""
    parser = argparse.ArgumentParser(description=__doc__)
    sizes = [125_000, 250_000, 500_000, 1_000_000]
    parser.add_argument("--sizes", type=int, nargs="+", default=sizes)
    chosen = parser.parse_args()
    print("| annotations | people | texts | seconds | of processor | GiB before | GiB at most |")
    print("|" + " --- |" * 7, flush=True)
    for size in chosen.sizes:
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(size,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
