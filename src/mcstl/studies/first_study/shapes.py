"""Which layout a table seems to have: a row per annotation, or one of the others."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mcstl._support.errors import InputError, listed
from mcstl.data.cells import comparable, is_missing
from mcstl.data.entries import with_entries
from mcstl.data.layouts import Layout, LayoutForm, list_cells, to_long
from mcstl.studies.first_study.columns import Column, column_of, tokens_of
from mcstl.studies.first_study.families import (
    Family,
    are_answers,
    families_of,
    is_country,
    neighbours_like_people,
)
from mcstl.studies.first_study.words import (
    AGGREGATE,
    ANNOTATOR,
    ATTRIBUTE,
    ID,
    LABEL,
    MOST_CLASSES,
    NO_CATEGORY,
    NO_LABEL,
    OFTEN,
    RATIONALE,
    SELDOM,
    TEXT,
    TOTAL,
    VALUES,
)

#: Each row is an item where nearly all rows have a text of their own.
_NEARLY_ALL = 0.9
_LEAST_WIDE, _LEAST_ONE_HOT = 3, 3
#: What stands in a column of 0 and 1, in small letters.
_MARKS = ({"0", "1", "0.0", "1.0"}, {"true", "false"}, {"x", "0"})


class Shape(NamedTuple):
    """The layout that a table seems to have.

    Attributes:
        form: The layout as the study file has it, None for a row per annotation.
        table: The table with a row per annotation.
        made: The columns of `table` that the layout makes and the file has not.
        seen: What was seen, a sentence each.
        label: The column that holds the labels, where the layout needs it mapped.
        several: Whether a row of a one-hot table may have several labels.
    """

    form: LayoutForm | None
    table: pd.DataFrame
    made: frozenset[str]
    seen: tuple[str, ...]
    label: str | None = None
    several: bool = False


def recognise(table: pd.DataFrame, source: str) -> Shape:
    """Guess the layout of a table, and lay it out with a row per annotation.

    Args:
        table: The table as it was read.
        source: Its name.

    Returns:
        The layout, and the table in long form.
    """
    table = entered(table)
    columns = [column_of(table, name) for name in map(str, table.columns)]
    for guess in (_lists, _counts, _wide, _one_hot):
        shape = guess(table, columns, source)
        if shape is not None:
            return shape
    return Shape(None, table, frozenset(), ())


def entered(table: pd.DataFrame) -> pd.DataFrame:
    """Make columns of the entries of objects, as ``text.reply``.

    Args:
        table: The table as it was read.

    Returns:
        The table without the columns that hold the objects.
    """
    texts = [name for name in table.columns if {*tokens_of(str(name))} & TEXT]
    return with_entries(table, apart=texts)


def _unique_texts(columns: Sequence[Column], n_rows: int) -> bool:
    """Whether each row seems to be an item of its own, by its longest texts."""
    prose = [column for column in columns if column.is_prose]
    if not prose:
        return False
    longest = max(prose, key=lambda column: column.length)
    return len(longest.counts) >= _NEARLY_ALL * n_rows


def _lists(table: pd.DataFrame, columns: Sequence[Column], source: str) -> Shape | None:
    """Labels, and perhaps annotators, as lists or objects in cells."""
    sizes: dict[str, tuple[int, ...]] = {}
    mappings = set[str]()
    for column in columns:
        if column.is_prose and not column.lists:
            continue
        cells = list_cells(table[column.name])
        if cells is None:
            continue
        sizes[column.name] = tuple(len(cell) for cell in cells)
        if any(isinstance(cell, dict) for cell in cells):
            mappings.add(column.name)
    by_name = {column.name: column for column in columns}

    def fit(name: str) -> tuple[bool, float, int]:
        aligned = sum(sizes[name] == other for other in sizes.values())
        return name in mappings, by_name[name].share_named(LABEL), aligned

    def with_people(name: str) -> bool:
        return any(by_name[n].words & ANNOTATOR and sizes[n] == sizes[name] for n in sizes)

    def may_be(name: str) -> bool:
        words, n_parts = by_name[name].words, np.array(sizes[name])
        if not words & LABEL or words & (ANNOTATOR | NO_LABEL | AGGREGATE) or n_parts.max() < 2:
            return False
        if name in mappings:
            return _names_people(list_cells(table[name]) or [])
        if with_people(name):
            return True
        # Lists of names without anybody who gave them are rather values; and people agree now and
        # then, so lists that never repeat an answer are several answers of one person.
        cells = [[*map(str, cell)] for cell in list_cells(table[name]) or ()]
        parts = {part for cell in cells for part in cell}
        if not any(len({*cell}) < len(cell) for cell in cells):
            return False
        is_few = len(parts) <= MOST_CLASSES and bool(np.mean(n_parts > 1) >= OFTEN)
        return is_few and not words & VALUES and _unique_texts(columns, len(table))

    # Where a column names one person a row, the lists are of something else.
    if any(c.name not in sizes and _is_person(c) for c in columns):
        return None
    candidates = [name for name in sizes if may_be(name)]
    if not candidates:
        return None
    label = max(candidates, key=fit)
    ours = {label: "label"}
    people = [
        c.name
        for c in columns
        if c.words and c.words <= ANNOTATOR | ID and sizes.get(c.name) == sizes[label]
    ]
    if people:
        ours[people[0]] = "annotator"
    if {*ours.values()} & ({*map(str, table.columns)} - {*ours}):
        return None
    try:
        long, _ = to_long(table.rename(columns=ours), Layout("lists"), source)
    except InputError:
        return None
    long = long.rename(columns={name: theirs for theirs, name in ours.items()})
    made = frozenset({"annotator"} - {*map(str, table.columns)}) & {*long.columns}
    beside = [name for name in sizes if name != label and sizes[name] == sizes[label]]
    with_them = f" beside {listed(beside, 5)}" if beside else ""
    seen = [f"Lists in cells: {label} holds the labels of a text's annotators{with_them}."]
    if made:
        seen.append(f"The annotators are the keys in {label}.")
    elif not people:
        seen.append("No column of lists says who gave the labels, so nobody is known.")
    return Shape("lists", long, made, tuple(seen), label)


def _names_people(cells: Sequence[list[Any] | dict[str, Any]]) -> bool:
    """Whether objects are labels by annotator: few answers, under names that are people's."""
    entries = [cell for cell in cells if isinstance(cell, dict)]
    answers = {str(value) for cell in entries for value in cell.values()}
    names = {name for cell in entries for name in cell}
    same_in_all = all(cell.keys() == names for cell in entries)
    numbered = all(re.fullmatch(r"\D*\d+", name) for name in names)
    return len(answers) <= MOST_CLASSES and (numbered or not same_in_all)


def _whole_numbers(column: Column) -> np.ndarray[Any, np.dtype[np.float64]] | None:
    """The numbers of a column of counts, missing as 0; None if it is anything else."""
    if not column.is_number or column.lists:
        return None
    cells = (0.0 if cell is None else float(comparable(cell)) for cell in column.cells)
    numbers = np.array([*cells], dtype=np.float64)
    is_count = bool(((numbers >= 0) & (numbers == np.round(numbers))).all())
    return numbers if is_count else None


def _counts(table: pd.DataFrame, columns: Sequence[Column], source: str) -> Shape | None:
    """Neighbouring columns of whole numbers whose sum is another column, or the same everywhere."""
    if not _unique_texts(columns, len(table)) or any(map(_is_person, columns)):
        return None
    numbers = [
        None if column.words & (ATTRIBUTE | {"id"}) else _whole_numbers(column)
        for column in columns
    ]
    is_total = [
        bool(column.words & {"total", "sum"}) or column.words <= TOTAL for column in columns
    ]
    best: tuple[int, int, str] | None = None
    for start in range(len(columns)):
        total = np.zeros(len(table))
        for end in range(start, len(columns)):
            here = numbers[end]
            if here is None or is_total[end]:
                break
            total = total + here
            if end == start or total.max() < 2:
                continue
            sums = [
                c.name
                for i, c in enumerate(columns)
                if not start <= i <= end and (n := numbers[i]) is not None and (n == total).all()
            ]
            constant = total.min() == total.max() and end - start >= 1
            key = (bool(sums), end - start)
            is_better = best is None or key > (bool(best[2]), best[1] - best[0])
            if (sums or constant) and is_better:
                best = (start, end, sums[0] if sums else "")
    if best is None:
        return None
    start, end, total_name = best
    names = [column.name for column in columns[start : end + 1]]
    form = {"counts": names}
    shape = _laid_out(form, table, source)
    if shape is None:
        return None
    why = f"their sum is {total_name}" if total_name else "their sum is the same in every row"
    return shape._replace(
        seen=(
            f"Counts of votes: {listed(names)} say how many gave each label ({why}).",
            "Who gave which is not known; each vote is read as an annotation.",
        )
    )


def _is_person(column: Column) -> bool:
    """Whether a column names one annotator in each row."""
    of_a_name = ANNOTATOR | ID
    return bool(column.words & ANNOTATOR) and column.words <= of_a_name and len(column.counts) > 1


def _wide(table: pd.DataFrame, columns: Sequence[Column], source: str) -> Shape | None:
    """A column per annotator: columns with names alike and the same few answers."""
    if any(map(_is_person, columns)) or not _unique_texts(columns, len(table)):
        return None
    families = [f for f in families_of(columns) if len(f.columns) >= 2]
    labels = [family for family in families if are_answers(family)]
    if not labels and not any(_is_labels(column) for column in columns):
        guess = neighbours_like_people(columns)
        labels = [] if guess is None else [guess]
    n_columns = sum(len(family.columns) for family in labels)
    named = len(labels) == 1 and bool({*tokens_of(labels[0].stem)} & (LABEL | ANNOTATOR))
    if not labels or (n_columns < _LEAST_WIDE and not named):
        return None
    first, *others = sorted(labels, key=_rank)
    seen, body = [], dict[str, Any]()
    same = [family for family in others if family.answers & first.answers]
    is_label = bool({*tokens_of(first.stem)} & LABEL)
    if same and not is_label:
        group = "country" if all(is_country(family.stem) for family in (first, *same)) else "group"
        groups = {
            re.sub(r"[\W_]+$", "", family.stem): [c.name for c in family.columns.values()]
            for family in sorted((first, *same), key=lambda f: _place(f, columns))
        }
        body = {"labels": groups, "names": group}
        names = [name for each in groups.values() for name in each]
        seen.append(f"Wide: a column of labels for each person, of {listed(groups)}.")
        seen.append(f"The attribute {group} is the first part of their names.")
    else:
        names = [column.name for column in first.columns.values()]
        body = {"labels": names}
        seen.append(f"Wide: a column of labels for each of {len(names)} people.")
        if not first.stem:
            seen.append(
                f"A GUESS: {listed(names, 6)} hold the same answers. If these are questions,"
            )
            seen.append("not people: take layout away, and map one of them as label.")
        if others:
            seen.append(
                "Left out, other questions: "
                f"{listed(c.name for f in others for c in f.columns.values())}."
            )
    if all(is_country(name) for name in names):
        body["names"] = "country"
        seen = [f"Wide: a column of labels for each of {len(names)} countries."]
    beside = dict[str, list[str]]()
    for family in families:
        if family.columns.keys() == first.columns.keys() and family not in labels and not same:
            cells = [c.name for c in family.columns.values()]
            beside[_meaning(family)] = cells
    body |= beside
    if beside:
        seen.append(f"Beside each label: {listed(beside)}.")
    full = not first.of_people and all(
        table[name].map(lambda cell: not is_missing(cell)).all() for name in names
    )
    if full and is_label and "annotator" not in beside and body.keys() == {"labels"}:
        body["names"] = "none"
        seen[0] = f"Wide: {len(names)} labels for each text, in a column each."
        seen.append("If each column is one person throughout, take away names: none.")
    form = {"wide": body if len(body) > 1 or not isinstance(body["labels"], list) else names}
    shape = _laid_out(form, table, source)
    return None if shape is None else shape._replace(seen=tuple(seen))


def _rank(family: Family) -> tuple[bool, int]:
    words = {*tokens_of(family.stem)}
    return not words & (LABEL | ANNOTATOR), -len(family.columns)


def _place(family: Family, columns: Sequence[Column]) -> int:
    names = [column.name for column in columns]
    return min(names.index(column.name) for column in family.columns.values())


def _meaning(family: Family) -> str:
    words = {*tokens_of(family.stem)}
    columns = family.columns.values()
    if words & RATIONALE or all(column.is_prose for column in columns):
        return "rationale"
    if words & ANNOTATOR and not words & ATTRIBUTE:
        return "annotator"
    return family.stem


def _one_hot(table: pd.DataFrame, columns: Sequence[Column], source: str) -> Shape | None:
    """Several 0/1 columns, each a label."""
    text = max((c for c in columns if c.is_prose), key=lambda c: c.length, default=None)
    if text is None or any(_is_judgement(column, text) for column in columns):
        return None
    people = next((c for c in columns if c.words & ANNOTATOR and len(c.counts) > 1), None)
    columns = [_without_gaps(column) for column in columns]
    runs: list[list[Column]] = [[]]
    for column in columns:
        answers = {cell.casefold() for cell in column.counts.index}
        is_mark = (
            any(answers <= marks for marks in _MARKS)
            and bool(answers)
            and not column.words & (ATTRIBUTE | NO_CATEGORY)
            and (people is None or not column.varies_within(people.cells) <= SELDOM)
        )
        if is_mark:
            runs[-1].append(column)
        elif runs[-1]:
            runs.append([])
    run = max(runs, key=len)
    judged = any(not c.varies_within(text.cells) <= SELDOM for c in run)
    if len(run) < _LEAST_ONE_HOT or not judged:
        return None
    names = [column.name for column in run]
    marks = np.column_stack([[comparable(c or "0") in (1.0, "x") for c in r.cells] for r in run])
    several = float((marks.sum(axis=1) > 1).mean())
    if several <= SELDOM:
        shape = _laid_out({"one-hot": names}, table, source)
        one = f"One-hot: each row has one of {listed(names)}, or none."
        return None if shape is None else shape._replace(seen=(one,))
    shape = _laid_out({"one-hot": names}, table, source, several=True)
    seen = (
        f"One-hot: each row may have several of {listed(names, 30)} ({several:.0%} do),",
        "so each is a question of its own. Leave out those that are none.",
    )
    return None if shape is None else shape._replace(seen=seen, several=True)


def _without_gaps(column: Column) -> Column:
    """Take empty cells beside crosses for 0."""
    crosses = {cell.casefold() for cell in column.counts.index} == {"x"}
    return replace(column, cells=column.cells.fillna("0")) if crosses else column


def _is_judgement(column: Column, text: Column) -> bool:
    """Whether a column by itself holds labels, by its name and since it has few answers."""
    return _is_labels(column) and column.varies_within(text.cells) != 0


def _is_labels(column: Column) -> bool:
    named = column.share_named(LABEL) and not column.words & (NO_LABEL | RATIONALE | ANNOTATOR)
    return bool(named) and column.has_few


def _laid_out(
    form: LayoutForm, table: pd.DataFrame, source: str, *, several: bool = False
) -> Shape | None:
    layout = Layout.parse(form)
    taken = {"label"} & {*map(str, table.columns)} - {*layout.columns}
    if taken:
        return None
    try:
        long, _ = to_long(table, layout, source, several=several)
    except InputError:
        return None
    made = frozenset(map(str, long.columns)) - frozenset(map(str, table.columns)) | {"label"}
    return Shape(form, long, made, ())
