"""How near P(y | item, group) comes to a group's truth with few annotators: benchmarks/people.py.

People of the simulation's six groups, so many per group, judge 50 proposals each in three ordered
classes. Each has a habit of their own (sd 1.5 on the scale of log odds), more than what their group
shares. Printed is the root mean square error of a model's P(y | item, group) against that over the
group's whole population, habits integrated out, for all proposals and groups, and how often the 95%
interval of multilevel holds it.

With --wrong people are not as the model takes them to be: habits are skewed and have two modes,
groups act through a non-linear function of the text, and one person in ten answers at random.
"""

import argparse

import numpy as np
import pandas as pd

from mcstl._support.arrays import FloatArray
from mcstl.data.annotations import Annotations
from mcstl.datasets import simulated
from mcstl.encoding.encoders import load_encoder
from mcstl.methods.fitting import fit_method
from mcstl.studies.build_model import build_model
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

METHODS = ("multilevel", "mc-stl", "none")
HABIT_SD = 1.5
EACH = 50  # annotations per person
RANDOM = 0.1  # the share of people who answer at random, with --wrong
POPULATION = 4000  # people over whom the truth is a mean, with --wrong


def habits_of(random: np.random.Generator, n: int, wrong: bool) -> FloatArray:
    """Draw people's habits: normal, or with two modes and a tail; mean 0 and sd `HABIT_SD`."""
    if not wrong:
        return random.normal(0, HABIT_SD, n)
    strict = random.random(n) < 0.3
    habits = np.where(strict, random.normal(2.5, 0.5, n), random.gamma(1.5, 0.6, n) - 1.5)
    # The mean and the sd of what is drawn, by its moments.
    mean = 0.3 * 2.5 + 0.7 * (1.5 * 0.6 - 1.5)
    square = 0.3 * (2.5**2 + 0.25) + 0.7 * (1.5 * 0.36 + (1.5 * 0.6 - 1.5) ** 2)
    return np.asarray((habits - mean) / np.sqrt(square - mean**2) * HABIT_SD)


def scores_of(simulation: simulated.Simulation, wrong: bool) -> FloatArray:
    """Return what each group makes of each item, (m, K)."""
    pull = np.sin(2.5 * simulation.pull) if wrong else simulation.pull
    return np.asarray(simulation.appeal[:, None] + pull)


def class_probabilities(scores: FloatArray, cuts: FloatArray) -> FloatArray:
    """Return (..., 3) the class probabilities of scores (...)."""
    above = 1 / (1 + np.exp(cuts - scores[..., None]))
    ends = np.ones((*scores.shape, 1))
    edges = np.concatenate([ends, above, 0 * ends], axis=-1)
    return np.asarray(edges[..., :-1] - edges[..., 1:])


def annotated(
    simulation: simulated.Simulation, per_group: int, seed: int, wrong: bool
) -> Annotations:
    """Draw annotations of the simulation's items by new people, `per_group` of each group."""
    random = np.random.default_rng([seed, per_group])
    groups = np.repeat(np.arange(len(simulated.GROUPS)), per_group)
    habits = habits_of(random, len(groups), wrong)
    person = np.repeat(np.arange(len(groups)), EACH)
    item = np.concatenate(
        [random.choice(len(simulation.items), EACH, replace=False) for _ in groups]
    )
    score = scores_of(simulation, wrong)[item, groups[person]] + habits[person]
    p = class_probabilities(score, simulation.cuts)
    if wrong:
        p[(random.random(len(groups)) < RANDOM)[person]] = 1 / 3
    texts = simulation.annotations.frame.drop_duplicates("item").set_index("item")["text"]
    names = np.array(simulation.items)[item]
    frame = pd.DataFrame(
        {
            "item": names,
            "text": texts[names].to_numpy(),
            "label": (random.random((len(item), 1)) > p.cumsum(axis=1)[:, :-1]).sum(axis=1),
            "annotator": [f"person-{p}" for p in person],
            "group": np.array(simulated.GROUPS)[groups[person]],
        }
    )
    labels = {name: [t] for t, name in enumerate(("oppose", "unsure", "support"))}
    return Annotations.from_frame(frame, labels=labels, task="ordinal")


def truth_of(simulation: simulated.Simulation, wrong: bool) -> FloatArray:
    """Return (m, K, 3) P(y | item, group) over the group's population."""
    if not wrong:
        groups = [[name] for name in simulated.GROUPS]
        return simulation.probability(simulation.items, groups)
    habits = habits_of(np.random.default_rng(0), POPULATION, wrong)
    scores = scores_of(simulation, wrong)
    p = np.mean([class_probabilities(scores + habit, simulation.cuts) for habit in habits], axis=0)
    return np.asarray((1 - RANDOM) * p + RANDOM / 3)


def errors(per_group: int, seed: int, wrong: bool) -> list[float]:
    """Return the error of each method, and how often the interval holds the truth."""
    simulation = simulated.simulate(
        "ordinal", annotations=10_000, items=200, annotator_sd=HABIT_SD, seed=seed
    )
    data = annotated(simulation, per_group, seed, wrong)
    plan = Study(
        data={"dataset": "simulated"},
        groups={"by": "attributes", "min_size": 1},
        split={"by": "annotation", "test": 0.02, "validation": 0.1},
        methods=list(METHODS),
    )
    encoder = load_encoder()
    prepared = prepare(plan, data, encoder, seed)
    of_item = simulation.annotations.frame.drop_duplicates("item").set_index("item")["text"]
    texts = [str(of_item[name]) for name in simulation.items]
    truth = truth_of(simulation, wrong)
    measured, held = [], np.nan
    for method in plan.methods:
        settings = plan.settings_of(method, seed)
        _, network, _ = fit_method(prepared, settings)
        assert network is not None
        model = build_model(network, prepared, settings, encoder, {})
        with_groups = method.name != "none"
        asked = [[f"group={name}"] for name in simulated.GROUPS] if with_groups else [[]]
        model.min_people = 1
        p = model.predict_proba(texts, asked)
        measured.append(float(np.sqrt(np.mean((p - truth) ** 2))))
        if network.n_draws:
            low, high = model.predict_interval(texts, asked)
            held = float(np.mean((low <= truth) & (truth <= high)))
    return [*measured, held]


def main() -> None:
    """Print one Markdown row per number of annotators in a group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 6, 12, 25, 50])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--wrong", action="store_true", help="people unlike the model's")
    chosen = parser.parse_args()
    print(f"| annotators per group | {' | '.join(METHODS)} | interval holds the truth |")
    print("|" + " --- |" * (len(METHODS) + 2))
    for size in chosen.sizes:
        runs = np.array([errors(size, seed, chosen.wrong) for seed in range(chosen.seeds)])
        mean, sd = runs.mean(axis=0), runs.std(axis=0)
        columns = [f"{m:.3f} ± {s:.3f}" for m, s in zip(mean, sd, strict=True)][:-1]
        print(f"| {size} | {' | '.join(columns)} | {mean[-1]:.0%} |", flush=True)


if __name__ == "__main__":
    main()
