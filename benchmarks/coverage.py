"""Whether intervals keep their promise: python benchmarks/coverage.py (minutes on one core).

Two models are equally good: of what decides a label in its item and its person, each knows one
half. Test sets are drawn anew again and again. Printed is, per design, how often a 95% interval of
their difference is without 0 (5% is right), and how often intervals hold the true value (95% is
right): that of a metric, and the spread over groups without noise. The true value is the mean over
all test sets. The last table is of models that are fitted on overlapping splits.
"""

import argparse

import numpy as np
from scipy.special import expit, stdtrit

from mcstl import evaluation
from mcstl._support.arrays import FloatArray, IntArray
from mcstl.evaluation import Predictions, metrics

#: Items and people of a design, and how many items a person judges; 0: each has rows of their own.
DESIGNS = {
    "200 items x 10, raters of their own": (200, 0, 10),
    "200 people x 10, items of their own": (0, 200, 10),
    "262 people x 10 of 500 items": (500, 262, 10),
    "52 people x 50 of 500 items": (500, 52, 50),
    "20 people, 200 items x 10": (200, 20, 100),
}
MEMBERS = (0.5, 0.4, 0.3, 0.5, 0.4, 0.3)
SHOWN = ("auc", "nll", "brier", "one_minus_emd", "group_auc_mean", "slope_mean", "bias_mean")
SPREADS = ("group_auc", "slope", "bias")


def codes_of(design: tuple[int, int, int], random: np.random.Generator) -> tuple[IntArray, ...]:
    """Draw the codes of items and people."""
    n_items, n_people, each = design
    if not n_people:
        return np.repeat(np.arange(n_items), each), np.arange(n_items * each)
    person = np.repeat(np.arange(n_people), each)
    if not n_items:
        return np.arange(n_people * each), person
    item = np.concatenate([random.permutation(n_items)[:each] for _ in range(n_people)])
    return item, person


def draw(design: tuple[int, int, int], random: np.random.Generator) -> dict[str, Predictions]:
    """Draw a test set and two models' predictions of it."""
    item, person = codes_of(design, random)
    n_people = person.max() + 1
    halves = [
        random.normal(size=item.max() + 1)[item] + random.normal(size=n_people)[person]
        for _ in "ab"
    ]
    members = random.random((n_people, len(MEMBERS))) < MEMBERS
    off = members[person] @ np.linspace(-0.4, 0.4, len(MEMBERS))  # unknown to both models
    labels = (random.random(len(item)) < expit(sum(halves) + off)).astype(np.int64)
    minority = (random.random(len(item)) < 0.3).astype(float)
    levels = {name: expit(0.75 * half) for name, half in zip("ab", halves, strict=True)}
    return {
        name: Predictions(
            p=np.stack([1 - p, p], axis=1),
            labels=labels,
            membership=members[person],
            minority=minority,
            items=item,
            annotators=person,
            task="binary",
        )
        for name, p in levels.items()
    }


def of_groups(rows: Predictions) -> FloatArray:
    """Compute each group's AUC, slope and bias, (3, K)."""
    names = [f"g{k}" for k in range(len(MEMBERS))]
    groups = metrics.evaluate(
        rows.p, rows.labels, rows.membership, rows.minority, rows.task, names
    )["groups"]
    lines = [[group["thresholds"][0][name] for group in groups] for name in ("slope", "bias")]
    return np.array([[group["auc"] for group in groups], *lines], dtype=float)


def crossed(sets: int, only: str) -> None:
    """Print the tables of differences and of coverage."""
    told, held = [], []
    for name, design in DESIGNS.items():
        if only not in name:
            continue
        apart, values, ends = np.zeros(len(SHOWN)), [], []
        spreads, spread_ends = [], []
        for i in range(sets):
            methods = {m: [p] for m, p in draw(design, np.random.default_rng([1, i])).items()}
            found = evaluation.uncertainty(methods, evaluation.Sample.of(methods))
            gaps = evaluation.differences_of(found["a"], found["b"])
            apart += [gaps[m]["low"] > 0 or gaps[m]["high"] < 0 for m in SHOWN]
            values.append([found["a"].metrics[m].value[0] for m in SHOWN])
            ends.append([np.ravel(found["a"].metrics[m].interval()) for m in SHOWN])
            spreads.append(of_groups(methods["a"][0]))
            spread_ends.append([found["a"].spreads[f"{m}_spread"][1:] for m in SPREADS])
        truth = np.append(np.mean(values, axis=0), np.nanmean(spreads, axis=0).std(axis=1))
        low, high = np.moveaxis(np.concatenate([ends, spread_ends], axis=1), 2, 0)
        told.append(f"| {name} | {' | '.join(f'{each / sets:.1%}' for each in apart)} |")
        inside = ((low <= truth) & (truth <= high)).mean(axis=0)
        held.append(f"| {name} | {' | '.join(f'{each:.1%}' for each in inside)} |")
        print(f"{name} done", flush=True)
    print(f"\n{sets:,} test sets: two equal models told apart\n\n| design | {' | '.join(SHOWN)} |")
    print("\n".join(["| --- " * (1 + len(SHOWN)) + "|", *told]))
    columns = [*SHOWN, *(f"{name}_spread" for name in SPREADS)]
    print(f"\nTrue values held\n\n| design | {' | '.join(columns)} |")
    print("\n".join(["| --- " * (1 + len(columns)) + "|", *held]), flush=True)


def fitted(
    random: np.random.Generator, n: int, width: int, n_seeds: int
) -> dict[str, list[Predictions]]:
    """Fit two equal ridge regressions on overlapping splits, each on its half of the features."""
    x = random.normal(size=(n, 2 * width))
    y = (random.random(n) < expit(1.5 * x.sum(axis=1) / np.sqrt(2 * width))).astype(np.int64)
    halves = {"a": slice(0, width), "b": slice(width, 2 * width)}
    methods: dict[str, list[Predictions]] = {name: [] for name in halves}
    for _ in range(n_seeds):
        order = random.permutation(n)
        test, train = np.sort(order[: n // 5]), order[n // 5 :]
        for name, half in halves.items():
            with_one = np.column_stack([np.ones(n), x[:, half]])
            of_train = with_one[train]
            gram = of_train.T @ of_train + 3 * np.eye(1 + width)
            weights = np.linalg.solve(gram, of_train.T @ (y[train] - 0.5))
            p = np.clip(0.5 + with_one[test] @ weights, 0.02, 0.98)
            methods[name].append(
                Predictions(
                    p=np.stack([1 - p, p], axis=1),
                    labels=y[test],
                    membership=np.ones((len(test), 1), dtype=bool),
                    minority=np.zeros(len(test), dtype=bool),
                    items=test,
                    annotators=test,
                    task="binary",
                )
            )
    return methods


def overlapping(sets: int) -> None:
    """Print how intervals over seeds err, of the NLL."""
    print(f"\n{sets:,} data sets: NLL of ridge regressions on overlapping splits\n")
    print("| rows | seeds | held | told apart | t over seeds | Nadeau and Bengio | width | width |")
    print("| --- " * 8 + "|")
    for n, width, n_seeds in ((200, 10, 2), (200, 10, 5), (200, 10, 20), (800, 20, 5)):
        once = [fitted(np.random.default_rng([2, i]), n, width, 1) for i in range(4 * sets)]
        truth = np.mean([metrics.nll(m[0].p, m[0].labels) for each in once for m in each.values()])
        counts = np.zeros(6)
        for i in range(sets):
            methods = fitted(np.random.default_rng([3, i]), n, width, n_seeds)
            found = evaluation.uncertainty(methods, evaluation.Sample.of(methods, 0.25))
            low, high = (end[0] for end in found["a"].metrics["nll"].interval())
            gap = found["a"].metrics["nll"] - found["b"].metrics["nll"]
            gap_low, gap_high = (end[0] for end in gap.interval())
            seeds = gap.per_seed[:, 0]
            half = stdtrit(n_seeds - 1, 0.975) * seeds.std(ddof=1)
            plain, corrected = half * np.sqrt([1 / n_seeds, 1 / n_seeds + 0.25])
            counts += [
                low <= truth <= high,
                gap_low > 0 or gap_high < 0,
                abs(seeds.mean()) > plain,
                abs(seeds.mean()) > corrected,
                gap_high - gap_low,
                2 * corrected,
            ]
        shares = " | ".join(f"{each / sets:.1%}" for each in counts[:4])
        widths = " | ".join(f"{each / sets:.3f}" for each in counts[4:])
        print(f"| {n} | {n_seeds} | {shares} | {widths} |", flush=True)


def main() -> None:
    """Print the tables of docs/uncertainty.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=500)
    parser.add_argument("--only", default="", help="designs whose name contains this")
    chosen = parser.parse_args()
    if not chosen.only:
        overlapping(chosen.sets)
    crossed(chosen.sets, chosen.only)


if __name__ == "__main__":
    main()
