"""The laws of the splits."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations, majority_rows, minority_weights
from mcstl.data.splits import Split, SplitBy, official_split, split
from test_annotations import complaint, pairs, rows


def small(n_items: int = 10, per_item: int = 3) -> Annotations:
    n = n_items * per_item
    return Annotations.from_frame(
        pd.DataFrame(
            {
                "item": [f"i{k // per_item}" for k in range(n)],
                "text": [f"text {k // per_item}" for k in range(n)],
                "label": [k % 3 for k in range(n)],
                "annotator": [f"w{k % 7}" for k in range(n)],
            }
        )
    )


def test_split_is_the_same_on_every_machine() -> None:
    data = small()
    held_out: dict[SplitBy, list[list[int]]] = {
        "annotation": [[1, 17, 24], [0, 4, 9, 20, 23, 28]],
        "item": [[3, 4, 5], [0, 1, 2, 12, 13, 14]],
        "annotator": [[1, 8, 15, 22, 29], [0, 7, 14, 21, 28]],
    }
    for by, expected in held_out.items():
        _, *parts = split(data, by, seed=3)
        assert [part.tolist() for part in parts] == expected


@st.composite
def tables(draw: st.DrawFn) -> Annotations:
    """Items with many and few annotations, of annotators with many and few."""
    sizes = draw(st.lists(st.integers(1, 9), min_size=8, max_size=20))
    items = [i for i, size in enumerate(sizes) for _ in range(size)]
    n = len(items)
    annotators = draw(st.lists(st.integers(0, 9), min_size=n, max_size=n))
    labels = draw(st.lists(st.integers(0, 2), min_size=n, max_size=n))
    return Annotations.from_frame(
        pd.DataFrame(
            {
                "item": items,
                # Two items in five share their text with the item before.
                "text": [f"text {i - (i % 5 in (1, 3))}" for i in items],
                "label": labels,
                "annotator": annotators,
            }
        ),
        labels={"low": [0], "middle": [1], "high": [2]},
    )


def split_or_none(data: Annotations, by: SplitBy, seed: int) -> Split | None:
    """The split, or None where a part would be empty or a class would not be in training."""
    try:
        return split(data, by, test=0.25, validation=0.2, seed=seed)
    except InputError:
        return None


@settings(max_examples=40)
@given(tables(), st.sampled_from(["annotation", "item", "annotator"]), st.integers(0, 99))
def test_parts_are_disjoint_cover_all_rows_and_repeat(
    data: Annotations, by: SplitBy, seed: int
) -> None:
    parts = split_or_none(data, by, seed)
    if parts is None:
        return
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(data)))
    for part, again in zip(
        parts, split(data, by, test=0.25, validation=0.2, seed=seed), strict=True
    ):
        assert (np.diff(part) > 0).all()
        assert part.tolist() == again.tolist()
    assert set(data.labels[parts.train]) == {0, 1, 2}


@settings(max_examples=40)
@given(tables(), st.integers(0, 99))
def test_annotation_split_is_stratified_within_rounding(data: Annotations, seed: int) -> None:
    parts = split_or_none(data, "annotation", seed)
    if parts is None:
        return
    whole, held_out, test = (
        np.bincount(data.labels[part], minlength=3)
        for part in (np.arange(len(data)), parts.validation, parts.test)
    )
    assert (np.abs(test - 0.25 * whole) <= 0.5).all()
    assert (np.abs(held_out - 0.2 * (whole - test)) <= 0.5 + 1e-9).all()


@settings(max_examples=40)
@given(tables(), st.sampled_from(["item", "annotator"]), st.integers(0, 99))
def test_nothing_is_on_two_sides_and_shares_are_met_within_half_a_unit(
    data: Annotations, by: SplitBy, seed: int
) -> None:
    parts = split_or_none(data, by, seed)
    if parts is None:
        return
    unit = "text" if by == "item" else "annotator"
    sides = [set(data.frame[unit].iloc[part]) for part in parts]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    largest = data.frame[unit].value_counts().max()
    assert abs(len(parts.test) - 0.25 * len(data)) <= largest / 2
    assert abs(len(parts.validation) - 0.2 * (len(data) - len(parts.test))) <= largest / 2


@settings(max_examples=40)
@given(tables(), st.sampled_from(["item", "annotator"]), st.randoms(use_true_random=False))
def test_assignment_depends_on_who_and_what_not_on_the_order_of_rows(
    data: Annotations, by: SplitBy, random: Any
) -> None:
    parts = split_or_none(data, by, 5)
    if parts is None:
        return
    order = list(range(len(data)))
    random.shuffle(order)
    shuffled = data.take(order)
    for part, again in zip(
        parts, split(shuffled, by, test=0.25, validation=0.2, seed=5), strict=True
    ):
        assert set(data.frame["row"].iloc[part]) == set(shuffled.frame["row"].iloc[again])
    assert minority_weights(shuffled).tolist() == minority_weights(data)[order].tolist()
    assert majority_rows(shuffled).tolist() == majority_rows(data)[order].tolist()


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 25), st.integers(0, 25)), min_size=20, max_size=40))
def test_item_split_of_pairs_keeps_connected_texts_together(drawn: list[tuple[int, int]]) -> None:
    shown = [(f"t{a}", f"t{b}", i % 2) for i, (a, b) in enumerate(drawn)]
    data = Annotations.from_frame(pairs(*shown))
    parts = split_or_none(data, "item", 1)
    if parts is None:
        return
    columns = data.frame[["text_a", "text_b"]]
    sides = [set(columns.iloc[part].to_numpy().ravel()) for part in parts]
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    order = np.random.default_rng(0).permutation(len(data))
    # Read anew, so that names and orientation of pairs come from other rows.
    again = Annotations.from_frame(pairs(*(shown[i] for i in order)))
    found = split(again, "item", test=0.25, validation=0.2, seed=1)
    assert set(order[found.test]) == set(parts.test.tolist())


def test_item_split_leaves_a_component_larger_than_the_share_in_training() -> None:
    # One debate holds most of the texts; the others still make a test part, at every seed.
    shown = [(f"hub {i}", f"hub {i + 1}", i % 2) for i in range(60)]
    shown += [(f"p{i}", f"q{i}", i % 2) for i in range(40)]
    data = Annotations.from_frame(pairs(*shown))
    for seed in range(20):
        parts = split(data, "item", seed=seed)
        assert len(parts.test) == 20
        assert not set(data.frame["text_a"].iloc[parts.test]) & {f"hub {i}" for i in range(60)}


def test_seeds_and_parts_differ() -> None:
    data = small(100)
    tests = [tuple(split(data, seed=seed).test) for seed in range(5)]
    assert len(set(tests)) == 5
    counts = np.zeros(len(data))
    for seed in range(200):
        counts[split(data, "item", seed=seed).test] += 1
    # Each row is in the test part in about 40 of 200 splits (binomial: sd 5.7).
    assert counts.min() > 40 - 5 * 5.7
    assert counts.max() < 40 + 5 * 5.7


def test_validation_may_be_left_out() -> None:
    parts = split(small(), "item", test=0.3, validation=0)
    assert not parts.validation.size
    assert len(parts.train) + len(parts.test) == 30


@pytest.mark.parametrize(
    ("options", "parts"),
    [
        ({"test": 1.0}, ["test is a share from 0 to below 1; got 1.0"]),
        ({"validation": -0.1}, ["validation is a share", "-0.1"]),
        ({"by": "rater"}, ["split by 'rater' is not known", "annotation, item, annotator"]),
    ],
)
def test_bad_options_of_a_split(options: dict[str, Any], parts: list[str]) -> None:
    message = complaint(lambda: split(small(), **options))
    for part in parts:
        assert part in message


def test_split_that_cannot_be_made() -> None:
    nobody = Annotations.from_frame(rows(label=[0, 1] * 10), source="reviews.csv")
    assert complaint(lambda: split(nobody, "annotator")) == (
        "column 'annotator' is not in reviews.csv; found: item, text, label. "
        "Map it with columns: {annotator: ...}, or split by item"
    )
    table = rows(label=[0, 1] * 10, annotator=[None, *"abcdefghijklmnopqrs"])
    somebody = Annotations.from_frame(table, source="reviews.csv")
    assert "1 rows of reviews.csv have no annotator; split by item instead" in complaint(
        lambda: split(somebody, "annotator")
    )
    one_text = Annotations.from_frame(rows(text=["a"] * 10, label=[0, 1] * 5))
    assert "no rows left for validation; there are too few items" in complaint(
        lambda: split(one_text, "item")
    )
    tiny = Annotations.from_frame(rows(label=[0, 1]))
    assert "no rows left for validation; there are too few annotations" in complaint(
        lambda: split(tiny)
    )


def test_class_that_is_empty_in_training_is_named() -> None:
    data = Annotations.from_frame(
        rows(label=[0, 1] * 10), labels={"low": [0], "high": [1], "extreme": [2]}
    )
    assert complaint(lambda: split(data)) == (
        "no training annotation has the label extreme (split by annotation, seed 0); "
        "merge classes in `labels` or use more data"
    )


def with_parts(parts: list[str]) -> Annotations:
    n = len(parts)
    table = pd.DataFrame({"text": [f"text {i}" for i in range(n)], "label": [0, 1] * (n // 2)})
    return Annotations.from_frame(table.assign(part=parts), columns={"split": "part"})


@pytest.mark.parametrize(
    ("words", "sizes"),
    [
        (("train", "dev", "test"), (10, 4, 6)),
        (("Training", "validation", "TEST_EN"), (10, 4, 6)),
        (("train", "train", "test"), (12, 2, 6)),  # a share of the training rows
        (("train", "train", "dev"), (12, 2, 6)),  # a shared task that keeps its test back
    ],
)
def test_official_parts(words: tuple[str, str, str], sizes: tuple[int, int, int]) -> None:
    parts = [words[0]] * 10 + [words[1]] * 4 + [words[2]] * 6
    data = with_parts(parts)
    assert data.attributes == ()
    for seed in (0, 1):
        found = official_split(data, seed=seed)
        assert tuple(map(len, found)) == sizes
        assert list(found.test) == [*range(14, 20)]
        assert sorted(np.concatenate(found)) == [*range(20)]


@pytest.mark.parametrize(
    ("parts", "why"),
    [
        (["train"] * 3 + ["later"], "'later' beside 'text 3'; correct them"),
        (["test"] * 4, r"no row of a table is for train.*it says test\. Split by item"),
        (["train"] * 4, "no row of a table is for test"),
    ],
)
def test_parts_that_are_none(parts: list[str], why: str) -> None:
    with pytest.raises(InputError, match=why):
        official_split(with_parts(parts))


def test_without_a_column_of_parts_the_study_is_told_what_to_type() -> None:
    table = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})
    with pytest.raises(InputError, match=r"split: \{column: NAME\}, or split by item"):
        official_split(Annotations.from_frame(table))
