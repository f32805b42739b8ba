"""How long the audit takes: python benchmarks/audit.py.

Intervals of every metric of 100,000 binary and three-class annotations by 2,000 people, of 20,000
items, in 12 overlapping groups (each annotation is in three), and the test of multicalibration with
1,000 draws.
"""

import argparse
import os
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from mcstl import evaluation
from mcstl.evaluation import Predictions


def made_up(n: int, n_classes: int, n_groups: int = 12) -> Predictions:
    """Annotations whose predictions differ by item and groups, hence (nearly) all."""
    random = np.random.default_rng(0)
    p = random.dirichlet(np.ones(n_classes), n)
    return Predictions(
        p=p,
        labels=(random.random((n, 1)) > np.cumsum(p, axis=1)[:, :-1]).sum(axis=1),
        membership=random.random((n, n_groups)) < 3 / n_groups,
        minority=(random.random(n) < 0.3).astype(float),
        items=np.arange(n) // 5,
        annotators=random.integers(n // 50, size=n),
        task="ordinal" if n_classes > 2 else "binary",
    )


def main() -> None:
    """Print one Markdown row per task form and what is computed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--annotations", type=int, default=100_000)
    parser.add_argument("--draws", type=int, default=1000)
    chosen = parser.parse_args()
    print(f"{os.cpu_count()} processors, {chosen.annotations:,} annotations")
    print("| classes | what | seconds | processor seconds |\n| --- | --- | --- | --- |")
    for n_classes in (2, 3):
        rows = made_up(chosen.annotations, n_classes)
        methods = {"m": [rows]}
        works: dict[str, Callable[[], object]] = {
            "intervals of every metric": partial(
                evaluation.uncertainty, methods, evaluation.Sample.of(methods)
            ),
            "multicalibration": partial(evaluation.multicalibration, [rows], draws=chosen.draws),
        }
        for what, work in works.items():
            start, spent = time.perf_counter(), time.process_time()
            work()
            wall, spent = time.perf_counter() - start, time.process_time() - spent
            print(f"| {n_classes} | {what} | {wall:.1f} | {spent:.1f} |", flush=True)


if __name__ == "__main__":
    main()
