"""How near the fitted P(y | item, groups) comes to the truth: python benchmarks/recovery.py.

Simulated annotations of each task form and size are split, grouped by their values and fitted as a
study would. A network's hidden layer (`training.layer`) is that of the lower NLL on validation
rows, the mean over seeds, as `mcstl tune` chooses; printed is the first method's. Printed is the
root mean square error of the class probabilities of the test rows against those that the labels
were drawn from, and of the training rows' label rates for scale.
"""

import argparse
from typing import get_args

import numpy as np

from mcstl import methods as registry
from mcstl._support.arrays import FloatArray
from mcstl.data.labels import Task
from mcstl.datasets import simulated
from mcstl.encoding.encoders import load_encoder
from mcstl.methods.base import BaseMethodConfig, Prepared
from mcstl.methods.fitting import fit_method
from mcstl.models.networks import Layer
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

TASKS: tuple[Task, ...] = ("binary", "ordinal", "preference")
METHODS = ("mc-stl", "none", "gbm", "logistic")


def errors(task: Task, annotations: int, methods: list[str], seeds: int) -> tuple[list[float], str]:
    """Return the error of each method and that of the label rates, and the first one's layer."""
    plan = Study(
        data={"dataset": "simulated", "annotations": annotations},
        task=task,
        groups={"by": "taxonomy"},
        methods=methods,
        training={"batch_size": 512 if annotations < 50_000 else 2048},
        seeds=seeds,
    )
    simulation = simulated.simulate(task, annotations=annotations)
    encoder = load_encoder()
    prepared = [prepare(plan, simulation.annotations, encoder, seed) for seed in plan.seeds]
    found = [error_of(method, plan, prepared, simulation.truth) for method in plan.methods]
    rates = []
    for each in prepared:
        shares = np.bincount(each.part("train").y) / len(each.parts.train)
        rates.append(rmse(shares, simulation.truth[each.parts.test]))
    return [*(error for error, _ in found), float(np.mean(rates))], found[0][1]


def error_of(
    method: BaseMethodConfig, plan: Study, prepared: list[Prepared], truth: FloatArray
) -> tuple[float, str]:
    """Return a method's mean error over seeds with the layer validation chooses, and which."""
    tried, is_trained = [], registry.find(method.name).is_trained
    for layer in get_args(Layer) if is_trained else ("none",):
        changed = method
        if is_trained:
            changed = method.model_copy(update={"training": {"layer": layer}})
        nll, error = [], []
        for seed, each in zip(plan.seeds, prepared, strict=True):
            p = fit_method(each, plan.settings_of(changed, seed))[0]
            error.append(rmse(p, truth[each.parts.test]))
            y = each.part("validation").y
            p = each.predicted[changed.model_dump_json()]["validation"]
            nll.append(-np.log(p[np.arange(len(y)), y]).mean())
        tried.append((np.mean(nll), float(np.mean(error)), layer))
    _, mean, layer = min(tried)
    return mean, layer


def rmse(p: FloatArray, truth: FloatArray) -> float:
    """Return the root mean square error of probabilities."""
    return float(np.sqrt(np.mean((p - truth) ** 2)))


def main() -> None:
    """Print one Markdown row per task form and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 4_000, 20_000, 100_000])
    parser.add_argument("--tasks", nargs="+", default=TASKS, choices=TASKS)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    print(f"| task | annotations | {' | '.join(options.methods)} | label rates | layer |")
    print("|" + " --- |" * (len(options.methods) + 4))
    for task in options.tasks:
        for size in options.sizes:
            found, layer = errors(task, size, options.methods, options.seeds)
            means = " | ".join(f"{mean:.3f}" for mean in found)
            print(f"| {task} | {size:,} | {means} | {layer} |", flush=True)


if __name__ == "__main__":
    main()
