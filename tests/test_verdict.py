"""The verdict in words, from the tests of a study."""

from typing import Any

import pytest

from mcstl.evaluation.verdict import verdict


def cell(
    group: str | None, p: float = 0.5, detectable: float = 0.05, n: int = 400, ecce: float = 0.12
) -> dict[str, Any]:
    return {
        "group": group,
        "threshold": 0,
        "n": n,
        "ecce": ecce,
        "p_adjusted": p,
        "detectable": detectable,
    }


def results(cells: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    return {
        "data": {
            "split": {"by": changes.get("split", "annotation")},
            "groups_not_shown": changes.get("hidden", []),
        },
        "summary": {
            "m": {
                "slope_mean": changes.get("slope", {"mean": 1.0, "low": 0.9, "high": 1.1}),
                "auc": changes.get("auc", {"mean": 0.7, "low": 0.6, "high": 0.8}),
            }
        },
        "use": changes.get("use"),
        "audit": {"methods": {"m": {"multicalibration": {"cells": cells}}}},
        "controls": changes.get("controls", []),
    }


LEAK = {"check": "words of the rationale", "fires": True, "said": "Rationales give it away."}


def test_what_the_split_leaves_open_is_no_leak() -> None:
    seen = {"check": "same text", "fires": True, "said": "Texts were seen."}
    assert verdict(results([cell(None)], controls=[seen]), "m").answer == "yes"
    alone = {"check": "groups alone", "fires": True, "said": "Groups tell the label."}
    assert verdict(results([cell(None)], controls=[alone]), "m").answer == "with care"


def test_all_well_is_yes_and_says_for_whom_and_what_is_not_known() -> None:
    found = verdict(results([cell(None), cell("A"), cell("B")]), "m")
    assert found.answer == "yes"
    text = " ".join(found.sentences)
    assert "may be used as they are for further labels that the same people" in text
    assert "Nothing is known about new texts (--split item) or new people" in text
    assert "In 2 of 2 groups no error was seen" in text


def test_a_group_that_is_off_is_named() -> None:
    found = verdict(results([cell(None), cell("A", p=0.01), cell("B")], split="item"), "m")
    assert found.answer == "with care"
    assert any("Not for A (up to 0.12)" in sentence for sentence in found.sentences)
    assert any("new people (--split annotator)" in sentence for sentence in found.sentences)


def test_an_error_that_only_many_annotations_show_is_no_reason_against() -> None:
    cells = [cell(None, p=0.001, ecce=0.008), cell("A", p=0.001, ecce=0.015), cell("B")]
    view = {"group": "A", "difference": -0.004, "low": -0.006, "high": -0.002}
    found = verdict(results(cells, use={"method": "m", "views": [view]}), "m")
    assert found.answer == "yes"
    text = " ".join(found.sentences)
    assert "below 0.02, too small to matter, is seen for everyone together, A." in text
    assert "In 1 of 2 groups no error was seen" in text
    # Of several thresholds the one that is furthest off speaks for a group.
    several = [cell(None), cell("A", p=0.001, ecce=0.008), cell("A", p=0.04, ecce=0.06)]
    found = verdict(results([*several, cell("A", p=0.03, ecce=0.05)]), "m")
    assert any("Not for A (up to 0.06)" in sentence for sentence in found.sentences)


def test_a_small_group_says_what_to_collect() -> None:
    found = verdict(results([cell(None), cell("A", detectable=0.2, n=100), cell("B")]), "m")
    assert found.answer == "with care"
    assert "collect annotations to test on: about 300 of A" in found.sentences[-1]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"cells": [cell(None, p=0.01)]}, "For everyone together they are off by up to 0.12"),
        ({"slope": {"mean": 0.6, "low": 0.5, "high": 0.7}}, "They are too sure"),
        (
            {"auc": {"mean": 0.6, "low": 0.499, "high": 0.7}},
            "AUC is 0.60 [0.50, 0.70], and guessing",
        ),
        ({"controls": [LEAK]}, "may look better than they are. Rationales give it away."),
    ],
)
def test_what_is_wrong_for_all_is_no(changes: dict[str, Any], words: str) -> None:
    cells = changes.pop("cells", [cell(None)])
    found = verdict(results(cells, **changes), "m")
    assert found.answer == "no"
    assert any(words in sentence for sentence in found.sentences)
    assert "should not be used as they are" in found.sentences[0]


def test_groups_that_are_not_shown_are_spoken_of() -> None:
    found = verdict(results([cell(None)], hidden=["A", "B"]), "m")
    assert found.answer == "with care"
    assert any("Nothing is said of 2 groups of fewer than 5" in each for each in found.sentences)


def test_a_view_that_is_off_is_named_with_its_interval() -> None:
    def view(group: str, difference: float) -> dict[str, Any]:
        ends = {"low": difference - 0.1, "high": difference + 0.1}
        return {"group": group, "difference": difference, **ends}

    use = {"method": "m", "views": [view("A", 0.05), view("1: care, harm", -0.14)]}
    found = verdict(results([cell(None), cell("A")], use=use), "m")
    assert found.answer == "with care"
    off = next(sentence for sentence in found.sentences if "view" in sentence)
    assert "for “1: care, harm” (-0.14 [-0.24, -0.04]), of 2 groups." in off
    other = verdict(results([cell(None), cell("A")], use=use | {"method": "other"}), "m")
    assert other.answer == "yes"
