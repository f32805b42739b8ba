"""Numbers about people become bands, whose edges are the training rows'."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcstl._support.errors import InputError
from mcstl.data.annotations import Annotations
from mcstl.groups import AttributesConfig, fit_scheme, load_scheme
from mcstl.groups.bands import band_names, quantile_edges


def people(ages: list[object]) -> Annotations:
    n = len(ages)
    table = pd.DataFrame({"text": [f"text {i}" for i in range(n)], "label": [0, 1] * (n // 2)})
    column = pd.Series(ages, dtype=object)
    return Annotations.from_frame(table.assign(age=column, gender=["a", "b"] * (n // 2)))


def test_given_edges_and_a_number_of_bands() -> None:
    data = people([18, 29, "30.0", 49, 50, None, "n/a", 71])
    config = AttributesConfig(min_size=1, bands={"age": (50, 30)}, attributes=("age",))
    scheme = fit_scheme(config, data)
    assert scheme.names == ("age=below 30", "age=30 to below 50", "age=50 and above")
    expected = [[1, 0, 0]] * 2 + [[0, 1, 0]] * 2 + [[0, 0, 1], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    assert scheme.assign(data).toarray().tolist() == expected
    two = fit_scheme(AttributesConfig(min_size=1, bands={"age": 2}, attributes=("age",)), data)
    assert two.names == ("age=below 49", "age=49 and above")


def test_edges_are_those_of_the_training_rows_and_are_saved() -> None:
    scheme = fit_scheme(AttributesConfig(min_size=1), people([*range(20, 60)]))
    state, arrays = scheme.state()
    new = people([19.5, 33.0, 90, "old"])
    for each in (scheme, load_scheme(state, arrays)):
        bands = [name for name in each.names if name.startswith("age")]
        assert bands == ["age=below 33", "age=33 to below 47", "age=47 and above"]
        assert each.assign(new).toarray()[:, :3].tolist() == [
            [1, 0, 0],
            [0, 1, 0],
            [0, 0, 1],
            [0, 0, 0],
        ]


def test_few_numbers_and_words_stay_as_they_are() -> None:
    data = people([1, 2, 3, 4] * 5)
    names = fit_scheme(AttributesConfig(min_size=1), data).names
    assert names[:4] == ("age=1", "age=2", "age=3", "age=4")


@pytest.mark.parametrize(
    ("bands", "why"),
    [
        ({"agee": 3}, "attribute 'agee' is not in a table.*Did you mean 'age'.*`bands` names it"),
        ({"gender": 3}, "'gender' of a table holds what is no number, as 'a'"),
    ],
)
def test_bands_of_what_is_no_number(bands: dict[str, Any], why: str) -> None:
    with pytest.raises(InputError, match=why):
        fit_scheme(AttributesConfig(min_size=1, bands=bands), people([1, 2, 3, 4]))


@given(st.lists(st.integers(-9, 9).map(float), min_size=1, max_size=60), st.integers(2, 6))
def test_bands_part_the_numbers_evenly(numbers: list[float], n_bands: int) -> None:
    edges = quantile_edges(np.array(numbers), n_bands)
    assert len(edges) < n_bands
    assert list(edges) == sorted(set(edges))
    assert len({*band_names(edges)}) == len(edges) + 1
    sizes = np.bincount(np.searchsorted(edges, numbers, side="right"), minlength=len(edges) + 1)
    assert sizes.min() > 0
    largest = max(numbers.count(number) for number in numbers)
    assert sizes.max() <= 2 * (len(numbers) / n_bands + largest)
