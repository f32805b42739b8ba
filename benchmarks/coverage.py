"""Whether the audit keeps its promises: python benchmarks/coverage.py (minutes on one core).

A model is fixed. Test sets are drawn anew again and again: items, what is hidden in each (it moves
all its raters), raters, their four overlapping groups, and labels of three ordered classes. The
model knows an item's visible part and the groups, and its probabilities are exactly right on
average over what is hidden: it is calibrated in every group, and the labels of one item still go
together. Printed is how often 95% intervals hold the true value (and how wide they are), how often
the test of multicalibration raises a false alarm, and how often it finds an error of the size that
it calls detectable. True values are those of one test set of 100,000 items.
"""

import argparse
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from mcstl import evaluation
from mcstl._support.arrays import FloatArray
from mcstl.evaluation import Predictions

CUTS = np.array([-0.6, 0.9])
IN_GROUP = np.array([0.5, 0.3, 0.2, 0.1])
GROUP_EFFECT = np.array([0.5, -0.6, 0.9, 0.2])
METRICS = ("auc", "nll", "brier", "slope_mean", "bias_mean", "group_auc_mean", "group_auc_sd")
ROW = "single annotations"


class Design(NamedTuple):
    """How a test set is drawn; without `n_raters` every annotation has a rater of its own."""

    n_items: int = 200
    per_item: int = 10
    item_sd: float = 1.5  # of what is hidden in an item, on the scale of log odds
    n_raters: int = 0
    rater_sd: float = 0.0
    n_seeds: int = 1  # test parts, each of `n_items` of five times as many items


def draw(random: np.random.Generator, design: Design) -> Predictions:
    """Draw a test set and the fixed model's predictions of it."""
    item = np.repeat(np.arange(design.n_items), design.per_item)
    n = len(item)
    rater = random.integers(design.n_raters, size=n) if design.n_raters else np.arange(n)
    n_raters = design.n_raters or n
    members = (random.random((n_raters, len(IN_GROUP))) < IN_GROUP)[rater]
    seen = random.normal(0, 1, design.n_items)[item] + members @ GROUP_EFFECT
    hidden = random.normal(0, design.item_sd, design.n_items)[item]
    hidden += random.normal(0, design.rater_sd, n_raters)[rater]
    labels = (random.random((n, 1)) < expit((seen + hidden)[:, None] - CUTS)).sum(axis=1)
    return Predictions(
        p=predicted(seen, float(np.hypot(design.item_sd, design.rater_sd))),
        labels=labels,
        membership=members,
        minority=np.zeros(n, dtype=bool),
        items=item,
        annotators=rater,
        task="ordinal",
    )


def predicted(seen: FloatArray, hidden_sd: float) -> FloatArray:
    """Return the (n, 3) class probabilities, averaged over the hidden part."""
    points, weights = np.polynomial.hermite_e.hermegauss(61)
    grid = np.linspace(-12, 12, 4001)
    edges = [np.ones(len(seen))]
    for cut in CUTS:
        curve = expit(grid[:, None] - cut + hidden_sd * points) @ weights / weights.sum()
        edges.append(np.interp(seen, grid, curve))
    edges.append(np.zeros(len(seen)))
    return -np.diff(np.stack(edges, axis=1), axis=1)


def changed(rows: Predictions, **fields: object) -> Predictions:
    """Return the rows with other fields."""
    return Predictions(**{**vars(rows), **fields})


def singly(rows: Predictions) -> Predictions:
    """Return the rows as if each were an item of its own: what a row bootstrap assumes."""
    return changed(rows, items=np.arange(len(rows.items)))


def test_parts(random: np.random.Generator, design: Design) -> list[Predictions]:
    """Draw a data set and the test parts of its seeds, which share items."""
    if design.n_seeds == 1:
        return [draw(random, design)]
    pool = draw(random, design._replace(n_items=5 * design.n_items))
    parts = []
    for _ in range(design.n_seeds):
        chosen = random.permutation(5 * design.n_items)[: design.n_items]
        inside = np.isin(pool.items, chosen)
        parts.append(
            changed(
                pool, **{name: each[inside] for name, each in vars(pool).items() if name != "task"}
            )
        )
    return parts


def coverage(
    design: Design, drawn: Mapping[str, evaluation.ClusterBy], sets: int, resamples: int
) -> None:
    """Print how often the intervals of each way of drawing hold the truth, and their width."""
    large = draw(np.random.default_rng(0), Design(100_000, 10, design.item_sd, 0, design.rater_sd))
    whole = evaluation.bootstrap({"m": [large]}, resamples=0)["m"]
    truth = {name: float(whole[name][0]) for name in METRICS}
    held, width = dict.fromkeys(drawn, np.zeros(len(METRICS))), dict.fromkeys(drawn, 0.0)
    for i in range(sets):
        seeds = test_parts(np.random.default_rng([1, i]), design)
        for way, by in drawn.items():
            sample = [singly(rows) for rows in seeds] if way == ROW else seeds
            found = evaluation.bootstrap({"m": sample}, by, resamples=resamples, seed=i)["m"]
            ends = np.array([evaluation.interval(found[name], name) for name in METRICS])
            inside = [low <= truth[m] <= high for m, (low, high) in zip(METRICS, ends, strict=True)]
            held[way] = held[way] + inside
            width[way] = width[way] + (ends[:, 1] - ends[:, 0]) / sets
    print(f"{sets:,} test sets, {resamples:,} resamples, {design}\n")
    print(f"| drawn | {' | '.join(METRICS)} |\n|{' --- |' * (1 + len(METRICS))}")
    for way in drawn:
        pairs = zip(held[way] / sets, np.atleast_1d(width[way]), strict=True)
        print(f"| {way} | {' | '.join(f'{h:.1%} ({w:.3f})' for h, w in pairs)} |")
    print(f"| true value | {' | '.join(f'{truth[name]:.3f}' for name in METRICS)} |\n", flush=True)


def alarms(design: Design, sets: int, draws: int) -> None:
    """Print how often a calibrated model is said to err, and a model that errs is found."""
    print(f"{sets:,} test sets, {draws:,} draws, {design}\n")
    found = dict.fromkeys(("items", ROW, "any group without correction", "power"), 0)
    last = len(IN_GROUP) - 1  # the smallest group
    for i in range(sets):
        rows = draw(np.random.default_rng([2, i]), design)
        clustered = evaluation.multicalibration([rows], draws=draws, seed=i)
        alone = evaluation.multicalibration([singly(rows)], draws=draws, seed=i)
        found["items"] += clustered.p_value < 0.05
        found[ROW] += alone.p_value < 0.05
        found["any group without correction"] += bool((clustered.p < 0.05).any())
        # The smallest group's probability of the top class is too high by what is detectable.
        error = clustered.detectable[1 + last, -1] * rows.membership[:, last]
        moved = np.minimum(error, rows.p[:, 1])
        p = rows.p + np.stack([0 * moved, -moved, moved], axis=1)
        wrong = evaluation.multicalibration([changed(rows, p=p)], draws=draws, seed=i)
        found["power"] += wrong.p_adjusted[1 + last, -1] < 0.05
    print("| what | share of test sets |\n| --- | --- |")
    print(f"| false alarm in any group, signs per item | {found['items'] / sets:.1%} |")
    print(f"| the same without a correction | {found['any group without correction'] / sets:.1%} |")
    print(f"| false alarm, signs per annotation | {found[ROW] / sets:.1%} |")
    print(f"| an error of the detectable size found | {found['power'] / sets:.1%} |\n", flush=True)


def main() -> None:
    """Print the four tables of docs/uncertainty.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000)
    parser.add_argument("--resamples", type=int, default=500)
    chosen = parser.parse_args()
    coverage(Design(), {"items": "items", ROW: "items"}, chosen.sets, chosen.resamples)
    fewer = chosen.sets // 4  # these take longer
    coverage(Design(n_seeds=5), {"items": "items"}, fewer, chosen.resamples)
    every: Mapping[str, evaluation.ClusterBy] = {
        "items": "items",
        "annotators": "annotators",
        "items and annotators": "items and annotators",
    }
    crossed = Design(n_items=100, per_item=20, item_sd=1.0, n_raters=50, rater_sd=1.0)
    coverage(crossed, every, fewer, chosen.resamples)
    alarms(Design(), chosen.sets, chosen.resamples)


if __name__ == "__main__":
    main()
