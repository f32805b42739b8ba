"""The layouts of tables: how the annotations of a table become a row each.

A study file says it as ``layout``::

    layout: long                                # a row per annotation: nothing is changed
    layout: {wide: [ann_1, ann_2, ann_3]}       # a row per item, a column per annotator
    layout: lists                               # a row per item; label and annotator hold lists
    layout: {counts: [calm, mixed, angry]}      # a row per item; how many gave each label
    layout: {one-hot: [joy, anger, neutral]}    # a row per annotation, a 0/1 column per label

What each may say beyond that: see `Layout`.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Self, get_args

import numpy as np
import pandas as pd

from mcstl._support.arrays import BoolArray, IntArray, ObjectArray
from mcstl._support.errors import InputError, brief, did_you_mean, listed, need_names
from mcstl.data.cells import (
    comparable,
    is_missing,
    literal,
    mapped,
    objects,
    says_nothing,
)
from mcstl.data.row_numbers import Source

#: The column of positions in the table as it was read, which every layout carries along where it
#: is there. No file names a column so.
POSITION = "\0position"
Shape = Literal["long", "wide", "lists", "counts", "one-hot"]
#: A layout as it stands in a study file.
LayoutForm = str | Mapping[str, Any]

_EXAMPLES = {
    "wide": "layout: {wide: [ann_1, ann_2]}",
    "counts": "layout: {counts: [calm, angry]}",
    "one-hot": "layout: {one-hot: [joy, anger, neutral]}",
}
_FORMS = f"the layouts are layout: long, layout: lists, {', '.join(_EXAMPLES.values())}"
#: One-hot rows with several labels are dropped and counted up to this share.
_FEW_WITH_SEVERAL = 0.05
#: Columns that belong to the whole item, whatever they hold.
_OF_THE_ITEM = (POSITION, "row", "item", "text", "text_a", "text_b", "values", "split")
_SEPARATORS = ("|", ";", ",")
#: Plain text with commas is a list where what stands between them is this short.
_MOST_WORDS_OF_A_NAME = 3
#: What may stand in a 0/1 column.
_YES, _NO = (1.0, "true", "yes", "x"), (0.0, "false", "no")


@dataclass(frozen=True)
class Layout:
    """How the annotations of a table are laid out.

    Attributes:
        shape: long, wide, lists, counts or one-hot.
        labels: The columns that hold labels; in counts and one-hot their names are the labels.
        names: In wide, what the columns' names are: annotators, or an attribute as ``country``, or
            none where they mean nothing, as the numbers of slots.
        of_group: In wide, the group of each of the columns where ``labels`` are given by group, as
            in ``{wide: {labels: {target: [t1, t2], control: [c1]}, names: group}}``; then `names`
            is the attribute, and the columns are the annotators.
        beside: In wide, further columns that go with each label, as in
            ``{wide: {labels: [label_1, label_2], rationale: [why_1, why_2]}}``.
        ask: In one-hot, the one label that is asked about: the annotation's label is 1 where it is
            set and 0 elsewhere. Needed where rows may have several.
    """

    shape: Shape = "long"
    labels: tuple[str, ...] = ()
    names: str = "annotator"
    of_group: tuple[str, ...] = ()
    beside: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    ask: str | None = None

    @classmethod
    def parse(cls, form: LayoutForm | None) -> Self:
        """Read a layout as it stands in a study file.

        Args:
            form: The name of a shape, or a mapping from it to what it needs; None for long.

        Returns:
            The layout.

        Raises:
            InputError: It is no layout; the message says which there are.
        """
        shape, body = _shape_and_body(form)
        if shape in ("long", "lists"):
            return cls(shape)
        if not isinstance(body, Mapping):
            body = {"labels": body}
        further = {str(key): value for key, value in body.items() if key != "labels"}
        labels, of_group = body.get("labels"), tuple[str, ...]()
        if shape == "wide" and isinstance(labels, Mapping):
            of_group = tuple(str(group) for group, each in labels.items() for _ in _names(each))
            labels = [name for each in labels.values() for name in _names(each)]
        columns = _names(labels)
        if len(columns) < 2 or len({*columns}) < len(columns):
            raise InputError(
                f"layout: {shape} needs two or more columns, each once, as in {_EXAMPLES[shape]}; "
                f"got {brief(labels)}"
            )
        names, ask = "group" if of_group else "annotator", None
        if shape == "wide":
            names = str(further.pop("names", names))
        elif shape == "one-hot":
            ask = further.pop("ask", None)
            if ask is not None and str(ask) not in columns:
                near = did_you_mean(str(ask), columns)
                raise InputError(f"layout: ask names one of {listed(columns)}; got {ask!r}.{near}")
        if shape != "wide" and further:
            raise InputError(f"layout: {shape} does not know {listed(further)}")
        beside = {key: _names(value) for key, value in further.items()}
        for key, value in beside.items():
            if len(value) != len(columns):
                raise InputError(
                    f"layout: {key} goes with labels, so it needs {len(columns)} columns; "
                    f"got {listed(value) or 'none'}"
                )
        return cls(shape, columns, names, of_group, beside, None if ask is None else str(ask))

    @property
    def columns(self) -> tuple[str, ...]:
        """The table's columns that the layout names, which are no attributes."""
        return (*self.labels, *(name for names in self.beside.values() for name in names))


def to_long(
    table: pd.DataFrame,
    layout: Layout,
    source: str,
    *,
    several: bool = False,
    answers: Iterable[object] = (),
) -> tuple[pd.DataFrame, dict[str, int]]:
    """Turn a table of any layout into one with a row per annotation.

    Args:
        table: The table, its columns under our names; lists need ``label``.
        layout: Its layout.
        source: What the table was read from, for messages.
        several: Whether an annotation may have several labels: then one-hot makes lists.
        answers: Raw labels that are answers although they look like none, as ``?`` may be. Other
            cells of label columns that say that there is no answer, as ``n/a``, are empty cells.

    Returns:
        The table with a row per annotation, ``label`` among its columns and ``annotator`` where
        the layout tells it, in the order of the rows; and rows that hold no annotation, by reason.

    Raises:
        InputError: The table has not this layout; the message names row and column.
    """
    if layout.shape == "long":
        return table, {}
    source = Source(source)
    need_names(layout.columns, table.columns, source, hint="`layout` names it")
    turn: dict[str, Callable[[pd.DataFrame, Layout, Source], tuple[pd.DataFrame, dict[str, int]]]]
    turn = {"wide": _wide, "lists": _lists, "counts": _counts, "one-hot": _one_hot}
    if layout.shape != "lists" and "label" in table.columns and "label" not in layout.columns:
        raise InputError(
            f"layout: {layout.shape} makes the column label of {listed(layout.labels, 4)}, and "
            f"{source} has another one; take label out of `columns`, or rename it"
        )
    meant = {*map(comparable, answers)}
    table = table.assign(**{name: _without_markers(table[name], meant) for name in layout.labels})
    if several and layout.shape == "one-hot" and layout.ask is None:
        long, dropped = _marked_lists(table, layout, source)
    else:
        long, dropped = turn[layout.shape](table, layout, source)
    if long.empty:
        raise InputError(f"{source}, read as {layout.shape}, has no labels; is that its layout?")
    return long.reset_index(drop=True), {why: n for why, n in dropped.items() if n}


def parts_of(cell: object, separator: str = "") -> list[Any] | dict[str, Any]:
    """Take a cell that holds several answers apart.

    Args:
        cell: A list, a mapping, JSON or Python or NumPy that is written as text, or text.
        separator: What stands between the answers of plain text; without it text is one answer.

    Returns:
        The answers; a mapping, as from annotators to labels, stays one.

    >>> parts_of("[1 2]"), parts_of("['a', 'b']"), parts_of("1, 2", ","), parts_of('{"Ann1": "0"}')
    ([1, 2], ['a', 'b'], ['1', '2'], {'Ann1': '0'})
    """
    if isinstance(cell, Mapping):
        return {str(key): value for key, value in cell.items()}
    if isinstance(cell, list | tuple | set | np.ndarray):
        return list(cell)
    if is_missing(cell):
        return []
    if not isinstance(cell, str):
        return [cell]
    text = cell.strip()
    if text[0] in "[{" and text[-1] in "]}":
        return _literal(text)
    if not separator:
        return [cell]
    if separator == " ":
        return text.split()
    return [part.strip() for part in text.split(separator)]


def separator_of(column: pd.Series) -> str:
    """Find what stands between the answers in the cells of a column.

    Args:
        column: The column.

    Returns:
        The sign, a blank between numbers, or "" where cells hold no lists as plain text.
    """
    texts = [cell.strip() for cell in column if isinstance(cell, str) and cell.strip()]
    plain = [text for text in texts if text[0] not in "[{"]
    for sign in _SEPARATORS:
        if any(sign in text for text in plain):
            return sign
    return " " if plain and all(re.fullmatch(r"[-\d.]+( [-\d.]+)*", text) for text in plain) else ""


def list_cells(column: pd.Series) -> list[list[Any] | dict[str, Any]] | None:
    """Take the cells of a column apart, if they seem to be lists or objects.

    Args:
        column: The column.

    Returns:
        The parts of each cell; None if cells hold one answer each.
    """
    cells = _parts(column)
    several = any(len(cell) > 1 for cell in cells)
    as_written = any(map(_is_list, column))
    words = (len(str(part).split()) for cell in cells for part in cell)
    is_names = as_written or max(words, default=0) <= _MOST_WORDS_OF_A_NAME
    return cells if several and is_names else None


def _shape_and_body(form: LayoutForm | None) -> tuple[Shape, Any]:
    shape, body = form or "long", None
    if isinstance(form, Mapping):
        if len(form) != 1:
            raise InputError(f"layout: got {listed(form) or 'nothing'}; {_FORMS}")
        ((shape, body),) = form.items()
    if shape not in get_args(Shape):
        near = did_you_mean(str(shape), get_args(Shape))
        raise InputError(f"layout: {brief(shape)!r} is not known; {_FORMS}.{near}")
    if (shape in _EXAMPLES) != (body is not None):
        needs = "needs columns" if shape in _EXAMPLES else "takes nothing beside it"
        raise InputError(f"layout: {shape} {needs}; {_FORMS}")
    return shape, body  # type: ignore[return-value]  # checked above


def _names(value: object) -> tuple[str, ...]:
    one = isinstance(value, str) or not isinstance(value, Sequence)
    return () if value is None else tuple(map(str, [value] if one else value))  # type: ignore


def _without_markers(column: pd.Series, meant: Collection[float | str]) -> pd.Series:
    """Empty the cells that say that there is no answer, unless they are meant as answers."""

    def or_none(cell: object) -> object:
        is_marker = isinstance(cell, str) and says_nothing(cell) and comparable(cell) not in meant
        return None if is_marker else cell

    return objects(mapped(column, or_none)).set_axis(column.index)


def _wide(
    table: pd.DataFrame, layout: Layout, source: Source
) -> tuple[pd.DataFrame, dict[str, int]]:
    n, k = len(table), len(layout.labels)

    def across(columns: Sequence[str]) -> pd.Series:
        return objects(table[[*columns]].to_numpy(dtype=object).ravel())

    rest = table.drop(columns=[*{*layout.columns}])
    long = rest.iloc[np.repeat(np.arange(n), k)].reset_index(drop=True)
    long["label"] = across(layout.labels)
    if layout.of_group:
        long[layout.names] = objects([*layout.of_group] * n)
    elif layout.names not in ("none", *layout.beside):
        long[layout.names] = objects([*layout.labels] * n)
    if layout.of_group and "annotator" not in layout.beside:
        long["annotator"] = objects([*layout.labels] * n)
    for name, columns in layout.beside.items():
        long[name] = across(columns)
    missing = mapped(long["label"], is_missing).astype(bool)
    silent_rows = int(missing.reshape(n, k).all(axis=1).sum())
    return long[~missing], {"no label in any column": silent_rows}


def _lists(
    table: pd.DataFrame, layout: Layout, source: Source
) -> tuple[pd.DataFrame, dict[str, int]]:
    need_names(["label"], table.columns, source, hint="Map the column of lists: {label: ...}")
    cells = _parts(table["label"])
    labels = [list(cell.values()) if isinstance(cell, dict) else cell for cell in cells]
    sizes = np.array([len(parts) for parts in labels], dtype=np.int64)
    annotators: list[list[Any]] | None = None
    if any(isinstance(cell, dict) for cell in cells):
        annotators = [list(cell) for cell in cells]
    elif "annotator" in table.columns:
        annotators = _aligned(table["annotator"], sizes, None, "annotator", source)
    places = np.repeat(np.arange(len(table)), sizes)
    columns: dict[str, pd.Series] = {}
    for name, column in table.items():
        parts: list[list[Any]] | None = None
        if name == "label":
            parts = labels
        elif name == "annotator" and annotators is not None:
            parts = annotators
        elif name not in _OF_THE_ITEM:
            parts = _aligned(column, sizes, annotators, str(name), source)
        columns[str(name)] = (
            objects(column.to_numpy(dtype=object)[places])
            if parts is None
            else objects(part for cell in parts for part in cell)
        )
    if annotators is not None and "annotator" not in columns:
        columns["annotator"] = objects(part for cell in annotators for part in cell)
    return pd.DataFrame(columns), {"no label in the list": int((sizes == 0).sum())}


def _aligned(
    column: pd.Series,
    sizes: IntArray,
    annotators: list[list[Any]] | None,
    name: str,
    source: Source,
) -> list[list[Any]] | None:
    """Take the cells of a column apart where they go with the labels one by one."""
    # A comma in a rationale is a comma.
    cells = _parts(column) if name != "rationale" else [parts_of(cell) for cell in column]
    if annotators is not None:
        cells = [
            [each.get(who) for who in whos]
            if isinstance(each, dict) and not each.keys().isdisjoint(whos)
            else each
            for each, whos in zip(cells, annotators, strict=True)
        ]
    lengths = np.array([-1 if isinstance(each, dict) else len(each) for each in cells])
    given = lengths > 0
    lists = (lengths > 1).any() or any(map(_is_list, column))
    if lists and given.any() and (lengths == sizes)[given].all():
        short: list[list[Any]] = [
            list(each) if fits else [None] * size
            for each, fits, size in zip(cells, lengths == sizes, sizes, strict=True)
        ]
        return short
    wrong = np.flatnonzero(given & (lengths != sizes))
    if name == "annotator" and len(wrong) and (lengths[wrong] != 1).any():
        first = wrong[lengths[wrong] != 1][0]
        raise InputError(
            f"{len(wrong)} rows of {source} have another number of annotators than of labels, the "
            f"first one {source.rows([first])}: {lengths[first]} and {sizes[first]}; "
            "layout: lists needs an annotator for each label"
        )
    return None


def _counts(
    table: pd.DataFrame, layout: Layout, source: Source
) -> tuple[pd.DataFrame, dict[str, int]]:
    votes = np.zeros((len(table), len(layout.labels)), dtype=np.int64)
    for k, name in enumerate(layout.labels):
        numbers = mapped(table[name], lambda cell: 0.0 if is_missing(cell) else comparable(cell))
        good = [isinstance(n, float) and n >= 0 and n.is_integer() for n in numbers]
        if not all(good):
            first = good.index(False)
            raise InputError(
                f"{source}: {brief(table[name].iloc[first])!r} in column {brief(name)!r}, "
                f"{source.rows([first])}, is no count of votes; expected a whole number from 0"
            )
        votes[:, k] = numbers.astype(float).astype(np.int64)
    totals = votes.sum(axis=1)
    long = table.drop(columns=[*layout.labels]).iloc[np.repeat(np.arange(len(table)), totals)]
    long = long.reset_index(drop=True)
    each = np.tile(np.array(layout.labels, dtype=object), len(table))
    long["label"] = objects(np.repeat(each, votes.ravel()))
    return long, {"no votes": int((totals == 0).sum())}


def _one_hot(
    table: pd.DataFrame, layout: Layout, source: Source
) -> tuple[pd.DataFrame, dict[str, int]]:
    marked = np.column_stack([_marks(table[name], name, source) for name in layout.labels])
    long = table.drop(columns=[*layout.labels]).reset_index(drop=True)
    if layout.ask is not None:
        column = layout.labels.index(layout.ask)
        long["label"] = objects(marked[:, column].astype(int).tolist())
        return long, {}
    n_marked = marked.sum(axis=1)
    if (n_marked > 1).mean() > _FEW_WITH_SEVERAL:
        example = f"layout: {{one-hot: {{labels: [...], ask: {layout.labels[0]}}}}}"
        first = int(np.argmax(n_marked > 1))
        raise InputError(
            f"{int((n_marked > 1).sum()):,} of {len(table):,} rows of {source} have several of "
            f"{listed(layout.labels, 6)}, the first one {source.rows([first])}; "
            f"write task: multilabel, or ask about one, as in {example}"
        )
    names: ObjectArray = np.array(layout.labels, dtype=object)
    long["label"] = objects(names[marked.argmax(axis=1)])
    dropped = {
        "none of the labels": int((n_marked == 0).sum()),
        "several labels": int((n_marked > 1).sum()),
    }
    return long[n_marked == 1], dropped


def _marked_lists(
    table: pd.DataFrame, layout: Layout, source: Source
) -> tuple[pd.DataFrame, dict[str, int]]:
    """One-hot rows with the list of what is marked; rows with nothing but empty cells go."""
    marked = np.column_stack([_marks(table[name], name, source) for name in layout.labels])
    empty = np.column_stack([mapped(table[name], is_missing) for name in layout.labels])
    silent_rows = empty.astype(bool).all(axis=1)
    long = table.drop(columns=[*layout.labels]).reset_index(drop=True)
    names: ObjectArray = np.array(layout.labels, dtype=object)
    long["label"] = objects([*names[row]] for row in marked)
    return long.iloc[np.flatnonzero(~silent_rows)], {
        "no answer in any column": int(silent_rows.sum())
    }


def _marks(column: pd.Series, name: str, source: Source) -> BoolArray:
    answers = mapped(column, lambda cell: 0.0 if is_missing(cell) else comparable(cell))
    good = [answer in (*_YES, *_NO) for answer in answers]
    if not all(good):
        first = good.index(False)
        raise InputError(
            f"{source}: {brief(column.iloc[first])!r} in column {brief(name)!r}, "
            f"{source.rows([first])}, is neither 1 nor 0"
        )
    return np.array([answer in _YES for answer in answers], dtype=bool)


def _parts(column: pd.Series) -> list[list[Any] | dict[str, Any]]:
    separator = separator_of(column)
    return [parts_of(cell, separator) for cell in column]


def _is_list(cell: object) -> bool:
    is_text = isinstance(cell, str)
    return not is_missing(cell) and (parts_of(cell) != [cell] if is_text else not np.isscalar(cell))


def _literal(text: str) -> list[Any] | dict[str, Any]:
    """Read a list or mapping that was written as text by JSON, Python or NumPy."""
    # Python would read what NumPy writes, ['a' 'b'], as the one text 'ab'.
    by_numpy = re.search(r"['\"]\s+['\"]", text) and "," not in text
    value = None if by_numpy else literal(text)
    if isinstance(value, list | tuple | set | dict):
        return parts_of(value)
    words = re.findall(r"'[^']*'|\"[^\"]*\"|[^\s,]+", text[1:-1])
    return [_number(word.strip("'\"")) for word in words]


def _number(word: str) -> object:
    number = comparable(word)
    if isinstance(number, str):
        return word
    return int(number) if number.is_integer() else number
