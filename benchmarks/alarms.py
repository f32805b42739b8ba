"""How often the test of multicalibration errs: python benchmarks/alarms.py (minutes on one core).

A calibrated model's test sets are drawn anew again and again: what is hidden in each item and each
person moves all of their labels, and the model's probabilities are right on average over what is
hidden. Printed is, per design, how often any group is called off, and how often an error of the
size that the test calls detectable is found: the labels of the smallest
group (of five people or more) are drawn from chances that are off by so much.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from mcstl import evaluation
from mcstl._support.arrays import BoolArray, FloatArray, IntArray
from mcstl.evaluation import Predictions


@dataclass(frozen=True)
class Design:
    """How a test set is drawn.

    Attributes:
        items: Number of items.
        per_item: Annotations of each.
        people: Number of people; 0: every annotation has one of its own.
        item_sd: Standard deviation of what is hidden in an item, in log odds.
        person_sd: That of what is hidden in a person.
        cuts: Log odds of the thresholds: above 0 for rare labels.
        members: Chance of a person (an annotation, without people) to be in each group.
    """

    items: int = 200
    per_item: int = 10
    people: int = 0
    item_sd: float = 1.0
    person_sd: float = 0.0
    cuts: tuple[float, ...] = (0.0,)
    members: tuple[float, ...] = (0.5, 0.3, 0.2, 0.1)


DESIGNS = {
    "50 items x 10": Design(50),
    "500 items x 10": Design(500),
    "3% positives, 100 items x 10": Design(100, cuts=(4.4,)),
    "8% positives, groups of 20 rows": Design(100, cuts=(3.2,), members=(0.5, 0.02, 0.02, 0.02)),
    "20 people, 200 items x 10": Design(people=20, person_sd=1.0),
    "60 people, 200 items x 10": Design(people=60, person_sd=1.0),
    "260 people, 260 items x 10": Design(260, people=260, person_sd=1.0),
    "23 groups, three classes, 260 people": Design(
        260, people=260, person_sd=0.7, cuts=(-0.6, 0.9), members=tuple(np.linspace(0.05, 0.6, 23))
    ),
}


def draw(random: np.random.Generator, design: Design) -> Predictions:
    """Draw a test set and the calibrated model's predictions of it."""
    item = np.repeat(np.arange(design.items), design.per_item)
    n = len(item)
    n_people = design.people or n
    person = random.integers(n_people, size=n) if design.people else np.arange(n)
    members = (random.random((n_people, len(design.members))) < design.members)[person]
    effects = np.linspace(0.6, -0.6, len(design.members)) / np.sqrt(len(design.members) / 4)
    seen = random.normal(0, 1, design.items)[item] + members @ effects
    hidden = random.normal(0, design.item_sd, design.items)[item]
    hidden += random.normal(0, design.person_sd, n_people)[person]
    scores = (seen + hidden)[:, None] - np.array(design.cuts)
    labels: IntArray = (random.random((n, 1)) < expit(scores)).sum(axis=1)
    return Predictions(
        p=predicted(seen, design),
        labels=labels,
        membership=members,
        minority=np.zeros(n, dtype=bool),
        items=item,
        annotators=person,
        task="ordinal" if len(design.cuts) > 1 else "binary",
    )


def predicted(seen: FloatArray, design: Design) -> FloatArray:
    """Return the class probabilities, averaged over what is hidden."""
    points, weights = np.polynomial.hermite_e.hermegauss(41)
    spread = np.hypot(design.item_sd, design.person_sd)
    above = [
        expit(seen[:, None] - cut + spread * points) @ weights / weights.sum()
        for cut in design.cuts
    ]
    return -np.diff(np.stack([np.ones(len(seen)), *above, np.zeros(len(seen))], axis=1), axis=1)


def moved(
    rows: Predictions, inside: BoolArray, by: float, random: np.random.Generator
) -> Predictions:
    """Move a group's true chance of the top class by an error on average."""
    level = rows.p[:, -1]
    sign = 1 if level[inside].mean() < 0.5 else -1
    shifts = np.linspace(0, 1, 2001)
    means = [np.abs(np.clip(level[inside] + sign * s, 0, 1) - level[inside]).mean() for s in shifts]
    to = np.clip(level + sign * np.interp(by, means, shifts), 0, 1)
    labels, top = rows.labels.copy(), rows.p.shape[1] - 1
    if sign > 0:
        flips = (labels < top) & (random.random(len(level)) < (to - level) / (1 - level))
        labels[flips & inside] = top
    else:
        flips = (labels == top) & (random.random(len(level)) < (level - to) / level)
        labels[flips & inside] = top - 1
    return Predictions(**{**vars(rows), "labels": labels})


def false_alarms(design: Design, sets: int) -> tuple[float, FloatArray]:
    """Count how often any group of a calibrated model is called off.

    The rank of what is observed among the draws has the same chance however many draws there are,
    so that few are enough.

    Args:
        design: The design.
        sets: How many test sets are drawn.

    Returns:
        The share of sets, and the mean of the estimated correlations, (2,).
    """
    tests = [
        evaluation.multicalibration(
            [draw(np.random.default_rng([3, i]), design)], draws=100, seed=i
        )
        for i in range(sets)
    ]
    share = float(np.mean([each.p_value < 0.05 for each in tests]))
    return share, np.mean([each.correlations for each in tests], axis=0)


def power(design: Design, sets: int, draws: int) -> float:
    """Count how often an error of the size that is called detectable is found.

    Args:
        design: The design.
        sets: How many test sets are drawn.
        draws: How many draws the test has.

    Returns:
        The share of sets, of those with a group of which something is said.
    """
    is_found = []
    for i in range(sets):
        rows = draw(np.random.default_rng([3, i]), design)
        tested = evaluation.multicalibration([rows], draws=draws, seed=i)
        sizes = np.append(np.inf, rows.membership.sum(axis=0))
        group = int(np.argmin(np.where(np.isnan(tested.detectable[:, -1]), np.inf, sizes)))
        if group:
            error = float(tested.detectable[group, -1])
            wrong = moved(rows, rows.membership[:, group - 1], error, np.random.default_rng([4, i]))
            again = evaluation.multicalibration([wrong], draws=draws, seed=i)
            is_found.append(again.p_adjusted[group, -1] < 0.05)
    return float(np.mean(is_found))


def main() -> None:
    """Print one Markdown row per design."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", type=int, default=1000, help="for false alarms")
    parser.add_argument("--found", type=int, default=300, help="sets for what is found")
    parser.add_argument("--draws", type=int, default=300, help="of the test, for what is found")
    parser.add_argument("--only", default="", help="designs whose name contains this")
    chosen = parser.parse_args()
    print("| design | false alarms | detectable is found | correlations |")
    print("| --- | --- | --- | --- |")
    for name, design in DESIGNS.items():
        if chosen.only in name:
            alarms, correlations = false_alarms(design, chosen.sets)
            found = f"{power(design, chosen.found, chosen.draws):.1%}" if chosen.found else "-"
            by = correlations.round(2).tolist()
            print(f"| {name} | {alarms:.1%} | {found} | {by} |", flush=True)


if __name__ == "__main__":
    main()
