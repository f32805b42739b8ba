"""Columns that belong together by their names: one per annotator, per country, per question."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from mcstl.data.cells import comparable
from mcstl.studies.first_study.columns import Column, tokens_of
from mcstl.studies.first_study.words import (
    AGGREGATE,
    ANNOTATOR,
    ATTRIBUTE,
    COUNTRY,
    ID,
    LABEL,
    MOST_CLASSES,
    MOST_WORDS,
    NO_LABEL,
    RATIONALE,
    TEXT,
    VALUES,
)

#: Words that no person is called by.
_NO_NAME = AGGREGATE | ATTRIBUTE | ID | LABEL | NO_LABEL | RATIONALE | TEXT | VALUES
_LEAST_NEIGHBOURS = 3


class Family(NamedTuple):
    """Columns whose names differ in a word or a number.

    Attributes:
        stem: What their names have in common.
        columns: The columns by what they differ in.
        of_people: Whether they differ in what looks like the names of people.
    """

    stem: str
    columns: dict[str, Column]
    of_people: bool = False

    @property
    def answers(self) -> set[float | str]:
        """The distinct answers in the columns."""
        return {comparable(cell) for each in self.columns.values() for cell in each.counts.index}


def families_of(columns: Sequence[Column]) -> list[Family]:
    """Find columns with names alike: ``ann_1`` and ``ann_2``, ``label Ada`` and ``label Ben``.

    Args:
        columns: The columns of a table.

    Returns:
        The families, those of a single column among them.
    """
    numbered: dict[str, dict[str, Column]] = {}
    for column in columns:
        match = re.fullmatch(r"(.*?)[\s_.-]*(\d+|(?<=[\s_.-])[A-Za-z])", column.name)
        if match and match[1]:
            numbered.setdefault(match[1].rstrip(" _.-"), {})[match[2]] = column
    families = [Family(stem, members) for stem, members in numbered.items()]
    used = {c.name for f in families if len(f.columns) > 1 for c in f.columns.values()}
    named = [] if _has_countries(columns) else _named(columns, used)
    families += named
    used |= {c.name for f in named for c in f.columns.values()}
    by_word: dict[str, dict[str, Column]] = {}
    for column in columns:
        if column.name in used:
            continue
        for word in column.words & (LABEL | ANNOTATOR | {"hate"}):
            by_word.setdefault(word, {})[column.name] = column
    countries = {
        column.name: column
        for column in columns
        if column.name not in used and is_country(column.name)
    }
    families += [Family(word, members) for word, members in by_word.items()]
    if len(countries) > 1:
        families.append(Family("country", countries))
    return families


def neighbours_like_people(columns: Sequence[Column]) -> Family | None:
    """Find neighbouring columns that hold the same few answers and are called as people are.

    Args:
        columns: The columns of a table that has a row per text.

    Returns:
        The family of the most columns; None where there are not three.
    """
    runs: list[dict[str, Column]] = [{}]
    for column in columns:
        has_answers = column.has_few and not column.is_date
        if has_answers and _is_name(column.name) and not column.words & _NO_NAME:
            runs[-1][column.name] = column
        elif runs[-1]:
            runs.append({})
    family = Family("", max(runs, key=len), of_people=True)
    enough = len(family.columns) >= _LEAST_NEIGHBOURS
    # 0 and 1 rather say which of several things is so.
    return family if enough and are_answers(family) and family.answers - {0.0, 1.0} else None


def _has_countries(columns: Sequence[Column]) -> bool:
    return sum(is_country(column.name) for column in columns) > 1


def _named(columns: Sequence[Column], used: set[str]) -> list[Family]:
    """Columns called after a word for labels or reasons and a name each, as label_Ada."""
    found: dict[tuple[str, bool], dict[str, Column]] = {}
    for column in columns:
        words = [] if column.name in used else re.split(r"[\s_.-]+", column.name)
        if len(words) < 2:
            continue
        for key, stem, in_front in (
            (words[-1], " ".join(words[:-1]), False),
            (words[0], " ".join(words[1:]), True),
        ):
            if _is_name(key) and {*tokens_of(stem)} & (LABEL | RATIONALE):
                found.setdefault((stem, in_front), {})[key] = column
    return [
        Family(stem, members, of_people=True)
        for (stem, _), members in found.items()
        if len(members) > 1
    ]


def _is_name(word: str) -> bool:
    """Whether each part of a name begins with a capital letter, as Ada, J. Smith and AB."""
    return all(part[:1].isupper() for part in word.split()) and not {*tokens_of(word)} & _NO_NAME


def is_country(name: str) -> bool:
    """Say whether a column is called after a country, beside words for labels.

    Args:
        name: The name of the column.

    Returns:
        True if nothing else is in it.
    """
    words = [word.casefold() for word in re.split(r"[\W_]+", name) if word]
    rest = [w for w in words if w not in LABEL and w not in ("hate", "label") and not w.isdigit()]
    return bool(rest) and " ".join(rest) in COUNTRY


def are_answers(family: Family) -> bool:
    """Say whether columns hold the same few answers each, as labels by several people do.

    Args:
        family: The columns.

    Returns:
        True if they can be labels of one question.
    """
    columns = list(family.columns.values())
    words = frozenset(word for column in columns for word in column.words)
    if words & (ATTRIBUTE | NO_LABEL - {"number"}) or any(c.lists or c.is_prose for c in columns):
        return False
    named = family.of_people or all(is_country(column.name) for column in columns)
    if {*tokens_of(family.stem)} <= LABEL | {"hate"} and family.stem and not named:
        # Columns that share no more than a word ask different questions.
        return False
    sets = [{comparable(cell) for cell in column.counts.index} for column in columns]
    union = set[float | str]().union(*sets)
    most = MOST_CLASSES if all(isinstance(value, float) for value in union) else MOST_WORDS
    return 2 <= len(union) <= most and all(
        not each or len(each & _others(sets, i)) >= len(each) / 2 for i, each in enumerate(sets)
    )


def _others(sets: Sequence[set[float | str]], i: int) -> set[float | str]:
    return set[float | str]().union(*(each for j, each in enumerate(sets) if j != i))
