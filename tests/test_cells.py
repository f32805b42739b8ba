"""One rule says when two cells are the same answer, wherever they come from."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcstl.data.annotations import Annotations
from mcstl.data.cells import as_first_written, comparable, first_spellings, identifier, shown
from mcstl.groups import AttributesConfig, TaxonomyConfig, fit_scheme
from mcstl.groups.combined import GroupsConfig

#: Ways of writing a whole number, and of writing a word.
NUMBERS: tuple[Callable[[int], object], ...] = (
    *(int, float, str, np.int64, np.float32, lambda n: f"{n}.0", lambda n: f" {n} "),
    *(lambda n: f"{n}.00", lambda n: f"{float(n)}"),
)
WORDS: tuple[Callable[[str], object], ...] = (
    *(str, str.upper, str.title, str.swapcase, lambda w: f" {w}\t"),
)


@given(st.integers(-1000, 1000), st.sampled_from(NUMBERS), st.sampled_from(NUMBERS))
def test_a_number_is_the_same_however_it_is_written(
    number: int, one: Callable[[int], object], other: Callable[[int], object]
) -> None:
    assert comparable(one(number)) == comparable(other(number)) == number
    assert shown(one(number)) == str(number)
    assert comparable(one(number)) != comparable(other(number + 1))


@given(
    st.text("abcxyz ß", min_size=1).filter(str.strip),
    st.sampled_from(WORDS),
    st.sampled_from(WORDS),
)
def test_a_word_is_the_same_in_any_case(
    word: str, one: Callable[[str], object], other: Callable[[str], object]
) -> None:
    assert comparable(one(word)) == comparable(other(word))


@pytest.mark.parametrize(
    ("cells", "n"),
    [
        ([True, "true", "TRUE", 1, "1", 1.0, np.True_], 1),
        ([False, "False", 0, "0.0", -0.0], 1),
        (["1_0", "10"], 2),
        (["nan", "NaN ", "infinity"], 2),
        (["9007199254740993", "9007199254740992"], 2),
        (["02139", 2139], 1),
        (["on", "one", "1st"], 3),
    ],
)
def test_what_is_the_same_answer(cells: list[object], n: int) -> None:
    assert len({comparable(cell) for cell in cells}) == n


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text())))
def test_a_column_has_one_spelling_per_answer(cells: list[object]) -> None:
    column = pd.Series(cells, dtype=object)
    written = as_first_written(column)
    assert set(written) - {None} == set(first_spellings(column).values())
    again = as_first_written(pd.Series(written, dtype=object))
    assert again.tolist() == written.tolist()


def test_identifiers_are_as_they_are_written() -> None:
    cells = [7, 7.0, "7", "7.0", "007", "7a", "7.00", "1.10", "U1", "u1", -3.0]
    names = ["7", "7", "7", "7", "007", "7a", "7.00", "1.10", "U1", "u1", "-3"]
    assert [identifier(cell) for cell in cells] == names


def spelt_otherwise(table: pd.DataFrame) -> pd.DataFrame:
    """Write a table as pandas does once a cell is empty, and as other people type."""
    other = table.copy()
    for name in ("age_code", "annotator"):
        other[name] = [f"{cell}.0" for cell in table[name]]
    other["label"] = [bool(label) for label in table["label"]]
    other["gender"] = [f" {cell.upper()}" for cell in table["gender"]]
    other["values"] = [cell.lower() for cell in table["values"]]
    return other


@pytest.mark.parametrize(
    "groups",
    [
        AttributesConfig(attributes=("age_code", "gender"), min_size=1),
        AttributesConfig(attributes=("age_code", "gender"), crossed=True, min_size=1),
        TaxonomyConfig(min_size=1),
        TaxonomyConfig(taxonomy="schwartz", merge=True, min_size=1),
    ],
)
def test_another_spelling_is_in_the_same_groups(groups: GroupsConfig) -> None:
    table = pd.DataFrame(
        {
            "text": [f"text {i}" for i in range(12)],
            "label": [i % 2 for i in range(12)],
            "age_code": [i % 3 for i in range(12)],
            "gender": [("Woman", "Man", "Non-binary & more")[i // 4] for i in range(12)],
            "annotator": [i % 5 for i in range(12)],
            "values": [("Security: personal", "Care|Face")[i % 2] for i in range(12)],
        }
    )
    train = Annotations.from_frame(table)
    new = Annotations.from_frame(spelt_otherwise(table))
    scheme = fit_scheme(groups, train)
    membership = scheme.assign(train).toarray()
    assert membership.any(axis=1).all()
    assert np.array_equal(scheme.assign(new).toarray(), membership)
    assert list(new.labels) == list(train.labels)
    assert list(new.frame["annotator"]) == list(train.frame["annotator"])
    # Both spellings in one table are one group, shown as first written.
    both = Annotations.from_frame(pd.concat([table, spelt_otherwise(table)], ignore_index=True))
    assert fit_scheme(groups, both).names == scheme.names


def test_zeros_before_a_name_make_another_person() -> None:
    table = pd.DataFrame(
        {"text": list("abcd"), "label": [0, 1, 0, 1], "annotator": ["007", "7", "7.0", None]}
    )
    assert list(Annotations.from_frame(table).frame["annotator"]) == ["007", "7", "7", None]


@pytest.mark.parametrize(
    ("raw", "classes", "labels"),
    [
        (["Yes", "no", "YES", "No "], ("no", "Yes"), [1, 0, 1, 0]),
        ([True, 0, "false", 1], ("0", "True"), [1, 0, 0, 1]),
        (["TRUE", "False", "true", "false"], ("False", "TRUE"), [1, 0, 1, 0]),
        (["1", 0.0, "1.0", "0"], ("0", "1"), [1, 0, 1, 0]),
        (["Often", "never", "OFTEN", "sometimes"], ("never", "sometimes", "Often"), [2, 0, 2, 1]),
        (["not toxic", "Toxic", "toxic", "Not toxic"], ("not toxic", "Toxic"), [0, 1, 1, 0]),
    ],
)
def test_labels_are_read_however_they_are_spelt(
    raw: list[object], classes: tuple[str, ...], labels: list[int]
) -> None:
    data = Annotations.from_frame(pd.DataFrame({"text": list("abcd"), "label": raw}))
    assert (data.classes, list(data.labels), len(data.dropped)) == (classes, labels, 0)
