"""A first study file from a user's own table, its columns guessed by name and by content.

Every guess stands in the file with its reason and the next best choices, so that a reader can see
at a glance what to change.
"""

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from mcstl._support import files
from mcstl._support.errors import InputError, brief, listed
from mcstl.data.annotations import Annotations
from mcstl.data.columns import KNOWN_COLUMNS
from mcstl.data.labels import TASK_FORMS
from mcstl.data.splits import SplitBy, split
from mcstl.data.tables import read_table
from mcstl.studies.first_study.columns import Column, Guess, columns_of, names_of
from mcstl.studies.first_study.labels import LabelsGuess, ordered_classes, preference_classes
from mcstl.studies.first_study.words import (
    ANNOTATOR,
    ATTRIBUTE,
    CHOSEN,
    ID,
    ITEM,
    LABEL,
    MOST_GROUPS,
    MOST_WORDS,
    NO_LABEL,
    NOT_JUDGED,
    OFTEN,
    PREFERENCE,
    RATIONALE,
    REACTION,
    SELDOM,
    SETTING,
    SHORTEST_OF_A_PAIR,
    SIDES,
    TEXT,
    TRAINING_SHARE,
    VALUES,
)


@dataclass
class _GuessedTable:
    """The columns of a table, and what has been guessed of them so far."""

    source: str
    n_rows: int
    columns: list[Column]
    guesses: dict[str, Guess] = field(default_factory=dict)

    @property
    def left(self) -> list[Column]:
        """The columns that have no use yet."""
        used = {guess.column.name for guess in self.guesses.values()}
        return [column for column in self.columns if column.name not in used]

    @property
    def pair(self) -> tuple[Column, Column] | None:
        """The two texts, the preferred one first where that is known."""
        for first, second in (("chosen", "rejected"), ("text_a", "text_b")):
            if first in self.guesses:
                return self.guesses[first].column, self.guesses[second].column
        return None

    @cached_property
    def shown(self) -> pd.Series:
        """What is judged, once it is guessed: the text, or the unordered pair."""
        if self.pair is None:
            return self.guesses["text"].column.cells
        a, b = (column.cells.fillna("") for column in self.pair)
        keys = ["\0".join(sorted(both)) for both in zip(a, b, strict=True)]
        return pd.Series(keys, dtype=object)

    @property
    def annotators(self) -> pd.Series | None:
        """Who gave each row, once it is guessed."""
        guess = self.guesses.get("annotator")
        return guess.column.cells if guess else None

    def nothing_for(self, what: str, name: str) -> InputError:
        """Make the error that no column looks like `what`."""
        return InputError(
            f"no column of {self.source} looks like {what}; found: "
            f"{listed(column.name for column in self.columns)}. Write the study by hand, as "
            f"data: {{file: {self.source}, columns: {{{name}: THE_COLUMN, ...}}}}"
        )


def write_first_study(table: Path, out: Path) -> str:
    """Write a first study for a table of annotations.

    Args:
        table: The table: CSV, TSV, JSON Lines or Parquet.
        out: The study file to write.

    Returns:
        The text of the study.

    Raises:
        InputError: If `out` exists, or as `guess_study` does.
    """
    if out.exists():
        raise InputError(f"{out} is there already; remove it, or name another with --out")
    text = guess_study(table, out)
    files.write_text(out, text)
    return text


def guess_study(path: str | Path, study_path: str | Path | None = None) -> str:
    """Guess the study file for a table: its columns, labels, groups and split.

    Each guess has a comment that says why, and what else it may be. Labels whose order cannot be
    guessed are commented out, so that nothing is trained on a made-up order.

    Args:
        path: The table, in any form that `read_table` reads.
        study_path: Where the study file will stand, by default beside the table; ``data.file`` is
            relative to its folder.

    Returns:
        The text of the study file.

    Raises:
        InputError: If the table cannot be read, or no column can be the text or the label.
    """
    path = Path(path)
    folder = Path(study_path).parent if study_path is not None else path.parent
    table = read_table(path)
    if table.empty:
        raise InputError(f"{path.name} has no rows")
    guessed = _GuessedTable(path.name, len(table), columns_of(table))
    _guess_texts(guessed)
    _guess_annotator(guessed)
    _guess_item(guessed)
    labels = _guess_labels(guessed)
    _guess_rationale(guessed)
    _guess_values(guessed)
    groups, about_groups = _guess_groups(guessed)
    columns = {
        name: guessed.guesses[name].column.name for name in KNOWN_COLUMNS if name in guessed.guesses
    }
    by, problems = _try(table, columns, labels, path.name)
    about_labels = [*labels.comments, *problems]
    lines = [
        f"# Drafted from {brief(path.name, 60)}, {len(table):,} rows.",
        f"# Look at each guess, then type: mcstl check {brief(study_path or 'THIS_FILE', 200)}",
        "data:",
        f"  file: {files.flow(Path(os.path.relpath(path, folder)).as_posix())}",
        "  columns:",
        *(
            f"    {ours}: {files.flow(theirs)}  # {guessed.guesses[ours].comment}"
            for ours, theirs in columns.items()
        ),
        "",
        *(f"# {line}" for line in about_labels),
        f"task: {labels.task}",
    ]
    if labels.classes is not None:
        lines.append(f"{'' if labels.sure else '# '}labels: {files.flow(labels.classes)}")
    lines += ["", *(f"# {line}" for line in about_groups)]
    if groups is not None:
        lines.append(f"groups: {files.flow(groups)}")
    lines += [
        "",
        "# item: no text is on both sides of the split, as for texts yet to come; annotation: the",
        "# same text may be on both sides, as in the paper; annotator: nobody is on both sides",
        f"split: {files.flow({'by': by, 'test': 0.2, 'validation': 0.1})}",
    ]
    return "\n".join(lines) + "\n"


def _guess_texts(guessed: _GuessedTable) -> None:
    pair = _pair(guessed.columns)
    if pair is not None:
        (ours_a, a), (ours_b, b) = pair
        guessed.guesses[ours_a] = Guess(a, "the names say that these two are a pair")
        guessed.guesses[ours_b] = Guess(b, "the other text of the pair")
        return
    named = [
        column
        for column in guessed.columns
        if column.tokens
        and (column.tokens[-1] in TEXT or "text" in column.words)
        and not column.words & ID
        and (column.is_prose or (column.tokens == ("text",) and not column.is_number))
    ]
    named = [column for column in named if not column.words & RATIONALE] or named
    reactions = [column for column in named if column.words & REACTION]
    judged = named
    if all(column.words & (REACTION | SETTING) for column in named):
        judged = reactions or named
    prose = [column for column in guessed.columns if column.is_prose]
    plain = [column for column in prose if not column.words & RATIONALE] or prose
    candidates = sorted(judged or plain, key=lambda column: -column.length)
    if not candidates:
        raise guessed.nothing_for("a text", "text")
    best = candidates[0]
    alternatives = [
        column
        for column in plain
        if column is not best
        and column.length > best.length / 4
        and not column.words & (ATTRIBUTE | ANNOTATOR)
    ]
    why = "by its name" if named else "the longest texts"
    guessed.guesses["text"] = Guess(best, why, names_of(alternatives))


def _pair(columns: Sequence[Column]) -> tuple[tuple[str, Column], tuple[str, Column]] | None:
    """Find two columns of texts whose names differ in one word that tells two sides apart."""
    pairs = []
    for a in columns:
        for b in columns:
            differ = [(x, y) for x, y in zip(a.tokens, b.tokens, strict=False) if x != y]
            if len(a.tokens) != len(b.tokens) or len(differ) != 1 or a.is_number or b.is_number:
                continue
            if a.lists or b.lists or min(a.length, b.length) < SHORTEST_OF_A_PAIR:
                continue
            if differ[0] in CHOSEN:
                pairs.append((True, a.length, ("chosen", a), ("rejected", b)))
            elif differ[0] in SIDES:
                pairs.append((False, a.length, ("text_a", a), ("text_b", b)))
    return max(pairs, key=lambda pair: pair[:2])[2:] if pairs else None


def _guess_annotator(guessed: _GuessedTable) -> None:
    def may_be(column: Column) -> bool:
        # Who is the same for all rows of a text wrote the text.
        wrote_it = column.varies_within(guessed.shown) == 0
        return len(column.counts) > 1 and not column.is_prose and not wrote_it

    named = [
        column
        for column in guessed.left
        if column.words & ANNOTATOR and column.words <= ANNOTATOR | ID and may_be(column)
    ]
    if named:
        guessed.guesses["annotator"] = Guess(named[0], "by its name", names_of(named[1:]))
        return
    # Somebody judges many texts, and each of them once.
    once = [
        column
        for column in guessed.left
        if may_be(column)
        and MOST_WORDS < len(column.counts) <= guessed.n_rows / 2
        and not math.isnan(column.varies_within(guessed.shown))
        and not column.words & (ATTRIBUTE | LABEL)
        and not pd.DataFrame({"shown": guessed.shown, "who": column.cells}).duplicated().any()
    ]
    if len(once) == 1:
        why = "each value comes with many texts, with each text once"
        guessed.guesses["annotator"] = Guess(once[0], why)


def _guess_item(guessed: _GuessedTable) -> None:
    repeats = guessed.shown.nunique() < guessed.n_rows
    candidates = [
        column
        for column in guessed.left
        if column.words
        and column.words <= ITEM | ID
        and not column.is_prose
        and column.cells.notna().all()
        and guessed.shown.groupby(column.cells.to_numpy(dtype=object)).nunique().max() == 1
    ]
    for column in sorted(candidates, key=lambda column: -column.share_named(ITEM)):
        if len(column.counts) == guessed.n_rows and repeats:
            why = "another one in every row"
            guessed.guesses.setdefault("annotation_id", Guess(column, why))
        else:
            why = f"one text for each of {len(column.counts):,} values"
            guessed.guesses.setdefault("item", Guess(column, why))


def _guess_labels(guessed: _GuessedTable) -> LabelsGuess:
    if "chosen" in guessed.guesses:
        why = "Each row says that `chosen` is preferred to `rejected`, so it needs no label."
        return LabelsGuess("preference", None, True, [why])
    words = LABEL | PREFERENCE if guessed.pair else LABEL
    ranked = []
    for column in guessed.left:
        named = 0.0 if column.words & NO_LABEL else column.share_named(words)
        is_texts = column.varies_within(guessed.shown) == 0
        is_persons = column.varies_within(guessed.annotators) <= SELDOM
        judged = not is_texts and not is_persons
        usable = column.has_few or (named and column.is_number and len(column.counts) > 1)
        if usable and not column.lists and (named or (judged and not column.words & NOT_JUDGED)):
            ranked.append(((judged, named, column.has_few, len(column.counts)), column))
    if not ranked:
        raise guessed.nothing_for("labels (two or more ordered classes)", "label")
    ranked.sort(key=lambda candidate: candidate[0], reverse=True)
    (_, named, has_few, n), best = ranked[0]
    if not has_few:
        raise InputError(
            f"{brief(best.name)!r}, the likely label in {guessed.source}, has {n} distinct numbers "
            f"and looks continuous; {TASK_FORMS}. Cut it into a few ordered classes first"
        )
    why = f"{'by its name, ' if named else ''}{n} distinct values"
    alternatives = names_of(column for _, column in ranked[1:])
    guessed.guesses["label"] = Guess(best, why, alternatives)
    return preference_classes(best) if guessed.pair else ordered_classes(best)


def _guess_rationale(guessed: _GuessedTable) -> None:
    prose = _comments_on_texts(guessed)
    named = [column for column in prose if column.words & RATIONALE]
    if named:
        alternatives = names_of(column for column in prose if column is not named[0])
        guessed.guesses["rationale"] = Guess(named[0], "by its name", alternatives)


def _comments_on_texts(guessed: _GuessedTable) -> list[Column]:
    """Columns of prose that differ between the annotations of a text, so may say why."""
    return [
        column
        for column in guessed.left
        if column.is_prose
        and column.varies_within(guessed.shown) != 0
        and column.cells.notna().mean() >= OFTEN
    ]


def _guess_values(guessed: _GuessedTable) -> None:
    for column in sorted(guessed.left, key=lambda column: -column.share_named(VALUES)):
        n = len(_parts(column))
        several = column.cells.str.contains("|", regex=False).mean() > SELDOM
        if (several or column.lists) and 2 <= n <= MOST_GROUPS:
            guessed.guesses["values"] = Guess(column, f"lists of {n} distinct names")
            return
        is_value = "value" in column.words and not column.is_number and not column.is_prose
        if is_value and not _wrong_separator(column) and 2 <= n <= MOST_GROUPS:
            guessed.guesses["values"] = Guess(column, f"by its name, {n} distinct names")
            return


def _parts(column: Column) -> pd.Series:
    """How often each name occurs in a column of names separated by |."""
    names = column.cells.dropna().str.split("|").explode().str.strip()
    return names[names != ""].value_counts()


def _wrong_separator(column: Column) -> str:
    """The sign other than | that separates names in many cells, or nothing."""
    shares = {by: column.cells.str.contains(by, regex=False).mean() for by in ";,"}
    return next((by for by, share in shares.items() if share > OFTEN), "")


def _guess_groups(guessed: _GuessedTable) -> tuple[dict[str, object] | None, list[str]]:
    """Return the ``groups`` of the study file, and comments on them and on their alternatives."""
    options: list[tuple[str, dict[str, object]]] = []
    if "values" in guessed.guesses:
        column = guessed.guesses["values"].column
        size = _min_size(guessed.n_rows, _parts(column))
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
    attributes, numbers = _attributes(guessed)
    if attributes:
        why = "A group for each answer to these questions about the annotators"
    elif not options:
        attributes = [
            column
            for column in guessed.left
            if not column.words & (LABEL | PREFERENCE | ID) and _makes_groups(guessed, column)
        ]
        why = "A GUESS: a group for each value of what is neither text nor label"
    if attributes:
        size = min(_min_size(guessed.n_rows, column.counts) for column in attributes)
        config = {"by": "attributes", "attributes": [*names_of(attributes)], "min_size": size}
        options.append((why, config))
    if options:
        (why, best), *rest = options
        small = "; those with less than min_size training rows are left out"
        comments = [f"{why}{small if 'min_size' in best else ''}."]
        comments += [f"Or: {why}: groups: {files.flow(config)}" for why, config in rest]
    else:
        best = None
        comments = [
            "NO GROUPS: no column says whose view a label is. Add rationales, values (as",
            "Care|Honesty) or attributes of the annotators (as gender) to the table, then one of:",
            "groups: {by: rationale, k: 5}",
            "groups: {by: taxonomy, source: column}",
            "groups: {by: attributes, attributes: [gender]}",
        ]
        if reasons := _comments_on_texts(guessed):
            names = listed(names_of(reasons), 5)
            comments.append(
                f"If one of these says why a label was given, it is a rationale: {names}"
            )
    if numbers:
        comments.append(f"As attributes, cut these numbers into bands first: {listed(numbers)}.")
    comments += [
        f"{brief(column.name)} seems to hold lists separated by {by!r}: write | instead to use it "
        "as values."
        for column in guessed.left
        if column.words & VALUES and not column.is_prose and (by := _wrong_separator(column))
    ]
    return best, comments


def _attributes(guessed: _GuessedTable) -> tuple[list[Column], tuple[str, ...]]:
    """Return the columns that make groups of annotators, and names of some that need bands."""
    fixed = []
    for column in guessed.left:
        in_person = column.varies_within(guessed.annotators)
        in_text = column.varies_within(guessed.shown)
        if column.words & ATTRIBUTE:
            is_persons = math.isnan(in_person) or in_person <= SELDOM
        else:
            is_persons = in_person <= SELDOM and in_text != 0
        if is_persons and len(column.counts) > 1 and not column.lists:
            fixed.append(column)
    named = [column for column in fixed if column.words & ATTRIBUTE]
    usable, numbers = [], []
    for column in named or fixed:
        if column.is_number and len(column.counts) > MOST_WORDS:
            numbers.append(column.name)
        elif _makes_groups(guessed, column):
            usable.append(column)
    return usable, tuple(numbers)


def _makes_groups(guessed: _GuessedTable, column: Column) -> bool:
    """Whether two or more values are frequent, and together those of most rows."""
    if not 2 <= len(column.counts) <= MOST_GROUPS or column.lists:
        return False
    if column.name in (*KNOWN_COLUMNS, "row", "flipped"):  # read as something else
        return False
    size = _min_size(guessed.n_rows, column.counts)
    kept = column.counts[column.counts * TRAINING_SHARE >= size]
    return len(kept) > 1 and bool(kept.sum() >= guessed.n_rows / 2)


def _min_size(n_rows: int, counts: pd.Series) -> int:
    """Return a round size, small for small tables, that leaves two or more groups if any does."""
    second = TRAINING_SHARE * sorted(counts, reverse=True)[:2][-1]
    most = min(TRAINING_SHARE * n_rows / 20, second)
    return next((size for size in (100, 50, 20, 10, 5) if size <= most), 2)


def _try(
    table: pd.DataFrame, columns: Mapping[str, str], labels: LabelsGuess, source: str
) -> tuple[SplitBy, list[str]]:
    """Return the best split that can be made, and what is wrong with the table as guessed."""
    if not labels.sure:
        return "item", []
    try:
        data = Annotations.from_frame(
            table, columns=columns, labels=labels.classes, task=labels.task, source=source
        )
    except InputError as error:
        return "item", [f"MEND FIRST: {error}"]
    problems = [f"{n:,} rows are dropped: {why}." for why, n in data.dropped.items()]
    for by in ("item", "annotation"):
        try:
            split(data, by)
        except InputError as error:
            why = str(error)
        else:
            return by, problems
    return "annotation", [*problems, f"MEND FIRST: {why}"]
