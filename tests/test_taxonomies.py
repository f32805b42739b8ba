"""Taxonomies are data: whole, of one form, and a user's own is as good."""

from pathlib import Path

import pytest

from mcstl import datasets
from mcstl._support.errors import InputError
from mcstl.labelling import taxonomies
from mcstl.labelling.taxonomies import built_in, load

MINE = """
name: mine
values:
  - {name: Yes, definition: agreeing, keywords: [nod]}
  - {name: No, definition: disagreeing}
"""


def test_what_comes_with_mcstl_is_whole() -> None:
    sizes = {name: len(load(name).values) for name in built_in()}
    assert sizes == {"schwartz": 10, "valueeval": 20, "valueimprint": 7}
    for name in built_in():
        taxonomy = load(name)
        assert taxonomy.name == name
        assert taxonomy.title
        assert "own wording" in taxonomy.source
        assert all(value.definition and len(value.keywords) >= 3 for value in taxonomy.values)


def test_schwartz_has_the_keywords_of_the_paper_and_no_other() -> None:
    """A.4: their number for each value, and those that decide about rights and duties."""
    words = {value.name: value.keywords for value in load("schwartz").values}
    assert [len(words[name]) for name in sorted(words)] == [5, 7, 3, 3, 3, 7, 6, 3, 4, 8]
    assert "respect" in words["Self-direction"]
    assert "respect" in words["Tradition"]
    assert {"beauty", "wisdom", "justice", "harmony"} < set(words["Universalism"])
    assert {"spiritual", "responsible"} < set(words["Benevolence"])
    all_words = {word for each in words.values() for word in each}
    assert not all_words & {"law", "duty", "human rights", "honesty"}


def test_the_twenty_refine_all_of_the_ten() -> None:
    ten, twenty = load("schwartz"), load("valueeval")
    assert taxonomies.refinements("schwartz") == (twenty,)
    assert {each for value in twenty.values for each in value.refines} == {*ten.names}
    for value in twenty.values:
        assert value.refines
        if ":" in value.name:
            assert value.refines == (value.name.split(":")[0],)


def test_the_twenty_are_those_of_the_data(data_dir: Path) -> None:
    data = datasets.load("valueeval23", data_dir=data_dir)
    found = {name for row in data.frame["values"] for name in row}
    assert found == set(load("valueeval").names)


def test_a_taxonomy_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(MINE)
    mine = load(tmp_path / "mine.yaml")
    assert mine.names == ("Yes", "No")
    assert mine.value("Yes").keywords == ("nod",)
    with pytest.raises(InputError, match=r"'Yess' is no value of mine; .*Did you mean 'Yes'"):
        mine.value("Yess")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: x\nvalues: []", "is no taxonomy: values: "),
        ("name: x\nvalues:\n  - {name: a}", r"values\.0\.definition: Field required"),
        ("name: x\nvalues:\n  - {name: a, definition: b, colour: c}", "colour"),
        ("[", "is not YAML"),
        ("plain words", "is no taxonomy: the file"),
        (MINE + "  - {name: No, definition: again}", "names a value twice: No"),
        (MINE + "  - {name: a|b, definition: again}", "cannot hold"),
    ],
)
def test_what_is_no_taxonomy_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=said):
        load(tmp_path / "bad.yaml")


def test_a_name_that_is_near_is_suggested() -> None:
    with pytest.raises(InputError, match=r"no taxonomy 'schwarz'.*Did you mean 'schwartz'"):
        load("schwarz")
