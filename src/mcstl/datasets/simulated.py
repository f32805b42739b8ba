"""Simulated annotations whose P(y | item, groups) is known: everything in them is made up.

Residents of a town say what they think of proposals for its public places. Six value groups stand
evenly around the circle of Schwartz (2012), on which neighbours agree and opposites clash:
openness to change against conservation on one axis, self-transcendence against self-enhancement
on the other. A proposal (opener x action x place x time, 2,304 texts) has an appeal to everybody
and a direction on the circle; both are sums over its parts, some of which say the same in other
words. With S the set of groups that drive an annotation, which may hold several as in Eq. 1,

    score = appeal + sum over k in S of (leniency_k + direction . position_k)

and P(y > t) = sigmoid(score - cut_t): one cut at 0 for binary, ordered cuts for ordered classes.
In preference the score is the difference of two proposals' for the same place (Bradley-Terry,
§2.4). A personal habit with sd `annotator_sd` may be added to every score of an annotator.

People belong to one to three groups, more likely to those that go with their attributes (links as
made up as the rest). Which of them come to mind differs by annotation, whatever the item; only
these are in ``values`` and speak in the rationale, which tells nothing more about the label.

The default of 4,000 annotations is quick, and large enough for a demo: groups see the same
proposal so differently that a model without them is close to guessing. The effects are smooth and
the texts vary in few ways, so that with 100,000 annotations of three ordered classes a small
network on sentence vectors can come within 0.03 (root mean square) of the true probabilities. The
same seed gives the same table on every machine: all chance is from raw PCG64 bits, whose stream
NumPy promises to keep.
"""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, ndtri

from mcstl._support.arrays import BoolArray, FloatArray, IntArray, ObjectArray
from mcstl._support.errors import InputError, did_you_mean, listed
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.datasets.simulated_town import (
    ACTIONS,
    ATTRIBUTES,
    BELONGING,
    GROUPS,
    LENIENCY,
    OPENERS,
    PLACES,
    POSITIONS,
    REASONS,
    TIMES,
)
from mcstl.datasets.source import Source

__all__ = ["GROUPS", "SOURCES", "Simulation", "simulate", "table"]

_PARTS = (OPENERS, ACTIONS, PLACES, TIMES)
_SHAPE = tuple(len(part) for part in _PARTS)
_N_TEXTS = int(np.prod(_SHAPE))
_COMES_TO_MIND = 0.7
_MOST_GROUPS = 3
_CLASSES: dict[Task, tuple[str, ...]] = {
    "binary": ("oppose", "support"),
    "ordinal": ("oppose", "unsure", "support"),
    "preference": ("b", "a"),
}
_CUT_RANGE = 0.7  # ordered cuts are even from -this to +this
_SIZE = 4000
_ITEMS, _ANNOTATORS = 1000, 120
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(60)


@dataclass(frozen=True)
class Simulation:
    """Simulated annotations and the probabilities that they were drawn from.

    Attributes:
        annotations: The table.
        truth: (n, L) P(y | item, groups of the row), in the classes' order. With personal habits
            it is what to expect of somebody new with these groups: the habit is integrated out,
            and a model that knows the annotator can do better.
        items: Names of the m items.
        appeal: (m,) the part of the items' scores that everybody shares.
        pull: (m, K) the part of the items' scores that each value group adds.
        cuts: (T,) the cuts between the classes, on the scale of the scores.
        annotator_sd: Standard deviation of the personal habits.
    """

    annotations: Annotations
    truth: FloatArray
    items: tuple[str, ...]
    appeal: FloatArray
    pull: FloatArray
    cuts: FloatArray
    annotator_sd: float

    def probability(self, items: Sequence[str], values: Sequence[Sequence[str]]) -> FloatArray:
        """Compute the true probabilities of items as sets of value groups see them.

        Args:
            items: Names of m items; a pair is taken in the order of ``annotations.items()``.
            values: S sets of value groups; an empty one sees the item's appeal alone.

        Returns:
            (m, S, L) probabilities of the classes.

        Raises:
            InputError: An item or a group is unknown.

        >>> simulation = simulate("binary", annotations=200)
        >>> item = simulation.items[0]
        >>> simulation.probability([item], [["Security"], ["Security", "Tradition"]]).shape
        (1, 2, 2)
        """
        places = {name: place for place, name in enumerate(self.items)}
        unknown = [item for item in items if item not in places]
        if unknown:
            raise InputError(
                f"{len(unknown)} items are not in the simulation, the first one {unknown[0]!r}."
                f"{did_you_mean(unknown[0], self.items)}"
            )
        rows = [places[item] for item in items]
        members = np.zeros((len(values), len(GROUPS)))
        for row, names in enumerate(values):
            for name in names:
                if name not in GROUPS:
                    raise InputError(
                        f"{name!r} is not a group of the simulation; groups: {listed(GROUPS)}."
                        f"{did_you_mean(name, GROUPS)}"
                    )
                members[row, GROUPS.index(name)] = 1.0
        scores = self.appeal[rows, None] + self.pull[rows] @ members.T
        return _class_probabilities(scores, self.cuts, self.annotator_sd)


def simulate(
    task: Task = "ordinal",
    *,
    annotations: int = _SIZE,
    items: int | None = None,
    annotators: int | None = None,
    classes: int = 3,
    annotator_sd: float = 0.0,
    seed: int = 0,
) -> Simulation:
    """Draw annotations with known probabilities; the model is in this module's docstring.

    Nobody labels an item twice, and every item has the same number of annotations (give or take
    one). In preference every pair is shown either way round by chance, and its class 1 means that
    A is preferred; a personal habit then favours the first text or the second.

    Args:
        task: The task form.
        annotations: How many annotations to draw.
        items: How many items; by default a tenth of `annotations`, at most 1,000.
        annotators: How many people; by default 120, or twice as many as an item has annotations
            if that is more.
        classes: How many ordered classes there are, in ordinal data.
        annotator_sd: Standard deviation of the personal habits, on the scale of the scores.
        seed: Decides everything that is drawn; the same on every machine.

    Returns:
        The annotations and what they were drawn from.

    Raises:
        InputError: The sizes do not fit each other or the texts there are.

    >>> simulation = simulate(annotations=1000)
    >>> bool(np.allclose(simulation.truth.sum(axis=1), 1.0))
    True
    """
    draw = _draw(task, annotations, items, annotators, classes, annotator_sd, seed)
    return Simulation(
        annotations=Annotations.from_frame(
            draw.frame, labels=_labels(task, classes), task=task, source="simulated"
        ),
        truth=draw.truth,
        items=draw.items,
        appeal=draw.appeal,
        pull=draw.pull,
        cuts=draw.cuts,
        annotator_sd=annotator_sd,
    )


def table(task: Task, annotations: int) -> pd.DataFrame:
    """Draw the table of the default simulation, as a source's reader returns one.

    Args:
        task: The task form.
        annotations: How many annotations to draw.

    Returns:
        A row per annotation, for `Annotations.from_frame`.
    """
    return _draw(task, annotations).frame


class _Draw(NamedTuple):
    frame: pd.DataFrame
    truth: FloatArray
    items: tuple[str, ...]
    appeal: FloatArray
    pull: FloatArray
    cuts: FloatArray


def _draw(
    task: Task,
    annotations: int,
    items: int | None = None,
    annotators: int | None = None,
    classes: int = 3,
    annotator_sd: float = 0.0,
    seed: int = 0,
) -> _Draw:
    n, m = annotations, max(1, min(_ITEMS, annotations // 10)) if items is None else items
    n_people = max(_ANNOTATORS, 2 * -(-n // max(m, 1))) if annotators is None else annotators
    _check_sizes(task, n, m, n_people, classes, annotator_sd)
    first, second = _chosen_texts(task, m, seed)
    texts, appeal, pull = _proposals(first)
    if task == "preference":
        second_texts, second_appeal, second_pull = _proposals(second)
        appeal, pull = appeal - second_appeal, pull - second_pull
    people, belongs = _people(n_people, seed)
    item, person = _who_labels_what(n, m, n_people, seed)

    chance = _uniform(seed, "what comes to mind", n, len(GROUPS))
    active = belongs[person] & (chance < _COMES_TO_MIND)
    active[np.arange(n), np.where(belongs[person], chance, 1.0).argmin(axis=1)] = True
    flipped = _flipped(item, seed) if task == "preference" else np.zeros(n, dtype=bool)
    score = np.where(flipped, -1, 1) * (appeal[item] + (pull[item] * active).sum(axis=1))
    cuts = np.linspace(-_CUT_RANGE, _CUT_RANGE, classes - 1) if task == "ordinal" else np.zeros(1)
    habit = annotator_sd * ndtri(_uniform(seed, "habits", n_people))
    above = expit((score + habit[person])[:, None] - cuts)
    label = (_uniform(seed, "labels", n)[:, None] < above).sum(axis=1)

    noun = "pair" if task == "preference" else "proposal"
    names = np.array([f"{noun}-{i:04d}" for i in range(m)], dtype=object)
    columns: dict[str, Any] = {"item": names[item]}
    if task == "preference":
        columns["text_a"] = np.where(flipped, second_texts[item], texts[item])
        columns["text_b"] = np.where(flipped, texts[item], second_texts[item])
    else:
        columns["text"] = texts[item]
    columns["label"] = np.array(list(_labels(task, classes)), dtype=object)[label]
    columns["annotator"] = np.array([f"person-{i:03d}" for i in range(n_people)], dtype=object)[
        person
    ]
    columns["rationale"] = _rationales(active, seed)
    sets = [[g for k, g in enumerate(GROUPS) if code >> k & 1] for code in range(2 ** len(GROUPS))]
    columns["values"] = [sets[code] for code in active @ (1 << np.arange(len(GROUPS)))]
    columns |= {name: values[person] for name, values in people.items()}
    return _Draw(
        frame=pd.DataFrame(columns),
        truth=_class_probabilities(score, cuts, annotator_sd),
        items=tuple(names),
        appeal=appeal,
        pull=pull,
        cuts=cuts,
    )


def _chosen_texts(task: Task, count: int, seed: int) -> tuple[IntArray, IntArray]:
    """Return (count,) numbers of distinct texts, and in preference of second texts of pairs."""
    order = np.argsort(_uniform(seed, "texts", _N_TEXTS), kind="stable")
    if task != "preference":
        return order[:count], order[:0]
    place = np.unravel_index(order, _SHAPE)[_PARTS.index(PLACES)]
    by_place = order[np.argsort(place, kind="stable")].reshape(len(PLACES), -1, 2)
    pairs = by_place.swapaxes(0, 1).reshape(-1, 2)[:count]
    return pairs[:, 0], pairs[:, 1]


def _proposals(numbers: IntArray) -> tuple[ObjectArray, FloatArray, FloatArray]:
    """Return the texts (m,), their appeal (m,), and each group's pull (m, K) with its leniency."""
    picks = np.stack(np.unravel_index(numbers, _SHAPE), axis=1)  # (m, parts)
    texts, traits = [], np.zeros((len(numbers), 3))
    for row, pick in enumerate(picks):
        parts = [options[i] for options, i in zip(_PARTS, pick, strict=True)]
        opener, action, place, time = (text for text, *_ in parts)
        texts.append(opener.format(f"{action.format(place)} {time}"))
        traits[row] = np.sum([numbers for _, *numbers in parts], axis=0)
    pull = LENIENCY + traits[:, 1:] @ POSITIONS.T
    return np.array(texts, dtype=object), traits[:, 0], pull


def _people(count: int, seed: int) -> tuple[dict[str, ObjectArray], BoolArray]:
    """Draw people's attributes, (count,) each, and their one to three groups, (count, K)."""
    attributes, log_odds = {}, np.full((count, len(GROUPS)), BELONGING)
    for name, answers in ATTRIBUTES.items():
        shares = np.cumsum([share for share, _ in answers.values()])
        answer = np.searchsorted(shares[:-1], _uniform(seed, name, count))
        attributes[name] = np.array(list(answers), dtype=object)[answer]
        log_odds += np.array([links for _, links in answers.values()])[answer]
    chance = _uniform(seed, "belonging", count, len(GROUPS))
    margin = log_odds + np.log(chance / (1 - chance))
    rank = (-margin).argsort(axis=1, kind="stable").argsort(axis=1, kind="stable")
    return attributes, (rank == 0) | ((margin > 0) & (rank < _MOST_GROUPS))


def _who_labels_what(n: int, m: int, n_people: int, seed: int) -> tuple[IntArray, IntArray]:
    """Draw (n,) items and people: no pair twice, items equally often, in a random order."""
    order = _uniform(seed, "who", m, n_people).argsort(axis=1, kind="stable")
    wanted = n // m + (np.arange(m) < n % m)
    item, place = np.nonzero(np.arange(n_people) < wanted[:, None])
    rows = np.argsort(_uniform(seed, "rows", n), kind="stable")
    return item[rows], order[item, place][rows]


def _flipped(item: IntArray, seed: int) -> BoolArray:
    """Draw (n,) whether a pair is shown the other way round than in its first row."""
    turned = _uniform(seed, "sides", len(item)) < 0.5
    _, first, codes = np.unique(item, return_index=True, return_inverse=True)
    return np.asarray(turned != turned[first][codes])


def _rationales(active: BoolArray, seed: int) -> ObjectArray:
    choice = _uniform(seed, "reasons", *active.shape)
    texts = np.full(len(active), "", dtype=object)
    for k, group in enumerate(GROUPS):
        reasons = np.array(REASONS[group], dtype=object)
        texts += np.where(
            active[:, k], " " + reasons[(choice[:, k] * len(reasons)).astype(int)], ""
        )
    return np.array([text[1:] for text in texts], dtype=object)


def _class_probabilities(scores: FloatArray, cuts: FloatArray, annotator_sd: float) -> FloatArray:
    """Return (..., L) class probabilities of (...) scores, over a normal habit."""
    margin = scores[..., None] - cuts
    if annotator_sd == 0:
        above = expit(margin)
    else:
        above = np.zeros_like(margin)
        for node, weight in zip(_NODES, _WEIGHTS / _WEIGHTS.sum(), strict=True):
            above += weight * expit(margin + annotator_sd * node)
    ends = np.ones((*scores.shape, 1))
    above = np.concatenate([ends, above, 0 * ends], axis=-1)  # P(y > t) for t = -1 ... L - 1
    return np.asarray(above[..., :-1] - above[..., 1:])


def _uniform(seed: int, what: str, *shape: int) -> FloatArray:
    """Draw uniform numbers inside (0, 1) from a stream that `what` names."""
    entropy = np.random.SeedSequence([seed, zlib.crc32(what.encode())])
    raw = np.random.PCG64(entropy).random_raw(int(np.prod(shape)))
    return np.asarray(((raw >> np.uint64(12)) + 0.5).reshape(shape) * 2.0**-52)


def _labels(task: Task, classes: int) -> dict[str, list[str]]:
    names = _CLASSES[task]
    if task == "ordinal" and classes != len(names):
        names = tuple(str(number) for number in range(1, classes + 1))
    return {name: [name] for name in names}


def _check_sizes(
    task: Task, n: int, m: int, n_people: int, classes: int, annotator_sd: float
) -> None:
    most = _N_TEXTS // 2 if task == "preference" else _N_TEXTS
    if task not in _CLASSES:
        raise InputError(f"task {task!r} is not known; choose from {listed(_CLASSES)}")
    if n < 1:
        raise InputError(f"annotations: expected at least 1; got {n}")
    if not 1 <= m <= most:
        raise InputError(f"items: expected 1 to {most} for task {task}; got {m}")
    if n > m * n_people:
        raise InputError(
            f"{n} annotations are more than {n_people} annotators can give to {m} items, once "
            f"each; set annotators to at least {-(-n // m)}"
        )
    if classes < 2 or (classes != 3 and task != "ordinal"):
        raise InputError(f"classes: expected 2 or more, and only with task ordinal; got {classes}")
    if not (annotator_sd >= 0 and np.isfinite(annotator_sd)):
        raise InputError(f"annotator_sd: expected a number from 0; got {annotator_sd}")


SOURCES = (
    Source(
        name="simulated",
        title="Simulated town proposals with known probabilities: everything in them is made up",
        licence="as mcstl itself",
        homepage="mcstl.datasets.simulated",
        files=(),
        counts={"annotations": _SIZE, "items": _SIZE // 10, "annotators": _ANNOTATORS},
        tasks={task: _labels(task, 3) for task in ("ordinal", "binary", "preference")},
        groups={"by": "taxonomy", "source": "column"},
        read=lambda folder, task: table(task, _SIZE),
        attributes=tuple(ATTRIBUTES),
    ),
)
