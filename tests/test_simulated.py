"""The simulated data: what is drawn follows the probabilities that it states."""

import hashlib
import json

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.data.labels import Task
from mcstl.data.splits import split
from mcstl.datasets.simulated import GROUPS, Simulation, simulate

FORMS: tuple[Task, ...] = ("binary", "ordinal", "preference")


@pytest.fixture(scope="module", params=FORMS)
def large(request: pytest.FixtureRequest) -> Simulation:
    return simulate(request.param, annotations=30_000)


def onehot(data: Annotations) -> npt.NDArray[np.float64]:
    return np.eye(len(data.classes))[data.labels]


def memberships(data: Annotations) -> npt.NDArray[np.bool_]:
    return np.array([[group in row for group in GROUPS] for row in data.frame["values"]])


def test_one_proposal_worked_by_hand() -> None:
    simulation = simulate("binary", annotations=2304, items=2304)
    items = simulation.annotations.items().set_index("text")["item"]
    item = items["We should install security cameras at the swimming pool from next month on."]
    # Appeal -0.1 + 0.1, direction (-0.75, -0.5) + (0, 0.1); Security is at 210 degrees, so that it
    # gains 0.75 * 0.8660 + 0.4 * 0.5 and loses its leniency of 0.55: sigmoid(0.2995). Tradition,
    # at 270 degrees, adds 0.4 - 0.2: sigmoid(0.4995).
    views = [["Security"], ["Security", "Tradition"], []]
    p = simulation.probability([item], views)
    assert p.shape == (1, 3, 2)
    assert p[0, :, 1] == pytest.approx([0.574324, 0.622344, 0.5], abs=1e-5)


def test_ordered_classes_worked_by_hand() -> None:
    simulation = simulate(annotations=2304, items=2304)
    items = simulation.annotations.items().set_index("text")["item"]
    item = items["We should install security cameras at the swimming pool from next month on."]
    # The cuts are -0.7 and 0.7: sigmoid(0.2995 + 0.7) and sigmoid(0.2995 - 0.7).
    p = simulation.probability([item], [["Security"]])[0, 0]
    assert p == pytest.approx([1 - 0.730960, 0.730960 - 0.401194, 0.401194], abs=1e-5)


def test_a_pair_is_the_difference_of_its_proposals() -> None:
    single = simulate("binary", annotations=2304, items=2304)
    named = single.annotations.items().set_index("text")["item"]
    pairs = simulate("preference", annotations=100)
    views = [["Achievement"], ["Benevolence", "Universalism", "Security"]]
    shown = pairs.annotations.items()
    a, b = (single.probability(named[shown[side]].tolist(), views) for side in ("text_a", "text_b"))
    p = pairs.probability(shown["item"].tolist(), views)
    logit = [np.log(x[..., 1] / x[..., 0]) for x in (a, b, p)]
    assert logit[2] == pytest.approx(logit[0] - logit[1])


@pytest.mark.parametrize("task", FORMS)
def test_a_seed_gives_the_same_table_everywhere(task: Task) -> None:
    first, again = simulate(task, annotations=500), simulate(task, annotations=500)
    assert first.annotations.frame.equals(again.annotations.frame)
    assert (first.truth == again.truth).all()
    other = simulate(task, annotations=500, seed=1)
    assert not first.annotations.frame["label"].equals(other.annotations.frame["label"])
    # A sum over the whole table, so that another machine or version that differs is seen.
    table = json.dumps(first.annotations.frame.to_dict("list"), default=str)
    expected = {"binary": "cf0b32bc09fd", "ordinal": "5641fbbedd94", "preference": "f4b9a79b303b"}
    assert hashlib.sha256(table.encode()).hexdigest()[:12] == expected[task]


@settings(max_examples=25)
@given(
    task=st.sampled_from(FORMS),
    n=st.integers(1, 300),
    items=st.integers(1, 60) | st.none(),
    seed=st.integers(0, 5),
    annotator_sd=st.sampled_from([0.0, 1.5]),
)
def test_every_size_keeps_its_promises(
    task: Task, n: int, items: int | None, seed: int, annotator_sd: float
) -> None:
    simulation = simulate(task, annotations=n, items=items, annotator_sd=annotator_sd, seed=seed)
    data = simulation.annotations
    assert len(data) == len(simulation.truth) == n
    assert data.dropped == {}
    assert (simulation.truth > 0).all()
    assert simulation.truth.sum(axis=1) == pytest.approx(np.ones(n))
    sizes = data.frame["item"].value_counts()
    assert sizes.max() - sizes.min() <= 1
    assert not data.frame.duplicated(["item", "annotator"]).any()
    assert data.frame["values"].map(len).between(1, 3).all()
    assert set(data.frame["item"]) <= set(simulation.items)
    for name in data.attributes:
        assert data.frame.groupby("annotator")[name].nunique().max() == 1


def test_the_number_of_classes_can_be_chosen() -> None:
    simulation = simulate("ordinal", annotations=2000, classes=5)
    assert simulation.annotations.classes == ("1", "2", "3", "4", "5")
    assert simulation.truth.shape == (2000, 5)
    assert (np.bincount(simulation.annotations.labels) > 100).all()


def test_labels_follow_the_truth(large: Simulation) -> None:
    """Pearson's chi-square of counts in cells of similar truth, for each class."""
    observed = onehot(large.annotations)
    for c in range(observed.shape[1]):
        p = large.truth[:, c]
        cell = np.searchsorted(np.quantile(p, np.linspace(0, 1, 21)[1:-1]), p)
        gap = np.bincount(cell, observed[:, c] - p)
        variance = np.bincount(cell, p * (1 - p))
        assert chi2.sf((gap**2 / variance).sum(), len(gap)) > 1e-3


def test_nothing_else_tells_the_label(large: Simulation) -> None:
    """Given the truth, neither who said it nor how predicts the label: no leak."""
    frame = large.annotations.frame
    error = (onehot(large.annotations) - large.truth)[:, -1]
    variance = large.truth[:, -1] * (1 - large.truth[:, -1])
    for name in ("item", "annotator", "rationale", *large.annotations.attributes):
        cells = frame[name].factorize()[0]
        gap, spread = np.bincount(cells, error), np.bincount(cells, variance)
        usual = spread > 5
        assert chi2.sf((gap**2 / spread)[usual].sum(), usual.sum()) > 1e-3, name


def test_the_truth_of_a_row_is_the_probability_of_its_item_and_values(large: Simulation) -> None:
    frame = large.annotations.frame.head(40)
    p = large.probability(frame["item"].tolist(), frame["values"].tolist())
    own = p[np.arange(40), np.arange(40)]
    turned = frame["flipped"].to_numpy()
    assert np.where(turned[:, None], own[:, ::-1], own) == pytest.approx(large.truth[:40])


def test_a_swapped_pair_has_the_complement() -> None:
    simulation = simulate("preference", annotations=3000, annotator_sd=1.0)
    frame = simulation.annotations.frame
    rows = frame.assign(key=frame["values"].map("|".join), p=simulation.truth[:, 1])
    sides = rows.pivot_table(index=["item", "key"], columns="flipped", values="p").dropna()
    assert len(sides) > 100
    assert sides[True].to_numpy() == pytest.approx(1 - sides[False].to_numpy())
    first, again = (rows[rows["flipped"] == side].drop_duplicates("item") for side in (False, True))
    both = first.merge(again, on="item", suffixes=("", "_turned"))
    assert (both["text_a"] == both["text_b_turned"]).all()
    assert (both["text_b"] == both["text_a_turned"]).all()


def test_pairs_are_about_one_place_and_share_no_text() -> None:
    data = simulate("preference", annotations=2000, items=1000).annotations
    texts = data.items()[["text_a", "text_b"]].to_numpy().ravel()
    assert len(set(texts)) == 2000
    places = ("library", "pool", "school", "museum", "station", "garden")
    for a, b in texts.reshape(-1, 2):
        assert [place in a for place in places] == [place in b for place in places]
    assert len(split(data, "item", seed=0).test) == pytest.approx(400, abs=5)


def test_groups_overlap_and_go_with_attributes(large: Simulation) -> None:
    frame = large.annotations.frame
    member = memberships(large.annotations)
    assert (member.sum(axis=1) > 1).mean() > 0.2
    assert (member.mean(axis=0) > 0.08).all()
    assert frame["values"].map(str).groupby(frame["annotator"]).nunique().max() > 3
    for name, expected in {"age": 0.3, "region": 0.2, "gender": 0.1}.items():
        common = frame[name].value_counts().loc[lambda sizes: sizes > 1000].index
        rates = np.array([member[frame[name] == answer].mean(axis=0) for answer in common])
        assert np.ptp(rates, axis=0).max() > expected
    old = member[frame["age"] == "60+", GROUPS.index("Tradition")].mean()
    young = member[frame["age"] == "18-29", GROUPS.index("Tradition")].mean()
    assert old > young + 0.2


def test_rationales_are_said_by_the_groups_that_came_to_mind(large: Simulation) -> None:
    frame = large.annotations.frame
    alone = frame[frame["values"].map(len) == 1]
    said = alone.assign(group=alone["values"].str[0]).groupby("rationale")["group"].nunique()
    assert len(said) == 4 * len(GROUPS)
    assert (said == 1).all()


def test_groups_matter(large: Simulation) -> None:
    """The best model without groups, the item's mean truth, is far from the truth."""
    turned = large.annotations.frame["flipped"].to_numpy()
    truth = np.where(turned[:, None], large.truth[:, ::-1], large.truth)
    items = large.annotations.frame["item"].factorize()[0]
    means = np.stack(
        [np.bincount(items, column) / np.bincount(items) for column in truth.T], axis=1
    )
    gain = (truth * np.log(truth / means[items])).sum(axis=1).mean()
    assert gain > 0.05  # nats per annotation


def test_the_truth_is_marginal_over_personal_habits() -> None:
    still = simulate("binary", annotations=60_000, items=50, annotators=2000)
    moved = simulate("binary", annotations=60_000, items=50, annotators=2000, annotator_sd=2.0)
    # Same items, people and groups; a habit pulls every marginal probability towards one half.
    assert still.items == moved.items
    assert (abs(moved.truth - 0.5) <= abs(still.truth - 0.5) + 1e-12).all()
    habits = np.random.default_rng(0).normal(scale=2.0, size=20_000)
    logit = np.log(still.truth[:5, 1] / still.truth[:5, 0])
    sampled = (1 / (1 + np.exp(-logit[:, None] - habits))).mean(axis=1)
    assert moved.truth[:5, 1] == pytest.approx(sampled, abs=0.01)
    # The population's labels follow it, and people differ by more than chance around it.
    error = onehot(moved.annotations)[:, 1] - moved.truth[:, 1]
    assert abs(error.mean()) < 0.03
    people = moved.annotations.frame["annotator"].factorize()[0]
    spread = np.bincount(people, moved.truth[:, 0] * moved.truth[:, 1])
    assert (np.bincount(people, error) ** 2 / spread).mean() > 3


def test_probability_takes_only_what_it_knows() -> None:
    simulation = simulate(annotations=50)
    with pytest.raises(InputError, match=r"1 items are not in the simulation, .*'proposal-9'"):
        simulation.probability([simulation.items[0], "proposal-9"], [["Security"]])
    with pytest.raises(InputError, match=r"'security' is not a group .* Did you mean 'Security'"):
        simulation.probability(simulation.items, [["security"]])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"annotations": 0}, "expected at least 1; got 0"),
        ({"items": 0}, "expected 1 to 2304 for task ordinal; got 0"),
        ({"items": 2305}, "expected 1 to 2304"),
        ({"task": "preference", "items": 1153}, "expected 1 to 1152 for task preference"),
        ({"annotations": 101, "items": 10, "annotators": 10}, "annotators to at least 11"),
        ({"classes": 1}, "expected 2 or more"),
        ({"task": "binary", "classes": 4}, "only with task ordinal"),
        ({"annotator_sd": -1.0}, "expected a number from 0"),
        ({"annotator_sd": float("nan")}, "expected a number from 0"),
        ({"task": "nominal"}, "task 'nominal' is not known"),
    ],
)
def test_sizes_that_cannot_be_had(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        simulate(**options)  # type: ignore[arg-type]
