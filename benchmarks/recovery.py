"""How near the fitted P(y | item, groups) comes to the truth: python benchmarks/recovery.py.

Simulated annotations of each task form and size are split, grouped by their values and fitted as a
study would. Printed is the root mean square error of the class probabilities of the test rows
against those that the labels were drawn from, and of the training rows' label rates for scale.
"""

import argparse

import numpy as np

from mcstl import study
from mcstl.classes import Task
from mcstl.datasets import simulated
from mcstl.encoders import load_encoder
from mcstl.methods import fit_method
from mcstl.studyfile import Study

TASKS: tuple[Task, ...] = ("binary", "ordinal", "preference")
METHODS = ("mc-stl", "none", "gbm", "logistic")


def errors(task: Task, annotations: int, methods: list[str], seed: int) -> list[float]:
    """Return the error of each method, and that of the label rates."""
    plan = Study(
        data={"dataset": "simulated", "annotations": annotations},
        task=task,
        groups={"by": "taxonomy"},
        methods=methods,
        training={"batch_size": 512 if annotations < 50_000 else 2048},
        seeds=[seed],
    )
    simulation = simulated.simulate(task, annotations=annotations)
    prepared = study.prepare(plan, simulation.annotations, load_encoder(), seed)
    truth = simulation.truth[prepared.parts.test]
    rates = np.bincount(prepared.part("train").y) / len(prepared.parts.train)
    fitted = [fit_method(method, plan, prepared, seed)[0] for method in plan.methods]
    return [float(np.sqrt(np.mean((p - truth) ** 2))) for p in [*fitted, rates]]


def main() -> None:
    """Print one Markdown row per task form and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 4_000, 20_000, 100_000])
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    print(f"| task | annotations | {' | '.join(chosen.methods)} | label rates |")
    print("|" + " --- |" * (len(chosen.methods) + 3))
    for task in chosen.tasks:
        for size in chosen.sizes:
            found = [errors(task, size, chosen.methods, seed) for seed in range(chosen.seeds)]
            means = " | ".join(f"{mean:.3f}" for mean in np.mean(found, axis=0))
            print(f"| {task} | {size:,} | {means} |", flush=True)


if __name__ == "__main__":
    main()
