"""How near P(y | item, group) comes to a group's truth with few annotators: benchmarks/people.py.

People of the simulation's six groups, so many per group, judge 50 proposals each in three ordered
classes. Each has a habit of their own (sd 1.5 on the scale of log odds), more than what their group
shares. Printed is the root mean square error of a model's P(y | item, group) against that over the
group's whole population, habits integrated out, for all proposals and groups, and how often the 95%
interval of mc-stl-people holds it.
"""

import argparse

import numpy as np
import pandas as pd

from mcstl.data.annotations import Annotations
from mcstl.datasets import simulated
from mcstl.encoding.encoders import load_encoder
from mcstl.methods.fitting import fit_method
from mcstl.studies.build_model import build_model
from mcstl.studies.preparation import prepare
from mcstl.studies.study_file import Study

METHODS = ("mc-stl-people", "mc-stl", "none")
HABIT_SD = 1.5
EACH = 50  # annotations per person


def annotated(simulation: simulated.Simulation, per_group: int, seed: int) -> Annotations:
    """Draw annotations of the simulation's items by new people, `per_group` of each group."""
    random = np.random.default_rng([seed, per_group])
    groups = np.repeat(np.arange(len(simulated.GROUPS)), per_group)
    habits = random.normal(0, HABIT_SD, len(groups))
    person = np.repeat(np.arange(len(groups)), EACH)
    item = np.concatenate(
        [random.choice(len(simulation.items), EACH, replace=False) for _ in groups]
    )
    score = simulation.appeal[item] + simulation.pull[item, groups[person]] + habits[person]
    above = 1 / (1 + np.exp(simulation.cuts - score[:, None]))
    texts = simulation.annotations.frame.drop_duplicates("item").set_index("item")["text"]
    names = np.array(simulation.items)[item]
    frame = pd.DataFrame(
        {
            "item": names,
            "text": texts[names].to_numpy(),
            "label": (random.random((len(item), 1)) < above).sum(axis=1),
            "annotator": [f"person-{p}" for p in person],
            "group": np.array(simulated.GROUPS)[groups[person]],
        }
    )
    labels = {name: [t] for t, name in enumerate(("oppose", "unsure", "support"))}
    return Annotations.from_frame(frame, labels=labels, task="ordinal")


def errors(per_group: int, seed: int) -> list[float]:
    """Return the error of each method, and how often the interval holds the truth."""
    simulation = simulated.simulate(
        "ordinal", annotations=10_000, items=200, annotator_sd=HABIT_SD, seed=seed
    )
    data = annotated(simulation, per_group, seed)
    plan = Study(
        data={"dataset": "simulated"},
        groups={"by": "attributes", "min_size": 1},
        split={"by": "annotation", "test": 0.02, "validation": 0.1},
        methods=list(METHODS),
        training={"hidden": 128},
    )
    encoder = load_encoder()
    prepared = prepare(plan, data, encoder, seed)
    of_item = simulation.annotations.frame.drop_duplicates("item").set_index("item")["text"]
    texts = [str(of_item[name]) for name in simulation.items]
    truth = simulation.probability(simulation.items, [[name] for name in simulated.GROUPS])
    found, held = [], np.nan
    for method in plan.methods:
        settings = plan.settings_of(method, seed)
        _, network, _ = fit_method(prepared, settings)
        assert network is not None
        with_groups = method.name != "none"
        model = build_model(network, prepared, settings, encoder, {})
        asked = [[f"group={name}"] for name in simulated.GROUPS] if with_groups else [[]]
        p = model.predict_proba(texts, asked)
        found.append(float(np.sqrt(np.mean((p - truth) ** 2))))
        if network.n_annotators:
            some = slice(0, 100)
            low, high = model.predict_interval(texts[some], asked)
            held = float(np.mean((low <= truth[some]) & (truth[some] <= high)))
    return [*found, held]


def main() -> None:
    """Print one Markdown row per number of annotators in a group."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=[3, 6, 12, 25, 50])
    parser.add_argument("--seeds", type=int, default=5)
    chosen = parser.parse_args()
    print(f"| annotators per group | {' | '.join(METHODS)} | interval holds the truth |")
    print("|" + " --- |" * (len(METHODS) + 2))
    for size in chosen.sizes:
        found = np.array([errors(size, seed) for seed in range(chosen.seeds)])
        cells = [f"{m:.3f} ± {s:.3f}" for m, s in zip(found.mean(0), found.std(0), strict=True)]
        print(f"| {size} | {' | '.join(cells[:-1])} | {found[:, -1].mean():.0%} |", flush=True)


if __name__ == "__main__":
    main()
