"""What a group's view costs: python benchmarks/views.py.

A hundred groups of three attributes are asked about ten thousand texts, post-stratified and
exactly (Eq. 1, one membership per group), with vectors to be computed and with those in the cache.
Processor seconds; the clock is beside them. A view is a mean over the distinct memberships of the
training set that contain the group, so that what counts is how many there are.
"""

import argparse
import tempfile
import time

import numpy as np
import pandas as pd

import mcstl
from mcstl.encoding.encoders import load_encoder
from mcstl.models.model import Model

#: How many answers each attribute has: a hundred groups.
LEVELS = {"country": 60, "age": 30, "gender": 10}


def fitted(n_people: int, folder: str) -> Model:
    """Fit a model to annotations of people who differ in three attributes."""
    random = np.random.default_rng(0)
    people = {name: random.integers(0, count, n_people) for name, count in LEVELS.items()}
    who = random.integers(0, n_people, 20_000)
    frame = pd.DataFrame({name: [f"{name[0]}{a}" for a in people[name][who]] for name in LEVELS})
    number = random.integers(0, 500, len(who))
    frame["text"] = [f"Comment {n} on the plans of the town." for n in number]
    frame["label"] = (random.random(len(who)) < 0.3 + 0.4 * (number % 2)).astype(int)
    frame["annotator"] = who
    data = mcstl.Annotations.from_frame(frame)
    groups = {"by": "attributes", "attributes": list(LEVELS), "min_size": 1}
    encoder = load_encoder(cache_dir=folder)
    return mcstl.fit(data, groups=groups, encoder=encoder, training={"epochs": 2})


def main() -> None:
    """Print a row per number of people."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=10_000)
    parser.add_argument("--people", type=int, nargs="+", default=[100, 300, 1000])
    chosen = parser.parse_args()
    print("| people | memberships | vectors | exactly s | post-stratified s | ratio |")
    print("| --- | --- | --- | --- | --- | --- |")
    for n_people in chosen.people:
        with tempfile.TemporaryDirectory() as folder:
            model = fitted(n_people, folder)
            views = [[name] for name in model.group_names]
            seconds: dict[tuple[str, bool], tuple[float, float]] = {}
            for vectors in ("computed", "cached"):
                for exactly in (True, False):
                    # Other texts for each, or the second would find the vectors of the first.
                    form = f"{exactly} " if vectors == "computed" else "True "
                    texts = [f"{form}Notice {i} of the council." for i in range(chosen.texts)]
                    start = time.process_time(), time.perf_counter()
                    model.predict_proba(texts, views, exactly=exactly)
                    spent = time.process_time() - start[0], time.perf_counter() - start[1]
                    seconds[vectors, exactly] = spent
            for vectors in ("computed", "cached"):
                exact, mixed = seconds[vectors, True], seconds[vectors, False]
                print(
                    f"| {n_people} | {model.population[0].shape[0]} | {vectors} "
                    f"| {exact[0]:.1f} ({exact[1]:.1f}) | {mixed[0]:.1f} ({mixed[1]:.1f}) "
                    f"| {mixed[0] / exact[0]:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
