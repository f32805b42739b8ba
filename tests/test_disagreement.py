"""Disagreement of groups: means per item and gaps by hand."""

import numpy as np
import pandas as pd

from mcstl.evaluation.disagreement import disagreeing_groups, group_gaps, group_means


def test_group_means_and_gaps_by_hand() -> None:
    values = [0.1, 0.3, 0.9, 0.5, 0.4]
    items = [0, 0, 0, 1, 1]
    members = np.array([[1, 0, 0], [1, 0, 1], [0, 1, 0], [1, 1, 0], [0, 1, 0]], dtype=bool)
    means, counts = group_means(values, items, members, n_items=2)
    np.testing.assert_allclose(means, [[0.2, 0.9, 0.3], [0.5, 0.45, np.nan]])
    assert counts.tolist() == [[2, 1, 1], [1, 2, 0]]
    gaps = group_gaps([means], least_items=1)
    assert [(gap.a, gap.b) for gap in gaps] == [(1, 2), (0, 1), (0, 2)]
    np.testing.assert_allclose([gap.mean for gap in gaps], [0.6, 0.375, 0.1])
    np.testing.assert_allclose(gaps[0].by_item, [0.6, np.nan])
    assert [(gap.a, gap.b) for gap in group_gaps([means], least_items=2)] == [(0, 1)]


def test_a_gap_between_seeds_is_no_gap_between_groups() -> None:
    # Seed 0 has group 0 alone on the second item, seed 1 group 1 alone; no seed sees both differ.
    means = [[[0.2, 0.2], [0.9, np.nan]], [[0.6, 0.6], [np.nan, 0.1]]]
    [gap] = group_gaps(means, least_items=1)
    assert gap.mean == 0
    np.testing.assert_array_equal(gap.by_item, [0, np.nan])


def test_groups_are_compared_within_a_question_and_each_question_has_its_turn() -> None:
    rows = [
        {"item": f"t{item}", "women": women, "age": age, "row": 6 * item + 3 * women + age}
        for item in range(12)
        for women in (0, 1)
        for age in (0, 1, 2)
    ]
    table = pd.DataFrame(rows)
    # Ages lie further apart than women and men, who lie further apart than no pair of ages.
    table["p_1"] = 0.1 + 0.05 * table["women"] + 0.3 * table["age"]
    table["p_0"] = 1 - table["p_1"]
    answers = zip(table["women"], table["age"], strict=True)
    table["groups"] = [[f"gender={'mf'[w]}", f"age={a}"] for w, a in answers]
    table = table.assign(method="m", seed=0, label=0, flipped=False)
    names = ["age=0", "gender=m", "age=1", "gender=f", "age=2"]
    pairs = disagreeing_groups(table, "m", names, 2)
    assert [(pair.a, pair.b) for pair in pairs] == [
        ("age=0", "age=2"),
        ("gender=m", "gender=f"),
        ("age=0", "age=1"),
    ]
    np.testing.assert_allclose([pair.gap for pair in pairs], [0.6, 0.05, 0.3])
