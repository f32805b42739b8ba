"""The groups that a first study has, and what would make others."""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from mcstl._support import files
from mcstl._support.errors import brief, listed
from mcstl.data.cells import comparable
from mcstl.data.columns import KNOWN_COLUMNS
from mcstl.groups.small_groups import FEW_PEOPLE
from mcstl.studies.first_study.columns import Column, names_of
from mcstl.studies.first_study.guessed import GuessedTable
from mcstl.studies.first_study.words import (
    AGGREGATE,
    ANNOTATOR,
    ATTRIBUTE,
    ID,
    LABEL,
    MOST_CLASSES,
    MOST_GROUPS,
    OFTEN,
    PREFERENCE,
    SET_UP,
    TRAINING_SHARE,
    VALUES,
)

#: Numbers about people with at least as many different values are cut into bands.
_LEAST_NUMBERS, _BANDS = 4, 3
#: A column tells the label if it is right about this share of rows, or of what the texts tell.
_ALMOST_ALL, _MOST_OF_TEXTS = 0.98, 0.8
_LEAST_TOLD, _LEAST_CORRELATION = 0.1, 0.9


def guess_groups(guessed: GuessedTable) -> tuple[object, list[str]]:
    """Guess the groups of a study.

    Args:
        guessed: The table, its texts, labels, annotators, rationales and values guessed.

    Returns:
        The ``groups`` of the study file, and comments on them and on their alternatives.
    """
    options: list[tuple[str, dict[str, object]]] = []
    if "values" in guessed.guesses:
        column = guessed.guesses["values"].column
        size = _min_size(guessed.n_rows, names_in(column))
        options.append(
            (
                f"A group for each name in {brief(column.name)}",
                {"by": "taxonomy", "source": "column", "min_size": size},
            )
        )
    if "rationale" in guessed.guesses:
        column = guessed.guesses["rationale"].column
        k = min(5, max(2, len(column.counts) // 20))
        options.append(
            (
                f"{k} clusters of what is written in {brief(column.name)}",
                {"by": "rationale", "k": k},
            )
        )
    attributes, of_set_up = _attributes(guessed)
    why = "A group for each answer to these questions about the annotators"
    if not attributes and not options and not of_set_up and guessed.annotators is None:
        attributes = _what_is_left(guessed)
        why = "A GUESS: a group for each value of what is neither text nor label"
    if attributes:
        options.append((why, _by_attributes(guessed, attributes)))
    best: object = "none"
    if options:
        (why, best), *rest = options
        small = "; those with less than min_size training rows are left out"
        comments = [f"{why}{small if 'min_size' in str(best) else ''}."]
        comments += [f"Or: {why}: groups: {files.flow(config)}" for why, config in rest]
    else:
        comments = _why_none(guessed)
    if of_set_up:
        comments.append(
            "The same in all rows of a person, but of how the study was run or too thin to make "
            f"groups: {listed(names_of(of_set_up))}."
        )
    if unused := _unused(guessed, [*attributes, *of_set_up]):
        comments.append(f"Not used: {listed(unused, 30)}.")
    comments += [
        f"{brief(column.name)} seems to hold lists separated by {by!r}: write | instead to use it "
        "as values."
        for column in guessed.left
        if column.words & VALUES and not column.is_prose and (by := wrong_separator(column))
    ]
    return best, comments


def _unused(guessed: GuessedTable, in_groups: Sequence[Column]) -> list[str]:
    """The names of columns that hold something, and of which the study says nothing else."""
    named = {name for guess in guessed.guesses.values() for name in guess.alternatives}
    named |= {*names_of(in_groups), *guessed.leaks}
    return [
        column.name
        for column in guessed.left
        if column.name not in named and len(column.counts) > 1 and column.name not in guessed.made
    ]


def find_leaks(guessed: GuessedTable) -> tuple[str, ...]:
    """Find the columns that give the label away, as the majority's label of each text does.

    Args:
        guessed: The table, its texts, labels and annotators guessed.

    Returns:
        The names of the columns.
    """
    if "label" not in guessed.guesses:
        return ()
    label = guessed.guesses["label"].column.cells
    rest = label.notna().to_numpy()
    base = float(label.value_counts(normalize=True).max())
    of_texts = _told_by(guessed.shown, label)
    leaks = []
    for column in guessed.left:
        is_persons = column.is_of(guessed.annotators)
        if is_persons or column.is_prose or not rest.any():
            continue
        told = _told_by(column.cells, label)
        is_texts = column.varies_within(guessed.shown) == 0
        few = len(column.counts) <= MOST_CLASSES
        tells_texts = told - base >= _MOST_OF_TEXTS * (of_texts - base) > _LEAST_TOLD * (1 - base)
        if (
            (is_texts and bool(column.words & AGGREGATE))
            or (few and told >= _ALMOST_ALL and base < _ALMOST_ALL - _LEAST_TOLD)
            or (few and is_texts and tells_texts)
            or (few and _follows(label, column))
            or abs(_correlation(column.cells, label)) >= _LEAST_CORRELATION
        ):
            leaks.append(column.name)
    return tuple(leaks)


def _follows(label: pd.Series, column: Column) -> bool:
    """Whether a column is the label in coarser words."""
    told, most = _told_by(label, column.cells), column.counts.max() / column.counts.sum()
    return told >= _ALMOST_ALL and bool(most < _ALMOST_ALL - _LEAST_TOLD)


def names_in(column: Column) -> pd.Series:
    """Count the names in a column of names separated by |.

    Args:
        column: The column.

    Returns:
        How often each name occurs, the most frequent first.
    """
    names = column.cells.dropna().str.split("|").explode().str.strip()
    return names[names != ""].value_counts()


def _told_by(column: pd.Series, label: pd.Series) -> float:
    """The share of rows whose label is the most frequent one where the column says the same."""
    table = pd.crosstab(column.fillna("").to_numpy(dtype=object), label.to_numpy(dtype=object))
    return float(table.max(axis=1).sum() / max(table.to_numpy().sum(), 1))


def _correlation(column: pd.Series, label: pd.Series) -> float:
    pairs = [
        (x, y)
        for a, b in zip(column, label, strict=True)
        if a is not None
        and b is not None
        and isinstance(x := comparable(a), float)
        and isinstance(y := comparable(b), float)
    ]
    if len(pairs) < len(column) / 2 or len({x for x, _ in pairs}) < 3:
        return 0.0
    x, y = np.array(pairs).T
    return float(np.corrcoef(x, y)[0, 1]) if x.std() and y.std() else 0.0


def wrong_separator(column: Column) -> str:
    """Find the sign other than | that separates names in many cells.

    Args:
        column: The column.

    Returns:
        The sign, or nothing.
    """
    shares = {by: column.cells.str.contains(by, regex=False).mean() for by in ";,"}
    return next((by for by, share in shares.items() if share > OFTEN), "")


def _why_none(guessed: GuessedTable) -> list[str]:
    known = (
        "Only who gave a label is known" if guessed.annotators is not None else "Nobody is known"
    )
    comments = [
        f"NO GROUPS: no column says whose view a label is. {known}; see methods.",
        "Add rationales, values (as Care|Honesty) or attributes of people (as gender), then:",
        "groups: {by: rationale, k: 5}",
        "groups: {by: taxonomy, source: column}",
        "groups: {by: attributes, attributes: [gender]}",
    ]
    if reasons := guessed.comments_on_texts:
        names = listed(names_of(reasons), 5)
        comments.append(f"If one of these says why a label was given, it is a rationale: {names}")
    return comments


def _by_attributes(guessed: GuessedTable, attributes: Sequence[Column]) -> dict[str, object]:
    people = guessed.annotators
    # A band of fewer people than five is shown nowhere.
    n_bands = _BANDS if people is None or people.nunique() >= _BANDS * FEW_PEOPLE else 2
    bands = {column.name: n_bands for column in attributes if _needs_bands(column)}
    sizes = [
        min(guessed.n_rows // (4 * n_bands), 100)
        if column.name in bands
        else _min_size(guessed.n_rows, column.counts)
        for column in attributes
    ]
    size = next((each for each in (100, 50, 20, 10, 5) if each <= min(sizes)), 2)
    config: dict[str, object] = {"by": "attributes", "attributes": [*names_of(attributes)]}
    return config | ({"bands": bands} if bands else {}) | {"min_size": size}


def _needs_bands(column: Column) -> bool:
    return column.is_number and len(column.counts) >= _LEAST_NUMBERS


def _attributes(guessed: GuessedTable) -> tuple[list[Column], list[Column]]:
    """Columns that make groups of annotators, and others that are the same for a person."""
    usable, others = [], []
    for column in guessed.left:
        of_person = column.is_of(guessed.annotators)
        in_text = column.varies_within(guessed.shown)
        if column.words & ATTRIBUTE:
            unknown = math.isnan(column.varies_within(guessed.annotators))
            is_persons = of_person or unknown
        else:
            is_persons = of_person and in_text != 0
        if not is_persons or len(column.counts) < 2 or column.lists:
            continue
        is_made = column.name in guessed.made
        if column.name in guessed.leaks or (
            column.name not in guessed.file_columns and not is_made
        ):
            continue
        if column.words <= ANNOTATOR | ID:  # another name of the same person
            continue
        named = bool(column.words & ATTRIBUTE)
        told = named or is_made or not column.words & (SET_UP | ID)
        if told and _makes_groups(guessed, column):
            usable.append(column)
        else:
            others.append(column)
    return usable, others


def _what_is_left(guessed: GuessedTable) -> list[Column]:
    """Columns that may be about people where it is not known who they are."""
    label = guessed.guesses.get("label")
    answers = set() if label is None else {*label.column.counts.index}
    return [
        column
        for column in guessed.left
        if not column.words & (LABEL | PREFERENCE | ID | AGGREGATE)
        and column.name not in guessed.leaks
        and column.name in guessed.file_columns
        and column.varies_within(guessed.shown) != 0
        # The same answers are rather another rater's label.
        and len(answers & {*column.counts.index}) < len(column.counts) / 2
        and not (column.is_number and len(column.counts) >= _LEAST_NUMBERS)
        and _makes_groups(guessed, column)
    ]


def _makes_groups(guessed: GuessedTable, column: Column) -> bool:
    """Whether two or more values are frequent, and together those of most rows."""
    if column.lists or column.is_date:
        return False
    if column.name in (*KNOWN_COLUMNS, "row", "flipped"):  # read as another thing
        return False
    if _needs_bands(column):
        return bool(column.cells.notna().mean() >= 0.5)
    if not 2 <= len(column.counts) <= MOST_GROUPS:
        return False
    size = _min_size(guessed.n_rows, column.counts)
    kept = column.counts[column.counts * TRAINING_SHARE >= size]
    return len(kept) > 1 and bool(kept.sum() >= guessed.n_rows / 2)


def _min_size(n_rows: int, counts: pd.Series) -> int:
    """Return a round size, small for small tables, that leaves two or more groups if any does."""
    second = TRAINING_SHARE * sorted(counts, reverse=True)[:2][-1]
    most = min(TRAINING_SHARE * n_rows / 20, second)
    return next((size for size in (100, 50, 20, 10, 5) if size <= most), 2)
